r"""The ridge with the lowest leave-one-out error."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq, minimize_scalar

from spectra.errors import ArgumentError
from spectra.frozen import Vector
from spectra.kernels.kernel_risk import KernelRisk, checked_level
from spectra.kernels.leave_one_out import leave_one_out_of
from spectra.kernels.ridge_fit import RidgeFit, checked_ridges, ridge_fit

__all__ = ["BestRidge", "best_ridge", "best_ridge_of"]

Place = Literal["inside", "none needed", "at the top", "flat"]

#: Ridges per factor of ten of the grid, and its upper end relative to the largest eigenvalue (design choices): at the
#: end the fit has shrunk even the largest mode to a tenth.
PER_DECADE, HIGHEST = 4, 10.0
#: Accuracy of the refined ridge and of the ends of the flat region, in log ridge.
ACCURACY = 1e-3
#: The search for an end begins this many accuracies beside the best ridge.
NEAR = 3.0


@dataclass(frozen=True, kw_only=True, eq=False)
class BestRidge:
    r"""The ridge with the lowest leave-one-out error, and how well the data determine it.

    Attributes
    ----------
    ridge : float
        Unnormalized: the solution is :math:`(K + \delta I)^{-1} y`.
    low, high : float
        Ridges around it whose error exceeds the lowest by at most one standard error of the difference, sample by
        sample: the data do not tell them apart. They end where the grid does.
    risk : KernelRisk
        Leave-one-out error at the best ridge, with its interval and warning. Slightly too low because it was minimized.
    place : str
        ``"inside"``; ``"none needed"``: the smallest ridge is best; ``"at the top"``: the largest is; ``"flat"``: the
        ends of the grid differ by less than their standard error from the best.
    verdict : str
        A sentence.
    grid : ndarray, shape (R,)
        Ridges that were tried first, ascending.
    grid_risk : ndarray, shape (R,)
        Their leave-one-out errors.
    """

    ridge: float
    low: float
    high: float
    risk: KernelRisk
    place: Place
    verdict: str
    grid: Vector
    grid_risk: Vector

    @property
    def ridge_per_sample(self) -> float:
        """The best ridge divided by the number of samples."""
        return self.ridge / self.risk.num_samples


def best_ridge(K: Any, y: Any, *, ridges: npt.ArrayLike | None = None, level: float = 0.95) -> BestRidge:
    r"""Return the ridge with the lowest leave-one-out error.

    Parameters
    ----------
    K : array of any library, shape (n, n)
        Gram matrix, without a factor 1/n.
    y : array, shape (n,) or (n, C)
        Targets; there is no intercept.
    ridges : array_like, shape (R,), optional
        Unnormalized ridges to begin with; by default four in each factor of ten, from the floor of rounding to ten
        times the largest eigenvalue. The best is refined between its neighbors.
    level : float
        Of the interval of the risk.

    Returns
    -------
    BestRidge

    Raises
    ------
    ArgumentError, ShapeError, NonFiniteError, NotSymmetricError, BackendError
        As :func:`spectra.kernels.leave_one_out.leave_one_out`.

    Notes
    -----
    One eigendecomposition and about 100 leave-one-out errors, O(n^2 C) each. The one-standard-error range follows
    Breiman, Friedman, Olshen, Stone (1984), section 3.4, with the standard error of paired differences instead.

    Examples
    --------
    Targets that are pure noise to the kernel ask for the largest ridge.

    >>> y = np.array([1.0, -1.0, 1.0, -1.0])
    >>> best_ridge(np.ones((4, 4)) + np.eye(4), y).place
    'at the top'
    """
    level = checked_level(level)
    if ridges is not None:
        ridges = checked_ridges(ridges)
    return best_ridge_of(ridge_fit(K, y), ridges=ridges, level=level)


def best_ridge_of(fit: RidgeFit, *, ridges: npt.ArrayLike | None = None, level: float = 0.95) -> BestRidge:
    """Return the best ridge of a problem that is decomposed already; see :func:`best_ridge`.

    Parameters
    ----------
    fit : RidgeFit
        From :func:`spectra.kernels.ridge_fit.ridge_fit`.
    ridges, level
        As for :func:`best_ridge`.

    Returns
    -------
    BestRidge

    Notes
    -----
    About 100 leave-one-out errors, O(n^2 C) each.

    Examples
    --------
    >>> best_ridge_of(ridge_fit(np.eye(3), np.ones(3)), ridges=[1.0]).ridge
    1.0
    """
    if fit.num_samples < 2:
        raise ArgumentError("a ridge is chosen from at least two samples; got one")
    grid = _grid(fit) if ridges is None else np.unique(fit.effective_ridge(ridges))
    squares = fit.squared_residuals(grid)
    means = np.mean(squares, axis=0)
    # Of equal ones the largest: the same error with better condition.
    best = len(grid) - 1 - int(np.argmin(means[::-1]))
    ridge = float(grid[best])
    around = np.log(grid[[max(best - 1, 0), min(best + 1, len(grid) - 1)]])
    if 0 < best < len(grid) - 1:
        refined = minimize_scalar(
            lambda x: float(np.mean(fit.squared_residuals(math.exp(x)))),
            bounds=around,
            method="bounded",
            options={"xatol": ACCURACY},
        )
        ridge = float(np.exp(refined.x)) if refined.fun < means[best] else ridge
    lowest = fit.squared_residuals(ridge)

    def beyond(x: float) -> float:
        return float(_beyond(fit.squared_residuals(math.exp(x)), lowest)[0])

    outside = _beyond(squares, lowest) > 0
    low = _edge(beyond, ridge, grid[grid < ridge][::-1], outside[grid < ridge][::-1])
    high = _edge(beyond, ridge, grid[grid > ridge], outside[grid > ridge])
    risk = leave_one_out_of(fit, ridge=ridge, level=level)
    place: Place = "inside"
    if low <= grid[0] and high >= grid[-1]:
        place = "flat"
    elif ridge <= grid[0]:
        place = "none needed"
    elif ridge >= grid[-1]:
        place = "at the top"
    return BestRidge(
        ridge=ridge,
        low=low,
        high=high,
        risk=risk,
        place=place,
        verdict=_verdict(fit, risk, place, low, high, grid),
        grid=grid,
        grid_risk=means,
    )


def _grid(fit: RidgeFit) -> Vector:
    """Return ridges with equal ratios, from the floor of rounding to ten times the largest eigenvalue."""
    low, high = fit.spectrum.ridge_floor, HIGHEST * float(fit.spectrum.eigenvalue[0])
    return np.geomspace(low, high, math.ceil(PER_DECADE * math.log10(high / low)) + 1)


def _beyond(squares: Vector, lowest: Vector) -> Vector:
    """Return how far mean errors exceed the lowest one, less one standard error of the paired difference."""
    difference = squares - lowest
    return np.mean(difference, axis=0) - np.std(difference, axis=0, ddof=1) / math.sqrt(len(difference))


def _edge(beyond: Callable[[float], float], ridge: float, others: Vector, outside: np.ndarray) -> float:
    """Return where ridges first differ from the best by more than a standard error, going away from it."""
    if not np.any(outside):
        return float(others[-1]) if len(others) else ridge
    first = int(np.argmax(outside))
    outer = math.log(others[first])
    # At the best ridge itself the difference and its standard error both vanish.
    beside = math.log(ridge) + math.copysign(NEAR * ACCURACY, outer - math.log(ridge))
    inner = beside if first == 0 else math.log(others[first - 1])
    if not beyond(inner) < 0 < beyond(outer):
        return math.exp(inner)
    return math.exp(brentq(beyond, inner, outer, xtol=ACCURACY))


def _verdict(fit: RidgeFit, risk: KernelRisk, place: Place, low: float, high: float, grid: Vector) -> str:
    """Say in a sentence how well the data determine the ridge, and what that means."""
    error = f"estimated error {risk.risk:.3g}, variance of the targets {risk.label_variance:.3g}"
    if risk.risk > risk.label_variance:
        text = f"No ridge makes this kernel predict better than the mean of the targets does: {error}"
    elif place == "flat":
        text = f"The data do not tell ridges from {grid[0]:.3g} to {grid[-1]:.3g} apart: {error}"
    elif place == "none needed":
        text = f"No ridge is needed: errors only grow with it, from {high:.3g} on by more than their scatter; {error}"
    elif place == "at the top":
        text = f"The largest ridge that was tried is best, so the kernel adds little to predicting 0: {error}"
    else:
        text = f"Ridges from {low:.3g} to {high:.3g} do equally well: {error}"
    return text if risk.is_trustworthy or risk.risk > risk.label_variance else f"{text}. {risk.why}"
