"""Arguments of laws as checked numbers and flat arrays, and results in the shape of what was given."""

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from spectra.arrays import finite_number
from spectra.errors import ArgumentError, NonFiniteError, ShapeError
from spectra.frozen import Vector, frozen_array
from spectra.start_vectors import as_count

__all__ = [
    "as_complex_points",
    "as_eigenvalues",
    "as_points",
    "as_positive",
    "as_reals",
    "as_shares",
    "as_sides",
    "like_given",
]

_Number = TypeVar("_Number", np.float64, np.complex128)


def as_positive(value: Any, *, name: str) -> float:
    """Return a positive, finite number as a float.

    Raises
    ------
    ArgumentError
        If it is none.
    """
    number = finite_number(value, name=name)
    if not number > 0.0:
        raise ArgumentError(f"{name} must be positive, got {number!r}")
    return number


def as_sides(shape: Any) -> tuple[int, int]:
    """Return the sizes of a matrix, the smaller first.

    Raises
    ------
    ShapeError
        If the shape is not a pair.
    ArgumentError
        If a size is no positive integer.
    """
    try:
        rows, columns = shape
    except (TypeError, ValueError) as error:
        raise ShapeError(f"shape must be a pair of sizes; got {shape!r}") from error
    small, large = sorted(as_count(size, name="shape") for size in (rows, columns))
    return small, large


def as_eigenvalues(given: npt.ArrayLike) -> tuple[Vector, float]:
    """Return eigenvalues as flat float64, and what rounding in the dtype that came makes of zeros among them.

    That is the order times the rounding unit times the largest modulus, as for the rank of a matrix.

    Raises
    ------
    ArgumentError, NonFiniteError
        If they are no finite real numbers.
    """
    values = frozen_array(given, name="eigenvalues").ravel()
    dtype = np.asarray(given).dtype
    eps = np.finfo(dtype if dtype.kind == "f" else np.float64).eps
    return values, float(values.size * eps * np.max(np.abs(values), initial=0.0))


def as_reals(x: npt.ArrayLike, *, name: str) -> Vector:
    """Return real numbers of any shape as float64; NaN stays.

    Raises
    ------
    ArgumentError
        If they are no real numbers.
    """
    return _numbers(x, name=name, kinds="biuf", what="real numbers").astype(np.float64)


def as_points(x: npt.ArrayLike, *, name: str = "x") -> Vector:
    """Return points as a flat float64 array; infinite ones are points too.

    Raises
    ------
    ArgumentError
        If they are no real numbers.
    NonFiniteError
        If one of them is NaN.
    """
    points = as_reals(x, name=name).ravel()
    if np.any(np.isnan(points)):
        raise NonFiniteError(f"{name} must not be NaN; drop the NaNs first")
    return points


def as_shares(q: npt.ArrayLike, *, name: str) -> Vector:
    """Return numbers in [0, 1] as a flat float64 array.

    Raises
    ------
    ArgumentError
        If they are no real numbers, or one is outside.
    NonFiniteError
        If one of them is NaN.
    """
    shares = as_points(q, name=name)
    outside = (shares < 0.0) | (shares > 1.0)
    if np.any(outside):
        raise ArgumentError(f"{name} must be in [0, 1], got {shares[outside][0]}")
    return shares


def as_complex_points(z: npt.ArrayLike) -> npt.NDArray[np.complex128]:
    """Return arguments of a transform as a flat complex128 array.

    Raises
    ------
    ArgumentError
        If they are no numbers.
    NonFiniteError
        If one of them is NaN or infinite.
    """
    points = _numbers(z, name="z", kinds="biufc", what="numbers").astype(np.complex128).ravel()
    if not np.all(np.isfinite(points)):
        raise NonFiniteError(f"z must be finite, got {points[~np.isfinite(points)][0]}")
    return points


def like_given(values: npt.NDArray[_Number], x: npt.ArrayLike) -> Any:
    """Return results in the shape of ``x``: an array for an array, a Python number for a scalar."""
    shape = np.shape(x)
    return values.item() if shape == () else values.reshape(shape)


def _numbers(given: npt.ArrayLike, *, name: str, kinds: str, what: str) -> npt.NDArray[Any]:
    """Return an array of one of the kinds of dtype."""
    try:
        array = np.asarray(given)
        kind = array.dtype.kind
    except (TypeError, ValueError, RuntimeError) as error:
        raise ArgumentError(f"{name} must be {what}, got {type(given).__name__}") from error
    if kind not in kinds:
        raise ArgumentError(f"{name} must be {what}, got {array.dtype}")
    return array
