"""What spectra of weight matrices say, as plain values: what each matrix looks like, and the numbers behind it."""

import json
import math
from collections import Counter
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from spectra.errors import ArgumentError

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "COLUMNS",
    "EQUAL_CONDITION",
    "LOOKS",
    "UNCHANGED",
    "WEIGHTS_REPORT_SCHEMA",
    "WEIGHTS_REPORT_SCHEMA_VERSION",
    "bulk_end",
    "sort_weights",
    "summarize_weights",
]

WEIGHTS_REPORT_SCHEMA = "spectra/weights-report"
WEIGHTS_REPORT_SCHEMA_VERSION = 1

#: Condition number up to which all singular values are equal. Measured: those of float32 matrices of
#: `nn.init.orthogonal_`, 8 to 2048 rows, spread by at most 2.1e-6; those of random entries by 2 sqrt(p / n).
EQUAL_CONDITION = 1 + 1e-5
#: Why a matrix that equals the one it is compared with has no spectrum, and what it looks like.
UNCHANGED = "unchanged"
#: What a matrix looks like, in the order of the first line.
LOOKS = (
    "noise",
    "noise with spikes",
    "power law",
    "undecided tail",
    "structure",
    "heavy-tailed entries",
    "unequal sizes",
    "orthogonal",
    "low rank",
    "rounding",
    UNCHANGED,
    "too small",
    "unusable",
)
#: Normalized likelihood ratio from which a power law is better than an exponential, as in
#: `spectra.laws.power_law_tail`.
DECIDED = 1.64
#: Attributes that are no part of the answer, or a part of their own.
_BULKY = ("software", "schema", "schema_version", "created", "platform", "left_out")
#: Columns of the table that are keys of the rows under another name.
COLUMNS = {
    "matrix": "layer",
    "looks like": "looks_like",
    "spikes": "num_spikes",
    "margin": "spike_margin",
    "change": "relative_change",
    "norm": "spectral_norm",
    "s.rank": "stable_rank",
}
_PADDED = ("spike_value", "spike_signal", "spike_overlap", "spike_margin")


def summarize_weights(weights: "xr.Dataset") -> dict[str, Any]:
    """Return the content of a Dataset of :func:`probes.weights.weight_spectra` as nested plain values.

    ``"layers"`` has an object for each matrix, without its singular values; its ``"looks_like"`` is one of
    :data:`LOOKS`, its ``"num_spikes"`` that of the split that fits, -1 where there is none. ``"left_out"`` has one for
    each tensor that is no weight matrix, with the reason.

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
        layers.append({**row, **spikes, "looks_like": _looks_like(row), "num_spikes": _num_spikes(row)})
    counts = Counter(row["looks_like"] for row in layers)
    return {
        "schema": WEIGHTS_REPORT_SCHEMA,
        "schema_version": WEIGHTS_REPORT_SCHEMA_VERSION,
        "answer": {look: counts[look] for look in LOOKS},
        "attributes": {str(k): _plain(v) for k, v in weights.attrs.items() if k not in _BULKY},
        "layers": layers,
        "left_out": json.loads(weights.attrs.get("left_out", "[]")),
        "software": json.loads(weights.attrs.get("software", "{}")),
    }


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def _looks_like(row: dict[str, Any]) -> str:
    """Name what a matrix looks like."""
    if row["why"]:
        return UNCHANGED if row["why"] == UNCHANGED else "unusable"
    if row["condition_number"] <= EQUAL_CONDITION:
        return "orthogonal"
    if row["marchenko_pastur_num_spikes"] < 0:
        return _look_without_split(row)
    if row["heavy_tailed"]:
        return "heavy-tailed entries"
    # Absent from older files.
    if row.get("unequal_sizes", False):
        return "unequal sizes"
    if math.isfinite(row["exponent"]):
        return "power law" if row["exponential_ratio"] >= DECIDED else "undecided tail"
    if not row["marchenko_pastur_is_trustworthy"]:
        return "structure"
    return "noise with spikes" if row["marchenko_pastur_num_spikes"] else "noise"


def _look_without_split(row: dict[str, Any]) -> str:
    """Name what a matrix looks like that has too few singular values to tell a bulk."""
    if row["rank"] == 0:
        return "rounding"
    return "low rank" if row["rank"] < min(row["num_rows"], row["num_columns"]) else "too small"


def _num_spikes(row: dict[str, Any]) -> int:
    """Return the number of spikes by the Marchenko-Pastur law where the bulk follows it, otherwise by no law."""
    method = "marchenko_pastur" if row["marchenko_pastur_is_trustworthy"] else "ladder"
    return int(row[f"{method}_num_spikes"])


def bulk_end(row: dict[str, Any]) -> float:
    """Return the singular value at which the bulk of a matrix ends; NaN where no split was made.

    By the Marchenko-Pastur law where the bulk follows it, otherwise where the bulk ends whatever its law.

    Parameters
    ----------
    row : dict
        Of :func:`summarize_weights`.

    Examples
    --------
    >>> split = {"marchenko_pastur_upper": 1.0, "marchenko_pastur_is_trustworthy": False, "ladder_upper": 1.4}
    >>> bulk_end(split)
    1.4
    """
    end = row["marchenko_pastur_upper"] if row["marchenko_pastur_is_trustworthy"] else row["ladder_upper"]
    return float(end) if math.isfinite(end) else float(row["marchenko_pastur_upper"])


def sort_weights(weights: "xr.Dataset", by: str) -> "xr.Dataset":
    """Return the matrices in the order of one of their numbers, the largest first, or of one of their words.

    Parameters
    ----------
    weights : xarray.Dataset
        Of :func:`probes.weights.weight_spectra`.
    by : str
        A key of the rows of :func:`summarize_weights`, of several numbers by the largest; or a column of the table, one
        of :data:`COLUMNS`. What is no number comes last.

    Raises
    ------
    ArgumentError
        If there is no such key.
    """
    rows = summarize_weights(weights)["layers"]
    name = COLUMNS.get(by, by)
    names = sorted({*rows[0], *(column for column, key in COLUMNS.items() if key in rows[0])})
    if name not in rows[0]:
        near = get_close_matches(by, names, n=1)
        raise ArgumentError(
            f"matrices are sorted by one of {', '.join(names)}; got {by!r}{f', near {near[0]}' if near else ''}"
        )
    keys = [_sort_key(name, row[name]) for row in rows]
    order = sorted(range(len(keys)), key=lambda i: keys[i])
    return weights.isel(layer=order)


def _sort_key(name: str, value: Any) -> Any:
    """Return what a value is sorted by: words as they are, looks as they are counted, lists by their largest number."""
    if name == "looks_like":
        return LOOKS.index(value)
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        value = max(value, default=math.nan) if name in _PADDED else len(value)
    return math.isnan(value), -value
