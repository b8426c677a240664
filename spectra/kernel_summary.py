"""What an analysis of a kernel says, as plain values: the answer with its verdict, and the numbers behind it."""

import json
import math
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from spectra.errors import ArgumentError
from spectra.kernels.analysis import KERNEL_SCHEMA

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["KERNEL_REPORT_SCHEMA", "KERNEL_REPORT_SCHEMA_VERSION", "WARNING", "readable", "summarize_kernel"]

KERNEL_REPORT_SCHEMA = "spectra/kernel-report"
KERNEL_REPORT_SCHEMA_VERSION = 1

#: Attributes that are no part of the answer.
_BULKY = ("software", "schema", "schema_version", "remarks", "created", "platform")
#: Share of the error that a harmless ridge adds.
HARMLESS = 0.01
#: Shares of explained variance below which nothing was learned: a prediction of the mean has 0.
NOTHING = 0.0
#: Standard errors above an estimate within which an error is, if the logarithmic interval does not end before: beyond
#: a ratio of 2 the latter reaches to any size, which says nothing (design choice).
FAR = 10.0
#: Relative standard error of the mean of k(x, x) from which few samples carry the kernel. Measured with the polynomial
#: kernel of degree 3 and 30 to 500 samples of three features: exceeded in at least 95 % of draws of Student's t with 3
#: degrees of freedom, where 14 of 40 fits would be supported with a test error above that of the mean, none beyond it;
#: in 17 % of draws of Gaussian inputs at 30 samples, never from 120 on.
FEW = 0.3
#: How a reason of `spectra.kernels.kernel_risk.distrust` begins, beside a verdict that says so already.
WARNING = "Do not rely on this fit: "


def summarize_kernel(tree: "xr.DataTree") -> dict[str, Any]:
    """Return the content of a tree of :func:`spectra.kernels.analyze` as nested plain values.

    ``answer`` is None where there are no targets. Its ``"verdict"`` is ``"supported"``, ``"tentative"`` or
    ``"withheld"``; where it is withheld, ``"ridge"`` is None and ``"best_ridge"`` what was found.

    Raises
    ------
    ArgumentError
        If it is another tree.
    """
    if tree.attrs.get("schema") != KERNEL_SCHEMA:
        raise ArgumentError(f"a tree of spectra.kernels.analyze is required, got schema {tree.attrs.get('schema')!r}")
    attributes = {str(key): _plain(value) for key, value in tree.attrs.items() if key not in _BULKY}
    summary: dict[str, Any] = {
        "schema": KERNEL_REPORT_SCHEMA,
        "schema_version": KERNEL_REPORT_SCHEMA_VERSION,
        "answer": _answer(tree),
        "attributes": attributes,
        "remarks": json.loads(tree.attrs.get("remarks", "[]")),
        "software": json.loads(tree.attrs.get("software", "{}")),
    }
    for name in ("decay", "regime", "condition", "best", "risk"):
        summary[name] = _attributes(tree, name)
    if summary["regime"] is not None:
        summary["regime"]["sizes"] = _rows(tree, "regime", ("size",))
    summary["dimension"] = _rows(tree, "dimension", ("ridge",))
    summary["learning_curve"] = _rows(tree, "curve", ("num_samples", "ridge"))
    summary["extrapolation"] = _rows(tree, "extrapolation", ("num_samples", "ridge"))
    return summary


def readable(text: str) -> str:
    """Return a text with its long decimals cut to four digits.

    Examples
    --------
    >>> readable("RBF(length_scale=0.19771325768774423)")
    'RBF(length_scale=0.1977)'
    """
    return re.sub(r"\d+\.\d{5,}(e[-+]?\d+)?", lambda found: f"{float(found[0]):.4g}", text)


def _answer(tree: "xr.DataTree") -> dict[str, Any] | None:
    """Return ridge, predicted error and verdict; None without targets."""
    if "risk" not in tree.children:
        return None
    best, risk = tree["best"].attrs, tree["risk"].attrs
    verdict, why = _verdict(best, risk, float(tree.attrs.get("diagonal_spread", 0.0)))
    return {
        "verdict": verdict,
        "why": why,
        "ridge": None if verdict == "withheld" else best["ridge"],
        "best_ridge": best["ridge"],
        "ridge_per_sample": best["ridge_per_sample"],
        "place": best["place"],
        "low": best["low"],
        "high": best["high"],
        "harmless_ridge": _harmless(tree),
        "test_error": risk["risk"],
        "test_error_low": risk["low"],
        "test_error_high": risk["high"],
        "level": risk["level"],
        "explained": risk["explained"],
        "num_samples": int(risk["num_samples"]),
        "held_out_error": risk["held_out_error"],
        "held_out_stderr": risk["held_out_stderr"],
        "num_held_out": int(risk["num_held_out"]),
    }


def _harmless(tree: "xr.DataTree") -> float:
    """Return the largest ridge that was tried with an error of at most 1 % above the lowest."""
    best = tree["best"].to_dataset()
    near = best["grid_risk"].values <= (1 + HARMLESS) * tree["risk"].attrs["risk"]
    return float(max(best["grid"].values[near], default=best.attrs["ridge"]))


def _verdict(best: dict[Any, Any], risk: dict[Any, Any], diagonal_spread: float = 0.0) -> tuple[str, str]:
    """Return whether ridge and error can be relied on, and the reason."""
    if not risk["label_variance"] > 0:
        return "withheld", "all targets are equal: there is nothing to learn but their value"
    if not risk["is_trustworthy"]:
        # What speaks against the estimate is a warning only where its whole interval is far from learning nothing.
        at_most = min(risk["high"], risk["risk"] + FAR * risk["stderr"])
        why = str(risk["why"]).removeprefix(WARNING)
        return "tentative" if at_most < risk["label_variance"] else "withheld", why
    if risk["explained"] <= NOTHING:
        return "withheld", "the kernel predicts no better than the mean of the targets"
    if risk["high"] > risk["label_variance"]:
        return "tentative", "within its interval the error could be that of predicting the mean"
    if best["place"] == "none needed":
        return "tentative", "the smallest ridge is best: errors there rest on the smallest eigenvalues, near rounding"
    if best["place"] == "at the top":
        return "tentative", "the largest ridge that was tried is best: the kernel adds little"
    held_out, stderr = risk["held_out_error"], risk["held_out_stderr"]
    if math.isfinite(held_out) and abs(held_out - risk["risk"]) > 3 * math.hypot(stderr, risk["stderr"]):
        text = f"samples that were not drawn have the error {held_out:.3g} +- {stderr:.2g}, which differs"
        return "tentative", text
    if diagonal_spread > FEW:
        return "tentative", (
            "a few samples far out carry most of the kernel, and errors on new ones that are farther out may be much "
            "larger; transform heavy-tailed features, or take a bounded kernel such as rbf"
        )
    return "supported", "the error is clearly below that of predicting the mean, and the matrix is well conditioned"


def _attributes(tree: "xr.DataTree", name: str) -> dict[str, Any] | None:
    """Return the attributes of a part, remarks as a list."""
    if name not in tree.children:
        return None
    found = {str(key): _plain(value) for key, value in tree[name].attrs.items() if key not in _BULKY}
    remarks = tree[name].attrs.get("remarks", "")
    if remarks.startswith("["):
        found["remarks"] = json.loads(remarks)
    else:
        found["remarks"] = [line for line in remarks.split("\n") if line]
    return found


def _rows(tree: "xr.DataTree", group: str, dims: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return a table as one mapping for each point of its grid."""
    if group not in tree.children:
        return []
    dataset = tree[group].to_dataset()
    whole = dataset[[name for name in dataset.data_vars if dataset[name].dims == dims]]
    stacked = whole.to_dataframe().reset_index().to_dict("records")
    return [{str(key): _plain(value) for key, value in row.items()} for row in stacked]


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
