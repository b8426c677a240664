import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from spectra.laws.generalized_marchenko_pastur import GeneralizedMarchenkoPastur
from spectra.laws.population import PopulationLaw
from spectra.laws.population_quantiles import _Model, fit_population_quantiles


def sample(population, n, *, seed):
    X = np.random.default_rng(seed).standard_normal((population.size, n)) * np.sqrt(population)[:, None]
    return np.maximum(np.linalg.eigvalsh(X @ X.T / n), 0.0)


@pytest.mark.parametrize(("ratio", "at_zero"), [(0.3, 0.0), (0.8, 0.25), (3.0, 0.0)])
def test_quantiles_are_those_of_the_law(ratio, at_zero):
    """The closed form of the distribution function against the quadrature of the density."""
    places = np.array([1.0, 2.0, 5.0])
    law = GeneralizedMarchenkoPastur(
        population=PopulationLaw(
            values=np.append(0.0, places), weights=np.append(at_zero, np.full(3, (1 - at_zero) / 3))
        ),
        aspect_ratio=ratio,
    )
    lowest = max(at_zero, 1.0 - 1.0 / ratio)
    levels = lowest + (1.0 - lowest) * np.array([0.1, 0.3, 0.6, 0.9])
    weights = np.full(3, (1.0 - at_zero) / 3.0)
    found, _ = _Model(weights=weights, at_zero=at_zero, ratio=ratio, levels=levels).quantiles(places)
    np.testing.assert_allclose(found, law.quantile(levels), rtol=2e-3)


def test_slopes_are_those_of_the_quantiles():
    places, levels, step = np.array([1.0, 2.0, 5.0]), np.array([0.1, 0.3, 0.6, 0.9]), 1e-4

    def exact(moved):
        law = GeneralizedMarchenkoPastur(population=PopulationLaw(values=moved), aspect_ratio=0.4)
        return law.quantile(levels)

    _, slopes = _Model(weights=np.full(3, 1 / 3), at_zero=0.0, ratio=0.4, levels=levels).quantiles(places)
    numerical = [(exact(places + step * e) - exact(places - step * e)) / (2 * step) for e in np.eye(3)]
    np.testing.assert_allclose(slopes, np.array(numerical).T, atol=5e-3)


@pytest.mark.parametrize("ratio", [0.1, 0.5, 2.0])
@pytest.mark.parametrize("seed", range(2))
def test_the_population_is_far_nearer_than_the_eigenvalues(ratio, seed):
    population = np.repeat([1.0, 2.0], 60)
    values = sample(population, round(120 / ratio), seed=seed)
    law = fit_population_quantiles(values, aspect_ratio=ratio)
    assert wasserstein_distance(law.values, population, law.weights) < 0.35 * wasserstein_distance(values, population)
    assert law.moment(1) == pytest.approx(np.mean(values), rel=0.05)


def test_zeros_are_kept():
    values = np.append(np.zeros(50), sample(np.ones(50), 500, seed=0))
    law = fit_population_quantiles(values, aspect_ratio=0.2)
    assert law.values[0] == 0.0
    assert law.weights[0] == pytest.approx(0.5)
    assert law.moment(1) == pytest.approx(0.5, rel=0.05)


@pytest.mark.parametrize("unit", [1e-14, 1e14])
def test_units_change_nothing_else(unit):
    values = sample(np.linspace(1.0, 3.0, 60), 120, seed=1)
    plain, scaled = (fit_population_quantiles(c * values, aspect_ratio=0.5) for c in (1.0, unit))
    np.testing.assert_allclose(scaled.values / unit, plain.values, rtol=1e-6)


@pytest.mark.parametrize("values", [[1.0], [1.0, 2.0], [0.0, 1.0], [1.0, 1.0, 1.0]])
@pytest.mark.parametrize("ratio", [1e-9, 0.5, 1.0, 30.0])
def test_few_eigenvalues_are_an_answer(values, ratio):
    law = fit_population_quantiles(np.array(values), aspect_ratio=ratio)
    assert np.all(np.isfinite(law.values))
    assert law.moment(1) > 0.0


def test_a_heavy_tail_keeps_its_single_eigenvalues():
    """With 400 eigenvalues on 200 places, the largest ones have a place each."""
    population = 1.0 / (1.01 - (np.arange(400) + 0.5) / 400)
    values = sample(population, 4000, seed=0)
    law = fit_population_quantiles(values, aspect_ratio=0.1)
    assert law.values.size <= 200
    assert law.weights[-1] == pytest.approx(1 / 400)
    assert law.values[-1] == pytest.approx(population[-1], rel=0.1)
    assert wasserstein_distance(law.values, population, law.weights) < wasserstein_distance(values, population)
