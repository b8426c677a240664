import numpy as np
import pytest

from spectra.errors import ArgumentError, NonFiniteError
from spectra.kernels.best_ridge import best_ridge
from spectra.kernels.ridge_fit import ridge_fit
from tests.spectra.kernels.ridge_problems import laplace, noisy_plane, smooth


def test_no_ridge_of_a_fine_grid_is_better():
    K, y = smooth(80)
    found = best_ridge(K, y)
    fine = ridge_fit(K, y).statistics(np.geomspace(found.grid[0], found.grid[-1], 3000)).leave_one_out
    assert found.place == "inside"
    assert found.risk.risk <= np.min(fine) * (1 + 1e-5)
    assert found.low < found.ridge < found.high
    assert found.ridge_per_sample == found.ridge / 80


def test_the_range_ends_where_the_difference_is_its_standard_error():
    K, y = smooth(80)
    found, fit = best_ridge(K, y), ridge_fit(K, y)
    lowest = fit.squared_residuals(found.ridge)[:, 0]
    for end in (found.low, found.high):
        difference = fit.squared_residuals(end)[:, 0] - lowest
        assert np.mean(difference) == pytest.approx(np.std(difference, ddof=1) / np.sqrt(80), rel=0.02)


def test_a_range_narrower_than_the_grid_has_two_ends():
    """Both neighbors in the grid are worse by more than their scatter."""
    K, y = laplace(300)
    found = best_ridge(K, y, ridges=[1e-3, 0.5, 100.0])
    assert found.grid[0] < found.low < found.ridge < found.high < found.grid[-1]


def test_scikit_learn_chooses_the_same_of_a_list():
    pytest.importorskip("sklearn")
    from sklearn.linear_model import RidgeCV

    K, y = laplace(60)
    ridges = np.geomspace(1e-3, 1e3, 13)
    model = RidgeCV(alphas=ridges, fit_intercept=False).fit(np.linalg.cholesky(K), y)
    found = best_ridge(K, y, ridges=ridges)
    assert found.grid[np.argmin(found.grid_risk)] == pytest.approx(float(model.alpha_))


def test_without_noise_no_ridge_is_needed():
    X, y = noisy_plane(80, np.random.default_rng(0), noise=0.0)
    K = np.exp(-np.linalg.norm(X[:, None] - X, axis=2) / 2)
    found = best_ridge(K, y)
    assert found.ridge < 1e-3
    assert found.place in {"none needed", "inside"}
    assert "No ridge is needed" in found.verdict or "Ridges from" in found.verdict


def test_pure_noise_asks_for_all_of_it():
    K, _ = laplace(80)
    found = best_ridge(K, np.random.default_rng(1).standard_normal(80))
    assert found.high == pytest.approx(found.grid[-1])
    assert found.risk.risk > 0.9 * found.risk.label_variance


def test_constant_targets_of_a_kernel_that_holds_them_are_told_from_noise():
    found = best_ridge(np.ones((10, 10)) + 1e-3 * np.eye(10), np.ones(10))
    assert found.risk.risk < 1e-4


@pytest.mark.parametrize("unit", [1e-14, 1e14])
def test_units(unit):
    K, y = smooth(50)
    plain, scaled = best_ridge(K, y), best_ridge(unit * K, y)
    assert scaled.ridge == pytest.approx(unit * plain.ridge, rel=1e-2)
    assert scaled.high == pytest.approx(unit * plain.high, rel=1e-2)
    assert (scaled.place, scaled.risk.risk) == (plain.place, pytest.approx(plain.risk.risk, rel=1e-6))


def test_one_ridge_and_copies():
    K, y = laplace(20)
    found = best_ridge(K, y, ridges=[0.5])
    assert (found.ridge, found.low, found.high, found.place) == (0.5, 0.5, 0.5, "flat")
    twice = np.concatenate([np.arange(20), np.arange(20)])
    assert best_ridge(K[np.ix_(twice, twice)], y[twice]).risk.remarks


def test_two_samples():
    assert best_ridge([[2.0, 1.0], [1.0, 2.0]], [1.0, 0.8]).ridge > 0


def test_what_cannot_be():
    with pytest.raises(ArgumentError, match="two samples"):
        best_ridge([[1.0]], [1.0])
    with pytest.raises(ArgumentError):
        best_ridge(np.eye(3), np.ones(3), ridges=[-1.0])
    with pytest.raises(ArgumentError):
        best_ridge(np.eye(3), np.ones(3), level=2.0)
    with pytest.raises(NonFiniteError):
        best_ridge(np.eye(3), [1.0, np.nan, 1.0])
