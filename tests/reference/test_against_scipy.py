"""Comparisons with dense NumPy and SciPy on matrices from real data.

Tolerances: what is exact in exact arithmetic is compared to 1e-10 of the norm, a hundred times the rounding of an order
of some hundred; what is estimated is compared by the estimate's own interval or standard error.
"""

import numpy as np
import pytest
import scipy.linalg
import scipy.sparse
from scipy.sparse.linalg import eigsh

import spectra
from spectra.interoperability import as_scipy
from spectra.start_vectors import start_vectors
from tests.reference.matrices import MATRICES, POSITIVE_DEFINITE

pytest.importorskip("sklearn")

FUNCTIONS = {
    "identity": lambda x: x,
    "square": lambda x: x**2,
    "exponential": lambda x: np.exp(-x),
    "resolvent": lambda x: 1.0 / (1.0 + x),
}


@pytest.fixture(params=MATRICES)
def name(request):
    """Return the name of one matrix after the other."""
    return request.param


@pytest.fixture
def a(name):
    """Return the matrix as its users have it."""
    return MATRICES[name]()


def dense(a):
    return a.toarray() if scipy.sparse.issparse(a) else a


def unit(a):
    """Return the matrix with norm one, for functions that need a scale."""
    return a / np.linalg.norm(dense(a), 2)


def test_all_steps_give_all_eigenvalues(a, name):
    exact = np.linalg.eigvalsh(dense(a))
    n = len(exact)
    found = spectra.lanczos(a, start_vectors(np.zeros(n), num=1), num_steps=n)
    values = found.ritz(0).values
    distance = np.min(np.abs(values[:, None] - exact), axis=1)
    assert np.max(distance) <= 1e-10 * exact[-1]
    assert abs(values[-1] - exact[-1]) <= 1e-12 * exact[-1]
    assert np.all(np.min(np.abs(exact[:, None] - values), axis=1)[_separate(exact)] <= 1e-8 * exact[-1])


def _separate(values):
    """Mark eigenvalues that are apart from their neighbors by 1e-4 of the largest: a start vector sees each of them."""
    gaps = np.diff(values, prepend=-np.inf, append=np.inf)
    return np.minimum(gaps[:-1], gaps[1:]) > 1e-4 * values[-1]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_quadratic_forms(a, function):
    """Compare v'f(A)v, probe by probe, with the dense matrix function."""
    a, f = unit(a), FUNCTIONS[function]
    measure = spectra.slq(a, num_probes=3, num_steps=30)
    values, vectors = np.linalg.eigh(dense(a))
    probes = start_vectors(np.zeros(len(values)), num=3)
    weights = (vectors.T @ probes) ** 2 / len(values)
    expected = f(values) @ weights
    nodes = measure["ritz_value"].values
    found = np.sum(measure["weight"].values * np.where(np.isnan(nodes), 0.0, f(np.nan_to_num(nodes))), axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-10)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_expectation(a, function):
    """Compare tr f(A) / n with the dense trace; the interval must hold, widened to five standard errors."""
    a, f = unit(a), FUNCTIONS[function]
    estimate = spectra.expectation(spectra.slq(a, num_probes=20, num_steps=40), f)
    exact = float(np.mean(f(np.linalg.eigvalsh(dense(a)))))
    assert estimate.low <= estimate.value <= estimate.high
    assert abs(estimate.value - exact) <= 5.0 * estimate.stderr + 1e-9 * abs(exact) + (estimate.high - estimate.low)


def test_exponential_of_scipy(a):
    a = unit(a)
    estimate = spectra.expectation(spectra.slq(a, num_probes=20, num_steps=30), np.exp)
    exact = float(np.trace(scipy.linalg.expm(dense(a)))) / a.shape[0]
    assert abs(estimate.value - exact) <= 2.0 * (estimate.high - estimate.low) + 1e-10 * exact


@pytest.mark.parametrize("name", POSITIVE_DEFINITE)
def test_log_determinant(name):
    """Compare n E[log] with slogdet."""
    a = MATRICES[name]()
    sign, exact = np.linalg.slogdet(a)
    assert sign == 1.0
    n = len(a)
    estimate = spectra.expectation(spectra.slq(a, num_probes=20, num_steps=min(n, 120)), np.log)
    assert estimate.status in {"resolved", "exact"}
    width = n * (estimate.high - estimate.low)
    assert abs(n * estimate.value - exact) <= width + 1e-6 * abs(exact)


@pytest.mark.parametrize("which", ["largest", "smallest"])
def test_eigenpairs_against_dense_and_arpack(a, which, name):
    exact = np.linalg.eigvalsh(dense(a))
    order = exact[::-1] if which == "largest" else exact
    pairs = spectra.eigenpairs(a, num=1, which=which, tolerance=1e-9, max_steps=len(exact))
    found = float(pairs["eigenvalue"].values[0])
    assert bool(pairs["converged"].values[0])
    assert abs(found - order[0]) <= 2e-9 * exact[-1]
    vector = pairs["eigenvector"].values[0]
    assert np.linalg.norm(a @ vector - found * vector) <= 2e-9 * exact[-1]
    if which == "largest":
        start = np.random.default_rng(0).standard_normal(len(exact))  # ones are in the null space of a Laplacian
        top = eigsh(as_scipy(a), k=1, which="LA", return_eigenvectors=False, v0=start, tol=1e-12)
        assert found == pytest.approx(float(top[0]), rel=1e-10)


def test_several_pairs_and_eigenvectors(a, name):
    """Compare the top three with eigh; degenerate ones would need blocks, and none of these matrices has them there."""
    values, vectors = np.linalg.eigh(dense(a))
    pairs = spectra.eigenpairs(a, num=3, tolerance=1e-10, max_steps=len(values))
    np.testing.assert_allclose(pairs["eigenvalue"].values, values[::-1][:3], rtol=1e-9)
    for k in range(3):
        overlap = abs(float(pairs["eigenvector"].values[k] @ vectors[:, -1 - k]))
        assert overlap == pytest.approx(1.0, abs=1e-8)


def test_singular_values_by_the_gram_operator():
    from sklearn.datasets import load_digits

    images = load_digits().data / 16.0
    exact = np.linalg.svd(images, compute_uv=False)
    pairs = spectra.eigenpairs(spectra.gram(images), num=5, tolerance=1e-10, max_steps=64)
    np.testing.assert_allclose(np.sqrt(pairs["eigenvalue"].values), exact[:5], rtol=1e-9)


def test_distribution(a, name):
    """Compare the cdf with the counted share of eigenvalues, between nodes, where it is not a matter of rounding."""
    exact = np.linalg.eigvalsh(dense(a))
    n = len(exact)
    measure = spectra.slq(a, num_probes=10, num_steps=min(n, 60))
    points = np.linspace(exact[0] - 0.01 * exact[-1], 1.01 * exact[-1], 50)
    share = np.searchsorted(exact, points, side="right") / n
    bounds = spectra.cdf_bounds(measure, points)
    deviation = 5.0 * np.sqrt(2.0 * share * (1.0 - share) / ((n + 2) * 10))  # of the weight of a share of eigenvalues
    assert np.all(share <= bounds.high + deviation + 1e-9)
    assert np.all(share >= bounds.low - deviation - 1e-9)
    assert spectra.cdf(measure, points[0]) == 0.0
    assert spectra.cdf(measure, points[-1]) == 1.0
    assert spectra.wasserstein_distance(measure, exact) <= 0.02 * exact[-1]


def test_dense_and_sparse_agree():
    ours, other = (
        spectra.slq(MATRICES[name](), num_probes=4, num_steps=20) for name in ("graph Laplacian", "sparse Laplacian")
    )
    np.testing.assert_allclose(ours["ritz_value"], other["ritz_value"], rtol=1e-9, atol=1e-9)
