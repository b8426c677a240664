"""Rows of the tables behind an advice: measured states, candidate rates, batch sizes, other rules."""

from dataclasses import dataclass

import numpy as np

from spectra.recommend.deciding_state import DecidingState, search_result
from spectra.recommend.limit import measured_limit
from spectra.recommend.one_probe import directional_step
from spectra.recommend.optimizer import OptimizerSpec
from spectra.recommend.recommendation import Recommendation
from spectra.recommend.run import RunMeasurements
from spectra.recommend.self_consistent import Candidate, SelfConsistentRate, consistency_rule
from spectra.recommend.stability import effective_noise_fraction, stable_limit

__all__ = [
    "Alternative",
    "CandidateRow",
    "CurveRow",
    "StageRow",
    "alternatives",
    "candidate_rows",
    "curve_rows",
    "stage_rows",
]

SMALLEST_BATCH = 4


@dataclass(frozen=True, kw_only=True)
class CurveRow:
    """One batch size of the table.

    Attributes
    ----------
    batch_size : int
        Samples in a step.
    max_stable_learning_rate, low, high : float
        Stable limit at this batch size with its interval.
    learning_rate : float or None
        The recommended rate times ``limit(b) / limit(b0)``: extrapolated, not measured, except at the batch size asked
        for.
    exponent : float
        Local exponent ``d log limit / d log b``.
    regime : str
        What limits it.
    """

    batch_size: int
    max_stable_learning_rate: float
    low: float
    high: float
    learning_rate: float | None
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
class CandidateRow:
    """One learning rate that was tried.

    Attributes
    ----------
    learning_rate : float
        Rate of the steps.
    num_steps : int
        Steps taken; fewer than planned where it diverged.
    loss : float
        Mean loss on the reference set after the steps; ``inf`` if it diverged.
    max_stable_learning_rate : float
        Stable limit of the state that the steps led to; NaN if it diverged.
    consistency : float
        ``q``, rate over that limit.
    breaks : str
        ``""`` where nothing is wrong; ``"divergence"``; ``"stability"`` for ``q`` above the mark; ``"loss"`` if it
        raised the loss, or is larger than the recommended rate and lowered it less than a smaller one.
    bracket : str
        ``"best"`` for the candidate that the recommended rate is taken from, ``"low"`` and ``"high"`` for the
        candidates around it, else ``""``. Where the rate lies between two candidates there is no best one.
    """

    learning_rate: float
    num_steps: int
    loss: float
    max_stable_learning_rate: float
    consistency: float
    breaks: str
    bracket: str


@dataclass(frozen=True, kw_only=True)
class Alternative:
    """Another rule's constant learning rate and the reason it is not the headline."""

    rule: str
    value: float | None
    reason: str


def optimizer_of(run: RunMeasurements) -> OptimizerSpec:
    """Return the optimizer of a run, plain SGD where none was chosen."""
    return run.optimizer or OptimizerSpec(kind="sgd")


def curve_rows(run: RunMeasurements, batch: int, rate: Recommendation, state: DecidingState) -> tuple[CurveRow, ...]:
    """Return stable limit and scaled recommendation by batch size; one row for optimizers with a preconditioner."""
    sizes = {batch}
    if not state.optimizer.is_adaptive:
        sizes |= {2**power for power in range(2, int(np.log2(run.num_samples)) + 1)}
    limits = {size: state.limit(size) for size in sorted(sizes)}
    return tuple(
        CurveRow(
            batch_size=size,
            max_stable_learning_rate=limit.value,
            low=limit.low,
            high=limit.high,
            learning_rate=None if rate.value is None else rate.value * limit.value / limits[batch].value,
            exponent=state.exponent(size),
            regime=limit.regime,
        )
        for size, limit in limits.items()
        if np.isfinite(limit.value)
    )


def stage_rows(run: RunMeasurements, batch: int) -> tuple[StageRow, ...]:
    """Return the stages with their limits at a batch size."""
    rows = []
    for stage in run.stages:
        limit = measured_limit(stage, optimizer=optimizer_of(run), batch_size=batch, num_samples=run.num_samples)
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


def candidate_rows(run: RunMeasurements) -> tuple[CandidateRow, ...]:
    """Return the candidates in the order of their rates, with what each breaks."""
    if run.optimizer is None or not run.candidates or not run.stages:
        return ()
    judged, found = search_result(run, run.optimizer)
    threshold = consistency_rule(run.optimizer).threshold
    ends = {found.low: "low", found.high: "high", found.value: "best"}
    return tuple(
        CandidateRow(
            learning_rate=candidate.learning_rate,
            num_steps=len(measured.training_losses),
            loss=candidate.loss,
            max_stable_learning_rate=candidate.limit,
            consistency=candidate.consistency,
            breaks=_broken(candidate, judged, found, initial_loss=run.stages[0].loss, threshold=threshold),
            bracket=ends.get(candidate.learning_rate, ""),
        )
        for candidate, measured in zip(judged, run.candidates, strict=True)
    )


def _broken(
    candidate: Candidate,
    judged: tuple[Candidate, ...],
    found: SelfConsistentRate,
    *,
    initial_loss: float,
    threshold: float,
) -> str:
    """Return what a candidate breaks, in the order of gravity."""
    if candidate.diverged:
        return "divergence"
    if candidate.consistency > threshold:
        return "stability"
    smaller = [other.loss for other in judged if other.learning_rate < candidate.learning_rate]
    beyond = found.value is None or candidate.learning_rate > found.value
    if not candidate.loss < initial_loss or (beyond and candidate.loss > min(smaller, default=np.inf)):
        return "loss"
    return ""


def alternatives(run: RunMeasurements, batch: int, rate: Recommendation) -> tuple[Alternative, ...]:
    """Return what other rules would say, and why they are not the answer."""
    optimizer, stage = optimizer_of(run), run.stages[-1]
    found = []
    probe = rate.evidence.get("one_probe")
    if "limited_by" in rate.evidence and isinstance(probe, int | float):
        found.append(
            Alternative(
                rule="one-probe rule",
                value=float(probe),
                reason=f"sees the state after {stage.step} gentle steps only; the cross-check",
            )
        )
    lam = float(stage.curvature[0])
    if not lam > 0:
        return tuple(found)
    step = directional_step(run, batch_size=batch)
    scale = 1.0 if optimizer.is_adaptive else (1 - optimizer.beta) / (1 - optimizer.dampening)
    greedy = "greedy over one step; " + ("too low for Adam" if optimizer.is_adaptive else "a cross-check")
    refused = "refused: curvature along the gradient is not positive beyond its error"
    found += [
        Alternative(
            rule="classical limit from curvature alone",
            value=float(stable_limit(lam, 0.0, batch_size=batch, optimizer=optimizer)),
            reason="ignores the noise of batches; several times too large when noise-limited",
        ),
        Alternative(rule="1 / largest curvature", value=scale / lam, reason="knows neither noise nor optimizer"),
        Alternative(
            rule="directional step (lowers the expected loss most)",
            value=None if step is None else scale * step,
            reason=refused if step is None else greedy,
        ),
    ]
    if not optimizer.is_adaptive and stage.gradient is not None and stage.loss > 0:
        squared = stage.gradient.squared_gradient.value + stage.gradient.trace_covariance.value * (
            effective_noise_fraction(batch, run.num_samples)
        )
        if squared > 0:
            found.append(
                Alternative(
                    rule="Polyak step, loss / squared batch gradient",
                    value=float(scale * stage.loss / squared),
                    reason="right only if training can bring the loss to zero",
                )
            )
    return tuple(found)
