r"""The edges of a bulk from the coefficients of Lanczos runs, and the Ritz values outside.

Where the bulk is one interval, the tridiagonal coefficients tend to constants, and the interval is
:math:`\alpha_\infty \pm 2\beta_\infty`.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from spectra.errors import ArgumentError
from spectra.frozen import Vector
from spectra.measure_schema import Probe, probes_of

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["LEAST_STEPS", "LanczosFit", "lanczos_fit"]

#: Fewer steps have no tail to speak of (design choice; twice as many resolve an edge better).
LEAST_STEPS = 12
#: The edges move inward by at most this times (high - low) / N a step, which a fit is clipped to. Derived: Wishart
#: matrices with p <= n have sqrt(y) / 2 + (1 + y) / 4, at most 1, and Gaussian symmetric ones 1/4.
DRIFT = 2.0
#: Outliers are taken out and the edges fitted again until they no longer change, at most this often (design choice).
MOST_ROUNDS = 4
#: Coefficients of one matrix are correlated over steps, so that the standard error of a line through independent ones
#: is too small (measured: by 0.3 to 2 times on Wishart matrices of order 300 and 1200, 20 to 80 steps).
CORRELATION = 1.5
#: Outliers lie beyond the edge by 4 standard errors and 2 (high - low) N^(-2/3) (set by hand, not tuned).
STDERRS, FLUCTUATION = 4.0, 2.0
#: ... and have residuals below this share of the bulk (set by hand).
RESIDUAL = 0.01
#: Coefficients of one interval scatter by less than 0.02 + 1 / sqrt(N) of its width around a line. Measured: up to
#: 0.5 / sqrt(N) for Wishart matrices of order 200 and 1200.
SCATTER, SCATTER_OF_SIZE = 0.02, 1.0


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
    probes = probes_of(measure)
    if any(probe.off_diagonal is None for probe in probes):
        raise ArgumentError(
            "a measure of spectra.slq is required; a kernel polynomial keeps no coefficients. Pass eigenvalues instead"
        )
    residual = np.nan_to_num(measure["residual"].values, nan=np.inf)
    n = int(measure.attrs["dimension"])
    steps = min(len(probe.values) for probe in probes)
    if steps < LEAST_STEPS:
        raise ArgumentError(
            f"at least {LEAST_STEPS} Lanczos steps in every probe are required, got {steps}; raise num_steps, or pass "
            "the eigenvalues of so small a matrix"
        )
    nodes = [(p.values, p.raw_weights, r[: len(p.values)]) for p, r in zip(probes, residual, strict=True)]
    removed: list[npt.NDArray[np.bool_]] = [np.zeros(len(probe.values), dtype=bool) for probe in probes]
    is_bulk = True
    for _ in range(MOST_ROUNDS):
        coefficients = [
            _without(probe, gone) if np.any(gone) else (probe.diagonal, probe.off_diagonal)
            for probe, gone in zip(probes, removed, strict=True)
        ]
        limits = _limits(coefficients, n)
        width = limits.high - limits.low
        margins = FLUCTUATION * width * n ** (-2.0 / 3.0) + STDERRS * np.array([limits.low_stderr, limits.high_stderr])
        ends = limits.low - margins[0], limits.high + margins[1]
        outside = [((v < ends[0]) | (v > ends[1])) & (r <= RESIDUAL * width) for v, _, r in nodes]
        # What was taken out stays out, so that the rounds end.
        if all(np.all(gone[new]) for gone, new in zip(removed, outside, strict=True)):
            break
        together = [gone | new for gone, new in zip(removed, outside, strict=True)]
        if any(np.sum(~gone) < LEAST_STEPS for gone in together):
            is_bulk = False
            break
        removed = together
    values, residuals, missed = _outside(nodes, *ends, RESIDUAL * width)
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
    )


class _Limits(NamedTuple):
    """Edges, their standard errors, and the scatter of the coefficients."""

    low: float
    high: float
    low_stderr: float
    high_stderr: float
    scatter: float


def _limits(coefficients: list[tuple[Any, Any]], n: int) -> _Limits:
    """Return the edges that the last half of the coefficients, averaged over probes, tends to without their drift."""
    # The last coupling of an exhausted Krylov space is 0 and belongs to no limit.
    last = min(len(diagonal) for diagonal, _ in coefficients) - 1
    index = np.arange(last, dtype=np.float64)[last // 2 :]
    diagonal = np.mean([part[last // 2 : last] for part, _ in coefficients], axis=0)
    radius = 2.0 * np.mean([part[last // 2 : last] for _, part in coefficients], axis=0)
    most = DRIFT * 2.0 * float(np.mean(radius)) / n
    low, low_stderr = _limit(index, diagonal - radius, 0.0, most)
    high, high_stderr = _limit(index, diagonal + radius, -most, 0.0)
    return _Limits(low, high, low_stderr, high_stderr, max(_line(index, diagonal)[1], _line(index, radius)[1]))


def _line(index: Vector, values: Vector) -> tuple[float, float]:
    """Return the slope of the line through the values, and their standard deviation around it."""
    centered = index - np.mean(index)
    slope = float(centered @ values / (centered @ centered))
    rest = values - np.mean(values) - slope * centered
    unit = float(np.max(np.abs(rest))) or 1.0  # squares neither overflow nor vanish
    return slope, unit * float(np.linalg.norm(rest / unit)) / max(len(index) - 2, 1) ** 0.5


def _limit(index: Vector, values: Vector, least: float, most: float) -> tuple[float, float]:
    """Return the value at step 0 of a line whose slope lies between two numbers, with its standard error."""
    slope, noise = _line(index, values)
    middle = float(np.mean(index))
    error = min(noise / float(np.linalg.norm(index - middle)), most - least)
    value = float(np.mean(values)) - middle * min(max(slope, least), most)
    return value, CORRELATION * float(np.hypot(noise / np.sqrt(len(index)), error * middle))


def _without(probe: Probe, gone: npt.NDArray[np.bool_]) -> tuple[Vector, Vector]:
    """Return the coefficients of the Gauss rule of a probe without some of its nodes, as many as are reliable.

    Lanczos with full reorthogonalization on the nodes, in float64. As many of the last coefficients as there are nodes
    removed, and two more, are left out: they depend on the moments that the rule no longer has.
    """
    kept = ~gone & (probe.raw_weights > 0.0)
    unit = float(np.max(np.abs(probe.values)))
    values, weights = probe.values[kept] / unit, probe.raw_weights[kept]
    count = max(len(values) - int(np.sum(gone)) - 2, min(LEAST_STEPS // 2, len(values)))
    basis = np.zeros((count + 1, len(values)))
    basis[0] = np.sqrt(weights / np.sum(weights))
    diagonal, off_diagonal = np.zeros(count), np.zeros(count)
    for k in range(count):
        product = values * basis[k]
        diagonal[k] = basis[k] @ product
        for _ in range(2):
            product -= basis[: k + 1].T @ (basis[: k + 1] @ product)
        off_diagonal[k] = np.linalg.norm(product)
        if off_diagonal[k] > 0.0:
            basis[k + 1] = product / off_diagonal[k]
    return diagonal * unit, off_diagonal * unit


def _outside(
    nodes: list[tuple[Vector, Vector, Vector]], low: float, high: float, most: float
) -> tuple[Vector, Vector, int]:
    """Return values and residuals outside that at least half of the probes have, and the number of other clusters."""
    rows: list[tuple[float, float, int]] = []
    for i, (value, _, residual) in enumerate(nodes):
        outside = np.flatnonzero((value < low) | (value > high))
        rows.extend((value[j], residual[j], i) for j in outside)
    if not rows:
        return np.empty(0), np.empty(0), 0
    values, residuals, owners = np.array(sorted(rows, reverse=True)).T
    # Copies of one eigenvalue lie within its residuals; others within a share of the bulk cannot be told apart.
    starts = np.flatnonzero(np.append(True, -np.diff(values) > most))
    found, missed = [], 0
    for group in np.split(np.arange(len(values)), starts[1:]):
        converged = group[residuals[group] <= most]
        if 2 * len(np.unique(owners[converged])) >= len(nodes):
            # One probe may hold several converged values in a cluster: as many eigenvalues as most probes have.
            counts = np.bincount(owners[converged].astype(int), minlength=len(nodes))
            for part in np.array_split(converged, max(int(np.median(counts)), 1)):
                best = part[np.argmin(residuals[part])]
                found.append((values[best], residuals[part].max()))
        else:
            missed += 1
    table = np.array(found, dtype=np.float64).reshape(-1, 2)
    return table[:, 0], table[:, 1], missed
