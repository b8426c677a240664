"""The rates that were followed for more steps than a candidate gets: they can decide the answer."""

from dataclasses import dataclass

from spectra.recommend.advice import Advice
from spectra.recommend.confirmation import confirmations_of
from spectra.report.blocks import Block, Table
from spectra.report.numbers import number

__all__ = ["FollowedRow", "followed_on", "followed_rates"]


@dataclass(frozen=True, kw_only=True)
class FollowedRow:
    """One learning rate that was followed on.

    Attributes
    ----------
    learning_rate : float
        Rate of the steps.
    num_steps : int
        Steps taken from the given state; fewer than planned where it diverged.
    midway_loss, loss : float
        Mean loss on the reference set after half of them and after all; ``inf`` if it diverged.
    max_stable_learning_rate, consistency : float
        Stable limit of the state at the end, and the rate over that limit.
    breaks : str
        ``""`` where it holds; ``"divergence"``, ``"loss"`` or ``"stability"``.
    """

    learning_rate: float
    num_steps: int
    midway_loss: float
    loss: float
    max_stable_learning_rate: float
    consistency: float
    breaks: str


def followed_rates(advice: Advice) -> tuple[FollowedRow, ...]:
    """Return the rates that were followed on, ascending; none for another batch size than the measured one."""
    run = advice.run
    if run.optimizer is None or not advice.candidates:
        return ()
    steps = {found.learning_rate: len(found.training_losses) for found in run.confirmations}
    rows = (
        FollowedRow(
            learning_rate=found.learning_rate,
            num_steps=steps[found.learning_rate],
            midway_loss=found.midway_loss,
            loss=found.loss,
            max_stable_learning_rate=found.limit,
            consistency=found.consistency,
            breaks=found.broken(advice.stages[0].loss),
        )
        for found in confirmations_of(run, optimizer=run.optimizer)
    )
    return tuple(sorted(rows, key=lambda row: row.learning_rate))


def followed_on(advice: Advice) -> tuple[Block, ...]:
    """Return the table of the rates that were followed on."""
    rows = tuple(
        (
            number(row.learning_rate),
            str(row.num_steps),
            number(row.midway_loss) if row.midway_loss != float("inf") else "diverged",
            number(row.loss) if row.loss != float("inf") else "diverged",
            number(row.max_stable_learning_rate),
            number(row.consistency, 2) if row.consistency != float("inf") else "-",
            row.breaks or "nothing",
        )
        for row in followed_rates(advice)
    )
    return (Table(("rate", "steps", "loss midway", "loss after", "its own limit", "q", "breaks"), rows),)
