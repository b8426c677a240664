"""The square-root rule of Adam, and where it ends.

Malladi, Lyu, Panigrahi and Arora (2022), arXiv 2205.10287: with kappa times the batch, a learning rate sqrt(kappa)
times as large, 1 - beta times kappa and epsilon divided by sqrt(kappa) leave the loss per sample as it was, if noise
dominates the gradient. Decoupled decay takes sqrt(kappa) (Compagnoni et al. 2024, arXiv 2411.15958).

Adam itself is run on a noisy diagonal quadratic at both batch sizes, from one start with a given ratio of signal to
noise in every coordinate. Losses are compared at the same numbers of samples, as ratios with standard errors over
independent runs. The rule neglects what a step cannot resolve, here up to 3 % (a mean decrease per step of
learning_rate * curvature / noise = 0.008 at most, 16 times that after the change, over 2, halved by the share of
the modes that are that fast).
"""

import numpy as np
import pytest

from spectra.dynamics.scaling_checks import MAX_SLOWDOWN
from spectra.dynamics.scaling_rules import scale_settings

DIMENSION, RUNS, NUM_STEPS = 30, 150, 2048
CURVATURE = np.geomspace(0.1, 1.0, DIMENSION)
NOISE = np.random.default_rng(5).permutation(np.geomspace(0.5, 2.0, DIMENSION))
RATE, BETAS = 0.004, (0.95, 0.999)
RECORD = NUM_STEPS // np.array([8, 4, 2, 1])
NEGLECTED, MAX_Z = 0.03, 3.5


def adam(ratio, *, factor=1, rate=RATE, betas=BETAS, epsilon=0.0, decay=0.0, coupled=0.0, seed=0):
    """Return losses of torch's Adam(W), shape (records, runs), at the numbers of samples of ``RECORD``."""
    rng = np.random.default_rng([seed, factor])
    x = np.tile(ratio * NOISE / CURVATURE, (RUNS, 1))
    m, v, found = np.zeros_like(x), np.zeros_like(x), []
    for k in range(1, NUM_STEPS // factor + 1):
        g = (CURVATURE + coupled) * x + NOISE / np.sqrt(factor) * rng.standard_normal(x.shape)
        m, v = betas[0] * m + (1 - betas[0]) * g, betas[1] * v + (1 - betas[1]) * g**2
        x = x * (1 - rate * decay) - rate * m / (1 - betas[0] ** k) / (np.sqrt(v / (1 - betas[1] ** k)) + epsilon)
        if k * factor in RECORD:
            found.append(0.5 * np.sum(CURVATURE * x**2, axis=1))
    return np.array(found)


def ratios(before, after):
    """Return the ratio of mean losses, after over before, and its standard error."""
    share = [losses.std(axis=1, ddof=1) / losses.mean(axis=1) / np.sqrt(RUNS) for losses in (before, after)]
    found = after.mean(axis=1) / before.mean(axis=1)
    return found, found * np.hypot(*share)


def compare(ratio, factor, *, method="adam", epsilon=0.0, decay=0.0, wrong=None):
    """Return the ratios for the settings of the rule; ``wrong`` multiplies some of them."""
    rule = scale_settings(
        method, factor=factor, learning_rate=RATE, betas=BETAS, epsilon=epsilon, weight_decay=decay
    ).settings
    which, wrong = "decay" if method == "adamw" else "coupled", wrong or {}
    after = adam(
        ratio,
        factor=factor,
        rate=rule.learning_rate * wrong.get("learning_rate", 1.0),
        betas=rule.betas,
        epsilon=rule.epsilon * wrong.get("epsilon", 1.0),
        **{which: rule.weight_decay * wrong.get("decay", 1.0)},
    )
    return ratios(adam(ratio, epsilon=epsilon, **{which: decay}), after)


def agrees(found, stderr):
    return np.all(np.abs(found - 1) < MAX_Z * stderr + NEGLECTED)


def differs(found, stderr):
    """Return whether a ratio is off by more than what is neglected and ten standard errors."""
    return np.any(np.abs(found - 1) > NEGLECTED + 10 * stderr)


@pytest.mark.parametrize(("factor", "ratio"), [(4, 0.1), (16, 0.05)])
def test_square_root_rule_holds_where_noise_dominates_and_the_linear_rule_does_not(factor, ratio):
    assert agrees(*compare(ratio, factor))
    assert differs(*compare(ratio, factor, wrong={"learning_rate": factor**0.5}))
    assert differs(*compare(ratio, factor, wrong={"learning_rate": factor**-0.5}))


@pytest.mark.parametrize(
    ("method", "ratio", "settings"),
    [("adam", 0.05, {"epsilon": 2.0}), ("adamw", 0.05, {"decay": 0.3}), ("adam", 0.02, {"decay": 0.3})],
)
def test_epsilon_and_decay_change_as_the_rule_says_and_not_otherwise(method, ratio, settings):
    """Decay that is added to the gradient is part of the signal: hence the smaller ratio."""
    (name,) = settings
    assert agrees(*compare(ratio, 16, method=method, **settings))
    assert differs(*compare(ratio, 16, method=method, wrong={name: 4.0}, **settings))
    assert differs(*compare(ratio, 16, method=method, wrong={name: 0.25}, **settings))


@pytest.mark.parametrize("factor", [4, 16])
def test_square_root_rule_fails_where_the_gradient_dominates(factor):
    found, stderr = compare(1.0, factor)
    assert np.all(found > 1 + NEGLECTED + 10 * stderr)
    refused = scale_settings("adam", factor=factor, learning_rate=RATE, betas=BETAS, signal_to_noise=1.0)
    assert refused.verdict == "WITHHELD"
    assert refused.settings is None


@pytest.mark.parametrize("factor", [4, 16])
def test_at_the_limit_of_the_precondition_the_descent_is_shorter_by_no_more_than_it_says(factor):
    ratio = np.sqrt(((1 + MAX_SLOWDOWN) ** 2 - 1) / (factor - (1 + MAX_SLOWDOWN) ** 2))
    settings = {"factor": factor, "learning_rate": RATE, "betas": BETAS}
    assert scale_settings("adam", signal_to_noise=0.999 * ratio, **settings).verdict == "SUPPORTED"
    assert scale_settings("adam", signal_to_noise=1.001 * ratio, **settings).verdict == "WITHHELD"
    for times, is_within in {1: True, 4: False}.items():
        start = 0.5 * np.sum((times * ratio * NOISE) ** 2 / CURVATURE)
        descent = start / adam(times * ratio).mean(axis=1)
        found, stderr = compare(times * ratio, factor)
        assert np.all(found < descent**MAX_SLOWDOWN + NEGLECTED + MAX_Z * stderr) == is_within
