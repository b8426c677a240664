"""One batch: what the model is given, what the loss is given, and how many samples that is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spectra.errors import TaskError

__all__ = ["TARGET_KEYS", "Batch", "map_tensors", "read_batch", "tensors_in"]

#: Where a batch that is a mapping keeps its target; the first key present is taken.
TARGET_KEYS = ("labels", "label", "targets", "target", "y")


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

        with torch.inference_mode(False):
            return Batch(map_tensors(move, self.inputs), map_tensors(move, self.target), self.size)

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
        return Batch(map_tensors(cut, self.inputs), map_tensors(cut, self.target), size)

    @property
    def is_divisible(self) -> bool:
        """Whether every tensor has one row for each sample."""
        leaves = tensors_in(self.inputs) + tensors_in(self.target)
        return bool(leaves) and all(leaf.ndim > 0 and leaf.shape[0] == self.size for leaf in leaves)

    def require_rows(self) -> None:
        """Raise :class:`TaskError` unless :attr:`is_divisible`."""
        if not self.is_divisible:
            shapes = [tuple(leaf.shape) for leaf in tensors_in(self.inputs) + tensors_in(self.target)]
            raise TaskError(
                f"a batch of {self.size} samples can be cut only when the first axis of every tensor counts samples; "
                f"its tensors have shapes {shapes}."
            )


def read_batch(entry: Any, index: int) -> Batch:
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
