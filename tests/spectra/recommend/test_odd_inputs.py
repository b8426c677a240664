"""Measurements that are odd but legal: signs, finite data, unresolved directions. No silent number comes of them."""

import math
from dataclasses import replace

import numpy as np
import pytest

from spectra.errors import ArgumentError
from spectra.recommend import OptimizerSpec, Verdict, advise, read_run
from spectra.recommend.batch_hessian import batch_curvature
from spectra.recommend.batch_size import critical_batch_size, noise_scale
from spectra.recommend.checks import limit_checks
from spectra.recommend.confirmation import Confirmation, confirmed_rate
from spectra.recommend.limit import measured_limit
from spectra.recommend.momentum import momentum_advice
from spectra.recommend.noise_scale import PairStatistic, gradient_statistics
from spectra.recommend.polyak import polyak_step
from spectra.recommend.self_consistent import Candidate, self_consistent_rate
from spectra.recommend.stability import stable_limit
from tests.spectra.recommend.fabricated import fabricated_run


def statistic(value: float, stderr: float) -> PairStatistic:
    """Return a statistic of 24 micro-batches with this standard error."""
    scatter = np.resize([1.0, -1.0], 24) * stderr / math.sqrt(23)
    return PairStatistic(value=value, leave_one_out=value + scatter, stderr=stderr)


@pytest.mark.parametrize("size", [4, 8])
def test_gradients_of_finite_data_are_estimated_without_bias(size):
    """Micro-batches without replacement from 48 samples: the mean over draws is ||G||^2 and G'HG of these samples."""
    rng = np.random.default_rng(size)
    samples = rng.standard_normal((48, 3)) + np.array([0.4, 0.0, 0.0])
    hessian = np.diag([3.0, 1.0, 0.5])
    mean = samples.mean(0)
    found = []
    for _ in range(1000):
        drawn = samples[rng.permutation(48)[: 6 * size]].reshape(6, size, 3).mean(1)
        statistics = gradient_statistics(drawn @ drawn.T, drawn @ hessian @ drawn.T, batch_size=size, num_samples=48)
        found.append([statistics.squared_gradient.value, statistics.gradient_curvature.value])
    error = 4 * np.std(found, axis=0) / math.sqrt(len(found)) + 1e-12
    exact = np.array([mean @ mean, mean @ hessian @ mean])
    assert np.all(np.abs(np.mean(found, axis=0) - exact) < error)
    # The test can tell: without the correction the estimates would be off by more than twice that.
    assert np.trace(np.cov(samples.T)) / 48 > 2 * error[0]


def test_a_double_that_loses_as_well_is_not_taken():
    tried = [
        Confirmation(learning_rate=rate, limit=2.0, midway_loss=1.004, loss=loss)
        for rate, loss in ((1.0, 1.004), (2.0, 1.005))
    ]
    assert confirmed_rate(tried, initial_loss=1.0, value=1.0) == 1.0


@pytest.mark.parametrize(("limit", "midway"), [(math.nan, 1.0), (1.0, math.nan), (0.0, 1.0)])
def test_a_confirmation_without_a_limit_or_a_midway_loss_does_not_hold(limit, midway):
    assert Confirmation(learning_rate=1.0, limit=limit, midway_loss=midway, loss=0.5).broken(2.0)


def test_a_candidate_with_a_limit_of_zero_is_inconsistent():
    assert Candidate(learning_rate=1.0, limit=0.0, loss=1.0).consistency == math.inf


def test_the_loss_of_an_inconsistent_candidate_is_no_gain():
    tried = [Candidate(learning_rate=0.5, limit=1.0, loss=2.1), Candidate(learning_rate=1.0, limit=0.5, loss=1.5)]
    assert self_consistent_rate(tried, initial_loss=2.0).value is None


def test_the_margin_is_for_the_next_larger_rate_only():
    tried = ((0.05, 3.0, 0.8), (0.1, 3.0, 0.6), (0.2, 3.0, 0.5), (0.4, 12.0, 0.7))
    held = ((0.05, 3.0, 0.6, 0.4), (0.1, 3.0, 0.5, 0.9), (0.2, 3.0, 0.5, float("nan")))
    found = advise(fabricated_run(optimizer="sgd", candidates=tried, confirmations=held)).learning_rate
    assert found.value == pytest.approx(0.05)
    assert found.evidence["peak_factor"] == 2.0


def test_the_best_candidate_has_to_be_resolved():
    tried = ((0.05, 3.0, 0.8), (0.1, 3.0, 0.6), (0.2, 3.0, 0.7), (0.4, 3.0, 0.9))
    held = ((0.1, 3.0, 0.6, 0.4),)
    good = advise(fabricated_run(optimizer="sgd", candidates=tried, confirmations=held))
    assert good.verdict is Verdict.SUPPORTED
    run = good.run
    best = next(c for c in run.candidates if c.learning_rate == 0.1)
    stage = replace(best.stage, residual=best.stage.curvature * 0.5)
    candidates = tuple(replace(c, stage=stage) if c is best else c for c in run.candidates)
    advice = advise(replace(run, candidates=candidates))
    assert advice.verdict is Verdict.TENTATIVE
    assert any("after steps at 0.1" in check.claim and not check.passed for check in advice.learning_rate.checks)


def test_the_direction_that_sets_the_limit_has_to_be_resolved():
    run = read_run(fabricated_run(optimizer="sgd"))
    stage = run.stages[-1]
    noise = (*stage.curvature_noise[:2], statistic(5000.0, 9000.0))
    run = replace(run, stages=(*run.stages[:-1], replace(stage, curvature_noise=noise)))
    failed = [check for check in limit_checks(run, batch_size=32) if not check.passed]
    assert [check.claim for check in failed] == ["the curvature noise is resolved"]
    assert failed[0].consequence is Verdict.WITHHELD


def test_a_direction_that_is_no_eigenvector_sets_no_limit():
    """Its curvature is next to nothing, so that its noise alone would allow hardly any rate."""
    stage = read_run(fabricated_run(optimizer="sgd")).stages[-1]
    setting = {"optimizer": OptimizerSpec(kind="sgd"), "batch_size": 32}
    known = measured_limit(stage, **setting)
    curvature, residual = stage.curvature.copy(), stage.residual.copy()
    curvature[2], residual[2] = 1e-3, 2e-3
    found = measured_limit(replace(stage, curvature=curvature, residual=residual), **setting)
    assert (found.value, found.low, found.high) == (known.value, known.low, known.high)
    residual[2] = 1e-4
    assert measured_limit(replace(stage, curvature=curvature, residual=residual), **setting).value < known.value / 5


def test_a_direction_that_curves_down_hides_no_other():
    run = read_run(fabricated_run(optimizer="sgd"))
    stage = replace(run.stages[-1], curvature=np.array([4.0, 3.5, -0.5]), residual=np.array([0.01, 3.4, 0.01]))
    run = replace(run, stages=(*run.stages[:-1], stage))
    check = next(c for c in limit_checks(run, batch_size=32) if c.claim.startswith("the other measured"))
    assert not check.passed
    assert "97" in check.observed


@pytest.mark.parametrize(("losses", "passed"), [((-1.0, -2.0), True), ((-1.0, -0.5), False)])
def test_losses_may_be_negative(losses, passed):
    tried = ((0.05, 3.0, losses[1]), (0.1, 3.0, losses[1] + 0.1), (0.2, 3.0, losses[1] + 0.2))
    run = read_run(fabricated_run(optimizer="sgd", candidates=tried))
    run = replace(run, stages=tuple(replace(stage, loss=losses[0]) for stage in run.stages))
    checks = {check.claim: check.passed for check in advise(run).learning_rate.checks}
    assert checks["a candidate rate stays within its own stable limit and lowers the loss"] is passed
    assert checks.get("the candidates' steps lowered the loss", False) is passed


def test_an_unresolved_numerator_is_no_noise_scale():
    run = read_run(fabricated_run(optimizer="sgd"))
    stage = run.stages[-1]
    gradient = replace(stage.gradient, gradient_curvature=statistic(36.0, 2.0), noise_curvature=statistic(0.01, 400.0))
    run = replace(run, stages=(*run.stages[:-1], replace(stage, gradient=gradient)))
    assert noise_scale(run, kind="curvature").verdict is Verdict.WITHHELD
    assert critical_batch_size(run).evidence["noise_scale_kind"] == "gradient_noise_scale"


@pytest.mark.parametrize(("kind", "noise"), [("nesterov", 1e-6), ("nesterov", 30.0), ("adamw", 3.0), ("momentum", 3.0)])
def test_the_gain_of_momentum_is_that_of_the_optimizer(kind, noise):
    run = read_run(fabricated_run(optimizer=kind, noise=noise))
    spec, stage = run.optimizer, run.stages[-1]
    limit = measured_limit(stage, optimizer=spec, batch_size=32, num_samples=run.num_samples)
    plain = replace(spec, momentum=0.0) if spec.is_adaptive else OptimizerSpec(kind="sgd")
    setting = {"batch_size": 32, "num_samples": run.num_samples}
    without = float(stable_limit(limit.curvature, limit.curvature_noise, optimizer=plain, **setting))
    effective = 1.0 if spec.is_adaptive else 1 / (1 - spec.beta)
    assert momentum_advice(run).evidence["gain"] == pytest.approx(limit.value * effective / without)


@pytest.mark.parametrize("optimizer", [OptimizerSpec(kind="nesterov"), OptimizerSpec(kind="momentum", dampening=0.9)])
def test_the_optimal_heavy_ball_is_for_the_plain_heavy_ball(optimizer):
    run = replace(
        read_run(fabricated_run(optimizer="momentum", smallest=0.1, noise=1e-6, steps=(0, 10, 20))), optimizer=optimizer
    )
    run = replace(run, stages=tuple(replace(stage, loss=1.0) for stage in run.stages))
    found = momentum_advice(run)
    assert found.value == optimizer.beta
    assert "the optimizer is SGD" in found.evidence["optimal_heavy_ball_refused"]


@pytest.mark.parametrize("smallest", [1e-33, 4 * (1 + 1e-12)])
def test_the_smallest_curvature_may_be_rounding_or_the_largest(smallest):
    assert advise(fabricated_run(optimizer="momentum", smallest=smallest, steps=(0, 10, 20))).momentum is not None


def test_a_state_without_directions_has_no_limit():
    stage = read_run(fabricated_run(optimizer="sgd")).stages[-1]
    empty = replace(stage, curvature=np.array([]), residual=np.array([]), curvature_noise=())
    assert math.isnan(measured_limit(empty, optimizer=OptimizerSpec(kind="sgd"), batch_size=8).value)


def test_what_is_not_finite_is_refused_or_stays_so():
    assert math.isnan(stable_limit(math.nan, 1.0, batch_size=8, optimizer=OptimizerSpec(kind="sgd")))
    with pytest.raises(ArgumentError, match="curvature must be finite"):
        batch_curvature(math.nan, 0.6, noise_fraction=1.0)
    for bound in (math.nan, -math.inf):
        with pytest.raises(ArgumentError, match="lower_bound must be finite"):
            polyak_step(1.0, 1.0, lower_bound=bound, max_step_size=1.0)


def test_a_rate_at_another_batch_size_follows_the_limit_of_the_rate_that_was_tried():
    """The page of the measured batch size and that of another one must not contradict each other."""
    tried, held = ((0.05, 3.0, 0.8), (0.1, 3.0, 0.6), (0.2, 3.0, 0.7), (0.4, 3.0, 0.9)), ((0.1, 3.0, 0.6, 0.4),)
    run = fabricated_run(optimizer="sgd", noise=200.0, candidates=tried, confirmations=held)
    here, there = advise(run), advise(run, batch_size=8)
    listed = {row.batch_size: row.learning_rate for row in here.curve}
    assert there.learning_rate.value == pytest.approx(listed[8])
    assert there.learning_rate.value < 0.5 * here.learning_rate.value
    assert there.verdict is Verdict.TENTATIVE
    assert any("batch size asked for" in check.claim for check in there.learning_rate.checks)
    back = {row.batch_size: row.learning_rate for row in there.curve}
    assert back[32] == pytest.approx(here.learning_rate.value)
