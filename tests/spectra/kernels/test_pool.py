import numpy as np
import pytest

from spectra.errors import ArgumentError
from spectra.kernels.eigenlearning import eigenlearning
from spectra.kernels.pool import pool_of
from spectra.kernels.ridge_fit import ridge_fit
from tests.spectra.kernels.ridge_problems import laplace, smooth


def test_the_whole_power_of_the_targets_is_in_it():
    K, y = laplace(50, outputs=2)
    fit = ridge_fit(K, y)
    pool = pool_of(fit)
    assert np.sum(pool.signal) + pool.noise == pytest.approx(fit.power)
    assert np.sum(pool.eigenvalue) + pool.residual_trace == pytest.approx(np.trace(K) / 50)


def test_what_rounding_hides_is_noise():
    K, y = smooth(100)
    fit = ridge_fit(K, y)
    pool = pool_of(fit)
    assert pool.eigenvalue.size < 100
    assert pool.noise > 0
    assert np.sum(pool.signal) + pool.noise == pytest.approx(fit.power)


def test_it_is_eigenlearning_less_the_training_set():
    K, y = laplace(60)
    pool = pool_of(ridge_fit(K, y))
    theory = eigenlearning(pool.eigenvalue, num_samples=15, ridge=0.3, signal=pool.signal)
    assert pool.test_error(15, 0.3) == pytest.approx((theory.test_error - 0.25 * theory.train_error) / 0.75)
    assert pool.predict(15, 0.3).kappa == theory.kappa


def test_the_floor_is_that_of_the_smaller_matrix():
    """n eps w_1(n), with a largest eigenvalue that grows like n."""
    K, y = laplace(200, length=3.0)
    pool = pool_of(ridge_fit(K, y))
    actual = ridge_fit(K[:50, :50], y[:50]).spectrum.ridge_floor
    assert pool.floor(50) == pytest.approx(actual, rel=0.2)
    assert pool.floor(200) == pytest.approx(pool.ridge_floor)


@pytest.mark.parametrize("ridge_per_sample", [0.0, 1e-2])
def test_fits_of_random_subsets(ridge_per_sample):
    """60 training sets of a quarter of the pool: within 3 standard errors and 5 %."""
    K, y = laplace(240, seed=3)
    pool, rng = pool_of(ridge_fit(K, y)), np.random.default_rng(4)
    n, ridge, errors = 60, 60 * ridge_per_sample, []
    for _ in range(60):
        order = rng.permutation(240)
        train, test = order[:n], order[n:]
        coefficients = ridge_fit(K[np.ix_(train, train)], y[train]).coefficients(ridge)
        errors.append(np.mean((y[test] - K[np.ix_(test, train)] @ coefficients) ** 2))
    stderr = np.std(errors) / np.sqrt(60)
    assert abs(np.mean(errors) - pool.test_error(n, ridge)) < 3 * stderr + 0.05 * np.mean(errors)


def test_as_many_samples_as_the_pool():
    with pytest.raises(ArgumentError, match="pool of 2"):
        pool_of(ridge_fit(np.eye(2), np.ones(2))).test_error(2, 0.1)
