"""What must hold before a learning rate is recommended; thresholds are design choices unless a source says more."""

from collections.abc import Sequence

import numpy as np

from spectra.recommend.confirmation import MAX_CONSISTENCY, Confirmation
from spectra.recommend.optimizer import OptimizerSpec
from spectra.recommend.recommendation import Check, Verdict
from spectra.recommend.run import RunMeasurements, Stage
from spectra.recommend.self_consistent import Candidate, ConsistencyRule, SelfConsistentRate
from spectra.recommend.stability import stable_limit

__all__ = ["candidate_checks", "learning_rate_checks", "limit_checks"]

MIN_REAL_STEPS = 10
MAX_RELATIVE_RESIDUAL = 0.10
MAX_LIMIT_CHANGE = 4.0
MAX_STEP_TO_LIMIT = 4.0
MIN_LOSS_DECREASE = 0.02
MAX_RULE_RATIO = 32.0


def limit_checks(run: RunMeasurements, *, batch_size: int) -> tuple[Check, ...]:
    """Return the checks on the stable limit itself: finite loss, positive curvature, convergence, resolved noise."""
    stage = run.stages[-1]
    optimizer = run.optimizer
    checks = [
        Check(
            claim="the loss is finite",
            observed=f"{stage.loss:.4g}",
            required="a finite number",
            passed=bool(np.isfinite(stage.loss)),
        )
    ]
    lam = float(stage.curvature[0]) if len(stage.curvature) else float("nan")
    checks.append(
        Check(
            claim="the largest curvature is positive",
            observed=f"{lam:.4g}",
            required="> 0",
            passed=lam > 0,
        )
    )
    if lam > 0:
        checks += _curvature_checks(stage, lam, adaptive=bool(optimizer and optimizer.is_adaptive))
    if optimizer is not None and optimizer.is_adaptive and batch_size != run.batch_size:
        checks.append(
            Check(
                claim="the preconditioner was measured at the batch size asked for",
                observed=f"batch size {run.batch_size}",
                required=f"batch size {batch_size} (Adam's second moments depend on it: measure again)",
                passed=False,
            )
        )
    checks.append(
        Check(
            claim="the measurement is complete",
            observed=f"{len(run.stages)} of {run.num_planned_stages} stages",
            required="all stages",
            passed=run.is_complete,
        )
    )
    return tuple(checks)


def _curvature_checks(stage: Stage, lam: float, *, adaptive: bool) -> list[Check]:
    worst = int(np.argmax(stage.residual / np.maximum(stage.curvature, np.finfo(float).tiny)))
    relative = float(stage.residual[0]) / lam
    checks = [
        Check(
            claim="the top Ritz pair has converged",
            observed=f"residual {relative:.2%} of the curvature",
            required=f"at most {MAX_RELATIVE_RESIDUAL:.0%}",
            passed=relative <= MAX_RELATIVE_RESIDUAL,
        )
    ]
    if len(stage.curvature) > 1 and worst:
        other = float(stage.residual[worst] / stage.curvature[worst])
        checks.append(
            Check(
                claim="the other measured directions have converged",
                observed=f"worst residual {other:.2%} of its curvature",
                required=f"at most {MAX_RELATIVE_RESIDUAL:.0%}",
                passed=other <= MAX_RELATIVE_RESIDUAL,
                consequence=Verdict.TENTATIVE,
            )
        )
    noise = stage.curvature_noise[0]
    for limit, consequence in ((1.0, Verdict.WITHHELD), (0.5, Verdict.TENTATIVE)):
        passed = noise.relative_error <= limit
        if not passed or limit == 0.5:
            checks.append(
                Check(
                    claim="the curvature noise is resolved",
                    observed=f"relative error {noise.relative_error:.0%}",
                    required=f"at most {limit:.0%}",
                    passed=passed,
                    consequence=consequence,
                    source="jackknife over micro-batches",
                )
            )
            break
    if not adaptive:
        checks.append(
            Check(
                claim="positive curvature dominates negative curvature",
                observed=f"smallest {stage.smallest_curvature:.4g}, largest {lam:.4g}",
                required="abs(smallest) < largest",
                passed=abs(min(stage.smallest_curvature, 0.0)) < lam,
                consequence=Verdict.TENTATIVE,
            )
        )
    return checks


def learning_rate_checks(
    run: RunMeasurements, *, batch_size: int, directional_step: float | None, plain_limit: float
) -> tuple[Check, ...]:
    """Return the checks on the recommended rate: those on the limit, and on the way the state was reached."""
    stage = run.stages[-1]
    checks = list(limit_checks(run, batch_size=batch_size))
    if run.optimizer is None:
        checks.append(
            Check(
                claim="an optimizer was named",
                observed="a spectrum without training steps",
                required="`spectra recommend TASK --optimizer NAME`",
                passed=False,
            )
        )
    checks.append(
        Check(
            claim="measured after real steps or on a trained model",
            observed="a trained model" if run.is_trained else f"{stage.step} real steps",
            required=f"at least {MIN_REAL_STEPS} real steps of the optimizer, or a trained model",
            passed=run.is_trained or stage.step >= MIN_REAL_STEPS,
            source="curvature rules at initialization were 3 to 26 times too large",
        )
    )
    if len(run.stages) > 1 and not run.is_trained:
        checks.append(_settled_check(run, batch_size=batch_size))
        decrease = 1 - stage.loss / run.stages[0].loss if run.stages[0].loss else 0.0
        checks.append(
            Check(
                claim="the real steps left the initial state",
                observed=f"the loss fell by {decrease:.1%}",
                required=f"at least {MIN_LOSS_DECREASE:.0%}",
                passed=decrease >= MIN_LOSS_DECREASE,
                consequence=Verdict.TENTATIVE,
                source="rates from near initialization ignore the sharpening that follows",
            )
        )
    if not (run.optimizer and run.optimizer.is_adaptive):
        checks += _step_checks(stage, directional_step, plain_limit)
    checks += _note_checks(run)
    return tuple(checks)


def _settled_check(run: RunMeasurements, *, batch_size: int) -> Check:
    values = []
    for stage in run.stages[-2:]:
        noise = np.array([max(statistic.value, 0.0) for statistic in stage.curvature_noise])
        limits = stable_limit(
            stage.curvature,
            noise,
            batch_size=batch_size,
            optimizer=run.optimizer or OptimizerSpec(kind="sgd"),
            num_samples=run.num_samples,
        )
        values.append(float(np.min(limits, initial=np.inf)))
    change = max(values) / min(values) if min(values) > 0 and np.all(np.isfinite(values)) else float("inf")
    return Check(
        claim="the stable limit has settled",
        observed=f"changed {change:.2g}x between the last two stages ({values[0]:.3g} to {values[1]:.3g})",
        required=f"at most {MAX_LIMIT_CHANGE:g}x",
        passed=change <= MAX_LIMIT_CHANGE,
        consequence=Verdict.TENTATIVE,
    )


def _step_checks(stage: Stage, step: float | None, plain_limit: float) -> list[Check]:
    gradient = stage.gradient
    parts = {} if gradient is None else {"G'HG": gradient.gradient_curvature, "||G||^2": gradient.squared_gradient}
    checks = [
        Check(
            claim="the directional step is defined: curvature along the gradient is positive and resolved",
            observed=", ".join(f"{name} {part.value:.3g} +- {part.stderr:.2g}" for name, part in parts.items()),
            required="both above two standard errors",
            passed=step is not None,
            consequence=Verdict.TENTATIVE,
        )
    ]
    if step is not None and np.isfinite(plain_limit) and plain_limit > 0:
        ratio = step / plain_limit
        checks.append(
            Check(
                claim="the directional step and the stable limit agree",
                observed=f"directional step / limit of plain SGD = {ratio:.2g}",
                required=f"within {MAX_STEP_TO_LIMIT:g}x either way",
                passed=1 / MAX_STEP_TO_LIMIT <= ratio <= MAX_STEP_TO_LIMIT,
                consequence=Verdict.TENTATIVE,
            )
        )
    return checks


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
        Check(
            claim="the loss is finite",
            observed=f"{run.stages[0].loss:.4g}",
            required="a finite number",
            passed=bool(np.isfinite(run.stages[0].loss)),
        ),
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
    deciding = [c for c in run.candidates if c.learning_rate in (found.low, found.high) and c.stage is not None]
    for measured in deciding:
        stage = measured.stage
        assert stage is not None
        if len(stage.curvature) and stage.curvature[0] > 0:
            relative = float(stage.residual[0] / stage.curvature[0])
            noise = stage.curvature_noise[0].relative_error
            checks.append(
                Check(
                    claim=f"curvature and its noise are resolved after steps at {measured.learning_rate:.3g}",
                    observed=f"residual {relative:.1%} of the curvature, relative error of the noise {noise:.0%}",
                    required=f"at most {MAX_RELATIVE_RESIDUAL:.0%} and 100%",
                    passed=relative <= MAX_RELATIVE_RESIDUAL and noise <= 1.0,
                    consequence=Verdict.TENTATIVE,
                    source="Lanczos residual; jackknife over micro-batches",
                )
            )
    if found.value is not None:
        checks.append(_confirmation_check(confirmations, run.stages[0].loss))
    within = [c.loss for c in candidates if found.value is not None and c.learning_rate <= found.value * 1.001]
    if within and run.stages[0].loss:
        decrease = 1 - min(within) / run.stages[0].loss
        checks.append(
            Check(
                claim="the candidates' steps lowered the loss",
                observed=f"by {decrease:.1%} at best",
                required=f"at least {MIN_LOSS_DECREASE:.0%}",
                passed=decrease >= MIN_LOSS_DECREASE,
                consequence=Verdict.TENTATIVE,
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
    return tuple(checks + _note_checks(run))


def _confirmation_check(confirmations: Sequence[Confirmation], initial_loss: float) -> Check:
    """Return the check that the rate found holds for twice the steps; a lower one that does leaves it TENTATIVE."""
    seen = "; ".join(
        f"{c.learning_rate:.3g}: loss {c.midway_loss:.3g} to {c.loss:.3g}, rate / limit {c.consistency:.2g}"
        for c in confirmations
    )
    held = [not confirmation.broken(initial_loss) for confirmation in confirmations]
    return Check(
        claim="the rate holds for twice the steps",
        observed=seen or "not followed",
        required=f"the loss does not rise, rate / limit at most {MAX_CONSISTENCY:g}; else it is halved until it holds",
        passed=bool(held) and held[0],
        consequence=Verdict.TENTATIVE if not held or any(held) else Verdict.WITHHELD,
        source="scripts/validate_recommendations.py, tuning tasks",
    )


def _note_checks(run: RunMeasurements) -> list[Check]:
    return [
        Check(
            claim="the measured state is the state that trains",
            observed=note,
            required="nothing to remark",
            passed=False,
            consequence=Verdict.TENTATIVE,
        )
        for note in run.notes
    ]
