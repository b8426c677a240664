import numpy as np
import pytest

from spectra.kernels.eigenlearning import eigenlearning
from spectra.kernels.local_exponent import ExponentTrend
from spectra.kernels.regime_rule import exponential_slope, regime_verdict


def judged(exponent, slope, *, stderr=0.01, bend=0.0):
    """Return the verdict on slopes of doublings that differ by ``bend``."""
    last, before = slope + bend / 2, slope - bend / 2
    return regime_verdict(ExponentTrend(exponent=exponent, slope=slope, stderr=stderr, last=last, before=before))


def verdict(exponent, slope, **settings):
    return judged(exponent, slope, **settings).regime


@pytest.mark.parametrize("exponent", [0.5, 1.0])
def test_no_decay_does_not_grow(exponent):
    assert exponential_slope(exponent) == 0.0


@pytest.mark.parametrize("lengths", [1e-3, 0.3, 2.0, 30.0, 600.0])
def test_slope_of_the_closed_form(lengths):
    at = [x / -np.expm1(-x) for x in (lengths, lengths / 4)]
    assert exponential_slope(at[0]) == pytest.approx(np.log(at[0] / at[1]) / np.log(4), rel=1e-6, abs=1e-12)


def test_slope_of_exponential_decay_is_that_of_its_eigenvalues():
    values, logs = np.exp(-0.01 * np.arange(1, 4501.0)), []
    for dimension in (200, 50):
        # At this many samples and no ridge df1 is the number of samples.
        found = eigenlearning(values, num_samples=dimension, ridge=0.0)
        logs.append(-np.log(1 - found.df2 / found.df1))
    assert exponential_slope(np.exp(logs[0])) == pytest.approx((logs[0] - logs[1]) / np.log(4), abs=0.01)


def test_slopes_of_exponential_decay_rise_to_one():
    slopes = [exponential_slope(exponent) for exponent in np.geomspace(1.0001, 1e4, 30)]
    assert np.all(np.diff(slopes) > -1e-12)
    assert slopes[-1] == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize(
    ("exponent", "slope", "expected"),
    [
        (1.02, -0.05, "benign"),
        (1.02, 0.0, "tempered"),
        (2.0, 0.0, "tempered"),
        (2.0, -0.05, "tempered"),
        (2.0, 0.07, "undecided"),
        (2.0, -0.15, "undecided"),
        (2.0, 0.16, "undecided"),
        (1.3, 0.16, "catastrophic"),
        (3.6, 0.35, "undecided"),
        (3.6, 0.6, "catastrophic"),
        (6.0, 0.2, "catastrophic"),
        (6.0, 0.13, "undecided"),
    ],
)
def test_rule(exponent, slope, expected):
    assert verdict(exponent, slope) == expected


def test_uncertain_slopes_decide_nothing():
    assert verdict(2.0, 0.0, stderr=0.07) == "undecided"
    assert verdict(1.02, -0.05, stderr=0.03) == "tempered"
    assert verdict(8.0, 0.4, stderr=0.15) == "undecided"
    assert verdict(np.nan, np.nan, stderr=np.nan) == "undecided"


@pytest.mark.parametrize("bend", [-0.5, 0.5])
def test_steps_are_not_constant(bend):
    assert verdict(2.0, 0.0, bend=bend) == "undecided"


def test_growth_that_slows_down_is_not_catastrophic():
    assert verdict(7.0, 0.5, bend=-0.1) == "catastrophic"
    assert verdict(7.0, 0.5, bend=-0.2) == "undecided"
    assert verdict(7.0, 0.5, bend=0.4) == "catastrophic"


def test_reasons():
    assert "hardly begun" in judged(1.05, 0.0).why
    assert "have not begun" in judged(2.0, 0.2).why
    assert "steps" in judged(2.0, 0.0, bend=1.0).why
    assert "growth as of exponential decay (0." in judged(3.6, 0.6).why
    assert "neither surely constant" in judged(2.0, 0.08).why
    assert "above 5" in judged(6.0, 0.2).why
