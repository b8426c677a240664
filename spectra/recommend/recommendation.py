"""What a rule returns: a number with an interval, a verdict, the checks behind it and the evidence.

A computation that went badly is data here, never an exception: a failed :class:`Check` lowers the verdict, and a
``WITHHELD`` recommendation still carries everything that was measured.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

__all__ = ["Check", "Recommendation", "Verdict", "verdict_of"]


class Verdict(StrEnum):
    """How far a recommendation can be trusted.

    ``SUPPORTED``: every check passed. ``TENTATIVE``: usable, but a named check failed or no tight rule is known.
    ``WITHHELD``: the evidence does not carry a recommendation; the measurements are shown all the same.
    """

    SUPPORTED = "SUPPORTED"
    TENTATIVE = "TENTATIVE"
    WITHHELD = "WITHHELD"


@dataclass(frozen=True, kw_only=True)
class Check:
    """One claim that was tested against the measurements.

    Attributes
    ----------
    claim : str
        The statement, e.g. ``"the top Ritz pair has converged"``.
    observed, required : str
        What was measured and what the rule asks for, with units.
    passed : bool
        Whether the claim holds.
    consequence : Verdict
        Verdict that a failure imposes; irrelevant when ``passed``.
    source : str
        Where the threshold comes from (paper, or ``"design choice"``).
    """

    claim: str
    observed: str
    required: str
    passed: bool
    consequence: Verdict = Verdict.WITHHELD
    source: str = "design choice"


@dataclass(frozen=True, kw_only=True)
class Recommendation:
    """A recommended quantity.

    Attributes
    ----------
    quantity : str
        Name from the vocabulary of the project, e.g. ``"learning_rate"``.
    value, low, high : float or None
        Point value and interval in ``unit``; ``None`` when not resolved.
    unit : str
        ``"1"`` for learning rates, ``"samples"`` for batch sizes.
    interval : str
        What ``[low, high]`` means.
    verdict : Verdict
        Trust, with ``reason`` as one sentence.
    checks : tuple of Check
        Everything that was tested on the way.
    evidence : dict
        Named numbers and words behind the value.
    """

    quantity: str
    value: float | None
    low: float | None = None
    high: float | None = None
    unit: str = "1"
    interval: str = ""
    verdict: Verdict
    reason: str
    checks: tuple[Check, ...] = ()
    evidence: dict[str, float | str | None] = field(default_factory=dict)


def verdict_of(
    checks: Iterable[Check], *, at_best: Verdict = Verdict.SUPPORTED, reason: str = ""
) -> tuple[Verdict, str]:
    """Return the worst verdict that the failed checks impose, and the sentence that says why.

    Parameters
    ----------
    checks : iterable of Check
        The checks of one recommendation.
    at_best : Verdict
        Verdict when every check passes (a rule without a validated track record is ``TENTATIVE`` at best).
    reason : str
        Sentence for ``at_best``.

    Examples
    --------
    >>> failed = Check(claim="loss is finite", observed="nan", required="finite", passed=False)
    >>> verdict_of([failed])
    (<Verdict.WITHHELD: 'WITHHELD'>, 'loss is finite: observed nan, required finite')
    """
    order = list(Verdict)
    failed = [check for check in checks if not check.passed]
    worst = max([at_best, *(check.consequence for check in failed)], key=order.index)
    decisive = [check for check in failed if check.consequence is worst]
    if decisive:
        first = decisive[0]
        return worst, f"{first.claim}: observed {first.observed}, required {first.required}"
    return worst, reason or "every check passed"
