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
        np.testing.assert_allclose(np.sum(values), np.sum((X / np.max(np.abs(X))) ** 2))
        assert np.all(np.diff(values) <= 0)
    W = W / np.max(np.abs(W))
    for values in permuted_spectra(W, num=3):
        np.testing.assert_allclose(np.sum(values), np.trace(W))
        np.testing.assert_allclose(np.sum(values**2), np.sum(W**2))


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
