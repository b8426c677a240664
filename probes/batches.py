"""Data in a fixed order: the same samples, in the same batches, at every product."""

import copy
import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, RandomSampler, SubsetRandomSampler
from torch.utils.data import WeightedRandomSampler as WeightedSampler

from probes.batch import Batch, map_tensors, read_batch, tensors_in
from probes.state import preserved_random_state
from probes.trees import as_tensors, is_record
from spectra.errors import ArgumentError, NonDeterministicError, TaskError

__all__ = ["Batch", "Batches", "Samples"]

_SHUFFLING = (RandomSampler, SubsetRandomSampler, WeightedSampler)


class Batches(Sequence[Batch]):
    """Batches of a data set, frozen in one order.

    Parameters
    ----------
    data : iterable of batches, DataLoader, one batch, or Batches
        A batch is a pair ``(inputs, target)``, a mapping or dataclass with its target under one of
        :data:`probes.batch.TARGET_KEYS`, or a :class:`Batch`. A tuple ``(inputs, target)`` is one batch; a list is a
        list of batches (except ``[inputs, target]`` of two tensors). Anything that can be iterated over again is read
        twice, to notice randomness; then kept, wherever its tensors are. Arrays of numbers become tensors; leaves that
        are neither stay as they are.
    device : torch.device, optional
        Where iteration delivers the batches; they are moved one at a time.
    dtype : torch.dtype, optional
        To which real floating-point tensors are then cast.
    paired : bool
        Whether every batch must hold a target apart from its inputs. ``False`` is for losses that take the batch as a
        whole (:class:`probes.model_loss.ModelLoss`): a batch is then anything that holds tensors (one tensor, a
        mapping, a tuple, a dataclass), and a list is always a list of batches.

    Raises
    ------
    NonDeterministicError
        The order or the values are random: a shuffling ``DataLoader``, or a second pass that differs from the first.
    TaskError
        No data, or something that is not a batch.
    """

    def __init__(
        self, data: Any, *, device: torch.device | None = None, dtype: torch.dtype | None = None, paired: bool = True
    ) -> None:
        self.device = device
        self.dtype = dtype
        self._batches: list[Batch]
        if isinstance(data, Batches):
            self._batches = data._batches
        else:
            entries = _entries(data) if paired else _whole_entries(data)
            self._batches = [read_batch(entry, i, paired=paired) for i, entry in enumerate(entries)]
        if not self._batches:
            raise TaskError(f"the data are empty: {type(data).__name__} gave no batch.")
        empty = [i for i, batch in enumerate(self._batches) if batch.size == 0]
        if empty:
            raise TaskError(f"batch {empty[0]} of the data has no samples.")

    def __len__(self) -> int:
        """Return the number of batches."""
        return len(self._batches)

    def __getitem__(self, index: Any) -> Any:
        """Return one batch, on the device."""
        if isinstance(index, slice):
            return [batch.to(self.device, dtype=self.dtype) for batch in self._batches[index]]
        return self._batches[index].to(self.device, dtype=self.dtype)

    def __iter__(self) -> Iterator[Batch]:
        """Iterate over the batches in their fixed order, moving one at a time to the device."""
        for batch in self._batches:
            yield batch.to(self.device, dtype=self.dtype)

    @property
    def sizes(self) -> list[int]:
        """Number of samples of each batch."""
        return [batch.size for batch in self._batches]

    @property
    def num_samples(self) -> int:
        """Number of samples of all batches."""
        return sum(self.sizes)

    def split(self, size: int) -> "Batches":
        """Return the same samples in batches of at most ``size``: less memory, the same operator."""
        if size < 1:
            raise ArgumentError(f"micro_batch must be at least 1 sample; got {size}.")
        parts = []
        for batch in self._batches:
            if batch.size <= size:
                parts.append(batch)
            else:
                parts.extend(batch.take(slice(start, start + size)) for start in range(0, batch.size, size))
        return Batches(parts, device=self.device, dtype=self.dtype)

    def samples(self) -> "Samples":
        """Return all samples as one store from which any can be taken."""
        return Samples(self)


class Samples:
    """All samples of a data set in one place, to draw batches of any size from.

    Parameters
    ----------
    batches : Batches
        Tensors of all batches are joined along their first axis: a second copy of the data in memory.

    Raises
    ------
    TaskError
        The first axis of some tensor does not count samples, or shapes differ between batches.
    """

    def __init__(self, batches: Batches) -> None:
        parts = [batches._batches[i] for i in range(len(batches))]
        for part in parts:
            part.require_rows()
        self.num_samples = batches.num_samples
        self._device, self._dtype = batches.device, batches.dtype
        first = parts[0]
        columns = [tensors_in((part.inputs, part.target)) for part in parts]
        joined = []
        for position, reference in enumerate(columns[0]):
            rows = [column[position] for column in columns if len(column) == len(columns[0])]
            shapes = sorted({tuple(row.shape[1:]) for row in rows})
            if len(rows) != len(columns) or len(shapes) > 1:
                raise TaskError(
                    "drawing samples needs tensors of one shape in all batches (the first axis aside); tensor "
                    f"{position} has trailing shapes {shapes}. Pad the batches to one length."
                )
            joined.append(torch.cat([row.to(reference.device) for row in rows]) if len(rows) > 1 else rows[0])
        supply = iter(joined)
        inputs, target = map_tensors(lambda _: next(supply), (first.inputs, first.target))
        self._all = Batch(inputs, target, self.num_samples, first.target_key)

    def take(self, indices: Any) -> Batch:
        """Return the samples with the given indices (integers, in ``0 .. num_samples - 1``) as one batch."""
        rows = torch.as_tensor(np.asarray(indices), dtype=torch.int64).reshape(-1)
        if rows.numel() == 0 or int(rows.min()) < 0 or int(rows.max()) >= self.num_samples:
            raise ArgumentError(
                f"indices of samples must lie in 0 .. {self.num_samples - 1} and be at least one; got "
                f"{rows.numel()} of them" + (f" from {int(rows.min())} to {int(rows.max())}." if rows.numel() else ".")
            )
        return self._all.take(rows).to(self._device, dtype=self._dtype)


def _entries(data: Any) -> list[Any]:
    """Return the batches of anything accepted as data, unread."""
    if isinstance(data, Batch | Mapping) or is_record(data):
        return [data]
    if isinstance(data, Tensor | np.ndarray | str | bytes):
        raise TaskError(
            f"data must be batches of (inputs, target); got one {type(data).__name__}. Pass (inputs, target)."
        )
    if isinstance(data, tuple | list) and len(data) == 2 and isinstance(data[1], Tensor):
        return [data]
    if isinstance(data, tuple) and len(data) == 2 and not isinstance(data[1], Batch):
        if isinstance(data[0], Tensor) or isinstance(data[1], Mapping):
            return [data]
        raise TaskError(
            "a tuple of two tuples can be read as one batch or as two; pass a list: [(inputs, target)] for one "
            "batch, [(inputs, target), (inputs, target)] for two."
        )
    return _sequence_entries(data)


def _whole_entries(data: Any) -> list[Any]:
    """Return the batches of data whose batches need no target: a list is a list of batches, a tuple one batch."""
    if isinstance(data, Batch | Mapping | Tensor | np.ndarray) or is_record(data):
        return [data]
    if isinstance(data, tuple) and data and not any(isinstance(entry, Batch) for entry in data):
        if any(isinstance(entry, Tensor | np.ndarray) for entry in data):
            return [data]
        raise TaskError(
            "a tuple without a tensor of its own can be read as one batch or as several; pass a list: [batch] for one "
            "batch, [first, second] for two."
        )
    return _sequence_entries(data)


def _sequence_entries(data: Any) -> list[Any]:
    if isinstance(data, tuple | list):
        return list(data)
    if isinstance(data, Dataset) and not isinstance(data, IterableDataset):
        raise TaskError(
            f"data must come in batches; a {type(data).__name__} gives single samples. "
            "Pass DataLoader(dataset, batch_size=..., shuffle=False)."
        )
    if isinstance(data, Iterable) and not isinstance(data, str | bytes):
        return _materialized(data)
    raise TaskError(
        "data must be an iterable of (inputs, target) batches, a DataLoader or one batch (inputs, target); "
        f"got {type(data).__name__}."
    )


def _materialized(data: Iterable[Any]) -> list[Any]:
    """Read an iterable once, and a second time where that is possible, to notice randomness."""
    if isinstance(data, DataLoader):
        samplers = [data.sampler, data.batch_sampler, getattr(data.batch_sampler, "sampler", None)]
        shuffling = [type(sampler).__name__ for sampler in samplers if isinstance(sampler, _SHUFFLING)]
        if shuffling:
            raise NonDeterministicError(
                f"the DataLoader draws samples at random ({shuffling[0]}: shuffle=True), so every product would be of "
                "another operator. Build it with shuffle=False, or pass a list of batches: list(loader)."
            )
    with preserved_random_state(), _preserved_generators(data):
        source = iter(data)
        entries = _collected(source)
        if source is data or inspect.isgenerator(data) or not entries:
            return entries
        difference = _first_difference(entries, data)
    if difference is not None:
        raise NonDeterministicError(
            f"two passes over the data ({type(data).__name__}) differ, first in batch {difference} of {len(entries)}: "
            "the order is shuffled or the samples are augmented at random. Switch that off, or freeze one pass with "
            "list(data)."
        )
    return entries


def _collected(source: Iterator[Any]) -> list[Any]:
    """Return all batches of one pass, or notice that the source writes later batches over earlier ones."""
    entries, versions = [], []
    for entry in source:
        # A loader may fill one and the same dict or list again and again.
        entries.append(copy.copy(entry) if isinstance(entry, dict | list) else entry)
        versions.append([(leaf, leaf._version) for leaf in tensors_in(entry) if not leaf.is_inference()])
    for index, seen in enumerate(versions):
        if any(leaf._version != version for leaf, version in seen):
            raise TaskError(
                f"the data give their batches in one and the same tensor: batch {index} was overwritten by a later "
                "one. Yield copies: tensor.clone()."
            )
    return entries


@contextmanager
def _preserved_generators(data: Iterable[Any]) -> Iterator[None]:
    """Put back the state of the generators that a loader and its samplers draw from."""
    owners = [data, getattr(data, "sampler", None), getattr(data, "batch_sampler", None)]
    found = [getattr(owner, "generator", None) for owner in owners]
    kept = [(generator, generator.get_state()) for generator in found if isinstance(generator, torch.Generator)]
    try:
        yield
    finally:
        for generator, state in kept:
            generator.set_state(state)


def _first_difference(entries: list[Any], data: Iterable[Any]) -> int | None:
    """Return the number of the first batch that another pass gives differently; a spent iterable gives none at all."""
    index = -1
    for index, entry in enumerate(data):
        if index >= len(entries) or not _same(entries[index], entry):
            return index
    return None if index in (-1, len(entries) - 1) else index + 1


def _same(first: Any, second: Any) -> bool:
    """Whether two batches hold equal tensors."""
    if first is second:
        return True
    if isinstance(first, Batch) and isinstance(second, Batch):
        first, second = (first.inputs, first.target), (second.inputs, second.target)
    ours, theirs = tensors_in(as_tensors(first)), tensors_in(as_tensors(second))
    return len(ours) == len(theirs) and all(_equal(a, b) for a, b in zip(ours, theirs, strict=True))


def _equal(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are equal, NaN and NaN too; of nested tensors only the form is compared."""
    if a is b:
        return True
    if a.dtype != b.dtype or a.layout != b.layout or a.is_nested != b.is_nested:
        return False
    if a.is_nested:
        return a.size(0) == b.size(0)
    if a.layout != torch.strided:
        a, b = a.to_dense(), b.to_dense()
    return a.shape == b.shape and bool(((a == b) | ((a != a) & (b != b))).all())
