r"""The edge of a bulk from its outermost eigenvalues alone, and which of them stand outside.

Where a density ends like a square root, its outermost eigenvalues sit, in units of one scale s, at the places of the
zeros of the Airy function below the edge, whatever the law of the bulk. A robust line through them gives the edge and s
together.
"""

from dataclasses import dataclass

import numpy as np

from spectra.frozen import Vector
from spectra.laws.edge_scaling import real_edge_quantile
from spectra.laws.tracy_widom import TracyWidom

__all__ = ["LEAST_EIGENVALUES", "LadderFit", "airy_ladder", "ladder_positions"]

#: Fewer eigenvalues have no edge region to speak of: with 40, 1.2 +- 0.2 % of square Wishart matrices show outliers
#: where 1 % may (measured).
LEAST_EIGENVALUES = 50
#: Of (3 pi / 2 (j - offset))^(2/3): the zeros of the Airy function. The mean positions of real symmetric matrices have
#: 3/4, but with that two to three times as many Wishart matrices show false outliers (measured).
OFFSET = 0.25
#: Window min(60, max(12, 1.2 sqrt(N))): set by hand, not tuned.
LEAST_POINTS, MOST_POINTS, POINTS_PER_ROOT = 12, 60, 1.2
#: Outliers looked for: one eigenvalue in eight, at most 100, and no fewer than half the window (design choice). More of
#: them above a gap would rather be a part of the bulk of its own.
OUTLIER_SHARE, MOST_OUTLIERS = 8, 100
#: The two outermost eigenvalues that are not yet outliers take no part in the fit that judges them (set by hand).
LEFT_OUT = 2
#: Outliers lie (q + ALLOWANCE / sqrt(N)) s above the edge, q the Tracy-Widom quantile. Measured on Wishart matrices
#: with aspect ratios 0.05 to 1, whose density is no square root within the window; 0 would do for Gaussian ones. With
#: 14, 0.76 +- 0.12 % of 5000 square matrices of order 50 show outliers where 1 % may, and 0.64 % with 16.
ALLOWANCE = 16.0
#: Standard deviation of the edge in units of s, by which its largest eigenvalue fluctuates (measured: 0.6 to 1.3 for
#: random matrices); and what the edge from half the window differs by is added this many times, for densities that bend
#: within the window, as at the lower edge of Wishart matrices.
FLUCTUATION, BEND = 1.2, 2.0
#: Windows, as shares of the first, with which outliers are counted again (design choice).
OTHER_WINDOWS = 0.5, 1.5
#: ... and the fewest eigenvalues in them.
LEAST_OTHER = 8
#: Rounding of eigenvalues in units of eps times the largest, below which no scale is resolved (design choice).
ROUNDING = 64.0 * float(np.finfo(np.float64).eps)


@dataclass(frozen=True, kw_only=True, eq=False)
class LadderFit:
    """Upper edge of a bulk.

    Attributes
    ----------
    edge, scale : float
        Edge b, and s in ``b - s a_j``. ``b + s W`` is where the largest eigenvalue of the bulk may lie, W Tracy-Widom.
    stderr : float
        Standard error of the edge.
    num_outliers : int
        Eigenvalues above the threshold.
    least_outliers, most_outliers : int
        The same, with windows of half and of one and a half times as many eigenvalues too. Where the spectrum has no
        gap, the number follows the window.
    threshold : float
        For the outermost eigenvalue of the bulk.
    p_values : ndarray, shape (num_outliers,)
        Probability that the bulk reaches as far, the largest outlier first.
    misfit : float
        Root mean square deviation from the line in units of s; up to 0.9 for random matrices.
    num_points : int
        Eigenvalues in the window.
    max_outliers : int
        Outliers that were looked for at most.
    is_resolved : bool
        Whether s is above the rounding of the eigenvalues.
    """

    edge: float
    scale: float
    stderr: float
    num_outliers: int
    least_outliers: int
    most_outliers: int
    threshold: float
    p_values: Vector
    misfit: float
    num_points: int
    max_outliers: int
    is_resolved: bool


def ladder_positions(num_points: int, *, offset: float = OFFSET) -> Vector:
    r"""Return ``(3 pi / 2 (j - offset))^(2/3)`` for j = 1, ..., num_points: zeros of the Airy function, without sign.

    Examples
    --------
    >>> ladder_positions(3).round(2)
    array([2.32, 4.08, 5.52])
    """
    return np.cbrt(1.5 * np.pi * (np.arange(1, num_points + 1) - offset)) ** 2


def airy_ladder(
    eigenvalues: Vector,
    *,
    level: float,
    num_points: int | None = None,
    offset: float = OFFSET,
    max_outliers: int | None = None,
) -> LadderFit:
    r"""Fit the upper edge and count the eigenvalues above it.

    For k = 0, 1, ... outliers the eigenvalues after the first k + 2 are fitted by the median of all slopes. The largest
    k whose k-th eigenvalue lies above the threshold of the fit for k - 1, and of that of all of the rest, counts: many
    outliers do not hide one another.

    Parameters
    ----------
    eigenvalues : ndarray, shape (N,)
        Descending, finite; at least `LEAST_EIGENVALUES`.
    level : float
        Probability that a bulk shows no outlier.
    num_points : int, optional
        Window M, by default ``min(60, max(12, 1.2 sqrt(N)))``.
    offset : float
        See `ladder_positions`.
    max_outliers : int, optional
        Largest k, by default N / 8, between M / 2 and 100.

    Notes
    -----
    ``k M^2 / 2`` slopes. For the lower edge negate; not for hard edges. Source: Ramirez, Rider and Virag (2011) for the
    scaling of edges; Sen (1968) for the fit; the split is a construction of this project.

    Examples
    --------
    >>> exact = 2.0 - 0.01 * ladder_positions(40)
    >>> found = airy_ladder(np.concatenate([[2.5, 2.4], exact]), level=0.99)
    >>> found.num_outliers, found.edge, found.scale
    (2, 2.0, 0.01)
    """
    n = len(eigenvalues)
    rungs = num_points or int(min(MOST_POINTS, max(LEAST_POINTS, POINTS_PER_ROOT * np.sqrt(n))))
    if max_outliers is None:
        max_outliers = max(rungs // 2, min(n // OUTLIER_SHARE, MOST_OUTLIERS))
    most = min(max_outliers, n - rungs)
    floor = ROUNDING * float(np.max(np.abs(eigenvalues)))
    margin = real_edge_quantile(level) + ALLOWANCE / np.sqrt(n)
    count = _count(eigenvalues, ladder_positions(rungs, offset=offset), most, margin, floor)
    counts = [count]
    if count:
        sizes = (min(max(round(share * rungs), LEAST_OTHER), n) for share in OTHER_WINDOWS)
        ladders = (ladder_positions(size, offset=offset) for size in sizes)
        counts += [_count(eigenvalues, own, min(max_outliers, n - len(own)), margin, floor) for own in ladders]
    positions = ladder_positions(rungs, offset=offset)
    window = eigenvalues[None, count : count + rungs]
    edge, scale = (float(value[0]) for value in _lines(window, positions))
    spread = max(scale, floor)
    unit = spread if spread > 0.0 else 1.0
    outside = (eigenvalues[:count] - edge) / unit - ALLOWANCE / np.sqrt(n)
    half, _ = _lines(window[:, : (rungs + 1) // 2], positions[: (rungs + 1) // 2])
    deviation = window[0] - edge + scale * positions
    return LadderFit(
        edge=edge,
        scale=scale,
        stderr=float(np.hypot(FLUCTUATION * spread, BEND * (half[0] - edge))),
        num_outliers=count,
        least_outliers=min(counts),
        most_outliers=max(counts),
        threshold=float(edge + margin * spread),
        p_values=np.asarray(TracyWidom().sf(outside), dtype=np.float64).reshape(count),
        misfit=float(np.sqrt(np.mean((deviation / unit) ** 2))),
        num_points=rungs,
        max_outliers=most,
        is_resolved=scale > floor,
    )


def _count(eigenvalues: Vector, positions: Vector, most: int, margin: float, floor: float) -> int:
    """Return the number of eigenvalues, at most `most`, above the edge that those behind them have."""
    rungs = len(positions)
    windows = np.lib.stride_tricks.sliding_window_view(eigenvalues, rungs)[: most + 1]
    edges, scales = _lines(windows[:most, LEFT_OUT:], positions[LEFT_OUT:])
    scales = np.maximum(scales, floor)
    excess = (windows[:most, 0] - edges) / np.where(scales > 0.0, scales, 1.0)
    for candidate in np.flatnonzero(excess > margin)[::-1]:
        # The fit with all of the bulk must agree.
        count = int(candidate) + 1
        edge, scale = (float(value[0]) for value in _lines(windows[count : count + 1], positions))
        if eigenvalues[candidate] > edge + margin * max(scale, floor):
            return count
    return 0


def _lines(values: Vector, positions: Vector) -> tuple[Vector, Vector]:
    """Return intercepts and negative slopes of robust lines through each row of values (Theil and Sen)."""
    first, second = np.triu_indices(len(positions), 1)
    slopes = (values[:, first] - values[:, second]) / (positions[second] - positions[first])
    scales = np.median(slopes, axis=1)
    return np.median(values + scales[:, None] * positions, axis=1), scales
