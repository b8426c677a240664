"""The state whose stable limit goes with a recommended rate: where steps at that very rate would lead.

A rate that was tried has one. Between two rates that were tried, logarithms of limits are interpolated linearly in the
logarithm of the rate, as the self-consistent rule does; local exponents are then weighted in the same way.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from spectra.recommend.confirmation import confirmations_of, confirmed_rate
from spectra.recommend.limit import Limit, measured_limit
from spectra.recommend.optimizer import OptimizerSpec
from spectra.recommend.run import MeasuredCandidate, RunMeasurements, Stage
from spectra.recommend.self_consistent import (
    Candidate,
    SelfConsistentRate,
    candidates_of,
    consistency_rule,
    self_consistent_rate,
)
from spectra.recommend.stability import local_exponent, stable_limit

__all__ = ["DecidingState", "deciding_state", "search_result"]


@dataclass(frozen=True, kw_only=True)
class DecidingState:
    """One or two measured states with weights.

    Attributes
    ----------
    rate : float or None
        The rate whose steps lead there; ``None`` for the last stage of gentle steps.
    stages : tuple of Stage
        Measured states, one or two.
    weights : tuple of float
        Their weights, summing to one.
    optimizer : OptimizerSpec
        Whose limit is asked for.
    num_samples : int
        Size of the data.
    """

    rate: float | None
    stages: tuple[Stage, ...]
    weights: tuple[float, ...]
    optimizer: OptimizerSpec
    num_samples: int

    @property
    def nearest(self) -> Stage:
        """The measured state with the largest weight."""
        return self.stages[int(np.argmax(self.weights))]

    def limit(self, batch_size: float, *, level: float = 0.95) -> Limit:
        """Return the stable limit at a batch size, with its interval."""
        limits = self._limits(batch_size, level)
        nearest = limits[int(np.argmax(self.weights))]
        if len(limits) == 1:
            return nearest
        value, curvature = self._mean([x.value for x in limits]), self._mean([x.curvature for x in limits])
        return Limit(
            value=value,
            low=self._mean([x.low for x in limits]),
            high=self._mean([x.high for x in limits]),
            direction=nearest.direction,
            curvature=curvature,
            curvature_noise=self._mean([x.curvature_noise for x in limits]),
            noise_share=1 - value / self.deterministic_limit(batch_size),
            saturation=self._mean([x.saturation for x in limits]),
        )

    def deterministic_limit(self, batch_size: float) -> float:
        """Return the limit without the noise of batches, of the directions that set the limits."""
        return self._mean(
            [
                float(stable_limit(x.curvature, 0.0, batch_size=batch_size, optimizer=self.optimizer))
                for x in self._limits(batch_size, 0.95)
            ]
        )

    def exponent(self, batch_size: float) -> float:
        """Return ``d log limit / d log b``."""
        each = [
            float(
                local_exponent(
                    x.curvature,
                    x.curvature_noise,
                    batch_size=batch_size,
                    optimizer=self.optimizer,
                    num_samples=self.num_samples,
                )
            )
            for x in self._limits(batch_size, 0.95)
        ]
        return float(np.dot(self.weights, each))

    def _limits(self, batch_size: float, level: float) -> list[Limit]:
        setting = {"optimizer": self.optimizer, "batch_size": batch_size, "num_samples": self.num_samples}
        return [measured_limit(stage, level=level, **setting) for stage in self.stages]  # type: ignore[arg-type]

    def _mean(self, values: list[float]) -> float:
        """Return the weighted geometric mean; zero if one is."""
        if min(values) <= 0:
            return float(min(values))
        return math.exp(float(np.dot(self.weights, np.log(values))))


def search_result(run: RunMeasurements, optimizer: OptimizerSpec) -> tuple[tuple[Candidate, ...], SelfConsistentRate]:
    """Return the candidates and what the search found among them, without the margin on the recommended rate."""
    judged, rule = candidates_of(run, optimizer=optimizer), consistency_rule(optimizer)
    return judged, self_consistent_rate(
        judged, initial_loss=run.stages[0].loss, rule=replace(rule, margin=1.0, divergence_margin=1.0)
    )


def deciding_state(run: RunMeasurements, batch_size: int) -> DecidingState:
    """Return where the rate leads that the search found; the last stage, if none was found at this batch size.

    Parameters
    ----------
    run : RunMeasurements
        With at least one stage.
    batch_size : int
        The batch size that is asked for. With a preconditioner candidates hold for that of the run only.
    """
    optimizer = run.optimizer or OptimizerSpec(kind="sgd")
    rate: float | None = None
    stages: tuple[Stage, ...] = (run.stages[-1],)
    weights: tuple[float, ...] = (1.0,)
    if run.candidates and run.optimizer is not None and (batch_size == run.batch_size or not optimizer.is_adaptive):
        value = search_result(run, run.optimizer)[1].value
        replaced = _replacement(run, run.optimizer)
        around = [] if value is None else _around(run.candidates, value, optimizer, run)
        if replaced is not None and replaced.stage is not None:
            rate, stages = replaced.learning_rate, (replaced.stage,)
        elif value is not None and around:
            rate, stages = value, tuple(stage for _, stage in around)
            if len(around) == 2:
                (low, _), (high, _) = around
                upper = math.log(value / low) / math.log(high / low)
                weights = (1 - upper, upper)
    return DecidingState(rate=rate, stages=stages, weights=weights, optimizer=optimizer, num_samples=run.num_samples)


def _replacement(run: RunMeasurements, optimizer: OptimizerSpec) -> MeasuredCandidate | None:
    """Return the rate that the one found was replaced by when it was followed on, if it was."""
    initial = run.stages[0].loss
    found = self_consistent_rate(
        candidates_of(run, optimizer=optimizer), initial_loss=initial, rule=consistency_rule(optimizer)
    )
    if found.value is None:
        return None
    held = confirmed_rate(confirmations_of(run, optimizer=optimizer), initial_loss=initial, value=found.value)
    if held is None or math.isclose(held, found.value, rel_tol=1e-9):
        return None
    return next(c for c in run.confirmations if c.learning_rate == held)


def _around(
    candidates: tuple[MeasuredCandidate, ...], value: float, optimizer: OptimizerSpec, run: RunMeasurements
) -> list[tuple[float, Stage]]:
    """Return the measured candidate at a rate, or those on both sides as far as they have a limit."""
    usable = []
    for candidate in candidates:
        if candidate.stage is None:
            continue
        limit = measured_limit(
            candidate.stage, optimizer=optimizer, batch_size=run.batch_size, num_samples=run.num_samples
        )
        if np.isfinite(limit.value):
            usable.append((candidate.learning_rate, candidate.stage))
    exact = [pair for pair in usable if math.isclose(pair[0], value, rel_tol=1e-9)]
    if exact:
        return exact
    below, above = [pair for pair in usable if pair[0] < value], [pair for pair in usable if pair[0] > value]
    return below[-1:] + (above[:1] if below else [])
