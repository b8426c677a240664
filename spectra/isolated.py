"""Ritz values that a gap separates from the rest of a spectral measure, at both of its ends."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["BulkRange", "isolated_ritz_values"]

#: Isolated eigenvalues are few: at most this mass lies at either end.
ISOLATED_MASS = 0.05
#: A gap counts if it is this many times wider than residuals and than the spread over the probes.
RESOLVED_GAP = 10.0
#: ... and this many times wider than what is resolved within the bulk.
BULK_GAP = 3.0


@dataclass(frozen=True, kw_only=True)
class BulkRange:
    """A spectral measure as a bulk and a few isolated values.

    Attributes
    ----------
    low, high : float
        Smallest and largest Ritz value of the bulk, over all probes.
    isolated : ndarray of shape (num_isolated,)
        Ritz values below and above the bulk, ascending; the mean over the probes.
    resolution : float
        Extent of the bulk over its number of nodes per probe: detail that a quadrature of that many nodes resolves.
    """

    low: float
    high: float
    isolated: npt.NDArray[np.float64]
    resolution: float

    @property
    def ends(self) -> tuple[float, float]:
        """Smallest and largest of all values."""
        return min([self.low, *self.isolated]), max([self.high, *self.isolated])


def isolated_ritz_values(measure: "xr.Dataset", *, width: float | None = None) -> BulkRange:
    """Separate the isolated Ritz values at both ends of a spectral measure from its bulk.

    The outermost ``k`` Ritz values of every probe are isolated if the gap to the next one is 10 times wider than their
    residuals and their spread over the probes, and 3 times wider than ``width``; the largest such ``k`` is taken
    whose values hold at most 5 % of the mass. This serves pictures; it is no test that an outlier is significant.

    Parameters
    ----------
    measure : xarray.Dataset
        A valid spectral measure of :func:`spectra.slq`.
    width : float, optional
        Detail below which nothing counts as a gap; by default the median distance of neighboring Ritz values.

    Returns
    -------
    BulkRange

    Examples
    --------
    >>> import spectra
    >>> eigenvalues = np.append(np.linspace(0.0, 1.0, 99), 7.0)
    >>> measure = spectra.slq(np.diag(eigenvalues), num_probes=5, num_steps=20)
    >>> isolated_ritz_values(measure).isolated.round(6)
    array([7.])
    """
    num_nodes = measure["num_nodes"].values
    below, low = _from_end(measure, width, end=1)
    above, high = _from_end(measure, width, end=-1)
    low, high = min(low, high), max(low, high)
    isolated = np.concatenate([below[below < low], above[above > high][::-1]])
    bulk_nodes = max(1.0, float(num_nodes.mean()) - len(isolated))
    largest = max(abs(low), abs(high), *np.abs(isolated), 0.0)
    # A bulk of a single value has no extent; any width that is small beside that value will do.
    resolution = (high - low) / bulk_nodes if high - low > 1e-9 * largest else (0.01 * largest or 1.0)
    return BulkRange(low=low, high=high, isolated=isolated, resolution=resolution)


def _from_end(measure: "xr.Dataset", width: float | None, *, end: int) -> tuple[np.ndarray, float]:
    """Return the isolated values from the outermost inward, and the outermost value of the rest."""
    shared = int(measure["num_nodes"].values.min())
    nodes = [_nodes(measure, probe)[:, ::end][:, :shared] for probe in range(measure.sizes["probe"])]
    values, weights, residuals = np.stack(nodes, axis=1)
    mean, mass = values.mean(axis=0), np.cumsum(weights.mean(axis=0))
    doubt = np.maximum(residuals.max(axis=0), np.ptp(values, axis=0))
    outermost = values.min(axis=0) if end == 1 else values.max(axis=0)
    gap = np.abs(outermost[1:] - mean[:-1])
    detail = width if width is not None else (np.median(np.abs(np.diff(mean))) if shared > 1 else 0.0)
    required = np.maximum(RESOLVED_GAP * np.maximum.accumulate(doubt[:-1]), BULK_GAP * detail)
    counts = 1 + np.flatnonzero((gap > required) & (mass[:-1] <= ISOLATED_MASS))
    count = int(counts[-1]) if len(counts) else 0
    return mean[:count], float(outermost[count])


def _nodes(measure: "xr.Dataset", probe: int) -> np.ndarray:
    """Return value, weight and residual of the nodes of one probe, ascending."""
    rows = np.stack([measure[name].values[probe] for name in ("ritz_value", "weight", "residual")])
    return rows[:, : int(measure["num_nodes"].values[probe])]
