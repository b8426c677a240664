r"""Learning-rate rules: the largest stable rate at a batch size, and the rate to train with.

The limit is the smallest :func:`spectra.recommend.stable_limit` over the measured top directions. It is a *limit* of
the linearized iteration, not the best rate. Two rules give the rate to train with: the self-consistent one
(:mod:`spectra.recommend.self_consistent`), which is the answer where candidate rates were tried, and the one-probe
rule (:mod:`spectra.recommend.one_probe`), which is then shown beside it and otherwise takes its place.
Linear decay to zero allows a higher peak. ``docs/validation.md`` shows how both fare on real tasks, with the command
that measures it.
"""

from dataclasses import replace

import numpy as np

from spectra.errors import ArgumentError
from spectra.recommend.candidate_checks import candidate_checks
from spectra.recommend.checks import learning_rate_checks, limit_checks
from spectra.recommend.confirmation import Confirmation, confirmations_of, confirmed_rate
from spectra.recommend.deciding_state import deciding_state
from spectra.recommend.limit import measured_limit
from spectra.recommend.one_probe import OneProbe, one_probe_rate
from spectra.recommend.optimizer import OptimizerSpec
from spectra.recommend.recommendation import Check, Recommendation, Verdict, verdict_of
from spectra.recommend.run import RunMeasurements
from spectra.recommend.self_consistent import candidates_of, consistency_rule, self_consistent_rate
from spectra.recommend.stability import stable_limit

__all__ = ["learning_rate", "linear_decay_factor", "max_stable_learning_rate"]

_LIMITED = {
    "stability": "a larger one exceeds its own limit",
    "divergence": "a larger one diverges",
    "loss": "larger ones lower the loss less",
    "nothing": "no larger one was tried",
}


def linear_decay_factor(optimizer: OptimizerSpec | None, *, limited_by: str = "") -> float:
    """Return the peak rate under linear decay to zero over the constant rate: 2 for plain SGD, 1.5 with momentum.

    1 where the next larger rate that was tried diverged (``limited_by="divergence"``): there is no room above.

    Chosen on the tuning half of the tasks of docs/validation.md: there the regret of plain SGD was lowest at 2, and
    with momentum the worst regret rose from 0.05 at 1.5 to 0.35 at 2.
    """
    if limited_by == "divergence":
        return 1.0
    return 1.5 if optimizer is not None and optimizer.beta else 2.0


def _spread(optimizer: OptimizerSpec) -> tuple[float, float]:
    """Return factors on the rate between which the best one lay in about four of five validation cells.

    Tenth and ninetieth percentile of best over self-consistent rate in 96 cells of each optimizer, both halves and both
    schedules (docs/validation.md): 0.63 to 3.5 for SGD, 0.53 to 3.9 for heavy balls, 0.65 to 2.7 for AdamW.
    """
    if optimizer.is_adaptive:
        return 0.65, 2.8
    return (0.5, 4.0) if optimizer.beta else (0.6, 3.6)


def max_stable_learning_rate(
    run: RunMeasurements, *, batch_size: int | None = None, level: float = 0.95
) -> Recommendation:
    """Return the mean-square-stable learning-rate limit at the last measured stage.

    Parameters
    ----------
    run : RunMeasurements
        A run with at least one stage and an optimizer.
    batch_size : int, optional
        Another batch size than that of the run. For Adam and AdamW the preconditioner depends on the batch size, so
        that the value is then withheld.
    level : float
        Level of the noise interval.

    Returns
    -------
    Recommendation
        ``quantity="max_stable_learning_rate"``; the evidence names curvature, noise, regime and ``b*``.
    """
    optimizer, batch = _setting(run, batch_size)
    stage = run.stages[-1]
    limit = measured_limit(stage, optimizer=optimizer, batch_size=batch, num_samples=run.num_samples, level=level)
    checks = limit_checks(run, batch_size=batch)
    verdict, reason = verdict_of(checks, reason=f"{limit.regime}; valid for the linearized iteration at this state")
    finite = np.isfinite(limit.value)
    return Recommendation(
        quantity="max_stable_learning_rate",
        value=limit.value if finite else None,
        low=limit.low if finite else None,
        high=limit.high if finite else None,
        interval=f"{level:.0%} of the curvature noise, Ritz residual and spread over start vectors",
        verdict=verdict if finite else Verdict.WITHHELD,
        reason=reason,
        checks=checks,
        evidence={
            "curvature": limit.curvature,
            "curvature_residual": float(stage.residual[limit.direction]),
            "curvature_noise": limit.curvature_noise,
            "curvature_noise_stderr": stage.curvature_noise[limit.direction].stderr,
            "direction": float(limit.direction + 1),
            "noise_share": limit.noise_share,
            "regime": limit.regime,
            "saturation_batch_size": limit.saturation,
            "deterministic_limit": float(stable_limit(limit.curvature, 0.0, batch_size=batch, optimizer=optimizer)),
        },
    )


def learning_rate(run: RunMeasurements, *, batch_size: int | None = None, schedule: str = "constant") -> Recommendation:
    """Return the learning rate to train with.

    Parameters
    ----------
    run : RunMeasurements
        A run with at least one stage and an optimizer.
    batch_size : int, optional
        Another batch size than that of the run: the rate is extrapolated by the stable limit, and TENTATIVE. With a
        preconditioner, which depends on the batch size, it is withheld.
    schedule : {"constant", "linear"}
        ``"linear"`` is linear decay to zero; the value is then the peak rate.

    Returns
    -------
    Recommendation
        ``quantity="learning_rate"``; the evidence holds the value of each rule.
    """
    if schedule not in ("constant", "linear"):
        raise ArgumentError(f"schedule must be 'constant' or 'linear'; got {schedule!r}")
    optimizer, batch = _setting(run, batch_size)
    if run.candidates and (batch == run.batch_size or not optimizer.is_adaptive):
        probe = one_probe_rate(run, optimizer=optimizer, batch_size=run.batch_size)
        found = _self_consistent(run, optimizer, probe, schedule=schedule)
        return found if batch == run.batch_size else _extrapolated(found, run, batch)
    probe = one_probe_rate(run, optimizer=optimizer, batch_size=batch)
    plain = measured_limit(
        run.stages[-1], optimizer=OptimizerSpec(kind="sgd"), batch_size=batch, num_samples=run.num_samples
    )
    checks = learning_rate_checks(
        run, batch_size=batch, directional_step=probe.directional_step, plain_limit=plain.value
    )
    at_best = Verdict.TENTATIVE if optimizer.beta and not optimizer.is_adaptive else Verdict.SUPPORTED
    reason = "every check passed"
    if at_best is Verdict.TENTATIVE:
        reason = (
            "without candidate rates no rule for SGD with momentum is both safe and tight; this one is safe and low"
        )
    verdict, reason = verdict_of(checks, at_best=at_best, reason=reason)
    return _recommendation(
        value=probe.value,
        low=probe.low,
        high=probe.high,
        peak_factor=linear_decay_factor(optimizer),
        schedule=schedule,
        verdict=verdict,
        reason=reason,
        checks=checks,
        interval="range of the one-probe rule; not a confidence interval",
        evidence={"rule": f"one probe: {probe.rule}", **_evidence(run, optimizer, probe, batch)},
    )


def _self_consistent(
    run: RunMeasurements, optimizer: OptimizerSpec, probe: OneProbe, *, schedule: str
) -> Recommendation:
    """Return the self-consistent rate, with the one-probe rate as cross-check."""
    rule = consistency_rule(optimizer)
    candidates = candidates_of(run, optimizer=optimizer)
    found = self_consistent_rate(candidates, initial_loss=run.stages[0].loss, rule=rule)
    confirmations = confirmations_of(run, optimizer=optimizer)
    checks = candidate_checks(run, candidates, found, confirmations, rule=rule, one_probe=probe.value)
    verdict, reason = verdict_of(checks)
    value = float("nan") if found.value is None else found.value
    below, above = _spread(optimizer)
    changed, held, limited_by = "", None, found.limited_by
    if confirmations and found.value is not None:
        held = confirmed_rate(confirmations, initial_loss=run.stages[0].loss, value=found.value)
        value = float("nan") if held is None else held
        if value < found.value * (1 - 1e-9):
            changed = "; halved until it held for at least twice the steps and its half gained less"
        elif value > found.value * (1 + 1e-9):
            changed = f"; times {value / found.value:.3g}, which gained at least a quarter more when followed on"
        larger = min((c for c in confirmations if c.learning_rate > value), key=_rate_of, default=None)
        if larger is not None and larger.diverged:
            limited_by = "divergence"
            value *= rule.divergence_margin
            changed += f"; times {rule.divergence_margin:g}, since twice that diverged"
    evidence: dict[str, float | str | None] = {
        "rule": f"self-consistent: of the rates within the stable limit that their own steps lead to, the one that "
        f"lowers the loss most; {_LIMITED[found.limited_by]}"
        + (f"; times {rule.margin:g}" if rule.margin != 1 else "")
        + changed,
        "found_before_confirmation": found.value,
        "confirmed_value": held,
        "limited_by": found.limited_by,
        **_evidence(run, optimizer, probe, run.batch_size),
    }
    return _recommendation(
        value=value,
        low=value * below,
        high=value * above,
        peak_factor=linear_decay_factor(optimizer, limited_by=limited_by),
        schedule=schedule,
        verdict=verdict,
        reason=reason,
        checks=checks,
        evidence=evidence,
    )


def _extrapolated(found: Recommendation, run: RunMeasurements, batch: int) -> Recommendation:
    """Return the rate at another batch size: times the ratio of the limits where the tried rate leads."""
    state = deciding_state(run, run.batch_size)
    ratio = state.limit(batch).value / state.limit(run.batch_size).value
    known = bool(np.isfinite(ratio)) and found.value is not None
    check = Check(
        claim="rates were tried at the batch size asked for",
        observed=f"tried at {run.batch_size}; the stable limit at {batch} is {ratio:.3g} times that",
        required=f"steps of batch size {batch}: measure again",
        passed=False,
        consequence=Verdict.TENTATIVE if known else Verdict.WITHHELD,
    )
    verdict, reason = verdict_of((*found.checks, check))
    unwithheld = found.evidence["unwithheld_value"]
    return replace(
        found,
        value=None if verdict is Verdict.WITHHELD or found.value is None else found.value * ratio,
        low=None if verdict is Verdict.WITHHELD or found.low is None else found.low * ratio,
        high=None if verdict is Verdict.WITHHELD or found.high is None else found.high * ratio,
        verdict=verdict,
        reason=reason,
        checks=(*found.checks, check),
        evidence={
            **found.evidence,
            "rule": f"{found.evidence['rule']}; extrapolated from batches of {run.batch_size}",
            "unwithheld_value": float(unwithheld) * ratio if known and unwithheld is not None else None,
        },
    )


def _rate_of(confirmation: Confirmation) -> float:
    return confirmation.learning_rate


def _evidence(
    run: RunMeasurements, optimizer: OptimizerSpec, probe: OneProbe, batch: int
) -> dict[str, float | str | None]:
    stage = run.stages[-1]
    lam = float(stage.curvature[0]) if len(stage.curvature) else float("nan")
    limit = measured_limit(stage, optimizer=optimizer, batch_size=batch, num_samples=run.num_samples).value
    return {
        "one_probe": probe.value if np.isfinite(probe.value) else None,
        "directional_step": probe.directional_step,
        "inverse_curvature": 1 / lam if lam > 0 else None,
        "max_stable_learning_rate": limit if np.isfinite(limit) else None,
    }


def _recommendation(
    *,
    value: float,
    low: float,
    high: float,
    peak_factor: float,
    schedule: str,
    verdict: Verdict,
    reason: str,
    checks: tuple,
    evidence: dict[str, float | str | None],
    interval: str = "held the best rate in four of five validation cells; not a confidence interval",
) -> Recommendation:
    usable = bool(np.isfinite(value) and value > 0)
    shown = usable and verdict is not Verdict.WITHHELD
    factor = peak_factor if schedule == "linear" else 1.0
    return Recommendation(
        quantity="learning_rate",
        value=value * factor if shown else None,
        low=low * factor if shown else None,
        high=high * factor if shown else None,
        interval=interval,
        verdict=verdict if usable else Verdict.WITHHELD,
        reason=reason,
        checks=checks,
        evidence={
            **evidence,
            "schedule": schedule,
            "peak_factor": peak_factor,
            "unwithheld_value": value * factor if usable else None,
        },
    )


def _setting(run: RunMeasurements, batch_size: int | None) -> tuple[OptimizerSpec, int]:
    """Return the optimizer (plain SGD where none was chosen) and the batch size asked for."""
    return run.optimizer or OptimizerSpec(kind="sgd"), run.batch_size if batch_size is None else batch_size
