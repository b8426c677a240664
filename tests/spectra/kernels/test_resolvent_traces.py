import numpy as np
import pytest

from spectra.errors import ArgumentError, NonFiniteError, NotSymmetricError, ShapeError
from spectra.kernels.dimension_curve import dimension_curve
from spectra.kernels.dimension_table import QUANTITIES
from spectra.kernels.gram import GramSpectrum
from spectra.kernels.resolvent_traces import Complement, resolvent_traces
from spectra.kernels.rp_cholesky import rp_cholesky
from spectra.kernels.stationary import RBF, Laplace
from spectra.operators import Operator, as_operator


def points(n, d=3, seed=0):
    return np.random.default_rng(seed).standard_normal((n, d))


def truth(w, ridges):
    return dimension_curve(GramSpectrum.of_eigenvalues(np.maximum(w, 0)), ridges)


def diagonal(w, dtype=np.float64):
    column = w[:, None].astype(dtype)
    return Operator(lambda V: column * V, like=np.zeros(len(w), dtype=dtype))


def test_small_matrices_are_exact():
    K = Laplace(1.0)(points(100))
    ridges = np.array([1e-3, 1e-2, 1.0])
    table = resolvent_traces(K, ridges)
    exact = truth(np.linalg.eigvalsh(K), ridges)
    for name in QUANTITIES:
        np.testing.assert_allclose(table[name], getattr(exact, name), rtol=1e-9)
    assert table.attrs["num_probes"] == 0
    assert table.attrs["num_deflated"] == 100


def test_identity_is_exact_without_deflation():
    """All of the measure of a probe lies at 1: one step, and nothing is random."""
    table = resolvent_traces(diagonal(np.ones(500)), [0.5], num_deflated=0)
    assert table["kappa"].item() == pytest.approx(1.5 / 500, rel=1e-12)
    assert table["kappa_stderr"].item() < 1e-14
    assert table["is_trustworthy"].item()


def test_few_eigenvalues_are_exact_for_each_probe():
    w = np.repeat([1.0, 0.1, 0.01], 200)
    rest = Complement(as_operator(diagonal(w)), None, num_probes=3, max_steps=30, seed=0)
    low, high = rest.bounds(np.array([0.05]), scale=1.0)
    np.testing.assert_allclose(low, high, rtol=1e-12)
    assert rest.exhausted


def test_quadrature_bounds_hold_for_each_probe():
    w = 1.0 / np.arange(1.0, 401.0) ** 2
    A, ridges = as_operator(diagonal(w)), np.array([1e-5, 1e-3])
    long = Complement(A, None, num_probes=4, max_steps=200, seed=1)
    long.advance(200)
    exact = 0.5 * sum(long.bounds(ridges, scale=1.0))
    short = Complement(A, None, num_probes=4, max_steps=8, seed=1)
    for _ in range(2):
        low, high = short.bounds(ridges, scale=1.0)
        assert np.all(low <= exact * (1 + 1e-9))
        assert np.all(exact <= high * (1 + 1e-9))
        short.advance(3)


@pytest.mark.parametrize("scale", [1e-14, 1e14])
def test_units(scale):
    K = Laplace(1.0)(points(300))
    one, other = (resolvent_traces(c * K, c * np.array([0.1, 1.0]), num_steps=10) for c in (1.0, scale))
    np.testing.assert_allclose(other["kappa"] / scale, one["kappa"], rtol=1e-6)
    np.testing.assert_allclose(other["df1_high"], one["df1_high"], rtol=1e-6)


@pytest.mark.parametrize("route", ["plain", "deflated", "control variate"])
@pytest.mark.parametrize("kernel", [Laplace(1.5), RBF(1.5)])
def test_standard_errors_and_intervals(kernel, route):
    """z-test over seeds against all eigenvalues, of scatter (chi square) and of coverage (binomial)."""
    n, seeds = 300, 32
    X = points(n)
    K = kernel(X)
    ridges = n * np.array([1e-3, 1e-2])
    exact = truth(np.linalg.eigvalsh(K), ridges)
    options = {"num_deflated": 0 if route == "plain" else 30, "num_probes": 32}
    if route == "control variate":
        options["approximation"] = rp_cholesky(kernel, X, num_columns=30)
    tables = [resolvent_traces(K, ridges, rng=s, **options) for s in range(seeds)]
    for name in QUANTITIES:
        want = getattr(exact, name)
        z = np.array([(t[name].values - want) / t[f"{name}_stderr"].values for t in tables])
        # of t with 31 degrees of freedom: E t^2 = 31/29, E t^4 = 3.67
        assert np.all(np.mean(z**2, axis=0) < 31 / 29 + 3.5 * np.sqrt((3.67 - (31 / 29) ** 2) / seeds))
        assert np.all(np.abs(np.mean(z, axis=0)) < 3.5 * np.sqrt(31 / 29 / seeds))
        hits = [(t[f"{name}_low"].values <= want) & (want <= t[f"{name}_high"].values) for t in tables]
        assert np.all(np.mean(hits, axis=0) >= 0.95 - 3.5 * np.sqrt(0.95 * 0.05 / seeds))


def test_control_variate_pays():
    n = 600
    X = points(n)
    K, ridges = RBF(1.5)(X), n * np.array([1e-4, 1e-3])
    found = rp_cholesky(RBF(1.5), X, num_columns=150)
    with_, without = resolvent_traces(K, ridges, approximation=found), resolvent_traces(K, ridges)
    assert np.all(with_["df1_stderr"] < 0.1 * without["df1_stderr"])
    poor = rp_cholesky(RBF(1.5), X, num_columns=1)
    assert np.all(resolvent_traces(K, ridges, approximation=poor)["df1_stderr"] < 1.5 * without["df1_stderr"])
    with pytest.raises(ShapeError, match="approximation"):
        resolvent_traces(np.eye(3), 1.0, approximation=found)


def test_deflation_pays():
    """Recorded: rms errors of df1 at ridge 0.01 n, 0.44 % with and 5.9 % without deflation (n = 1500, RBF)."""
    K = RBF(1.5)(points(600))
    with_, without = (resolvent_traces(K, 6.0, num_deflated=d) for d in (30, 0))
    assert with_["df1_stderr"].item() < 0.3 * without["df1_stderr"].item()


def test_start_saves_blocks():
    n = 600
    K = RBF(1.5)(points(n))
    vectors = np.linalg.eigh(K)[1][:, ::-1][:, :32]
    cold, warm = resolvent_traces(K, 6.0), resolvent_traces(K, 6.0, start=vectors, depth=2)
    assert warm.attrs["num_blocks"] < cold.attrs["num_blocks"]
    assert warm["df1"].item() == pytest.approx(cold["df1"].item(), rel=0.05)


def test_single_precision():
    n = 600
    X = points(n).astype(np.float32)
    K = Laplace(1.5)(X)
    ridges = n * np.array([1e-3, 1e-2])
    single, double = resolvent_traces(K, ridges), resolvent_traces(K.astype(np.float64), ridges)
    for name in QUANTITIES:
        np.testing.assert_allclose(single[name], double[name], rtol=2e-4)


def test_no_ridge_is_rounding_and_not_trusted():
    w = 0.5 ** np.arange(0, 100, 0.2)
    table = resolvent_traces(diagonal(w), [0.0], num_deflated=5, num_steps=5)
    assert table["effective_ridge"].item() == pytest.approx(np.sqrt(500) * np.finfo(float).eps, rel=1e-6)
    assert not table["is_trustworthy"].item()
    assert "raised" in table["why"].item()
    exact = truth(w, [table["effective_ridge"].item()])
    assert table["df1_low"].item() <= exact.df1[0] <= table["df1_high"].item()


def test_reproducible():
    A = diagonal(1.0 / np.arange(1.0, 301.0))
    first, second, third = (resolvent_traces(A, 0.1, rng=s) for s in (1, 1, 2))
    assert first["df1"].item() == second["df1"].item() != third["df1"].item()
    generator = np.random.default_rng(0)
    assert (
        resolvent_traces(A, 0.1, rng=generator)["df1"].item() != resolvent_traces(A, 0.1, rng=generator)["df1"].item()
    )


@pytest.mark.parametrize("n", [1, 2])
def test_tiny(n):
    table = resolvent_traces(np.eye(n), 1.0)
    assert table["df1"].item() == pytest.approx(n / 2)
    assert table["overfitting_coefficient"].item() == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("A", "ridges", "options", "error"),
    [
        (np.eye(3), [], {}, ArgumentError),
        (np.eye(3), [-1.0], {}, ArgumentError),
        (np.eye(3), [np.nan], {}, NonFiniteError),
        (np.eye(3), 1.0, {"num_probes": 1}, ArgumentError),
        (np.eye(3), 1.0, {"num_deflated": -1}, ArgumentError),
        (np.eye(3), 1.0, {"level": 1.0}, ArgumentError),
        (np.zeros((3, 3)), 1.0, {}, ArgumentError),
        (-np.eye(3), 1.0, {}, ArgumentError),
        (np.triu(np.ones((40, 40))), 1.0, {}, NotSymmetricError),
    ],
)
def test_bad_input(A, ridges, options, error):
    with pytest.raises(error):
        resolvent_traces(A, ridges, **options)


@pytest.mark.parametrize("n", [3, 70, 300])
def test_rounding_of_eigenvalues_that_are_zero_is_told(n):
    K = np.diag([1.0] + [0.0] * (n - 1))
    table = resolvent_traces(K, [0.0, 1e-3])
    assert table["df1_low"].values[0] <= 1.0 <= table["df1_high"].values[0]
    assert table["is_trustworthy"].values.tolist() == [False, True]
    assert table["df1"].values[1] == pytest.approx(1 / 1.001, rel=1e-9)
