"""Data in a fixed order: the same samples, in the same batches, at every product."""

import copy
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, RandomSampler, SubsetRandomSampler
from torch.utils.data import WeightedRandomSampler as WeightedSampler

from probes.state import preserved_random_state
from spectra.errors import ArgumentError, NonDeterministicError, TaskError

__all__ = ["TARGET_KEYS", "Batch", "Batches", "Samples", "map_tensors", "tensors_in"]

#: Where a batch that is a mapping keeps its target; the first key present is taken.
TARGET_KEYS = ("labels", "label", "targets", "target", "y")

_SHUFFLING = (RandomSampler, SubsetRandomSampler, WeightedSampler)


@dataclass(frozen=True)
class Batch:
    """Some samples: what the model is given, what the loss is given, and how many they are.

    Attributes
    ----------
    inputs : tensor, or tuple, list or mapping of tensors
        A tuple is handed to the model as positional arguments, a mapping as keyword arguments, where its ``forward``
        accepts them so; see :func:`probes.objective.forward`.
    target : tensor, or tuple, list or mapping of tensors
        Second argument of the loss.
    size : int
        Number of samples.
    """

    inputs: Any
    target: Any
    size: int

    def to(self, device: torch.device | None = None, *, dtype: torch.dtype | None = None) -> "Batch":
        """Return the batch on ``device``, its real floating-point tensors cast to ``dtype``."""

        def move(tensor: Tensor) -> Tensor:
            kind = dtype if dtype is not None and tensor.is_floating_point() else None
            moved = tensor.to(device=device, dtype=kind)
            return moved.clone() if moved.is_inference() else moved

        return Batch(map_tensors(move, self.inputs), map_tensors(move, self.target), self.size)

    def take(self, index: Any) -> "Batch":
        """Return the samples of a slice or of an index array along the first axis of every tensor.

        Raises
        ------
        TaskError
            Some tensor does not have one row for each sample, so that the batch cannot be cut.
        """
        self._require_rows()

        def cut(tensor: Tensor) -> Tensor:
            return tensor[index] if isinstance(index, slice) else tensor[index.to(tensor.device)]

        if not isinstance(index, slice):
            index = torch.as_tensor(np.asarray(index), dtype=torch.int64)
            size = int(index.numel())
        else:
            size = len(range(*index.indices(self.size)))
        return Batch(map_tensors(cut, self.inputs), map_tensors(cut, self.target), size)

    @property
    def is_divisible(self) -> bool:
        """Whether every tensor has one row for each sample."""
        leaves = tensors_in(self.inputs) + tensors_in(self.target)
        return bool(leaves) and all(leaf.ndim > 0 and leaf.shape[0] == self.size for leaf in leaves)

    def _require_rows(self) -> None:
        if not self.is_divisible:
            shapes = [tuple(leaf.shape) for leaf in tensors_in(self.inputs) + tensors_in(self.target)]
            raise TaskError(
                f"a batch of {self.size} samples can be cut only when the first axis of every tensor counts samples; "
                f"its tensors have shapes {shapes}."
            )


class Batches(Sequence[Batch]):
    """Batches of a data set, frozen in one order.

    Parameters
    ----------
    data : iterable of batches, DataLoader, one batch, or Batches
        A batch is a pair ``(inputs, target)``, a mapping with one of the keys ``labels``, ``label``, ``targets``,
        ``target``, ``y``, or a :class:`Batch`. A tuple ``(inputs, target)`` is one batch; a list is a list of
        batches (except ``[inputs, target]`` of two tensors). Iterated once, then kept, wherever its tensors are.
    device : torch.device, optional
        Where iteration delivers the batches; they are moved one at a time.

    Raises
    ------
    NonDeterministicError
        The order or the values are random: a shuffling ``DataLoader``, or a second pass whose first batch differs.
    TaskError
        No data, or something that is not a batch.
    """

    def __init__(self, data: Any, *, device: torch.device | None = None) -> None:
        self.device = device
        if isinstance(data, Batches):
            self._batches = data._batches
        else:
            self._batches = [_as_batch(entry, i) for i, entry in enumerate(_entries(data))]
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
            return [batch.to(self.device) for batch in self._batches[index]]
        return self._batches[index].to(self.device)

    def __iter__(self) -> Iterator[Batch]:
        """Iterate over the batches in their fixed order, moving one at a time to the device."""
        for batch in self._batches:
            yield batch.to(self.device)

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
        return Batches(parts, device=self.device)

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
            part._require_rows()
        self.num_samples = batches.num_samples
        self._device = batches.device
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
        self._all = Batch(inputs, target, self.num_samples)

    def take(self, indices: Any) -> Batch:
        """Return the samples with the given indices (integers, in ``0 .. num_samples - 1``) as one batch."""
        rows = torch.as_tensor(np.asarray(indices), dtype=torch.int64).reshape(-1)
        if rows.numel() == 0 or int(rows.min()) < 0 or int(rows.max()) >= self.num_samples:
            raise ArgumentError(
                f"indices of samples must lie in 0 .. {self.num_samples - 1} and be at least one; got "
                f"{rows.numel()} of them" + (f" from {int(rows.min())} to {int(rows.max())}." if rows.numel() else ".")
            )
        return self._all.take(rows).to(self._device)


def map_tensors(function: Callable[[Tensor], Tensor], tree: Any) -> Any:
    """Apply a function to every tensor of nested tuples, lists and mappings; other leaves stay as they are.

    Mappings that are not plain (Hugging Face's, for instance) come back as ``dict``.
    """
    if isinstance(tree, Tensor):
        return function(tree)
    if isinstance(tree, Mapping):
        return {key: map_tensors(function, value) for key, value in tree.items()}
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(map_tensors(function, value) for value in tree))
    if isinstance(tree, list | tuple):
        return type(tree)(map_tensors(function, value) for value in tree)
    return tree


def tensors_in(tree: Any) -> list[Tensor]:
    """List the tensors of nested tuples, lists and mappings, in order."""
    found: list[Tensor] = []
    map_tensors(lambda tensor: found.append(tensor) or tensor, tree)  # type: ignore[func-returns-value]
    return found


def _entries(data: Any) -> list[Any]:
    """Return the batches of anything accepted as data, unread."""
    if isinstance(data, Batch | Mapping):
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
    if isinstance(data, tuple | list):
        return list(data)
    if isinstance(data, Dataset) and not isinstance(data, IterableDataset):
        raise TaskError(
            f"data must come in batches; a {type(data).__name__} gives single samples. "
            "Pass DataLoader(dataset, batch_size=..., shuffle=False)."
        )
    if isinstance(data, Iterable):
        return _materialized(data)
    raise TaskError(
        "data must be an iterable of (inputs, target) batches, a DataLoader or one batch (inputs, target); "
        f"got {type(data).__name__}."
    )


def _materialized(data: Iterable[Any]) -> list[Any]:
    """Read an iterable once; read its first batch twice when that is possible, to notice randomness."""
    if isinstance(data, DataLoader):
        samplers = [data.sampler, getattr(data.batch_sampler, "sampler", None)]
        shuffling = [type(sampler).__name__ for sampler in samplers if isinstance(sampler, _SHUFFLING)]
        if shuffling:
            raise NonDeterministicError(
                f"the DataLoader draws samples at random ({shuffling[0]}: shuffle=True), so every product would be of "
                "another operator. Build it with shuffle=False, or pass a list of batches: list(loader)."
            )
    generator = getattr(data, "generator", None)
    kept = copy.copy(generator.get_state()) if isinstance(generator, torch.Generator) else None
    with preserved_random_state():
        try:
            source = iter(data)
            entries = list(source)
            again = None if source is data or not entries else next(iter(data), None)
        finally:
            if isinstance(generator, torch.Generator) and kept is not None:
                generator.set_state(kept)
    if source is not data and entries and not (inspect.isgenerator(data) or _same(entries[0], again)):
        raise NonDeterministicError(
            f"two passes over the data ({type(data).__name__}) begin with different batches: the order is shuffled or "
            "the samples are augmented at random. Switch that off, or freeze one pass with list(data)."
        )
    return entries


def _same(first: Any, second: Any) -> bool:
    """Whether two batches hold equal tensors."""
    if isinstance(first, Batch) and isinstance(second, Batch):
        first, second = (first.inputs, first.target), (second.inputs, second.target)
    ours, theirs = tensors_in(first), tensors_in(second)
    return len(ours) == len(theirs) and all(
        a.shape == b.shape and a.dtype == b.dtype and bool(torch.equal(a.nan_to_num(), b.nan_to_num()))
        for a, b in zip(ours, theirs, strict=True)
    )


def _as_batch(entry: Any, index: int) -> Batch:
    """Read one batch."""
    if isinstance(entry, Batch):
        return entry
    if isinstance(entry, Mapping):
        keys = [key for key in TARGET_KEYS if key in entry]
        if not keys:
            raise TaskError(
                f"batch {index} is a mapping with keys {list(entry)}; its target must be under one of {TARGET_KEYS}. "
                "Rename it, or pass pairs (inputs, target)."
            )
        inputs: Any = {key: value for key, value in entry.items() if key != keys[0]}
        target: Any = entry[keys[0]]
    elif isinstance(entry, tuple | list) and len(entry) == 2:
        inputs, target = entry
    else:
        what = f"{type(entry).__name__} of length {len(entry)}" if isinstance(entry, tuple | list) else type(entry)
        raise TaskError(
            f"batch {index} is a {what}; a batch is a pair (inputs, target) or a mapping with a target. For several "
            "inputs use ((first, second), target)."
        )
    inputs, target = _as_tensors(inputs), _as_tensors(target)
    return Batch(inputs, target, _size(inputs, target, index))


def _as_tensors(tree: Any) -> Any:
    """Turn NumPy arrays into tensors."""
    if isinstance(tree, np.ndarray):
        return torch.as_tensor(tree)
    if isinstance(tree, Mapping):
        return {key: _as_tensors(value) for key, value in tree.items()}
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(_as_tensors(value) for value in tree))
    if isinstance(tree, list | tuple):
        return type(tree)(_as_tensors(value) for value in tree)
    return tree


def _size(inputs: Any, target: Any, index: int) -> int:
    """Count samples: rows on which all inputs agree, unless the target says that they are something else."""
    rows = [leaf.shape[0] for leaf in tensors_in(inputs) if leaf.ndim > 0]
    labels = [leaf.shape[0] for leaf in tensors_in(target) if leaf.ndim > 0]
    if not rows and not labels:
        raise TaskError(f"batch {index} holds no tensor with a sample axis; got {type(inputs).__name__}.")
    if not labels:
        return rows[0]
    if rows and len(set(rows)) == 1 and rows[0] > 0 and labels[0] % rows[0] == 0:
        return rows[0]
    return labels[0]
