import numpy as np
import pytest

from spectra import Operator
from spectra.diagonals import diagonal
from spectra.errors import ArgumentError, NonDeterministicError, NonFiniteError, NotSymmetricError
from spectra.start_vectors import start_vectors
from spectra.testing import matrix_with_spectrum

METHODS = ("hutchinson", "xdiag", "deflated")
N = 80
SPECTRA = {
    "power law": 1.0 / np.arange(1.0, N + 1.0),
    "fast": np.exp(-np.arange(N) / 4.0),
    "flat": np.linspace(0.9, 1.1, N),
    "indefinite": np.where(np.arange(N) < 30, np.linspace(-2.0, 3.0, N), 0.3),
}


def explicit_xdiag(a, omega):
    images, samples = a @ omega, []
    for i in range(omega.shape[1]):
        q = np.linalg.qr(np.delete(images, i, axis=1))[0]
        inside = q @ (q.T @ a)
        samples.append(np.diag(inside) + omega[:, i] * ((a - inside) @ omega[:, i]) / omega[:, i] ** 2)
    return np.array(samples)


@pytest.mark.parametrize("name", SPECTRA)
def test_xdiag_equals_its_definition_and_its_jackknife(name):
    a, m = matrix_with_spectrum(SPECTRA[name], 1), 7
    omega = start_vectors(np.zeros(N), num=m, rng=3, distribution="rademacher")
    found = diagonal(a, num_matvecs=2 * m, method="xdiag", rng=3)
    samples = explicit_xdiag(a, omega)
    np.testing.assert_allclose(found.value, np.mean(samples, axis=0), atol=1e-13)
    without = np.array([np.mean(explicit_xdiag(a, np.delete(omega, j, axis=1)), axis=0) for j in range(m)])
    plain, jackknife = np.std(samples, axis=0, ddof=1) / np.sqrt(m), np.std(without, axis=0) * np.sqrt(m - 1)
    np.testing.assert_allclose(found.stderr, np.sqrt(plain * jackknife), rtol=1e-8)


def test_hutchinson_equals_its_definition():
    a = matrix_with_spectrum(SPECTRA["power law"], 1)
    signs = start_vectors(np.zeros(N), num=9, rng=3, distribution="rademacher")
    found = diagonal(a, num_matvecs=10, rng=3)
    samples = signs * (a @ signs)
    assert found.num_matvecs == 10
    np.testing.assert_allclose(found.value, np.mean(samples, axis=1), rtol=1e-12)
    np.testing.assert_allclose(found.stderr, np.std(samples, axis=1, ddof=1) / 3.0, rtol=1e-10)


@pytest.mark.parametrize("method", METHODS)
def test_unbiased_in_every_entry(method):
    a = matrix_with_spectrum(SPECTRA["power law"], 1)
    values = np.array([diagonal(a, num_matvecs=15, method=method, rng=seed).value for seed in range(300)])
    z = (np.mean(values, axis=0) - np.diag(a)) / (np.std(values, axis=0, ddof=1) / np.sqrt(len(values)))
    # 80 entries: the largest of as many normal variables exceeds 4.2 with probability .002
    assert np.max(np.abs(z)) < 4.2
    assert np.mean(z**2) < 1.6


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", SPECTRA)
def test_intervals_cover(name, method):
    a = matrix_with_spectrum(SPECTRA[name], 1)
    covered = []
    for seed in range(40):
        found = diagonal(a, num_matvecs=30, method=method, rng=seed)
        covered.append(np.mean((found.low <= np.diag(a)) & (np.diag(a) <= found.high)))
    # 3200 entries, dependent within a run: .93 is what the project asks of a 95 % interval, less two standard errors
    assert np.mean(covered) >= 0.92


def test_sketches_pay_where_the_spectrum_decays():
    def rms(name, method):
        a = matrix_with_spectrum(SPECTRA[name], 1)
        errors = [diagonal(a, num_matvecs=40, method=method, rng=seed).value - np.diag(a) for seed in range(10)]
        return np.sqrt(np.mean(np.square(errors)))

    assert rms("fast", "xdiag") < rms("fast", "deflated") < rms("fast", "hutchinson")
    assert rms("flat", "hutchinson") < 0.2 * rms("flat", "xdiag")  # signs have no variance on multiples of I


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("budget", [3, 4, 5, 9, 30, 79, 80, 81, 500])
def test_budget_shapes_and_types(xp, method, budget):
    a = matrix_with_spectrum(SPECTRA["power law"], 1)
    found = diagonal(xp.asarray(a), num_matvecs=budget, method=method)
    assert min(budget, N + 1) - 1 <= found.num_matvecs <= min(budget, N + 1)
    for array in (found.value, found.stderr, found.low, found.high):
        if array is not None:
            assert type(array) is np.ndarray
            assert array.shape == (N,)
            assert array.dtype == np.float64
    assert (found.status == "exact") == (budget >= N)
    if budget >= N:
        np.testing.assert_allclose(found.value, np.diag(a), atol=1e-15)
        assert np.all((found.low <= np.diag(a)) & (np.diag(a) <= found.high))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["zero", "identity", "rank_one", "diagonal"])
def test_degenerate(xp, name, method, dtype):
    values = {"zero": np.zeros(N), "identity": np.ones(N), "rank_one": np.eye(1, N)[0], "diagonal": np.arange(N)}[name]
    a = (np.diag(values) if name == "diagonal" else matrix_with_spectrum(values, 1)).astype(dtype)
    found = diagonal(xp.asarray(a), num_matvecs=24, method=method)
    inside = (found.low <= np.diag(a)) & (np.diag(a) <= found.high)
    if name in {"zero", "identity"} or method != "deflated":
        assert np.mean(inside) > 0.8
    if name == "rank_one" and method != "hutchinson":
        assert found.status == "exact"
        assert np.all(inside)
        np.testing.assert_allclose(found.value, np.diag(a), atol=20 * float(np.finfo(dtype).eps))
    if name == "diagonal" and method == "hutchinson":
        np.testing.assert_allclose(found.value, values, rtol=1e-6)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_tiny_operators_have_equal_probes(method, n):
    a = np.diag(np.arange(1.0, n + 1.0)) + 0.1
    for budget in range(3, 6):
        for seed in range(5):
            found = diagonal(a, num_matvecs=budget, method=method, rng=seed)
            assert np.all(np.isfinite(found.value))
            if found.status == "exact":
                np.testing.assert_allclose(found.value, np.diag(a), rtol=1e-12)


@pytest.mark.parametrize("scale", [1e-200, 1e200])
@pytest.mark.parametrize("method", METHODS)
def test_any_scale(scale, method):
    a = matrix_with_spectrum(SPECTRA["power law"], 1)
    reference, scaled = diagonal(a, num_matvecs=20, method=method), diagonal(scale * a, num_matvecs=20, method=method)
    for name in ("value", "stderr", "low", "high"):
        np.testing.assert_allclose(getattr(scaled, name) / scale, getattr(reference, name), rtol=1e-8, atol=1e-14)


def test_one_probe_says_so():
    found = diagonal(matrix_with_spectrum(SPECTRA["power law"], 1), num_matvecs=1)
    assert found.stderr is found.low is found.high is None
    assert "no intervals" in str(found)


@pytest.mark.parametrize("method", METHODS)
def test_unsound_operators(method):
    generator = np.random.default_rng(0)
    a = matrix_with_spectrum(SPECTRA["power law"], 1)
    noisy = Operator(lambda v: a @ v * (1.0 + 1e-3 * generator.standard_normal()), like=np.zeros(N))
    with pytest.raises(NonDeterministicError):
        diagonal(noisy, num_matvecs=20, method=method)
    with pytest.raises(NotSymmetricError):
        diagonal(np.triu(generator.standard_normal((N, N))), num_matvecs=20, method=method)
    with pytest.raises(NonFiniteError):
        diagonal(np.full((N, N), np.nan), num_matvecs=20, method=method)


def test_wrong_calls():
    a = Operator(lambda v: 1 / 0, like=np.zeros(N))
    with pytest.raises(ArgumentError, match="method"):
        diagonal(a, method="exact")
    for method, budget in (("hutchinson", 0), ("xdiag", 1), ("deflated", 2)):
        with pytest.raises(ArgumentError, match="at least"):
            diagonal(a, num_matvecs=budget, method=method)
    with pytest.raises(ArgumentError, match="level"):
        diagonal(a, level=1.5)
