r"""Does a learning rate still hold after twice the steps? Its half or its double may do better.

A few steps may not leave the plateau where training began, above all with small batches: then curvature, and with it
``q = r / r_max``, is still small, and rates look harmless that are not. So the rate that the search found is trained
with for ``2 s`` steps from the given state. It holds if there

* the loss is finite, and has not risen since step ``s`` by more than a tenth of what the first ``s`` steps gained;
* ``q`` is at most 3.

While the loss has fallen by less than a quarter, training has not left the plateau, and the ``2 s`` steps are followed
by ``2 s`` more before that is judged.

On the tuning tasks of docs/validation.md every rate that was found passes, with ``q`` up to 2.5. A rate that does not
hold is halved and tried again.

The opposite happens too. A rate beyond the limit that its first steps meet can flatten the curvature (training at the
edge of stability: Cohen et al. 2021, arXiv 2103.00065; the catapult of Lewkowycz et al. 2020, arXiv 2003.02218), and
the first rate past its own limit is where the search ends. So where stability ended it and the rate holds, its double
is followed as well, and taken if it holds and has gained at least a quarter more after the same number of steps:

.. math:: L_0 - L_{2s}(2 r) \ge 1.25 (L_0 - L_{2s}(r)) ,

and so on from there. Where on the other hand a rate holds with ``q > 1``, its half is followed, and taken if its loss
is lower.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spectra.recommend.limit import measured_limit
from spectra.recommend.optimizer import OptimizerSpec
from spectra.recommend.run import RunMeasurements
from spectra.recommend.self_consistent import Candidate

__all__ = ["Confirmation", "confirmations_of", "confirmed_rate", "is_on_plateau", "next_confirmation"]

MAX_CONSISTENCY = 3.0
MAX_RISE = 0.1
MAX_TRIES = 5
#: What the double of a rate must have gained over what the rate did.
MIN_GAIN = 1.25
#: A loss above this part of the initial one is one of the plateau where training began.
PLATEAU = 0.75
#: Losses are looked at after so many times the steps of a candidate; the last only where training is on the plateau.
FOLLOWED = (1, 2, 4)


@dataclass(frozen=True, kw_only=True)
class Confirmation(Candidate):
    """What became of a rate after two or four times the steps of a candidate.

    Attributes
    ----------
    midway_loss : float
        Mean loss after half of the steps; ``inf`` if it had diverged. In the units of the loss.
    """

    midway_loss: float

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
        # Negated, so that a midway loss that is NaN breaks it too.
        if not self.loss <= self.midway_loss + MAX_RISE * max(initial_loss - self.midway_loss, 0.0):
            return "loss"
        return "stability" if self.consistency > MAX_CONSISTENCY else ""


def is_on_plateau(loss: float, *, initial_loss: float) -> bool:
    """Whether the loss has fallen by less than a quarter of the initial one.

    Examples
    --------
    >>> is_on_plateau(1.8, initial_loss=2.0), is_on_plateau(1.2, initial_loss=2.0)
    (True, False)
    """
    return loss > initial_loss - (1 - PLATEAU) * abs(initial_loss)


def next_confirmation(
    tried: Sequence[Confirmation], *, value: float, initial_loss: float, may_climb: bool = False
) -> float | None:
    """Return the rate to follow next, beginning with ``value``; None when the answer is known, or after five.

    Parameters
    ----------
    tried : sequence of Confirmation
        In any order.
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
    rates = [confirmation.learning_rate for confirmation in tried]
    taken = confirmed_rate(tried, initial_loss=initial_loss, value=value)
    if taken is None:
        return min(rates) / 2
    if may_climb and taken == max(rates):
        return 2 * taken
    consistency = next(c.consistency for c in tried if c.learning_rate == taken)
    return taken / 2 if consistency > 1 and taken == min(rates) else None


def confirmed_rate(tried: Sequence[Confirmation], *, initial_loss: float, value: float) -> float | None:
    """Return the rate to recommend of those that were followed, or None if none holds.

    Parameters
    ----------
    tried : sequence of Confirmation
        In any order.
    initial_loss : float
        Loss on the reference set where every rate started.
    value : float
        The rate that the search found: larger ones have to gain :data:`MIN_GAIN` times as much.

    Examples
    --------
    >>> tried = [Confirmation(learning_rate=r, limit=1.0, midway_loss=1.5, loss=1.4 - r / 2) for r in (0.5, 1.0)]
    >>> confirmed_rate(tried, initial_loss=2.0, value=1.0), confirmed_rate(tried, initial_loss=2.0, value=0.5)
    (1.0, 1.0)
    """
    found: Confirmation | None = None
    for larger in sorted(tried, key=lambda confirmation: confirmation.learning_rate):
        if larger.broken(initial_loss):
            continue
        if found is None or _gains_enough(larger, found, initial_loss=initial_loss, value=value):
            found = larger
    return None if found is None else found.learning_rate


def _gains_enough(larger: Confirmation, found: Confirmation, *, initial_loss: float, value: float) -> bool:
    """Whether a rate takes the place of a smaller one."""
    if larger.learning_rate <= value * (1 + 1e-9):
        return larger.loss <= found.loss
    needed = MIN_GAIN * max(initial_loss - found.loss, 0.0)
    return larger.loss < found.loss and initial_loss - larger.loss >= needed


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
