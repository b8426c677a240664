"""The verdict on a predicted curve, from curves and losses that are made up."""

import numpy as np
import pytest
import xarray as xr

from probes.linearization_verdict import linearization_verdict

STEPS = np.array([0, 10, 20, 40])


def verdict(losses, *, predicted=(8.0, 4.0, 2.0, 1.0), free=(8.0, 2.0, 1.0, 0.5), tolerance=0.1, steps=STEPS):
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
    return linearization_verdict(curve, np.array(losses), tolerance=tolerance, num_samples=40, seed=0)


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


@pytest.mark.parametrize(("spread", "trusted"), [(0.55, 10), (0.65, 40)])
def test_two_standard_errors_are_granted(spread, trusted):
    """Mean 3.6 at step 20, prediction 2: off by 1.6 against 0.36 and twice the standard error, ``spread``."""
    found = verdict([[8.0, 4.0, 3.6 + spread, 1.0], [8.0, 4.0, 3.6 - spread, 1.0]])
    assert float(found.stderr[2]) == pytest.approx(spread)
    assert found.attrs["trusted_steps"] == trusted


def test_the_tolerance_is_relative_to_the_measured_loss():
    assert verdict([[8.0, 4.0, 2.0, 1.0 / 0.91]] * 2).attrs["is_trusted_throughout"] == 1
    assert verdict([[8.0, 4.0, 2.0, 1.0 / 0.89]] * 2).attrs["is_trusted_throughout"] == 0
    assert verdict([[8.0, 4.0, 2.0, 1.0 / 0.89]] * 2, tolerance=0.12).attrs["is_trusted_throughout"] == 1


def test_the_curve_without_noise_may_be_closer():
    found = verdict([[8.0, 2.1, 1.1, 0.5]] * 2, tolerance=10.0)
    assert found.attrs["closer"] == "noise_free_loss"
    assert "not the noise model" in found.attrs["reason"]


def test_curves_closer_than_the_scatter_are_not_told_apart():
    found = verdict([[8.0, 7.0, 3.0, 2.0], [8.0, 1.0, 1.0, 0.1]], free=(8.0, 3.9, 1.9, 0.9))
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
