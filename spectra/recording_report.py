"""The recording of a training run in words and numbers."""

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from spectra.recording import MEASURED, STATUS, is_resolved
from spectra.report import number, table

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["render_recording", "summarize_recording"]

#: What the table lists, in this order, where anything was recorded.
LISTED = (
    "sharpness",
    "preconditioned_sharpness",
    "noise_scale",
    "curvature_noise",
    "max_stable_learning_rate",
    "learning_rate",
    "learning_rate_margin",
    "reference_loss",
    "step_loss",
    "gradient_norm",
)
_SHOWN_FAILURES = 5
_ASIDE = {"num_failed": "failed", "num_unresolved": "not resolved"}


def summarize_recording(recording: "xr.Dataset") -> dict[str, Any]:
    """Return the content of a recording as nested plain values, ready for JSON once NaN is replaced.

    Parameters
    ----------
    recording : xarray.Dataset
        From :func:`spectra.recording.read_recording`.

    Returns
    -------
    dict
        ``schema``, ``schema_version``, ``attributes``, ``software``, ``steps`` (first, last, number measured and
        number noted), ``quantities`` by name (``first``, ``last``, ``median``, ``low`` and ``high`` over time,
        ``num_finite``, ``num_failed`` of those that are measured one by one, and ``num_unresolved`` of the noise scale,
        where it is no number) and ``failures``.
    """
    attrs = {name: value for name, value in recording.attrs.items() if name != "writer"}
    steps = recording["step"].values
    quantities: dict[str, dict[str, Any]] = {}
    for name in LISTED:
        values = recording[name].values
        measured = np.isfinite(values)
        kept = measured & is_resolved(recording) if name == "noise_scale" else measured
        finite = values[kept]
        failed = int(np.sum(recording[f"{name}_status"].values == _status("failed"))) if name in MEASURED else 0
        if not np.any(measured) and failed == 0:
            continue
        over_time = (
            {
                "first": float(finite[0]),
                "median": float(np.median(finite)),
                "last": float(finite[-1]),
                "low": float(np.min(finite)),
                "high": float(np.max(finite)),
            }
            if len(finite)
            else dict.fromkeys(("first", "median", "last", "low", "high"))
        )
        quantities[name] = {**over_time, "num_finite": len(finite), "num_failed": failed}
        if name == "noise_scale":
            quantities[name]["num_unresolved"] = int(np.sum(measured & ~kept))
    return {
        "schema": attrs.pop("schema"),
        "schema_version": int(attrs.pop("schema_version")),
        "software": json.loads(attrs.pop("software", "{}")),
        "failures": json.loads(attrs.pop("failures", "[]")),
        "attributes": attrs,
        "steps": {
            "first": int(steps[0]) if len(steps) else None,
            "last": int(steps[-1]) if len(steps) else None,
            "num_measured": len(steps),
            "num_noted": int(recording.sizes["training_step"]),
        },
        "quantities": quantities,
    }


def render_recording(recording: "xr.Dataset") -> str:
    """Return the summary of a recording for a terminal."""
    found = summarize_recording(recording)
    attrs, steps = found["attributes"], found["steps"]
    lines = [f"RECORDING of {attrs.get('task') or 'a training run'}, {attrs.get('status', 'status unknown')}"]
    described = _optimizer(attrs.get("optimizer", ""))
    lines.append(f"  {described}batch size {attrs.get('batch_size')}, {attrs.get('num_steps', 0)} steps")
    lines.append(
        f"  measured at {steps['num_measured']} steps on {attrs.get('reference_size')} samples, of which "
        f"{attrs.get('num_postponed', 0)} had to wait for the budget; scalars of {steps['num_noted']} steps"
    )
    if "overhead" in attrs:
        budget = attrs.get("overhead_budget")
        allowed = "" if budget is None else f" (budget {budget:.1%})"
        lines.append(f"  overhead {attrs['overhead']:.2%} of training time{allowed}")
    lines.append("  software: " + ", ".join(f"{name} {version}" for name, version in found["software"].items()))
    rows = [
        (
            name.replace("_", " "),
            *(number(row[key]) if row[key] is not None else "-" for key in ("first", "median", "last", "low", "high")),
            ", ".join(
                [str(row["num_finite"])] + [f"{row[key]} {word}" for key, word in _ASIDE.items() if row.get(key)]
            ),
        )
        for name, row in found["quantities"].items()
    ]
    sections = ["\n".join(lines)]
    if rows:
        sections.append(table(("quantity", "first", "median", "last", "lowest", "highest", "recorded"), rows))
    else:
        sections.append("nothing has been recorded yet")
    if found["failures"]:
        shown = found["failures"][-_SHOWN_FAILURES:]
        sections.append(
            "FAILURES\n"
            + "\n".join(f"  step {entry['step']}, {entry['quantity']}: {entry['reason']}" for entry in shown)
        )
    return "\n\n".join(sections)


def _status(word: str) -> int:
    return next(code for code, meaning in STATUS.items() if meaning == word)


def _optimizer(text: str) -> str:
    from spectra.recommend.optimizer import OptimizerSpec

    return OptimizerSpec.from_json(text).label + ", " if text else ""
