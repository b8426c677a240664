"""A law of random matrices beside a spectral measure: moments of the nodes in the bulk tell its parameters."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from spectra.bulk_split import BulkSplit
from spectra.distances import kolmogorov
from spectra.errors import ArgumentError
from spectra.frozen import Vector
from spectra.laws.base import Law
from spectra.laws.marchenko_pastur import MarchenkoPastur
from spectra.laws.semicircle import Semicircle
from spectra.laws_fit import DISTANCE, LawFit, no_fit
from spectra.measure_schema import pooled, probes_of

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["fit_law_of_measure"]

#: Quantiles that stand for a law, whose steps are then far below what a measure resolves.
NUM_QUANTILES = 1000
#: Distances above this are no fit even where the measure is too coarse to exclude one (set by hand; measured with 4
#: probes of 30 and 60 steps: Wishart matrices of order 300 and 800 have at most 0.03, 48 draws; evenly spaced
#: eigenvalues of order 300 were taken for a Marchenko-Pastur law in 5 of 24 draws at 0.1, of order 800 in none).
MOST = 0.07
#: Nodes within this share of the gap between an atom at 0 and the rest of a law belong to the atom (set by hand).
AT_ZERO = 0.5
#: Mean of a bulk over its width below which it is one about 0 (set by hand).
CENTERED = 0.05


def fit_law_of_measure(name: str, measure: "xr.Dataset", split: BulkSplit, *, aspect_ratio: float) -> LawFit:
    """Return the law with the moments of the measure between the thresholds of a split, and its distance from it.

    Parameters
    ----------
    name : {"marchenko_pastur", "semicircle"}
        Others need eigenvalues.
    measure : xarray.Dataset
        Of :func:`spectra.slq`.
    split : BulkSplit
        Of that measure.
    aspect_ratio : float
        Known, so that the mean tells the variance; or NaN.

    Returns
    -------
    LawFit
        Fits unless the distance is certain to exceed 0.01 at 95 %, or is above 0.07; errors are those of the probes.

    Examples
    --------
    >>> from spectra.outliers import split_bulk
    >>> from spectra.quadrature import slq
    >>> X = np.random.default_rng(0).standard_normal((300, 600))
    >>> measure = slq(X @ X.T / 600, num_probes=4, num_steps=40)
    >>> fit_law_of_measure("marchenko_pastur", measure, split_bulk(measure), aspect_ratio=math.nan).fits
    True
    """
    size = int(measure.attrs["dimension"])
    if name not in ("marchenko_pastur", "semicircle"):
        return no_fit(name, "a spectral measure does not tell its parameters; eigenvalues are required", size=size)
    if not split.high > split.low:
        return no_fit(name, "the edges of the bulk are not known", size=size)
    moments = _bulk_moments(measure, split)
    try:
        law = _law(name, np.mean(moments, axis=0), aspect_ratio)
        stderr = _errors(name, moments, law, aspect_ratio)
    except ArgumentError as error:
        return no_fit(name, str(error), size=size)
    points = np.asarray(law.quantile((np.arange(NUM_QUANTILES) + 0.5) / NUM_QUANTILES))
    if split.num_outliers and size > split.num_outliers:
        # Outliers weigh what they are in number.
        share = round(NUM_QUANTILES * split.num_outliers / (size - split.num_outliers))
        points = np.concatenate([points, np.resize(split.outlier, share)])
    distance = kolmogorov(measure, points)
    # Beside an atom a quadrature leaves half of its mass open, so that the nodes tell more than the middle of a band.
    off_by = _distance_of_nodes(measure, split, law) if law.atoms else float(distance.value)
    lowest = 0.0 if distance.low is None else float(distance.low)
    nearness = f"the measure tells distances to within [{lowest:.2g}, {float(distance.high or 1.0):.2g}]"
    off = ""
    center, width = float(np.mean(moments[:, 0])), split.high - split.low
    spread = float(np.std(moments[:, 0])) / math.sqrt(max(len(moments) - 1, 1))
    if name == "semicircle" and abs(center) > max(CENTERED * width, 4.0 * spread):
        off = f"; the bulk is centered at {center:.3g}, not at 0"
    return LawFit(
        name=name,
        law=law,
        parameters={key: float(value) for key, value in vars(law).items() if isinstance(value, float)},
        stderr=stderr,
        distance=off_by,
        distance_limit=MOST,
        fits=bool(lowest <= DISTANCE and off_by <= MOST and not off),
        remark=f"errors are those of the probes; {nearness}{off}",
    )


def _distance_of_nodes(measure: "xr.Dataset", split: BulkSplit, law: Law) -> float:
    """Return the largest difference of the distribution functions of a law and of all nodes that are no outliers."""
    nodes, weights = pooled(measure)
    inside = _is_inside(nodes, split)
    nodes, weights = nodes[inside], weights[inside] / np.sum(weights[inside])
    # A node that stands for an eigenvalue of 0 has not quite converged to it.
    nodes = np.where(np.abs(nodes) < AT_ZERO * law.support[0][0], 0.0, nodes)
    places, where = np.unique(nodes, return_inverse=True)
    masses = np.bincount(where, weights)
    upto, share = np.cumsum(masses), np.asarray(law.cdf(places))
    below = share - sum((mass * (places == place) for place, mass in law.atoms), np.zeros(places.size))
    return float(max(np.max(np.abs(upto - share)), np.max(np.abs(upto - masses - below))))


def _is_inside(nodes: Vector, split: BulkSplit) -> np.ndarray:
    """Whether nodes lie between the thresholds of a split."""
    low = split.low_threshold if math.isfinite(split.low_threshold) else -math.inf
    return (nodes >= low) & (nodes <= split.threshold)


def _bulk_moments(measure: "xr.Dataset", split: BulkSplit) -> Vector:
    """Return mean and mean square of the nodes of each probe that are no outliers, shape (num_probes, 2)."""
    rows = []
    for probe in probes_of(measure):
        inside = _is_inside(probe.values, split)
        weights = probe.weights[inside] / np.sum(probe.weights[inside])
        rows.append([weights @ probe.values[inside], weights @ probe.values[inside] ** 2])
    return np.array(rows)


def _law(name: str, moments: Vector, aspect_ratio: float) -> Any:
    """Return the law of this mean and mean square."""
    mean, square = moments.tolist()
    if name == "semicircle":
        return Semicircle(variance=square)
    if not mean > 0.0:
        raise ArgumentError(f"a Marchenko-Pastur law has a positive mean; got {mean:.3g}")
    return MarchenkoPastur(
        aspect_ratio=aspect_ratio if math.isfinite(aspect_ratio) else square / mean**2 - 1.0, variance=mean
    )


def _errors(name: str, moments: Vector, law: Any, aspect_ratio: float) -> dict[str, float]:
    """Return errors of the parameters from leaving one probe out at a time; NaN for a single probe."""
    known = {key: value for key, value in vars(law).items() if isinstance(value, float)}
    num = len(moments)
    if num < 2:
        return dict.fromkeys(known, math.nan)
    left = [_law(name, np.mean(np.delete(moments, i, axis=0), axis=0), aspect_ratio) for i in range(num)]
    spread = {key: np.std([getattr(one, key) for one in left]) * math.sqrt(num - 1) for key in known}
    return {key: float(value) for key, value in spread.items()}
