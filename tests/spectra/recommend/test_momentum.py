"""Momentum: identities with the stable limit, and when the optimal heavy ball is advised and refused."""

from dataclasses import replace

import numpy as np
import pytest

from spectra.errors import ArgumentError
from spectra.recommend import (
    OptimizerSpec,
    Verdict,
    momentum_advice,
    momentum_gain,
    momentum_gain_curve,
    optimal_heavy_ball,
    read_run,
    saturation_batch_size,
    stable_limit,
)
from tests.spectra.recommend.fabricated import fabricated_run

BETAS = np.array([0.0, 0.5, 0.9, 0.99])


def test_curve_agrees_with_the_stable_limit():
    curve = momentum_gain_curve(BETAS, curvature=3.0, curvature_noise=40.0, batch_size=16, num_samples=1000)
    for beta in BETAS:
        spec = OptimizerSpec(kind="momentum", momentum=float(beta))
        at = curve.sel(momentum=beta)
        limit = stable_limit(3.0, 40.0, batch_size=16, num_samples=1000, optimizer=spec)
        np.testing.assert_allclose(at["max_stable_learning_rate"], limit, rtol=1e-12)
        np.testing.assert_allclose(at["saturation_batch_size"], saturation_batch_size(3.0, 40.0, optimizer=spec))


def test_gain_is_neutral_when_noise_limited_and_k_when_curvature_limited():
    np.testing.assert_allclose(momentum_gain(BETAS, 1e9), 1.0, rtol=1e-6)
    np.testing.assert_allclose(momentum_gain(BETAS, 0.0), (1 + BETAS) / (1 - BETAS))


def test_gain_at_the_saturation_batch_is_about_half_of_k():
    k = (1 + BETAS) / (1 - BETAS)
    np.testing.assert_allclose(momentum_gain(BETAS, 1 / k), (k + 1) / 2)


def converged(**changes):
    """Return a run at rest in a noise-free quadratic; ``changes`` spoil its last stage or its optimizer."""
    run = read_run(fabricated_run(optimizer="momentum", smallest=0.1, noise=1e-4))
    stages = [replace(stage, loss=1.0) for stage in run.stages]
    optimizer = changes.pop("optimizer", run.optimizer)
    stages[-1] = replace(stages[-1], **changes)
    return replace(run, stages=tuple(stages), optimizer=optimizer)


def test_converged_quadratic_gets_the_optimal_heavy_ball():
    advice = momentum_advice(converged())
    ball = optimal_heavy_ball(0.1, 4.0)
    assert advice.verdict is Verdict.TENTATIVE
    np.testing.assert_allclose(advice.value, ball.momentum)
    np.testing.assert_allclose(advice.evidence["optimal_learning_rate"], ball.learning_rate)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"loss": 0.9}, "converged"),
        ({"smallest_curvature": -0.1}, "curvature is positive"),
        ({"curvature": np.array([5.0, 3.5, 3.0])}, "curvature is constant"),
        ({"optimizer": OptimizerSpec(kind="adamw")}, "optimizer is SGD"),
    ],
)
def test_otherwise_the_momentum_in_use_is_kept(changes, word):
    advice = momentum_advice(converged(**changes))
    assert advice.value == 0.9
    assert "keep the momentum" in advice.reason
    assert word in advice.evidence["optimal_heavy_ball_refused"]


def test_noise_at_the_optimal_momentum_keeps_the_momentum_in_use():
    run = read_run(fabricated_run(optimizer="momentum", smallest=1e-5, noise=10.0))
    run = replace(run, stages=tuple(replace(stage, loss=1.0) for stage in run.stages))
    advice = momentum_advice(run)
    assert advice.value == 0.9
    assert "optimal momentum" in advice.evidence["optimal_heavy_ball_refused"]


def test_regimes_are_named():
    noisy = momentum_advice(read_run(fabricated_run(optimizer="momentum", noise=1e4)), batch_size=1)
    assert noisy.evidence["regime"] == "noise-limited"
    assert noisy.evidence["gain"] < 1.5
    assert "changes the stable limit by a factor" in noisy.reason
    quiet = momentum_advice(read_run(fabricated_run(optimizer="momentum", noise=1e-3)))
    assert quiet.evidence["regime"] == "curvature-limited"
    assert quiet.evidence["gain_low"] <= quiet.evidence["gain"] <= quiet.evidence["gain_high"]
    assert "raise it for a larger rate" in quiet.reason


@pytest.mark.parametrize("spoiled", [{"curvature": -4.0}, {"residual": 0.5}])
def test_unresolved_curvature_is_withheld(spoiled):
    advice = momentum_advice(read_run(fabricated_run(optimizer="momentum", **spoiled)))
    assert advice.verdict is Verdict.WITHHELD
    assert advice.value is None
    assert "largest curvature" in advice.reason


def test_bad_calls_are_refused():
    with pytest.raises(ArgumentError, match=r"\[0, 1\)"):
        momentum_gain(1.0, 0.0)
    with pytest.raises(ArgumentError, match="noise_ratio"):
        momentum_gain(0.5, -1.0)
    with pytest.raises(ArgumentError, match="curvature must be positive"):
        momentum_gain_curve([0.9], curvature=0.0, curvature_noise=1.0, batch_size=4)
    with pytest.raises(ArgumentError, match="at least one measured stage"):
        momentum_advice(replace(converged(), stages=()))
