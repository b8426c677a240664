"""One weight matrix: bulk, spikes, power law and control, all from its singular values."""

import math
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from probes.weights.control import compare_with_permuted
from probes.weights.singular import singular_values
from probes.weights.splits import Spikes, Split, judge_spikes, split_both
from spectra.laws.power_law_tail import PowerLawTail, fit_power_law_tail

__all__ = ["MatrixSpectrum", "analyze_matrix", "no_spectrum"]

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]

#: Singular values below this share of the largest are 0: what rounding of the entries to single precision changes.
RANK_TOLERANCE = float(np.finfo(np.float32).eps)
#: Singular values within this share of one another are equal. Measured: float32 matrices of `nn.init.orthogonal_`, 8 to
#: 2048 rows, spread by at most 2.1e-6; those of random entries spread by 2 sqrt(p / n).
EQUAL_TOLERANCE = 1e-5
#: Fewer eigenvalues that are not 0 are not split into bulk and spikes.
MIN_SPLIT = 20
#: Factor between the last singular value that is not 0 and the next, from which the others are no end of a bulk that
#: sinks below rounding: those of such a bulk lie within some percent of one another.
GAP = 2.0
#: Why there is no tail where all values are equal.
EQUAL = "all singular values are equal up to rounding"


@dataclass(frozen=True, kw_only=True, eq=False)
class MatrixSpectrum:
    """What the singular values of a matrix say.

    Attributes
    ----------
    singular_values : array, shape (smaller size,)
        Descending; NaN where the matrix is not finite.
    num_rank : int
        Singular values that are not 0 in single precision; of differences, that rounding does not explain.
    stable_rank, participation_ratio : float
        ``|W|_F^2 / |W|_2^2`` and ``(sum s^2)^2 / sum s^4``.
    condition_number : float
        Largest over smallest singular value; infinite below full rank.
    mean_entry : float
    marchenko_pastur, ladder : Split
        Two splits of the same spectrum.
    spikes : Spikes
        Of the Marchenko-Pastur split.
    permuted : Split
        The Marchenko-Pastur split after the entries, less their mean, were permuted.
    heavy_tailed : bool
        Whether single entries, not directions, make at least half of the spikes, or of the misfit of the bulk.
    unequal_sizes : bool
        Whether independent entries in rows and columns of such sizes have such singular values, and those of one size
        do not.
    tail : PowerLawTail
    why : str
        Why nothing was computed; empty if it was.
    remarks : tuple of str
    """

    singular_values: Vector
    num_rank: int = 0
    stable_rank: float = math.nan
    participation_ratio: float = math.nan
    condition_number: float = math.nan
    mean_entry: float = math.nan
    marchenko_pastur: Split = field(default_factory=Split)
    ladder: Split = field(default_factory=Split)
    spikes: Spikes = field(default_factory=Spikes)
    permuted: Split = field(default_factory=Split)
    heavy_tailed: bool = False
    unequal_sizes: bool = False
    tail: PowerLawTail
    why: str = ""
    remarks: tuple[str, ...] = ()


def analyze_matrix(matrix: Matrix, *, num_bootstrap: int, seed: int, rounding: float = 0.0) -> MatrixSpectrum:
    """Return what the singular values of a matrix say, and those of the same entries in random places.

    Parameters
    ----------
    matrix : array, shape (rows, columns)
        Either may be the larger; weights of neither sign nor scale in particular.
    num_bootstrap : int
        Samples for the p-value of the power law.
    seed : int
        Of the bootstrap, the Gaussian matrices and the permutation.
    rounding : float
        Singular values up to here are rounding, as of larger matrices whose difference this is. They are in no tail,
        but in the bulk of a matrix with more values above.

    Returns
    -------
    MatrixSpectrum

    Notes
    -----
    Costs two decompositions, of the matrix and of its permutation, and a third where neither is that of noise.
    Eigenvalues are ``s^2 / n``, n the larger size.
    Sources: those of the parts, :mod:`spectra.outliers`, :mod:`spectra.laws.power_law_tail` and
    :mod:`probes.weights.control`.
    """
    p, n = sorted(matrix.shape)
    values, why = singular_values(matrix), ""
    if not np.all(np.isfinite(values)):
        bad = matrix.size - int(np.isfinite(matrix).sum())
        why = f"{bad:,} of {matrix.size:,} entries are NaN or infinite"
    elif values[0] == 0:
        why = "the matrix is 0"
    if why:
        return no_spectrum(matrix.shape, why, values=values)
    relative = values / values[0]
    rank = int(np.sum(relative > max(RANK_TOLERANCE, rounding / values[0])))
    shares = relative**2
    if relative[-1] >= 1 - EQUAL_TOLERANCE:
        tail = _no_tail(EQUAL)
    else:
        tail = fit_power_law_tail(shares[:rank], shape=(p, n), num_bootstrap=num_bootstrap, rng=seed)
    found = MatrixSpectrum(
        singular_values=values,
        num_rank=rank,
        stable_rank=float(shares.sum()),
        participation_ratio=float(shares.sum() ** 2 / (shares**2).sum()),
        condition_number=float(values[0] / values[-1]) if rank == p else math.inf,
        mean_entry=float(matrix.mean()),
        tail=tail,
        remarks=_of_entries(matrix),
    )
    if tail.why == EQUAL:
        return found
    no_bulk = _why_no_bulk(relative, rank)
    if no_bulk:
        return replace(found, remarks=(*found.remarks, no_bulk))
    return _with_splits(found, matrix, shares, seed=seed)


def _why_no_bulk(relative: Vector, rank: int) -> str:
    """Return why singular values are not split into bulk and spikes; empty if they are."""
    if rank < MIN_SPLIT:
        return f"{rank} singular values are too few to tell spikes from a bulk"
    if 2 * rank <= relative.size and relative[rank] < relative[rank - 1] / GAP:
        return f"{rank} of {relative.size} singular values are not 0: there is no bulk"
    return ""


def _with_splits(found: MatrixSpectrum, matrix: Matrix, shares: Vector, *, seed: int) -> MatrixSpectrum:
    """Add bulk and spikes, and what is left of them where the entries are in random places.

    Parameters
    ----------
    found : MatrixSpectrum
    matrix : array, shape (rows, columns)
    shares : array, shape (smaller size,)
        Squared singular values over the largest: squares of the values themselves overflow beyond 1e154.
    seed : int
    """
    p, n = sorted(matrix.shape)
    scale = float(found.singular_values[0]) * math.sqrt(float(shares.mean()) / n)
    unit = shares / shares.mean()
    bulk, ladder = split_both(unit, shape=(p, n))
    control = compare_with_permuted((matrix - found.mean_entry) / scale, unit, bulk, seed=seed)
    remarks = [*found.remarks, *control.remarks]
    if abs(found.mean_entry) / scale * math.sqrt(p * n) > math.sqrt(p) + math.sqrt(n):
        remarks.append("the mean of the entries alone makes a spike")
    return replace(
        found,
        marchenko_pastur=bulk.scaled(scale),
        ladder=ladder.scaled(scale),
        permuted=control.split.scaled(scale),
        spikes=judge_spikes(unit, bulk, shape=(p, n)).scaled(scale),
        heavy_tailed=control.heavy_tailed,
        unequal_sizes=control.unequal_sizes,
        remarks=tuple(remarks),
    )


def no_spectrum(shape: tuple[int, ...], why: str, *, values: Vector | None = None) -> MatrixSpectrum:
    """Return the result of a matrix that could not be analyzed.

    Parameters
    ----------
    shape : tuple of int
    why : str
    values : array, optional
        Its singular values, if they are known; otherwise NaN.
    """
    values = np.full(min(shape), np.nan) if values is None else values
    return MatrixSpectrum(singular_values=values, tail=_no_tail(why), why=why)


def _of_entries(matrix: Matrix) -> tuple[str, ...]:
    """Say what entries show that are no weights, and rows and columns that are not in use."""
    names = ("rows", "columns")
    zero = [int(np.sum(~matrix.any(axis=axis))) for axis in (1, 0)]
    if max(zero) > 0:
        text = " and ".join(f"{k:,} of {size:,} {of}" for k, size, of in zip(zero, matrix.shape, names, strict=True))
        return (*_of_values(matrix), f"{text} are 0")
    return _of_values(matrix)


def _of_values(matrix: Matrix) -> tuple[str, ...]:
    """Say what entries show that are no weights."""
    low, high = float(matrix.min()), float(matrix.max())
    others = matrix if low == high else matrix[matrix != (low if low == 0 else high)]
    if low == high:
        return ("all entries are equal",)
    if 0 in (low, high) and np.all(others == others.flat[0]):
        return ("all entries are 0 or one other number, as of masks and codes",)
    return ()


def _no_tail(why: str) -> PowerLawTail:
    """Return a tail that was not looked for."""
    return replace(
        fit_power_law_tail(np.ones(1), shape=None), num_values=0, smallest=math.nan, largest=math.nan, why=why
    )
