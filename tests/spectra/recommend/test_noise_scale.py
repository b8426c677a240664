"""Estimators of gradient and curvature noise: identities first, then z-tests over fixed seeds."""

import numpy as np
import pytest

from spectra.errors import ArgumentError, ShapeError
from spectra.recommend.noise_scale import gradient_statistics, jackknife_stderr, pair_statistic, scatter

DIMENSION = 6


def problem(seed: int):
    rng = np.random.default_rng(seed)
    mean = rng.standard_normal(DIMENSION)
    factor = rng.standard_normal((DIMENSION, DIMENSION))
    hessian = rng.standard_normal((DIMENSION, DIMENSION))
    return rng, mean, factor, hessian @ hessian.T


def test_two_batch_size_form_of_mccandlish_is_the_same_estimate():
    rng, mean, factor, _ = problem(0)
    size, count = 4, 10
    gradients = mean + rng.standard_normal((count, DIMENSION)) @ factor.T / np.sqrt(size)
    gram = gradients @ gradients.T
    small, big = np.mean(np.diag(gram)), np.sum(gradients.mean(0) ** 2)
    full = size * count
    squared = (full * big - size * small) / (full - size)
    trace = (small - big) / (1 / size - 1 / full)
    np.testing.assert_allclose(pair_statistic(gram).value, squared, rtol=1e-12)
    np.testing.assert_allclose(scatter(gram, batch_size=size).value, trace, rtol=1e-12)


def test_scatter_is_the_sample_variance_of_single_samples():
    rng, mean, factor, _ = problem(1)
    gradients = mean + rng.standard_normal((12, DIMENSION)) @ factor.T
    expected = gradients.var(axis=0, ddof=1).sum()
    np.testing.assert_allclose(scatter(gradients @ gradients.T, batch_size=1).value, expected, rtol=1e-12)


def test_leave_one_out_values_are_the_estimates_without_that_batch():
    rng, mean, factor, _ = problem(2)
    gradients = mean + rng.standard_normal((7, DIMENSION)) @ factor.T
    gram = gradients @ gradients.T
    for statistic, function in (
        (pair_statistic(gram), pair_statistic),
        (scatter(gram, batch_size=3), lambda part: scatter(part, batch_size=3)),
    ):
        for left in range(7):
            keep = np.arange(7) != left
            np.testing.assert_allclose(statistic.leave_one_out[left], function(gram[np.ix_(keep, keep)]).value)


def test_all_four_statistics_are_unbiased():
    rng, mean, factor, hessian = problem(3)
    size, count, repeats = 4, 8, 4000
    sigma = factor @ factor.T
    truth = np.array([mean @ mean, np.trace(sigma), mean @ hessian @ mean, np.trace(hessian @ sigma)])
    values = []
    for _ in range(repeats):
        gradients = mean + rng.standard_normal((count, DIMENSION)) @ factor.T / np.sqrt(size)
        found = gradient_statistics(gradients @ gradients.T, gradients @ hessian @ gradients.T, batch_size=size)
        values.append(
            [
                found.squared_gradient.value,
                found.trace_covariance.value,
                found.gradient_curvature.value,
                found.noise_curvature.value,
            ]
        )
    values = np.array(values)
    z = (values.mean(0) - truth) / (values.std(0, ddof=1) / np.sqrt(repeats))
    assert np.abs(z).max() < 4, z


def test_jackknife_interval_of_the_noise_scale_covers():
    rng, mean, factor, hessian = problem(4)
    mean = 3 * mean
    size, count, repeats = 16, 24, 400
    truth = np.trace(factor @ factor.T) / (mean @ mean)
    covered = 0
    for _ in range(repeats):
        gradients = mean + rng.standard_normal((count, DIMENSION)) @ factor.T / np.sqrt(size)
        scale = gradient_statistics(
            gradients @ gradients.T, gradients @ hessian @ gradients.T, batch_size=size
        ).simple_noise_scale
        low, high = scale.interval()
        covered += low <= truth <= high
    # 95% nominal; the binomial standard error at 400 repeats is 1.1 points.
    assert covered / repeats > 0.95 - 4 * 0.011


def test_directional_step_minimizes_the_expected_quadratic():
    rng, mean, factor, hessian = problem(5)
    batch = 10
    count = 3000
    gradients = mean + rng.standard_normal((count, DIMENSION)) @ factor.T
    found = gradient_statistics(gradients @ gradients.T, gradients @ hessian @ gradients.T, batch_size=1)
    expected = mean @ mean / (mean @ hessian @ mean + np.trace(hessian @ factor @ factor.T) / batch)
    step = found.directional_step(1 / batch)
    assert abs(step.value - expected) < 4 * step.stderr


def test_unresolved_gradient_is_flagged_and_never_clipped():
    rng = np.random.default_rng(6)
    gradients = rng.standard_normal((24, 50))
    gram = gradients @ gradients.T
    statistic = pair_statistic(gram)
    assert not statistic.is_resolved
    negative = pair_statistic(np.eye(5) - np.ones((5, 5)) / 5)
    assert negative.value < 0


def test_jackknife_of_non_finite_values_is_infinite():
    assert jackknife_stderr(np.array([1.0, np.nan, 2.0])) == np.inf


def test_bad_grams_are_refused():
    with pytest.raises(ShapeError, match="square"):
        pair_statistic(np.ones((3, 4)))
    with pytest.raises(ArgumentError, match="at least 3"):
        pair_statistic(np.ones((2, 2)))
