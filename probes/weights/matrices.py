"""Which tensors of a model or checkpoint are weight matrices, and which are left out and why."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList

from probes.checkpoints.streaming import StoredTensor, stream_tensors
from probes.weights.tensors import SCALES, LeftOut, Reading, WeightMatrix, matches, tensor_matrices
from spectra.errors import ArgumentError, TaskError

__all__ = ["Inventory", "LeftOut", "WeightMatrix", "list_weights", "select", "weight_matrices"]

#: Why a matrix is left out that no pattern of the user fits.
NOT_CHOSEN = "matrices that were not chosen"
_TIED = "other names of tensors that are listed"


@dataclass(frozen=True)
class Inventory:
    """What a model or checkpoint holds.

    Attributes
    ----------
    matrices : tuple of WeightMatrix
        In its order; shared ones once.
    left_out : tuple of LeftOut
        All other tensors.
    """

    matrices: tuple[WeightMatrix, ...]
    left_out: tuple[LeftOut, ...]


def weight_matrices(source: nn.Module | str | os.PathLike[str]) -> tuple[WeightMatrix, ...]:
    """Return every weight matrix of a model or checkpoint in its order, without reading any; shared ones once.

    Parameters
    ----------
    source : torch.nn.Module, str or path
        A model, or a checkpoint as for :func:`probes.checkpoints.read_state_dict`.

    Raises
    ------
    CheckpointError, TaskError
        As :func:`list_weights`.

    Examples
    --------
    >>> model = nn.Sequential(nn.Conv2d(3, 8, 5), nn.Flatten(), nn.Linear(8, 2))
    >>> [(matrix.name, matrix.kind, matrix.shape) for matrix in weight_matrices(model)]
    [('0.weight', 'convolution', (8, 75)), ('2.weight', 'linear', (2, 8))]
    """
    return list_weights(source).matrices


def list_weights(
    source: nn.Module | str | os.PathLike[str],
    *,
    stacks: tuple[str, ...] = (),
    kernels: tuple[str, ...] = (),
    key: str | None = None,
    allow_pickle_from_trusted_source: bool = False,
) -> Inventory:
    """Return the weight matrices of a model or checkpoint, and what is none and why, without reading any numbers.

    Parameters
    ----------
    source : torch.nn.Module, str or path
        Of a model its parameters; its buffers are no weights.
    stacks, kernels : tuple of str
        Patterns of names whose tensors of three or more sizes are stacks of matrices, or kernels of convolutions.
    key, allow_pickle_from_trusted_source
        Of a checkpoint, as for :func:`probes.checkpoints.read_state_dict`.

    Raises
    ------
    ArgumentError
        If a pattern fits no tensor of three or more sizes, or a model is given with a key.
    CheckpointError
        If the checkpoint cannot be read.
    TaskError
        If a parameter has no memory: lazy, or on the meta device.

    Examples
    --------
    >>> found = list_weights(nn.Sequential(nn.Linear(3, 8), nn.LayerNorm(8)))
    >>> [left_out.name for left_out in found.left_out]
    ['0.bias', '1.weight', '1.bias']
    """
    reading = Reading(stacks=stacks, kernels=kernels)
    if isinstance(source, nn.Module):
        if key is not None:
            raise ArgumentError(f"key chooses among the entries of a torch.save file; got key={key!r} with a model")
        entries = list(_of_model(source, reading))
    else:
        tensors = stream_tensors(source, key=key, allow_pickle_from_trusted_source=allow_pickle_from_trusted_source)
        entries = [entry for tensor in tensors for entry in _of_file(tensor, {t.name for t in tensors}, reading)]
    found, left_out = list[WeightMatrix](), list[LeftOut]()
    for entry in entries:
        if isinstance(entry, LeftOut):
            left_out.append(entry)
        else:
            found += entry
    _check_patterns(found, {"stacks": stacks, "kernels": kernels})
    return Inventory(tuple(found), tuple(left_out))


def _check_patterns(found: list[WeightMatrix], patterns: dict[str, tuple[str, ...]]) -> None:
    """Refuse patterns that change nothing."""
    deep = list(dict.fromkeys(matrix.name.partition("[")[0] for matrix in found if len(matrix.stored_shape) > 2))
    for option, given in patterns.items():
        for pattern in given:
            if not any(matches(name, (pattern,)) for name in deep):
                raise ArgumentError(
                    f"{option} are names of tensors of three or more sizes; {pattern!r} fits none of "
                    f"{', '.join(deep[:10]) or 'them: there is none'}"
                )


def _of_file(tensor: StoredTensor, names: set[str], reading: Reading) -> Iterator[list[WeightMatrix] | LeftOut]:
    """Yield what one tensor of a checkpoint is, and its other names."""
    reading = replace(reading, dtype=tensor.dtype)
    if tensor.obstacle:
        yield LeftOut(tensor.name, tensor.shape, tensor.obstacle)
    elif not tensor.is_floating:
        yield LeftOut(tensor.name, tensor.shape, _no_reals(tensor.dtype))
    else:
        scale = next((tensor.name + end for end in SCALES if tensor.name + end in names), None)
        notes = (f"scales that are stored aside ({scale.rpartition('.')[2]}) are not applied",) if scale else ()
        yield tensor_matrices(tensor.name, tensor.shape, tensor.read, replace(reading, notes=notes))
    for name in tensor.also:
        yield LeftOut(name, tensor.shape, _TIED)


def _no_reals(dtype: str) -> str:
    """Say what numbers a tensor holds that are not real ones."""
    if dtype.startswith("complex"):
        return "complex numbers"
    if dtype == "bool":
        return "truth values, as masks"
    return f"integers ({dtype}), as of positions and quantized weights"


def _of_model(model: nn.Module, reading: Reading) -> Iterator[list[WeightMatrix] | LeftOut]:
    """Yield what parameters are, with what their modules tell of them; buffers are none."""
    seen: set[int] = set()
    for prefix, module in model.named_modules():
        owner = _owner(model, prefix, module)
        transposed = isinstance(owner, nn.modules.conv._ConvNd) and bool(owner.transposed)
        own = replace(reading, kind=_kind_of(owner), transposed=transposed)
        for name, parameter in module.named_parameters(recurse=False):
            full = f"{prefix}.{name}" if prefix else name
            if parameter.is_meta or nn.parameter.is_lazy(parameter):
                raise TaskError(
                    f"weights must have memory; {full!r} is lazy or on the meta device. Run the model once, or load "
                    "its checkpoint, first."
                )
            shape, dtype = tuple(parameter.shape), str(parameter.dtype).removeprefix("torch.")
            if id(parameter) in seen:
                yield LeftOut(full, shape, _TIED)
            elif not parameter.is_floating_point():
                yield LeftOut(full, shape, _no_reals(dtype))
            else:
                yield tensor_matrices(full, shape, partial(_itself, parameter), replace(own, dtype=dtype))
            seen.add(id(parameter))
        for name, buffer in module.named_buffers(recurse=False):
            if buffer.dim() > 1:
                yield LeftOut(f"{prefix}.{name}" if prefix else name, tuple(buffer.shape), "buffers of a model")


def _owner(model: nn.Module, prefix: str, module: nn.Module) -> nn.Module:
    """Return the module that parameters are of, which is another one where they are parametrized."""
    if not isinstance(module, ParametrizationList):
        return module
    return model.get_submodule(f".{prefix}".rpartition(".parametrizations.")[0].removeprefix("."))


def _itself(parameter: Tensor) -> Tensor:
    return parameter


def _kind_of(module: nn.Module) -> str | None:
    """Return what the matrices of a module are."""
    if isinstance(module, nn.modules.conv._ConvNd):
        return "convolution"
    if isinstance(module, nn.Embedding | nn.EmbeddingBag):
        return "embedding"
    return "attention" if isinstance(module, nn.MultiheadAttention) else None


def select(inventory: Inventory, patterns: tuple[str, ...]) -> Inventory:
    """Return the matrices whose names match one of the patterns, all if there is none; the rest is left out."""
    if not patterns:
        return inventory
    kept = tuple(matrix for matrix in inventory.matrices if matches(matrix.name, patterns))
    rest = tuple(
        LeftOut(matrix.name, matrix.shape, NOT_CHOSEN)
        for matrix in inventory.matrices
        if not matches(matrix.name, patterns)
    )
    return Inventory(kept, (*inventory.left_out, *rest))
