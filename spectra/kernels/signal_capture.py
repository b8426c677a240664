r"""The signal capture threshold: which eigenvalues of a kernel n samples and a ridge let a fit learn.

It is the :math:`\kappa` that solves

.. math:: \sum_i \frac{\lambda_i}{\lambda_i + \kappa} + \frac{\delta}{\kappa} = n.

Directions with :math:`\lambda_i \gg \kappa` are learned, those with :math:`\lambda_i \ll \kappa` are not.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq

from spectra.arrays import finite_number
from spectra.errors import ArgumentError, ShapeError
from spectra.frozen import Vector, frozen_array

__all__ = ["modes", "positive_count", "signal_capture"]

#: Stop where the bracket of log kappa is this narrow: a few units of rounding of a logarithm of size 100.
WIDTH = 1e-14
#: Most iterations of Brent's method; about 12 are used, and bisection alone would need 60.
MOST = 300
#: Eigenvalues below minus this share of the largest are an error, and not rounding, which is set to 0.
NEGATIVE = 1e-8
#: Room that is added to both ends of the bracket in log kappa, for rounding of the ends themselves.
ROOM = 1e-6


def signal_capture(
    eigenvalue: npt.ArrayLike,
    *,
    num_samples: float,
    ridge: npt.ArrayLike,
    multiplicity: npt.ArrayLike | None = None,
) -> Vector:
    r"""Return the signal capture threshold :math:`\kappa` for one or many ridges.

    The only solution in :math:`(0, (\sum\lambda + \delta)/n]`; 0 where there is none: without a ridge and with no more
    than n positive eigenvalues.

    Parameters
    ----------
    eigenvalue : array_like, shape (m,)
        Of the integral operator, in any order, at least 0.
    num_samples : float
        n, positive; need not be whole.
    ridge : float or array_like
        :math:`\delta`, not divided by n, in the unit of ``n * eigenvalue``.
    multiplicity : array_like, shape (m,), optional
        How often each eigenvalue occurs; by default once.

    Returns
    -------
    ndarray, of the shape of ``ridge``
        In the unit of the eigenvalues. Read-only.

    Raises
    ------
    ArgumentError
        If an eigenvalue, multiplicity or ridge is negative, or ``num_samples`` not positive.
    ShapeError, NonFiniteError
        If the arrays are no finite vectors of one length.

    Notes
    -----
    Brent's method in :math:`\log\kappa` between ends that are known: :math:`\kappa \ge \delta/n`, and
    :math:`\kappa \ge \lambda_k (k - n)/n` for each k > n. About 12 sums over the eigenvalues for each ridge.

    Source: Simon, Dickens, Karkada and DeWeese (2021), arXiv 2110.03922, section 2; the name is that of Jacot, Simsek,
    Spadaro, Hongler and Gabriel (2020), arXiv 2006.09796. The lower ends are derived here.

    Examples
    --------
    Ten equal eigenvalues, five samples: half of each direction is learned.

    >>> float(signal_capture(np.ones(10), num_samples=5, ridge=0.0).round(12))
    1.0
    >>> signal_capture([1.0], multiplicity=[10], num_samples=5, ridge=[0.0, 1.0]).round(6).tolist()
    [1.0, 1.348331]
    """
    values, counts = modes(eigenvalue, multiplicity)
    n = finite_number(num_samples, name="num_samples")
    if not n > 0:
        raise ArgumentError(f"num_samples must be positive; got {num_samples!r}")
    ridges = frozen_array(ridge, name="ridge")
    if np.any(ridges < 0):
        raise ArgumentError(f"ridge must be at least 0; got {ridges[ridges < 0].flat[0]:.6g}")
    order = np.argsort(values)[::-1]
    values, counts = values[order], counts[order]
    solved = np.array([_solve(values, counts, n, float(one)) for one in ridges.flat]).reshape(ridges.shape)
    solved.flags.writeable = False
    return solved


def modes(eigenvalue: npt.ArrayLike, multiplicity: npt.ArrayLike | None) -> tuple[Vector, Vector]:
    """Return checked eigenvalues, at least 0, and how often each occurs.

    Raises
    ------
    ArgumentError, ShapeError, NonFiniteError
        See :func:`signal_capture`.

    Examples
    --------
    >>> modes([1.0, 2.0], None)[1].tolist()
    [1.0, 1.0]
    """
    values = frozen_array(eigenvalue, name="eigenvalue")
    if values.ndim != 1 or values.size == 0:
        raise ShapeError(f"eigenvalues of shape (m,), at least one, are required; got shape {values.shape}")
    smallest = float(np.min(values))
    if smallest < -NEGATIVE * float(np.max(np.abs(values))):
        raise ArgumentError(f"eigenvalues of an integral operator are at least 0; got {smallest:.6g}")
    counts = np.ones(values.size) if multiplicity is None else frozen_array(multiplicity, name="multiplicity")
    if counts.shape != values.shape:
        raise ShapeError(f"multiplicity must have the shape {values.shape} of the eigenvalues; got {counts.shape}")
    if np.any(counts < 0):
        raise ArgumentError(f"multiplicity must be at least 0; got {counts[counts < 0][0]:.6g}")
    return np.maximum(values, 0.0), counts


def positive_count(values: Vector, counts: Vector) -> float:
    """Return how many eigenvalues are positive, each as often as it occurs.

    Examples
    --------
    >>> positive_count(np.array([1.0, 0.0]), np.array([3.0, 7.0]))
    3.0
    """
    return float(np.sum(counts[values > 0]))


def _solve(values: Vector, counts: Vector, n: float, ridge: float) -> float:
    """Return kappa for descending eigenvalues and one ridge."""
    if ridge == 0 and positive_count(values, counts) <= n:
        return 0.0
    # The unit is that of the problem, so that no product below underflows.
    unit = max(float(values[0]), ridge / n)
    known = values > 0
    scaled, weight, delta = values[known] / unit, counts[known], ridge / unit
    highest = (float(np.sum(weight * scaled)) + delta) / n
    beyond = np.cumsum(weight) > n
    ends = (scaled * (np.cumsum(weight) - n) / n)[beyond]
    lowest = max(float(np.max(ends, initial=0.0)), delta / n)
    if not lowest > 0:
        return 0.0

    def excess(log_kappa: float) -> float:
        """Return the logarithm of how much the sum is above n."""
        kappa = math.exp(log_kappa)
        total: Any = np.sum(weight * (scaled / (scaled + kappa))) + delta / kappa
        return math.log(total / n)

    low, high = math.log(lowest) - ROOM, math.log(highest) + ROOM
    return unit * math.exp(brentq(excess, low, high, xtol=WIDTH, maxiter=MOST))
