"""What a spectral measure says about its bulk: numbers of eigenvalues, and gaps between them."""

from typing import TYPE_CHECKING

import numpy as np

from spectra.cdf_band import CdfBand, cdf_band, count_limits, mean_mass_variance, rounding_band
from spectra.errors import ArgumentError
from spectra.estimates import Estimate
from spectra.isolated import BULK_GAP
from spectra.measure_schema import eps_of, pooled, probes_of, validate_measure

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["GAPS_SCHEMA", "GAPS_SCHEMA_VERSION", "eigenvalue_count", "negative_mass", "spectral_gaps"]

GAPS_SCHEMA = "spectra/gaps"
GAPS_SCHEMA_VERSION = 1

_COVERS = "random probes (law of the mass of a random vector in a subspace), unresolved quadrature, and rounding"
_BISECTIONS = 20
_LARGEST_MARGIN = 0.01


def eigenvalue_count(measure: "xr.Dataset", low: float, high: float, *, level: float = 0.95) -> Estimate:
    """Count the eigenvalues in ``(low, high]``: ``n (F(high) - F(low))``, with an interval that ends in integers.

    Bounds of the distribution function of each probe, for what the quadrature leaves open, and the law of the squared
    norm of a random unit vector in a subspace of dimension k, Beta(k/2, (n - k)/2), for what the probes leave open: the
    interval holds all k for which neither tail of the mean over probes is improbable. Eigenvalues that every probe has
    resolved are counted, not estimated.

    Parameters
    ----------
    measure : xarray.Dataset
        From `spectra.slq`, or `spectra.kernel_polynomial` (whose intervals are much wider).
    low, high : float
        ``low < high``; may be infinite. Eigenvalues within ``64 eps ||A||`` of an end count as equal to it.
    level : float
        Nominal coverage, in (0, 1).

    Returns
    -------
    Estimate
        ``stderr`` follows from the law of the probes, so that a single one has it too. ``status`` is "exact" if the
        interval is a single number because nothing random is left, else "resolved": an interval that is too wide
        for its purpose asks for more steps or probes.

    Raises
    ------
    ArgumentError
        If an end is NaN, or ``low`` is not smaller than ``high``.
    SchemaError
        If ``measure`` is not a spectral measure.

    Notes
    -----
    No products. For independent signs (``distribution="rademacher"``) the variance is at most that of the sphere, and
    the interval is conservative. Coverage measured by ``scripts/benchmarks/count_coverage.py``.

    Source: Chebyshev, Markov and Stieltjes (Szego, Orthogonal Polynomials, section 3.41) for the quadrature; Di Napoli,
    Polizzi and Saad (2016) for the estimate; the interval is a construction of this project.

    Examples
    --------
    >>> import numpy as np
    >>> import spectra
    >>> measure = spectra.slq(np.diag(np.linspace(0.0, 1.0, 1000)), num_steps=80)
    >>> count = eigenvalue_count(measure, 0.2995, 0.5995)
    >>> bool(count.low <= 300 <= count.high), bool(count.high - count.low < 120)
    (True, True)
    """
    low, high = _end(low, name="low"), _end(high, name="high")
    if not low < high:
        raise ArgumentError(f"low must be smaller than high, got {low!r} and {high!r}")
    validate_measure(measure)
    band = rounding_band(measure)
    return _count(measure, np.array([low, high]) + band, level=_level(level), unit=1.0)


def negative_mass(measure: "xr.Dataset", *, tolerance: float | None = None, level: float = 0.95) -> Estimate:
    """Return the share of eigenvalues below ``-tolerance``, by default of all that are negative beyond rounding.

    Zeros of a singular positive semi-definite operator, which rounding makes ``+-1e-16 ||A||``, are not negative.

    Parameters
    ----------
    measure : xarray.Dataset
        From `spectra.slq` or `spectra.kernel_polynomial`.
    tolerance : float, optional
        Not negative, in the units of A; at least, and by default, ``64 eps ||A||``. Where many eigenvalues are
        nearly zero, and the steps do not resolve on which side, a larger one makes the interval shorter.
    level : float
        Nominal coverage, in (0, 1).

    Returns
    -------
    Estimate
        In [0, 1], multiples of 1/n at the ends of the interval. As for `eigenvalue_count`. A lower end above 0 says
        that the operator has negative eigenvalues; an upper end of 0, that it has none.

    Raises
    ------
    ArgumentError
        If ``tolerance`` is negative or not finite.
    SchemaError
        If ``measure`` is not a spectral measure.

    Notes
    -----
    No products.

    Examples
    --------
    >>> import numpy as np
    >>> import spectra
    >>> measure = spectra.slq(np.diag([-1.0] * 5 + [0.0] * 45 + [2.0] * 50))
    >>> estimate = negative_mass(measure)
    >>> round(estimate.value, 12), round(estimate.low, 12), round(estimate.high, 12)
    (0.05, 0.05, 0.05)
    """
    validate_measure(measure)
    if tolerance is None:
        tolerance = 0.0
    elif not (np.isfinite(tolerance) and tolerance >= 0.0):
        raise ArgumentError(f"tolerance must be finite and not negative, got {tolerance!r}")
    band = max(tolerance, rounding_band(measure))
    ends = np.array([-np.inf, -np.nextafter(band, np.inf)])  # the next number below: a count includes its upper end
    return _count(measure, ends, level=_level(level), unit=1.0 / int(measure.attrs["dimension"]))


def _count(measure: "xr.Dataset", ends: np.ndarray, *, level: float, unit: float) -> Estimate:
    """Count the eigenvalues in ``(ends[0], ends[1]]``, in units of ``unit``."""
    band = cdf_band(measure, ends)
    rest, p = band.rest, band.low.shape[0]
    known = int(band.known[1] - band.known[0])
    num_matvecs = int(measure.attrs["num_matvecs"])
    if rest == 0:
        return Estimate(
            value=unit * known,
            stderr=0.0,
            low=unit * known,
            high=unit * known,
            level=level,
            covers=_COVERS,
            num_matvecs=num_matvecs,
            status="exact",
        )
    least, most = _mass(band)
    options = {"dimension": rest, "num_probes": p, "level": level, "rounding": _rounding(measure)}
    fewest, largest = count_limits(float(np.mean(least)), float(np.mean(most)), **options)
    share = float(np.clip(0.5 * (np.mean(least) + np.mean(most)), 0.0, 1.0))
    noise = np.sqrt(mean_mass_variance(dimension=rest, num_probes=p) * share * (1.0 - share))
    return Estimate(
        value=unit * (known + float(np.clip(rest * share, fewest, largest))),
        stderr=float(unit * rest * noise),
        low=unit * (known + fewest),
        high=unit * (known + largest),
        level=level,
        covers=_COVERS,
        num_matvecs=num_matvecs,
        status="resolved",
    )


def _mass(band: CdfBand) -> tuple[np.ndarray, np.ndarray]:
    """Return bounds of the mass of each probe between two points, shape (p,)."""
    least = np.maximum(band.low[:, 1] - band.high[:, 0], 0.0)
    return least, np.minimum(band.high[:, 1] - band.low[:, 0], 1.0)


def _rounding(measure: "xr.Dataset") -> float:
    """Return the mass that rounding may make of none: couplings of 8 eps are squared where they meet a gap."""
    return 64.0 * eps_of(measure)


def _end(value: float, *, name: str) -> float:
    """Return a float that is not NaN."""
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"{name} must be a real number, got {value!r}") from error
    if np.isnan(number):
        raise ArgumentError(f"{name} must be a real number, got {value!r}")
    return number


def _level(level: float) -> float:
    """Return a level in (0, 1)."""
    if not 0.0 < level < 1.0:
        raise ArgumentError(f"level must lie strictly between 0 and 1, got {level!r}")
    return float(level)


def spectral_gaps(measure: "xr.Dataset", *, min_width: float | None = None, level: float = 0.95) -> "xr.Dataset":
    """List the gaps of the spectrum, the widest first.

    A gap is an interval in which a single eigenvalue would have left more mass in the mean over probes than there can
    be, with probability ``level``. Its edges reach as far towards the Ritz values on both sides as that holds: up to
    rounding for eigenvalues that are resolved, and less far at the edge of a bulk.

    Parameters
    ----------
    measure : xarray.Dataset
        From `spectra.slq`. The moments of `spectra.kernel_polynomial` are too few to exclude a single eigenvalue
        anywhere; it has no gaps to list.
    min_width : float, optional
        Gaps narrower than this are left out. By default three times the median distance of neighboring Ritz values, and
        0 where the Krylov spaces are exhausted.
    level : float
        Probability, for each gap, that it holds no eigenvalue at a given place; in (0, 1).

    Returns
    -------
    xarray.Dataset
        Dimension ``gap``, possibly of size 0. Variables ``low`` and ``high`` (edges), ``width``, ``relative_width``
        (over the distance of the outermost Ritz values), and ``mass_below``, ``mass_below_low``, ``mass_below_high``
        and the same for ``mass_above``: the share of eigenvalues on either side with its interval, see
        `eigenvalue_count`. Attributes: ``schema``, ``schema_version``, ``level``, ``dimension``, ``operator``,
        ``num_matvecs``, and the provenance.

    Raises
    ------
    ArgumentError
        If ``min_width`` is negative or not finite.

    Notes
    -----
    No products. The space below the smallest and above the largest eigenvalue is no gap.

    Source: the weight that the steps allow at a point is the Christoffel function (Szego, Orthogonal Polynomials,
    section 3.41); the test is a construction of this project.

    Examples
    --------
    >>> import numpy as np
    >>> import spectra
    >>> eigenvalues = np.concatenate([np.linspace(0.0, 1.0, 80), np.linspace(3.0, 4.0, 20)])
    >>> gaps = spectral_gaps(spectra.slq(np.diag(eigenvalues)))
    >>> gaps["low"].values.round(1).tolist(), gaps["high"].values.round(1).tolist()
    ([1.0], [3.0])
    >>> bool(gaps["mass_below_low"][0] <= 0.8 <= gaps["mass_below_high"][0])
    True
    """
    probes, level = probes_of(measure), _level(level)
    if min_width is None:
        spacing = np.concatenate([np.diff(probe.values) for probe in probes])
        is_exact = all(probe.is_exact for probe in probes)
        min_width = 0.0 if is_exact or spacing.size == 0 else BULK_GAP * float(np.median(spacing))
    elif not (np.isfinite(min_width) and min_width >= 0.0):
        raise ArgumentError(f"min_width must be finite and not negative, got {min_width!r}")
    min_width = max(min_width, 2.0 * rounding_band(measure))
    edges = [found for found in _candidates(measure, min_width, level) if found[1] - found[0] > min_width]
    edges.sort(key=lambda pair: pair[0] - pair[1])
    return _gap_dataset(measure, edges, level)


def _candidates(measure: "xr.Dataset", min_width: float, level: float) -> list[tuple[float, float]]:
    """Return the intervals that hold no eigenvalue, each as wide as can be shown."""
    from scipy.special import betaincinv

    probes = probes_of(measure)
    values = np.concatenate([probe.values for probe in probes])
    weights = np.concatenate([probe.weights for probe in probes]) / len(probes)
    rows = zip(measure["residual"].values, probes, strict=True)
    residuals = np.concatenate([row[: len(probe.values)] for row, probe in rows])
    order = np.argsort(values, kind="stable")
    values, weights, residuals = values[order], weights[order], residuals[order]
    rest, p = cdf_band(measure, values[:1]).rest, measure.sizes["probe"]
    # the mean mass on one eigenvalue is larger than this with probability `level`
    if rest > 1:
        total = 1.0 / mean_mass_variance(dimension=rest, num_probes=p) - 1.0
        smallest = float(betaincinv(total / rest, total - total / rest, 1.0 - level))
    else:
        smallest = 0.5
    # nodes that a rule has put into a gap have next to no weight; all of those dropped have less than can be told
    kept = weights > 0.1 * smallest / len(weights)
    values, residuals = values[kept], np.nan_to_num(residuals[kept], nan=0.0)
    found = []
    for j in np.flatnonzero(np.diff(values) > min_width):
        width = values[j + 1] - values[j]
        # an eigenvalue lies within the residual of a Ritz value; those not converged are left to the test
        below, above = np.clip(residuals[j : j + 2], rounding_band(measure), _LARGEST_MARGIN * width)
        edges = _widest(measure, values[j] + below, values[j + 1] - above, smallest)
        if edges is not None:
            found.append(edges)
    return found


def _widest(measure: "xr.Dataset", low: float, high: float, smallest: float) -> tuple[float, float] | None:
    """Return the widest interval within two ends with less mass than ``smallest``, or None if there is none."""
    points = np.linspace(low, high, 11)[1:-1]
    if not low < points[0] < points[-1] < high:
        return None
    bounds = cdf_band(measure, points)
    doubt = np.mean(bounds.high - bounds.low, axis=0)
    best = int(np.argmin(doubt))
    if doubt[best] >= smallest or bounds.known[0] != bounds.known[-1]:
        return None
    middle = points[best]
    return (
        _edge(measure, middle, low, smallest, side=-1),
        _edge(measure, middle, high, smallest, side=1),
    )


def _edge(measure: "xr.Dataset", inside: float, outside: float, smallest: float, *, side: int) -> float:
    """Return how far from ``inside`` towards ``outside`` there is at most half of ``smallest``."""

    def is_free(x: float) -> bool:
        band = cdf_band(measure, np.sort([inside, x]))
        return band.known[0] == band.known[1] and float(np.mean(_mass(band)[1])) <= 0.5 * smallest

    if is_free(outside):
        return outside
    for _ in range(_BISECTIONS):
        x = 0.5 * inside + 0.5 * outside
        if is_free(x):
            inside = x
        else:
            outside = x
    return inside


def _gap_dataset(measure: "xr.Dataset", edges: list[tuple[float, float]], level: float) -> "xr.Dataset":
    """Return the gaps with the mass on their sides."""
    import xarray as xr

    from spectra.provenance import provenance

    values, _ = pooled(measure)
    extent = float(values[-1] - values[0])
    unit = 1.0 / int(measure.attrs["dimension"])
    ends = np.array(edges, dtype=np.float64).reshape(-1, 2)
    counts = [_count(measure, np.array([-np.inf, 0.5 * a + 0.5 * b]), level=level, unit=unit) for a, b in edges]
    below = np.array([[c.value, c.low, c.high] for c in counts], dtype=np.float64).reshape(-1, 3)
    width = ends[:, 1] - ends[:, 0]
    columns = {
        "low": (ends[:, 0], "lower edge"),
        "high": (ends[:, 1], "upper edge"),
        "width": (width, "width"),
        "relative_width": (width / extent if extent > 0 else width, "width over the extent of the spectrum"),
        "mass_below": (below[:, 0], "share of eigenvalues below"),
        "mass_below_low": (below[:, 1], "lower end of its interval"),
        "mass_below_high": (below[:, 2], "upper end of its interval"),
        "mass_above": (1.0 - below[:, 0], "share of eigenvalues above"),
        "mass_above_low": (1.0 - below[:, 2], "lower end of its interval"),
        "mass_above_high": (1.0 - below[:, 1], "upper end of its interval"),
    }
    return xr.Dataset(
        {name: (("gap",), values, {"long_name": text}) for name, (values, text) in columns.items()},
        attrs=provenance(
            schema=GAPS_SCHEMA,
            schema_version=GAPS_SCHEMA_VERSION,
            level=level,
            dimension=int(measure.attrs["dimension"]),
            operator=str(measure.attrs.get("operator", "")),
            num_matvecs=int(measure.attrs["num_matvecs"]),
        ),
    )
