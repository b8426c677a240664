import numpy as np
import pytest

from spectra.arrays import dtype_name, to_host
from spectra.errors import BackendError, NonFiniteError, ShapeError
from spectra.kernels import pairwise
from spectra.kernels.pairwise import as_pair, as_points, squared_distances
from tests.spectra.kernels.kernel_cases import of


def differences(X, Y):
    """Return squared distances by differences in extended precision."""
    X, Y = X.astype(np.longdouble), Y.astype(np.longdouble)
    return np.sum((X[:, None, :] - Y[None, :, :]) ** 2, axis=-1).astype(float)


def cloud(n, d, rng=0):
    """Return points with neighbors at distances from 1e-12 to 1, and a copy."""
    X = np.random.default_rng(rng).standard_normal((n, d))
    for k in range(12):
        X[n - 1 - k] = X[k] + 10.0 ** (-k - 1) * X[k]
    X[n - 13] = X[13]
    return X


@pytest.mark.parametrize("d", [1, 2, 3, 10, 200])
def test_precise_distances_have_relative_accuracy(d):
    """Below CLOSE by differences; above, eps / CLOSE times the spread of the points."""
    X = cloud(60, d)
    exact = differences(X, X)
    found = squared_distances(X, X.copy(), precise=True)
    np.testing.assert_array_equal(np.diag(found), 0.0)
    assert found[13, 60 - 13] == 0.0
    near = (exact > 0) & (exact < pairwise.CLOSE)
    assert np.sum(near) >= 8
    # A difference of rounded, centered coordinates errs by eps over its size.
    assert np.max(np.abs(np.sqrt(found / np.where(exact > 0, exact, 1.0)) - 1)[near]) < 2e-3
    rest = exact >= pairwise.CLOSE
    np.testing.assert_allclose(found[rest], exact[rest], rtol=2e-9)


@pytest.mark.parametrize("d", [1, 2, 3, 10])
def test_other_distances_have_absolute_accuracy(d):
    X = cloud(60, d)
    found = squared_distances(X, X.copy())
    np.testing.assert_allclose(found, differences(X, X), atol=20 * np.finfo(float).eps * np.max(np.sum(X * X, axis=1)))
    assert np.min(found) >= 0.0


def test_a_shift_costs_nothing():
    X = cloud(60, 5).astype(np.float32)
    shifted = X + np.float32(100.0)
    exact = differences(shifted, shifted)
    for precise, tolerance in ((False, 3e-6), (True, 3e-7)):
        found = squared_distances(shifted, shifted.copy(), precise=precise)
        assert np.max(np.abs(found - exact)) < tolerance * np.max(exact)


def test_every_library(xp):
    X, Y = cloud(40, 4), cloud(30, 4, rng=1)
    Y[:3] = X[:3]
    for precise in (False, True):
        for dtype in ("float32", "float64"):
            low, other = X.astype(dtype), Y.astype(dtype)
            found = squared_distances(of(xp, low, dtype), of(xp, other, dtype), precise=precise)
            assert dtype_name(found.dtype) == dtype
            tolerance = (1e-6 if dtype == "float32" else 1e-14) * 10
            np.testing.assert_allclose(to_host(found), differences(low, other), atol=tolerance)


def test_many_close_pairs_are_repaired_in_pieces(monkeypatch):
    monkeypatch.setattr(pairwise, "GATHER", 16)
    X = np.repeat(np.random.default_rng(0).standard_normal((4, 3)), 8, axis=0)
    np.testing.assert_allclose(squared_distances(X, X.copy(), precise=True), differences(X, X), rtol=1e-13)


def test_equal_points_have_no_distance():
    X = np.full((7, 5), 0.1)
    for precise in (False, True):
        np.testing.assert_array_equal(squared_distances(X, X, precise=precise), 0.0)


def test_scales():
    X, Y = cloud(40, 4), cloud(30, 4, rng=1)
    scale = (1.0, 2.0, 0.5, 3.0)
    np.testing.assert_allclose(squared_distances(X, Y, scale=scale), differences(X / scale, Y / scale), atol=1e-12)
    few, others = X[:, :2], Y[:, :2]
    np.testing.assert_allclose(squared_distances(few, others, scale=2.0), differences(few, others) / 4, rtol=1e-13)
    with pytest.raises(ShapeError, match="length scales"):
        squared_distances(X, Y, scale=(1.0, 2.0))


@pytest.mark.parametrize("factor", [1e-14, 1e14])
def test_units(factor):
    X = cloud(60, 4)
    for precise in (False, True):
        found = squared_distances(factor * X, factor * X, precise=precise) / factor**2
        np.testing.assert_allclose(found, squared_distances(X, X, precise=precise), atol=1e-13)


def test_checked_points():
    assert as_points(np.array([[True]])).dtype == np.float64
    X = np.ones((3, 2))
    assert as_pair(X, X)[1] is None
    assert as_pair(X, X.copy())[1] is not None
    with pytest.raises(ShapeError, match=r"Y\[:, None\]"):
        as_pair(X, np.ones(3))
    with pytest.raises(NonFiniteError, match="Y must be finite; row 0"):
        as_pair(X, np.full((1, 2), np.nan))
    with pytest.raises(ShapeError, match="2 and 3"):
        as_pair(X, np.ones((3, 3)))
    with pytest.raises(BackendError, match="share"):
        as_pair(X, np.ones((3, 2), dtype=np.float32))


@pytest.mark.parametrize("precise", [False, True])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("outlier", [1e4, 1e8, 1e20, 1e30])
def test_an_outlier_leaves_other_distances_as_they_are(outlier, dtype, precise):
    X = np.random.default_rng(0).standard_normal((12, 5)).astype(dtype)
    X[-1] = outlier
    found = squared_distances(X, X.copy(), precise=precise)
    exact = differences(X[:-1].astype(float), X[:-1].astype(float))
    np.testing.assert_allclose(found[:-1, :-1], exact, rtol=20 * np.finfo(dtype).eps, atol=0)
    assert np.all(found[:-1, -1] > min(outlier**2 / 2, float(np.finfo(dtype).max)))
    assert found[-1, -1] == 0


@pytest.mark.parametrize("d", [1, 5])
@pytest.mark.parametrize(("dtype", "scale"), [(np.float64, 1e-310), (np.float64, 1e-200), (np.float32, 1e-50)])
def test_a_tiny_length_scale_leaves_copies_only(dtype, scale, d):
    X = np.random.default_rng(0).standard_normal((6, d)).astype(dtype)
    np.testing.assert_array_equal(squared_distances(X, X, scale=scale), np.where(np.eye(6) > 0, 0.0, np.inf))
