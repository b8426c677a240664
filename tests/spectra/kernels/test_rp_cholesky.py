import numpy as np
import pytest
from scipy.linalg import lapack, solve_triangular

from spectra.errors import ArgumentError, BackendError, NonFiniteError, NotSymmetricError, ShapeError
from spectra.kernels.rp_cholesky import rp_cholesky, rp_cholesky_of_gram
from spectra.kernels.stationary import RBF, Laplace


def points(n, d=3, seed=0, dtype=np.float64):
    return np.random.default_rng(seed).standard_normal((n, d)).astype(dtype)


def gram(kernel, X):
    return kernel(X, X)


def test_full_rank_is_the_matrix():
    K = gram(Laplace(1.0), points(40))
    found = rp_cholesky_of_gram(K, num_columns=40)
    np.testing.assert_allclose(found.factor @ found.factor.T, K, atol=1e-14)
    assert sorted(found.pivots) == list(range(40))
    assert found.residual_trace < 1e-12


def test_columns_of_pivots_are_exact():
    K = gram(RBF(2.0), points(200))
    found = rp_cholesky_of_gram(K, num_columns=20)
    np.testing.assert_allclose((found.factor @ found.factor.T)[:, found.pivots], K[:, found.pivots], atol=1e-13)


@pytest.mark.parametrize("kernel", [RBF(1.5), Laplace(1.5)])
def test_approximates_from_below_by_what_it_says(kernel):
    X = points(300)
    K = gram(kernel, X)
    found = rp_cholesky(kernel, X, num_columns=60)
    rest = K - found.factor @ found.factor.T
    assert np.min(np.linalg.eigvalsh(rest)) > -1e-13
    assert found.residual_trace == pytest.approx(np.trace(rest), rel=1e-9)
    np.testing.assert_allclose(found.residual_diagonal, np.diag(rest), atol=1e-13)
    w = np.linalg.eigvalsh(K)[::-1][:60]
    assert np.all(found.eigenvalue <= w + 1e-12)
    assert np.all(w - found.eigenvalue <= found.residual_trace)
    assert found.is_trustworthy
    assert found.stop == "num_columns"


def test_kernel_and_its_matrix_agree():
    X = points(150)
    first = rp_cholesky(RBF(1.0), X, num_columns=30, rng=5)
    second = rp_cholesky_of_gram(gram(RBF(1.0), X), num_columns=30, rng=5)
    np.testing.assert_array_equal(first.pivots, second.pivots)
    np.testing.assert_allclose(first.factor, second.factor, atol=1e-10)


def test_function_without_diagonal_and_float32_data():
    X = points(150, dtype=np.float32)
    kernel = RBF(1.0)
    first = rp_cholesky(kernel, X, num_columns=30, rng=5)
    second = rp_cholesky(lambda A, B: kernel(A, B), X, num_columns=30, rng=5)
    np.testing.assert_allclose(first.factor, second.factor, atol=1e-12)
    assert first.factor.dtype == np.float64
    assert first.eps == np.finfo(np.float64).eps


@pytest.mark.parametrize("scale", [1e-14, 1e14])
def test_units(scale):
    K = gram(RBF(1.0), points(100))
    one, other = (rp_cholesky_of_gram(c * K, num_columns=100) for c in (1.0, scale))
    assert other.stop == one.stop == "rounding"
    np.testing.assert_allclose(other.eigenvalue[:20] / scale, one.eigenvalue[:20], rtol=1e-6)


def test_first_pivots_follow_the_diagonal():
    """The first pivot is i with probability K_ii / tr K; z-test over seeds."""
    K = np.diag([4.0, 3.0, 2.0, 1.0])
    seeds = 2000
    first = np.array([rp_cholesky_of_gram(K, num_columns=1, rng=s).pivots[0] for s in range(seeds)])
    share = np.array([0.4, 0.3, 0.2, 0.1])
    counts = np.bincount(first, minlength=4)
    z = (counts - seeds * share) / np.sqrt(seeds * share * (1 - share))
    assert np.max(np.abs(z)) < 3.5


def test_second_pivots_follow_the_residual():
    """Rejection keeps the law of the plain algorithm: after i, j with its share of what is left; z-test."""
    K = np.array([[2.0, 1.5, 0.0], [1.5, 2.0, 0.5], [0.0, 0.5, 1.0]])
    law = np.zeros((3, 3))
    for i in range(3):
        left = np.diag(K) - K[i] ** 2 / K[i, i]
        law[i] = np.diag(K)[i] / np.trace(K) * np.maximum(left, 0) / np.sum(np.maximum(left, 0))
    seeds = 3000
    seen = np.zeros((3, 3))
    for s in range(seeds):
        i, j = rp_cholesky_of_gram(K, num_columns=2, rng=s, block=7).pivots
        seen[i, j] += 1
    possible = law > 1e-12
    z = (seen - seeds * law)[possible] / np.sqrt(seeds * law * (1 - law))[possible]
    assert np.max(np.abs(z)) < 3.5
    assert np.all(seen[~possible] == 0)


def test_low_rank_and_copies_end_early():
    X = np.repeat(points(10), 20, axis=0)
    found = rp_cholesky(Laplace(1.0), X, num_columns=100)
    assert found.stop == "rounding"
    assert found.num_columns == 10
    assert rp_cholesky_of_gram(np.ones((5, 5)), num_columns=5).num_columns == 1


def test_tolerance():
    found = rp_cholesky(RBF(1.0), points(400), num_columns=400, tolerance=1e-2)
    assert found.stop == "tolerance"
    assert found.residual_trace <= 1e-2 * found.trace
    assert found.num_columns < 300


def naive_single(K, num_columns, block, seed):
    """Return factor and residual of i.i.d. block sampling with jitter, all in single precision: the trap."""
    generator, n = np.random.default_rng(seed), len(K)
    left, F = np.diag(K).astype(np.float32).copy(), np.zeros((n, 0), dtype=np.float32)
    while F.shape[1] < num_columns and np.sum(left) > 0:
        share = left.astype(np.float64)
        drawn = np.unique(generator.choice(n, size=block, p=share / np.sum(share)))
        images = K[:, drawn] - F @ F[drawn].T
        core = images[drawn]
        jitter = np.float32(1e-5 * np.trace(core))
        triangle, _info = lapack.spotrf(core + jitter * np.eye(len(drawn), dtype=np.float32), lower=1)
        new = solve_triangular(np.tril(triangle), images.T, lower=True, check_finite=False).T
        F = np.concatenate([F, new], axis=1)
        left = np.maximum(left - np.sum(new**2, axis=1), 0)
    return F.astype(np.float64), float(np.sum(left))


def test_single_precision_trap():
    """Unguarded single precision says that nothing is left while its factor is far larger than the matrix."""
    X = points(1500)
    K = gram(RBF(1.5), X).astype(np.float32)
    F, left = naive_single(K, 300, 50, seed=0)
    assert abs(np.sum(F**2) + left - 1500) > 1e-1 * 1500
    found = rp_cholesky_of_gram(K, num_columns=300)
    assert found.is_trustworthy
    assert found.stop == "rounding"
    assert found.num_columns < 300
    assert found.residual_trace < 1e2 * np.finfo(np.float32).eps * 1500
    w = np.linalg.eigvalsh(K.astype(np.float64))[::-1]
    np.testing.assert_allclose(found.eigenvalue[:10], w[:10], rtol=1e-4)


def test_data_in_single_precision_avoids_it():
    X = points(1500, dtype=np.float32)
    found = rp_cholesky(RBF(1.5), X, num_columns=500)
    assert found.num_columns == 500
    assert 0 < found.residual_trace < 1e-8 * 1500
    assert abs(np.sum(found.factor**2) + found.residual_trace - 1500) < 1e-8


def test_small():
    assert rp_cholesky(RBF(1.0), np.zeros((1, 2)), num_columns=3).eigenvalue.tolist() == [1.0]
    assert rp_cholesky(RBF(1.0), [[0.0], [0.0]], num_columns=3).num_columns == 1


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"X": np.ones(5)}, ShapeError),
        ({"X": np.zeros((0, 2))}, ShapeError),
        ({"X": np.array([[1.0, np.nan]])}, NonFiniteError),
        ({"X": np.array([["a"]])}, ArgumentError),
        ({"kernel": lambda X, Y: np.ones((len(X), len(Y) + 1))}, ShapeError),
        ({"kernel": lambda X, Y: np.full((len(X), len(Y)), np.inf)}, NonFiniteError),
        ({"kernel": lambda X, Y: np.zeros((len(X), len(Y)))}, ArgumentError),
        ({"kernel": lambda X, Y: 1.0 + 0.5 * (X[:, :1] - Y[:, :1].T)}, NotSymmetricError),
        ({"kernel": lambda X, Y: 1.0 + np.sum((X[:, None] - Y) ** 2, axis=2)}, ArgumentError),
        ({"num_columns": 0}, ArgumentError),
        ({"tolerance": -1.0}, ArgumentError),
        ({"tolerance": 1.0}, ArgumentError),
        ({"block": 0}, ArgumentError),
        ({"rng": -1}, ArgumentError),
    ],
)
def test_wrong_calls(change, error):
    given = {"kernel": RBF(1.0), "X": points(20), "num_columns": 5} | change
    with pytest.raises(error):
        rp_cholesky(given.pop("kernel"), given.pop("X"), **given)


def test_not_a_gram_matrix():
    with pytest.raises(ArgumentError):
        rp_cholesky_of_gram(-np.eye(3), num_columns=1)
    with pytest.raises(ArgumentError, match="positive semidefinite"):
        rp_cholesky_of_gram(np.array([[1.0, 2.0], [2.0, 1.0]]), num_columns=2)


@pytest.mark.parametrize(
    ("kernel", "error"),
    [
        (3, ArgumentError),
        (lambda X, Y: None, BackendError),
        (lambda X, Y: np.ones((len(X), len(Y))).tolist(), BackendError),
        (lambda X, Y: np.ones((len(X), len(Y)), dtype=complex), BackendError),
        (lambda X, Y: np.ones(len(X)), ShapeError),
    ],
)
def test_kernels_that_return_no_block(kernel, error):
    with pytest.raises(error):
        rp_cholesky(kernel, points(9), num_columns=2)


def test_kernels_of_integers():
    found = rp_cholesky(lambda X, Y: np.ones((len(X), len(Y)), dtype=int), points(9) > 0, num_columns=2)
    np.testing.assert_allclose(found.eigenvalue, [9.0])


@pytest.mark.parametrize("n", [5, 100])
def test_evaluations_are_counted(n):
    counted = []

    def kernel(X, Y):
        counted.append(len(X) * len(Y))
        return np.exp(-np.sum((X[:, None] - Y[None]) ** 2, axis=2))

    found = rp_cholesky(kernel, points(n), num_columns=4)
    # one entry tells the dtype
    assert found.num_evaluations == sum(counted) - 1


def test_parameters_that_learn_leave_no_graph():
    torch = pytest.importorskip("torch")
    scale = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    X = torch.asarray(points(9)).requires_grad_()
    found = rp_cholesky(lambda X, Y: torch.exp(-(torch.cdist(X, Y) ** 2) / scale), X, num_columns=4)
    assert not found.factor.requires_grad
