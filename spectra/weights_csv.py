"""Spectra of weight matrices as a table for a spreadsheet or a data frame."""

import csv
import io
import json
import math
from typing import TYPE_CHECKING, Any

from spectra.weights_summary import summarize_weights

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["weights_csv"]

#: Columns that come first.
_FIRST = ("layer", "looks_like", "num_rows", "num_columns")


def weights_csv(weights: "xr.Dataset") -> str:
    """Return a table with one row for each matrix and one column for each number, as comma-separated text.

    Parameters
    ----------
    weights : xarray.Dataset
        Of :func:`probes.weights.weight_spectra`.

    Returns
    -------
    str
        The columns are those of ``"layers"`` of :func:`spectra.weights_summary.summarize_weights`. What is no number is
        empty; lists, as of spikes and remarks, are JSON.

    Raises
    ------
    ArgumentError
        If it is another dataset.

    Notes
    -----
    Source: RFC 4180 for quotes.
    """
    rows = summarize_weights(weights)["layers"]
    names = [*_FIRST, *(name for name in rows[0] if name not in _FIRST)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([_cell(row[name]) for name in names] for row in rows)
    return text.getvalue()


def _cell(value: Any) -> Any:
    """Return a value as a spreadsheet takes it."""
    if isinstance(value, list):
        return json.dumps(value)
    return "" if isinstance(value, float) and not math.isfinite(value) else value
