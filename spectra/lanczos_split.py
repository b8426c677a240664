r"""The edges of a bulk from the coefficients of Lanczos runs, and the Ritz values outside.

Where the bulk is one interval, the tridiagonal coefficients tend to constants, and the interval is
:math:`\alpha_\infty \pm 2\beta_\infty`.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from spectra.coefficient_limits import coefficient_limits
from spectra.frozen import Vector
from spectra.gauss_rules import LEAST_STEPS, GaussRule, gauss_rules

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["LanczosFit", "lanczos_fit"]

#: Outliers are taken out and the edges fitted again until they no longer change, at most this often (design choice).
MOST_ROUNDS = 4
#: Outliers lie beyond the edge by 4 standard errors and 2 (high - low) N^(-2/3) (set by hand, not tuned).
STDERRS, FLUCTUATION = 4.0, 2.0
#: ... and have residuals below this share of the bulk (set by hand).
RESIDUAL = 0.01
#: Coefficients of one interval scatter by less than 0.02 + 1 / sqrt(N) of its width around a line. Measured: up to
#: 0.5 / sqrt(N) for Wishart matrices of order 200 and 1200.
SCATTER, SCATTER_OF_SIZE = 0.02, 1.0
#: The edges are compared with those after half of the steps, unless that is more than this share (design choice).
EARLIER, MOST_EARLIER = 0.5, 0.75


@dataclass(frozen=True, kw_only=True, eq=False)
class LanczosFit:
    """Edges of a bulk of one interval, and Ritz values outside.

    Attributes
    ----------
    low, high, low_stderr, high_stderr : float
        Edges.
    low_threshold, high_threshold : float
        Ritz values beyond are outliers.
    outliers, residuals : ndarray
        Ritz values outside that recur over the probes, descending; and the largest of their residuals.
    scatter : float
        Standard deviation of the coefficients around a line in the number of steps, over the width of the bulk;
        infinite where outliers leave too few nodes for a bulk.
    scatter_limit : float
        What it may be for a bulk of one interval.
    num_unconverged : int
        Clusters of Ritz values outside whose residuals are too large, or that most probes do not have.
    num_undecided : int
        Converged values that would be outliers if the edges were known without error.
    earlier_low, earlier_high : float
        Edges after half of the steps, NaN where these are too few.
    movement : float
        How far an edge has moved since, the larger one, in units of the larger of its two standard errors; NaN where it
        is not known. Where the bulk has no end, edges move on and on.
    """

    low: float
    high: float
    low_stderr: float
    high_stderr: float
    low_threshold: float
    high_threshold: float
    outliers: Vector
    residuals: Vector
    scatter: float
    scatter_limit: float
    num_unconverged: int
    num_undecided: int
    earlier_low: float = np.nan
    earlier_high: float = np.nan
    movement: float = np.nan


def lanczos_fit(measure: "xr.Dataset") -> LanczosFit:
    r"""Fit the coefficients of the last half of the steps, and list what lies outside the edges.

    Converged Ritz values outside are taken out of the Gauss rules, whose coefficients are then those of the bulk alone,
    until nothing changes. Edges are those of a line in the number of steps, at step 0: a finite matrix makes them move
    inward by up to :math:`2 (high - low) / N` a step, to which the slope is clipped.

    Parameters
    ----------
    measure : xarray.Dataset
        From `spectra.slq`.

    Raises
    ------
    SchemaError
        If it is no spectral measure.
    ArgumentError
        If it holds no coefficients, or too few.

    Notes
    -----
    The weight of a Ritz value is not used: N times that of an isolated eigenvalue is distributed like chi squared with
    one degree of freedom, from next to nothing to several times its mean. The coefficients of a fixed matrix have a
    scatter of their own, which more probes do not average out.

    Source: the limits of the coefficients are classical (Szego; Nevai 1979); drift and margins are measured.

    Examples
    --------
    >>> import spectra
    >>> angles = np.pi * (np.arange(2000) + 0.5) / 2000
    >>> measure = spectra.slq(np.diag(np.append(np.cos(angles), 3.0)), num_probes=4, num_steps=40)
    >>> found = lanczos_fit(measure)
    >>> found.outliers.round(6), round(found.high, 1)
    (array([3.]), 1.0)
    """
    rules, n = gauss_rules(measure), int(measure.attrs["dimension"])
    fit = _fit(rules, n)
    steps = min(len(rule.values) for rule in rules)
    fewer = max(int(EARLIER * steps), LEAST_STEPS)
    if fewer > MOST_EARLIER * steps:
        return fit
    earlier = _fit([rule.shortened(fewer) for rule in rules], n)
    moves = (
        (earlier.low - fit.low, max(earlier.low_stderr, fit.low_stderr)),
        (earlier.high - fit.high, max(earlier.high_stderr, fit.high_stderr)),
    )
    movement = max(abs(move) / stderr if stderr > 0.0 else np.inf if move else 0.0 for move, stderr in moves)
    return replace(fit, earlier_low=earlier.low, earlier_high=earlier.high, movement=movement)


def _fit(rules: list[GaussRule], n: int) -> LanczosFit:
    """Return the fit without a look at fewer steps."""
    removed: list[npt.NDArray[np.bool_]] = [np.zeros(len(rule.values), dtype=bool) for rule in rules]
    is_bulk = True
    for _ in range(MOST_ROUNDS):
        coefficients = [
            rule.without(gone) if np.any(gone) else (rule.diagonal, rule.off_diagonal)
            for rule, gone in zip(rules, removed, strict=True)
        ]
        limits = coefficient_limits(coefficients, n)
        width = limits.high - limits.low
        fluctuation = FLUCTUATION * width * n ** (-2.0 / 3.0)
        margins = fluctuation + STDERRS * np.array([limits.low_stderr, limits.high_stderr])
        ends = limits.low - margins[0], limits.high + margins[1]
        outside = [
            ((rule.values < ends[0]) | (rule.values > ends[1])) & (rule.residuals <= RESIDUAL * width) for rule in rules
        ]
        # What was taken out stays out, so that the rounds end.
        if all(np.all(gone[new]) for gone, new in zip(removed, outside, strict=True)):
            break
        together = [gone | new for gone, new in zip(removed, outside, strict=True)]
        if any(np.sum(~gone) < LEAST_STEPS for gone in together):
            is_bulk = False
            break
        removed = together
    values, residuals, missed = _outside(rules, *ends, RESIDUAL * width)
    nearer, _, _ = _outside(rules, limits.low - fluctuation, limits.high + fluctuation, RESIDUAL * width)
    return LanczosFit(
        low=limits.low,
        high=limits.high,
        low_stderr=limits.low_stderr,
        high_stderr=limits.high_stderr,
        low_threshold=float(ends[0]),
        high_threshold=float(ends[1]),
        outliers=values,
        residuals=residuals,
        scatter=limits.scatter / width if is_bulk and width > 0.0 else np.inf,
        scatter_limit=SCATTER + SCATTER_OF_SIZE / float(np.sqrt(n)),
        num_unconverged=missed,
        num_undecided=len(nearer) - len(values),
    )


def _outside(rules: list[GaussRule], low: float, high: float, most: float) -> tuple[Vector, Vector, int]:
    """Return values and residuals outside that at least half of the probes have, and the number of other clusters."""
    rows: list[tuple[float, float, int]] = []
    for i, rule in enumerate(rules):
        outside = np.flatnonzero((rule.values < low) | (rule.values > high))
        rows.extend((rule.values[j], rule.residuals[j], i) for j in outside)
    if not rows:
        return np.empty(0), np.empty(0), 0
    values, residuals, owners = np.array(sorted(rows, reverse=True)).T
    # Copies of one eigenvalue lie within its residuals; others within a share of the bulk cannot be told apart.
    starts = np.flatnonzero(np.append(True, -np.diff(values) > most))
    found, missed = [], 0
    for group in np.split(np.arange(len(values)), starts[1:]):
        converged = group[residuals[group] <= most]
        if 2 * len(np.unique(owners[converged])) >= len(rules):
            # One probe may hold several converged values in a cluster: as many eigenvalues as most probes have.
            counts = np.bincount(owners[converged].astype(int), minlength=len(rules))
            for part in np.array_split(converged, max(int(np.median(counts)), 1)):
                best = part[np.argmin(residuals[part])]
                found.append((values[best], residuals[part].max()))
        else:
            missed += 1
    table = np.array(found, dtype=np.float64).reshape(-1, 2)
    return table[:, 0], table[:, 1], missed
