"""Distances between spectra, with error bars: Wasserstein and Kolmogorov."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from spectra.cdf_band import cdf_band, is_certain, mean_mass_variance, rest_of, rounding_band
from spectra.distribution import Distribution, distribution_of, step_distribution
from spectra.errors import ArgumentError, ShapeError
from spectra.estimates import Estimate
from spectra.measure_schema import Probe, pooled, probes_of, validate_measure
from spectra.tridiagonal import ritz

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["kolmogorov", "wasserstein"]

_COVERS = "random probes (law of the mass of a random vector in a subspace), unresolved quadrature, and rounding"
_POINTS = 64


class _Noise(NamedTuple):
    """Bounds of mean and standard deviation of an area."""

    mean: float
    spread: float


class _Side(NamedTuple):
    """One of two spectra: atoms of its distribution function, and the measure they come from, or None if exact."""

    values: np.ndarray
    weights: np.ndarray
    measure: "xr.Dataset | None"


def wasserstein(measure: "xr.Dataset", other: Any, *, level: float = 0.95) -> Estimate:
    """Return the distance ``W_1 = int |F(x) - G(x)| dx`` of two spectra, with an interval.

    The value is the distance of the measures, which noise can only increase in the mean, for the distance is convex,
    and by the triangle inequality at most by the distance of a measure from its spectrum. The interval is

    ``[W_1 - B - z s - Delta, W_1 + z s + Delta]``,
    ``B = sqrt(2 v / pi) int sqrt(F (1 - F)) dx``,  ``s = sqrt(v) sd(F)``,

    with the normal quantile z. Over the probes ``F_p - F`` is a Brownian bridge run along F, of variance
    ``v = 2 / (p (n + 2))``: B is the mean of ``int |F_p - F| dx``, and s bounds the standard deviation of any distance
    from F_p. Delta is the distance of the measures from all steps and from half of them, as points; the value takes the
    distribution functions of `spectra.cdf`, in which nodes are spread.

    Parameters
    ----------
    measure : xarray.Dataset
        From `spectra.slq` or `spectra.kernel_polynomial`.
    other : xarray.Dataset or array-like, shape (k,)
        Another measure, of any order, or eigenvalues of equal weight, which are exact.
    level : float
        Nominal coverage, in (0, 1).

    Returns
    -------
    Estimate
        In the units of the operator, ends not below 0. The value is biased upwards where the spectra are close: a
        distance of spectra that agree shows in a lower end of 0. ``stderr`` is an upper bound, and known for a single
        probe too. ``status`` is "unresolved", without interval, for probes of a single step, and "exact" where all
        eigenvalues are known.

    Raises
    ------
    ArgumentError
        If ``level`` does not lie in (0, 1), or eigenvalues are not finite.
    ShapeError
        If eigenvalues are not a non-empty one-dimensional array.
    SchemaError
        If ``measure`` is not a spectral measure.

    Notes
    -----
    No products. Eigenvalues that every probe has resolved have no share in v. Two measures of one seed share their
    probes, and their errors are added; of different seeds, they are taken as independent. Coverage measured by
    ``scripts/benchmarks/count_coverage.py``.

    Source: Chen, Trogdon and Ubaru (2021) for the distance; Ledoux (2001) for the concentration of Lipschitz functions
    of Gaussian variables; Delta as in `spectra.expectation`.

    Examples
    --------
    >>> import numpy as np
    >>> import spectra
    >>> eigenvalues = np.linspace(0.0, 1.0, 300)
    >>> estimate = wasserstein(spectra.slq(np.diag(eigenvalues)), eigenvalues + 2.0)
    >>> bool(estimate.low <= 2.0 <= estimate.high), bool(estimate.high - estimate.low < 0.1)
    (True, True)
    """
    from scipy.special import ndtri

    one, two = sides = _sides(measure, other, level)
    top = max(float(np.max(np.abs(side.values))) for side in sides) or 1.0
    measured = [side.measure for side in sides if side.measure is not None]
    noises = [_noise(m, top) for m in measured]
    gap = float(np.sum([_gap(m, top) + rounding_band(m) / top for m in measured]))
    shared = _share_probes(sides)
    stderr = _combined([noise.spread for noise in noises], shared)
    reach = float(ndtri(0.5 + 0.5 * level)) * stderr + gap
    bias = float(np.sum([noise.mean for noise in noises]))
    value = _distribution(one).distance(_distribution(two)) / top
    ends = max(value - bias - reach, 0.0), value + reach
    return _estimate(sides, level, *(top * x for x in (value, stderr, *ends)))


def kolmogorov(measure: "xr.Dataset", other: Any, *, level: float = 0.95) -> Estimate:
    """Return the distance ``D = sup |F(x) - G(x)|`` of two spectra, with an interval.

    A simultaneous band is put around each distribution function: what its quadrature leaves open, at each x (the
    Gauss-Radau rules with node x), and the quantile c of the largest modulus of a Brownian bridge times
    ``sqrt(v)``, ``v = 2 / (p (n + 2))``, for the probes. The interval holds the distances of all pairs of functions in
    the bands.

    Parameters
    ----------
    measure : xarray.Dataset
        From `spectra.slq` or `spectra.kernel_polynomial`.
    other : xarray.Dataset or array-like, shape (k,)
        Another measure, of any order, or eigenvalues of equal weight, which are exact.
    level : float
        Nominal coverage, in (0, 1).

    Returns
    -------
    Estimate
        In [0, 1]. The value is the distance of the middles of the bands (without quadrature error: of the measures),
        biased upwards where the spectra are close. ``stderr`` is an upper bound, ``sqrt(v) / 2``, and known for a
        single probe too. ``status`` is "exact" where all eigenvalues are known, else "resolved".

    Raises
    ------
    ArgumentError
        If ``level`` does not lie in (0, 1), or eigenvalues are not finite.
    ShapeError
        If eigenvalues are not a non-empty one-dimensional array.
    SchemaError
        If ``measure`` is not a spectral measure.

    Notes
    -----
    No products; ``O(64 p m**3)`` operations. The distance does not see how far mass has moved: an eigenvalue of high
    multiplicity that moves by rounding error counts in full, so that eigenvalues within ``64 eps ||A||`` of each other
    are taken as equal. 30 steps leave about 0.05 open in the bulk, whatever the probes.

    Source: Kolmogorov (1933) for the quantile; Szego, Orthogonal Polynomials, section 3.41, for the quadrature.

    Examples
    --------
    >>> import numpy as np
    >>> import spectra
    >>> eigenvalues = np.linspace(0.0, 1.0, 300)
    >>> estimate = kolmogorov(spectra.slq(np.diag(eigenvalues)), eigenvalues + 0.5)
    >>> bool(estimate.low <= 0.5 <= estimate.high)
    True
    """
    from scipy.special import kolmogi

    sides = _sides(measure, other, level)
    points, is_open = _grid(sides)
    (low, high), (other_low, other_high) = (_ends(side, points) for side in sides)
    # between neighboring points both functions lie between their values there
    least = max(float(np.max(low - other_high)), float(np.max(other_low - high)), 0.0)
    most = max(
        float(np.max(np.where(is_open, high[1:] - other_low[:-1], 0.0))),
        float(np.max(np.where(is_open, other_high[1:] - low[:-1], 0.0))),
        float(np.max(np.maximum(high - other_low, other_high - low))),
    )
    shared = _share_probes(sides)
    scales = [_scale(side.measure) for side in sides if side.measure is not None]
    total = _combined(scales, shared)
    noise = total * float(kolmogi((1.0 - level) / (len(scales) if shared else 1)))
    value = float(np.max(np.abs(0.5 * (low + high) - 0.5 * (other_low + other_high))))
    least, most = max(least - noise, 0.0), min(most + noise, 1.0)
    return _estimate(sides, level, float(np.clip(value, least, most)), 0.5 * total, least, most)


def _sides(measure: "xr.Dataset", other: Any, level: float) -> tuple[_Side, _Side]:
    """Return both spectra, after a look at the arguments."""
    if not 0.0 < level < 1.0:
        raise ArgumentError(f"level must lie strictly between 0 and 1, got {level!r}")
    validate_measure(measure)
    if hasattr(other, "data_vars"):
        return _Side(*pooled(measure), measure), _Side(*pooled(other), other)
    values = np.sort(np.asarray(other, dtype=np.float64), axis=None)
    if np.ndim(other) != 1 or values.size == 0:
        raise ShapeError(f"a non-empty one-dimensional array of eigenvalues is required, got shape {np.shape(other)}")
    if not np.all(np.isfinite(values)):
        raise ArgumentError("eigenvalues must be finite, got NaN or infinity among them")
    return _Side(*pooled(measure), measure), _Side(values, np.full(len(values), 1.0 / len(values)), None)


def _distribution(side: _Side) -> Distribution:
    """Return the distribution function of a spectrum."""
    return step_distribution(side.values) if side.measure is None else distribution_of(side.measure)


def _share_probes(sides: tuple[_Side, _Side]) -> bool:
    """Whether the errors of two measures may depend on each other: one seed, or none that is known."""
    seeds = [side.measure.attrs.get("seed") for side in sides if side.measure is not None]
    return len(seeds) == 2 and (None in seeds or seeds[0] == seeds[1])


def _combined(spreads: list[float], shared: bool) -> float:
    """Return the standard deviation of a sum; the largest there can be, where the terms may depend on each other."""
    return float(np.sum(spreads) if shared else np.sqrt(np.sum(np.square(spreads))))


def _estimate(
    sides: tuple[_Side, _Side], level: float, value: float, stderr: float, low: float, high: float
) -> Estimate:
    """Return an estimate, without interval where the quadrature has no error estimate."""
    measures = [side.measure for side in sides if side.measure is not None]
    is_known = all(is_certain(m) for m in measures)
    is_resolved = np.isfinite(high)
    return Estimate(
        value=value,
        stderr=stderr,
        low=low if is_resolved else None,
        high=high if is_resolved else None,
        level=level,
        covers=_COVERS if is_resolved else "nothing: no interval is given",
        num_matvecs=sum(int(m.attrs["num_matvecs"]) for m in measures),
        status="unresolved" if not is_resolved else "exact" if is_known else "resolved",
    )


def _scale(measure: "xr.Dataset") -> float:
    """Return ``sqrt(v)``: the mean over probes of F(x) has variance ``v F (1 - F)``."""
    if is_certain(measure):
        return 0.0
    rest, n = rest_of(measure).count, int(measure.attrs["dimension"])
    return (
        rest / n * np.sqrt(mean_mass_variance(dimension=rest, num_probes=measure.sizes["probe"])) if rest > 1 else 0.0
    )


def _noise(measure: "xr.Dataset", top: float) -> _Noise:
    """Return the largest mean, and standard deviation, of the area between the mean over probes and F; units of top.

    ``int E|B(F)| dx = sqrt(2 v / pi) int sqrt(F (1 - F)) dx``, and the area is a function of the Gaussian weights with
    the Lipschitz constant ``sqrt(v) sd(F)``. Where F is neither 0 nor 1 it lies between 1/n and 1 - 1/n, however small
    the weights are that the probes happen to have there.
    """
    rest = rest_of(measure)
    if rest.count < 2:
        return _Noise(0.0, 0.0)
    values, sums = rest.values / top, np.cumsum(rest.weights)[:-1]
    sums = np.clip(sums, 1.0 / rest.count, 1.0 - 1.0 / rest.count)
    weights = np.diff(np.concatenate([[0.0], sums, [1.0]]))
    deviation = float(np.sqrt(np.sum(weights * (values - np.sum(weights * values)) ** 2)))
    scale = _scale(measure)
    area = float(np.sum(np.sqrt(sums * (1.0 - sums)) * np.diff(values)))
    return _Noise(scale * np.sqrt(2.0 / np.pi) * area, scale * deviation)


def _gap(measure: "xr.Dataset", top: float) -> float:
    """Return the distance of the measures from all steps and from half of them, in units of ``top``."""
    probes = probes_of(measure)
    pairs = [_coarse(probe) for probe in probes]
    if any(pair is None for pair in pairs):
        return np.inf
    fine = [np.concatenate(parts) for parts in zip(*((q.values, q.raw_weights) for q in probes), strict=True)]
    coarse = [np.concatenate(parts) for parts in zip(*(pair for pair in pairs if pair is not None), strict=True)]
    return _area(fine[0] / top, fine[1] / len(probes), coarse[0] / top, coarse[1] / len(probes))


def _coarse(probe: Probe) -> tuple[np.ndarray, np.ndarray] | None:
    """Return values and weights of half the rule of a probe; all of an exact one, None where there is no half."""
    if probe.coarse_weights is not None:
        return probe.values, probe.coarse_weights
    if probe.is_exact or probe.diagonal is None or probe.off_diagonal is None:
        return probe.values, probe.raw_weights
    if len(probe.values) < 2:
        return None
    half = ritz(probe.diagonal, probe.off_diagonal, len(probe.values) // 2)
    return half.values, half.weights


def _area(x: np.ndarray, weights: np.ndarray, y: np.ndarray, other_weights: np.ndarray) -> float:
    """Return the area between two distribution functions, given by their atoms."""
    points = np.concatenate([x, y])
    order = np.argsort(points, kind="stable")
    difference = np.cumsum(np.concatenate([weights, -other_weights])[order])
    return float(np.sum(np.abs(difference[:-1]) * np.diff(points[order])))


def _grid(sides: tuple[_Side, _Side]) -> tuple[np.ndarray, np.ndarray]:
    """Return points with at most 1/64 of the mass between neighbors, on both sides of larger atoms.

    Also which intervals between them are open: not those around atoms, ``256 eps ||A||`` wide, in which the order of
    two eigenvalues is rounding error.
    """
    values = np.concatenate([side.values for side in sides])
    weights = np.concatenate([0.5 * side.weights for side in sides])
    order = np.argsort(values, kind="stable")
    values, sums = values[order], np.cumsum(weights[order])
    starts = np.flatnonzero(np.concatenate([[True], np.diff(values) > 0.0]))
    atoms, sums = values[starts], sums[np.append(starts[1:], len(values)) - 1]
    masses, steps = np.diff(sums, prepend=0.0), np.floor(sums * _POINTS)
    chosen = np.diff(steps, prepend=-1.0) > 0
    chosen[-1] = True
    is_heavy = masses > 0.5 / _POINTS
    slack = max(rounding_band(side.measure) for side in sides if side.measure is not None)
    slack = max(slack, 2.0**-46 * float(np.max(np.abs(values)))) or 1.0
    points = np.unique(np.concatenate([atoms[chosen & is_heavy] - 2.0 * slack, atoms[chosen] + 2.0 * slack]))
    return points, np.diff(points) > 5.0 * slack


def _ends(side: _Side, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what the quadrature leaves open of the distribution function: bounds of the mean over probes."""
    if side.measure is None:
        sums = np.concatenate([[0.0], np.cumsum(side.weights)])
        exact = sums[np.searchsorted(side.values, points, side="right")]
        return exact, exact
    band, n = cdf_band(side.measure, points), int(side.measure.attrs["dimension"])
    low, high = ((band.known + band.rest * np.mean(end, axis=0)) / n for end in (band.low, band.high))
    return low, high
