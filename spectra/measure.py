"""The spectral measure as a distribution: cumulative distribution, quantiles, density, distance.

`expectation` and `moment`, the integrals with error bars, are offered here too.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from spectra.distribution import distribution_of, step_distribution
from spectra.errors import ArgumentError, ShapeError
from spectra.integrals import expectation, moment
from spectra.measure_schema import Probe, pooled, probes_of, validate_measure

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "CdfBounds",
    "cdf",
    "cdf_bounds",
    "density",
    "expectation",
    "moment",
    "quantile",
    "validate_measure",
    "wasserstein_distance",
]


@dataclass(frozen=True, eq=False, kw_only=True)
class CdfBounds:
    """Bounds of the distribution function of the probes at ``x``: what the quadrature leaves open.

    Attributes
    ----------
    x, low, high : ndarray
        Of one shape; ``0 <= low <= high <= 1``.
    """

    x: np.ndarray
    low: np.ndarray
    high: np.ndarray


def cdf(measure: "xr.Dataset", x: Any) -> Any:
    """Return the share of eigenvalues up to x: the mean over probes of the mass of their nodes up to x.

    A node that stands for many eigenvalues has its mass spread around it, see `spectra.distribution`; it stays a point
    where it stands for one.

    Parameters
    ----------
    measure : xarray.Dataset
        From `spectra.slq`.
    x : float or array-like
        In the units of the operator.

    Returns
    -------
    float or ndarray
        In [0, 1]. Like every distribution function it jumps: at an eigenvalue itself rounding decides, see
        `cdf_bounds`.

    Raises
    ------
    ArgumentError
        If x contains NaN.

    Notes
    -----
    No products. Biased for few steps: counts of eigenvalues need about 80.

    Examples
    --------
    >>> import numpy as np
    >>> import spectra
    >>> measure = spectra.slq(np.zeros((5, 5)), num_probes=2)
    >>> cdf(measure, [-1.0, 0.0, 1.0]).tolist()
    [0.0, 1.0, 1.0]
    """
    points = _points(x, name="x")
    below = distribution_of(measure).at(points)
    return float(below) if below.ndim == 0 else below


def cdf_bounds(measure: "xr.Dataset", x: Any) -> CdfBounds:
    """Bound the distribution function at x between neighboring sums of weights.

    For ``theta_j <= x < theta_{j+1}`` that of one probe lies in ``[W_{j-1}, W_{j+1}]``, ``W_j = w_1 + ... + w_j``;
    averaged over the probes. Certain up to rounding for the measure as seen by the probes, in which resolved
    eigenvalues have the weights of their multiplicities; the spread over probes comes on top.

    Raises
    ------
    ArgumentError
        If x contains NaN, or the measure is not one of `spectra.slq`.

    Notes
    -----
    No products. Source: Chebyshev, Markov and Stieltjes; Szego, Orthogonal Polynomials, section 3.41.

    Examples
    --------
    >>> import numpy as np
    >>> import spectra
    >>> measure = spectra.slq(np.diag(np.arange(1.0, 51.0)), num_probes=3, num_steps=10)
    >>> bounds = cdf_bounds(measure, [25.5])
    >>> bool(bounds.low[0] <= cdf(measure, 25.5) <= bounds.high[0])
    True
    """
    points = _points(x, name="x")
    if measure.attrs.get("method", "slq") != "slq":
        raise ArgumentError(
            "these bounds belong to the Gauss rules of spectra.slq; use spectra.eigenvalue_count, which bounds counts "
            "of kernel polynomial measures too"
        )
    ends = [_probe_bounds(probe, points) for probe in probes_of(measure)]
    low, high = (np.mean([end[i] for end in ends], axis=0) for i in (0, 1))
    return CdfBounds(x=points, low=low, high=high)


def _probe_bounds(probe: Probe, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the bounds of one probe; they coincide where its quadrature is exact."""
    sums = np.concatenate([[0.0], _cumulative(probe.weights)])
    j = np.searchsorted(probe.values, x, side="right")
    if probe.is_exact:
        return sums[j], sums[j]
    return sums[np.maximum(j - 1, 0)], sums[np.minimum(j + 1, len(probe.values))]


def quantile(measure: "xr.Dataset", q: Any) -> Any:
    """Return the smallest x with ``cdf(x) >= q``.

    Parameters
    ----------
    measure : xarray.Dataset
        From `spectra.slq`.
    q : float or array-like
        In [0, 1].

    Raises
    ------
    ArgumentError
        If q lies outside [0, 1].

    Notes
    -----
    No products. A quantile is no finer than the spacing of the Ritz values.

    Examples
    --------
    >>> import numpy as np
    >>> import spectra
    >>> measure = spectra.slq(np.diag([0.0, 0.0, 0.0, 7.0]), num_probes=50)
    >>> round(quantile(measure, 0.99), 9)
    7.0
    """
    levels = _points(q, name="q")
    if np.any((levels < 0.0) | (levels > 1.0)):
        raise ArgumentError(f"q must lie in [0, 1], got {q!r}")
    result = distribution_of(measure).inverse(levels)
    return float(result) if result.ndim == 0 else result


def density(measure: "xr.Dataset", grid: Any = None, *, width: float | None = None) -> "xr.DataArray":
    """Smooth the measure with a Gaussian, for the eye: ``mean_i sum_k w_ik Normal(x; theta_ik, width**2)``.

    Parameters
    ----------
    measure : xarray.Dataset
        From `spectra.slq`.
    grid : array-like, shape (g,), optional
        Where to evaluate. By default points a quarter width apart wherever there is mass, so that the trapezoidal rule
        gives 1.
    width : float, optional
        Standard deviation of the Gaussian. By default the distance of the 1% and 99% quantiles over the number of
        nodes: about the spacing of nodes in the bulk, so that outliers do not blur it.

    Returns
    -------
    xarray.DataArray
        Dimension and coordinate ``value``; attribute ``width``.

    Raises
    ------
    ArgumentError
        If ``width`` is not positive and finite, or ``grid`` contains NaN.
    ShapeError
        If ``grid`` is not one-dimensional.

    Notes
    -----
    No products. Presentation only: smoothing adds ``width**2`` to the second moment. Compute numbers with `expectation`
    and `cdf`.

    Source: Lin, Saad and Yang (2016).

    Examples
    --------
    >>> import numpy as np
    >>> import spectra
    >>> curve = density(spectra.slq(np.diag(np.arange(20.0)), num_probes=3))
    >>> round(float(curve.integrate("value")), 9)
    1.0
    """
    import xarray as xr

    values, weights = pooled(measure)
    if width is None:
        width = _default_width(measure, values)
    if not (np.isfinite(width) and width > 0):
        raise ArgumentError(f"width must be positive and finite, got {width!r}")
    if grid is None:
        offsets = 0.25 * np.arange(-32, 33)
        points = np.unique(np.rint(4.0 * (values[:, None] / width + offsets))) * (width / 4.0)
    else:
        points = _points(grid, name="grid")
        if points.ndim != 1:
            raise ShapeError(f"grid must be one-dimensional, got shape {points.shape}")
    result = np.zeros(len(points))
    for value, weight in zip(values, weights, strict=True):
        z = (points - value) / width
        result += weight * np.exp(-0.5 * np.minimum(z * z, 1400.0))
    result /= width * np.sqrt(2.0 * np.pi)
    attrs = {"long_name": "spectral density", "width": float(width), "operator": measure.attrs.get("operator", "")}
    return xr.DataArray(result, dims="value", coords={"value": points}, name="density", attrs=attrs)


def _default_width(measure: "xr.Dataset", values: np.ndarray) -> float:
    """Return the spacing of nodes in the bulk; for a single eigenvalue one percent of it."""
    low, high = quantile(measure, [0.01, 0.99])
    num_nodes = int(np.max(measure["num_nodes"].values))
    largest = float(np.max(np.abs(values)))
    for spread in (high - low, values[-1] - values[0]):
        if spread > 1e-9 * largest:
            return float(spread / num_nodes)
    return 0.01 * largest if largest > 0 else 0.01


def wasserstein_distance(measure: "xr.Dataset", other: Any) -> float:
    """Return the area between two distribution functions, ``W_1 = int |F(x) - G(x)| dx``.

    Parameters
    ----------
    measure : xarray.Dataset
        From `spectra.slq`.
    other : xarray.Dataset or array-like, shape (k,)
        Another measure, or eigenvalues of equal weight.

    Returns
    -------
    float
        In the units of the operator.

    Raises
    ------
    ShapeError
        If eigenvalues are not a non-empty one-dimensional array.

    Notes
    -----
    No products. Source: Chen, Trogdon and Ubaru (2021).

    Examples
    --------
    >>> import numpy as np
    >>> import spectra
    >>> measure = spectra.slq(np.eye(6), num_probes=2)
    >>> round(wasserstein_distance(measure, np.full(6, 3.0)), 12)
    2.0
    """
    ours = distribution_of(measure)
    if hasattr(other, "data_vars"):
        return ours.distance(distribution_of(other))
    eigenvalues = _points(other, name="eigenvalues")
    if eigenvalues.ndim != 1 or eigenvalues.size == 0:
        raise ShapeError(f"a non-empty one-dimensional array of eigenvalues is required, got {eigenvalues.shape}")
    return ours.distance(step_distribution(eigenvalues))


def _cumulative(weights: np.ndarray) -> np.ndarray:
    """Return cumulative sums of weights which end at exactly 1."""
    sums = np.minimum(np.cumsum(weights), 1.0)
    sums[-1] = 1.0
    return sums


def _points(x: Any, *, name: str) -> np.ndarray:
    """Return x as a float64 array without NaN."""
    points = np.asarray(x, dtype=np.float64)
    if np.any(np.isnan(points)):
        raise ArgumentError(f"{name} must not contain NaN, got {x!r}")
    return points
