"""Spectra of Gaussian matrices without structure, and whether the top of a given spectrum looks like one of them."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.linalg import eigh_tridiagonal

from spectra.frozen import Vector
from spectra.laws.points import as_sides
from spectra.start_vectors import as_count, as_seed

__all__ = ["NullComparison", "compare_with_noise", "gaussian_spectra"]

#: Wider matrices are compared with Gaussian ones of this width and the same aspect ratio, whose eigenvalues fluctuate
#: more, so that the comparison errs towards noise (eigenvalues are rigid: spreads fall like 1/width); but so wide that
#: the tail keeps this many values.
MAX_WIDTH = 400
LEAST_VALUES = 25
#: Bisection finds less than one eigenvalue in so many faster than QL finds all (measured, p = 400 and 2000).
FEW = 24
#: Shares of the tail that may be spikes on top of a bulk of noise.
SPIKE_SHARES = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25)
#: Distances up to so many times the largest of all Gaussian draws are taken for noise: entries that are uniform, or
#: rows of unequal scale after few steps of training, are not Gaussian (set by hand; counted in the tests).
NULL_MARGIN = 2.0


@dataclass(frozen=True, kw_only=True)
class NullComparison:
    """How far the top of a spectrum is from that of Gaussian noise.

    Attributes
    ----------
    is_noise : bool
        Whether noise, with or without spikes, explains it.
    distance : float
        Kolmogorov-Smirnov distance of the tail, its spikes left out, from the pooled noise, relative to the limit: at
        most 1 where ``is_noise``.
    num_spikes : int
        Values left out where that ratio is smallest.
    """

    is_noise: bool
    distance: float
    num_spikes: int


def gaussian_spectra(
    shape: tuple[int, int], *, num: int, num_largest: int | None = None, rng: int | np.random.Generator = 0
) -> Vector:
    """Draw the eigenvalues of ``G G' / n`` for Gaussian matrices G, shape (num, num_largest), descending in each row.

    Parameters
    ----------
    shape : tuple of int
        Of G, in either order; p is the smaller one, n the larger.
    num : int
        Matrices.
    num_largest : int, optional
        Only the largest eigenvalues; by default all p.
    rng : int or numpy.random.Generator

    Raises
    ------
    ArgumentError
        If a size is no positive integer.
    ShapeError
        If ``shape`` is not a pair.

    Notes
    -----
    Costs O(num p^2): the tridiagonal model has exactly the law of the dense matrix. Source: Dumitriu and Edelman
    (2002), Matrix models for beta ensembles; means and edges checked in the tests.

    Examples
    --------
    >>> spectra = gaussian_spectra((200, 400), num=20)
    >>> round(float(spectra.mean()), 2)
    1.0
    """
    p, n = as_sides(shape)
    num = as_count(num, name="num")
    generator = np.random.default_rng(as_seed(rng))
    diagonal = generator.chisquare(n - np.arange(p), size=(num, p))
    below = generator.chisquare(np.maximum(p - 1 - np.arange(p - 1), 1), size=(num, p - 1))
    main = diagonal.copy()
    main[:, 1:] += below
    off = np.sqrt(diagonal[:, :-1] * below)
    count = p if num_largest is None else min(p, as_count(num_largest, name="num_largest"))
    options: dict[str, Any] = {"lapack_driver": "sterf"}
    if count * FEW < p:
        options = {"lapack_driver": "stebz", "select": "i", "select_range": (p - count, p - 1)}
    rows = [
        eigh_tridiagonal(d, e, eigvals_only=True, **options)[::-1][:count] if p > 1 else d
        for d, e in zip(main, off, strict=True)
    ]
    return np.maximum(np.array(rows), 0.0) / n


def compare_with_noise(
    values: Vector, *, num_tail: int, shape: tuple[int, int], num_draws: int, rng: int | np.random.Generator = 0
) -> NullComparison:
    """Compare the tail of a spectrum with spectra of Gaussian matrices of the same shape, whatever their scale.

    The largest values may be spikes: the comparison is repeated with up to a quarter of the tail left out, and noise
    explains the tail if it does so once.

    Parameters
    ----------
    values : array, shape (num_values,)
        Eigenvalues, descending, positive.
    num_tail : int
        How many of them are the tail.
    shape : tuple of int
        Of the matrix.
    num_draws : int
        Gaussian matrices.
    rng : int or numpy.random.Generator

    Returns
    -------
    NullComparison

    Notes
    -----
    Each tail is divided by its smallest value, so that no variance enters. The limit is :data:`NULL_MARGIN` times the
    largest distance of a draw from all of them. Derived here.

    Examples
    --------
    >>> noise = gaussian_spectra((100, 300), num=1, rng=5)[0]
    >>> compare_with_noise(noise, num_tail=60, shape=(100, 300), num_draws=50).is_noise
    True
    """
    p, n = sorted(shape)
    width = min(p, max(MAX_WIDTH, math.ceil(LEAST_VALUES * p / num_tail)))
    top = width if width <= MAX_WIDTH else math.ceil(num_tail * width / p)
    draws = _drawn((width, max(width, round(n * width / p))), num_draws, top, as_seed(rng))
    best, num_spikes = np.inf, 0
    for share in SPIKE_SHARES:
        left_out = round(share * num_tail)
        kept = num_tail - left_out
        size = max(2, min(top, round(kept * width / p)))
        tails = _above_smallest(draws[:, :size])
        pooled = np.sort(tails.ravel())
        limit = NULL_MARGIN * max(_distance(tail, pooled) for tail in tails)
        ratio = _distance(_above_smallest(values[None, left_out:num_tail])[0], pooled) / limit
        if ratio < best:
            best, num_spikes = ratio, left_out
    return NullComparison(is_noise=bool(best <= 1.0), distance=float(best), num_spikes=num_spikes)


@lru_cache(maxsize=8)
def _drawn(shape: tuple[int, int], num: int, num_largest: int, seed: int) -> Vector:
    """Return Gaussian spectra, kept for the next matrix of the same shape: networks have few different ones."""
    spectra = gaussian_spectra(shape, num=num, num_largest=num_largest, rng=seed)
    spectra.flags.writeable = False
    return spectra


def _above_smallest(tails: Vector) -> Vector:
    """Return the logarithms of descending values over their last one, which is left out."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.nan_to_num(np.log(tails[:, :-1] / tails[:, -1:]), nan=0.0, posinf=np.finfo(float).max)


def _distance(sample: Vector, pooled: Vector) -> float:
    """Return the Kolmogorov-Smirnov distance between a descending sample and a large, ascending one."""
    ascending = sample[::-1]
    count = ascending.size
    below = np.searchsorted(pooled, ascending, side="left") / pooled.size
    upto = np.searchsorted(pooled, ascending, side="right") / pooled.size
    steps = np.arange(count + 1) / count
    return float(max((steps[1:] - upto).max(), (below - steps[:-1]).max()))
