"""Which steps of a curve are kept, and schedules with one number per step."""

import numpy as np
import numpy.typing as npt

from spectra.arrays import finite_number
from spectra.errors import ArgumentError, NonFiniteError, ShapeError
from spectra.start_vectors import as_count

__all__ = ["FEW", "NUM_RECORDS", "OVERFLOW", "constant_rate", "per_step", "recorded_steps"]

#: Curves of at most this many steps are kept whole.
FEW = 200
#: Logarithmically spaced steps that are kept of longer ones.
NUM_RECORDS = 100
#: Learning rate times curvature beyond which a step overflows sooner or later.
OVERFLOW = 1e100
#: Steps that can be counted in 64 bits, with room for their sums.
MOST_STEPS = 2**62


def recorded_steps(num_steps: int, record: npt.ArrayLike | None = None) -> npt.NDArray[np.int64]:
    """Return the steps at which a curve is kept, ascending, from 0 to ``num_steps``.

    Parameters
    ----------
    num_steps : int
        Steps in all.
    record : array_like of int, optional
        Steps wanted, each in [0, num_steps]. By default all of them up to 200, else about 100 with equal ratios, the
        first and the last among them.

    Raises
    ------
    ArgumentError
        If a step is no whole number or outside the range, or none is given.

    Examples
    --------
    >>> recorded_steps(3).tolist(), len(recorded_steps(10**6)), recorded_steps(9, [5, 2]).tolist()
    ([0, 1, 2, 3], 93, [2, 5])
    """
    last = as_count(num_steps, name="num_steps", least=0)
    if last > MOST_STEPS:
        raise ArgumentError(f"num_steps must be at most 2^62; got {last}")
    if record is None:
        if last <= FEW:
            return np.arange(last + 1)
        spaced = np.geomspace(1, last, NUM_RECORDS).round().astype(np.int64)
        return np.unique(np.concatenate([[0], spaced, [last]]))
    wanted = np.asarray(record)
    if (
        wanted.dtype.kind not in "iuf"
        or wanted.ndim != 1
        or wanted.size == 0
        or not np.all(wanted == np.round(wanted))
        or np.any((wanted < 0) | (wanted > last))
    ):
        raise ArgumentError(f"record must hold whole steps between 0 and num_steps = {last}; got {record!r}")
    return np.unique(wanted.astype(np.int64))


def constant_rate(value: float, *, largest: float) -> float:
    """Return one learning rate for curvatures up to ``largest``.

    Raises
    ------
    ArgumentError, NonFiniteError
        If it is no number, negative, not finite, or so large that every loss overflows.

    Examples
    --------
    >>> constant_rate(1, largest=2.0)
    1.0
    """
    rate = finite_number(value, name="learning_rate")
    if rate < 0:
        raise ArgumentError(f"learning_rate must not be negative; got {rate:g}")
    if rate > OVERFLOW / largest:
        raise ArgumentError(f"a learning rate of {rate:g} overflows; name one near the critical")
    return rate


def per_step(
    value: npt.ArrayLike, *, name: str, num_steps: int, least: float = 0.0, whole: bool = False
) -> npt.NDArray[np.float64]:
    """Return a setting as one number or as one number per step, shape () or (num_steps,).

    Raises
    ------
    ShapeError
        If it is neither.
    NonFiniteError, ArgumentError
        If an entry is no real number, not finite, smaller than ``least``, or not whole where ``whole`` asks for it.

    Examples
    --------
    >>> per_step([8, 16], name="batch_size", num_steps=2, least=1, whole=True).tolist()
    [8.0, 16.0]
    """
    wanted = "whole number" if whole else "real number"
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ArgumentError(f"{name} must be one {wanted}, or one per step; got {type(value).__name__}") from error
    if array.dtype.kind not in "iuf":
        raise ArgumentError(f"{name} must be one {wanted}, or one per step; got {value!r}")
    if array.ndim > 1 or (array.ndim == 1 and array.shape[0] != num_steps):
        raise ShapeError(f"{name} must be one {wanted}, or one for each of {num_steps} steps; got shape {array.shape}")
    array = array.astype(np.float64)
    if not np.all(np.isfinite(array)):
        raise NonFiniteError(f"{name} must be finite; got {array[~np.isfinite(array)].flat[0]}")
    if np.any(array < least):
        raise ArgumentError(f"{name} must be at least {least:g}; got {array.min():g}")
    if whole and np.any(array != np.round(array)):
        raise ArgumentError(f"{name} must be a {wanted}; got {array[array != np.round(array)].flat[0]:g}")
    return array
