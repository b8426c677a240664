"""Which arrays are accepted, and how a small one comes home to NumPy."""

from typing import Any

import numpy as np
from array_api_compat import array_namespace, device, is_array_api_obj, is_cupy_array, is_torch_array

from spectra.errors import ArgumentError, BackendError
from spectra.protocols import Array

__all__ = [
    "PIECE",
    "as_array",
    "describe",
    "detach",
    "dtype_name",
    "eps",
    "finite_number",
    "inner",
    "inner_with_rows",
    "is_array",
    "namespace",
    "norms",
    "require_real",
    "to_host",
]

PIECE = 16384
"""Coordinates that are summed in float32 at a time."""


def is_array(x: object) -> bool:
    """Whether ``x`` is an array of a library that follows the array API standard."""
    return bool(is_array_api_obj(x)) and not isinstance(x, np.ma.MaskedArray)


def as_array(x: Any, *, name: str) -> Array:
    """Return an array of any library as it is, and lists and the like as one of NumPy.

    Raises
    ------
    BackendError
        If it is a masked array, whose mask would be lost.
    ArgumentError
        If it is no array, such as a list of lists of different lengths.

    Examples
    --------
    >>> as_array([[1.0, 2.0]], name="x").shape
    (1, 2)
    """
    if is_array(x):
        return x
    if isinstance(x, np.ma.MaskedArray):
        raise BackendError(f"{name} must not have a mask; drop or fill what is masked first")
    try:
        return np.asarray(x)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ArgumentError(f"{name} must be an array; got {type(x).__name__}: {error}") from error


def namespace(x: Array) -> Any:
    """Return the array-API namespace of ``x``.

    Raises
    ------
    BackendError
        If ``x`` is not an array (a list, a masked array, a number).
    """
    if not is_array(x):
        raise BackendError(
            f"an array of NumPy, PyTorch, CuPy or another array-API library is required, got {type(x).__name__}; "
            "convert it first, for example with numpy.asarray"
        )
    return array_namespace(x)


def dtype_name(dtype: object) -> str:
    """Return the bare name of a dtype of any library.

    Examples
    --------
    >>> import numpy as np
    >>> dtype_name(np.zeros(1, dtype=np.float32).dtype)
    'float32'
    """
    return str(dtype).rsplit(".", maxsplit=1)[-1]


def describe(x: Array) -> str:
    """Say shape, dtype, library and device of an array, for error messages."""
    library = namespace(x).__name__.removeprefix("array_api_compat.").partition(".")[0]
    return f"{library} {dtype_name(x.dtype)} array of shape {tuple(x.shape)} on {device(x)}"


def require_real(x: Array, *, what: str) -> None:
    """Raise unless the dtype of ``x`` is float32 or float64.

    Raises
    ------
    BackendError
        For complex, integer, boolean, object and half-precision arrays.
    """
    name = dtype_name(x.dtype)
    if name in {"float32", "float64"}:
        return
    remedy = "convert it with astype (or .to) to float32 or float64"
    if name.startswith("complex"):
        remedy = "use the real symmetric form [[Re, -Im], [Im, Re]], in which each eigenvalue occurs twice"
    raise BackendError(f"{what} must be real float32 or float64, got {describe(x)}; {remedy}")


def eps(x: Array) -> float:
    """Return the machine epsilon of the dtype of ``x``."""
    return float(np.finfo(dtype_name(x.dtype)).eps)


def detach(x: Array) -> Array:
    """Return ``x`` without a record of how it was computed (PyTorch); other arrays as they are."""
    return x.detach() if is_torch_array(x) else x


def to_host(x: Array) -> np.ndarray:
    """Copy a small array to the host as NumPy float64. This waits for the device.

    Examples
    --------
    >>> import numpy as np
    >>> to_host(np.ones(2, dtype=np.float32)).dtype
    dtype('float64')
    """
    if is_torch_array(x):
        x = x.detach().cpu().numpy()
    elif is_cupy_array(x):
        x = x.get()
    elif not isinstance(x, np.ndarray | np.generic):
        x = np.from_dlpack(x)
    return np.array(x, dtype=np.float64)


def inner(x: Array, y: Array) -> Array:
    """Return inner products along the last axis as float64 on the device.

    Sums of float32 numbers are accumulated in float64: a float32 dot product of two million numbers was seen to err by
    6e-5.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.full(3, 0.1, dtype=np.float32)
    >>> inner(x, x).dtype
    dtype('float64')
    """
    xp = namespace(x)
    if x.dtype == xp.float64:
        return xp.vecdot(x, y)
    return xp.sum(x * y, axis=-1, dtype=xp.float64)


def norms(x: Array, *, axis: int = -1) -> Array:
    """Return Euclidean norms along an axis, in the dtype of ``x``; squares are summed in float64.

    PyTorch's float32 norm of an eigenvector with 3.5 million entries, most of them small, was seen to err by 4e-4.

    Examples
    --------
    >>> import numpy as np
    >>> norms(np.array([[3.0, 4.0], [0.0, 2.0]])).tolist()
    [5.0, 2.0]
    """
    xp = namespace(x)
    if x.dtype == xp.float64:
        return xp.linalg.vector_norm(x, axis=axis)
    return xp.astype(xp.sqrt(xp.sum(x * x, axis=axis, dtype=xp.float64)), x.dtype)


def inner_with_rows(rows: Array, x: Array) -> Array:
    """Return ``rows x``, shape (k,) or (k, b), as float64 on the device; long float32 sums are split.

    Parameters
    ----------
    rows : array, shape (k, n)
    x : array, shape (n,) or (n, b)

    Notes
    -----
    A float32 sum that begins with large terms loses all that are eps times smaller. For two million coordinates with a
    power law that cost Lanczos vectors their orthogonality, to 7e-4; pieces of 16384 restore it, to 1e-7.
    """
    xp, n = namespace(rows), rows.shape[1]
    if rows.dtype == xp.float64:
        return rows @ x
    first = min(PIECE, n)
    total = xp.astype(rows[:, :first] @ x[:first, ...], xp.float64)
    for begin in range(first, n, PIECE):
        end = min(begin + PIECE, n)
        total = total + xp.astype(rows[:, begin:end] @ x[begin:end, ...], xp.float64)
    return total


def finite_number(value: float, *, name: str) -> float:
    """Return ``value`` as a finite float, or raise ArgumentError; text is no number."""
    if isinstance(value, str | bytes) or np.iscomplexobj(value):
        raise ArgumentError(f"{name} must be a finite real number, got {value!r}")
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise ArgumentError(f"{name} must be a finite real number, got {value!r}") from error
    if not np.isfinite(number):
        raise ArgumentError(f"{name} must be a finite real number, got {value!r}")
    return number
