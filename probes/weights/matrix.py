"""One weight matrix: bulk, spikes, power law and control, all from its singular values."""

import math
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from probes.weights.control import Control, compare_with_permuted
from probes.weights.singular import singular_values
from probes.weights.splits import Spikes, Split, judge_spikes, split
from spectra.laws.power_law_tail import PowerLawTail, fit_power_law_tail
from spectra.weights_summary import EQUAL_CONDITION

__all__ = ["MatrixSpectrum", "analyze_matrix", "no_spectrum"]

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]

#: Singular values below this share of the largest are 0: what rounding of the entries to single precision changes.
RANK_TOLERANCE = float(np.finfo(np.float32).eps)
#: Fewer eigenvalues that are not 0 are not split into bulk and spikes. Design choice: by the Marchenko-Pastur law,
#: Gaussian matrices of 12 to 30 rows and one to eight times as many columns show spikes in at most 0.6 % of draws, and
#: with 8 rows no bulk is trusted (measured, 2000 draws of each size).
MIN_SPLIT = 20
#: Factor between the last singular value that is not 0 and the next, from which the others are no end of a bulk that
#: sinks below rounding: those of such a bulk lie within some percent of one another (design choice).
GAP = 2.0
#: Why there is no tail where all values are equal.
EQUAL = "all singular values are equal up to rounding"


@dataclass(frozen=True, kw_only=True, eq=False)
class MatrixSpectrum:
    """What the singular values of a matrix say.

    Attributes
    ----------
    singular_values : array, shape (smaller size,)
        Descending, in units of the entries; NaN where the matrix is not finite.
    rank : int
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
    control : Control
        What is left of both where the entries are in random places.
    tail : PowerLawTail
        Of the squares of singular values over the largest one.
    why : str
        Why nothing was computed; empty if it was.
    remarks : tuple of str
        Those of the control among them.
    """

    singular_values: Vector
    rank: int = 0
    stable_rank: float = math.nan
    participation_ratio: float = math.nan
    condition_number: float = math.nan
    mean_entry: float = math.nan
    marchenko_pastur: Split = field(default_factory=Split)
    ladder: Split = field(default_factory=Split)
    spikes: Spikes = field(default_factory=Spikes)
    control: Control = field(default_factory=Control)
    tail: PowerLawTail
    why: str = ""
    remarks: tuple[str, ...] = ()


def analyze_matrix(matrix: Matrix, *, num_bootstrap: int, seed: int, rounding: float = 0.0) -> MatrixSpectrum:
    """Return what the singular values of a matrix say, and those of the same entries in random places.

    Parameters
    ----------
    matrix : array, shape (rows, columns)
        Either size may be the larger; entries of any sign, in any units.
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
    Costs two decompositions, of the matrix and of its permutation; a third where the bulk is not that of entries of one
    variance, and large entries are not the reason; only one where no split is made.
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
    condition = float(values[0] / values[-1]) if rank == p else math.inf
    is_flat = condition <= EQUAL_CONDITION
    if is_flat:
        tail = _no_tail(EQUAL)
    else:
        tail = fit_power_law_tail(shares[:rank], shape=(p, n), num_bootstrap=num_bootstrap, rng=seed)
    found = MatrixSpectrum(
        singular_values=values,
        rank=rank,
        stable_rank=float(shares.sum()),
        participation_ratio=float(shares.sum() ** 2 / (shares**2).sum()),
        condition_number=condition,
        mean_entry=float(matrix.mean()),
        tail=tail,
        remarks=(*_remark_values(matrix), *_remark_zeros(matrix)),
    )
    if is_flat:
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
    bulk = split(unit, method="marchenko_pastur", num_samples=n)
    ladder = split(unit, method="edge", num_samples=n)
    control = compare_with_permuted((matrix - found.mean_entry) / scale, unit, bulk, seed=seed)
    remarks = [*found.remarks, *control.remarks]
    # Equal entries m have the norm |m| sqrt(p n), which stands alone where noise of the same size ends below it.
    if abs(found.mean_entry) / scale * math.sqrt(p * n) > math.sqrt(p) + math.sqrt(n):
        remarks.append("the mean of the entries alone makes a spike")
    return replace(
        found,
        marchenko_pastur=bulk.scaled(scale),
        ladder=ladder.scaled(scale),
        spikes=judge_spikes(unit, bulk, num_samples=n).scaled(scale),
        control=control,
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

    Returns
    -------
    MatrixSpectrum
    """
    values = np.full(min(shape), np.nan) if values is None else values
    return MatrixSpectrum(singular_values=values, tail=_no_tail(why), why=why)


def _remark_values(matrix: Matrix) -> tuple[str, ...]:
    """Say what entries show that are no weights."""
    low, high = float(matrix.min()), float(matrix.max())
    if low == high:
        return ("all entries are equal",)
    others = matrix[matrix != (low if low == 0 else high)]
    if 0 in (low, high) and np.all(others == others.flat[0]):
        return ("all entries are 0 or one other number, as of masks and codes",)
    return ()


def _remark_zeros(matrix: Matrix) -> tuple[str, ...]:
    """Say how many rows and columns are not in use."""
    zero = [int(np.sum(~matrix.any(axis=axis))) for axis in (1, 0)]
    if max(zero) == 0:
        return ()
    rows, columns = (f"{k:,} of {size:,}" for k, size in zip(zero, matrix.shape, strict=True))
    return (f"{rows} rows and {columns} columns are 0",)


def _no_tail(why: str) -> PowerLawTail:
    """Return a tail that was not looked for."""
    return replace(
        fit_power_law_tail(np.ones(1), shape=None), num_values=0, smallest=math.nan, largest=math.nan, why=why
    )
