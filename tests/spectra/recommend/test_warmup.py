"""Warm-up: lengths of known courses of the limit, and the smoothness law against least squares and z-tests."""

import numpy as np
import pytest

from spectra.errors import ArgumentError, ShapeError
from spectra.recommend import Verdict, smoothness_fit, warmup_length

STEPS = [0, 10, 20, 40, 80]


@pytest.mark.parametrize(
    ("limits", "value", "low"),
    [
        ([0.2, 0.21, 0.2, 0.19, 0.2], 0, 0),
        ([0.01, 0.05, 0.2, 0.21, 0.2], 20, 10),
        ([0.9, 0.5, 0.1, 0.11, 0.1], 20, 10),
        ([0.9, 0.3, 0.1, 0.2, 0.5], 20, 10),
        ([0.01, 0.02, 0.08, 0.2, 0.21], 40, 20),
    ],
    ids=["constant", "rises", "falls", "minimum", "late"],
)
def test_length_of_known_courses(limits, value, low):
    advice = warmup_length(STEPS, limits)
    assert (advice.value, advice.low, advice.high) == (value, low, value)
    assert advice.verdict is Verdict.TENTATIVE


@pytest.mark.parametrize(
    ("steps", "limits", "claim"),
    [
        (STEPS, [0.9, 0.5, 0.3, 0.15, 0.05], "stops changing"),
        (STEPS, [0.01, 0.02, 0.05, 0.1, 0.3], "stops changing"),
        (STEPS[:2], [0.1, 0.1], "enough stages"),
        (STEPS, [0.1, np.inf, 0.1, 0.1, 0.1], "positive and finite"),
        (STEPS, [0.1, -0.1, 0.1, 0.1, 0.1], "positive and finite"),
    ],
    ids=["falling", "rising", "two", "infinite", "negative"],
)
def test_moving_or_missing_limits_are_withheld(steps, limits, claim):
    advice = warmup_length(steps, limits)
    assert advice.verdict is Verdict.WITHHELD
    assert advice.value is None
    assert claim in advice.reason


def test_noise_below_the_ratio_is_no_minimum():
    assert warmup_length(STEPS, [0.11, 0.1, 0.12, 0.13, 0.12]).value == 0


def test_units_do_not_matter():
    limits = np.array([0.01, 0.05, 0.2, 0.21, 0.2])
    assert warmup_length(STEPS, 1e-14 * limits).value == warmup_length(STEPS, limits).value


def test_fit_is_least_squares():
    rng = np.random.default_rng(0)
    losses, curvatures = rng.uniform(0.5, 3, 9), rng.uniform(1, 5, 9)
    slope, intercept = np.polyfit(losses - 0.5, curvatures, 1)
    fit = smoothness_fit(losses, curvatures, optimal_loss=0.5)
    np.testing.assert_allclose([fit.slope, fit.intercept], [slope, intercept], rtol=1e-9)
    np.testing.assert_allclose(fit.r_squared, np.corrcoef(losses, curvatures)[0, 1] ** 2, rtol=1e-9)


def test_intervals_cover():
    rng = np.random.default_rng(1)
    losses, repeats = np.geomspace(3, 0.1, 8), 2000
    hits = np.zeros(2)
    for _ in range(repeats):
        fit = smoothness_fit(losses, 1.0 + 2.0 * losses + 0.5 * rng.standard_normal(8))
        hits += [
            fit.intercept_interval[0] <= 1.0 <= fit.intercept_interval[1],
            fit.slope_interval[0] <= 2.0 <= fit.slope_interval[1],
        ]
    z = (hits / repeats - 0.95) / np.sqrt(0.95 * 0.05 / repeats)
    assert np.abs(z).max() < 4, z


@pytest.mark.parametrize(
    ("curvatures", "claim"),
    [
        ([0.34, 2.4, 6.0, 10.5], "curvature falls with the loss"),
        ([2.0, 2.0, 2.0, 2.0], "curvature falls with the loss"),
        ([3.0, 0.2, 3.0, 0.2], "the line explains"),
        ([6.0, 2.0, 0.5, -1.0], "optimal loss is positive"),
    ],
)
def test_law_is_withheld_where_it_does_not_hold(curvatures, claim):
    fit = smoothness_fit([2.0, 1.5, 1.0, 0.5], curvatures)
    assert fit.verdict is Verdict.WITHHELD
    assert claim in fit.reason
    with pytest.raises(ArgumentError, match="withheld"):
        fit.relative_rate([1.0])


def test_bad_calls_are_refused():
    with pytest.raises(ShapeError, match="one limit"):
        warmup_length([0, 1, 2], [0.1, 0.1])
    with pytest.raises(ArgumentError, match="increasing"):
        warmup_length([0, 2, 1], [0.1, 0.1, 0.1])
    with pytest.raises(ArgumentError, match="settled_ratio"):
        warmup_length(STEPS, [1.0] * 5, settled_ratio=1.0)
    with pytest.raises(ShapeError, match="at least 4"):
        smoothness_fit([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
    with pytest.raises(ArgumentError, match="optimal_loss"):
        smoothness_fit([1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0], optimal_loss=2.0)
    with pytest.raises(ArgumentError, match="finite"):
        smoothness_fit([1.0, 2.0, 3.0, np.nan], [1.0, 2.0, 3.0, 4.0])
    with pytest.raises(ArgumentError, match="gap"):
        smoothness_fit([2.0, 1.5, 1.0, 0.5], [5.0, 4.0, 3.0, 2.0]).relative_rate([-1.0])
