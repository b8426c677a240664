"""Spectra that end or level off: finite rank, and a few eigenvalues over a plateau."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.linalg import eigh

from spectra.frozen import Vector
from spectra.kernels.gram import GramSpectrum

__all__ = ["EQUAL", "Steps", "largest_step", "resolvable", "rounding", "steps_of"]

#: Eigenvalues up to this multiple of the rounding errors are rounding (measured).
NOISE = 10.0
#: Ridges are used above this multiple of the rounding errors (measured), and in float32, where they are known better.
RIDGE, RIDGE_SINGLE = 1e3, 10.0
#: Rounding errors of float32 are taken to be this multiple of the most negative eigenvalue.
NEGATIVE = 3.0
#: A finite rank leaves at least this share of the eigenvalues at rounding, and the smallest other one above it by this
#: factor (measured: ranks found exactly, no law with a tail mistaken for one).
ABSENT, GAP = 0.1, 1e5
#: The factor in matrices of float32, where 1e5 does not fit between the largest eigenvalue and rounding; the gap must
#: also exceed this power of the largest ratio of neighbors above it (measured on polynomial kernels of rank 6 to 70
#: and Gaussian ones).
GAP_SINGLE, STEEPER = 10.0, 1.5
#: Machine epsilon above which the latter applies.
SINGLE = 1e-10
#: Fewest eigenvalues in which a plateau is looked for; it begins among this share of them.
FEWEST, WITHIN = 40, 0.8
#: A plateau lies a decade below, and its ratio of the 10 % to the 90 % quantile is below this one; it is level, with
#: no law of its own, below the other (measured: bulks of noise with 2 to 5 samples for each feature reach 7; centered
#: Laplace kernels in 16 dimensions at n = 400 have 3).
DROP, FLAT, LEVEL = 10.0, 7.0, 1.5
#: Without a drop, a rest of equal eigenvalues is a plateau: those at 50 and 90 % differ by less than this factor
#: (measured: a nugget has 1.000, Laplace kernels in up to 50 dimensions 1.06 and more, designs 1.9 and more).
EQUAL = 1.05
#: Eigenvalues that stand before the first step that is looked for.
FIRST = 4


@dataclass(frozen=True, kw_only=True)
class Steps:
    """Whether a spectrum ends or levels off.

    Attributes
    ----------
    law : {"finite_rank", "plateau", "none"}
        Which.
    rank : int
        Eigenvalues before.
    level : float
        Median of the eigenvalues after; NaN for no plateau.
    drop : float
        Ratio of the eigenvalues between which the step lies.
    is_level : bool
        Whether all eigenvalues of the sample are alike, or all but a few.
    """

    law: Literal["finite_rank", "plateau", "none"]
    rank: int = 0
    level: float = math.nan
    drop: float = math.nan
    is_level: bool = False


def rounding(spectrum: GramSpectrum, matrix: np.ndarray | None = None) -> float:
    """Return the size of rounding errors of the eigenvalues.

    In float64 the decomposition decides: ``eps sqrt(n) w_1``. A matrix of float32 is decomposed in float64, so that its
    entries do: ``eps sqrt(n)`` times the mean of the diagonal, or the most negative eigenvalue where the matrix is
    given and that is larger.
    """
    relative = spectrum.eps * math.sqrt(spectrum.num_samples)
    if spectrum.eps < SINGLE:
        return relative * float(spectrum.eigenvalue[0])
    entries = relative * spectrum.trace / spectrum.num_samples
    if matrix is None:
        return entries
    smallest = float(eigh(matrix, eigvals_only=True, subset_by_index=[0, 0])[0])
    return max(entries, NEGATIVE * -smallest)


def resolvable(spectrum: GramSpectrum, error: float) -> float:
    """Return the smallest ridge at which errors of this size do not change the effective dimension."""
    return (RIDGE if spectrum.eps < SINGLE else RIDGE_SINGLE) * error


def steps_of(spectrum: GramSpectrum, *, error: float | None = None) -> Steps:
    """Return whether the eigenvalues end at a rank, or level off.

    Examples
    --------
    >>> steps_of(GramSpectrum.of_eigenvalues([3.0, 2.0, 1.0], num_samples=50)).rank
    3
    >>> steps_of(GramSpectrum.of_eigenvalues([3.0, 2.0] + [0.01] * 48)).law
    'plateau'
    """
    values, n = spectrum.eigenvalue, spectrum.num_samples
    floor = NOISE * (rounding(spectrum) if error is None else error)
    rank = int(np.sum(values > floor))
    if 0 < rank <= (1 - ABSENT) * n and spectrum.residual_trace <= floor * (n - values.size):
        gap = float(values[rank - 1]) / floor
        steepest = float(np.max(values[: rank - 1] / values[1:rank], initial=1.0))
        enough = GAP if spectrum.eps < SINGLE else max(GAP_SINGLE, steepest**STEEPER)
        if gap > enough:
            return Steps(law="finite_rank", rank=rank, drop=gap)
    if values.size < FEWEST:
        return Steps(law="none")
    before = int(WITHIN * values.size)
    drops = values[:before] / np.maximum(values[1 : before + 1], floor)
    last = int(np.argmax(drops))
    tail = values[last + 1 :]
    spread = _spread(tail)
    if drops[last] > DROP and spread < FLAT and float(tail[0]) > NOISE * floor:
        return Steps(
            law="plateau", rank=last + 1, level=float(np.median(tail)), drop=float(drops[last]), is_level=spread < LEVEL
        )
    rest = float(values[int(0.9 * (values.size - 1))])
    if rest > NOISE * floor and float(values[values.size // 2]) < EQUAL * rest:
        above = int(np.sum(values > EQUAL * rest))
        return Steps(law="plateau", rank=above, level=rest, drop=float(values[0]) / rest, is_level=True)
    return Steps(law="none", is_level=_spread(values) < LEVEL)


def largest_step(values: Vector, exponent: float, *, num: int) -> tuple[float, int]:
    """Return the largest ratio of neighbors beyond that of a power law, and after how many eigenvalues it stands.

    Parameters
    ----------
    values : ndarray, shape (m,)
        Eigenvalues, descending.
    exponent : float
        Of the power law.
    num : int
        Eigenvalues that are looked at; the first four are left out.

    Examples
    --------
    >>> largest_step(np.array([1.0] * 6 + [0.1] * 6), 1.0, num=11)[1]
    6
    """
    index = np.arange(FIRST, min(num, values.size))
    index = index[values[index] > 0]
    if index.size == 0:
        return 1.0, 0
    ratio = values[index - 1] / values[index] / (1 + 1 / index) ** exponent
    best = int(np.argmax(ratio))
    return float(ratio[best]), int(index[best])


def _spread(values: np.ndarray) -> float:
    """Return the ratio of the eigenvalues at 10 and 90 % of a descending list."""
    low = float(values[int(0.9 * (values.size - 1))])
    return float(values[int(0.1 * (values.size - 1))]) / low if low > 0 else math.inf
