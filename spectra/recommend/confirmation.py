r"""Does a learning rate still hold after twice the steps? If not it is halved; if stability held it back, doubled.

A few steps may not leave the plateau where training began, above all with small batches: then curvature, and with it
``q = r / r_max``, is still small, and rates look harmless that are not. So the rate that the search found is trained
with for ``2 s`` steps from the given state. It holds if there

* the loss is finite, and has not risen since step ``s`` by more than a tenth of what the first ``s`` steps gained;
* ``q`` is at most 3.

On the tuning tasks of docs/validation.md every rate that was found passes, with ``q`` up to 2.5. A rate that does not
hold is halved and tried again.

The opposite happens too. A rate beyond the limit that its first steps meet can flatten the curvature (training at the
edge of stability: Cohen et al. 2021, arXiv 2103.00065; the catapult of Lewkowycz et al. 2020, arXiv 2003.02218), and
the first rate past its own limit is where the search ends. So where stability ended it and the rate holds, its double
is followed as well, and taken if it holds and has gained at least a quarter more:

.. math:: L_0 - L_{2s}(2 r) \ge 1.25 (L_0 - L_{2s}(r)) ,

and so on from there. On the tuning tasks this doubles the rate of plain SGD on the recurrent network at two of three
batch sizes, where that lowers the regret, and else changes nothing.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spectra.recommend.limit import measured_limit
from spectra.recommend.optimizer import OptimizerSpec
from spectra.recommend.run import RunMeasurements

__all__ = ["Confirmation", "confirmations_of", "confirmed_rate", "next_confirmation"]

MAX_CONSISTENCY = 3.0
MAX_RISE = 0.1
MAX_TRIES = 4
#: What the double of a rate must have gained over what the rate did.
MIN_GAIN = 1.25


@dataclass(frozen=True, kw_only=True)
class Confirmation:
    """What became of a rate after twice the steps.

    Attributes
    ----------
    learning_rate : float
    limit : float
        Stable limit at the end; NaN if it diverged.
    midway_loss, loss : float
        Mean loss on the reference set after half of the steps and after all; ``inf`` if it diverged.
    """

    learning_rate: float
    limit: float
    midway_loss: float
    loss: float

    @property
    def diverged(self) -> bool:
        """Whether the steps ended in a loss that is not finite, or in none."""
        return not math.isfinite(self.loss)

    @property
    def consistency(self) -> float:
        """``q`` at the end; ``inf`` if it diverged."""
        return math.inf if self.diverged else self.learning_rate / self.limit

    def broken(self, initial_loss: float) -> str:
        """Return ``""`` if the rate holds, else ``"divergence"``, ``"loss"`` or ``"stability"``.

        Examples
        --------
        >>> Confirmation(learning_rate=1.0, limit=1.0, midway_loss=1.0, loss=0.5).broken(2.0)
        ''
        >>> Confirmation(learning_rate=1.0, limit=1.0, midway_loss=1.0, loss=1.2).broken(2.0)
        'loss'
        """
        if self.diverged:
            return "divergence"
        if self.loss > self.midway_loss + MAX_RISE * max(initial_loss - self.midway_loss, 0.0):
            return "loss"
        return "stability" if self.consistency > MAX_CONSISTENCY else ""


def next_confirmation(
    tried: Sequence[Confirmation], *, value: float, initial_loss: float, may_climb: bool = False
) -> float | None:
    """Return the rate to follow next, beginning with ``value``; None when the answer is known, or after four.

    Parameters
    ----------
    tried : sequence of Confirmation
        In the order in which they were tried.
    value : float
        The rate that the search found.
    initial_loss : float
        Loss on the reference set where every rate started.
    may_climb : bool
        Whether the double of a rate that holds is tried: where stability ended the search.

    Examples
    --------
    >>> next_confirmation([], value=0.5, initial_loss=2.0)
    0.5
    >>> risen = Confirmation(learning_rate=0.5, limit=1.0, midway_loss=1.0, loss=1.2)
    >>> next_confirmation([risen], value=0.5, initial_loss=2.0)
    0.25
    >>> held = Confirmation(learning_rate=0.5, limit=1.0, midway_loss=1.0, loss=0.8)
    >>> next_confirmation([held], value=0.5, initial_loss=2.0, may_climb=True)
    1.0
    """
    if not tried:
        return value
    if len(tried) >= MAX_TRIES:
        return None
    last = tried[-1]
    if tried[0].broken(initial_loss):
        return last.learning_rate / 2 if last.broken(initial_loss) else None
    climbs = may_climb and confirmed_rate(tried, initial_loss=initial_loss) == last.learning_rate
    return 2 * last.learning_rate if climbs else None


def confirmed_rate(tried: Sequence[Confirmation], *, initial_loss: float) -> float | None:
    """Return the smallest rate that holds, or the larger one whose gain is worth it; None if none holds.

    Parameters
    ----------
    tried : sequence of Confirmation
        In any order.
    initial_loss : float
        Loss on the reference set where every rate started.
    """
    found: Confirmation | None = None
    for candidate in sorted(tried, key=lambda c: c.learning_rate):
        if candidate.broken(initial_loss):
            continue
        if found is None or initial_loss - candidate.loss >= MIN_GAIN * (initial_loss - found.loss):
            found = candidate
    return None if found is None else found.learning_rate


def confirmations_of(run: RunMeasurements, *, optimizer: OptimizerSpec) -> tuple[Confirmation, ...]:
    """Return the confirmations of a run, the largest rate first, with their limits at its batch size."""
    found = []
    for measured in reversed(run.confirmations):
        limit, loss = np.nan, np.inf
        if measured.stage is not None:
            loss = measured.stage.loss
            limit = measured_limit(
                measured.stage, optimizer=optimizer, batch_size=run.batch_size, num_samples=run.num_samples
            ).value
        found.append(
            Confirmation(
                learning_rate=measured.learning_rate,
                limit=limit,
                midway_loss=np.inf if measured.midway_loss is None else measured.midway_loss,
                loss=loss,
            )
        )
    return tuple(found)
