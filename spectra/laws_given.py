"""A spectrum with what is known of its matrix, from eigenvalues, a matrix, data or a spectral measure."""

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from spectra.arrays import as_array, dtype_name, finite_number, require_real, to_host
from spectra.errors import ArgumentError, NonFiniteError, ShapeError
from spectra.frozen import Vector
from spectra.measure_schema import pooled
from spectra.start_vectors import as_count
from spectra.symmetry import is_symmetric

__all__ = ["NEGATIVE", "GivenSpectrum", "MatrixKind", "given_spectrum"]

MatrixKind = Literal["data", "symmetric", "eigenvalues"]
#: Negative eigenvalues up to this share of the largest are rounding of a covariance that was formed in float32.
NEGATIVE = 1e-6
#: Zeros in units of eps times order times the largest modulus, as in `spectra.eigenvalue_split`.
ZEROS = 8.0
#: Shift of a diagonal in standard errors from which it is not 0 (set by hand).
SHIFTED = 5.0
#: Range of a column in units of eps times its largest modulus up to which it is constant but for rounding.
CONSTANT = 8.0
#: Largest over smallest variance of columns from which a remark is worth it (set by hand).
UNEQUAL = 10.0


@dataclass(frozen=True, kw_only=True, eq=False)
class GivenSpectrum:
    """A spectrum with what is known of its matrix.

    Attributes
    ----------
    kind : str
        ``"data"``, ``"symmetric"``, ``"eigenvalues"`` or ``"measure"``.
    values, weights : ndarray, shape (N,)
        Ascending; nodes of a measure have unequal weights. Of sum 1.
    p, n : int
        Variables and samples of a sample covariance; 0 where it is not known to be one.
    matrix : ndarray or None
        Entries that may be permuted, symmetric, or variables times samples less the mean of each variable: a mean
        outlasts permutations and is no heavy tail.
    measure : xarray.Dataset or None
    has_unequal_columns : bool
        Whether columns of data differ much in scale, and were not scaled.
    diagonal_shift : float
        Mean of the diagonal of a symmetric matrix less that of its other entries, where it is told from 0.
    remarks : tuple of str
        What was done with the entries, and what was seen in them.
    """

    kind: MatrixKind | Literal["measure"]
    values: Vector
    weights: Vector
    p: int = 0
    n: int = 0
    matrix: Any = None
    measure: Any = None
    has_unequal_columns: bool = False
    diagonal_shift: float = 0.0
    remarks: tuple[str, ...] = ()

    @property
    def ratio(self) -> float:
        """Variables over samples; NaN where they are not known."""
        return self.p / self.n if self.n else math.nan


def given_spectrum(
    source: Any,
    *,
    kind: str | None = None,
    num_samples: int | None = None,
    aspect_ratio: float | None = None,
    center: bool = True,
    standardize: bool = False,
) -> GivenSpectrum:
    """Return the spectrum of what was given.

    Parameters
    ----------
    source, kind, num_samples, aspect_ratio, center, standardize
        As for :func:`spectra.laws_analysis.analyze_spectrum`.

    Raises
    ------
    ArgumentError, ShapeError, NonFiniteError, BackendError
        As there.

    Notes
    -----
    One dense decomposition of a matrix.

    Examples
    --------
    >>> given = given_spectrum(np.eye(3), num_samples=6)
    >>> given.kind, given.values.tolist(), given.ratio
    ('symmetric', [1.0, 1.0, 1.0], 0.5)
    """
    sizes = {"num_samples": num_samples, "aspect_ratio": aspect_ratio}
    typed = [key for key, value in sizes.items() if value is not None]
    if hasattr(source, "data_vars"):
        if kind is not None or num_samples is not None:
            raise ArgumentError("a spectral measure has no kind and takes no num_samples; it may take an aspect_ratio")
        values, weights = pooled(source)
        return _of_covariance(
            GivenSpectrum(kind="measure", values=values, weights=weights / np.sum(weights), measure=source),
            int(source.attrs["dimension"]),
            None,
            aspect_ratio,
        )
    array = as_array(source, name="source")
    require_real(array, what="source")
    entries = np.asarray(to_host(array), dtype=np.float64)
    if entries.ndim not in (1, 2) or entries.size == 0:
        raise ShapeError(f"eigenvalues (N,), or a matrix, with an entry are required; got shape {entries.shape}")
    if not np.all(np.isfinite(entries)):
        raise NonFiniteError(_where_not_finite(entries))
    kind = kind or ("eigenvalues" if entries.ndim == 1 else "symmetric" if is_symmetric(entries) else "data")
    if kind == "eigenvalues":
        if entries.ndim == 2 and 1 not in entries.shape:
            raise ShapeError(f"eigenvalues must be one list; got a matrix of shape {entries.shape}")
        values = _with_zeros(np.sort(entries, axis=None), array)
        whole = GivenSpectrum(kind="eigenvalues", values=values, weights=np.full(values.size, 1.0 / values.size))
        return _of_covariance(whole, values.size, num_samples, aspect_ratio)
    if entries.ndim != 2:
        raise ShapeError(f"a {kind} matrix must have two dimensions; got shape {entries.shape}")
    if kind == "data":
        if typed:
            raise ArgumentError(
                f"a data matrix has its own number of samples (rows) and variables (columns); leave {', '.join(typed)} "
                "out, or say that the matrix is symmetric"
            )
        return _of_data(entries, _eps(array), center, standardize)
    if kind != "symmetric":
        raise ArgumentError(f"kind must be data, symmetric or eigenvalues; got {kind!r}")
    if not is_symmetric(entries):
        raise ShapeError(f"a symmetric matrix is required; one of shape {entries.shape} came that is not symmetric")
    symmetric = 0.5 * (entries + entries.T)
    values = _with_zeros(np.linalg.eigvalsh(symmetric), array)
    whole = GivenSpectrum(kind="symmetric", values=values, weights=np.full(values.size, 1.0 / values.size))
    if typed:
        return _of_covariance(whole, values.size, num_samples, aspect_ratio)
    if values[0] >= -NEGATIVE * abs(values[-1]):
        # Entries of a covariance or a Gram matrix depend on each other: permuted ones say nothing.
        said = "no eigenvalue is negative, as of a covariance, whose entries are not permuted to see heavy tails"
        return replace(whole, remarks=(said,))
    shift = _diagonal_shift(symmetric)
    said = (
        f"the diagonal less the other entries has the mean {shift:.3g}, about which the bulk lies, while a semicircle "
        "lies about 0"
    )
    remarks = (said,) if shift else ()
    return replace(whole, matrix=symmetric, diagonal_shift=shift, remarks=remarks)


def _eps(array: Any) -> float:
    """Return the spacing of numbers of the given type."""
    return float(np.finfo(np.float32 if dtype_name(array.dtype) == "float32" else np.float64).eps)


def _with_zeros(values: Any, array: Any) -> Vector:
    """Return eigenvalues with what is rounding of the given type as 0."""
    return np.where(np.abs(values) <= ZEROS * _eps(array) * values.size * np.max(np.abs(values)), 0.0, values)


def _diagonal_shift(symmetric: Vector) -> float:
    """Return about what the bulk lies, the mean of the diagonal less that of the other entries; 0 within its noise."""
    order = len(symmetric)
    if order == 1:
        return 0.0
    rows, columns = np.tril_indices(order, -1)
    others, diagonal = symmetric[rows, columns], np.diag(symmetric)
    shift = float(np.mean(diagonal) - np.mean(others))
    # A constant diagonal has noise of its own: that of the bulk, whose diagonal has twice the variance of the others.
    noise = max(float(np.std(diagonal)), math.sqrt(2.0) * float(np.std(others))) / math.sqrt(order)
    return shift if abs(shift) > SHIFTED * noise else 0.0


def _where_not_finite(entries: Vector) -> str:
    places = np.argwhere(~np.isfinite(entries))
    first = ", ".join(str(int(i)) for i in places[0])
    return (
        f"numbers must be finite; {len(places)} of {entries.size} are NaN or infinite, the first at [{first}]: leave "
        "such rows or columns out"
    )


def _of_covariance(
    given: GivenSpectrum, size: int, num_samples: int | None, aspect_ratio: float | None
) -> GivenSpectrum:
    """Return a spectrum with the numbers of variables and samples, as far as they are known."""
    if num_samples is None and aspect_ratio is None:
        return given
    if given.values[0] < -NEGATIVE * abs(given.values[-1]):
        raise ArgumentError(
            f"a sample covariance has no negative eigenvalues, and the smallest is {given.values[0]:.3g}: leave the "
            "number of samples and the aspect ratio out"
        )
    given = replace(given, values=np.maximum(given.values, 0.0))
    if aspect_ratio is None:
        assert num_samples is not None
        n = as_count(num_samples, name="num_samples")
        positive = int(np.count_nonzero(given.values > NEGATIVE * given.values[-1]))
        if given.measure is None and positive > n:
            raise ArgumentError(
                f"a covariance of {n} samples has at most {n} eigenvalues that are not 0; got {positive}: the number "
                "of samples is wrong"
            )
        return replace(given, p=size, n=n)
    ratio = finite_number(aspect_ratio, name="aspect_ratio")
    if not (ratio > 0.0 and math.isfinite(size / ratio)):
        raise ArgumentError(f"aspect_ratio must be variables over samples, positive; got {aspect_ratio!r}")
    if num_samples is None:
        return replace(given, p=size, n=max(round(size / ratio), 1))
    n = as_count(num_samples, name="num_samples")
    p = max(round(ratio * n), 1)
    if size not in (p, min(p, n)):
        raise ShapeError(
            f"{p} eigenvalues, or the {min(p, n)} that are not forced to be 0, belong to aspect_ratio {ratio:g} and "
            f"num_samples {n}; got {size}"
        )
    return replace(given, p=p, n=n)


def _of_data(entries: Vector, eps: float, center: bool, standardize: bool) -> GivenSpectrum:
    """Return the spectrum of the covariance of rows."""
    rows, p = entries.shape
    n = rows - 1 if center else rows
    if n < 1:
        raise ShapeError(f"{rows} sample is too few for a covariance about the mean; at least 2 are required")
    scale = float(np.max(np.abs(entries))) or 1.0
    entries = entries / scale
    centered = entries - np.mean(entries, axis=0)
    # What rounding of the mean leaves of a constant is no column of noise.
    constant = np.ptp(entries, axis=0) <= CONSTANT * eps * np.max(np.abs(entries), axis=0)
    centered[:, constant] = 0.0
    remarks = []
    if center:
        entries = centered
        remarks.append("the mean of each column was subtracted, which takes one sample")
    squares = np.sqrt(np.mean(entries**2, axis=0))
    if standardize:
        entries = entries / np.where(squares > 0.0, squares, 1.0) * math.sqrt(n / rows)
        remarks.append(f"columns were scaled to {'variance' if center else 'mean square'} 1")
        scale = 1.0
        # Centering and scaling once more changes nothing but where the mean was kept.
        centered = entries - np.mean(entries, axis=0)
        centered[:, constant] = 0.0
    low, high = float(np.min(squares, initial=math.inf, where=squares > 0.0)), float(np.max(squares))
    is_unequal = not standardize and high > math.sqrt(UNEQUAL) * low
    if is_unequal:
        remarks.append(
            f"{'standard deviations' if center else 'root mean squares'} of columns go from {low * scale:.3g} to "
            f"{high * scale:.3g}: where no law fits, standardized columns may have one"
        )
    if np.any(constant):
        remarks.append(f"{int(np.count_nonzero(constant))} of {p} columns are constant, or 0")
    singular = np.linalg.svd(entries, compute_uv=False)[: min(p, n)]
    values = np.sort((singular * (scale / math.sqrt(n))) ** 2)
    weights = np.full(values.size, 1.0 / values.size)
    return GivenSpectrum(
        kind="data",
        values=values,
        weights=weights,
        p=p,
        n=n,
        matrix=centered.T,
        has_unequal_columns=is_unequal,
        remarks=tuple(remarks),
    )
