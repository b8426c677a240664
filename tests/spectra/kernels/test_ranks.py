import numpy as np
import pytest

from spectra.errors import ArgumentError, NonFiniteError, ShapeError
from spectra.kernels.gram import GramSpectrum
from spectra.kernels.ranks import effective_ranks


def test_ranks_by_their_sums():
    values = np.array([0.3, 4.0, 1.0, 1.0, 0.0])
    found = effective_ranks(values)
    ordered = np.array([4.0, 1.0, 1.0, 0.3])
    for k in range(4):
        rest = ordered[k:]
        assert found.r[k] == pytest.approx(rest.sum() / rest[0], rel=1e-12)
        assert found.R[k] == pytest.approx(rest.sum() ** 2 / np.sum(rest**2), rel=1e-12)
    assert found.r.size == 4
    assert (found.stable_rank, found.participation_ratio) == (found.r[0], found.R[0])


def test_known_inequalities():
    found = effective_ranks(np.random.default_rng(0).pareto(1.1, size=200))
    room = 1 + 1e-12
    assert np.all(found.r >= 1 / room)
    assert np.all(found.r <= found.R * room)
    assert np.all(found.r**2 * room >= found.R)


@pytest.mark.parametrize("unit", [1e-200, 1e-14, 1e14, 1e200])
def test_units_change_nothing(unit):
    values = np.arange(1, 30.0) ** -1.3
    np.testing.assert_allclose(effective_ranks(unit * values).R, effective_ranks(values).R, rtol=1e-12)


def test_a_residual_trace_is_a_tail():
    head, tail = np.arange(1, 30.0) ** -1.0, np.full(10, 1 / 29)
    short = effective_ranks(head, residual_trace=tail.sum())
    full = effective_ranks(np.append(head, tail))
    np.testing.assert_allclose(short.r, full.r[:29], rtol=1e-12)
    np.testing.assert_allclose(short.R, full.R[:29], rtol=1e-12)
    spectrum = GramSpectrum.of_eigenvalues(head, num_samples=50, residual_trace=tail.sum())
    np.testing.assert_array_equal(effective_ranks(spectrum).r, short.r)


def test_benign_index():
    found = effective_ranks(np.concatenate([[1e6, 1e3], np.ones(100)]))
    assert found.benign_index(50) == 2
    assert found.benign_index(50, b=3.0) == np.inf
    assert effective_ranks([1.0]).benign_index(1) == 0
    for settings in ({"num_samples": 0}, {"num_samples": 5, "b": -1.0}):
        with pytest.raises(ArgumentError):
            found.benign_index(**settings)


@pytest.mark.parametrize(
    ("values", "error"),
    [([], ShapeError), ([0.0], ArgumentError), ([1.0, -1.0], ArgumentError), ([np.inf], NonFiniteError)],
)
def test_bad_input(values, error):
    with pytest.raises(error):
        effective_ranks(values)
    with pytest.raises(ArgumentError):
        effective_ranks([1.0], residual_trace=-1.0)


def test_eigenvalues_whose_squares_underflow():
    found = effective_ranks(np.exp(-np.arange(700.0)))
    q = np.exp(-1.0)
    np.testing.assert_allclose(found.r[:600], 1 / (1 - q), rtol=1e-13)
    np.testing.assert_allclose(found.R[:600], (1 + q) / (1 - q), rtol=1e-13)
    np.testing.assert_allclose(effective_ranks([1e150, 1e-200, 1e-200]).R, [1.0, 2.0, 1.0], rtol=1e-15)
