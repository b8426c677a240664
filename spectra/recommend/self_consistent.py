r"""The self-consistent learning rate: the one that gains most among those that stay within their own stable limit.

Training at a rate reshapes the curvature and the noise that limit it. So a candidate rate ``r`` is not held against
the limit at the initial state, but against the limit ``r_max(w_s(r))`` at the state that ``s`` real steps *at* ``r``
lead to:

.. math:: q(r) = r / r_{max}(w_s(r)) .

Going up from small rates, the candidates up to the first with ``q > c`` are consistent; ``c = 1`` by default, and
between neighbors ``log q`` is interpolated linearly in ``log r``. Of these the rate with the lowest loss after its
``s`` steps is recommended.

Both halves are needed. The loss after few steps favors rates that are too large for a long training wherever noise
limits it: there ``q`` steps in. On a plateau the curvature, and with it ``q``, is small although the rate has driven
the model there: there the loss tells. Every candidate starts afresh from the given state, so that nothing compounds.

The search needs few candidates: upwards by 2, or by 4 where ``q`` is far below ``c``, until one is inconsistent or two
have ended above the best loss.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spectra.recommend.limit import measured_limit
from spectra.recommend.optimizer import OptimizerSpec
from spectra.recommend.run import MeasuredCandidate, RunMeasurements

__all__ = [
    "Candidate",
    "ConsistencyRule",
    "SelfConsistentRate",
    "candidates_of",
    "consistency_rule",
    "next_candidate",
    "self_consistent_rate",
]

#: Steps between neighboring candidates: near the mark, and far below it; design choices.
FINE, COARSE = 2.0, 4.0
#: Below this part of ``c`` a coarse step is taken.
FAR = 1 / 16


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """What became of one learning rate.

    Attributes
    ----------
    learning_rate : float
        ``r``.
    limit : float
        ``r_max`` after the steps at ``r``; ``inf`` where no measured direction is curved upwards, NaN if it diverged.
    loss : float
        Mean loss on the reference set after the steps; ``inf`` if it diverged.
    """

    learning_rate: float
    limit: float
    loss: float

    @property
    def diverged(self) -> bool:
        """Whether the steps ended in a loss that is not finite, or in none."""
        return not math.isfinite(self.loss)

    @property
    def consistency(self) -> float:
        """``q = r / r_max``; ``inf`` if it diverged, or where the limit is zero or unknown."""
        return self.learning_rate / self.limit if self.limit > 0 and not self.diverged else math.inf


@dataclass(frozen=True, kw_only=True)
class ConsistencyRule:
    """Constants of the rule.

    Attributes
    ----------
    threshold : float
        ``c``: largest part of its own stable limit that a rate may take.
    num_worse : int
        The search ends when so many candidates above the best one have ended with a larger loss.
    margin : float
        Factor on the rate that is found.
    divergence_margin : float
        Factor at most where the next larger candidate diverged: the search then knows no more of the edge than that it
        lies within a factor of two.
    """

    threshold: float = 1.0
    num_worse: int = 2
    margin: float = 1.0
    divergence_margin: float = 0.7


def consistency_rule(optimizer: OptimizerSpec) -> ConsistencyRule:
    """Return the constants for an optimizer.

    Heavy balls get a margin of 0.7: on the tuning half of the tasks of docs/validation.md the loss after 40 steps
    favored rates above the best ones of 200 steps, and the margin lowered the worst regret from 0.23 to 0.10. For the
    others it gained nothing there.
    """
    return ConsistencyRule(margin=1.0 if optimizer.is_adaptive or not optimizer.beta else 0.7)


@dataclass(frozen=True, kw_only=True)
class SelfConsistentRate:
    """The outcome of the search.

    Attributes
    ----------
    value : float or None
        The rate, margin included; ``None`` if no candidate is consistent and lowers the loss.
    limited_by : {"stability", "divergence", "loss", "nothing"}
        Why it is not larger: the next candidate exceeds its own stable limit, or diverges, or larger ones gain less;
        ``"nothing"`` if no larger one was tried. Where there is no value: what the smallest candidate lacks.
    low, high : float or None
        The candidates around the rate without margin.
    """

    value: float | None
    limited_by: str
    low: float | None
    high: float | None


def self_consistent_rate(
    candidates: Sequence[Candidate], *, initial_loss: float, rule: ConsistencyRule | None = None
) -> SelfConsistentRate:
    """Return the consistent rate with the lowest loss.

    Parameters
    ----------
    candidates : sequence of Candidate
        In any order.
    initial_loss : float
        Loss on the reference set where every candidate started.
    rule : ConsistencyRule, optional
        Constants.

    Examples
    --------
    >>> found = [Candidate(learning_rate=r, limit=1.0, loss=2 - r) for r in (0.5, 1.0, 2.0)]
    >>> self_consistent_rate(found, initial_loss=2.0)
    SelfConsistentRate(value=1.0, limited_by='stability', low=1.0, high=2.0)
    >>> found = [Candidate(learning_rate=r, limit=4.0, loss=abs(1 - r)) for r in (0.5, 1.0, 2.0)]
    >>> self_consistent_rate(found, initial_loss=2.0)
    SelfConsistentRate(value=1.0, limited_by='loss', low=0.5, high=2.0)
    """
    rule = rule or ConsistencyRule()
    ordered = sorted(candidates, key=lambda candidate: candidate.learning_rate)
    rates = [candidate.learning_rate for candidate in ordered]
    mark = next((i for i, candidate in enumerate(ordered) if candidate.consistency > rule.threshold), len(ordered))
    if mark == 0:
        limited_by = "nothing" if not ordered else "divergence" if ordered[0].diverged else "stability"
        return SelfConsistentRate(value=None, limited_by=limited_by, low=None, high=rates[0] if rates else None)
    best = min(range(min(mark + 1, len(ordered))), key=lambda index: ordered[index].loss)
    if not min(candidate.loss for candidate in ordered[:mark]) < initial_loss:
        return SelfConsistentRate(value=None, limited_by="loss", low=None, high=rates[0])
    crossing = math.inf
    if mark < len(ordered):
        crossing = rates[mark - 1]
        if math.isfinite(ordered[mark].consistency):
            crossing = _crossing(ordered[mark - 1], ordered[mark], rule.threshold)
    if crossing <= rates[best]:
        limited_by = "divergence" if ordered[mark].diverged else "stability"
        margin = min(rule.margin, rule.divergence_margin) if ordered[mark].diverged else rule.margin
        value = margin * crossing
        return SelfConsistentRate(value=value, limited_by=limited_by, low=rates[mark - 1], high=rates[mark])
    return SelfConsistentRate(
        value=rule.margin * rates[best],
        limited_by="loss" if best + 1 < len(ordered) else "nothing",
        low=rates[best - 1] if best else None,
        high=rates[best + 1] if best + 1 < len(ordered) else None,
    )


def next_candidate(
    candidates: Sequence[Candidate],
    *,
    first: float,
    initial_loss: float,
    rule: ConsistencyRule | None = None,
    max_candidates: int = 14,
) -> float | None:
    """Return the learning rate to try next, or None when the answer is bracketed by factors of two.

    Parameters
    ----------
    candidates : sequence of Candidate
        Those tried so far.
    first : float
        Where to begin.
    initial_loss, rule
        As for :func:`self_consistent_rate`.
    max_candidates : int
        None is returned when so many have been tried.

    Examples
    --------
    >>> next_candidate([], first=0.01, initial_loss=2.0)
    0.01
    >>> tried = [Candidate(learning_rate=0.01, limit=1.0, loss=1.9)]
    >>> next_candidate(tried, first=0.01, initial_loss=2.0)
    0.04
    """
    rule = rule or ConsistencyRule()
    if not candidates:
        return first
    if len(candidates) >= max_candidates:
        return None
    ordered = sorted(candidates, key=lambda candidate: candidate.learning_rate)
    rates = [candidate.learning_rate for candidate in ordered]
    mark = next((i for i, candidate in enumerate(ordered) if candidate.consistency > rule.threshold), len(ordered))
    if mark == 0:
        return rates[0] / COARSE
    best = min(range(min(mark + 1, len(ordered))), key=lambda index: ordered[index].loss)
    if mark == len(ordered) and len(ordered) - 1 - best < rule.num_worse:
        far = best == len(ordered) - 1 and ordered[-1].consistency < FAR * rule.threshold
        return rates[-1] * (COARSE if far else FINE)
    found = self_consistent_rate(ordered, initial_loss=initial_loss, rule=rule)
    if found.low is None:
        return rates[0] / FINE
    around = [found.low, rates[best], found.high] if found.limited_by == "loss" else [found.low, found.high]
    known = [rate for rate in around if rate is not None]
    for below, above in itertools.pairwise(known):
        if above / below > FINE * 1.01:
            return math.sqrt(above * below)
    return None


def candidates_of(run: RunMeasurements, *, optimizer: OptimizerSpec) -> tuple[Candidate, ...]:
    """Return the candidates of a run with their limits at its batch size."""

    def judged(measured: MeasuredCandidate) -> Candidate:
        if measured.stage is None:
            return Candidate(learning_rate=measured.learning_rate, limit=np.nan, loss=np.inf)
        limit = measured_limit(
            measured.stage, optimizer=optimizer, batch_size=run.batch_size, num_samples=run.num_samples
        )
        return Candidate(learning_rate=measured.learning_rate, limit=limit.value, loss=measured.stage.loss)

    return tuple(judged(measured) for measured in run.candidates)


def _crossing(below: Candidate, above: Candidate, threshold: float) -> float:
    """Interpolate ``log q`` linearly in ``log r`` to the threshold."""
    low, high = math.log(below.learning_rate), math.log(above.learning_rate)
    q_low, q_high = math.log(max(below.consistency, 1e-12)), math.log(above.consistency)
    return math.exp(low + (high - low) * (math.log(threshold) - q_low) / (q_high - q_low))
