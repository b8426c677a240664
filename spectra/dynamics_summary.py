"""What a prediction of training says, as plain values: the answer with its verdict, and the numbers behind it."""

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from spectra.dynamics.answer_verdict import NOTHING, answer_verdict
from spectra.dynamics.checks import VERDICT
from spectra.dynamics.stability import NEAR_CRITICAL
from spectra.dynamics_tree import DYNAMICS_SCHEMA, problem_of
from spectra.errors import ArgumentError

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["DYNAMICS_REPORT_SCHEMA", "DYNAMICS_REPORT_SCHEMA_VERSION", "summarize_dynamics"]

DYNAMICS_REPORT_SCHEMA = "spectra/dynamics-report"
DYNAMICS_REPORT_SCHEMA_VERSION = 1

#: The ends of the flat region are known to 2 %.
AT_THE_CAP = 0.02

RESHUFFLED = (
    "batches are drawn independently; the noise of reshuffled epochs, as of a DataLoader, is smaller, and their losses "
    "differ by 20 to 30%"
)

_BULKY = ("software", "schema", "schema_version")
_ORIGIN = ("created", "platform", "problem", "closure")


def summarize_dynamics(tree: "xr.DataTree") -> dict[str, Any]:
    """Return the content of a tree of :func:`spectra.dynamics_tree.predict` as nested plain values.

    ``answer["verdict"]`` is that of :func:`spectra.dynamics.answer_verdict.answer_verdict`. Where it is ``"withheld"``,
    ``answer["learning_rate"]`` is None, and ``answer["predicted_learning_rate"]`` what was refuted.

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
    if summary["best"]:
        summary["answer"] = _answer(summary)
    if "saturation" in tree.children and _tells(tree["saturation"].attrs["target"], summary):
        found = tree["saturation"].to_dataset()
        summary["saturation"] = {
            **{str(key): _plain(value) for key, value in found.attrs.items() if key not in (*_BULKY, *_ORIGIN)},
            "rows": _rows(tree, "saturation", "batch_size"),
        }
    return summary


def _tells(target: float, summary: dict[str, Any]) -> bool:
    """Whether a target says something: not below zero, where training cannot follow, nor the start itself."""
    is_attainable = not target < 0 <= summary["problem"]["loss"]
    return is_attainable and not summary["answer"]["why"].startswith(NOTHING)


def _answer(summary: dict[str, Any]) -> dict[str, Any]:
    best, problem = summary["best"][0], summary["problem"]
    settings = summary["attributes"]
    found = answer_verdict(best, summary["check"], settings=settings, start=problem["loss"])
    return {
        "verdict": found.verdict,
        "why": found.why,
        "learning_rate": None if found.verdict == "withheld" else best["learning_rate"],
        "predicted_learning_rate": best["learning_rate"],
        "low": best["low"],
        "high": best["high"],
        "is_high_the_cap": best["high"] >= _cap(best) * (1 - AT_THE_CAP),
        "batch_size": best["batch_size"],
        "num_steps": settings["num_steps"],
        "num_epochs": _epochs(settings["num_steps"] * best["batch_size"], problem["num_samples"]),
        "loss_at_start": problem["loss"],
        "loss": best["loss"],
        "limited_by": _limited_by(best),
        "batches": RESHUFFLED,
    }


def _cap(best: dict[str, Any]) -> float:
    return NEAR_CRITICAL * float(min(best["usable_learning_rate"], best["noise_free_learning_rate"]))


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
            **{name: _plain(at[name]) for name in ("is_stable", "caution") if name in at},
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
    settings = ("closure", "momentum", "nesterov", "batch_size", "num_samples", "num_runs", "tolerance", "seed")
    return {
        **{name: _plain(data.attrs.get(name)) for name in settings},
        "num_steps": int(data["step"].values[-1]),
        "rows": [
            {
                "learning_rate": float(rate),
                **{name: _plain(at[name]) for name in VERDICT},
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
