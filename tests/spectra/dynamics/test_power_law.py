"""Draws of power-law random features."""

import numpy as np
import pytest

from spectra.dynamics import sgd_curve, stability, streaming
from spectra.dynamics.power_law import power_law_features
from spectra.errors import ArgumentError, NonFiniteError

SETTINGS = {"ambient_dimension": 60, "data_decay": 0.8, "target_decay": 0.6}


def drawn(d, v, seed):
    return np.random.default_rng(seed).standard_normal((v, d)) / np.sqrt(d)


@pytest.mark.parametrize(("d", "v"), [(20, 60), (20, 21), (1, 5)])
def test_is_the_stream_of_the_normal_equations(d, v):
    alpha, beta = 0.8, 0.6
    problem = power_law_features(d, ambient_dimension=v, data_decay=alpha, target_decay=beta, rng=3)
    index = np.arange(1, v + 1.0)
    data, target, weights = np.diag(index ** (-2 * alpha)), index**-beta, drawn(d, v, 3)
    covariance = weights.T @ data @ weights
    solution = np.linalg.solve(covariance, weights.T @ data @ target)
    values, vectors = np.linalg.eigh(covariance)
    expected = streaming(values[::-1], (vectors.T @ -solution)[::-1])
    np.testing.assert_allclose(problem.eigenvalue, expected.eigenvalue, rtol=1e-9)
    np.testing.assert_allclose(problem.initial_loss, expected.initial_loss, rtol=1e-6, atol=1e-15)
    residual = weights @ solution - target
    assert problem.floor == pytest.approx(0.5 * residual @ data @ residual, rel=1e-9)
    assert problem.loss == pytest.approx(0.5 * np.sum(index ** (-2 * (alpha + beta))), rel=1e-12)
    assert problem.num_samples is None


def test_more_features_than_dimensions_leave_no_floor():
    problem = power_law_features(60, ambient_dimension=20, data_decay=0.8, target_decay=0.6, rng=0)
    assert problem.eigenvalue.size == 20
    assert problem.floor == 0.0
    assert problem.loss == pytest.approx(0.5 * np.sum(np.arange(1, 21.0) ** -2.8), rel=1e-12)


def test_singular_values_below_rounding_count_as_floor():
    problem = power_law_features(40, ambient_dimension=50, data_decay=15.0, target_decay=0.5, rng=0)
    assert problem.eigenvalue.size < 40
    assert problem.loss == pytest.approx(0.5 * np.sum(np.arange(1, 51.0) ** -31), rel=1e-12)


def test_a_draw_is_a_function_of_the_seed():
    one, same, other = (power_law_features(20, **SETTINGS, rng=seed) for seed in (1, 1, 2))
    assert np.array_equal(one.eigenvalue, same.eigenvalue)
    assert not np.array_equal(one.eigenvalue, other.eigenvalue)
    generator = np.random.default_rng(1)
    first, second = (power_law_features(20, **SETTINGS, rng=generator) for _ in range(2))
    assert np.array_equal(first.eigenvalue, one.eigenvalue)
    assert not np.array_equal(first.eigenvalue, second.eigenvalue)


def test_single_precision_exponents_are_exponents():
    settings = {"ambient_dimension": 60, "data_decay": np.float32(0.75), "target_decay": np.array(0.5)}
    assert power_law_features(20, **settings, rng=1).loss == pytest.approx(0.5 * np.sum(np.arange(1, 61.0) ** -2.5))


@pytest.mark.parametrize("batch_size", [1, 3])
def test_sgd_on_the_stream_has_the_predicted_mean_loss(batch_size):
    """Samples, features and gradients drawn one by one; 4000 runs, a z-test at every recorded step."""
    d, v, alpha, beta, runs = 6, 15, 0.7, 0.4, 4000
    problem = power_law_features(d, ambient_dimension=v, data_decay=alpha, target_decay=beta, rng=11)
    rate = 0.4 * stability(problem, closure="gaussian", batch_size=batch_size).learning_rate
    steps = [0, 1, 3, 10, 30]
    curve = sgd_curve(
        problem, closure="gaussian", learning_rate=rate, batch_size=batch_size, num_steps=30, record=steps
    )
    index, weights = np.arange(1, v + 1.0), drawn(d, v, 11)
    rng = np.random.default_rng(5)
    theta, losses = np.zeros((runs, d)), []
    for _ in range(31):
        losses.append(0.5 * np.sum(index ** (-2 * alpha) * (theta @ weights.T - index**-beta) ** 2, axis=1))
        x = rng.standard_normal((batch_size, runs, v)) * index**-alpha
        features = x @ weights
        errors = np.sum(features * theta, axis=2) - x @ index**-beta
        theta = theta - rate * np.mean(errors[:, :, None] * features, axis=0)
    losses = np.array(losses)[steps]
    assert losses[0] == pytest.approx(np.full(runs, curve.loss.values[0]), rel=1e-12)
    z = (losses[1:].mean(axis=1) - curve.loss.values[1:]) / (losses[1:].std(axis=1, ddof=1) / np.sqrt(runs))
    assert np.max(np.abs(z)) < 3.5  # eight correlated points of two fixed seeds


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"ambient_dimension": 0}, ArgumentError),
        ({"ambient_dimension": 60.0}, ArgumentError),
        ({"data_decay": -0.1}, ArgumentError),
        ({"data_decay": [0.1]}, ArgumentError),
        ({"data_decay": "1"}, ArgumentError),
        ({"data_decay": np.nan}, NonFiniteError),
        ({"target_decay": -1.0}, ArgumentError),
        ({"target_decay": np.inf}, NonFiniteError),
        ({"target_decay": None}, ArgumentError),
    ],
)
def test_wrong_calls(changed, error):
    with pytest.raises(error, match=next(iter(changed))):
        power_law_features(20, **(SETTINGS | changed), rng=0)


@pytest.mark.parametrize("num_parameters", [0, -3, 2.5, True])
def test_wrong_size(num_parameters):
    with pytest.raises(ArgumentError, match="num_parameters"):
        power_law_features(num_parameters, **SETTINGS, rng=0)
