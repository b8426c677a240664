import numpy as np
import pytest

from spectra import Operator
from spectra.errors import (
    ArgumentError,
    BackendError,
    NonDeterministicError,
    NonFiniteError,
    NotSymmetricError,
    ShapeError,
)
from spectra.stochastic_trace import trace
from spectra.testing import matrix_with_spectrum
from tests.cases import matrix

METHODS = ("auto", "xtrace", "hutch++", "hutchinson")
N = 120
SPECTRA = {
    "power law": 1.0 / np.arange(1.0, N + 1.0),
    "fast": np.exp(-np.arange(N) / 5.0),
    "flat": np.linspace(0.9, 1.1, N),
    "indefinite": np.where(np.arange(N) < 30, np.linspace(-2.0, 3.0, N), 0.0),
}


@pytest.mark.parametrize("method", [*METHODS, "xnystrace"])
@pytest.mark.parametrize("budget", [3, 4, 5, 7, 8, 10, 31, 64, 119])
def test_budget_is_never_exceeded_and_all_is_counted(method, budget):
    calls = []
    a = matrix_with_spectrum(SPECTRA["power law"], 1)

    def matmat(block):
        calls.append(block.shape[1])
        return a @ block

    estimate = trace(Operator(matmat, like=np.zeros(N)), num_matvecs=budget, method=method)
    assert budget - 1 <= estimate.num_matvecs == sum(calls) <= budget
    assert (estimate.stderr is None) == (estimate.low is None)
    assert estimate.status == "resolved"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("budget", [40, 41, 100])
def test_exact_from_n_products(any_operator, method, budget):
    estimate = trace(any_operator, num_matvecs=budget, method=method)
    n = any_operator.shape[0]
    product = any_operator @ np.eye(n)
    truth = float(np.trace(np.asarray(product, dtype=float)))
    assert estimate.status == "exact"
    assert estimate.num_matvecs == min(budget, n + 1)
    assert estimate.stderr == 0.0
    assert estimate.low <= truth <= estimate.high
    assert estimate.high - estimate.low <= 1e-11 * np.sum(np.abs(product))


@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize("method", [*METHODS, "xnystrace"])
def test_intervals_cover(name, method):
    values = SPECTRA[name]
    if method == "xnystrace" and np.min(values) < 0:
        pytest.skip("positive semidefinite operators only")
    a = matrix_with_spectrum(values, 1)
    covered = []
    for seed in range(60):
        estimate = trace(a, num_matvecs=40, method=method, rng=seed)
        covered.append(estimate.low <= np.trace(a) <= estimate.high)
    # nominal .95: 60 seeds with at most 8 misses; the chance of more is 0.3%
    assert sum(covered) >= 52


def test_automatic_choice_follows_the_spectrum():
    def rms(a, method):
        errors = [trace(a, num_matvecs=40, method=method, rng=seed).value - np.trace(a) for seed in range(60)]
        return np.sqrt(np.mean(np.square(errors)))

    for name, better, worse in (("fast", "xtrace", "hutchinson"), ("flat", "hutchinson", "xtrace")):
        a = matrix_with_spectrum(SPECTRA[name], 1)
        assert rms(a, "auto") <= 1.15 * rms(a, better)  # the same estimator, with at most one probe fewer
        assert rms(a, "auto") < rms(a, worse)


def test_semidefinite_uses_nystrom():
    a = matrix_with_spectrum(SPECTRA["power law"], 1)
    declared = trace(a, num_matvecs=30, positive_semidefinite=True, rng=3)
    assert declared == trace(a, num_matvecs=30, method="xnystrace", rng=3)


@pytest.mark.parametrize("budget", [30, 200])
def test_indefinite_declared_semidefinite(budget):
    a = matrix_with_spectrum(np.linspace(-1.0, 1.0, N), 1)
    with pytest.raises(ArgumentError, match="not positive semidefinite"):
        trace(a, num_matvecs=budget, positive_semidefinite=True)
    zero_diagonal = np.kron(np.eye(N // 2), np.array([[0.0, 1.0], [1.0, 0.0]]))
    with pytest.raises(ArgumentError, match="not positive semidefinite"):
        trace(zero_diagonal, num_matvecs=budget, positive_semidefinite=True)


@pytest.mark.parametrize("budget", [12, 200])
@pytest.mark.parametrize("definite", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["zero", "identity", "rank_one", "two_values"])
def test_degenerate(xp, name, dtype, definite, budget):
    if name == "two_values":
        values = np.where(np.arange(N) < 40, 2.0, 1.0)
    else:
        values = {"zero": np.zeros(N), "identity": np.ones(N), "rank_one": np.eye(1, N)[0]}[name]
    a = matrix_with_spectrum(values, 1).astype(dtype)
    estimate = trace(xp.asarray(a), num_matvecs=budget, positive_semidefinite=definite)
    assert estimate.low <= np.sum(values) <= estimate.high
    if name != "two_values":
        assert estimate.high - estimate.low <= 1e3 * np.finfo(dtype).eps * max(np.sum(values), 1e-30)


@pytest.mark.parametrize("scale", [1e-200, 1e-14, 1e14, 1e200])
@pytest.mark.parametrize("options", [{}, {"positive_semidefinite": True}, {"method": "hutch++"}])
def test_any_scale(scale, options):
    a = matrix_with_spectrum(SPECTRA["power law"], 1)
    reference, scaled = trace(a, num_matvecs=30, **options), trace(scale * a, num_matvecs=30, **options)
    for name in ("value", "stderr", "low", "high"):
        assert getattr(scaled, name) / scale == pytest.approx(getattr(reference, name), rel=1e-9)
    power = trace(a * 2.0**400, num_matvecs=30, **options)
    # A power of two changes no digit, but where a square root is taken on the way: that of an odd power rounds.
    assert power.value == pytest.approx(reference.value * 2.0**400, rel=4 * np.finfo(float).eps)


def test_dynamic_range():
    values = np.geomspace(1e-18, 1.0, N)
    a = matrix_with_spectrum(values, 1)
    for budget in (10, 40, 100):
        for definite in (False, True):
            estimate = trace(a, num_matvecs=budget, positive_semidefinite=definite)
            assert estimate.low <= np.trace(a) <= estimate.high


def test_one_by_one_integers_and_read_only():
    assert trace(np.array([[-3.0]]), num_matvecs=1).value == -3.0
    integers = np.diag(np.arange(N))
    integers.flags.writeable = False
    assert trace(integers, num_matvecs=N).value == N * (N - 1) / 2
    estimate = trace(integers, num_matvecs=40)
    assert estimate.low <= N * (N - 1) / 2 <= estimate.high


def test_one_probe_says_so():
    estimate = trace(matrix("inverse"), num_matvecs=1)
    assert estimate.stderr is estimate.low is estimate.high is None
    assert "no interval" in str(estimate)


def test_operators_that_write_into_their_argument():
    a = matrix_with_spectrum(SPECTRA["power law"], 1)

    def matmat(block):
        product = a @ block
        block[...] = 0.0
        return product

    for method in METHODS:
        inplace = trace(Operator(matmat, like=np.zeros(N)), num_matvecs=30, method=method)
        assert inplace == trace(a, num_matvecs=30, method=method)


@pytest.mark.parametrize("method", [*METHODS, "xnystrace"])
@pytest.mark.parametrize("budget", [30, 200])
def test_unsound_operators(method, budget):
    generator = np.random.default_rng(0)
    a = matrix_with_spectrum(SPECTRA["power law"], 1)
    noisy = Operator(lambda v: a @ v * (1.0 + 1e-3 * generator.standard_normal()), like=np.zeros(N))
    with pytest.raises(NonDeterministicError):
        trace(noisy, num_matvecs=budget, method=method)
    with pytest.raises(NotSymmetricError):
        trace(np.triu(generator.standard_normal((N, N))), num_matvecs=budget, method=method)
    with pytest.raises(NonFiniteError):
        trace(np.full((N, N), np.nan), num_matvecs=budget, method=method)


def test_seeds():
    a = matrix_with_spectrum(SPECTRA["power law"], 1)
    assert trace(a, num_matvecs=20, rng=4) == trace(a, num_matvecs=20, rng=4)
    assert trace(a, num_matvecs=20, rng=4).value != trace(a, num_matvecs=20, rng=5).value
    assert trace(a, num_matvecs=20, rng=np.random.default_rng(4)).value != trace(a, num_matvecs=20, rng=4).value


def test_wrong_calls():
    a = Operator(lambda v: 1 / 0, like=np.zeros(N))
    for budget in (0, -1, 2.5, None):
        with pytest.raises(ArgumentError, match="num_matvecs"):
            trace(a, num_matvecs=budget)
    for method, budget in (("xtrace", 1), ("hutch++", 2)):
        with pytest.raises(ArgumentError, match="at least"):
            trace(a, num_matvecs=budget, method=method)
    with pytest.raises(ArgumentError, match="method"):
        trace(a, method="exact")
    for level in (0.0, 1.0, np.nan, "high"):
        with pytest.raises(ArgumentError, match="level"):
            trace(a, level=level)
    with pytest.raises(ArgumentError, match="rng"):
        trace(a, rng=None)
    with pytest.raises(ShapeError):
        trace(np.ones((2, 3)))
    with pytest.raises(BackendError):
        trace(1j * np.eye(3))
