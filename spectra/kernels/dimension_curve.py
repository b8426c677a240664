r"""The effective dimension as a function of the threshold, from the eigenvalues of a Gram matrix alone.

With :math:`T = \operatorname{tr}(K + \delta)^{-1}` and :math:`S = \operatorname{tr}(K + \delta)^{-2}`,

.. math::

    \hat\kappa = 1/T, \qquad \mathrm{df}_1 = n - \delta T, \qquad \mathrm{df}_2 = n - T^2/S, \qquad E_0 = n S / T^2

estimate the *population* quantities :math:`\sum \lambda/(\lambda + \kappa)`, its sum of squares and :math:`E_0` at
:math:`\hat\kappa`, under Gaussian equivalence: the trace of the hat matrix at a ridge is the effective
dimension of the population at another threshold.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from spectra.errors import ArgumentError
from spectra.frozen import Vector, frozen_array
from spectra.kernels.gram import GramSpectrum

__all__ = ["DimensionCurve", "dimension_curve", "ridge_grid"]

#: Ridges of a curve, and the smallest of them in units of ``n eps w_1``; the largest is ``n w_1`` (measured: enough
#: to resolve every law that was tried).
NUM_RIDGES, LOWEST = 400, 10.0


@dataclass(frozen=True, kw_only=True, eq=False)
class DimensionCurve:
    r"""Effective dimensions over ridges, ascending.

    Attributes
    ----------
    ridge : ndarray, shape (m,)
        In the unit of the Gram matrix, each at least its floor.
    kappa : ndarray, shape (m,)
        Estimated signal capture threshold, in the unit of the eigenvalues of the integral operator.
    df1, df2 : ndarray, shape (m,)
        Estimates of :math:`\sum L` and :math:`\sum L^2` at that threshold.
    overfitting_coefficient : ndarray, shape (m,)
        :math:`E_0 = n/(n - \mathrm{df}_2)`.
    num_samples : int
        n.
    """

    ridge: Vector
    kappa: Vector
    df1: Vector
    df2: Vector
    overfitting_coefficient: Vector
    num_samples: int

    def __post_init__(self) -> None:
        for name in ("ridge", "kappa", "df1", "df2", "overfitting_coefficient"):
            object.__setattr__(self, name, frozen_array(getattr(self, name), name=name))


def ridge_grid(spectrum: GramSpectrum, *, lowest: float | None = None, num: int = NUM_RIDGES) -> Vector:
    """Return ridges with equal ratios, from the smallest that numbers can tell to n times the largest eigenvalue.

    Parameters
    ----------
    spectrum : GramSpectrum
        The kernel.
    lowest : float, optional
        The smallest ridge, where that is known better; by default ``10 n eps w_1``.
    num : int
        How many.

    Examples
    --------
    >>> grid = ridge_grid(GramSpectrum.of_eigenvalues([2.0, 1.0]), num=3)
    >>> grid.size, float(grid[-1].round(12))
    (3, 4.0)
    """
    n, largest = spectrum.num_samples, float(spectrum.eigenvalue[0])
    least = max(LOWEST * n * spectrum.eps * largest, spectrum.ridge_floor) if lowest is None else lowest
    return np.geomspace(min(least, n * largest / 2), n * largest, num)


def dimension_curve(spectrum: GramSpectrum, ridge: npt.ArrayLike | None = None) -> DimensionCurve:
    r"""Return the effective dimensions at the given ridges, or from rounding to no fit at all.

    Parameters
    ----------
    spectrum : GramSpectrum
        Eigenvalues that are not listed are taken to be equal.
    ridge : array_like, optional
        At least 0; raised to ``spectrum.ridge_floor``, and sorted.

    Returns
    -------
    DimensionCurve

    Raises
    ------
    ArgumentError
        If a ridge is negative, or there is none.

    Notes
    -----
    O(n) for each ridge. Nothing cancels: with :math:`h = w/(w + \delta)`, :math:`\mathrm{df}_1 = \sum h` and
    :math:`\mathrm{df}_2 = n \sum (h - \bar h)^2 / \sum (1 - h)^2`, in which 1 - h replaces h where it is smaller.

    Source: :math:`\hat\kappa` by Jacot et al. (2020), arXiv 2006.09796; :math:`E_0` and df2 derived here from
    :math:`E_0 = n\,d\kappa/d\delta`. Measured under Gaussian design with :math:`\lambda_i = i^{-1.5}`, n = 500: df1 and
    df2 within 0.1 % of the population up to df1 = 0.72 n, where :math:`\sum (w/n)/(w/n + \kappa)` is 41 % low.

    Examples
    --------
    >>> curve = dimension_curve(GramSpectrum.of_eigenvalues([3.0, 1.0]), [1.0])
    >>> curve.df1.tolist(), curve.kappa.round(6).tolist()
    ([1.25], [1.333333])
    """
    ridges = ridge_grid(spectrum) if ridge is None else np.sort(np.atleast_1d(frozen_array(ridge, name="ridge")))
    if ridges.ndim != 1 or ridges.size == 0 or ridges[0] < 0:
        raise ArgumentError(f"ridges of at least 0, at least one, are required; got {ridge!r}")
    delta = np.maximum(ridges, spectrum.ridge_floor)
    values, counts = _with_rest(spectrum)
    n = spectrum.num_samples
    columns = np.empty((3, delta.size))
    for i in range(delta.size):
        columns[:, i] = _at(values, counts, n, delta[i])
    return DimensionCurve(
        ridge=delta,
        kappa=columns[0],
        df1=columns[1],
        df2=columns[2],
        overfitting_coefficient=n / (n - columns[2]),
        num_samples=n,
    )


def _with_rest(spectrum: GramSpectrum) -> tuple[Vector, Vector]:
    """Return eigenvalues and how many they stand for: those not listed share the residual trace."""
    unlisted = spectrum.num_samples - spectrum.eigenvalue.size
    if unlisted == 0:
        return spectrum.eigenvalue, np.ones(spectrum.num_samples)
    each = spectrum.residual_trace / unlisted
    return np.append(spectrum.eigenvalue, each), np.append(np.ones(spectrum.eigenvalue.size), float(unlisted))


def _at(values: Vector, counts: Vector, n: int, delta: float) -> tuple[float, float, float]:
    """Return kappa, df1 and df2 at one ridge."""
    fitted, left = values / (values + delta), delta / (values + delta)
    df1 = float(np.sum(counts * fitted))
    squares = float(np.sum(counts * left**2))
    total = float(np.sum(counts * left))
    # Both have the same deviations from their means; those of the smaller one do not cancel.
    deviation = fitted - df1 / n if df1 < total else left - total / n
    return delta / total, df1, n * float(np.sum(counts * deviation**2)) / squares
