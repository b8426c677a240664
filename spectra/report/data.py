"""Advice as plain values, for JSON: versioned, and never NaN or infinity."""

from dataclasses import asdict
from typing import Any

from spectra.recommend.advice import Advice
from spectra.recommend.recommendation import Recommendation, Verdict
from spectra.report.answer import answer
from spectra.report.cost import cost
from spectra.report.followed import followed_rates
from spectra.report.numbers import finite_or_null
from spectra.report.paste import paste_lines
from spectra.report.why import why

__all__ = ["ADVICE_SCHEMA", "ADVICE_SCHEMA_VERSION", "advice_data"]

ADVICE_SCHEMA = "spectra/advice"

#: 1 had no candidates, answer, why, paste and cost.
ADVICE_SCHEMA_VERSION = 2


def advice_data(advice: Advice) -> dict[str, Any]:
    """Return everything that a page says, and the measurements behind it."""
    run = advice.run
    return finite_or_null(  # type: ignore[no-any-return]
        {
            "schema": ADVICE_SCHEMA,
            "schema_version": ADVICE_SCHEMA_VERSION,
            "verdict": str(advice.verdict),
            "answer": answer(advice),
            "task": run.attributes.get("task"),
            "optimizer": asdict(run.optimizer) if run.optimizer else None,
            "requested_optimizer": run.attributes.get("requested_optimizer") or None,
            "batch_size": advice.requested_batch_size,
            "schedule": advice.schedule,
            "constant_learning_rate": advice.constant_learning_rate,
            "linear_decay_peak": advice.linear_decay_peak,
            "recommendations": {item.quantity: _shown(item) for item in advice.recommendations},
            "why": list(why(advice).items),
            "candidates": [asdict(row) for row in advice.candidates],
            "followed_on": [asdict(row) for row in followed_rates(advice)],
            "curve": [asdict(row) for row in advice.curve],
            "stages": [asdict(row) for row in advice.stages],
            "alternatives": [asdict(item) for item in advice.alternatives],
            "paste": {name: code.text for name, code in paste_lines(advice).items()},
            "cost": cost(advice),
            "next_command": advice.next_command,
            "run": {key: value for key, value in run.attributes.items() if isinstance(value, str | int | float)},
        }
    )


def _shown(item: Recommendation) -> dict[str, Any]:
    """Return a recommendation; without its number where the pages withhold that."""
    found = asdict(item)
    return found | ({"value": None, "low": None, "high": None} if item.verdict is Verdict.WITHHELD else {})
