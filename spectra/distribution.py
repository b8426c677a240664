"""The distribution function of a spectral measure: points where eigenvalues are, ramps where nodes stand for many."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from spectra.measure_schema import Probe, probes_of

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Distribution", "distribution_of", "step_distribution"]

_HEAVY = 5.0
_NARROW = 1e-9


@dataclass(frozen=True, eq=False, kw_only=True)
class Distribution:
    """A mean of distribution functions, each of which rises linearly over disjoint intervals.

    Attributes
    ----------
    low, high : tuple of ndarray, each of shape (k,)
        Ends of the intervals of each member, ascending; equal for a jump.
    sums : tuple of ndarray, each of shape (k + 1,)
        Mass below each interval, from 0 to 1.
    """

    low: tuple[np.ndarray, ...]
    high: tuple[np.ndarray, ...]
    sums: tuple[np.ndarray, ...]

    @property
    def points(self) -> np.ndarray:
        """Where the slope changes, ascending."""
        return np.unique(np.concatenate([*self.low, *self.high]))

    def at(self, x: np.ndarray, *, left: bool = False) -> np.ndarray:
        """Return the share up to x, or the limit from the left."""
        total = np.zeros(x.shape)
        for low, high, sums in zip(self.low, self.high, self.sums, strict=True):
            done = np.searchsorted(high, x, side="left" if left else "right")
            j = np.minimum(done, len(low) - 1)
            width = high[j] - low[j]
            inside = np.where(width > 0, (x - low[j]) / np.where(width > 0, width, 1.0), 0.0)
            partial = np.where(done < len(low), np.clip(inside, 0.0, 1.0), 0.0)
            total += sums[done] + partial * (sums[j + 1] - sums[j])
        return np.minimum(total / len(self.low), 1.0)

    def inverse(self, levels: np.ndarray) -> np.ndarray:
        """Return the smallest x at which the distribution function reaches each level."""
        points = self.points
        right = np.maximum.accumulate(self.at(points))
        left = np.minimum(self.at(points, left=True), right)
        levels = np.minimum(levels, right[-1])
        index = np.searchsorted(right, levels - 8.0 * np.finfo(np.float64).eps, side="left")
        before = np.maximum(index - 1, 0)
        rise = left[index] - right[before]
        ramp = (levels < left[index]) & (index > 0) & (rise > 0)
        share = np.where(ramp, (levels - right[before]) / np.where(ramp, rise, 1.0), 1.0)
        return points[before] + np.clip(share, 0.0, 1.0) * (points[index] - points[before])

    def distance(self, other: "Distribution") -> float:
        """Return the area between this distribution function and another, ``int |F(x) - G(x)| dx``."""
        points = np.union1d(self.points, other.points)
        first = (self.at(points) - other.at(points))[:-1]
        last = (self.at(points, left=True) - other.at(points, left=True))[1:]
        size = np.abs(first) + np.abs(last)
        crossing = first * last < 0
        area = np.where(crossing, (first**2 + last**2) / np.where(size > 0, 2.0 * size, 1.0), 0.5 * size)
        return float(np.sum(area * np.diff(points)))


def distribution_of(measure: "xr.Dataset") -> Distribution:
    """Return the distribution of a measure, the mean over probes.

    The mass of a node is spread evenly around it, over the smaller of its residual and the distance to the nearest
    neighbor. It stays a point

    * at the ends, so that no mass lies outside of the Ritz values,
    * where the node outweighs both neighbors fivefold: an eigenvalue of high multiplicity,
    * where the residual is tiny (an eigenvalue that has converged), unknown, or the probe has seen all of its space.

    Every such function lies within the bounds of Chebyshev, Markov and Stieltjes (`spectra.cdf_bounds`), like the step
    function; on eight spectra (power law, bulk and outliers, Laplacian, kernel, zeros, clusters, uniform, gap) of
    order 1000 at 10 probes and 30 steps it was closer to the spectrum than that, by factors of 1.1 to 3.
    """
    probes = probes_of(measure)
    residuals = measure["residual"].values if "residual" in measure else np.full(measure["weight"].shape, np.nan)
    widths = [_widths(probe, residuals[i, : len(probe.values)]) for i, probe in enumerate(probes)]
    return Distribution(
        low=tuple(probe.values - 0.5 * width for probe, width in zip(probes, widths, strict=True)),
        high=tuple(probe.values + 0.5 * width for probe, width in zip(probes, widths, strict=True)),
        sums=tuple(_sums(probe.weights) for probe in probes),
    )


def step_distribution(eigenvalues: np.ndarray) -> Distribution:
    """Return the distribution of eigenvalues of equal weight."""
    values = np.sort(eigenvalues)
    return Distribution(low=(values,), high=(values,), sums=(_sums(np.full(len(values), 1.0 / len(values))),))


def _widths(probe: Probe, residuals: np.ndarray) -> np.ndarray:
    """Return over how much the mass of each node is spread."""
    values, weights = probe.values, probe.weights
    spacing = np.diff(values)
    width = np.zeros(len(values))
    if len(values) < 3 or probe.is_exact:
        return width
    width[1:-1] = np.minimum(np.minimum(spacing[:-1], spacing[1:]), np.nan_to_num(residuals[1:-1]))
    heavy = weights[1:-1] > _HEAVY * np.maximum(weights[:-2], weights[2:])
    width[1:-1][heavy] = 0.0
    width[width <= _NARROW * np.max(np.abs(values))] = 0.0
    return width


def _sums(weights: np.ndarray) -> np.ndarray:
    """Return cumulative sums which begin at 0 and end at exactly 1."""
    sums = np.concatenate([[0.0], np.minimum(np.cumsum(weights), 1.0)])
    sums[-1] = 1.0
    return sums
