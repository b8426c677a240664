"""Paquette, van Merrienboer, Paquette and Pedregosa 2020, Halting Time is Predictable for Large Models.

Statements: on large random least-squares problems the squared norm of the gradient after k full-batch steps, and so
the first step at which it is small, follow from the Marchenko-Pastur law alone, whatever the distribution of the
entries; and for as many parameters as samples it decreases like the powers k^(-5/2) (gradient descent), k^(-3/2)
(gradient descent, noisy targets), k^(-4) (Nesterov) and log(k)/k^3 (Nesterov, noisy targets).
"""

import numpy as np
import pytest
from scipy.special import gamma

from spectra.dynamics.halting_time import gradient_norm_curve, halting_time
from spectra.laws import MarchenkoPastur

SQUARE = MarchenkoPastur(aspect_ratio=1.0)
NUM_SAMPLES, DIMENSION, NOISE = 2000, 1000, 0.2
TOLERANCES = [1e-1, 1e-2, 1e-3]


def test_gradient_descent_on_square_data_decreases_as_the_powers_and_with_the_constants():
    # near 0 the density of the law is 1/(pi sqrt x), and (1 - x/4)^(2k) is exp(-k x/2), both up to terms of order 1/k
    k = np.array([2000, 4000])
    curve = gradient_norm_curve(SQUARE, method="gradient_descent", num_steps=4000, noise=1.0).sel(step=k)
    np.testing.assert_allclose(curve["noiseless"], gamma(2.5) / np.pi * (2 / k) ** 2.5, rtol=5.0 / 2000)
    np.testing.assert_allclose(curve["noisy"], gamma(1.5) / np.pi * (2 / k) ** 1.5, rtol=5.0 / 2000)
    for name, power in [("noiseless", -2.5), ("noisy", -1.5)]:
        np.testing.assert_allclose(np.diff(np.log(curve[name])) / np.log(2), power, atol=5.0 / 2000)


def test_nesterov_on_square_data_decreases_as_the_powers_and_with_the_constants():
    # near 0 the residual is 2 J_1(z)/z exp(-z^2/(2k)), z = k sqrt(x)/2, and J_1^2 averages 1/(pi z)
    curve = gradient_norm_curve(SQUARE, method="nesterov", num_steps=4000, noise=1.0)
    k = np.array([1000, 2000, 4000])
    noiseless, noisy = (curve[name].sel(step=k).values for name in ("noiseless", "noisy"))
    np.testing.assert_allclose(noiseless * k**4.0, 128 / np.pi**2, rtol=2.0 / 1000)
    np.testing.assert_allclose(np.diff(np.log(noiseless)) / np.log(2), -4.0, atol=2.0 / 1000)
    # the slope of k^3 times the noisy part against log k tends to a constant: a logarithm, not another power
    slopes = np.diff(noisy * k**3.0) / np.log(2)
    np.testing.assert_allclose(slopes, 32 / np.pi**2, rtol=0.02)
    assert abs(slopes[1] - 32 / np.pi**2) < 0.7 * abs(slopes[0] - 32 / np.pi**2)


def observed_gradient_norms(entries, method, *, num_steps, rng):
    """Return squared norms of the gradient along one run of the method on one data set."""
    law = MarchenkoPastur(aspect_ratio=DIMENSION / NUM_SAMPLES)
    constants = gradient_norm_curve(law, method=method, num_steps=1).attrs
    matrix = entries(rng, (NUM_SAMPLES, DIMENSION))
    signal = rng.standard_normal(DIMENSION) / np.sqrt(DIMENSION)
    targets = matrix @ signal + np.sqrt(NOISE) * rng.standard_normal(NUM_SAMPLES)
    x = ahead = np.zeros(DIMENSION)
    buffer, norms = np.zeros(DIMENSION), []
    for j in range(num_steps + 1):
        gradient = matrix.T @ (matrix @ x - targets) / NUM_SAMPLES
        norms.append(gradient @ gradient)
        if method == "nesterov":
            before = x
            x = ahead - constants["learning_rate"] * (matrix.T @ (matrix @ ahead - targets)) / NUM_SAMPLES
            ahead = x + j / (j + 3) * (x - before)
        else:
            buffer = constants["momentum"] * buffer + gradient
            x = x - constants["learning_rate"] * buffer
    return np.array(norms)


def gaussian(rng, shape):
    return rng.standard_normal(shape)


def signs(rng, shape):
    return rng.choice([-1.0, 1.0], shape)


@pytest.mark.parametrize("entries", [gaussian, signs])
@pytest.mark.parametrize("method", ["gradient_descent", "nesterov", "heavy_ball"])
def test_halting_time_of_one_data_set_is_the_predicted_one(entries, method):
    law = MarchenkoPastur(aspect_ratio=DIMENSION / NUM_SAMPLES)
    predicted = [halting_time(law, method=method, tolerance=each, noise=NOISE) for each in TOLERANCES]
    norms = observed_gradient_norms(entries, method, num_steps=predicted[-1] + 5, rng=np.random.default_rng(1))
    observed = [int(np.flatnonzero(norms <= each)[0]) for each in TOLERANCES]
    # a norm of the gradient that is 10 to 40 % off (below) moves a first passage by at most about one step
    assert np.all(np.abs(np.subtract(observed, predicted)) <= 1), (observed, predicted)
    assert predicted[0] < predicted[1] < predicted[2]
    # one normal coordinate of variance c/d for each eigenvalue: the squared norm has variance 2 sum c^2/d^2
    x, weights = law.nodes(1000), law.weights(1000)
    residuals = scalar_residuals(x, method, num_steps=predicted[1])
    variances = (x**2 + NOISE * law.aspect_ratio * x) * residuals**2
    mean, deviation = variances @ weights, np.sqrt(2 * (variances**2 @ weights) / DIMENSION)
    z = (norms[: predicted[1] + 1] - mean) / deviation
    assert np.max(np.abs(z)) < 4, z


def scalar_residuals(x, method, *, num_steps):
    """Return the error of each eigenvalue after each step, from 1, by the update rules on half squares."""
    law = MarchenkoPastur(aspect_ratio=DIMENSION / NUM_SAMPLES)
    low, high = np.sqrt(law.smallest), np.sqrt(law.largest)
    now = before = np.ones_like(x)
    found = [now]
    for k in range(num_steps):
        if method == "gradient_descent":
            now = now - x * now / high**2
        elif method == "nesterov":
            ahead = now + (k - 1) / (k + 2) * (now - before) if k else now
            before, now = now, ahead - x * ahead / high**2
        else:
            step, momentum = 4 / (high + low) ** 2, ((high - low) / (high + low)) ** 2
            before, now = now, now - step * x * now + momentum * (now - before)
        found.append(now)
    return np.array(found)
