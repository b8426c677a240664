import numpy as np
import pytest

from spectra.errors import ArgumentError, NonFiniteError, ShapeError
from spectra.laws.nonlinear_shrinkage import shrink_covariance_eigenvalues


def sample(p, n, seed, population=None):
    rng = np.random.default_rng(seed)
    population = (
        np.repeat([1.0, 3.0, 10.0], [p // 5, 2 * p // 5, p - p // 5 - 2 * p // 5]) if population is None else population
    )
    X = np.sqrt(population)[:, None] * rng.standard_normal((p, n))
    return population, *np.linalg.eigh(X @ X.T / n)


def one_by_one(values, n):
    """The published formulas for p <= n, a number at a time."""
    p, h = len(values), n ** (-1 / 3)
    found = []
    for x in values:
        f = hilbert = 0.0
        for center in values:
            width = h * center
            u = (x - center) / width
            f += 3 / (4 * np.sqrt(5) * width) * max(1 - u**2 / 5, 0) / p
            log = np.log(abs((np.sqrt(5) - u) / (np.sqrt(5) + u)))
            hilbert += (-3 * u / (10 * np.pi) + 3 / (4 * np.sqrt(5) * np.pi) * (1 - u**2 / 5) * log) / width / p
        c = p / n
        found.append(x / ((np.pi * c * x * f) ** 2 + (1 - c - np.pi * c * x * hilbert) ** 2))
    return found


def test_formulas_one_by_one():
    _, values, _ = sample(20, 50, 0)
    np.testing.assert_allclose(
        shrink_covariance_eigenvalues(values, num_samples=50), one_by_one(values, 50), rtol=1e-10
    )


def test_order_and_units_are_kept():
    _, values, _ = sample(30, 60, 1)
    found = shrink_covariance_eigenvalues(values, num_samples=60)
    np.testing.assert_allclose(shrink_covariance_eigenvalues(values[::-1], num_samples=60), found[::-1])
    for unit in (1e-14, 1e14, 1e-200):
        np.testing.assert_allclose(shrink_covariance_eigenvalues(unit * values, num_samples=60), unit * found)


@pytest.mark.parametrize("unit", [1.0, 1e-14])
@pytest.mark.parametrize(("p", "n"), [(200, 400), (200, 100)])
def test_most_of_what_can_be_gained_is(p, n, unit):
    population, values, vectors = sample(p, n, 2)
    shrunk = shrink_covariance_eigenvalues(unit * values, num_samples=n) / unit
    oracle = np.sum(vectors**2 * population[:, None], axis=0)  # u' Sigma u, the best with these eigenvectors
    assert 1 - np.sum((shrunk - oracle) ** 2) / np.sum((values - oracle) ** 2) > 0.95


def test_many_samples_change_nothing():
    _, values, _ = sample(5, 1_000_000, 3, np.array([1.0, 2.0, 4.0, 8.0, 16.0]))
    np.testing.assert_allclose(shrink_covariance_eigenvalues(values, num_samples=1_000_000), values, rtol=1e-3)


def test_rounding_below_zero_is_zero():
    _, values, _ = sample(40, 20, 4)
    assert np.any(values < 0)
    shrunk = shrink_covariance_eigenvalues(values, num_samples=20)
    assert np.all(shrunk > 0)
    np.testing.assert_allclose(shrunk[:20], shrunk[0])


def test_fewest_samples_and_variables():
    assert np.all(np.isfinite(shrink_covariance_eigenvalues(sample(20, 12, 5)[1], num_samples=12)))
    assert np.isfinite(shrink_covariance_eigenvalues([2.0], num_samples=12)).all()


@pytest.mark.parametrize(
    ("values", "n", "error", "match"),
    [
        ([1.0, 2.0], 11, ArgumentError, "at least 12"),
        ([1.0, -2.0], 20, ArgumentError, "negative"),
        ([0.0, 1.0, 2.0], 20, ArgumentError, "rank"),
        ([0.0, 0.0], 20, ArgumentError, "rank"),
        ([], 20, ShapeError, "at least 1"),
        ([[1.0]], 20, ShapeError, "shape"),
        ([1.0, np.nan], 20, NonFiniteError, "finite"),
        ([1.0], 20.5, ArgumentError, "num_samples"),
    ],
)
def test_wrong_calls_are_refused(values, n, error, match):
    with pytest.raises(error, match=match):
        shrink_covariance_eigenvalues(values, num_samples=n)


def test_zeros_of_float32_matrices_are_rounding():
    X = np.random.default_rng(5).standard_normal((200, 80)).astype(np.float32)
    values = np.linalg.eigvalsh(X @ X.T / np.float32(80))
    assert values[0] < -1e-8 * values[-1]
    exact = np.concatenate([np.zeros(120), values[120:]])
    shrunk = shrink_covariance_eigenvalues(values, num_samples=80)
    np.testing.assert_allclose(shrunk, shrink_covariance_eigenvalues(exact, num_samples=80), rtol=1e-6)
