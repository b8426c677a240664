"""What an analysis of a spectrum says, as plain values: law, edges, outliers, a verdict, and what to do next."""

import json
from typing import TYPE_CHECKING, Any

from spectra.errors import ArgumentError
from spectra.laws_verdict import laws_verdict, next_step

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["LAWS_REPORT_SCHEMA", "LAWS_REPORT_SCHEMA_VERSION", "summarize_laws"]

LAWS_REPORT_SCHEMA = "spectra/laws-report"
LAWS_REPORT_SCHEMA_VERSION = 1

#: Attributes that are no part of the answer.
_BULKY = ("software", "schema", "schema_version", "created", "platform", "remarks", "source_remarks")


def summarize_laws(analysis: "xr.Dataset") -> dict[str, Any]:
    """Return the content of a dataset of :func:`spectra.laws_analysis.analyze_spectrum` as nested plain values.

    ``"answer"`` has the ``"verdict"``: ``"supported"``, a law fits, no other does, its sizes are known, and the split
    can be trusted; ``"tentative"``, something of that is open; ``"withheld"``, neither law nor edges can be relied on.

    Raises
    ------
    ArgumentError
        If it is another dataset.
    """
    if analysis.attrs.get("schema") != "spectra/laws":
        raise ArgumentError(
            f"a dataset of spectra.laws_analysis.analyze_spectrum is required, got schema "
            f"{analysis.attrs.get('schema')!r}"
        )
    attributes = {str(key): _plain(value) for key, value in analysis.attrs.items()}
    laws = [
        {
            "law": name,
            "fits": bool(analysis["fits"].values[i]),
            "distance": float(analysis["distance"].values[i]),
            "distance_limit": float(analysis["distance_limit"].values[i]),
            "parameters": json.loads(str(analysis["parameters"].values[i])),
            "stderr": json.loads(str(analysis["stderr"].values[i])),
            "remark": str(analysis["law_remark"].values[i]),
        }
        for i, name in enumerate(analysis["law"].values.tolist())
    ]
    columns = ("value", "side", "residual", "p_value", "spike", "overlap")
    outliers = [
        dict(zip(columns, row, strict=True))
        for row in zip(*(analysis[name].values.tolist() for name in columns), strict=True)
    ]
    lowest = float(analysis["eigenvalue"].values[0])
    verdict, why = laws_verdict(attributes, laws)
    edges = {name: attributes[name] for name in ("low", "low_stderr", "low_kind", "high", "high_stderr")}
    thresholds = {name: attributes[name] for name in ("threshold", "low_threshold", "scale", "low_scale", "level")}
    return {
        "schema": LAWS_REPORT_SCHEMA,
        "schema_version": LAWS_REPORT_SCHEMA_VERSION,
        "answer": {
            "verdict": verdict,
            "why": why,
            "law": None if verdict == "withheld" else attributes["law"] or None,
            "num_outliers": len(outliers),
            "next_step": next_step(attributes, laws, outliers, is_semidefinite=lowest >= 0.0),
            **edges,
        },
        "laws": laws,
        "split": {
            "method": attributes["method"],
            **edges,
            **thresholds,
            **{name: attributes[name] for name in ("variance", "misfit", "misfit_limit", "heavy_tailed", "why")},
            "is_trustworthy": bool(attributes["is_trustworthy"]),
        },
        "outliers": outliers,
        "attributes": {key: value for key, value in attributes.items() if key not in _BULKY},
        "remarks": [
            text for key in ("source_remarks", "remarks") for text in str(attributes.get(key, "")).split("\n") if text
        ],
        "software": json.loads(attributes.get("software", "{}")),
    }


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value
