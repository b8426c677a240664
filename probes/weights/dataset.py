"""Spectra of many matrices side by side, as one Dataset with one row a matrix."""

import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from probes.weights.matrix import MatrixSpectrum
from probes.weights.tensors import LeftOut, WeightMatrix
from spectra.errors import ArgumentError
from spectra.provenance import provenance

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["WEIGHTS_SCHEMA", "WEIGHTS_SCHEMA_VERSION", "weights_dataset"]

WEIGHTS_SCHEMA = "spectra/weights"
WEIGHTS_SCHEMA_VERSION = 1

_SPLITS = ("marchenko_pastur", "ladder")


def weights_dataset(
    matrices: Sequence[WeightMatrix],
    found: Sequence[MatrixSpectrum],
    *,
    changes: Sequence[float] | None = None,
    left_out: Sequence[LeftOut] = (),
    **attributes: Any,
) -> "xr.Dataset":
    """Return results as a Dataset over ``layer``, ragged ones padded with NaN.

    Parameters
    ----------
    matrices : sequence of WeightMatrix
        At least one, in order.
    found : sequence of MatrixSpectrum
        Of each.
    changes : sequence of float, optional
        Of each the relative change, if they are differences.
    left_out : sequence of LeftOut
        What is not among them.
    **attributes
        Of the Dataset.

    Returns
    -------
    xarray.Dataset
        As of :func:`probes.weights.measure.weight_spectra`.

    Raises
    ------
    ArgumentError
        If there is none, or the lengths differ.

    Examples
    --------
    >>> from probes.weights.matrix import analyze_matrix
    >>> from probes.weights.tensors import Hints, tensor_matrices
    >>> matrices = tensor_matrices("w", (3, 4), lambda: None, Hints())
    >>> found = analyze_matrix(np.eye(3, 4), num_bootstrap=20, seed=0)
    >>> weights_dataset(matrices, [found])["rank"].values.tolist()
    [3]
    """
    import xarray as xr

    lengths = {len(matrices), len(found), len(found if changes is None else changes)}
    if not found or len(lengths) > 1:
        text = "" if changes is None else f" and {len(changes)} changes"
        raise ArgumentError(
            "as many results, and changes where they are given, as matrices are required, at least one; got "
            f"{len(matrices)} matrices, {len(found)} results{text}"
        )
    rows = [
        {**_identity(m), **_norms(m, f), **_splits(f), **_power_law(f)} for m, f in zip(matrices, found, strict=True)
    ]
    variables: dict[str, Any] = {name: ("layer", np.array([row[name] for row in rows])) for name in rows[0]}
    variables["singular_value"] = (("layer", "index"), _padded([f.singular_values for f in found]))
    if changes is not None:
        variables["relative_change"] = ("layer", np.array(changes))
    for name in ("value", "signal", "overlap", "margin"):
        variables[f"spike_{name}"] = (("layer", "spike"), _padded([getattr(f.spikes, name) for f in found]))
    return xr.Dataset(
        variables,
        coords={"layer": np.array([matrix.name for matrix in matrices])},
        attrs=provenance(
            schema=WEIGHTS_SCHEMA,
            schema_version=WEIGHTS_SCHEMA_VERSION,
            num_parameters=sum(math.prod(matrix.shape) for matrix in matrices),
            left_out=json.dumps([{"name": e.name, "shape": list(e.shape), "why": e.why} for e in left_out]),
            **attributes,
        ),
    )


def _identity(matrix: WeightMatrix) -> dict[str, Any]:
    return {
        "kind": matrix.kind,
        "stored_shape": "x".join(map(str, matrix.stored_shape)),
        "rule": matrix.rule,
        "num_rows": matrix.shape[0],
        "num_columns": matrix.shape[1],
        "aspect_ratio": min(matrix.shape) / max(matrix.shape),
    }


def _norms(matrix: WeightMatrix, found: MatrixSpectrum) -> dict[str, Any]:
    largest = float(found.singular_values[0])
    norm = largest * math.sqrt(found.stable_rank) if largest > 0 else largest
    return {
        "spectral_norm": largest,
        "frobenius_norm": norm,
        # The usual figures of weight matrices are logarithms of squared norms.
        "log_spectral_norm": 2 * math.log10(largest) if largest > 0 else math.nan,
        "log_norm": 2 * math.log10(norm) if norm > 0 else math.nan,
        "stable_rank": found.stable_rank,
        "participation_ratio": found.participation_ratio,
        "rank": found.rank,
        "condition_number": found.condition_number,
        "mean_entry": found.mean_entry,
    }


def _splits(found: MatrixSpectrum) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for name in _SPLITS:
        split = getattr(found, name)
        row[f"{name}_num_spikes"] = split.num_spikes
        row[f"{name}_lower"], row[f"{name}_upper"] = split.lower, split.upper
        row[f"{name}_is_trustworthy"], row[f"{name}_why"] = split.is_trustworthy, split.why
    row["permuted_num_spikes"] = found.control.num_spikes
    row["sigma"] = found.marchenko_pastur.sigma
    row["bulk_distance"] = found.marchenko_pastur.misfit
    row["heavy_tailed"], row["unequal_sizes"] = found.control.heavy_tailed, found.control.unequal_sizes
    row["why"] = found.why
    row["remarks"] = json.dumps(found.remarks)
    return row


def _power_law(found: MatrixSpectrum) -> dict[str, Any]:
    tail = found.tail
    return {
        "exponent": tail.exponent,
        "exponent_stderr": tail.stderr,
        "fitted_exponent": tail.fitted_exponent,
        # A product, not a power, which raises where it overflows.
        "tail_smallest": tail.smallest * float(found.singular_values[0]) * float(found.singular_values[0]),
        "num_tail": tail.num_tail,
        "tail_distance": tail.distance,
        "p_value": tail.p_value,
        "noise_ratio": tail.noise_ratio,
        "exponential_ratio": tail.exponential_ratio,
        "tail_why": tail.why,
        "tail_remarks": json.dumps(tail.remarks),
    }


def _padded(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Return rows of different lengths as one array."""
    width = max(len(row) for row in rows)
    padded = np.full((len(rows), width), np.nan)
    for target, row in zip(padded, rows, strict=True):
        target[: len(row)] = row
    return padded
