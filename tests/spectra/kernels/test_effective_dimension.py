import numpy as np
import pytest

import spectra
from spectra.errors import ArgumentError, NonFiniteError, NotSymmetricError, ShapeError
from spectra.kernels.effective_dimension import effective_dimension
from spectra.kernels.gram import GramSpectrum

VALUES = np.arange(1, 101.0) ** -2


def test_the_trace_of_the_hat_matrix():
    Z = np.random.default_rng(0).standard_normal((30, 10))
    K = Z @ Z.T
    found = effective_dimension(K, 2.0)
    hat = K @ np.linalg.inv(K + 2.0 * np.eye(30))
    assert found.df1 == pytest.approx(np.trace(hat), rel=1e-10)
    assert (found.df1_low, found.df1_high) == pytest.approx((found.df1, found.df1))
    assert found.kappa == pytest.approx(2.0 / (30 - found.df1), rel=1e-10)
    same = effective_dimension(Z, 2.0, kernel=lambda X, Y: X @ Y.T)
    assert same.df1 == pytest.approx(found.df1)
    assert str(found) == f"{found.df1:.4g} of 30 at ridge 2"


def test_it_agrees_with_products_alone():
    K = np.diag(VALUES)
    assert effective_dimension(K, 0.01).df1 == pytest.approx(
        spectra.effective_dimension(spectra.slq(K, num_probes=3, num_steps=100), 0.01).value, rel=1e-6
    )


def test_the_local_exponent_of_a_power_law():
    # A deterministic spectrum as if it were drawn: the exponent is that of the values within the known offset 1/2.
    found = effective_dimension(1e3 * np.arange(1, 5001.0) ** -2, 1e-2)
    assert found.decay_exponent == pytest.approx(2.0, rel=0.03)
    assert found.is_trustworthy
    assert "Gaussian equivalence" in found.why
    assert found.plug_in < found.df1


def test_too_small_ridges_tell_the_sample_size():
    found = effective_dimension(VALUES, 1e-6)
    assert not found.is_trustworthy
    assert "0.8 of the 100 samples" in found.why
    assert found.df1 > 80


def test_without_a_ridge_rounding_is_one():
    values = GramSpectrum.of_eigenvalues([1.0] * 5, num_samples=100)
    found = effective_dimension(values, 0.0)
    assert found.ridge == 0.0
    assert found.effective_ridge == values.ridge_floor > 0
    assert not found.is_trustworthy
    assert "rounding" in found.why
    assert found.df1 == pytest.approx(5)


def test_unlisted_eigenvalues_leave_it_open():
    listed = GramSpectrum.of_eigenvalues(VALUES[:10], num_samples=100, residual_trace=VALUES[10:].sum())
    found = effective_dimension(listed, 1e-3)
    truth = effective_dimension(VALUES, 1e-3)
    assert found.df1_low < truth.df1 < found.df1_high
    assert found.df1_low <= found.df1 <= found.df1_high
    assert not found.is_trustworthy
    assert "open between" in found.why
    assert effective_dimension(listed, 10.0).is_trustworthy


@pytest.mark.parametrize("unit", [1e-200, 1e-14, 1e14, 1e200])
def test_units_change_nothing(unit):
    one, scaled = effective_dimension(VALUES, 0.1), effective_dimension(unit * VALUES, unit * 0.1)
    for name in ("df1", "df2", "plug_in", "decay_exponent", "overfitting_coefficient"):
        assert getattr(scaled, name) == pytest.approx(getattr(one, name), rel=1e-9)


@pytest.mark.parametrize("n", [1, 2])
def test_equal_eigenvalues_have_the_least_exponent(n):
    found = effective_dimension(np.eye(n), 1.0)
    assert found.df1 == n / 2
    assert found.decay_exponent == 1.0


@pytest.mark.parametrize(
    ("source", "ridge", "error"),
    [
        (np.eye(2), -1.0, ArgumentError),
        (np.eye(2), np.nan, ArgumentError),
        (np.array([[1.0, np.nan], [np.nan, 1.0]]), 1.0, NonFiniteError),
        (np.array([[1.0, 0.9], [0.1, 1.0]]), 1.0, NotSymmetricError),
        (np.diag([1.0, -1.0]), 1.0, ArgumentError),
        (np.zeros((3, 3)), 1.0, ArgumentError),
        (np.zeros((0, 0)), 1.0, ShapeError),
        (np.ones((3, 2)), 1.0, ShapeError),
    ],
)
def test_bad_input(source, ridge, error):
    with pytest.raises(error):
        effective_dimension(source, ridge)


def test_unlisted_eigenvalues_that_are_larger_than_the_listed_ones():
    spectrum = GramSpectrum.of_eigenvalues([4.0, 1.0], num_samples=4, residual_trace=100.0)
    found = effective_dimension(spectrum, 1.0)
    assert not found.is_trustworthy
    for rest in ([50.0, 50.0], [100.0, 0.0], [97.0, 3.0]):
        exact = sum(w / (w + 1.0) for w in (4.0, 1.0, *rest))
        assert found.df1_low - 1e-12 <= exact <= found.df1_high + 1e-12
