"""What spectra of weight matrices say, as plain values: what each matrix looks like, and the numbers behind it."""

import json
import math
from collections import Counter
from typing import TYPE_CHECKING, Any

from spectra.errors import ArgumentError

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["LOOKS", "WEIGHTS_REPORT_SCHEMA", "WEIGHTS_REPORT_SCHEMA_VERSION", "summarize_weights"]

WEIGHTS_REPORT_SCHEMA = "spectra/weights-report"
WEIGHTS_REPORT_SCHEMA_VERSION = 1

#: What a matrix looks like, in the order of the first line.
LOOKS = (
    "noise",
    "noise with spikes",
    "power law",
    "undecided tail",
    "structure",
    "heavy-tailed entries",
    "too small",
    "unusable",
)
#: Normalized likelihood ratio from which a power law is better than an exponential, as in
#: `spectra.laws.power_law_tail`.
DECIDED = 1.64
#: Attributes that are no part of the answer.
_BULKY = ("software", "schema", "schema_version", "created", "platform")
_PADDED = ("spike_value", "spike_signal", "spike_overlap", "spike_margin")


def summarize_weights(weights: "xr.Dataset") -> dict[str, Any]:
    """Return the content of a Dataset of :func:`probes.weights.weight_spectra` as nested plain values.

    ``"layers"`` has an object for each matrix, without its singular values; its ``"looks_like"`` is one of
    :data:`LOOKS`.

    Raises
    ------
    ArgumentError
        If it is another dataset.
    """
    if weights.attrs.get("schema") != "spectra/weights":
        raise ArgumentError(
            f"a dataset of probes.weights.weight_spectra is required, got schema {weights.attrs.get('schema')!r}"
        )
    names = [str(name) for name in weights.data_vars if weights[name].dims == ("layer",)]
    columns = {name: weights[name].values.tolist() for name in names}
    layers = []
    for i, layer in enumerate(weights["layer"].values.tolist()):
        row: dict[str, Any] = {"layer": layer, **{name: columns[name][i] for name in names}}
        row["remarks"], row["tail_remarks"] = json.loads(row["remarks"]), json.loads(row["tail_remarks"])
        spikes = {name: [v for v in weights[name].values[i].tolist() if not math.isnan(v)] for name in _PADDED}
        layers.append({**row, **spikes, "looks_like": _looks_like(row)})
    counts = Counter(row["looks_like"] for row in layers)
    return {
        "schema": WEIGHTS_REPORT_SCHEMA,
        "schema_version": WEIGHTS_REPORT_SCHEMA_VERSION,
        "answer": {look: counts[look] for look in LOOKS},
        "attributes": {str(k): _plain(v) for k, v in weights.attrs.items() if k not in _BULKY},
        "layers": layers,
        "software": json.loads(weights.attrs.get("software", "{}")),
    }


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def _looks_like(row: dict[str, Any]) -> str:
    """Name what a matrix looks like."""
    if row["why"]:
        return "unusable"
    if math.isfinite(row["exponent"]):
        return "power law" if row["exponential_ratio"] >= DECIDED else "undecided tail"
    if row["marchenko_pastur_num_spikes"] < 0:
        return "too small"
    if row["heavy_tailed"]:
        return "heavy-tailed entries"
    if not row["marchenko_pastur_is_trustworthy"]:
        return "structure"
    return "noise with spikes" if row["marchenko_pastur_num_spikes"] else "noise"
