"""Tensors inside nested tuples, lists, mappings and dataclasses: what a data loader may give."""

import copy
import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

__all__ = ["as_tensors", "is_record", "map_leaves", "map_tensors", "record_fields", "tensors_in"]


def map_tensors(function: Callable[[Tensor], Tensor], tree: Any) -> Any:
    """Apply a function to every tensor of nested tuples, lists, mappings and dataclasses; other leaves stay.

    Containers keep their type, also ``UserDict`` and named tuples; a mapping that cannot be copied and written to
    comes back as ``dict``. The step sizes of a ``PackedSequence``, which belong on the host, are left alone.
    """
    return map_leaves(lambda leaf: function(leaf) if isinstance(leaf, Tensor) else leaf, tree)


def as_tensors(tree: Any) -> Any:
    """Turn arrays of numbers into tensors; other leaves stay, arrays of text or objects too."""
    return map_leaves(_from_array, tree)


def tensors_in(tree: Any) -> list[Tensor]:
    """List the tensors of nested tuples, lists, mappings and dataclasses, in order."""
    found: list[Tensor] = []
    map_tensors(lambda tensor: found.append(tensor) or tensor, tree)  # type: ignore[func-returns-value]
    return found


def is_record(tree: Any) -> bool:
    """Whether something is an instance of a dataclass."""
    return dataclasses.is_dataclass(tree) and not isinstance(tree, type)


def record_fields(tree: Any) -> dict[str, Any]:
    """Return the fields of an instance of a dataclass, by name, not copied."""
    return {field.name: getattr(tree, field.name) for field in dataclasses.fields(tree)}


def map_leaves(function: Callable[[Any], Any], tree: Any) -> Any:
    """Apply a function to every leaf, tensor or not, of nested containers; see :func:`map_tensors`."""
    if isinstance(tree, Tensor | str | bytes):
        return function(tree)
    if isinstance(tree, Mapping):
        return _rebuilt(tree, {key: map_leaves(function, tree[key]) for key in tree})
    if isinstance(tree, PackedSequence):
        order = (None if t is None else function(t) for t in (tree.sorted_indices, tree.unsorted_indices))
        return PackedSequence(function(tree.data), tree.batch_sizes, *order)
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(map_leaves(function, value) for value in tree))
    if isinstance(tree, list | tuple):
        return _sequence(tree, (map_leaves(function, value) for value in tree))
    if is_record(tree):
        other = copy.copy(tree)
        for name, value in record_fields(tree).items():
            # Frozen dataclasses refuse setattr; __init__ is not run again, as it may derive fields from others.
            object.__setattr__(other, name, map_leaves(function, value))
        return other
    return function(tree)


def _rebuilt(tree: Mapping[Any, Any], entries: dict[Any, Any]) -> Mapping[Any, Any]:
    """Return a mapping of the given one's type with other entries, or a dict where that is not possible."""
    if type(tree) is dict:
        return entries
    try:
        other: Any = copy.copy(tree)
        if other is tree:
            return entries
        for key, value in entries.items():
            other[key] = value
    except (TypeError, ValueError, AttributeError, NotImplementedError, RuntimeError):
        return entries
    return other if isinstance(other, Mapping) else entries


def _sequence(tree: Any, entries: Iterable[Any]) -> Any:
    """Return a list or tuple of the given one's type, or a plain one where its constructor takes something else."""
    plain = list(entries) if isinstance(tree, list) else tuple(entries)
    if type(tree) in (list, tuple):
        return plain
    try:
        return type(tree)(plain)
    except TypeError:
        return plain


def _from_array(leaf: Any) -> Any:
    if not isinstance(leaf, np.ndarray) or leaf.dtype.kind not in "biufc":
        return leaf
    # PyTorch knows neither read-only memory nor foreign byte orders nor negative strides.
    native = leaf.astype(leaf.dtype.newbyteorder("="), copy=False)
    sound = native.flags.writeable and all(stride >= 0 for stride in native.strides)
    return torch.as_tensor(native if sound else native.copy())
