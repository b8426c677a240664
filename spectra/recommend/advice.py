"""All recommendations of one run together, with the table, the alternatives and the way to a better answer."""

from dataclasses import dataclass

import numpy as np

from spectra.errors import ArgumentError
from spectra.recommend.batch_size import critical_batch_size, noise_scale, saturation
from spectra.recommend.learning_rate import (
    LINEAR_DECAY_FACTOR,
    learning_rate,
    max_stable_learning_rate,
    measured_limit,
)
from spectra.recommend.optimizer import OptimizerSpec
from spectra.recommend.recommendation import Check, Recommendation, Verdict
from spectra.recommend.run import RunMeasurements, read_run
from spectra.recommend.stability import effective_noise_fraction, limit_exponent, stable_limit

__all__ = ["Advice", "Alternative", "CurveRow", "StageRow", "advise"]


@dataclass(frozen=True, kw_only=True)
class CurveRow:
    """One batch size of the table: stable limit, its interval, and its local exponent ``d log lr_max / d log b``."""

    batch_size: int
    max_stable_learning_rate: float
    low: float
    high: float
    exponent: float
    regime: str


@dataclass(frozen=True, kw_only=True)
class StageRow:
    """One measured state of training."""

    step: int
    loss: float
    curvature: float
    residual: float
    smallest_curvature: float
    curvature_noise: float
    curvature_noise_stderr: float
    max_stable_learning_rate: float


@dataclass(frozen=True, kw_only=True)
class Alternative:
    """Another rule's learning rate and the reason it is not the headline."""

    rule: str
    value: float | None
    reason: str


@dataclass(frozen=True, kw_only=True)
class Advice:
    """What :func:`advise` returns.

    Attributes
    ----------
    learning_rate, max_stable_learning_rate, saturation_batch_size, gradient_noise_scale, batch_size : Recommendation
        The answers. ``learning_rate.verdict`` is the verdict of the whole.
    linear_decay_peak : float or None
        Peak rate for linear decay to zero.
    curve : tuple of CurveRow
        Stable limit against batch size; empty for Adam and AdamW, whose preconditioner depends on the batch size.
    stages : tuple of StageRow
        What was measured on the way.
    alternatives : tuple of Alternative
        Every other rule with its value and why it was not used.
    run : RunMeasurements
        The measurements.
    next_command : str
        The command that would repair the weakest check or tighten the widest interval.
    """

    learning_rate: Recommendation
    max_stable_learning_rate: Recommendation
    saturation_batch_size: Recommendation
    gradient_noise_scale: Recommendation
    batch_size: Recommendation
    linear_decay_peak: float | None
    curve: tuple[CurveRow, ...]
    stages: tuple[StageRow, ...]
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
        return (
            self.learning_rate,
            self.max_stable_learning_rate,
            self.saturation_batch_size,
            self.gradient_noise_scale,
            self.batch_size,
        )


def advise(run: object, *, batch_size: int | None = None, schedule: str = "constant") -> Advice:
    """Turn the measurements of a run into recommendations.

    Parameters
    ----------
    run : xarray.DataTree or RunMeasurements
        A run as measured by :func:`probes.measurement.measure_run` or loaded by :func:`spectra.load`.
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
        For an unknown schedule, a batch size outside ``[1, num_samples]``, or a run without a measured stage.
    SchemaError
        If ``run`` is not a run.
    """
    measured = run if isinstance(run, RunMeasurements) else read_run(run)  # type: ignore[arg-type]
    if schedule not in ("constant", "linear"):
        raise ArgumentError(f"schedule must be 'constant' or 'linear'; got {schedule!r}")
    if not measured.stages:
        raise ArgumentError("the run was interrupted before its first stage was measured; measure again")
    batch = measured.batch_size if batch_size is None else batch_size
    effective_noise_fraction(batch, measured.num_samples)
    rate = learning_rate(measured, batch_size=batch, schedule=schedule)
    limit = max_stable_learning_rate(measured, batch_size=batch)
    constant = rate.value / (LINEAR_DECAY_FACTOR if schedule == "linear" else 1.0) if rate.value else None
    return Advice(
        learning_rate=rate,
        max_stable_learning_rate=limit,
        saturation_batch_size=saturation(measured),
        gradient_noise_scale=noise_scale(measured),
        batch_size=critical_batch_size(measured),
        linear_decay_peak=constant * LINEAR_DECAY_FACTOR if constant else None,
        curve=_curve(measured, batch),
        stages=_stage_rows(measured, batch),
        alternatives=_alternatives(measured, batch),
        run=measured,
        requested_batch_size=batch,
        next_command=_next_command(measured, rate, batch),
    )


def _optimizer(run: RunMeasurements) -> OptimizerSpec:
    return run.optimizer or OptimizerSpec(kind="sgd")


def _curve(run: RunMeasurements, batch: int) -> tuple[CurveRow, ...]:
    optimizer = _optimizer(run)
    sizes = [batch]
    if not optimizer.is_adaptive:
        powers = 2 ** np.arange(2, int(np.log2(run.num_samples)) + 1)
        sizes = sorted({*(int(size) for size in powers), batch})
    rows = []
    for size in sizes:
        limit = measured_limit(run.stages[-1], optimizer=optimizer, batch_size=size, num_samples=run.num_samples)
        if np.isfinite(limit.value):
            rows.append(
                CurveRow(
                    batch_size=size,
                    max_stable_learning_rate=limit.value,
                    low=limit.low,
                    high=limit.high,
                    exponent=float(limit_exponent(size, limit.saturation)),
                    regime=limit.regime,
                )
            )
    return tuple(rows)


def _stage_rows(run: RunMeasurements, batch: int) -> tuple[StageRow, ...]:
    rows = []
    for stage in run.stages:
        limit = measured_limit(stage, optimizer=_optimizer(run), batch_size=batch, num_samples=run.num_samples)
        rows.append(
            StageRow(
                step=stage.step,
                loss=stage.loss,
                curvature=float(stage.curvature[0]),
                residual=float(stage.residual[0]),
                smallest_curvature=stage.smallest_curvature,
                curvature_noise=stage.curvature_noise[0].value,
                curvature_noise_stderr=stage.curvature_noise[0].stderr,
                max_stable_learning_rate=limit.value,
            )
        )
    return tuple(rows)


def _alternatives(run: RunMeasurements, batch: int) -> tuple[Alternative, ...]:
    optimizer, stage = _optimizer(run), run.stages[-1]
    lam = float(stage.curvature[0])
    if not lam > 0:
        return ()
    deterministic = float(stable_limit(lam, 0.0, batch_size=batch, optimizer=optimizer))
    step = stage.gradient.directional_step(effective_noise_fraction(batch, run.num_samples))
    resolved = stage.gradient.gradient_curvature.is_resolved and stage.gradient.squared_gradient.is_resolved
    usable = resolved and np.isfinite(step.value) and step.value > 0
    scale = 1 - optimizer.beta if optimizer.kind == "momentum" else 1.0
    greedy = (
        "greedy over one step; in small tasks too low for Adam"
        if optimizer.is_adaptive
        else "used where it is below half the limit"
    )
    return (
        Alternative(
            rule="classical limit from curvature alone",
            value=deterministic,
            reason="ignores the noise of batches; several times too large when noise-limited",
        ),
        Alternative(rule="1 / largest curvature", value=scale / lam, reason="knows neither noise nor optimizer"),
        Alternative(
            rule="directional step (lowers the expected loss most)",
            value=scale * step.value if usable else None,
            reason=greedy if usable else "refused: curvature along the gradient is not positive beyond its error",
        ),
    )


def _next_command(run: RunMeasurements, rate: Recommendation, batch: int) -> str:
    task = run.attributes.get("task", "TASK")
    optimizer = run.optimizer
    base = f"spectra recommend {task} --optimizer {optimizer.kind if optimizer else 'adamw'} --batch-size {batch}"
    failed: list[Check] = [check for check in rate.checks if not check.passed]
    worst = next((check for check in failed if check.consequence is rate.verdict), None)
    claim = worst.claim if worst else ""
    if "Ritz pair" in claim or "directions have converged" in claim:
        return f"{base} --max-krylov-steps {2 * int(run.attributes.get('max_krylov_steps', 60))}"
    if "settled" in claim or "left the initial state" in claim:
        last = run.stages[-1].step
        return f"{base} --probe-steps {last},{2 * last},{4 * last}"
    micro_batches = int(run.attributes.get("num_micro_batches", 24))
    size = int(run.attributes.get("micro_batch_size", 16))
    if "noise" in claim or "directional step is defined" in claim or not worst:
        if 2 * micro_batches * size <= run.num_samples:
            return f"{base} --micro-batches {2 * micro_batches}"
        return f"{base} --micro-batches {micro_batches} --seed {int(run.attributes.get('seed', 0)) + 1}"
    return base
