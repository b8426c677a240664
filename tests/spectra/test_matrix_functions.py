import numpy as np
import pytest

from spectra import Operator, expectation, lanczos, slq
from spectra.errors import ArgumentError, NonDeterministicError, NonFiniteError, NotSymmetricError
from spectra.gauss_radau import gauss_radau
from spectra.matrix_functions import log_determinant, trace_function
from spectra.start_vectors import start_vectors
from spectra.testing import matrix_with_spectrum
from tests.cases import matrix

N = 250
FEW = {"num_probes": 8, "num_steps": 20}  # 160 products: below N, so that nothing is exact
INVERSE = 1.0 / np.arange(1.0, N + 1.0)


@pytest.mark.parametrize("f", [np.log, np.sqrt, np.log1p], ids=["log", "sqrt", "log1p"])
@pytest.mark.parametrize("z", [1e-3, 0.5])
def test_radau_and_gauss_bracket_every_probe(f, z):
    values = INVERSE + z
    a = matrix_with_spectrum(values, 1)
    vectors = np.linalg.eigh(a)[1]
    start = start_vectors(np.zeros(N), num=5) / np.sqrt(N)
    found = lanczos(a, start, num_steps=8)
    for i in range(5):
        exact = (vectors.T @ start[:, i]) ** 2 @ f(np.sort(values))
        gauss = found.ritz(i)
        radau = gauss_radau(found.diagonal[i], found.off_diagonal[i], node=z)
        assert radau.values[0] == pytest.approx(z, rel=1e-10)
        assert radau.weights.sum() == pytest.approx(1.0, abs=1e-14)
        assert radau.weights @ f(radau.values) - 1e-14 <= exact <= gauss.weights @ f(gauss.values) + 1e-14


def test_radau_is_exact_to_degree_two_m_and_equals_gauss_at_the_end():
    a = matrix_with_spectrum(INVERSE, 1)
    start = start_vectors(np.zeros(N), num=1)
    found = lanczos(a, start, num_steps=3)
    radau = gauss_radau(found.diagonal[0], found.off_diagonal[0], node=0.0)
    v = start[:, 0] / np.linalg.norm(start[:, 0])
    assert radau.weights @ radau.values**6 == pytest.approx(v @ np.linalg.matrix_power(a, 6) @ v, rel=1e-11)
    ended = lanczos(np.diag([1.0, 2.0]), np.ones(2), num_steps=2)
    assert gauss_radau(ended.diagonal[0], ended.off_diagonal[0], node=0.5).values.tolist() == pytest.approx([1.0, 2.0])


def test_slq_is_dimension_times_the_expectation():
    a = matrix_with_spectrum(INVERSE, 1)
    direct = expectation(slq(a, rng=3, **FEW), np.sqrt)
    found = trace_function(a, np.sqrt, rng=3, **FEW)
    assert found.value == pytest.approx(N * direct.value)
    assert found.high - found.low == pytest.approx(N * (direct.high - direct.low))
    assert found.num_matvecs == direct.num_matvecs == 161


@pytest.mark.parametrize("method", ["slq", "krylov_aware"])
@pytest.mark.parametrize("n", [99, 100, 101, 200, 220, 221])
def test_both_sides_of_the_switch_to_all_eigenvalues(method, n):
    values = np.linspace(1.0, 2.0, n)
    found = trace_function(matrix_with_spectrum(values, 1), np.log, method=method, num_probes=10, num_steps=10)
    limit = 100 if method == "slq" else 180
    assert (found.status == "exact") == (n <= limit)
    assert abs(found.value - np.sum(np.log(values))) <= 4.0 * found.stderr + 1e-10
    if n <= limit:
        assert found.low <= np.sum(np.log(values)) <= found.high
        assert found.num_matvecs == n + 1
        assert found.high - found.low < 1e-10


@pytest.mark.parametrize("bound", [None, 1e-3])
def test_log_determinant_covers(bound):
    values = INVERSE + 1e-3
    a = matrix_with_spectrum(values, 1)
    covered, widths = [], []
    for seed in range(40):
        found = log_determinant(a, lower_bound=bound, rng=seed, **FEW)
        assert found.status == "resolved"
        covered.append(found.low <= np.sum(np.log(values)) <= found.high)
        widths.append(found.high - found.low)
    assert sum(covered) >= 34  # nominal .95: fewer hits have a probability of 0.3%


def test_bracket_resolves_what_halving_the_steps_does_not():
    values = np.geomspace(1e-4, 1.0, N)
    a = matrix_with_spectrum(values, 1)
    options = {"num_probes": 8, "num_steps": 10}
    assert log_determinant(a, **options).status == "unresolved"
    covered = []
    for seed in range(20):
        found = log_determinant(a, lower_bound=1e-4, rng=seed, **options)
        covered.append(found.low <= np.sum(np.log(values)) <= found.high)
    assert all(covered)  # the bracket alone is wide enough


@pytest.mark.parametrize("bound", [None, 2.0])
@pytest.mark.parametrize("n", [10, N])
def test_log_determinant_of_the_identity(xp, n, bound):
    found = log_determinant(xp.asarray(2.0 * np.eye(n)), lower_bound=bound, **FEW)
    assert found.status == "exact"
    assert found.value == pytest.approx(n * np.log(2.0), rel=1e-13)
    assert found.low <= n * np.log(2.0) <= found.high
    assert found.high - found.low < 1e-10 * n


@pytest.mark.parametrize("n", [10, N])
def test_singular_and_indefinite(n):
    rank_one = matrix_with_spectrum(np.eye(1, n)[0], 1)
    for a in (np.zeros((n, n)), rank_one):
        found = log_determinant(a, **FEW)
        assert (found.value, found.status) == (-np.inf, "singular")
        assert found.stderr is found.low is found.high is None
    with pytest.raises(ArgumentError, match=r"not positive definite: it has the Ritz value -.* with residual"):
        log_determinant(matrix_with_spectrum(np.linspace(-1.0, 1.0, n), 1), **FEW)
    with pytest.raises(ArgumentError, match="lower_bound=2 is none"):
        log_determinant(matrix_with_spectrum(np.linspace(1.0, 3.0, n), 1), lower_bound=2.0, **FEW)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("method", ["slq", "krylov_aware"])
def test_libraries_agree(xp, method, dtype):
    a = matrix_with_spectrum(INVERSE + 0.1, 1)
    options = {"method": method, "num_probes": 5, "num_steps": 8}
    reference = trace_function(a, np.log, **options)
    found = trace_function(xp.asarray(a.astype(dtype)), np.log, **options)
    tolerance = 1e-4 if dtype == "float32" else 1e-9
    assert found.value == pytest.approx(reference.value, rel=tolerance)
    assert found.stderr == pytest.approx(reference.stderr, rel=1e-2 if dtype == "float32" else 1e-7)


@pytest.mark.parametrize("scale", [1e-200, 1e200])
@pytest.mark.parametrize("n", [20, N])
def test_any_scale(scale, n):
    values = np.linspace(1.0, 3.0, n)
    found = log_determinant(scale * matrix_with_spectrum(values, 1), lower_bound=scale, **FEW)
    truth = np.sum(np.log(values)) + n * np.log(scale)
    assert found.low <= truth <= found.high
    assert found.value == pytest.approx(truth, rel=1e-3)


def test_one_probe_says_so():
    found = log_determinant(matrix_with_spectrum(INVERSE + 1.0, 1), num_probes=1, num_steps=20, lower_bound=1.0)
    assert found.stderr is found.low is found.high is None


def test_every_operator(any_operator):
    found = trace_function(any_operator, np.square)
    truth = np.sum(np.asarray(any_operator @ np.eye(any_operator.shape[0]), dtype=float) ** 2)
    assert found.low <= truth <= found.high
    assert found.status == "exact"


def test_unsound_operators_and_functions():
    generator = np.random.default_rng(0)
    a = matrix("spiked")
    noisy = Operator(lambda v: a @ v * (1.0 + 1e-3 * generator.standard_normal()), like=np.zeros(40))
    for options in ({"num_probes": 2, "num_steps": 5}, {}):
        with pytest.raises(NonDeterministicError):
            trace_function(noisy, np.exp, **options)
        with pytest.raises(NotSymmetricError):
            trace_function(np.triu(generator.standard_normal((40, 40))), np.exp, **options)
        with pytest.raises(NonFiniteError):
            trace_function(np.full((40, 40), np.nan), np.exp, **options)
        with pytest.raises(ArgumentError, match="real array of shape"):
            trace_function(a, lambda x: x[:1], **options)
        with pytest.raises(NonFiniteError, match="infinite"):
            trace_function(a, lambda x: np.exp(1e3 * x), **options)


def test_wrong_calls():
    a = Operator(lambda v: 1 / 0, like=np.zeros(N))
    for bound in (0.0, -1.0, np.inf, "small"):
        with pytest.raises(ArgumentError, match="lower_bound"):
            log_determinant(a, lower_bound=bound)
    with pytest.raises(ArgumentError, match="method"):
        trace_function(a, np.exp, method="exact")
    with pytest.raises(ArgumentError, match="f must be a function"):
        trace_function(a, 2.0)
    for name in ("num_probes", "num_steps"):
        for method in ("slq", "krylov_aware"):
            with pytest.raises(ArgumentError, match=name):
                trace_function(a, np.exp, method=method, **{name: 0})
    with pytest.raises(ArgumentError, match="level"):
        log_determinant(a, level=0.0)
