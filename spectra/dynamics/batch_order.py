"""Which samples each run sees at each step, drawn on the host from (seed, run)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import get_args

import numpy as np

from spectra.dynamics.closures import Sampling
from spectra.dynamics.simulation_plan import distinct
from spectra.errors import ArgumentError

__all__ = ["BatchBlock", "Sampling", "batch_blocks", "batch_sizes", "run_generator"]


#: Sets these random numbers apart from those of start vectors and of ``numpy.random.default_rng(seed)``, of which data
#: are often made: ``default_rng(0)`` and ``default_rng([0, 0])`` are the same stream.
_STREAM = 0x5347_4421


@dataclass(frozen=True, kw_only=True, eq=False)
class BatchBlock:
    """The batches of some consecutive steps.

    Attributes
    ----------
    sizes : ndarray of int, shape (steps,)
        Samples in the batch of each step.
    samples : ndarray of int
        Step after step, and within a step run after run: sample numbers.

    Notes
    -----
    Source: derived, see `batch_blocks`.

    Examples
    --------
    >>> BatchBlock(sizes=np.array([2]), samples=np.array([5, 1])).samples.tolist()
    [5, 1]
    """

    sizes: np.ndarray
    samples: np.ndarray


def run_generator(seed: int, run: int, *more: int) -> np.random.Generator:
    """Return the random numbers of one run: a pure function of the seed and the numbers.

    Parameters
    ----------
    seed, run, *more : int
        Not negative.

    Returns
    -------
    numpy.random.Generator

    Notes
    -----
    Costs about 1 KiB. Source: NumPy's documentation of SeedSequence.

    Examples
    --------
    >>> bool(run_generator(0, 0).random() == np.random.default_rng([0, 0]).random())
    False
    """
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_STREAM, run, *more)))


def batch_sizes(batch_size: np.ndarray, *, num_samples: int, sampling: Sampling) -> np.ndarray:
    """Return the number of samples in each batch, or raise if the sampling does not allow them.

    Only ``"reshuffled"`` changes them: an epoch ends with what is left of its samples, as in PyTorch's DataLoader with
    ``drop_last=False``, and the batch after it starts a new epoch.

    Parameters
    ----------
    batch_size : ndarray of int, shape (num_steps,)
        As asked for.
    num_samples : int
    sampling : {"with_replacement", "without_replacement", "reshuffled"}

    Returns
    -------
    ndarray of int, shape (num_steps,)

    Raises
    ------
    ArgumentError
        For an unknown sampling, and for a batch without replacement larger than the data.

    Notes
    -----
    O(num_steps) operations where batches change or sizes are a schedule.

    Source: PyTorch's documentation of its DataLoader.

    Examples
    --------
    >>> batch_sizes(np.full(5, 4), num_samples=10, sampling="reshuffled").tolist()
    [4, 4, 2, 4, 4]
    """
    if sampling not in get_args(Sampling):
        raise ArgumentError(f"sampling must be one of {', '.join(get_args(Sampling))}; got {sampling!r}")
    if sampling == "with_replacement":
        return batch_size
    largest = int(np.max(distinct(batch_size)))
    if largest > num_samples:
        raise ArgumentError(
            f"batch_size must be at most the number of samples, {num_samples}, unless sampling='with_replacement'; "
            f"got {largest}"
        )
    if sampling == "without_replacement":
        return batch_size
    sizes, left = np.empty(len(batch_size), dtype=np.int64), num_samples
    for step, wanted in enumerate(map(int, batch_size)):
        size = min(wanted, left)
        sizes[step] = size
        left = (left - size) or num_samples
    return sizes


def batch_blocks(
    sizes: np.ndarray, *, num_samples: int, sampling: Sampling, seed: int, num_runs: int, steps_per_block: int
) -> Iterator[BatchBlock]:
    """Yield the batches of all steps, some steps at a time.

    What run i sees is a function of (seed, i, sizes): neither more runs nor longer blocks change it. It is the same
    with and without replacement while batches hold one sample.

    Parameters
    ----------
    sizes : ndarray of int, shape (num_steps,)
        From `batch_sizes`.
    num_samples, num_runs, steps_per_block : int
    sampling : {"with_replacement", "without_replacement", "reshuffled"}
    seed : int

    Returns
    -------
    iterator of BatchBlock
        Each of ``steps_per_block`` steps, the last one of the rest.

    Notes
    -----
    A uniform random number u picks sample ``floor(u m)`` of m; its bias is below ``m 2**-53``.

    O(num_runs B) operations per step, and O(num_samples) for batches without replacement.

    Source: Fisher and Yates (1938) for the shuffle; the rest is derived.

    Examples
    --------
    >>> block = next(
    ...     batch_blocks(
    ...         np.array([2, 2, 2]), num_samples=6, sampling="reshuffled", seed=0, num_runs=1, steps_per_block=3
    ...     )
    ... )
    >>> sorted(block.samples.tolist())
    [0, 1, 2, 3, 4, 5]
    """
    generators = [run_generator(seed, run) for run in range(num_runs)] if sampling != "reshuffled" else []
    seen = 0
    for begin in range(0, len(sizes), steps_per_block):
        mine = sizes[begin : begin + steps_per_block]
        total = int(np.sum(mine))
        before = np.cumsum(mine) - mine
        place = np.repeat(before * (num_runs - 1), mine) + np.arange(total)
        stride = np.repeat(mine, mine)
        samples = np.empty(num_runs * total, dtype=np.int64)
        for run in range(num_runs):
            if sampling == "reshuffled":
                order = _reshuffled(seed, run, seen, total, num_samples)
            elif sampling == "with_replacement":
                order = (generators[run].random(total) * num_samples).astype(np.int64)
            else:
                order = _without_replacement(generators[run].random(total), mine, before, num_samples)
            samples[place + run * stride] = order
        seen += total
        yield BatchBlock(sizes=mine, samples=samples)


def _without_replacement(uniform: np.ndarray, sizes: np.ndarray, before: np.ndarray, n: int) -> np.ndarray:
    """Return distinct samples within each batch: the head of a shuffle (Fisher and Yates), all batches at once."""
    order = np.empty(len(uniform), dtype=np.int64)
    for size in np.unique(sizes).tolist():
        places = before[sizes == size][:, None] + np.arange(size)
        if size == 1:
            order[places] = (uniform[places] * n).astype(np.int64)
            continue
        shuffled = np.tile(np.arange(n), (len(places), 1))
        row = np.arange(len(places))
        # the order within a batch does not matter, so that a full batch needs no shuffle
        for j in range(size if size < n else 0):
            other = j + (uniform[places[:, j]] * (n - j)).astype(np.int64)
            taken = shuffled[row, other]
            shuffled[row, other] = shuffled[:, j]
            shuffled[:, j] = taken
        order[places] = shuffled[:, :size]
    return order


def _reshuffled(seed: int, run: int, first: int, count: int, n: int) -> np.ndarray:
    """Return ``count`` samples of the row of all epochs of a run, each epoch a permutation of its own."""
    epochs = range(first // n, (first + count - 1) // n + 1)
    row = np.concatenate([run_generator(seed, run, epoch).permutation(n) for epoch in epochs])
    begin = first - epochs[0] * n
    return row[begin : begin + count]
