import numpy as np
import pytest

from spectra.errors import BackendError, NonFiniteError, ShapeError
from spectra.permuted import permuted_spectra


def test_entries_are_kept():
    rng = np.random.default_rng(0)
    X, W = rng.standard_normal((20, 30)), rng.standard_normal((25, 25))
    W = W + W.T
    for values in permuted_spectra(X, num=3):
        assert values.shape == (20,)
        centered = (X - np.mean(X)) / np.max(np.abs(X))
        np.testing.assert_allclose(np.sum(values), np.sum(centered**2))
        assert np.all(np.diff(values) <= 0)
    W = W / np.max(np.abs(W))
    off = np.triu_indices(25, 1)
    for values in permuted_spectra(W, num=3):
        np.testing.assert_allclose(np.sum(values), 0.0, atol=1e-12)
        np.testing.assert_allclose(np.sum(values**2), 25 * np.var(np.diag(W)) + 600 * np.var(W[off]))


def test_a_mean_is_no_heavy_tail():
    rng = np.random.default_rng(2)
    graph = np.triu(rng.random((200, 200)) < 0.1, 1).astype(float)
    for values in permuted_spectra(graph + graph.T, num=3):
        assert values[0] < 1.2 * 2 * np.sqrt(200 * 0.1 * 0.9)
    X = rng.standard_normal((50, 100))
    shifted = permuted_spectra(X + 5.0, num=1)[0] * np.max(np.abs(X + 5.0)) ** 2
    assert shifted[0] < 1.3 * 50 * (1 + np.sqrt(2)) ** 2


def test_one_by_one():
    assert permuted_spectra(np.array([[3.0]]), num=1)[0].tolist() == [0.0]


def test_structure_is_not():
    X = np.outer(np.arange(1.0, 41.0), np.ones(40))
    first, second = permuted_spectra(X, num=2, rng=1)
    assert np.linalg.matrix_rank(X) == 1
    assert first[-1] > 0
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(permuted_spectra(X, num=1, rng=1)[0], first)


@pytest.mark.parametrize("unit", [1e-14, 1e14, 1e-200, 1e200])
def test_units_do_not_matter(unit):
    X = np.random.default_rng(0).standard_normal((5, 8))
    np.testing.assert_allclose(permuted_spectra(unit * X, num=1)[0], permuted_spectra(X, num=1)[0], rtol=1e-10)


@pytest.mark.parametrize(
    ("matrix", "error"),
    [
        (np.ones(3), ShapeError),
        (np.ones((0, 3)), ShapeError),
        (np.full((2, 2), np.nan), NonFiniteError),
        (np.ones((2, 2), dtype=int), BackendError),
    ],
)
def test_no_matrices_are_refused(matrix, error):
    with pytest.raises(error):
        permuted_spectra(matrix, num=1)


@pytest.mark.parametrize("unit", [1e-14, 1.0, 1e14])
def test_asymmetry_of_rounding_is_none(unit):
    """The diagonal of a covariance matrix must not be spread over all of its entries, where it looks heavy-tailed."""
    X = np.random.default_rng(0).standard_normal((60, 120))
    values, vectors = np.linalg.eigh(X @ X.T / 120)
    rounded = unit * (vectors * values) @ vectors.T
    assert np.any(rounded != rounded.T)
    (found,), (exact,) = permuted_spectra(rounded, num=1), permuted_spectra(0.5 * (rounded + rounded.T), num=1)
    np.testing.assert_allclose(found, exact, atol=1e-12)


def test_square_data_are_not_symmetric():
    X = np.random.default_rng(0).standard_normal((30, 30))
    assert np.all(permuted_spectra(X, num=1)[0] >= 0.0)
