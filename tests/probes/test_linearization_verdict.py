"""The verdict on a predicted curve, from curves and losses that are made up."""

import numpy as np
import pytest
import xarray as xr
from scipy.integrate import quad
from scipy.optimize import brentq

from probes.linearization_verdict import linearization_verdict

STEPS = np.array([0, 10, 20, 40])


def verdict(
    losses, *, predicted=(8.0, 4.0, 2.0, 1.0), free=(8.0, 2.0, 1.0, 0.5), tolerance=0.1, steps=STEPS, eps=1e-12
):
    curve = xr.Dataset(
        {"loss": ("step", np.array(predicted)), "noise_free_loss": ("step", np.array(free))},
        coords={"step": steps, "epoch": ("step", steps / 10), "learning_rate": 0.1, "batch_size": 4},
        attrs={
            "closure": "limit",
            "momentum": 0.0,
            "nesterov": False,
            "problem": "made up",
            "critical_learning_rate": 1.0,
        },
    )
    return linearization_verdict(
        curve, np.array(losses), tolerance=tolerance, start=8.0, eps=eps, num_samples=40, seed=0
    )


def scattered(mean, stderr, *, runs):
    """Return losses of runs with this mean and standard error, half of them above and half of them below."""
    half = np.tile([1.0, -1.0], runs // 2)[:, None]
    return np.array(mean) + half * np.array(stderr) * (runs - 1) ** 0.5


def test_agreement_throughout():
    found = verdict([[8.0, 4.0, 2.0, 1.0]] * 2)
    assert (found.attrs["trusted_steps"], found.attrs["trusted_epochs"]) == (40, 4.0)
    assert found.attrs["is_trusted_throughout"] == 1
    assert found.attrs["closer"] == "predicted_loss"
    assert found.noise_free_deviation.values.tolist() == [0.0, -0.5, -0.5, -0.5]


def test_the_last_step_before_the_first_failure():
    found = verdict([[8.0, 4.0, 4.0, 1.0]] * 2)
    assert (found.attrs["trusted_steps"], found.attrs["trusted_epochs"]) == (10, 1.0)
    assert found.attrs["is_trusted_throughout"] == 0
    assert found.deviation.values.tolist() == [0.0, 0.0, -0.5, 0.0]
    assert "up to step 10 (epoch 1) and is off by more at step 20" in found.attrs["reason"]


@pytest.mark.parametrize(("runs", "quantile"), [(4, 3.182446), (8, 2.364624)])
def test_agreement_counts_where_the_interval_of_95_percent_is_narrow(runs, quantile):
    """At step 20 a mean of 2 and the tolerance 0.2: half the interval, by tables of Student's t, may be 0.4."""
    for factor, ended in ((0.99, "throughout"), (1.01, "unresolved")):
        found = verdict(scattered([8, 4, 2, 1], [0, 0, factor * 0.4 / quantile, 0], runs=runs))
        assert float(found.stderr[2]) == pytest.approx(factor * 0.4 / quantile)
        assert found.attrs["ended"] == ended
        assert found.attrs["trusted_steps"] == (40 if ended == "throughout" else 10)
        assert found.attrs["off_step"] == -1
    assert "from step 20 on the runs scatter too much to tell" in found.attrs["reason"]


@pytest.mark.parametrize("runs", [4, 8])
def test_off_is_beyond_the_tolerance_and_the_scatter_at_any_of_the_records(runs):
    """Beyond the quantile of Student's t, found by integrating its density, lie 0.05/8 of 4 records."""
    freedom = runs - 1

    def beyond(t):
        return quad(lambda x: (1 + x * x / freedom) ** (-(freedom + 1) / 2), t, np.inf)[0]

    quantile = brentq(lambda t: beyond(t) - 0.05 / 8 * 2 * beyond(0.0), 1.0, 20.0)
    for factor, ended in ((0.99, "off"), (1.01, "unresolved")):
        found = verdict(scattered([8, 4, 3, 1], [0, 0, factor * 0.7 / quantile, 0], runs=runs))
        assert found.attrs["ended"] == ended
        assert found.attrs["off_step"] == (20 if ended == "off" else -1)


def test_runs_that_diverge_are_off_however_much_they_scatter():
    """Standardized digits: measured 3050 +- 3100, predicted 0.038, which two standard errors would have swallowed."""
    predicted = (8.0, 4.0, 2.0, 0.038)
    found = verdict(scattered([8, 4, 2, 3050], [0, 0, 0, 3100], runs=8), predicted=predicted)
    assert (found.attrs["ended"], found.attrs["off_step"], found.attrs["trusted_steps"]) == ("off", 40, 20)
    # The median run alone says so too, where the mean of others is below the start.
    losses = [[8, 4, 2, 9.0]] * 5 + [[8, 4, 2, 0.1]] * 3
    assert verdict(losses, predicted=predicted).attrs["ended"] == "off"
    assert verdict(losses, predicted=(8.0, 4.0, 2.0, 8.0)).attrs["ended"] == "unresolved"


def test_exact_predictions_are_rarely_off():
    """4 runs at 20 independent records: at most 5 % of right predictions are off; of 2 standard errors, 95 %."""
    random, off = np.random.default_rng(0), 0
    steps = np.arange(20)
    for _ in range(400):
        losses = 1 + 0.5 * random.standard_normal((4, 20))
        curve = (1.0,) * 20
        off += verdict(losses, predicted=curve, free=curve, steps=steps, tolerance=1e-9).attrs["ended"] == "off"
    # 20 expected at most; three standard errors of the count more
    assert off <= 20 + 3 * 19**0.5
    assert off > 0


def test_rounding_of_the_dtype_is_no_deviation():
    """64 eps of the loss at the start: in float32 6e-5 of 8."""
    losses, predicted = [[8.0, 4.0, 2.0, 3e-5]] * 2, (8.0, 4.0, 2.0, 1e-9)
    assert verdict(losses, predicted=predicted, eps=2.0**-23).attrs["ended"] == "throughout"
    assert verdict(losses, predicted=predicted, eps=2.0**-52).attrs["ended"] == "off"


def test_unresolved_first_and_off_later():
    found = verdict(scattered([8, 4, 3, 9], [0, 1, 0.1, 0], runs=8))
    assert (found.attrs["trusted_steps"], found.attrs["off_step"], found.attrs["ended"]) == (0, 20, "off")
    assert "from step 10 on the runs scatter too much to tell, and at step 20 it is off" in found.attrs["reason"]


def test_curves_that_are_the_same_are_said_to_be():
    curve = (8.0, 4.0, 2.0, 1.0)
    found = verdict([[8.0, 4.0, 2.0, 1.0]] * 2, free=curve)
    assert found.attrs["closer"] == "same"
    assert "say nothing about the noise model" in found.attrs["reason"]


def test_two_trusted_records_do_not_tell_which_curve_is_closer():
    assert verdict([[8.0, 4.0, 2.0, 1.0]] * 2).attrs["closer"] == "predicted_loss"
    assert verdict([[8.0, 4.0, 2.0, 3.0]] * 2).attrs["closer"] == "undecided"


def test_one_step_reads_as_one():
    found = verdict([[8.0, 4.0]] * 2, predicted=(8.0, 4.0), free=(8.0, 2.0), steps=np.array([0, 1]))
    assert "for the one step" in found.attrs["reason"]


def test_the_tolerance_is_relative_to_the_measured_loss():
    assert verdict([[8.0, 4.0, 2.0, 1.0 / 0.91]] * 2).attrs["is_trusted_throughout"] == 1
    assert verdict([[8.0, 4.0, 2.0, 1.0 / 0.89]] * 2).attrs["is_trusted_throughout"] == 0
    assert verdict([[8.0, 4.0, 2.0, 1.0 / 0.89]] * 2, tolerance=0.12).attrs["is_trusted_throughout"] == 1


def test_the_curve_without_noise_may_be_closer():
    found = verdict([[8.0, 2.1, 1.1, 0.5]] * 2, tolerance=10.0)
    assert found.attrs["closer"] == "noise_free_loss"
    assert "not the noise model" in found.attrs["reason"]


def test_curves_closer_than_the_scatter_are_not_told_apart():
    found = verdict(scattered([8, 4, 2, 1], [0, 0.1, 0.05, 0.05], runs=8), free=(8.0, 3.9, 1.9, 0.9))
    assert found.attrs["closer"] == "undecided"
    assert "say nothing about the noise model" in found.attrs["reason"]


def test_divergence():
    found = verdict([[8.0, 4.0, 2.0, np.inf], [8.0, 4.0, 2.0, 1.0]])
    assert found.attrs["trusted_steps"] == 20
    assert (float(found.loss[3]), float(found.deviation[3])) == (np.inf, -1.0)
    both = verdict([[8.0, 4.0, 2.0, np.inf]] * 2, predicted=(8.0, 4.0, 2.0, np.inf))
    assert both.attrs["trusted_steps"] == 40
    assert float(both.deviation[3]) == 0.0
    alone = verdict([[8.0, 4.0, 2.0, 1.0]] * 2, predicted=(8.0, 4.0, 2.0, np.inf))
    assert alone.attrs["trusted_steps"] == 20
    assert float(alone.deviation[3]) == np.inf


def test_nothing_recorded_before_the_failure():
    found = verdict([[3.0]] * 2, predicted=(1.0,), free=(0.5,), steps=np.array([40]))
    assert (found.attrs["trusted_steps"], found.attrs["trusted_epochs"]) == (0, 0.0)
    assert "at the first recorded step, 40" in found.attrs["reason"]


def test_negative_predictions_of_cross_entropy():
    """The quadratic model of cross-entropy may fall below zero, which the measured loss never does."""
    found = verdict([[8.0, 4.0, 2.0, 1.0]] * 2, predicted=(8.0, 4.0, 2.0, -1.0))
    assert found.attrs["trusted_steps"] == 20
    assert float(found.deviation[3]) == -2.0
