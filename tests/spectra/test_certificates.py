import math

import numpy as np
import pytest

from spectra import Operator, lanczos
from spectra.arrays import to_host
from spectra.certificates import Certificate, relative_slack, spectral_bounds
from spectra.christoffel import crossing, hole, log_kernel, outermost, overlap_quantile, weight_below
from spectra.errors import ArgumentError, BackendError, NonDeterministicError, NonFiniteError, NotSymmetricError
from spectra.start_vectors import start_vectors
from spectra.testing import SPECTRA, spectrum
from tests.cases import matrix


def diagonal(values):
    return Operator(lambda block: values[:, None] * block, like=np.zeros_like(values))


def tridiagonal(values, *, steps, seed=0):
    """Return the coefficients of one start vector, and its weights on the eigenvectors."""
    operator = diagonal(np.asarray(values, dtype=float))
    start = start_vectors(operator.like, num=1, rng=seed)
    found = lanczos(operator, start, num_steps=steps)
    return found.diagonal[0], found.off_diagonal[0], start[:, 0] ** 2 / len(values)


def test_kernel_is_the_sum_of_squares_of_orthonormal_polynomials():
    """pi_j(lambda), weighted, are the coordinates of the Lanczos vectors in the eigenvectors."""
    values = np.linspace(-1.0, 2.0, 30)
    start = start_vectors(np.zeros(30), num=1)
    basis = to_host(lanczos(np.diag(values), start, num_steps=7, keep_basis=True).basis[0, ...])
    a, b, weight = tridiagonal(values, steps=6)
    expected = np.log(np.sum(basis**2, axis=0) / weight)
    np.testing.assert_allclose(log_kernel(a, b, values), expected, rtol=1e-11)
    even = log_kernel(a, b, values, counted=np.array([1.0, 0, 1, 0, 1, 0, 1]))
    np.testing.assert_allclose(even, np.log(np.sum(basis[::2] ** 2, axis=0) / weight), rtol=1e-11)


def test_no_eigenvalue_has_more_weight_than_the_kernel_allows():
    for seed in range(20):
        values = np.sort(np.random.default_rng(seed).standard_normal(50))
        for steps in (1, 4, 8, 12):  # before an eigenvalue has converged to rounding, where K has a dip as narrow
            a, b, weight = tridiagonal(values, steps=steps, seed=seed)
            assert np.all(np.log(weight) <= -log_kernel(a, b, values) + 1e-6)


def test_kernel_does_not_overflow():
    a, b = np.zeros(2000), np.full(2000, 0.25)
    found = log_kernel(a, b, np.array([-1e6, 0.0, 1e6]))
    assert np.all(np.isfinite(found))
    assert found[2] == found[0] == pytest.approx(2 * 2000 * np.log(4e6), rel=1e-6)


def test_outermost_solves_its_equation_from_outside():
    a, b, _ = tridiagonal(np.linspace(0.0, 1.0, 200), steps=25)
    largest = np.linalg.eigvalsh(np.diag(a) + np.diag(b[:-1], 1) + np.diag(b[:-1], -1))[-1]
    for q in (1e-12, 1e-6, 1e-3):
        bound = outermost(a, b, largest, q=q)
        inside = largest + 0.98 * (bound - largest)
        below, above = log_kernel(a, b, np.array([inside, bound]))
        assert below <= -math.log(q) <= above


def test_sum_over_all_degrees_is_tighter_than_the_highest_alone():
    a, b, _ = tridiagonal(np.linspace(0.0, 1.0, 200), steps=25)
    top = float(np.linalg.eigvalsh(np.diag(a) + np.diag(b[:-1], 1) + np.diag(b[:-1], -1))[-1])
    last = np.eye(1, 26, 25)[0]
    alone = crossing(lambda gap: log_kernel(a, b, top + gap, counted=last), q=1e-6, smallest=1e-18, largest=1e5)
    assert outermost(a, b, top, q=1e-6) - top < 0.9 * alone


@pytest.mark.parametrize("seed", range(5))
def test_hole_agrees_with_a_fine_grid_and_is_never_larger(seed):
    values = np.concatenate([np.linspace(-0.5, -0.1, 40), np.linspace(0.2, 1.0, 160)])
    for steps in (10, 20, 40, 60):
        a, b, _ = tridiagonal(values, steps=steps, seed=seed)
        q = overlap_quantile(200, num_starts=1, delta=0.025)
        found = hole(a, b, q=q, limit=0.2)
        x = np.linspace(0.0, 0.2, 4001)
        failed = np.minimum(log_kernel(a, b, x), log_kernel(a, b, -x)) <= -math.log(q)
        grid = x[np.argmax(failed)] if np.any(failed) else 0.2
        assert found <= grid
        assert found >= grid - 2e-4


def test_hole_does_not_jump_over_a_converged_eigenvalue():
    """An eigenvalue that has converged makes a dip of K too narrow for the recurrence to see."""
    values = np.concatenate([np.zeros(50), [0.05], np.linspace(0.5, 1.0, 149)])
    for seed in range(5):
        a, b, weight = tridiagonal(values, steps=40, seed=seed)
        q = 0.5 * float(weight[50])
        assert hole(a, np.maximum(b, 1e-14), q=q, inner=1e-3, limit=0.4) <= 0.05 * (1.0 + 1e-12)


def test_hole_above_a_threshold():
    values = np.concatenate([np.zeros(100), np.linspace(0.2, 1.0, 100)])
    a, b, _ = tridiagonal(values, steps=40)
    q = overlap_quantile(200, num_starts=1, delta=0.025)
    b = np.maximum(b, 1e-14)
    assert hole(a, b, q=q, inner=1e-4, limit=0.21) == pytest.approx(0.2, rel=0.02)
    assert hole(a, b, q=q, limit=0.21) < 1e-6
    assert hole(a, b, q=q, inner=0.3, limit=0.3) == 0.3


@pytest.mark.parametrize("steps", [3, 10, 30])
def test_weight_below_brackets_the_weight_as_narrowly_as_the_kernel_says(steps):
    values = np.sort(np.random.default_rng(1).standard_normal(60))
    a, b, weight = tridiagonal(values, steps=steps)
    for x in np.linspace(-3.0, 3.0, 25):
        low, high = weight_below(a, b, x)
        assert low - 1e-12 <= np.sum(weight[values < x]) <= np.sum(weight[values <= x]) <= high + 1e-12
        assert high - low == pytest.approx(math.exp(-log_kernel(a, b, np.array([x]))[0]), rel=1e-6, abs=1e-14)


@pytest.mark.parametrize("num_starts", [1, 3])
def test_overlap_quantile_is_that_of_the_largest_overlap(num_starts):
    q = overlap_quantile(50, num_starts=num_starts, delta=0.1)
    x = np.random.default_rng(0).standard_normal((20000, num_starts, 50))
    largest = np.max(x[:, :, 0] ** 2 / np.sum(x**2, axis=2), axis=1)
    assert np.mean(largest < q) == pytest.approx(0.1, abs=4 * math.sqrt(0.09 / 20000))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("n", [1, 2, 40])
@pytest.mark.parametrize("name", SPECTRA)
def test_bounds_of_named_spectra(xp, name, n, dtype):
    values = spectrum(name, n)
    bounds = spectral_bounds(xp.asarray(matrix(name, n).astype(dtype)))
    assert bounds.low <= values[0] <= bounds.low_certain
    assert bounds.high_certain <= values[-1] <= bounds.high
    assert bounds.num_matvecs <= 31 + bounds.num_starts


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_coverage_over_seeds(dtype):
    """All four statements, in the regimes of too few and of many steps."""
    for values in (np.linspace(1.0, 2.0, 150), 1.0 / np.arange(1.0, 151.0), np.geomspace(1e-3, 1.0, 150)):
        values = values.astype(dtype)
        hits = 0
        for seed in range(30):
            bounds = spectral_bounds(diagonal(values), num_steps=4 + 2 * seed, rng=seed)
            assert np.min(values) <= bounds.low_certain
            assert bounds.high_certain <= np.max(values)
            hits += bounds.low <= np.min(values) and np.max(values) <= bounds.high
        assert hits >= 26  # 28.5 expected at the least; two standard deviations of a binomial are 2.4


def test_confidence_is_not_a_formality():
    """One eigenvalue below a bulk that needs no further steps: the bound fails about as often as it says it may."""
    values = np.append(1e-4, np.linspace(1.0, 1.001, 199))
    for level in (0.5, 0.8):
        hits = [spectral_bounds(diagonal(values), num_steps=1, level=level, rng=s).low <= 1e-4 for s in range(250)]
        least = 0.5 * (1.0 + level)
        error = math.sqrt(least * (1.0 - least) / 250)
        assert least - 3.0 * error <= np.mean(hits) <= 1.0
        assert np.mean(hits) < 1.0


@pytest.mark.parametrize("scale", [1e-300, 1e-200, 1e200, 1e290])
def test_any_scale(scale):
    reference, scaled = spectral_bounds(matrix("indefinite")), spectral_bounds(scale * matrix("indefinite"))
    assert scaled.low / scale == pytest.approx(reference.low, rel=1e-6)
    assert scaled.high / scale == pytest.approx(reference.high, rel=1e-6)


@pytest.mark.parametrize("exponent", [-600, 47, 600])
def test_powers_of_two_change_units_only(exponent):
    reference, scaled = spectral_bounds(matrix("spiked")), spectral_bounds(np.ldexp(matrix("spiked"), exponent))
    for name in ("low", "high", "low_certain", "high_certain"):
        assert getattr(scaled, name) == math.ldexp(getattr(reference, name), exponent)


def test_rounding_slack_follows_the_defects():
    assert relative_slack(1e-7, 1e-7, 5e-7) == relative_slack(1e-7) == 64e-7
    assert relative_slack(1e-16, 1e-10) == pytest.approx(12.8e-10)


def test_zero_operator():
    bounds = spectral_bounds(np.zeros((5, 5)))
    assert (bounds.low, bounds.low_certain, bounds.high_certain, bounds.high) == (0.0, 0.0, 0.0, 0.0)


def test_start_vectors_whose_spaces_end_early():
    found = lanczos(np.diag([1.0, 1.0, 1.0, 5.0]), start_vectors(np.zeros(4), num=3), num_steps=4)
    certificate = Certificate(found, dimension=4, delta=0.025, slack=1e-14)
    low, high, _, _ = certificate.bounds()
    assert low == pytest.approx(1.0, abs=1e-11)
    assert high == pytest.approx(5.0, abs=1e-11)
    assert certificate.smallest_modulus()[1] * 2.0**certificate.exponent == pytest.approx(1.0, abs=1e-11)


def test_wrong_calls_and_bad_operators():
    for options in (
        {"level": 1.0},
        {"level": 0.0},
        {"level": np.nan},
        {"num_starts": 0},
        {"num_steps": 0},
        {"rng": -1},
    ):
        with pytest.raises(ArgumentError):
            spectral_bounds(np.eye(3), **options)
    with pytest.raises(BackendError):
        spectral_bounds(1j * np.eye(3))
    with pytest.raises(NotSymmetricError):
        spectral_bounds(np.triu(np.ones((20, 20))))
    with pytest.raises(NonFiniteError):
        spectral_bounds(np.full((4, 4), np.nan))
    generator = np.random.default_rng(0)
    with pytest.raises(NonDeterministicError):
        spectral_bounds(Operator(lambda block: block * generator.standard_normal(block.shape), like=np.zeros(9)))


def test_text_and_progress():
    seen = []
    bounds = spectral_bounds(matrix("spiked"), num_steps=5, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (5, 5)
    assert str(bounds).startswith("spectrum in [")
    assert str(bounds).endswith("at 95% (6 matvecs)")
