"""All recommendations of one run together, with the tables behind them and the way to a better answer."""

from dataclasses import dataclass, replace

import numpy as np

from spectra.errors import ArgumentError
from spectra.recommend.advice_rows import (
    Alternative,
    CandidateRow,
    CurveRow,
    StageRow,
    alternatives,
    candidate_rows,
    curve_rows,
    stage_rows,
)
from spectra.recommend.batch_schedule import next_batch_size
from spectra.recommend.batch_size import critical_batch_size, noise_scale, saturation
from spectra.recommend.deciding_state import DecidingState, deciding_state
from spectra.recommend.learning_rate import learning_rate, max_stable_learning_rate
from spectra.recommend.momentum import momentum_advice
from spectra.recommend.next_command import next_command, widest_interval
from spectra.recommend.recommendation import Check, Recommendation, Verdict, verdict_of
from spectra.recommend.refusal import refusals, with_refusals
from spectra.recommend.run import RunMeasurements, read_run
from spectra.recommend.stability import effective_noise_fraction
from spectra.recommend.warmup import warmup_length

__all__ = ["Advice", "Alternative", "CandidateRow", "CurveRow", "StageRow", "advise", "refused"]

SCHEDULES = ("constant", "linear")


@dataclass(frozen=True, kw_only=True)
class Advice:
    """What :func:`advise` returns.

    Attributes
    ----------
    learning_rate : Recommendation
        The answer; its verdict is the verdict of the whole.
    max_stable_learning_rate : Recommendation
        Stable limit at the last measured stage.
    own_stable_limit : Recommendation or None
        Stable limit where steps at the rate that the search found lead, see
        :mod:`spectra.recommend.deciding_state`; ``None`` where no candidates were tried at this batch size.
    saturation_batch_size, gradient_noise_scale, batch_size, next_batch_size : Recommendation
        Where the limit saturates, where progress per sample falls, the range worth using, the norm test.
    momentum, warmup : Recommendation
        Momentum advice, and the length of a warm-up.
    schedule : str
        Learning-rate schedule that was asked for.
    constant_learning_rate, linear_decay_peak : float or None
        The rate without a schedule, and the peak rate for linear decay to zero.
    curve : tuple of CurveRow
        Stable limit and scaled rate against batch size; one row for optimizers with a preconditioner, which depends on
        the batch size.
    stages : tuple of StageRow
        What was measured on the way.
    candidates : tuple of CandidateRow
        Learning rates that were tried, ascending.
    alternatives : tuple of Alternative
        Every other rule with its value and why it was not used.
    run : RunMeasurements
        The measurements.
    next_command : str
        The command that would repair the weakest check or tighten the widest interval.
    """

    learning_rate: Recommendation
    max_stable_learning_rate: Recommendation
    own_stable_limit: Recommendation | None
    saturation_batch_size: Recommendation
    gradient_noise_scale: Recommendation
    batch_size: Recommendation
    next_batch_size: Recommendation
    momentum: Recommendation
    warmup: Recommendation
    schedule: str
    constant_learning_rate: float | None
    linear_decay_peak: float | None
    curve: tuple[CurveRow, ...]
    stages: tuple[StageRow, ...]
    candidates: tuple[CandidateRow, ...]
    alternatives: tuple[Alternative, ...]
    run: RunMeasurements
    requested_batch_size: int
    next_command: str

    @property
    def verdict(self) -> Verdict:
        """Verdict of the recommended learning rate."""
        return self.learning_rate.verdict

    @property
    def recommendations(self) -> tuple[Recommendation, ...]:
        """All recommendations, headline first."""
        limits = (self.max_stable_learning_rate, self.own_stable_limit)
        return (
            self.learning_rate,
            *(item for item in limits if item is not None),
            self.saturation_batch_size,
            self.gradient_noise_scale,
            self.batch_size,
            self.next_batch_size,
            self.momentum,
            self.warmup,
        )

    @property
    def widest_interval(self) -> Recommendation | None:
        """The quantity whose measured interval is widest, relative to its value."""
        return widest_interval(self.recommendations)


def advise(run: object, *, batch_size: int | None = None, schedule: str = "constant") -> Advice:
    """Turn the measurements of a run into recommendations.

    Parameters
    ----------
    run : xarray.DataTree or RunMeasurements
        A run as measured by :func:`probes.measurement.measure_run` or loaded by :func:`spectra.load`. Of an interrupted
        run what it holds is used; without a single stage everything is withheld.
    batch_size : int, optional
        Effective batch size; that of the run by default.
    schedule : {"constant", "linear"}
        Learning-rate schedule; ``"linear"`` decays to zero.

    Returns
    -------
    Advice

    Raises
    ------
    ArgumentError
        For an unknown schedule, or a batch size outside ``[1, num_samples]``.
    SchemaError
        If ``run`` is not a run.
    """
    measured = run if isinstance(run, RunMeasurements) else read_run(run)  # type: ignore[arg-type]
    if schedule not in SCHEDULES:
        raise ArgumentError(f"schedule must be 'constant' or 'linear'; got {schedule!r}")
    batch = measured.batch_size if batch_size is None else batch_size
    effective_noise_fraction(batch, measured.num_samples)
    reported = refusals(measured)
    if not measured.stages or not len(measured.stages[-1].curvature):
        return refused(measured, reported or (_nothing(measured),), batch_size=batch, schedule=schedule)
    rate = with_refusals(learning_rate(measured, batch_size=batch, schedule=schedule), reported)
    peak_factor = float(rate.evidence["peak_factor"] or 1.0)
    constant = rate.value / (peak_factor if schedule == "linear" else 1.0) if rate.value else None
    stage = measured.stages[-1]
    rows = stage_rows(measured, batch)
    gradient = stage.gradient
    state = deciding_state(measured, batch)
    advice = Advice(
        learning_rate=rate,
        max_stable_learning_rate=max_stable_learning_rate(measured, batch_size=batch),
        own_stable_limit=_own_limit(state, batch),
        saturation_batch_size=saturation(measured, stage=state.nearest),
        gradient_noise_scale=noise_scale(measured),
        batch_size=critical_batch_size(measured, stage=state.nearest),
        next_batch_size=_withheld("next_batch_size", "the gradient noise was not measured", unit="samples")
        if gradient is None
        else next_batch_size(gradient, batch_size=batch, num_samples=measured.num_samples),
        momentum=momentum_advice(_seen_from(measured, state), batch_size=batch)
        if measured.optimizer
        else _withheld("momentum", "no steps of an optimizer were taken"),
        warmup=_warmup(rows, state, batch, constant),
        schedule=schedule,
        constant_learning_rate=constant,
        linear_decay_peak=constant * peak_factor if constant else None,
        curve=curve_rows(measured, batch, rate, state),
        stages=rows,
        candidates=candidate_rows(measured) if batch == measured.batch_size else (),
        alternatives=alternatives(measured, batch, rate),
        run=measured,
        requested_batch_size=batch,
        next_command=next_command(measured, rate, batch, schedule=schedule),
    )
    return advice


def refused(run: RunMeasurements, checks: tuple[Check, ...], *, batch_size: int, schedule: str = "constant") -> Advice:
    """Return advice without a number: everything withheld by the failed checks.

    Parameters
    ----------
    run : RunMeasurements
        What is known of the setting; no stage is needed.
    checks : tuple of Check
        Those that failed, the decisive one first.
    batch_size : int
        Effective batch size that was asked for.
    schedule : str
        Schedule that was asked for.
    """
    verdict, reason = verdict_of(checks, at_best=Verdict.WITHHELD)
    rate = Recommendation(
        quantity="learning_rate",
        value=None,
        verdict=verdict,
        reason=reason,
        checks=checks,
        evidence={"schedule": schedule},
    )

    def nothing(quantity: str, unit: str = "1") -> Recommendation:
        return _withheld(quantity, reason, unit=unit, checks=checks)

    return Advice(
        learning_rate=rate,
        max_stable_learning_rate=nothing("max_stable_learning_rate"),
        own_stable_limit=None,
        saturation_batch_size=nothing("saturation_batch_size", "samples"),
        gradient_noise_scale=nothing("gradient_noise_scale", "samples"),
        batch_size=nothing("batch_size", "samples"),
        next_batch_size=nothing("next_batch_size", "samples"),
        momentum=nothing("momentum"),
        warmup=nothing("warmup_steps", "steps"),
        schedule=schedule,
        constant_learning_rate=None,
        linear_decay_peak=None,
        curve=(),
        stages=(),
        candidates=(),
        alternatives=(),
        run=run,
        requested_batch_size=batch_size,
        next_command=next_command(run, rate, batch_size, schedule=schedule),
    )


def _withheld(quantity: str, reason: str, *, unit: str = "1", checks: tuple[Check, ...] = ()) -> Recommendation:
    return Recommendation(
        quantity=quantity, value=None, unit=unit, verdict=Verdict.WITHHELD, reason=reason, checks=checks
    )


def _nothing(run: RunMeasurements) -> Check:
    return Check(
        claim="something was measured",
        observed="a run that ended before its first stage" if not run.stages else "no curvature at the last stage",
        required="at least one measured stage: measure again",
        passed=False,
    )


def _seen_from(run: RunMeasurements, state: DecidingState) -> RunMeasurements:
    """Return the run with the deciding state as its last stage."""
    return run if state.rate is None else replace(run, stages=(*run.stages, state.nearest))


def _warmup(rows: tuple[StageRow, ...], state: DecidingState, batch: int, rate: float | None) -> Recommendation:
    """Return the warm-up length from the limits of the gentle stages and of the state that the rate leads to."""
    limits = {row.step: row.max_stable_learning_rate for row in rows}
    if state.rate is not None:
        limits[max(state.nearest.step, max(limits) + 1)] = state.limit(batch).value
    return warmup_length(list(limits), list(limits.values()), learning_rate=rate)


def _own_limit(state: DecidingState, batch: int) -> Recommendation | None:
    """Return the stable limit where the recommended rate leads, with its interval."""
    limit = state.limit(batch)
    if state.rate is None or not np.isfinite(limit.value):
        return None
    stage = state.nearest
    noise = stage.curvature_noise[limit.direction]
    residual = float(stage.residual[limit.direction] / stage.curvature[limit.direction])
    check = Check(
        claim="curvature and its noise are resolved there",
        observed=f"residual {residual:.1%} of the curvature, relative error of the noise {noise.relative_error:.0%}",
        required="at most 10% and 100%",
        passed=residual <= 0.10 and noise.relative_error <= 1.0,
        consequence=Verdict.TENTATIVE,
        source="Lanczos residual; jackknife over micro-batches",
    )
    where = f"{limit.regime}; where {stage.step} steps at {state.rate:.3g} lead"
    if len(state.stages) > 1:
        where += ", interpolated between the neighboring rates that were tried"
    verdict, reason = verdict_of((check,), reason=where)
    return Recommendation(
        quantity="own_stable_limit",
        value=limit.value,
        low=limit.low,
        high=limit.high,
        interval="95% of the curvature noise, Ritz residual and spread over start vectors",
        verdict=verdict,
        reason=reason,
        checks=(check,),
        evidence={
            "learning_rate": state.rate,
            "num_steps": float(stage.step),
            "curvature": limit.curvature,
            "curvature_noise": limit.curvature_noise,
            "curvature_noise_stderr": noise.relative_error * limit.curvature_noise,
            "noise_share": limit.noise_share,
            "regime": limit.regime,
            "saturation_batch_size": limit.saturation,
            "deterministic_limit": state.deterministic_limit(batch),
        },
    )
