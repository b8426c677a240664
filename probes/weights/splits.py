"""Bulk and spikes of one spectrum, by the Marchenko-Pastur law and by the law-free ladder, in units of the weights."""

import math
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from spectra.laws.edge_scaling import largest_eigenvalue_scaling
from spectra.laws.spiked import SpikedRectangular
from spectra.outliers import split_bulk

__all__ = ["Spikes", "Split", "judge_spikes", "split"]

Vector = npt.NDArray[np.float64]

#: Probability that a matrix without spikes shows none, of 100 such matrices one has some: the usual one of
#: :func:`spectra.outliers.split_bulk`, at which its margins were measured.
LEVEL = 0.99


def _nothing() -> Vector:
    return np.zeros(0)


@dataclass(frozen=True, kw_only=True)
class Split:
    """A bulk and the spikes above it.

    Attributes
    ----------
    sigma : float
        Root of the variance of the entries that makes such a bulk, in units of the entries; NaN where a split has none.
    lower, upper : float
        Edges of the bulk as singular values, in units of the entries.
    num_spikes : int
        Singular values above it; -1 where no split was made.
    misfit : float
        Kolmogorov-Smirnov distance of the bulk from the Marchenko-Pastur law; NaN where no law was fitted.
    is_trustworthy : bool
        Whether the bulk ends as the split assumes.
    why : str
        If not, why.
    """

    sigma: float = math.nan
    lower: float = math.nan
    upper: float = math.nan
    num_spikes: int = -1
    misfit: float = math.nan
    is_trustworthy: bool = False
    why: str = ""

    def scaled(self, scale: float) -> "Split":
        """Return it for weights that are larger by a factor."""
        return replace(self, sigma=self.sigma * scale, lower=self.lower * scale, upper=self.upper * scale)


@dataclass(frozen=True, kw_only=True, eq=False)
class Spikes:
    """Singular values above the bulk, descending.

    Attributes
    ----------
    value : array, shape (num_spikes,)
        In units of the entries.
    signal : array, shape (num_spikes,)
        Singular value of the matrix of low rank that the noise was added to; NaN where the spike is below the edge of
        endless matrices, from which none follows.
    overlap : array, shape (num_spikes,)
        Squared cosine of the singular vectors to those of that matrix, the geometric mean of left and right; NaN where
        the signal is.
    margin : array, shape (num_spikes,)
        How far above the edge, in Tracy-Widom units.
    """

    value: Vector = field(default_factory=_nothing)
    signal: Vector = field(default_factory=_nothing)
    overlap: Vector = field(default_factory=_nothing)
    margin: Vector = field(default_factory=_nothing)

    def scaled(self, scale: float) -> "Spikes":
        """Return them for weights that are larger by a factor."""
        return replace(self, value=self.value * scale, signal=self.signal * scale)


def split(
    eigenvalues: Vector, *, method: Literal["marchenko_pastur", "edge"], num_samples: int, level: float = LEVEL
) -> Split:
    """Return bulk and spikes as singular values, by the Marchenko-Pastur law or where the bulk ends whatever its law.

    Parameters
    ----------
    eigenvalues : array, shape (p,)
        ``s^2 / n`` of all singular values, p the smaller and n the larger size.
    method : {"marchenko_pastur", "edge"}
        As of :func:`spectra.outliers.split_bulk`.
    num_samples : int
        The larger size n.
    level : float
        Probability that a bulk without spikes shows none.

    Returns
    -------
    Split

    Notes
    -----
    No decompositions. Source: :func:`spectra.outliers.split_bulk`.

    Examples
    --------
    >>> noise = np.random.default_rng(0).normal(size=(100, 200))
    >>> noise[0] += 3
    >>> found = split(np.linalg.eigvalsh(noise @ noise.T / 200), method="marchenko_pastur", num_samples=200)
    >>> found.num_spikes, round(found.sigma, 2)
    (1, 1.0)
    """
    found = split_bulk(eigenvalues, num_samples=num_samples, level=level, method=method)
    low, high = (
        math.sqrt(max(edge, 0.0) * num_samples) if math.isfinite(edge) else math.nan for edge in (found.low, found.high)
    )
    variance = found.variance
    return Split(
        sigma=math.sqrt(variance) if variance > 0 else math.nan,
        lower=low,
        upper=high,
        num_spikes=int(np.sum(found.side > 0)) if math.isfinite(high) else -1,
        misfit=found.misfit if method == "marchenko_pastur" else math.nan,
        is_trustworthy=found.is_trustworthy,
        why="" if found.is_trustworthy else found.why,
    )


def judge_spikes(eigenvalues: Vector, bulk: Split, *, num_samples: int) -> Spikes:
    """Return the spikes of a split with what they say about the matrix behind.

    Parameters
    ----------
    eigenvalues : array, shape (p,)
        ``s^2 / n`` of all singular values, descending, p the smaller and n the larger size.
    bulk : Split
        By the Marchenko-Pastur law, of the same matrix.
    num_samples : int
        The larger size n.

    Returns
    -------
    Spikes
        None where the split has none or no variance.

    Notes
    -----
    Margins are those of the largest eigenvalue of noise without the spikes before (Ma, 2012): beyond 2 one in a
    hundred, beyond 4.4 one in ten thousand. Source: Benaych-Georges and Nadakuditi (2012) for signals.

    Examples
    --------
    >>> eigenvalues = np.append(9.0, np.linspace(2.8, 0.1, 49))
    >>> judge_spikes(eigenvalues, Split(sigma=1.0, num_spikes=1), num_samples=100).value.tolist()
    [30.0]
    """
    p, n = eigenvalues.size, num_samples
    if bulk.num_spikes < 1 or not bulk.sigma > 0:
        return Spikes()
    values = np.sqrt(eigenvalues[: bulk.num_spikes])
    model = SpikedRectangular(aspect_ratio=p / n, variance=bulk.sigma**2)
    signal = np.atleast_1d(model.spike(values))
    known = np.nan_to_num(signal, nan=0.0)
    overlap = np.sqrt(np.maximum(model.left_overlap(known) * model.right_overlap(known), 0.0))
    edges = [largest_eigenvalue_scaling(n, max(p - k, 1)) for k in range(values.size)]
    center, scale = np.array([edge.center for edge in edges]) / n, np.array([edge.scale for edge in edges]) / n
    root_n = math.sqrt(n)
    return Spikes(
        value=values * root_n,
        signal=signal * root_n,
        overlap=np.where(np.isfinite(signal), overlap, np.nan),
        margin=(values**2 / bulk.sigma**2 - center) / scale,
    )
