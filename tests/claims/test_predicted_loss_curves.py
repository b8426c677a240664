"""The expected loss of SGD on least squares follows a Volterra equation whose kernel is the spectrum.

Paquette, Lee, Pedregosa and Paquette (2021), arXiv 2102.04396 (single samples); Paquette and Paquette (2021),
arXiv 2106.03696, and Lee, Cheng, Paquette and Paquette (2022), arXiv 2206.01029 (momentum, mini-batches); Paquette,
Paquette, Adlam and Pennington (2022), arXiv 2205.07069 (weight decay and population risk). The referee is a simulation
of many runs on one data set; z is in its standard errors. ``scripts/validate_dynamics.py`` compares more and larger
cases.
"""

import numpy as np
import pytest

from spectra.dynamics import (
    Population,
    from_data,
    sgd_curve,
    simulate_sgd,
    simulate_streaming,
    stability,
    streaming,
    z_scores,
)
from tests.spectra.dynamics.least_squares import gaussian_data

NUM_RUNS = 60
#: A right prediction has z of variance 1 at each record; records of one curve are correlated, and of ten curves at
#: fixed seeds the largest |z| of about five independent stretches each stays below 4 with probability 0.997.
LARGEST_Z = 4.0
#: What the closure leaves out at n = 400: terms of relative order 1/n in the variance, about one percent of the loss.
FINITE_SIZE = 0.01


def compare(curve, runs, variable="loss"):
    """Largest |z| once the allowance for finite size is taken off."""
    found = z_scores(runs, curve, variable=variable)
    deviation = np.abs(found["relative_deviation"].values)
    size = np.abs(found["z"].values)
    keep = np.isfinite(size)
    return np.max(size[keep] * np.maximum(deviation[keep] - FINITE_SIZE, 0) / deviation[keep])


def simulated(A, b, *, closure="gaussian", seed=1, **settings):
    runs = simulate_sgd(A, b, num_runs=NUM_RUNS, rng=seed, **settings)
    curve = sgd_curve(from_data(A, b), closure=closure, record=runs["step"].values, **settings)
    return curve, runs


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("closure", ["limit", "gaussian", "kurtosis"])
def test_single_samples(share, closure):
    A, b = gaussian_data(400, 200, seed=11)
    rate = share * stability(from_data(A, b), closure="limit").learning_rate
    assert compare(*simulated(A, b, closure=closure, learning_rate=rate, num_steps=2400)) < LARGEST_Z


@pytest.mark.parametrize(
    "settings",
    [
        {"batch_size": 8, "sampling": "with_replacement"},
        {"batch_size": 100},
        {"momentum": 0.9},
        {"momentum": 0.9, "nesterov": True, "batch_size": 16},
        {"momentum": 0.8, "batch_size": 64},
    ],
)
def test_batches_and_momentum(settings):
    A, b = gaussian_data(400, 200, seed=12)
    fixed = {key: settings[key] for key in settings}
    rate = 0.5 * stability(from_data(A, b), closure="limit", **fixed).learning_rate
    steps = max(2400 // settings.get("batch_size", 1), 60)
    assert compare(*simulated(A, b, learning_rate=rate, num_steps=steps, **settings)) < LARGEST_Z


def test_schedules_of_rate_batch_size_and_momentum():
    A, b = gaussian_data(400, 200, seed=13)
    steps = 600
    rate = stability(from_data(A, b), closure="limit", batch_size=4).learning_rate
    curve = simulated(
        A,
        b,
        learning_rate=0.4 * rate * (1 + np.cos(np.pi * np.arange(steps) / steps)),
        batch_size=np.repeat([4, 8, 16], 200),
        momentum=np.linspace(0.01, 0.5, steps),
        num_steps=steps,
    )
    assert compare(*curve) < LARGEST_Z


@pytest.mark.parametrize("momentum", [0.0, 0.7])
def test_weight_decay_and_population_risk(momentum):
    A, b = gaussian_data(400, 200, seed=14)
    teacher = np.linalg.lstsq(A, b, rcond=None)[0]
    population = Population(hessian=np.eye(200), minimizer=teacher + 0.02, floor=0.125)
    rate = 0.4 * (1 - momentum) * stability(from_data(A, b), closure="limit", batch_size=4).learning_rate
    curve, runs = simulated(
        A,
        b,
        learning_rate=rate,
        batch_size=4,
        num_steps=800,
        weight_decay=0.3,
        momentum=momentum,
        population=population,
    )
    assert compare(curve, runs) < LARGEST_Z
    assert compare(curve, runs, "risk") < LARGEST_Z


def test_more_parameters_than_samples():
    A, b = gaussian_data(200, 400, seed=15)
    rate = 0.5 * stability(from_data(A, b), closure="limit").learning_rate
    assert compare(*simulated(A, b, learning_rate=rate, num_steps=1600)) < LARGEST_Z


def test_real_data_with_the_closure_that_is_exact():
    """Raw digits in 8 directions: samples and residuals of a real data set, all second moments followed."""
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    A = X[:300, 10:60:6] / 16
    b = y[:300] / 10
    rate = 0.3 * stability(from_data(A, b), closure="exact").learning_rate
    curve, runs = simulated(A, b, closure="exact", learning_rate=rate, num_steps=1500)
    found = z_scores(runs, curve)
    assert np.nanmax(np.abs(found["z"])) < LARGEST_Z


def test_a_gaussian_stream_is_predicted_exactly():
    """Fresh Gaussian features: Wick's formula closes the equations without an approximation."""
    lam = np.arange(1, 31) ** -1.2
    start = np.ones(30)
    problem = streaming(lam, start, noise=0.3)
    rate = 0.3 * stability(problem, closure="gaussian", batch_size=2).learning_rate
    runs = simulate_streaming(
        lam, start=start, noise=0.3, learning_rate=rate, batch_size=2, num_steps=600, num_runs=400, rng=3
    )
    curve = sgd_curve(
        problem, closure="gaussian", learning_rate=rate, batch_size=2, num_steps=600, record=runs["step"].values
    )
    assert np.nanmax(np.abs(z_scores(runs, curve)["z"])) < LARGEST_Z


def test_near_criticality_most_runs_lie_below_the_mean():
    """The mean is carried by rare runs: that is what ``caution`` says of such settings."""
    A, b = gaussian_data(100, 20, seed=16)
    rate = 0.97 * stability(from_data(A, b), closure="gaussian").learning_rate
    curve, runs = simulated(A, b, learning_rate=rate, num_steps=3000)
    assert "rare runs" in curve.attrs["caution"]
    assert float(runs["loss_quantile"].sel(quantile=0.5)[-1]) < 0.8 * float(curve["loss"][-1])


def test_reshuffled_epochs_are_another_matter():
    """Why they are refused: one epoch at a time every sample is met once, and the noise of an epoch cancels."""
    A, b = gaussian_data(400, 200, seed=17)
    rate = 0.5 * stability(from_data(A, b), closure="limit").learning_rate
    record = [400 * k for k in range(1, 9)]
    runs = simulate_sgd(
        A, b, learning_rate=rate, num_steps=3200, num_runs=NUM_RUNS, sampling="reshuffled", record=record, rng=1
    )
    independent = sgd_curve(from_data(A, b), closure="gaussian", learning_rate=rate, num_steps=3200, record=record)
    found = z_scores(runs, independent)
    assert np.min(found["relative_deviation"]) < -0.1
    assert np.max(np.abs(found["z"])) > 10


def test_unequal_samples_break_the_closures_over_modes_and_not_the_exact_one():
    """Features that are rare and large: the rate that modes allow diverges, the exact one does not."""
    rng = np.random.default_rng(18)
    A = rng.standard_normal((300, 6))
    A[:, 5] = 0
    A[:3, 5] = 20.0
    b = A @ np.ones(6) + 0.1 * rng.standard_normal(300)
    problem = from_data(A, b)
    modes = stability(problem, closure="limit")
    exact = stability(problem, closure="exact").learning_rate
    assert modes.learning_rate is None
    rate = 0.5 * modes.closure_learning_rate
    assert rate > 1.2 * exact
    runs = simulate_sgd(A, b, learning_rate=rate, num_steps=4000, num_runs=20, rng=1)
    assert float(runs["loss"][-1]) > 1e3 * float(runs["loss"][0])
    quiet = simulate_sgd(A, b, learning_rate=0.5 * exact, num_steps=4000, num_runs=20, rng=1)
    assert float(quiet["loss"][-1]) < float(quiet["loss"][0])
