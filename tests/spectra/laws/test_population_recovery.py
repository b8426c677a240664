import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from spectra import slq
from spectra.errors import ArgumentError, NonFiniteError, SchemaError, ShapeError
from spectra.laws.generalized_marchenko_pastur import GeneralizedMarchenkoPastur
from spectra.laws.population import PopulationLaw
from spectra.laws.population_recovery import recover_population

VALUES, WEIGHTS = np.array([1.0, 3.0, 10.0]), np.array([0.2, 0.4, 0.4])


def covariance(p, n, *, seed=0):
    scale = np.sqrt(np.repeat(VALUES, (WEIGHTS * p).round().astype(int)))
    X = np.random.default_rng(seed).standard_normal((p, n)) * scale[:, None]
    return X @ X.T / n


def distance(found):
    return wasserstein_distance(found.atoms, VALUES, found.weights, WEIGHTS)


@pytest.mark.parametrize("ratio", [0.2, 1.0, 2.0])
def test_quantiles_of_the_law_itself_give_its_population(ratio):
    """Without fluctuations and on the right grid the weights come back."""
    law = GeneralizedMarchenkoPastur(population=PopulationLaw(values=VALUES, weights=WEIGHTS), aspect_ratio=ratio)
    values = law.quantile((np.arange(4000) + 0.5) / 4000)
    found = recover_population(values, aspect_ratio=ratio, grid=VALUES)
    np.testing.assert_allclose(found.weights, WEIGHTS, atol=2e-3)
    assert found.is_trustworthy


def test_small_ratio_leaves_the_eigenvalues():
    found = recover_population([1.0, 2.0, 2.0, 4.0], aspect_ratio=1e-6, grid=[1.0, 2.0, 4.0])
    np.testing.assert_allclose(found.weights, [0.25, 0.5, 0.25], atol=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_recovery_is_far_nearer_than_the_eigenvalues(seed):
    values = np.linalg.eigvalsh(covariance(400, 800, seed=seed))
    found = recover_population(values, aspect_ratio=0.5)
    assert distance(found) < 0.25
    assert wasserstein_distance(values, VALUES, None, WEIGHTS) > 1.8
    assert found.is_trustworthy, found.why
    assert found.law.moment(1) == pytest.approx(np.mean(values), rel=0.02)


@pytest.mark.parametrize("seed", range(3))
def test_recovery_from_few_products(seed):
    found = recover_population(slq(covariance(400, 2000, seed=seed), num_probes=16, num_steps=40), aspect_ratio=0.2)
    assert distance(found) < 0.4
    assert found.is_trustworthy, found.why


def test_more_dimensions_than_samples():
    values = np.maximum(np.linalg.eigvalsh(covariance(800, 400)), 0.0)
    found = recover_population(values, aspect_ratio=2.0)
    assert distance(found) < 1.5
    assert wasserstein_distance(values, VALUES, None, WEIGHTS) > 4.0
    assert found.is_trustworthy, found.why


def test_zeros_of_the_population_are_found():
    X = np.random.default_rng(0).standard_normal((150, 1000))
    values = np.concatenate([np.zeros(150), np.linalg.eigvalsh(X @ X.T / 1000)])
    found = recover_population(values, aspect_ratio=0.3)
    assert found.atoms[0] == 0.0
    assert found.weights[0] == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("unit", [1e-14, 1e14])
def test_units_change_nothing_else(unit):
    values = np.linalg.eigvalsh(covariance(100, 300))
    plain, scaled = (recover_population(c * values, aspect_ratio=1 / 3) for c in (1.0, unit))
    np.testing.assert_allclose(scaled.law.moment(1) / unit, plain.law.moment(1), rtol=1e-6)
    assert scaled.residual == pytest.approx(plain.residual, rel=1e-4)


@pytest.mark.parametrize("values", [np.ones(200), np.linspace(1.0, 2.0, 200)])
def test_eigenvalues_that_no_sample_has_are_doubted(values):
    """Sampling with y = 0.5 spreads eigenvalues more than this."""
    found = recover_population(values, aspect_ratio=0.5)
    assert not found.is_trustworthy
    assert "residual" in found.why


def test_a_grid_that_ends_too_early_is_doubted():
    values = np.linalg.eigvalsh(covariance(200, 2000))
    found = recover_population(values, aspect_ratio=0.1, grid=np.linspace(0.1, 9.0, 100))
    assert not found.is_trustworthy, found.residual
    assert "last place" in found.why


@pytest.mark.parametrize("values", [[1.0], [1.0, 2.0]])
def test_one_or_two_eigenvalues_are_an_answer(values):
    found = recover_population(values, aspect_ratio=0.5)
    assert np.sum(found.weights) == pytest.approx(1.0)
    assert found.why


@pytest.mark.parametrize(
    ("source", "options", "error"),
    [
        ([], {}, ShapeError),
        (np.eye(2), {}, ShapeError),
        (1.0, {}, ShapeError),
        ([0.0, 0.0], {}, ArgumentError),
        ([-1.0, 1.0], {}, ArgumentError),
        ([1.0, np.nan], {}, NonFiniteError),
        ([1.0], {"aspect_ratio": 0.0}, ArgumentError),
        ([1.0], {"grid": []}, ArgumentError),
        ([1.0], {"grid": [-1.0, 1.0]}, ArgumentError),
        ([1.0], {"grid": [0.0]}, ArgumentError),
    ],
)
def test_bad_calls_are_refused(source, options, error):
    with pytest.raises(error):
        recover_population(source, **({"aspect_ratio": 0.5} | options))


def test_other_datasets_are_refused():
    with pytest.raises(SchemaError):
        recover_population(slq(np.eye(4), num_probes=2).assign_attrs(schema="other"), aspect_ratio=0.5)
