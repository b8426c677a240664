"""One weight matrix: bulk, spikes, power law and control, all from its singular values."""

import math
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import scipy.linalg

from probes.weights.splits import Spikes, Split, judge_spikes, split_both
from spectra.laws.power_law_tail import PowerLawTail, fit_power_law_tail

__all__ = ["MatrixSpectrum", "analyze_matrix", "singular_values"]

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]

#: Eigenvalues of the Gram matrix below this share of the largest have lost half of their digits: the singular values
#: are then computed from the matrix itself (float64 rounds the Gram matrix at 2e-16 of the largest).
GRAM_TOLERANCE = 1e-9
#: Singular values below this share of the largest are 0: what rounding of the entries to single precision changes.
RANK_TOLERANCE = float(np.finfo(np.float32).eps)
#: Fewer eigenvalues are not split into bulk and spikes.
MIN_SPLIT = 20
#: Probability that permuted entries without heavy tails show no spike.
CONTROL_LEVEL = 0.999


@dataclass(frozen=True, kw_only=True, eq=False)
class MatrixSpectrum:
    """What the singular values of a matrix say.

    Attributes
    ----------
    singular_values : array, shape (smaller size,)
        Descending; NaN where the matrix is not finite.
    num_rank : int
        Singular values that are not 0 in single precision.
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
        Whether at least half as many spikes are left then: single entries, not directions, make them.
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
    tail: PowerLawTail
    why: str = ""
    remarks: tuple[str, ...] = ()


def analyze_matrix(matrix: Matrix, *, num_bootstrap: int, seed: int) -> MatrixSpectrum:
    """Return what the singular values of a matrix say, and those of the same entries in random places.

    Parameters
    ----------
    matrix : array, shape (rows, columns)
        Either may be the larger; weights of neither sign nor scale in particular.
    num_bootstrap : int
        Samples for the p-value of the power law.
    seed : int
        Of the bootstrap, the Gaussian matrices and the permutation.

    Returns
    -------
    MatrixSpectrum

    Notes
    -----
    Costs two decompositions, of the matrix and of its permutation. Eigenvalues are ``s^2 / n``, n the larger size.
    Source: the control of entries is Martin and Mahoney (2021), randomization of weight matrices; rules measured here.
    """
    p, n = sorted(matrix.shape)
    values, why = singular_values(matrix), ""
    if not np.all(np.isfinite(values)):
        why = "the matrix holds NaN or infinity"
    elif values[0] == 0:
        why = "the matrix is 0"
    if why:
        return MatrixSpectrum(singular_values=values, tail=_no_tail(why), why=why)
    relative = values / values[0]
    rank = int(np.sum(relative > RANK_TOLERANCE))
    shares = relative**2
    tail = fit_power_law_tail(shares[:rank], shape=(p, n), num_bootstrap=num_bootstrap, rng=seed)
    mean = float(matrix.mean())
    found = MatrixSpectrum(
        singular_values=values,
        num_rank=rank,
        stable_rank=float(shares.sum()),
        participation_ratio=float(shares.sum() ** 2 / (shares**2).sum()),
        condition_number=float(values[0] / values[-1]) if rank == p else math.inf,
        mean_entry=mean,
        tail=tail,
    )
    if p < MIN_SPLIT:
        return replace(found, remarks=(f"{p} singular values are too few to tell spikes from a bulk",))
    # Of relative values: squares of the values themselves overflow beyond 1e154.
    scale = float(values[0]) * math.sqrt(float(shares.mean()) / n)
    unit = shares / shares.mean()
    bulk, ladder = split_both(unit, shape=(p, n))
    entries = np.random.default_rng([seed, 1]).permuted(((matrix - mean) / scale).ravel()).reshape(matrix.shape)
    permuted = singular_values(entries) ** 2 / n
    control = (
        split_both(permuted, shape=(p, n), level=CONTROL_LEVEL, with_ladder=False)[0] if permuted[0] > 0 else Split()
    )
    heavy = control.num_spikes > 0 and 2 * control.num_spikes >= bulk.num_spikes
    remarks = []
    if control.num_spikes > 0 and not heavy:
        remarks.append("a few spikes remain where the entries are in random places: single large entries make them")
    if abs(mean) / scale * math.sqrt(p * n) > math.sqrt(p) + math.sqrt(n):
        remarks.append("the mean of the entries alone makes a spike")
    return replace(
        found,
        marchenko_pastur=bulk.scaled(scale),
        ladder=ladder.scaled(scale),
        permuted=control.scaled(scale),
        spikes=judge_spikes(unit, bulk, shape=(p, n)).scaled(scale),
        heavy_tailed=heavy,
        remarks=tuple(remarks),
    )


def singular_values(matrix: Matrix) -> Vector:
    """Return the singular values, descending: from the smaller Gram matrix where that has digits enough.

    Parameters
    ----------
    matrix : array, shape (rows, columns)

    Returns
    -------
    array, shape (smaller size,)
        NaN if an entry is not finite.

    Examples
    --------
    >>> singular_values(np.diag([1.0, 3.0, 1e-9])).tolist()
    [3.0, 1.0, 1e-09]
    """
    rows, columns = matrix.shape
    largest = float(np.max(np.abs(matrix), initial=0.0))
    if not math.isfinite(largest):
        return np.full(min(rows, columns), np.nan)
    if largest == 0:
        return np.zeros(min(rows, columns))
    unit = matrix / largest
    gram = unit @ unit.T if rows <= columns else unit.T @ unit
    values = scipy.linalg.eigvalsh(gram, check_finite=False, overwrite_a=True, driver="evd")[::-1]
    if values[-1] > GRAM_TOLERANCE * values[0]:
        return largest * np.sqrt(values)
    triangle = (
        unit
        if rows == columns
        else scipy.linalg.qr(unit if rows > columns else unit.T, mode="r", check_finite=False)[0][: min(rows, columns)]
    )
    return largest * scipy.linalg.svdvals(triangle, check_finite=False)


def _no_tail(why: str) -> PowerLawTail:
    """Return a tail that was not looked for."""
    return replace(
        fit_power_law_tail(np.ones(1), shape=None), num_values=0, smallest=math.nan, largest=math.nan, why=why
    )
