"""Schedules: constant norms give linear decay exactly; the refined one minimizes the bound it comes from."""

import numpy as np
import pytest

from spectra.errors import ArgumentError
from spectra.recommend import Verdict, linear_decay, refined_schedule, running_median


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("count", [50, 1001])
def test_constant_norms_give_exactly_linear_decay(optimizer, count):
    refined = refined_schedule(np.full(count, 0.1), optimizer=optimizer)
    np.testing.assert_array_equal(refined.multiplier, linear_decay(count))
    assert refined.kind == "refined"


def test_linear_decay_is_labeled_and_ends_at_zero():
    decay = linear_decay(11)
    assert decay.dims == ("step",)
    assert decay["step"].values.tolist() == list(range(1, 12))
    np.testing.assert_allclose(decay, (11 - np.arange(1, 12)) / 10)


@pytest.mark.parametrize(("optimizer", "power"), [("sgd", 2), ("adam", 1)])
def test_refinement_is_the_formula_summed_by_hand(optimizer, power):
    norms = np.random.default_rng(0).uniform(0.5, 2.0, 60)
    weights = norms ** -float(power)
    expected = np.array([weights[t] * weights[t + 1 :].sum() for t in range(60)])
    refined = refined_schedule(norms, optimizer=optimizer, smoothing=0.0)
    np.testing.assert_allclose(refined.multiplier, expected / expected.max(), rtol=1e-12)
    assert float(refined.multiplier.max()) == 1.0


def test_large_early_norms_make_a_warmup_and_late_ones_a_fast_end():
    time = np.linspace(0, 1, 500)
    multiplier = refined_schedule(1 + 5 * np.exp(-time / 0.05) + 3 * np.exp((time - 1) / 0.05)).multiplier.values
    assert multiplier[0] < 0.1
    assert 0.1 < multiplier.argmax() / 500 < 0.6
    assert multiplier[-50] < linear_decay(500).values[-50]


def test_median_removes_spikes_and_units_do_not_matter():
    norms = np.full(400, 1e-20)
    norms[5::37] *= 1e6
    np.testing.assert_allclose(refined_schedule(norms).multiplier, linear_decay(400))


def test_running_median_extends_by_value_left_and_reflection_right():
    values = np.array([5.0, 1.0, 2.0, 8.0, 3.0, 9.0, 4.0])
    padded = np.array([5.0, 5.0, *values, 4.0, 9.0])
    expected = [np.median(padded[i : i + 5]) for i in range(7)]
    np.testing.assert_array_equal(running_median(values, width=5), expected)
    np.testing.assert_array_equal(running_median(values, width=1), values)


@pytest.mark.parametrize(
    ("norms", "planned", "claim"),
    [
        (np.ones(80), 100, "complete"),
        (np.r_[np.ones(80), np.nan], None, "positive and finite"),
        (np.r_[np.ones(80), 0.0], None, "positive and finite"),
        (np.ones(20), None, "long enough"),
    ],
)
def test_bad_logs_fall_back_to_linear_decay(norms, planned, claim):
    schedule = refined_schedule(norms, num_planned_steps=planned)
    assert schedule.verdict is Verdict.WITHHELD
    assert schedule.kind == "linear"
    assert claim in schedule.reason
    np.testing.assert_array_equal(schedule.multiplier, linear_decay(len(norms)))


def test_good_log_is_tentative():
    assert refined_schedule(np.ones(100), num_planned_steps=100).verdict is Verdict.TENTATIVE


def test_bad_calls_are_refused():
    with pytest.raises(ArgumentError, match="at least 2 steps"):
        linear_decay(1)
    with pytest.raises(ArgumentError, match="one-dimensional"):
        refined_schedule(np.ones((4, 4)))
    with pytest.raises(ArgumentError, match="optimizer must be"):
        refined_schedule(np.ones(60), optimizer="lion")
    with pytest.raises(ArgumentError, match="smoothing"):
        refined_schedule(np.ones(60), smoothing=2.0)
    with pytest.raises(ArgumentError, match="num_planned_steps"):
        refined_schedule(np.ones(60), num_planned_steps=0)
    with pytest.raises(ArgumentError, match="width must be odd"):
        running_median(np.ones(10), width=4)
