"""Stationary losses on noisy quadratics, simulated and predicted.

Compagnoni, Liu, Islamov, Proske, Orvieto and Lucchi (2024), arXiv 2411.15958: signSGD stops at
(eta/4) sqrt(pi/2) sum s, Adam at (eta/4) sum s, AdamW at (eta/4) sum lambda s / (lambda + decay s): the loss of
adaptive methods is linear in the noise, that of SGD quadratic.
Compagnoni, Biggio, Orvieto, Proske, Kersting and Lucchi (2023), arXiv 2301.08203: SAM raises that of SGD by a factor
1 + radius * curvature in every mode.

The simulations run the update rules themselves. Runs are independent, so the mean over time of each run gives the
standard error; runs start from the predicted law, and what is left of the start fades during the first third.
"""

import numpy as np
import pytest

from spectra.dynamics.stationary import MAX_SIGNAL_TO_NOISE, stationary_loss

DIMENSION, RUNS = 20, 150
CURVATURE = np.geomspace(0.1, 1.0, DIMENSION)
NOISE = np.random.default_rng(5).uniform(0.5, 2.0, DIMENSION)
#: Of a z-test; each case is one draw of a fixed seed, and there are about 40 of them.
MAX_Z = 3.5


def simulate(step, found, *, batch_size=1, seed=0, curvature=CURVATURE, noise=NOISE, relaxations=12):
    """Return mean and standard error of the loss of ``step(x, gradient, k)`` in the stationary state."""
    rng = np.random.default_rng(seed)
    sd = np.sqrt(2 * found.mode_losses / curvature)
    x = sd * rng.standard_normal((RUNS, len(curvature)))
    num_steps = int(relaxations * found.relaxation_steps) + 300
    total, kept = np.zeros(RUNS), 0
    for k in range(num_steps):
        kick = noise / np.sqrt(batch_size) * rng.standard_normal(x.shape)
        x = step(x, lambda at, kick=kick: curvature * at + kick, k)
        if k >= num_steps // 3:
            total += 0.5 * np.sum(curvature * x**2, axis=1)
            kept += 1
    each = total / kept
    return each.mean(), each.std(ddof=1) / np.sqrt(RUNS)


def sgd(rate, *, momentum=0.0, decay=0.0, radius=0.0):
    """Torch's SGD, with the unnormalized ascent step of SAM before it."""
    buffer = 0.0

    def step(x, gradient, k):
        nonlocal buffer
        buffer = momentum * buffer + gradient(x + radius * gradient(x)) + decay * x
        return x - rate * buffer

    return step


def adam(rate, *, beta=0.9, second=0.999, decay=0.0, coupled=0.0):
    """Torch's Adam(W) with epsilon 0."""
    m, v = 0.0, 0.0

    def step(x, gradient, k):
        nonlocal m, v
        g = gradient(x) + coupled * x
        m, v = beta * m + (1 - beta) * g, second * v + (1 - second) * g**2
        return x * (1 - rate * decay) - rate * m / (1 - beta ** (k + 1)) / np.sqrt(v / (1 - second ** (k + 1)))

    return step


def agree(simulated, value, *, slack=0.0):
    mean, stderr = simulated
    return abs(mean - value) <= MAX_Z * stderr + slack * value


@pytest.mark.parametrize("rate", [0.02, 0.5, 1.5])
@pytest.mark.parametrize("settings", [{}, {"momentum": 0.8}, {"decay": 0.2}, {"momentum": 0.5, "decay": 0.2}])
def test_sgd_stops_where_the_exact_formula_says(rate, settings):
    names = {"momentum": "momentum", "decay": "weight_decay"}
    found = stationary_loss(
        "sgd",
        curvature=CURVATURE,
        noise=NOISE,
        learning_rate=rate,
        batch_size=4,
        **{names[key]: value for key, value in settings.items()},
    )
    simulated = simulate(sgd(rate, **settings), found, batch_size=4, seed=int(100 * rate))
    assert agree(simulated, found.value)
    assert simulated[1] < 0.02 * found.value


@pytest.mark.parametrize(("rate", "radius", "decay"), [(0.02, 0.5, 0.0), (0.5, 0.5, 0.0), (0.5, 1.0, 0.3)])
def test_sam_stops_higher_by_one_plus_radius_times_curvature(rate, radius, decay):
    found = stationary_loss(
        "sam", curvature=CURVATURE, noise=NOISE, learning_rate=rate, radius=radius, weight_decay=decay
    )
    assert agree(simulate(sgd(rate, radius=radius, decay=decay), found), found.value)
    if decay == 0:
        plain = rate / 4 * np.sum((1 + radius * CURVATURE) * NOISE**2)
        np.testing.assert_allclose(found.small_learning_rate_value, plain, rtol=1e-12)


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.3])
def test_signsgd_stops_where_the_formula_says(rate):
    found = stationary_loss("signsgd", curvature=CURVATURE, noise=NOISE, learning_rate=rate, batch_size=4)
    step = lambda x, gradient, k: x - rate * np.sign(gradient(x))  # noqa: E731
    simulated = simulate(step, found, batch_size=4)
    # Iterates are not quite Gaussian where the signal is comparable to the noise.
    assert agree(simulated, found.value, slack=0.01 if found.signal_to_noise > MAX_SIGNAL_TO_NOISE else 0.0)
    published = rate / 4 * np.sqrt(np.pi / 2) * np.sum(NOISE / 2)
    np.testing.assert_allclose(found.small_learning_rate_value, published, rtol=1e-12)
    if found.signal_to_noise < 0.15:
        assert agree(simulated, published)


@pytest.mark.parametrize("method", ["adam", "adamw"])
@pytest.mark.parametrize("beta", [0.0, 0.9])
@pytest.mark.parametrize(("rate", "decay"), [(0.01, 0.0), (0.1, 0.0), (0.3, 0.0), (0.1, 0.5)])
def test_adam_stops_where_the_formula_says(method, beta, rate, decay):
    found = stationary_loss(
        method, curvature=CURVATURE, noise=NOISE, learning_rate=rate, momentum=beta, weight_decay=decay
    )
    which = "decay" if method == "adamw" else "coupled"
    simulated = simulate(adam(rate, beta=beta, **{which: decay}), found, seed=3)
    # The second moment is an average of 1000 squares: 1/sqrt(v) is larger by 3/8 of its relative variance, 1e-3.
    assert agree(simulated, found.value, slack=1e-3)


@pytest.mark.parametrize(("decay", "rate"), [(0.0, 0.01), (0.5, 0.003)])
def test_published_limit_of_adam_holds_for_small_rates(decay, rate):
    published = rate / 4 * np.sum(CURVATURE * NOISE / (CURVATURE + decay * NOISE))
    found = stationary_loss(
        "adamw", curvature=CURVATURE, noise=NOISE, learning_rate=rate, momentum=0.9, weight_decay=decay
    )
    np.testing.assert_allclose(found.small_learning_rate_value, published, rtol=1e-12)
    # What is neglected: decay per memory of the momentum, rate * decay / (1 - beta).
    assert agree(simulate(adam(rate, decay=decay), found), published, slack=rate * decay / 0.1)


def test_published_limit_of_adamw_fails_where_decay_is_fast_beside_the_momentum():
    rate, decay = 0.1, 0.5
    found = stationary_loss(
        "adamw", curvature=CURVATURE, noise=NOISE, learning_rate=rate, momentum=0.9, weight_decay=decay
    )
    mean, stderr = simulate(adam(rate, decay=decay), found)
    assert found.small_learning_rate_value > 1.3 * (mean + MAX_Z * stderr)
    assert [check.holds for check in found.preconditions] == [False, True]


def test_adaptive_methods_stop_linearly_in_the_noise_and_sgd_quadratically():
    for method, power in {"sgd": 2, "sam": 2, "signsgd": 1, "adam": 1}.items():
        quiet, loud = (
            stationary_loss(method, curvature=CURVATURE, noise=scale * NOISE, learning_rate=1e-5) for scale in (1, 3)
        )
        np.testing.assert_allclose(loud.value / quiet.value, 3.0**power, rtol=1e-3)
