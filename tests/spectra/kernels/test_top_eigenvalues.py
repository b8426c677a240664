import numpy as np
import pytest

from spectra.errors import ArgumentError, NotSymmetricError, ShapeError
from spectra.kernels.stationary import RBF, Laplace
from spectra.kernels.top_eigenvalues import top_eigenvalues, top_eigenvalues_of_operator


def points(n, d=3, seed=0, dtype=np.float64):
    return np.random.default_rng(seed).standard_normal((n, d)).astype(dtype)


def dense(kernel, X):
    return np.linalg.eigvalsh(kernel(X))[::-1]


def test_fast_decay_needs_columns_only():
    X = points(800)
    found = top_eigenvalues(RBF(3.0), X, num=30)
    w = dense(RBF(3.0), X)[:30]
    assert found.method == "columns"
    assert found.num_products == 0
    assert 0 < found.num_columns <= 200
    assert np.all(np.abs(found.eigenvalue - w) <= found.error_bound)
    np.testing.assert_allclose(found.eigenvalue[:10], w[:10], rtol=1e-7)


def test_slow_decay_needs_products():
    X = points(800)
    K = Laplace(1.5)(X)
    w = np.linalg.eigvalsh(K)[::-1][:20]
    found = top_eigenvalues(Laplace(1.5), X, num=20)
    assert found.method == "products"
    assert found.num_columns == 200
    assert found.num_blocks <= 8
    assert found.is_trustworthy
    np.testing.assert_allclose(found.eigenvalue, w, rtol=1e-6)
    assert np.all(np.abs(found.eigenvalue - w) <= found.error_bound)
    V = found.eigenvector
    np.testing.assert_allclose(V.T @ V, np.eye(20), atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(K @ V - V * found.eigenvalue, axis=0), found.residual, atol=1e-10)


def test_single_precision_data():
    X = points(600, dtype=np.float32)
    found = top_eigenvalues(Laplace(1.5), X, num=5)
    w = dense(Laplace(1.5), X.astype(np.float64))[:5]
    assert np.all(np.abs(found.eigenvalue - w) <= found.error_bound)
    np.testing.assert_allclose(found.eigenvalue, w, rtol=1e-5)


@pytest.mark.parametrize("scale", [1e-14, 1e14])
def test_units(scale):
    K = Laplace(1.0)(points(300))
    one, other = (top_eigenvalues_of_operator(c * K, num=4) for c in (1.0, scale))
    np.testing.assert_allclose(other.eigenvalue / scale, one.eigenvalue, rtol=1e-12)
    np.testing.assert_allclose(other.error_bound / scale, one.error_bound, rtol=1e-2)


def test_start_saves_blocks():
    w = 1.0 / np.arange(1.0, 1001.0)
    cold = top_eigenvalues_of_operator(np.diag(w), num=20, depth=2)
    warm = top_eigenvalues_of_operator(np.diag(w), num=20, depth=2, start=np.eye(1000)[:, :32] + 0.001)
    assert np.max(warm.residual) < np.max(cold.residual)
    fewer = top_eigenvalues_of_operator(np.diag(w), num=2, start=np.eye(1000)[:, 0])
    np.testing.assert_allclose(fewer.eigenvalue, [1.0, 0.5], rtol=1e-9)


def test_too_few_blocks_are_no_trustworthy_result():
    found = top_eigenvalues_of_operator(np.diag(np.linspace(0.9, 1.0, 2000)), num=40, depth=1)
    assert not found.is_trustworthy
    assert "depth" in found.why


def test_small_and_more_than_there_are():
    assert top_eigenvalues_of_operator(np.array([[2.0]]), num=3).eigenvalue.tolist() == [2.0]
    found = top_eigenvalues(RBF(1.0), points(2), num=5)
    assert found.eigenvalue.size == 2
    assert found.eigenvalue.sum() == pytest.approx(2.0)


def test_bad_input():
    with pytest.raises(ArgumentError):
        top_eigenvalues_of_operator(np.eye(3), num=0)
    with pytest.raises(ArgumentError):
        top_eigenvalues_of_operator(np.eye(3), num=1, tolerance=-1.0)
    with pytest.raises(ShapeError):
        top_eigenvalues_of_operator(np.eye(3), num=1, start=np.ones(4))
    with pytest.raises(NotSymmetricError):
        top_eigenvalues_of_operator(np.triu(np.ones((50, 50))), num=1)


def test_lists_are_taken_by_both_methods():
    X = points(40)
    for columns in (2, 40):
        found = top_eigenvalues(Laplace(0.1), X.tolist(), num=3, num_columns=columns)
        np.testing.assert_allclose(found.eigenvalue, top_eigenvalues(Laplace(0.1), X, num=3).eigenvalue, rtol=1e-6)


@pytest.mark.parametrize("tolerance", [None, "a", np.array([0.1, 0.2])])
def test_tolerances_that_are_no_numbers(tolerance):
    with pytest.raises(ArgumentError, match="tolerance"):
        top_eigenvalues(Laplace(), points(9), num=1, tolerance=tolerance)
    with pytest.raises(ArgumentError, match="tolerance"):
        top_eigenvalues_of_operator(np.eye(3), num=1, tolerance=tolerance)


def test_fewer_columns_than_start_vectors_on_a_strict_library():
    xs = pytest.importorskip("array_api_strict")
    X = points(40)
    found = top_eigenvalues(Laplace(0.1), xs.asarray(X), num=3, num_columns=2)
    np.testing.assert_allclose(found.eigenvalue, top_eigenvalues(Laplace(0.1), X, num=3).eigenvalue, rtol=1e-6)
