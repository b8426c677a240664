"""Polyak steps at a checkpoint: the median of the pure rules, and refusals."""

import numpy as np
import pytest

from spectra.errors import ArgumentError, ShapeError
from spectra.recommend import (
    Verdict,
    measured_polyak_step,
    nonnegative_gauss_newton_step,
    polyak_step,
    slack_polyak_step,
)

RNG = np.random.default_rng(0)
LOSSES, NORMS = RNG.uniform(0.5, 1.5, 31), RNG.uniform(2.0, 9.0, 31)
RULES = {
    "sps_max": lambda f, g2: polyak_step(f, g2, max_step_size=1.0),
    "spsl1": lambda f, g2: slack_polyak_step(f, g2, slack=0.0, delta=0.1).step_size,
    "ngn": lambda f, g2: nonnegative_gauss_newton_step(f, g2, sigma=1.0),
}


@pytest.mark.parametrize("rule", RULES)
def test_value_is_the_median_of_single_batches(rule):
    advice = measured_polyak_step(LOSSES, NORMS, rule=rule, max_step_size=1.0)
    steps = [RULES[rule](f, g2) for f, g2 in zip(LOSSES, NORMS, strict=True)]
    assert advice.verdict is Verdict.TENTATIVE
    np.testing.assert_allclose(advice.value, np.median(steps))
    np.testing.assert_allclose([advice.low, advice.high], np.quantile(steps, [0.05, 0.95]))


def test_flat_gradients_are_withheld_as_the_cap_speaks():
    advice = measured_polyak_step(LOSSES, 1e-9 * NORMS, max_step_size=1.0)
    assert advice.verdict is Verdict.WITHHELD
    assert "set by the data" in advice.reason
    assert advice.value is None


@pytest.mark.parametrize("bad", [np.nan, -1.0])
def test_unusable_losses_are_withheld(bad):
    advice = measured_polyak_step(np.r_[LOSSES, bad], np.r_[NORMS, 1.0], max_step_size=1.0)
    assert advice.verdict is Verdict.WITHHELD
    assert "not below their bound" in advice.reason


def test_bad_calls_are_refused():
    with pytest.raises(ShapeError, match="at least 8"):
        measured_polyak_step(LOSSES[:5], NORMS[:5], max_step_size=1.0)
    with pytest.raises(ArgumentError, match="rule must be"):
        measured_polyak_step(LOSSES, NORMS, rule="alig", max_step_size=1.0)
    with pytest.raises(ArgumentError, match="max_step_size"):
        measured_polyak_step(LOSSES, NORMS, max_step_size=0.0)
