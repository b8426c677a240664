"""Values of a function on the spectrum: what it may be, and what happens at zero."""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from spectra.errors import ArgumentError, NonFiniteError

__all__ = ["SpectralFunction", "rounding_of_sum", "spectral_values", "weighted_sum"]

SpectralFunction: TypeAlias = Callable[[np.ndarray], np.ndarray]
"""Maps a one-dimensional float64 array to real values of the same shape, or to one number."""


def spectral_values(f: SpectralFunction, x: np.ndarray, *, band: float) -> np.ndarray:
    """Return ``f(x)`` for eigenvalues or Ritz values x, shape (k,), float64.

    A value within ``band`` of zero cannot be told from zero: if f is infinite there, so is the result, and if f is not
    defined or not finite at it but finite at zero, it is f(0).

    Parameters
    ----------
    f : callable
        See `SpectralFunction`.
    x : ndarray, shape (k,)
        Within the range of the spectrum.
    band : float
        Not negative, in the units of x.

    Raises
    ------
    ArgumentError
        If f returns anything but real values of the shape of its argument, or is NaN away from zero.
    NonFiniteError
        If f is infinite away from zero.

    Examples
    --------
    >>> import numpy as np
    >>> spectral_values(np.log, np.array([-1e-17, 1.0]), band=1e-15).tolist()
    [-inf, 0.0]
    """
    y = _call(f, x)
    near = np.abs(x) <= band
    if np.any(near):
        at_zero = _call(f, np.zeros(1))[0]
        if np.isinf(at_zero):
            y = np.where(near, at_zero, y)
        elif np.isfinite(at_zero):
            y = np.where(near & ~np.isfinite(y), at_zero, y)
    if np.any(np.isnan(y)):
        raise ArgumentError(
            f"f must be defined on the whole spectrum, but is NaN at {x[np.argmax(np.isnan(y))]:.6g}; Ritz values lie "
            "between the smallest and the largest eigenvalue, so the operator reaches at least this far"
        )
    far = np.isinf(y) & ~near
    if np.any(far):
        raise NonFiniteError(f"f must be finite on the spectrum, but is infinite at {x[np.argmax(far)]:.6g}")
    return y


def _call(f: SpectralFunction, x: np.ndarray) -> np.ndarray:
    """Call f and return real values of the shape of x."""
    if not callable(f):
        raise ArgumentError(f"f must be a function of eigenvalues, such as numpy.log; got {f!r}")
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        y = np.asarray(f(x.copy()))
    if y.ndim == 0:
        y = np.broadcast_to(y, x.shape)
    if y.shape != x.shape or y.dtype.kind not in "biuf":
        raise ArgumentError(
            f"f must map a real array of shape {x.shape} to a real array of that shape, got {y.dtype} of {y.shape}"
        )
    return y.astype(np.float64)


def weighted_sum(f: SpectralFunction, values: np.ndarray, weights: np.ndarray, *, band: float) -> float:
    """Return ``sum_k w_k f(theta_k)`` over nodes of nonzero weight; infinite where f is, at a node as good as zero.

    Examples
    --------
    >>> import numpy as np
    >>> weighted_sum(np.log, np.array([0.0, 1.0]), np.array([0.0, 1.0]), band=0.0)
    0.0
    """
    values, weights = values[weights != 0], weights[weights != 0]
    y = spectral_values(f, values, band=band)
    infinite = np.isinf(y)
    return float(y[np.argmax(infinite)]) if np.any(infinite) else float(np.sum(weights * y))


def rounding_of_sum(f: SpectralFunction, values: np.ndarray, weights: np.ndarray, *, band: float) -> float:
    """Return how much `weighted_sum` changes when its nodes move by their rounding error, signs kept."""
    values, weights = values[weights > 0], weights[weights > 0]
    step = np.minimum(band, 0.5 * np.abs(values))
    y = spectral_values(f, values, band=band)
    changes = np.abs([spectral_values(f, values + sign * step, band=band) - y for sign in (1.0, -1.0)])
    return float(np.sum(weights * np.max(np.where(np.isfinite(changes), changes, 0.0), axis=0)))
