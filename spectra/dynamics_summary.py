"""What a prediction of training says, as plain values: the answer with its verdict, and the numbers behind it."""

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from spectra.dynamics.stability import NEAR_CRITICAL
from spectra.dynamics_tree import DYNAMICS_SCHEMA, problem_of
from spectra.errors import ArgumentError

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["DYNAMICS_REPORT_SCHEMA", "DYNAMICS_REPORT_SCHEMA_VERSION", "summarize_dynamics"]

DYNAMICS_REPORT_SCHEMA = "spectra/dynamics-report"
DYNAMICS_REPORT_SCHEMA_VERSION = 1

#: Learning rates this close are the same one, printed in three digits.
SAME = 0.01

#: By how much another learning rate must do better to refute the answer: beyond this share of its loss (the tolerance
#: of a check), and this many standard errors.
ALLOWED, RESOLVED = 0.1, 2.0

_BULKY = ("software", "schema", "schema_version")
_ORIGIN = ("created", "platform", "problem", "closure")


def summarize_dynamics(tree: "xr.DataTree") -> dict[str, Any]:
    """Return the content of a tree of :func:`spectra.dynamics_tree.predict` as nested plain values.

    The verdict is ``"confirmed"`` where real training, at the answer and at the smaller rates tried, stayed with its
    prediction for the whole budget; ``"tentative"`` where it did so at the answer alone, or nothing was compared with
    training; and ``"withheld"`` where training at the answer left its prediction or was clearly worse than at another
    rate, or nothing finite is predicted. ``answer["learning_rate"]`` is None then, and
    ``answer["predicted_learning_rate"]`` what was refuted.

    Raises
    ------
    ArgumentError
        If it is another tree.
    """
    if tree.attrs.get("schema") != DYNAMICS_SCHEMA:
        raise ArgumentError(
            f"a tree of spectra.dynamics_tree.predict is required, got schema {tree.attrs.get('schema')!r}"
        )
    attributes = {str(key): _plain(value) for key, value in tree.attrs.items() if key not in _BULKY}
    summary: dict[str, Any] = {
        "schema": DYNAMICS_REPORT_SCHEMA,
        "schema_version": DYNAMICS_REPORT_SCHEMA_VERSION,
        "answer": None,
        "attributes": attributes,
        "software": json.loads(tree.attrs.get("software", "{}")),
        "problem": _problem(tree),
        "best": _rows(tree, "best", "batch_size"),
        "curves": _curves(tree),
        "saturation": None,
        "check": _check(tree),
    }
    if "saturation" in tree.children:
        found = tree["saturation"].to_dataset()
        summary["saturation"] = {
            **{str(key): _plain(value) for key, value in found.attrs.items() if key not in (*_BULKY, *_ORIGIN)},
            "rows": _rows(tree, "saturation", "batch_size"),
        }
    if summary["best"]:
        summary["answer"] = _answer(summary)
    return summary


def _answer(summary: dict[str, Any]) -> dict[str, Any]:
    best, problem, check = summary["best"][0], summary["problem"], summary["check"]
    settings = summary["attributes"]
    rate = best["learning_rate"]
    verdict, why = "tentative", "not compared with real training"
    if not math.isfinite(best["loss"]):
        verdict, why = "withheld", "the predicted loss is not finite at any learning rate that was tried"
    elif check is not None:
        at = [row for row in check["rows"] if abs(row["learning_rate"] / rate - 1) < SAME]
        same = check["batch_size"] == best["batch_size"] and check["num_steps"] >= settings["num_steps"]
        if not at or not same:
            verdict, why = _elsewhere(check, rate, settings["num_steps"])
        else:
            verdict, why = _at_the_answer(at[0], check["rows"], settings["num_steps"])
    return {
        "verdict": verdict,
        "why": why,
        "learning_rate": None if verdict == "withheld" else rate,
        "predicted_learning_rate": rate,
        "low": best["low"],
        "high": best["high"],
        "batch_size": best["batch_size"],
        "num_steps": settings["num_steps"],
        "num_epochs": _epochs(settings["num_steps"] * best["batch_size"], problem["num_samples"]),
        "loss_at_start": problem["loss"],
        "loss": best["loss"],
        "limited_by": _limited_by(best),
    }


def _at_the_answer(row: dict[str, Any], rows: list[dict[str, Any]], num_steps: int) -> tuple[str, str]:
    """Return the verdict of training at the answer: that it is the best rate rests on the predictions of others too."""
    if row["trusted_steps"] < num_steps:
        return "withheld", row["reason"]
    for other in sorted(rows, key=lambda found: found["loss"][-1]):
        scatter = RESOLVED * math.hypot(row["stderr"][-1], other["stderr"][-1])
        if other["loss"][-1] + ALLOWED * abs(other["loss"][-1]) + scatter < row["loss"][-1]:
            return "withheld", (
                f"the prediction holds here, but training at learning rate {other['learning_rate']:.3g} reached "
                f"{other['loss'][-1]:.3g}, and {row['loss'][-1]:.3g} at the best predicted"
            )
    failed = [other for other in rows if other["learning_rate"] < row["learning_rate"] and _left(other, num_steps)]
    if failed:
        rates = ", ".join(f"{other['learning_rate']:.3g}" for other in failed)
        return "tentative", f"the prediction holds here, but not at {rates}, so that another rate may be better"
    return "confirmed", row["reason"]


def _left(row: dict[str, Any], num_steps: int) -> bool:
    """Whether training left the prediction within the budget."""
    return not row["is_trusted_throughout"] and bool(row["trusted_steps"] < num_steps)


def _elsewhere(check: dict[str, Any], rate: float, num_steps: int) -> tuple[str, str]:
    """Return the verdict of a check at other settings: a failure nearby before the budget speaks against the answer."""
    nearest = min(check["rows"], key=lambda row: abs(math.log(row["learning_rate"] / rate)))
    where = f"at learning rate {nearest['learning_rate']:.3g} and batch size {check['batch_size']}"
    if _left(nearest, num_steps):
        return "withheld", f"not compared with training at this setting, and {where} {nearest['reason']}"
    return "tentative", f"not compared with training at this setting; {where} {nearest['reason']}"


def _limited_by(best: dict[str, Any]) -> str:
    """Say what keeps the best learning rate from being larger."""
    usable, free = best["usable_learning_rate"], best["noise_free_learning_rate"]
    refused = not math.isfinite(best["critical_learning_rate"])
    noiseless = free <= usable
    name = "noise-free" if noiseless else "row-safe" if refused else "critical"
    limit = min(usable, free)
    share = f"{best['learning_rate'] / limit:.0%} of the {name} rate {limit:.3g}"
    if best["is_capped"]:
        text = f"the cap at {NEAR_CRITICAL:.0%} of the {name} rate {limit:.3g}"
        if refused:
            return f"{text}, which takes the place of the critical one ({best['reason']})"
        return text if noiseless else f"{text}: beyond it the average rests on rare runs"
    if refused:
        return f"the budget: it is {share}, which takes the place of the critical one ({best['reason']})"
    larger = "overshoot steep directions" if noiseless else "leave more gradient noise"
    return f"the budget: at {share}, smaller ones are slower and larger ones {larger}"


def _problem(tree: "xr.DataTree") -> dict[str, Any]:
    problem = problem_of(tree)
    return {
        "name": problem.name,
        "num_samples": problem.num_samples,
        "num_nodes": int(problem.eigenvalue.size),
        "largest_eigenvalue": problem.largest,
        "trace": problem.trace,
        "loss": problem.loss,
        "lowest_loss": problem.offset + problem.floor,
        "floor": problem.floor,
        "offset": problem.offset,
        "rows_per_sample": problem.rows_per_sample,
        "largest_row": problem.largest_row,
        "evidence": dict(problem.evidence),
    }


def _curves(tree: "xr.DataTree") -> list[dict[str, Any]]:
    if "curves" not in tree.children:
        return []
    data = tree["curves"].to_dataset()
    return [
        {
            "learning_rate": float(rate),
            "batch_size": int(size),
            **{name: _plain(at[name]) for name in ("critical_learning_rate", "kernel_norm", "floor")},
            "step": data["step"].values.tolist(),
            "loss": at["loss"].values.tolist(),
            "noise_free_loss": at["noise_free_loss"].values.tolist(),
        }
        for i, rate in enumerate(data["learning_rate"].values)
        for j, size in enumerate(data["batch_size"].values)
        for at in [data.isel(learning_rate=i, batch_size=j)]
    ]


def _check(tree: "xr.DataTree") -> dict[str, Any] | None:
    if "check" not in tree.children:
        return None
    data = tree["check"].to_dataset()
    names = ("loss", "stderr", "predicted_loss", "noise_free_loss")
    verdict = ("trusted_steps", "trusted_epochs", "is_trusted_throughout", "closer", "reason")
    return {
        **{name: _plain(data.attrs.get(name)) for name in ("batch_size", "num_runs", "tolerance", "seed", "closure")},
        "num_steps": int(data["step"].values[-1]),
        "rows": [
            {
                "learning_rate": float(rate),
                **{name: _plain(at[name]) for name in verdict},
                "step": data["step"].values.tolist(),
                **{name: at[name].values.tolist() for name in names},
            }
            for i, rate in enumerate(data["learning_rate"].values)
            for at in [data.isel(learning_rate=i)]
        ],
    }


def _rows(tree: "xr.DataTree", group: str, dimension: str) -> list[dict[str, Any]]:
    if group not in tree.children:
        return []
    data = tree[group].to_dataset()
    names = [dimension, *(str(name) for name in data.data_vars)]
    return [{name: _plain(data[name].values[i]) for name in names} for i in range(data.sizes[dimension])]


def _epochs(seen: float, num_samples: int | None) -> float | None:
    return None if num_samples is None else seen / num_samples


def _plain(value: Any) -> Any:
    if hasattr(value, "values") and not isinstance(value, dict):
        value = value.values
    return value.item() if isinstance(value, np.ndarray | np.generic) else value
