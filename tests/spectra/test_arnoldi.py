"""Arnoldi: the relation, exact moments, agreement with Lanczos and SciPy, breakdown, scale, refusals."""

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.sparse.linalg import LinearOperator, aslinearoperator

from spectra.arnoldi import arnoldi, normality_defect, ritz_points
from spectra.arrays import to_host
from spectra.errors import ArgumentError, BackendError, NonFiniteError, ShapeError
from spectra.lanczos import lanczos
from spectra.operators import Operator
from spectra.rectangular import RectangularOperator, as_rectangular

N = 30


def general(n=N, seed=0):
    return np.random.default_rng(seed).standard_normal((n, n)) / np.sqrt(n)


def vector(n=N, seed=1):
    return np.random.default_rng(seed).standard_normal(n)


@pytest.mark.parametrize(("dtype", "bound"), [("float64", 1e-13), ("float32", 1e-5)])
def test_relation_and_orthonormality(xp, dtype, bound):
    a = general().astype(dtype)
    found = arnoldi(xp.asarray(a), xp.asarray(vector().astype(dtype)), num_steps=12, keep_basis=True)
    q = to_host(found.basis)
    np.testing.assert_allclose(q @ q.T, np.eye(12), atol=bound)
    np.testing.assert_allclose(q @ a @ q.T, found.matrix[:12], atol=bound)
    rest = a @ q.T - q.T @ found.matrix[:12]
    np.testing.assert_allclose(rest[:, :-1], 0.0, atol=bound)
    np.testing.assert_allclose(np.linalg.norm(rest[:, -1]), found.matrix[12, 11], rtol=10 * bound)
    assert found.num_matvecs == found.num_steps == 12
    np.testing.assert_allclose(found.start_norm, np.linalg.norm(vector()), rtol=bound)


def test_strong_grading_leaves_the_vectors_orthonormal():
    rows = np.geomspace(1, 1e-10, 60)[:, None]  # one pass of orthogonalization loses all digits here
    a = np.triu(np.random.default_rng(0).standard_normal((60, 60))) * rows
    q = arnoldi(a, np.ones(60), num_steps=40, keep_basis=True).basis
    np.testing.assert_allclose(q @ q.T, np.eye(40), atol=1e-13)


def test_moments_are_exact_up_to_the_number_of_steps_and_no_further():
    a, v = general(), vector() / np.linalg.norm(vector())
    found = arnoldi(a, vector(), num_steps=6).ritz()
    for degree in range(8):
        exact = v @ np.linalg.matrix_power(a, degree) @ v
        from_nodes = np.sum(found.weights * found.values**degree)
        assert abs(from_nodes.imag) < 1e-13
        if degree <= 6:
            np.testing.assert_allclose(from_nodes.real, exact, atol=1e-13)
        else:
            assert abs(from_nodes.real - exact) > 1e-3


def test_inner_products_of_polynomials_are_exact_below_the_number_of_steps():
    a, v = general(), vector() / np.linalg.norm(vector())
    h = arnoldi(a, vector(), num_steps=6).matrix[:6]
    for j in range(6):
        for k in range(6):
            exact = (np.linalg.matrix_power(a, j) @ v) @ (np.linalg.matrix_power(a, k) @ v)
            found = np.linalg.matrix_power(h, j)[:, 0] @ np.linalg.matrix_power(h, k)[:, 0]
            np.testing.assert_allclose(found, exact, rtol=1e-11, atol=1e-13)


def test_of_a_symmetric_matrix_it_is_lanczos():
    a = general() + general().T
    found, tri = arnoldi(a, vector(), num_steps=9), lanczos(a, vector(), num_steps=9)
    np.testing.assert_allclose(np.diagonal(found.matrix), tri.diagonal[0], atol=1e-12)
    np.testing.assert_allclose(np.diagonal(found.matrix, -1), tri.off_diagonal[0], atol=1e-12)
    points, ritz = found.ritz(), tri.ritz(0)
    np.testing.assert_allclose(points.values, ritz.values, atol=1e-11)
    np.testing.assert_allclose(points.weights, ritz.weights, atol=1e-11)
    np.testing.assert_allclose(points.residuals, ritz.residuals, atol=1e-11)


def test_of_a_skew_symmetric_matrix_weights_are_positive_and_twice_as_many_moments_exact():
    a, v = general() - general().T, vector() / np.linalg.norm(vector())
    found = arnoldi(a, vector(), num_steps=6).ritz()
    np.testing.assert_allclose(found.weights.imag, 0.0, atol=1e-13)
    assert np.all(found.weights.real > 0)
    for degree in range(12):
        exact = v @ np.linalg.matrix_power(a, degree) @ v
        np.testing.assert_allclose(np.sum(found.weights * found.values**degree).real, exact, rtol=1e-10, atol=1e-10)


def test_all_eigenvalues_after_n_steps():
    a = general()
    found = arnoldi(a, vector(), num_steps=100)
    assert found.num_steps == N
    assert found.matrix[-1, -1] == 0.0
    expected = np.linalg.eigvals(a)
    apart = np.abs(found.ritz().values[:, None] - expected[None, :])
    assert apart.min(axis=0).max() < 1e-10
    assert apart.min(axis=1).max() < 1e-10


def test_residuals_are_those_of_the_ritz_vectors():
    a = general()
    found = arnoldi(a, vector(), num_steps=7, keep_basis=True)
    values, vectors = np.linalg.eig(found.matrix[:7])
    actual = {}
    for value, y in zip(values, vectors.T, strict=True):
        x = found.basis.T @ y
        actual[complex(np.round(value, 8))] = np.linalg.norm(a @ x - value * x)
    points = found.ritz()
    for value, residual in zip(points.values, points.residuals, strict=True):
        np.testing.assert_allclose(residual, actual[complex(np.round(value, 8))], rtol=1e-9)


@pytest.mark.parametrize(("num_distinct", "steps"), [(1, 1), (3, 3), (12, 12)])
def test_small_krylov_spaces_end(num_distinct, steps):
    values = np.resize(np.arange(1.0, num_distinct + 1), N)
    found = arnoldi(np.diag(values), np.ones(N), num_steps=25)
    assert found.num_steps == steps
    assert found.matrix[-1, -1] == 0.0
    assert found.num_matvecs <= steps + 8


def test_zero_matrix_and_order_one():
    assert arnoldi(np.zeros((4, 4)), np.ones(4), num_steps=3).matrix.tolist() == [[0.0], [0.0]]
    assert arnoldi(np.array([[-2.0]]), np.ones(1), num_steps=3).ritz().values.tolist() == [-2.0]


@pytest.mark.parametrize("exponent", [-900, -40, 40, 900])
def test_powers_of_two_change_units_only(exponent):
    plain, scaled = (arnoldi(general() * 2.0**e, vector(), num_steps=8) for e in (0, exponent))
    np.testing.assert_allclose(scaled.matrix * 2.0**-exponent, plain.matrix, rtol=1e-13)
    np.testing.assert_allclose(scaled.ritz().weights, plain.ritz().weights, rtol=1e-10)


def test_kinds_of_operators_agree():
    a, v = general(), vector()
    plain = arnoldi(a, v, num_steps=5).matrix
    kinds = [csr_array(a), aslinearoperator(a), as_rectangular(a), Operator(lambda block: a @ block, like=v)]
    for kind in kinds:
        np.testing.assert_allclose(arnoldi(kind, v, num_steps=5).matrix, plain, atol=1e-13)


def test_a_matrix_without_eigenvectors_gives_weights_that_are_not_finite():
    shift = np.diag(np.ones(3), -1)
    points = ritz_points(np.vstack([shift[:3, :3], [0.0, 0.0, 1.0]]))
    assert np.isinf(points.condition)
    assert not np.all(np.isfinite(points.weights))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_defect_of_normal_matrices_is_rounding_and_of_others_not(dtype):
    a, v = general(), vector().astype(dtype)
    eps = np.finfo(dtype).eps
    for normal in (a + a.T, a - a.T, np.linalg.qr(a)[0], 3.0 * np.eye(N) + a - a.T):
        assert normality_defect(normal.astype(dtype), v)[0] < 20 * eps
    defect, num_matvecs = normality_defect(a.astype(dtype), v)
    assert defect > 0.1
    assert num_matvecs == 4
    np.testing.assert_allclose(normality_defect(1e-10 * a, vector())[0], normality_defect(a, vector())[0], rtol=1e-9)
    assert normality_defect(np.zeros((3, 3)), np.ones(3)) == (0.0, 4)


def test_defect_is_the_relative_commutator():
    a, v = general(), vector()
    left, right = a @ a.T @ v, a.T @ a @ v
    expected = np.linalg.norm(left - right) / max(np.linalg.norm(left), np.linalg.norm(right))
    rectangular = RectangularOperator(lambda x: a @ x, lambda x: a.T @ x, shape=(N, N), like=v)
    for kind in (a, csr_array(a), aslinearoperator(a), rectangular):
        np.testing.assert_allclose(normality_defect(kind, v)[0], expected, rtol=1e-10)


def test_defect_without_a_transpose_is_not_known():
    a, v = general(), vector()
    without = LinearOperator((N, N), matvec=lambda x: a @ x, dtype=np.float64)
    for kind in (Operator(lambda block: a @ block, like=v), without):
        defect, num_matvecs = normality_defect(kind, v)
        assert np.isnan(defect)
        assert num_matvecs == 0


def test_bad_calls_are_refused():
    a = general()
    with pytest.raises(ShapeError, match="square"):
        arnoldi(a[:, :5], np.ones(5), num_steps=2)
    with pytest.raises(ShapeError, match="one vector"):
        arnoldi(a, np.ones((N, 2)), num_steps=2)
    with pytest.raises(ShapeError, match="start must have shape"):
        arnoldi(a, np.ones(N - 1), num_steps=2)
    with pytest.raises(BackendError, match="list"):
        arnoldi(a, [1.0] * N, num_steps=2)
    with pytest.raises(BackendError, match="real"):
        arnoldi(a + 1j, np.ones(N), num_steps=2)
    for bad in (0, -1, 2.0, True):
        with pytest.raises(ArgumentError, match="num_steps"):
            arnoldi(a, np.ones(N), num_steps=bad)
    for bad in (np.zeros(N), np.full(N, np.nan)):
        with pytest.raises(ArgumentError, match="nonzero"):
            arnoldi(a, bad, num_steps=2)


@pytest.mark.parametrize("step", [1, 5])
def test_products_that_are_not_finite_are_named(step):
    a, calls = general(), []

    def product(block):
        calls.append(1)
        return a @ block * (np.nan if len(calls) == step else 1.0)

    with pytest.raises(NonFiniteError, match=f"Arnoldi step {step} "):
        arnoldi(Operator(product, like=np.zeros(N), name="broken"), np.ones(N), num_steps=12)
