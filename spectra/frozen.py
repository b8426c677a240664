"""Arrays that nobody writes to."""

import numpy as np
import numpy.typing as npt

from spectra.errors import ArgumentError, NonFiniteError

__all__ = ["Vector", "frozen_array"]

Vector = npt.NDArray[np.float64]


def frozen_array(given: npt.ArrayLike, *, name: str) -> Vector:
    """Return a read-only float64 copy of real, finite numbers.

    Parameters
    ----------
    given : array_like
        Of any real dtype, without a mask.
    name : str
        For messages.

    Raises
    ------
    ArgumentError
        If they are no real numbers.
    NonFiniteError
        If one is NaN or infinite.

    Examples
    --------
    >>> frozen_array([1, 2], name="x").flags.writeable
    False
    """
    try:
        array = np.asarray(given)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ArgumentError(f"{name} must be an array of real numbers; got {type(given).__name__}") from error
    if array.dtype.kind not in "biuf" or isinstance(given, np.ma.MaskedArray):
        raise ArgumentError(f"{name} must be an array of real numbers without a mask; got {array.dtype}")
    copy = np.array(array, dtype=np.float64)
    if not np.all(np.isfinite(copy)):
        raise NonFiniteError(f"{name} must be finite; got {copy[~np.isfinite(copy)].flat[0]}")
    copy.flags.writeable = False
    return copy
