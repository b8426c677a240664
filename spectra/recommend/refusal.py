"""Why nothing can be recommended, as failed checks: what a run says of itself, and advice from no measurement."""

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import get_args

from spectra.recommend.optimizer import OptimizerKind
from spectra.recommend.recommendation import Check, Recommendation, Verdict, verdict_of
from spectra.recommend.run import RunMeasurements

__all__ = ["refusal_attribute", "refusals", "with_refusals"]

#: Claims that fail because no steps were taken; said once, by the reason for which none were.
CONSEQUENCES = ("an optimizer was named", "measured after real steps or on a trained model")


def refusal_attribute(*, claim: str, observed: str, required: str, source: str = "design choice") -> str:
    """Return the value of a run's attribute ``refusal``: the check by whose failure the measurement ended.

    Examples
    --------
    >>> refusal_attribute(claim="the loss is finite", observed="nan", required="a finite number")[:32]
    '{"claim": "the loss is finite", '
    """
    return json.dumps({"claim": claim, "observed": observed, "required": required, "source": source})


def refusals(run: RunMeasurements) -> tuple[Check, ...]:
    """Return the failed checks that a run reports about its own measurement; empty where nothing went wrong.

    Parameters
    ----------
    run : RunMeasurements
        Read are the attributes ``refusal``, ``requested_optimizer`` and ``why_unsupported``, and ``status``.
    """
    attributes, found = run.attributes, []
    if attributes.get("refusal"):
        found.append(Check(passed=False, **json.loads(attributes["refusal"])))
    if attributes.get("why_unsupported"):
        found.append(
            Check(
                claim="the optimizer has a known stable limit",
                observed=f"{attributes.get('requested_optimizer', '')}: {attributes['why_unsupported']}",
                required=f"one of {', '.join(get_args(OptimizerKind))}",
                passed=False,
                source="spectra.recommend.unsupported",
            )
        )
    if not found and attributes.get("status") == "interrupted":
        found.append(
            Check(
                claim="the measurement ran to its end",
                observed=f"interrupted after {len(run.stages)} of {run.num_planned_stages} stages and "
                f"{len(run.candidates)} candidate rates",
                required="everything that was planned",
                passed=False,
                consequence=Verdict.TENTATIVE if run.stages else Verdict.WITHHELD,
            )
        )
    return tuple(found)


def with_refusals(rate: Recommendation, checks: Iterable[Check]) -> Recommendation:
    """Return a recommendation to which failed checks have been added; they come first and lower the verdict."""
    failed = tuple(checks)
    if not failed:
        return rate
    kept = tuple(check for check in rate.checks if check.claim not in CONSEQUENCES or check.passed)
    if not any(check.claim == "the optimizer has a known stable limit" for check in failed):
        kept = rate.checks
    lowest = Verdict.SUPPORTED if rate.verdict is Verdict.WITHHELD else rate.verdict
    verdict, reason = verdict_of((*failed, *kept), at_best=lowest, reason=rate.reason)
    if verdict is not Verdict.WITHHELD:
        return replace(rate, checks=(*failed, *kept), verdict=verdict, reason=reason)
    return replace(rate, checks=(*failed, *kept), verdict=verdict, reason=reason, value=None, low=None, high=None)
