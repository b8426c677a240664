r"""Fits of :math:`c + a x^p` with c and a at least 0."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls

from spectra.frozen import Vector

__all__ = ["NonnegativePower", "fit_nonnegative_power"]


@dataclass(frozen=True, kw_only=True)
class NonnegativePower:
    """The function ``constant + factor * (x / unit)**exponent``."""

    constant: float
    factor: float
    exponent: float
    unit: float

    def __call__(self, x: npt.ArrayLike) -> Vector:
        """Return its values."""
        return self.constant + self.factor * (np.asarray(x, dtype=float) / self.unit) ** self.exponent


def fit_nonnegative_power(
    x: npt.ArrayLike, value: npt.ArrayLike, *, exponents: npt.ArrayLike, weight: npt.ArrayLike | None = None
) -> NonnegativePower:
    r"""Return the fit with the least sum of squares, over a list of exponents.

    .. math:: \min_{c, a \ge 0} \sum_i g_i (c + a x_i^p - v_i)^2 / v_i^2

    Parameters
    ----------
    x, value : array_like, shape (m,)
        Positive.
    exponents : array_like, shape (k,)
        Exponents p to try.
    weight : array_like, shape (m,), optional
        g; by default 1.

    Returns
    -------
    NonnegativePower

    Notes
    -----
    A small nonnegative least-squares problem for each exponent (Lawson, Hanson 1974).

    Examples
    --------
    >>> x = np.array([1.0, 2.0, 4.0, 8.0])
    >>> found = fit_nonnegative_power(x, 3 + 2 / x, exponents=[-2.0, -1.0, -0.5])
    >>> found.exponent, round(found.constant, 9), round(float(found(16.0)), 9)
    (-1.0, 3.0, 3.125)
    """
    place, known = np.asarray(x, dtype=float), np.asarray(value, dtype=float)
    root = np.ones(place.size) if weight is None else np.sqrt(np.asarray(weight, dtype=float))
    unit = float(np.exp(np.mean(np.log(place))))
    best, found = np.inf, NonnegativePower(constant=float(np.mean(known)), factor=0.0, exponent=0.0, unit=unit)
    for exponent in np.atleast_1d(np.asarray(exponents, dtype=float)):
        design = np.column_stack([np.ones(place.size), (place / unit) ** exponent]) / known[:, None]
        (constant, factor), rest = nnls(design * root[:, None], root)
        if rest < best:
            best = rest
            found = NonnegativePower(
                constant=float(constant), factor=float(factor), exponent=float(exponent), unit=unit
            )
    return found
