r"""Does a learning rate still hold after twice the steps? The rate that was found is followed on and, if not, halved.

A few steps may not leave the plateau where training began, above all with small batches: then curvature, and with it
``q = r / r_max``, is still small, and rates look harmless that are not. So the rate that the search found is trained
with for ``2 s`` steps from the given state. It holds if there

* the loss is finite, and has not risen since step ``s`` by more than a tenth of what the first ``s`` steps gained;
* ``q`` is at most 3.

On the tuning tasks of docs/validation.md every rate that was found passes, with ``q`` up to 2.5. A rate that does not
hold is halved and tried again.
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
    def consistency(self) -> float:
        """``q`` at the end; ``inf`` if it diverged."""
        return self.learning_rate / self.limit if math.isfinite(self.loss) else math.inf

    def broken(self, initial_loss: float) -> str:
        """Return ``""`` if the rate holds, else ``"divergence"``, ``"loss"`` or ``"stability"``.

        Examples
        --------
        >>> Confirmation(learning_rate=1.0, limit=1.0, midway_loss=1.0, loss=0.5).broken(2.0)
        ''
        >>> Confirmation(learning_rate=1.0, limit=1.0, midway_loss=1.0, loss=1.2).broken(2.0)
        'loss'
        """
        if not math.isfinite(self.loss):
            return "divergence"
        if self.loss > self.midway_loss + MAX_RISE * max(initial_loss - self.midway_loss, 0.0):
            return "loss"
        return "stability" if self.consistency > MAX_CONSISTENCY else ""


def next_confirmation(tried: Sequence[Confirmation], *, value: float, initial_loss: float) -> float | None:
    """Return the rate to follow next, beginning with ``value``; None when one holds, or four do not.

    Examples
    --------
    >>> next_confirmation([], value=0.5, initial_loss=2.0)
    0.5
    >>> risen = Confirmation(learning_rate=0.5, limit=1.0, midway_loss=1.0, loss=1.2)
    >>> next_confirmation([risen], value=0.5, initial_loss=2.0)
    0.25
    """
    if not tried:
        return value
    if not tried[-1].broken(initial_loss) or len(tried) >= MAX_TRIES:
        return None
    return tried[-1].learning_rate / 2


def confirmed_rate(tried: Sequence[Confirmation], *, initial_loss: float) -> float | None:
    """Return the largest rate that holds, or None."""
    return max((c.learning_rate for c in tried if not c.broken(initial_loss)), default=None)


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
