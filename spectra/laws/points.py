"""Arguments of laws as flat arrays, and results in the shape of what was given."""

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from spectra.errors import ArgumentError, NonFiniteError
from spectra.frozen import Vector

__all__ = ["as_complex_points", "as_points", "as_shares", "like_given"]

_Number = TypeVar("_Number", np.float64, np.complex128)


def as_points(x: npt.ArrayLike, *, name: str = "x") -> Vector:
    """Return points as a flat float64 array; infinite ones are points too.

    Raises
    ------
    ArgumentError
        If they are no real numbers.
    NonFiniteError
        If one of them is NaN.
    """
    try:
        given = np.asarray(x)
        kind = given.dtype.kind
    except (TypeError, ValueError, RuntimeError) as error:
        raise ArgumentError(f"{name} must be real numbers, got {type(x).__name__}") from error
    if kind not in "biuf":
        raise ArgumentError(f"{name} must be real numbers, got {given.dtype}")
    points = given.astype(np.float64).ravel()
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
    try:
        given = np.asarray(z)
        kind = given.dtype.kind
    except (TypeError, ValueError, RuntimeError) as error:
        raise ArgumentError(f"z must be numbers, got {type(z).__name__}") from error
    if kind not in "biufc":
        raise ArgumentError(f"z must be numbers, got {given.dtype}")
    points = given.astype(np.complex128).ravel()
    if not np.all(np.isfinite(points)):
        raise NonFiniteError(f"z must be finite, got {points[~np.isfinite(points)][0]}")
    return points


def like_given(values: npt.NDArray[_Number], x: npt.ArrayLike) -> Any:
    """Return flat results in the shape of ``x``: an array for an array, a Python number for a scalar."""
    shape = np.shape(x)
    return values[0].item() if shape == () else values.reshape(shape)
