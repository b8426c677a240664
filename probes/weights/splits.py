"""Bulk and spikes of one spectrum, by the Marchenko-Pastur law and by the law-free ladder, in units of the weights."""

import math
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import numpy.typing as npt

from spectra.bulk_split import BulkSplit
from spectra.laws.edge_scaling import largest_eigenvalue_scaling
from spectra.laws.spiked import SpikedRectangular
from spectra.outliers import split_bulk

__all__ = ["Spikes", "Split", "judge_spikes", "split_both"]

Vector = npt.NDArray[np.float64]


def _nothing() -> Vector:
    return np.zeros(0)


#: Probability that a matrix without spikes shows none: of 100 such matrices one has some.
LEVEL = 0.99


@dataclass(frozen=True, kw_only=True)
class Split:
    """A bulk and the spikes above it.

    Attributes
    ----------
    sigma : float
        Root of the variance of the entries that makes such a bulk; NaN where a split has none.
    lower, upper : float
        Edges of the bulk as singular values.
    num_spikes : int
        Singular values above it; -1 where no split was made.
    distance : float
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
    distance: float = math.nan
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
    signal : array
        Singular value of the matrix of low rank that the noise was added to.
    overlap : array
        Squared cosine of the singular vectors to those of that matrix, the geometric mean of left and right.
    margin : array
        How far above the edge, in Tracy-Widom units.
    """

    value: Vector = field(default_factory=_nothing)
    signal: Vector = field(default_factory=_nothing)
    overlap: Vector = field(default_factory=_nothing)
    margin: Vector = field(default_factory=_nothing)

    def scaled(self, scale: float) -> "Spikes":
        """Return them for weights that are larger by a factor."""
        return replace(self, value=self.value * scale, signal=self.signal * scale)


def split_both(
    eigenvalues: Vector, *, shape: tuple[int, int], level: float = LEVEL, with_ladder: bool = True
) -> tuple[Split, Split]:
    """Return the split by the Marchenko-Pastur law and the law-free one, as singular values.

    Parameters
    ----------
    eigenvalues : array, shape (p,)
        ``s^2 / n``.
    shape : tuple of int
        The smaller size p and the larger n.
    level : float
        Probability that a bulk without spikes shows none.
    with_ladder : bool
        Whether the second one is wanted; otherwise it is empty.
    """
    _, n = shape
    split = partial(split_bulk, eigenvalues, num_samples=n, level=level)
    white = _as_split(split(method="marchenko_pastur"), shape)
    return white, _as_split(split(method="edge"), shape) if with_ladder else Split()


def judge_spikes(eigenvalues: Vector, split: Split, *, shape: tuple[int, int]) -> Spikes:
    """Return the spikes of a split with what they say about the matrix behind.

    Parameters
    ----------
    eigenvalues : array, shape (p,)
        ``s^2 / n``, descending.
    split : Split
        By the Marchenko-Pastur law, in the same units.
    shape : tuple of int
        The smaller size p and the larger n.

    Notes
    -----
    Margins are those of the largest eigenvalue of noise without the spikes before (Ma, 2012): beyond 2 one in a
    hundred, beyond 4.4 one in ten thousand. Source: Benaych-Georges and Nadakuditi (2012) for signals.

    Examples
    --------
    >>> unit = np.array([9.0, 1.0, 0.9])
    >>> judge_spikes(unit, Split(sigma=1.0, num_spikes=1), shape=(50, 100)).value.tolist()
    [30.0]
    """
    p, n = shape
    if split.num_spikes < 1 or not split.sigma > 0:
        return Spikes()
    values = np.sqrt(eigenvalues[: split.num_spikes])
    model = SpikedRectangular(aspect_ratio=p / n, variance=split.sigma**2)
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
        margin=(values**2 / split.sigma**2 - center) / scale,
    )


def _as_split(found: BulkSplit, shape: tuple[int, int]) -> Split:
    """Return a split of eigenvalues as one of singular values."""
    _, n = shape
    low, high = (math.sqrt(max(edge, 0.0) * n) if math.isfinite(edge) else math.nan for edge in (found.low, found.high))
    variance = found.variance
    return Split(
        sigma=math.sqrt(variance) if variance > 0 else math.nan,
        lower=low,
        upper=high,
        num_spikes=int(np.sum(found.side > 0)) if math.isfinite(high) else -1,
        distance=found.misfit if found.method == "marchenko_pastur" else math.nan,
        is_trustworthy=found.is_trustworthy,
        why="" if found.is_trustworthy else found.why,
    )
