"""The same entries in random places: what of a spectrum single entries make, and what directions."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from probes.weights.singular import singular_values
from probes.weights.splits import Split, split

__all__ = ["Control", "compare_with_permuted"]

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]

#: Probability that permuted entries without heavy tails show no spike. Design choice: a tenth of the false alarms of
#: :data:`probes.weights.splits.LEVEL`, because one spike that is left may decide that entries are heavy-tailed.
CONTROL_LEVEL = 0.999
#: Eigenvalues more than so many times the largest one of permuted entries are not made by single entries (derived
#: here): two of the largest entries in one row, which a permutation parts, make one twice as large.
FACTOR = 2.0
#: Sizes of rows and columns explain eigenvalues whose distribution function is at most so many values off that of
#: noise of such sizes: always up to the second number, about the median of such noise; up to the first, the largest of
#: it, if noise of one size is twice as far off. Measured: see :func:`compare_with_permuted`.
MAX_OFF, USUAL_OFF = 5.0, 3.0


@dataclass(frozen=True, kw_only=True)
class Control:
    """What is left of spikes and bulk where entries are in random places.

    Attributes
    ----------
    num_spikes : int
        Of the permuted entries, less their mean, by the Marchenko-Pastur law; -1 where no split was made.
    heavy_tailed : bool
        Whether single entries, not directions, make at least half of the spikes, or of the misfit of the bulk.
    unequal_sizes : bool
        Whether independent entries in rows and columns of such sizes have such singular values, and those of one size
        do not.
    remarks : tuple of str
    """

    num_spikes: int = -1
    heavy_tailed: bool = False
    unequal_sizes: bool = False
    remarks: tuple[str, ...] = ()


def compare_with_permuted(entries: Matrix, eigenvalues: Vector, bulk: Split, *, seed: int) -> Control:
    """Split the spectrum of the same entries in random places, and say whether it explains that of the matrix.

    Parameters
    ----------
    entries : array, shape (rows, columns)
        Less their mean, which no permutation changes.
    eigenvalues : array, shape (p,)
        ``s^2 / n`` of the matrix with its mean, in the same units, descending, p the smaller and n the larger size.
    bulk : Split
        Of these eigenvalues, by the Marchenko-Pastur law.
    seed : int
        Of the permutations.

    Returns
    -------
    Control

    Notes
    -----
    A spike that is left after the permutation is made by large entries, wherever they are. One that is much larger than
    all that are left is not, as of a few columns larger than the others. Where the bulk is not that of entries of one
    variance, and large entries are not the reason, entries are permuted once more, divided by the sizes of rows and
    columns before and multiplied after. Costs one decomposition, or two. Measured for Gaussian entries in rows and
    columns of lognormal sizes, standard deviation of the logarithm 0.2 and 0.5, 6 shapes of 30 to 400 rows, 424 draws:
    distribution functions differ by at most 5 values, in the median by 2 to 4; at 1.0 by up to 12. Source: Martin and
    Mahoney (2021), randomization of weight matrices; the rules are derived here.

    Examples
    --------
    >>> noise = np.random.default_rng(0).standard_t(2.5, size=(100, 200))
    >>> values = singular_values(noise) ** 2 / 200
    >>> bulk = split(values, method="marchenko_pastur", num_samples=200)
    >>> compare_with_permuted(noise, values, bulk, seed=1).heavy_tailed
    True
    """
    left = _eigenvalues(_permuted(entries, [seed, 1]))
    if not left[0] > 0:
        return Control()
    other = split(left, method="marchenko_pastur", num_samples=max(entries.shape), level=CONTROL_LEVEL)
    similar = int(np.sum(eigenvalues[: max(bulk.num_spikes, 0)] <= FACTOR * left[0]))
    explained = min(other.num_spikes, similar)
    as_far = not bulk.is_trustworthy and not other.is_trustworthy and 2 * other.misfit >= bulk.misfit
    heavy = as_far or (explained > 0 and 2 * explained >= bulk.num_spikes)
    if heavy:
        return Control(num_spikes=other.num_spikes, heavy_tailed=True)
    remark = "a few spikes remain where the entries are in random places: single large entries make them"
    return Control(
        num_spikes=other.num_spikes,
        unequal_sizes=not bulk.is_trustworthy and _sizes_explain(entries, eigenvalues, left, [seed, 2]),
        remarks=(remark,) if explained > 0 else (),
    )


def _sizes_explain(entries: Matrix, eigenvalues: Vector, permuted: Vector, seed: Sequence[int]) -> bool:
    """Whether independent entries in rows and columns of the same sizes have nearly these eigenvalues."""
    rows = _root_mean_square(entries, axis=1)
    sizes = rows * _root_mean_square(entries / rows, axis=0)
    values = _eigenvalues(_permuted(entries / sizes, seed) * sizes)
    values = values * (eigenvalues.sum() / values.sum())
    limit = min(MAX_OFF, max(USUAL_OFF, _values_apart(eigenvalues, permuted) / 2))
    return bool(_values_apart(eigenvalues, values) <= limit and eigenvalues[0] <= FACTOR * values[0])


def _root_mean_square(entries: Matrix, *, axis: int) -> Matrix:
    """Return the sizes of rows or columns, 1 of those that are 0."""
    sizes = np.sqrt(np.mean(entries**2, axis=axis, keepdims=True))
    return np.where(sizes > 0, sizes, 1.0)


def _permuted(entries: Matrix, seed: Sequence[int]) -> Matrix:
    return np.random.default_rng(seed).permuted(entries.ravel()).reshape(entries.shape)


def _eigenvalues(matrix: Matrix) -> Vector:
    return singular_values(matrix) ** 2 / max(matrix.shape)


def _values_apart(values: Vector, others: Vector) -> int:
    """Return by how many values the empirical distribution functions of two samples of one size differ at most."""
    both = np.concatenate([values, others])
    counts = [np.searchsorted(np.sort(sample), both, side="right") for sample in (values, others)]
    return int(np.max(np.abs(counts[0] - counts[1])))
