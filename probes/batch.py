"""One batch: what the model is given, what the loss is given, and how many samples that is."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from probes.trees import as_tensors, is_record, map_leaves, map_tensors, record_fields, tensors_in
from spectra.errors import TaskError

__all__ = ["TARGET_KEYS", "Batch", "map_tensors", "read_batch", "tensors_in"]

#: Where a batch that is a mapping or a dataclass keeps its target; the first of them that is there is taken.
TARGET_KEYS = ("labels", "label", "targets", "target", "y")


@dataclass(frozen=True)
class Batch:
    """Some samples: what the model is given, what the loss is given, and how many they are.

    Attributes
    ----------
    inputs : tensor, or tuple, list, mapping or dataclass of tensors
        A tuple is handed to the model as positional arguments, a mapping as keyword arguments, where its ``forward``
        accepts them so; see :func:`probes.objective.forward`.
    target : tensor, or tuple, list, mapping or dataclass of tensors, or None
        Second argument of the loss; ``None`` where the loss takes the batch as a whole.
    size : int
        Number of samples.
    target_key : str, optional
        Where the target was in the mapping or dataclass that the data gave.
    """

    inputs: Any
    target: Any
    size: int
    target_key: str | None = None

    @property
    def whole(self) -> Any:
        """The batch as one thing, for a loss that takes the model and the batch: as the data gave it.

        A pair ``(inputs, target)``, a mapping with the target under its key, or, without a target, the inputs alone.
        """
        if self.target_key is not None:
            return {**self.inputs, self.target_key: self.target}
        return self.inputs if self.target is None else (self.inputs, self.target)

    def to(self, device: torch.device | None = None, *, dtype: torch.dtype | None = None) -> "Batch":
        """Return the batch on ``device``, its real floating-point tensors cast to ``dtype``.

        Objects that hold tensors in their own way (graphs, say) are moved by their own method ``to``, if they have one.
        """

        def move(leaf: Any) -> Any:
            if isinstance(leaf, Tensor):
                moved = leaf.to(device=device, dtype=dtype if leaf.is_floating_point() else None)
                return moved.clone() if moved.is_inference() else moved
            if device is not None and callable(getattr(leaf, "to", None)) and not isinstance(leaf, nn.Module):
                return copy.copy(leaf).to(device)
            return leaf

        with torch.inference_mode(False):
            return self._with(map_leaves(move, self.inputs), map_leaves(move, self.target), self.size)

    def take(self, index: Any) -> "Batch":
        """Return the samples of a slice or of an index array along the first axis of every tensor.

        Raises
        ------
        TaskError
            Some tensor does not have one row for each sample, so that the batch cannot be cut.
        """
        self.require_rows()

        def cut(tensor: Tensor) -> Tensor:
            return tensor[index] if isinstance(index, slice) else tensor[index.to(tensor.device)]

        if not isinstance(index, slice):
            index = torch.as_tensor(np.asarray(index), dtype=torch.int64)
            size = int(index.numel())
        else:
            size = len(range(*index.indices(self.size)))
        return self._with(map_tensors(cut, self.inputs), map_tensors(cut, self.target), size)

    @property
    def is_divisible(self) -> bool:
        """Whether every tensor has one row for each sample, and nothing else belongs to single samples."""
        some = bool(tensors_in(self.inputs) + tensors_in(self.target))
        return some and _has_rows(self.inputs, self.size) and _has_rows(self.target, self.size)

    def require_rows(self) -> None:
        """Raise :class:`TaskError` unless :attr:`is_divisible`."""
        if not self.is_divisible:
            shapes = [tuple(leaf.shape) for leaf in tensors_in(self.inputs) + tensors_in(self.target)]
            raise TaskError(
                f"a batch of {self.size} samples can be cut only when the first axis of every tensor counts samples "
                f"and nothing but tensors belongs to single samples; its tensors have shapes {shapes}."
            )

    def _with(self, inputs: Any, target: Any, size: int) -> "Batch":
        return Batch(inputs, target, size, self.target_key)


def read_batch(entry: Any, index: int, *, paired: bool = True) -> Batch:
    """Read one batch.

    Parameters
    ----------
    entry : Batch, pair, mapping or dataclass
        ``(inputs, target)``, or a mapping or dataclass with its target under one of :data:`TARGET_KEYS`; what remains
        of it are the inputs, a ``dict``.
    index : int
        Its place in the data, for messages.
    paired : bool
        Whether a target is needed apart from the inputs. Otherwise anything that holds tensors is taken whole.

    Raises
    ------
    TaskError
        No target, or nothing that has samples.
    """
    if isinstance(entry, Batch):
        return entry
    if not paired:
        inputs = as_tensors(entry)
        return Batch(inputs, None, _count(inputs, index))
    entries = entry if isinstance(entry, Mapping) else record_fields(entry) if is_record(entry) else None
    if entries is not None:
        keys = [key for key in TARGET_KEYS if entries.get(key) is not None]
        if not keys:
            raise TaskError(
                f"batch {index} is a {type(entry).__name__} with keys {list(entries)}; its target must be under one of "
                f"{TARGET_KEYS}. Rename it, pass pairs (inputs, target), or pass a loss (model, batch) -> mean, which "
                "needs none: probes.ModelLoss."
            )
        inputs = as_tensors({key: entries[key] for key in entries if key != keys[0]})
        target = as_tensors(entries[keys[0]])
        return Batch(inputs, target, _size(inputs, target, index), keys[0])
    if not isinstance(entry, tuple | list) or len(entry) != 2:
        what = f"{type(entry).__name__} of length {len(entry)}" if isinstance(entry, tuple | list) else type(entry)
        raise TaskError(
            f"batch {index} is a {what}; a batch is a pair (inputs, target) or a mapping with a target. For several "
            "inputs use ((first, second), target)."
        )
    inputs, target = (as_tensors(part) for part in entry)
    return Batch(inputs, target, _size(inputs, target, index))


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


def _count(tree: Any, index: int) -> int:
    """Count the samples of a batch without a target of its own: those of a usual target key, or of the first tensor."""
    entries = tree if isinstance(tree, Mapping) else record_fields(tree) if is_record(tree) else {}
    ordered = [entries[key] for key in TARGET_KEYS if key in entries]
    rows = [leaf.shape[0] for leaf in tensors_in([*ordered, tree]) if leaf.ndim > 0]
    if not rows:
        raise TaskError(
            f"batch {index} is a {type(tree).__name__} without a tensor that has a sample axis, so its samples cannot "
            "be counted. Pass tensors in tuples, lists, mappings or dataclasses, or a probes.batch.Batch with its size."
        )
    return rows[0]


def _has_rows(tree: Any, size: int) -> bool:
    """Whether the tensors of a part of a batch can be cut by samples and the rest applies to all samples alike."""
    if isinstance(tree, Tensor):
        return tree.ndim > 0 and tree.shape[0] == size
    if isinstance(tree, Mapping):
        return all(_has_rows(value, size) for value in tree.values())
    if is_record(tree):
        return all(_has_rows(value, size) for value in record_fields(tree).values())
    if isinstance(tree, list | tuple) and not isinstance(tree, PackedSequence):
        # A list of texts, one for each sample, would no longer fit the tensors once these are cut.
        per_sample = len(tree) == size > 1 and any(not tensors_in(value) for value in tree)
        return not per_sample and all(_has_rows(value, size) for value in tree)
    return tree is None or isinstance(tree, bool | int | float | complex | str)
