"""What must hold before a learning rate is recommended; thresholds are design choices unless a source says more."""

import numpy as np

from spectra.recommend.limit import measured_limit
from spectra.recommend.optimizer import OptimizerSpec
from spectra.recommend.recommendation import Check, Verdict
from spectra.recommend.run import RunMeasurements, Stage
from spectra.recommend.stability import stable_limit

__all__ = ["learning_rate_checks", "limit_checks", "loss_check", "note_checks", "relative_decrease"]

MIN_REAL_STEPS = 10
MAX_RELATIVE_RESIDUAL = 0.10
MAX_LIMIT_CHANGE = 4.0
MAX_STEP_TO_LIMIT = 4.0
MIN_LOSS_DECREASE = 0.02


def loss_check(loss: float) -> Check:
    """Return the check that a loss is finite."""
    return Check(
        claim="the loss is finite",
        observed=f"{loss:.4g}",
        required="a finite number",
        passed=bool(np.isfinite(loss)),
    )


def limit_checks(run: RunMeasurements, *, batch_size: int) -> tuple[Check, ...]:
    """Return the checks on the stable limit itself: finite loss, positive curvature, convergence, resolved noise."""
    stage = run.stages[-1]
    optimizer = run.optimizer
    checks = [loss_check(stage.loss)]
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
        deciding = measured_limit(
            stage,
            optimizer=optimizer or OptimizerSpec(kind="sgd"),
            batch_size=batch_size,
            num_samples=run.num_samples,
        ).direction
        checks += _curvature_checks(stage, lam, direction=deciding, adaptive=bool(optimizer and optimizer.is_adaptive))
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


def _curvature_checks(stage: Stage, lam: float, *, direction: int, adaptive: bool) -> list[Check]:
    upward = np.flatnonzero(stage.curvature > 0)
    worst = int(upward[np.argmax(stage.residual[upward] / stage.curvature[upward])])
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
    noise = stage.curvature_noise[direction]
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


def relative_decrease(before: float, after: float) -> float:
    """Return by which part of its modulus a loss has fallen; 0 where it was 0.

    Examples
    --------
    >>> relative_decrease(2.0, 1.5), relative_decrease(-1.0, -2.0)
    (0.25, 1.0)
    """
    return (before - after) / abs(before) if before else 0.0


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
        decrease = relative_decrease(run.stages[0].loss, stage.loss)
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
    checks += note_checks(run)
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


def note_checks(run: RunMeasurements) -> list[Check]:
    """Return a failed check for every remark of the measurement that the reader must see."""
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
