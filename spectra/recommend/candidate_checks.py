"""What must hold before a self-consistent learning rate is recommended; thresholds are design choices."""

from collections.abc import Sequence

import numpy as np

from spectra.recommend.checks import MIN_LOSS_DECREASE, loss_check, note_checks, relative_decrease
from spectra.recommend.confirmation import MAX_CONSISTENCY, Confirmation
from spectra.recommend.limit import measured_limit
from spectra.recommend.optimizer import OptimizerSpec
from spectra.recommend.recommendation import Check, Verdict
from spectra.recommend.run import RunMeasurements, Stage
from spectra.recommend.self_consistent import Candidate, ConsistencyRule, SelfConsistentRate

__all__ = ["candidate_checks"]

MAX_RULE_RATIO = 32.0
#: A loss that fell by less has not moved.
NO_DECREASE = 1e-3
#: Of the direction that sets the limit: the error of a Ritz value is of the square of its residual.
MAX_CANDIDATE_RESIDUAL = 0.25


def candidate_checks(
    run: RunMeasurements,
    candidates: Sequence[Candidate],
    found: SelfConsistentRate,
    confirmations: Sequence[Confirmation],
    *,
    rule: ConsistencyRule,
    one_probe: float,
) -> tuple[Check, ...]:
    """Return the checks on a self-consistent rate: its bracket, the measurements that decide it, the other rule."""
    checks = [
        loss_check(run.stages[0].loss),
        Check(
            claim="the measurement is complete",
            observed=f"{len(run.stages)} of {run.num_planned_stages} stages, {len(candidates)} candidate rates",
            required="all stages, and all candidates until one is past the mark",
            passed=run.is_complete,
        ),
        Check(
            claim="a candidate rate stays within its own stable limit and lowers the loss",
            observed=", ".join(f"{c.learning_rate:.3g}: {c.consistency:.2g}" for c in candidates[:3])
            or "no candidates",
            required=f"rate / limit at most {rule.threshold:g}, loss below the initial one",
            passed=found.value is not None,
        ),
        Check(
            claim="the search went past the mark",
            observed=f"limited by {found.limited_by}"
            + (f" at learning rate {found.high:.3g}" if found.high is not None else ""),
            required="a larger candidate that exceeds its limit, diverges or gains less",
            passed=found.limited_by != "nothing",
            consequence=Verdict.TENTATIVE,
        ),
    ]
    inside = [c for c in candidates if found.high is None or c.learning_rate < found.high * (1 - 1e-9)]
    best = min(inside, key=lambda candidate: candidate.loss).learning_rate if inside else None
    deciding = {found.low, best, found.high} if found.value is not None else {found.high}
    checks += [
        _resolved_check(run, measured.learning_rate, measured.stage)
        for measured in run.candidates
        if measured.learning_rate in deciding and measured.stage is not None
    ]
    stages = [c.stage for c in run.candidates if c.learning_rate in deciding and c.stage is not None]
    if stages:
        top = [float(np.max(stage.curvature, initial=-np.inf)) for stage in stages]
        checks.append(
            Check(
                claim="the loss curves upwards where the deciding rates lead",
                observed="largest curvature " + ", ".join(f"{value:.3g}" for value in top),
                required="> 0 after one of them: a saddle, a plateau or a loss without a minimum has no stable limit",
                passed=max(top) > 0,
            )
        )
    if found.value is not None:
        checks.append(_confirmation_check(confirmations, run.stages[0].loss, value=found.value))
    within = [c.loss for c in inside if found.value is not None]
    if within and run.stages[0].loss:
        decrease = relative_decrease(run.stages[0].loss, min(within))
        checks.append(
            Check(
                claim="the candidates' steps lowered the loss",
                observed=f"by {decrease:.1%} at best",
                required=f"at least {MIN_LOSS_DECREASE:.0%}",
                passed=decrease >= MIN_LOSS_DECREASE,
                consequence=Verdict.TENTATIVE if decrease >= NO_DECREASE else Verdict.WITHHELD,
                source="rates from near initialization ignore the sharpening that follows",
            )
        )
    if found.value is not None and np.isfinite(one_probe) and one_probe > 0:
        ratio = found.value / one_probe
        checks.append(
            Check(
                claim="the one-probe rule agrees",
                observed=f"it gives {one_probe:.3g}, this one {ratio:.2g} times that",
                required=f"within {MAX_RULE_RATIO:g}x either way",
                passed=1 / MAX_RULE_RATIO <= ratio <= MAX_RULE_RATIO,
                consequence=Verdict.TENTATIVE,
            )
        )
    return tuple(checks + note_checks(run))


def _resolved_check(run: RunMeasurements, rate: float, stage: Stage) -> Check:
    """Return the check on the direction that sets the limit after steps at a rate."""
    limit = measured_limit(
        stage,
        optimizer=run.optimizer or OptimizerSpec(kind="sgd"),
        batch_size=run.batch_size,
        num_samples=run.num_samples,
    )
    relative, noise = 0.0, 0.0
    if limit.curvature > 0:
        relative = float(stage.residual[limit.direction] / limit.curvature)
        noise = stage.curvature_noise[limit.direction].relative_error
    return Check(
        claim=f"curvature and its noise are resolved after steps at {rate:.3g}",
        observed=f"residual {relative:.1%} of the curvature, relative error of the noise {noise:.0%}"
        if limit.curvature > 0
        else "no direction curves upwards",
        required=f"at most {MAX_CANDIDATE_RESIDUAL:.0%} and 100%",
        passed=relative <= MAX_CANDIDATE_RESIDUAL and noise <= 1.0,
        consequence=Verdict.TENTATIVE,
        source="Lanczos residual; jackknife over micro-batches",
    )


def _confirmation_check(confirmations: Sequence[Confirmation], initial_loss: float, *, value: float) -> Check:
    """Return the check that the rate found holds when followed on; a lower one that does leaves it TENTATIVE."""
    seen = "; ".join(
        f"{c.learning_rate:.3g}: loss {c.midway_loss:.3g} to {c.loss:.3g}, rate / limit {c.consistency:.2g}"
        for c in confirmations
    )
    held = [c.learning_rate for c in confirmations if not c.broken(initial_loss)]
    return Check(
        claim="the rate holds for at least twice the steps",
        observed=seen or "not followed",
        required=f"the loss does not rise, rate / limit at most {MAX_CONSISTENCY:g}; else it is halved until it holds",
        passed=any(rate >= value * (1 - 1e-9) for rate in held),
        consequence=Verdict.TENTATIVE if held or not confirmations else Verdict.WITHHELD,
        source="scripts/validate_recommendations.py, tuning tasks",
    )
