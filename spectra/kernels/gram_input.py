"""Gram matrices, targets and ridges as they are given: checked, and brought to float64 on the host."""

import math
from typing import Any

import numpy as np

from spectra.arrays import as_array, describe, dtype_name, finite_number, is_array, to_host
from spectra.errors import ArgumentError, BackendError, NonFiniteError, NotSymmetricError, ShapeError
from spectra.frozen import Vector, frozen_array

__all__ = ["as_gram", "as_targets", "checked_eps", "checked_ridge"]


def checked_ridge(ridge: float) -> float:
    """Return a ridge as a float, or raise ArgumentError unless it is finite and at least 0."""
    number = finite_number(ridge, name="ridge")
    if number < 0:
        raise ArgumentError(f"ridge must be finite and at least 0; got {ridge!r}")
    return number


def checked_eps(eps: float) -> float:
    """Return a machine epsilon as a float, or raise ArgumentError unless it lies between 0 and 1."""
    number = finite_number(eps, name="eps")
    if not 0 < number < 1:
        raise ArgumentError(f"eps must lie between 0 and 1; got {eps!r}")
    return number


def as_gram(K: Any, *, name: str = "K") -> tuple[np.ndarray, float]:
    r"""Return a Gram matrix as symmetric float64 on the host, and the eps of the dtype it came in.

    Parameters
    ----------
    K : array of any library, shape (n, n)
        Real and symmetric up to :math:`\sqrt\epsilon` of its largest entry; integers are taken as float64.
    name : str
        For messages.

    Raises
    ------
    ShapeError
        If it is not square, or empty.
    NonFiniteError
        If an entry is NaN or infinite.
    NotSymmetricError
        If it is not symmetric.
    BackendError
        If it is complex, half precision, or no array.

    Examples
    --------
    >>> bool(as_gram(np.eye(2, dtype=np.float32))[1] == np.finfo(np.float32).eps)
    True
    """
    array = as_array(K, name=name)
    kind = dtype_name(array.dtype)
    if kind not in {"float32", "float64"} and not kind.startswith(("int", "uint", "bool")):
        what = describe(array) if is_array(array) else type(K).__name__
        raise BackendError(f"{name} must be real, float32 or float64; got {what}")
    if array.ndim != 2 or array.shape[0] != array.shape[1] or array.shape[0] == 0:
        raise ShapeError(f"{name} must have shape (n, n); got {tuple(array.shape)}")
    matrix = to_host(array)
    if not np.all(np.isfinite(matrix)):
        i, j = np.argwhere(~np.isfinite(matrix))[0]
        raise NonFiniteError(f"{name} must be finite; entry [{i}, {j}] is {matrix[i, j]}")
    eps = float(np.finfo(np.float32 if kind == "float32" else np.float64).eps)
    scale = float(np.max(np.abs(matrix)))
    asymmetry = float(np.max(np.abs(matrix - matrix.T)))
    if asymmetry > math.sqrt(eps) * scale:
        i, j = np.unravel_index(np.argmax(np.abs(matrix - matrix.T)), matrix.shape)
        raise NotSymmetricError(
            f"{name} must be symmetric; entries [{i}, {j}] and [{j}, {i}] are {matrix[i, j]:.6g} and {matrix[j, i]:.6g}"
        )
    return (matrix + matrix.T) / 2, eps


def as_targets(y: Any, num_samples: int, *, name: str = "y") -> Vector:
    """Return targets as finite float64 of shape (n, C), on the host.

    Raises
    ------
    ShapeError
        If there are not n of them, or they have more than two axes.
    NonFiniteError
        If one is NaN or infinite.
    ArgumentError
        If they are no real numbers: labels of classes by name must be encoded first.

    Examples
    --------
    >>> as_targets([1, 2, 3], 3).shape
    (3, 1)
    """
    host = to_host(y) if is_array(y) and not isinstance(y, np.ndarray) else y
    target = frozen_array(host, name=name)
    if target.ndim not in (1, 2) or 0 in target.shape or target.shape[0] != num_samples:
        raise ShapeError(
            f"{name} must have shape ({num_samples},) or ({num_samples}, C), one row for each sample of the kernel; "
            f"got {target.shape}"
        )
    return target[:, None] if target.ndim == 1 else target
