"""Which arrays are accepted, and how a small one comes home to NumPy."""

from typing import Any

import numpy as np
from array_api_compat import array_namespace, device, is_array_api_obj, is_cupy_array, is_torch_array

from spectra.errors import ArgumentError, BackendError
from spectra.protocols import Array

__all__ = [
    "describe",
    "detach",
    "dtype_name",
    "eps",
    "finite_number",
    "is_array",
    "namespace",
    "require_real",
    "to_host",
]


def is_array(x: object) -> bool:
    """Whether ``x`` is an array of a library that follows the array API standard."""
    return bool(is_array_api_obj(x)) and not isinstance(x, np.ma.MaskedArray)


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
    elif not isinstance(x, np.ndarray):
        x = np.from_dlpack(x)
    return np.array(x, dtype=np.float64)


def finite_number(value: float, *, name: str) -> float:
    """Return ``value`` as a finite float, or raise ArgumentError."""
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"{name} must be a finite real number, got {value!r}") from error
    if not np.isfinite(number):
        raise ArgumentError(f"{name} must be a finite real number, got {value!r}")
    return number
