"""Valid eigenvalues of a matrix that is to be split, and what is known of its shape."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from spectra.arrays import as_array, dtype_name, finite_number, to_host
from spectra.errors import ArgumentError, NonFiniteError, ShapeError
from spectra.frozen import Vector
from spectra.start_vectors import as_count

__all__ = ["BulkSpectrum", "as_bulk_spectrum"]

#: Zeros in units of eps times order times the largest modulus, as for the rank of a matrix.
ZEROS = 8.0


@dataclass(frozen=True, kw_only=True, eq=False)
class BulkSpectrum:
    """Eigenvalues that are not 0, descending, and what is known of the matrix."""

    values: Vector
    num_zeros: int
    is_semidefinite: bool
    shape: tuple[int, int] | None


def as_bulk_spectrum(source: Any, *, aspect_ratio: float | None, num_samples: int | None) -> BulkSpectrum:
    """Return valid eigenvalues."""
    given = as_array(source, name="eigenvalues")
    eps = float(np.finfo(np.float32 if dtype_name(given.dtype) == "float32" else np.float64).eps)
    is_real = getattr(given.dtype, "kind", "f") not in "SUMm"
    if not is_real or dtype_name(given.dtype).startswith(("complex", "object", "bool")):
        raise ArgumentError(f"eigenvalues must be real numbers, got {given.dtype}")
    values = np.sort(to_host(given), axis=None)[::-1] if given.ndim == 1 else np.empty(0)
    if values.size == 0:
        raise ShapeError(f"eigenvalues of shape (N,) with N at least 1 are required, got shape {tuple(given.shape)}")
    if not np.all(np.isfinite(values)):
        raise NonFiniteError("eigenvalues must be finite; got NaN or infinity")
    size = len(values)
    floor = ZEROS * eps * size * float(np.max(np.abs(values)))
    semidefinite = bool(values[-1] >= -floor)
    kept = values[values > floor] if semidefinite else values
    shape = None
    if aspect_ratio is not None or num_samples is not None:
        shape = _covariance_shape(size, aspect_ratio, num_samples)
        if not semidefinite:
            raise ArgumentError(f"eigenvalues of a covariance matrix must not be negative, got {values[-1]}")
    return BulkSpectrum(values=kept, num_zeros=size - len(kept), is_semidefinite=semidefinite, shape=shape)


def _covariance_shape(size: int, aspect_ratio: float | None, num_samples: int | None) -> tuple[int, int]:
    """Return numbers of variables and samples."""
    n = None if num_samples is None else as_count(num_samples, name="num_samples")
    ratio = None if aspect_ratio is None else finite_number(aspect_ratio, name="aspect_ratio")
    if ratio is not None and not ratio > 0.0:
        raise ArgumentError(f"aspect_ratio must be positive, got {ratio!r}")
    if ratio is None:
        assert n is not None
        return size, n
    if n is None:
        if not np.isfinite(size / ratio):
            raise ArgumentError(f"aspect_ratio must be variables over samples, got {ratio!r}, too small for {size}")
        return size, max(round(size / ratio), 1)
    p = round(ratio * n)
    if size not in (p, min(p, n)):
        raise ShapeError(
            f"{p} eigenvalues, or the {min(p, n)} that are not forced to be 0, belong to aspect_ratio {ratio:g} and "
            f"num_samples {n}; got {size}"
        )
    return p, n
