"""Outliers above a bulk of white noise: the Marchenko-Pastur law with a scale that the bulk itself tells."""

from dataclasses import dataclass

import numpy as np

from spectra.frozen import Vector
from spectra.laws.edge_scaling import EdgeScaling, largest_eigenvalue_scaling, real_edge_quantile
from spectra.laws.marchenko_pastur import MarchenkoPastur
from spectra.laws.spiked import SpikedCovariance

__all__ = ["MarchenkoPasturFit", "marchenko_pastur_fit"]

#: The count settles after two or three rounds; more mean that it alternates (measured).
MOST_ROUNDS = 50
#: Distance of distribution functions beyond which the bulk is not white. Measured on Wishart matrices of order
#: 40 to 1200: 99 % lie below 2.7 / N to 3.5 / N; bulks of two atoms, 1 and 3, have 0.2.
DISTANCE, DISTANCE_OF_SIZE = 0.01, 2.5


@dataclass(frozen=True, kw_only=True, eq=False)
class MarchenkoPasturFit:
    """A white bulk and what lies above.

    Attributes
    ----------
    variance : float
        Of the entries of the noise.
    variance_stderr : float
        Of its average over the bulk.
    low, high : float
        Edges of the law.
    scale : float
        Of the Tracy-Widom fluctuations of the largest eigenvalue of the bulk.
    threshold : float
        Outliers lie above.
    num_outliers : int
    p_values : ndarray, shape (num_outliers,)
        Of each outlier, the largest first, against the bulk without the outliers above it.
    distance : float
        Largest difference of the distribution functions of bulk and law.
    distance_limit : float
        What it may be for white noise.
    is_settled : bool
        Whether count and variance have stopped to change.
    """

    variance: float
    variance_stderr: float
    low: float
    high: float
    scale: float
    threshold: float
    num_outliers: int
    p_values: Vector
    distance: float
    distance_limit: float
    is_settled: bool


def marchenko_pastur_fit(
    eigenvalues: Vector, *, num_variables: int, num_samples: int, level: float
) -> MarchenkoPasturFit:
    """Estimate the variance of the noise and count the eigenvalues above its bulk, in turn, until both agree.

    The last outlier must lie above the bulk that includes it, too.

    Parameters
    ----------
    eigenvalues : ndarray, shape (min(p, n),)
        Of ``X X' / n`` but for the zeros that p > n forces, descending, not negative, the first positive.
    num_variables, num_samples : int
        p and n.
    level : float
        Probability that white noise shows no outlier.

    Notes
    -----
    Source: Kritchman and Nadler (2008) for the variance; thresholds by Tracy-Widom.

    Examples
    --------
    >>> X = np.random.default_rng(0).standard_normal((100, 400))
    >>> X[0] *= 3
    >>> sample = np.linalg.eigvalsh(X @ X.T / 400)[::-1]
    >>> marchenko_pastur_fit(sample, num_variables=100, num_samples=400, level=0.99).num_outliers
    1
    """
    p, n, unit = num_variables, num_samples, float(eigenvalues[0])
    eigenvalues = eigenvalues / unit
    quantile = real_edge_quantile(level)
    size = len(eigenvalues)
    variance = _from_median(eigenvalues, p / n)
    count, settled = -1, False
    for _ in range(MOST_ROUNDS):
        found = _count(eigenvalues, variance, p, n, quantile)
        updated = _variance(eigenvalues, variance, found, p, n)
        settled = found == count and abs(updated - variance) <= 1e-10 * updated
        count, variance = found, updated
        if settled:
            break
    # Without an outlier the variance is smaller, so that noise alone may confirm one: the last must hold out against a
    # bulk that includes it too. Only the last, because many outliers in the bulk would hide one another.
    while settled and count > 0:
        together = _variance_of(eigenvalues, variance, count - 1, p, n)
        if _is_above(eigenvalues, together, count - 1, p, n, quantile):
            break
        count, variance = count - 1, together
    rest = p - count
    law = MarchenkoPastur(aspect_ratio=rest / n, variance=variance)
    largest = _largest(rest, n, variance)
    p_values = [float(_largest(p - k, n, variance).p_value(n * eigenvalues[k])) for k in range(count)]
    bulk = eigenvalues[count:][::-1]
    zeros = max(rest - len(bulk), 0)
    shares = np.asarray(law.cdf(bulk), dtype=np.float64)
    ranks = zeros + np.arange(1, len(bulk) + 1)
    distance = float(max(np.max(ranks / rest - shares), np.max(shares - (ranks - 1) / rest)))
    return MarchenkoPasturFit(
        variance=unit * variance,
        variance_stderr=unit * variance * float(np.sqrt(2.0 / (rest * n))),
        low=unit * law.smallest,
        high=unit * law.largest,
        scale=unit * largest.scale / n,
        threshold=unit * (largest.center + quantile * largest.scale) / n,
        num_outliers=count,
        p_values=np.array(p_values),
        distance=distance,
        distance_limit=DISTANCE + DISTANCE_OF_SIZE / size,
        is_settled=settled,
    )


def _from_median(eigenvalues: Vector, ratio: float) -> float:
    """Return the variance from the median of the eigenvalues that are not forced to be 0."""
    law = MarchenkoPastur(aspect_ratio=ratio)
    zeros = max(0.0, 1.0 - 1.0 / ratio)
    median = float(np.median(eigenvalues)) / float(law.quantile(zeros + 0.5 * (1.0 - zeros)))
    return median if median > 0.0 else float(np.mean(eigenvalues)) / max(1.0, ratio)


def _largest(num_variables: int, num_samples: int, variance: float) -> EdgeScaling:
    """Return the law of n times the largest eigenvalue of noise alone."""
    return largest_eigenvalue_scaling(num_samples, num_variables, variance=variance)


def _count(eigenvalues: Vector, variance: float, p: int, n: int, quantile: float) -> int:
    """Return how many eigenvalues lie above the threshold of the noise without them."""
    count = 0
    # One eigenvalue that is not 0 stays, so that the variance is positive without any noise too.
    most = np.count_nonzero(eigenvalues > 0.0) - 1
    while count < most and _is_above(eigenvalues, variance, count, p, n, quantile):
        count += 1
    return count


def _is_above(eigenvalues: Vector, variance: float, count: int, p: int, n: int, quantile: float) -> bool:
    """Return whether the largest eigenvalue but for some outliers lies above the threshold of the noise."""
    largest = _largest(p - count, n, variance)
    return bool(n * eigenvalues[count] > largest.center + quantile * largest.scale)


def _variance(eigenvalues: Vector, variance: float, count: int, p: int, n: int) -> float:
    """Return the mean over the bulk, plus what each spike has taken from it: its sample less its population value."""
    model = SpikedCovariance(aspect_ratio=(p - count) / n, variance=variance)
    spikes = np.asarray(model.spike(eigenvalues[:count]))
    taken = np.where(np.isfinite(spikes), eigenvalues[:count] - spikes, 0.0)
    return float((np.sum(eigenvalues[count:]) + np.sum(taken)) / (p - count))


def _variance_of(eigenvalues: Vector, variance: float, count: int, p: int, n: int) -> float:
    """Return the variance that agrees with a given number of outliers."""
    for _ in range(MOST_ROUNDS):
        before, variance = variance, _variance(eigenvalues, variance, count, p, n)
        if abs(variance - before) <= 1e-10 * variance:
            break
    return variance
