"""The fixed small set of samples on which a recorder measures, drawn once without moving anyone's random numbers."""

import copy
import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset

from probes.batches import Batch, Batches
from probes.hooks.generators import preserved_generators
from spectra.errors import ArgumentError, TaskError

__all__ = ["cut", "draw_reference"]

#: A reference set is spread over at most so many of the batches that a list holds.
SPREAD = 16


def draw_reference(data: Any, *, size: int, paired: bool, rng: np.random.Generator) -> Batch:
    """Return about ``size`` samples as one batch, on the device where the data are.

    A ``DataLoader`` over a data set with a length gives random samples of the data set, put together by its own
    ``collate_fn``; its sampler is not touched. A list of batches, or one batch, gives random samples of some of them.
    Of anything else that can be iterated over again the first samples are taken. Generators that the data hold are left
    as they were, see :func:`probes.hooks.generators.preserved_generators`; what else data remember of being read (a
    place in a file, a count, a generator that is a variable of a module) is not: pass batches instead.

    Parameters
    ----------
    data : DataLoader, batches, or one batch
        As for :class:`probes.Task`; read as far as needed.
    size : int
        Samples wanted; fewer where the data have fewer.
    paired : bool
        Whether batches have a target of their own, see :class:`probes.batches.Batches`.
    rng : numpy.random.Generator
        Of the draw.

    Raises
    ------
    TaskError
        No sample, batches that cannot be cut into samples, or an iterator, from which training would miss what is read.

    Examples
    --------
    >>> import torch
    >>> data = [(torch.arange(6.0)[:, None], torch.arange(6))]
    >>> batch = draw_reference(data, size=4, paired=True, rng=np.random.default_rng(0))
    >>> batch.size, bool((batch.inputs[:, 0] == batch.target).all())
    (4, True)
    """
    _refuse_iterators(data)
    with preserved_generators(data):
        entries = _collated(data, size, rng) if isinstance(data, DataLoader) else None
        if entries is None and not isinstance(data, DataLoader) and _is_in_memory(data):
            return _drawn(Batches(data, paired=paired), size, rng)
        if entries is None:
            entries = list(_first(data, size))
    return _joined([batch for batch in Batches(entries, paired=paired)], size)


def cut(batch: Batch, size: int) -> list[Batch]:
    """Return a batch in pieces of at most ``size`` samples, as equal as possible.

    Raises
    ------
    ArgumentError
        ``size`` is below 1.
    """
    if size < 1:
        raise ArgumentError(f"pieces need at least 1 sample each; got {size}")
    edges = np.linspace(0, batch.size, -(-batch.size // size) + 1).astype(int)
    return [batch.take(slice(int(a), int(b))) for a, b in itertools.pairwise(edges)]


def _refuse_iterators(data: Any) -> None:
    stream = data.dataset if isinstance(data, DataLoader) and isinstance(data.dataset, IterableDataset) else data
    if isinstance(stream, Iterator):
        raise TaskError(
            f"{type(stream).__name__} is an iterator: what is read from it for the reference set would be missing from "
            "training. Give the task data of its own, such as a list of some batches."
        )


def _is_in_memory(data: Any) -> bool:
    return isinstance(data, list | tuple | Batches | Batch) or hasattr(data, "keys")


def _collated(loader: DataLoader, size: int, rng: np.random.Generator) -> list[Any] | None:
    """Return random samples of a loader's data set as one batch; None where it has no samples by number."""
    dataset = loader.dataset
    if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__") or loader.collate_fn is None:
        return None
    if loader.batch_size is None and loader.batch_sampler is None:
        return None  # samples are batches already
    chosen = np.sort(rng.permutation(len(dataset))[:size])
    return [loader.collate_fn([dataset[int(index)] for index in chosen])]


def _first(data: Iterable[Any], size: int) -> Iterator[Any]:
    """Yield batches until there are enough samples."""
    if isinstance(data, torch.Tensor | np.ndarray | str) or not isinstance(data, Iterable):
        raise TaskError(
            f"the reference data must be batches, a DataLoader or one batch; got {type(data).__name__}. Pass "
            "(inputs, target)."
        )
    found = 0
    for entry in _with_own_workers(data) if isinstance(data, DataLoader) else data:
        yield entry
        tensors = [leaf for leaf in _leaves(entry) if leaf.ndim > 0]
        found += len(tensors[0]) if tensors else 1
        if found >= size:
            return


def _with_own_workers(loader: DataLoader) -> DataLoader:
    """Return the same loader without the workers that stay alive from pass to pass: these belong to training."""
    other = copy.copy(loader)
    other._iterator = None
    return other


def _leaves(entry: Any) -> list[torch.Tensor]:
    from probes.batch import tensors_in

    return tensors_in(entry)


def _drawn(batches: Batches, size: int, rng: np.random.Generator) -> Batch:
    """Return random samples of randomly chosen batches."""
    # Slices come one at a time and on the device of the data; the whole data are never copied.
    order = rng.permutation(len(batches))
    parts: list[Batch] = []
    missing = size
    for position, index in enumerate(order):
        batch = batches[int(index)]
        share = -(-missing // max(1, min(SPREAD, len(order)) - position))
        rows = np.sort(rng.permutation(batch.size)[:share])
        parts.append(batch.take(rows))
        missing -= len(rows)
        if missing <= 0:
            break
    return _joined(parts, size)


def _joined(parts: list[Batch], size: int) -> Batch:
    """Return batches as one; where their shapes differ, the largest of them alone."""
    try:
        samples = Batches(parts, paired=False).samples()
    except TaskError:
        largest = max(parts, key=lambda batch: batch.size)
        return largest if largest.size <= size or not largest.is_divisible else largest.take(slice(0, size))
    return samples.take(np.arange(min(size, samples.num_samples)))
