"""Which tensors of a model or checkpoint are weight matrices, and which are left out and why."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace

from torch import nn
from torch.nn.utils.parametrize import ParametrizationList

from probes.checkpoints.streaming import StoredTensor, stream_tensors
from probes.weights.names import SCALES, matches
from probes.weights.tensors import Hints, LeftOut, WeightMatrix, tensor_matrices
from spectra.errors import ArgumentError, TaskError

__all__ = ["Inventory", "list_weights", "select"]

#: Why a matrix is left out that no pattern of the user fits, and why a name is.
NOT_CHOSEN, _TIED = "matrices that were not chosen", "other names of tensors that are listed"


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """What a model or checkpoint holds.

    Attributes
    ----------
    matrices : tuple of WeightMatrix
        In its order; shared ones once.
    left_out : tuple of LeftOut
        All other tensors but buffers of a model that have fewer than two sizes, and the matrices that :func:`select`
        or :func:`probes.weights.differences.subtract` took out.
    """

    matrices: tuple[WeightMatrix, ...]
    left_out: tuple[LeftOut, ...]


def list_weights(
    source: nn.Module | str | os.PathLike[str],
    *,
    stacks: tuple[str, ...] = (),
    kernels: tuple[str, ...] = (),
    key: str | None = None,
    allow_pickle_from_trusted_source: bool = False,
) -> Inventory:
    """Return the weight matrices of a model or checkpoint, and what is none and why, without reading any numbers.

    Matrices are in the order of the source; shared ones are listed once.

    Parameters
    ----------
    source : torch.nn.Module, str or path
        Of a model its parameters; its buffers are no weights.
    stacks, kernels : tuple of str
        Patterns of names whose tensors of three or more sizes are stacks of matrices, or kernels of convolutions.
    key, allow_pickle_from_trusted_source
        Of a checkpoint, as for :func:`probes.checkpoints.read_state_dict`.

    Returns
    -------
    Inventory

    Raises
    ------
    ArgumentError
        If a pattern fits no tensor of three or more sizes, or a tensor both stacks and kernels; or a model is given
        with a key.
    CheckpointError
        If the checkpoint cannot be read.
    MissingExtraError
        If it is a safetensors file and the library is not installed.
    TaskError
        If a parameter has no memory: lazy, or on the meta device.

    Examples
    --------
    >>> found = list_weights(nn.Sequential(nn.Conv2d(3, 8, 5), nn.LayerNorm(8), nn.Linear(8, 2)))
    >>> [(matrix.name, matrix.kind, matrix.shape) for matrix in found.matrices]
    [('0.weight', 'convolution', (8, 75)), ('2.weight', 'linear', (2, 8))]
    >>> [left_out.name for left_out in found.left_out]
    ['0.bias', '1.weight', '1.bias', '2.bias']
    """
    hints = Hints(stacks=stacks, kernels=kernels)
    if isinstance(source, nn.Module):
        if key is not None:
            raise ArgumentError(f"key chooses among the entries of a torch.save file; got key={key!r} with a model")
        entries = list(_of_model(source, hints))
    else:
        tensors = stream_tensors(source, key=key, allow_pickle_from_trusted_source=allow_pickle_from_trusted_source)
        names = {tensor.name for tensor in tensors}
        entries = [entry for tensor in tensors for entry in _of_file(tensor, names, hints)]
    found, left_out = list[WeightMatrix](), list[LeftOut]()
    for entry in entries:
        if isinstance(entry, LeftOut):
            left_out.append(entry)
        else:
            found += entry
    inventory = Inventory(matrices=tuple(found), left_out=tuple(left_out))
    _check_patterns(inventory, stacks, kernels)
    return inventory


def _check_patterns(inventory: Inventory, stacks: tuple[str, ...], kernels: tuple[str, ...]) -> None:
    """Refuse patterns that fit nothing, and tensors that fit patterns of both kinds."""
    shapes = {matrix.tensor: matrix.stored_shape for matrix in inventory.matrices}
    shapes |= {entry.name: entry.shape for entry in inventory.left_out if entry.why != _TIED}
    deep = [name for name, shape in shapes.items() if len(shape) > 2]
    for option, given in (("stacks", stacks), ("kernels", kernels)):
        for pattern in given:
            if not any(matches(name, (pattern,)) for name in deep):
                raise ArgumentError(
                    f"{option} are names of tensors of three or more sizes; {pattern!r} fits none of "
                    f"{', '.join(deep[:10]) or 'them: there is none'}"
                )
    for name in deep:
        if matches(name, stacks) and matches(name, kernels):
            raise ArgumentError(
                f"a tensor is a stack or a kernel; {name} fits a pattern of stacks and one of kernels. Change one of "
                "the two."
            )


def _of_file(tensor: StoredTensor, names: set[str], hints: Hints) -> Iterator[list[WeightMatrix] | LeftOut]:
    """Yield what one tensor of a checkpoint is, and its other names."""
    hints = replace(hints, dtype=tensor.dtype)
    if tensor.obstacle:
        yield LeftOut(name=tensor.name, shape=tensor.shape, why=tensor.obstacle)
    elif not tensor.is_floating:
        yield LeftOut(name=tensor.name, shape=tensor.shape, why=_no_reals(tensor.dtype))
    else:
        scale = next((tensor.name + end for end in SCALES if tensor.name + end in names), None)
        notes = (f"scales that are stored aside ({scale.rpartition('.')[2]}) are not applied",) if scale else ()
        yield tensor_matrices(tensor.name, tensor.shape, tensor.read, replace(hints, notes=notes))
    for name in tensor.also:
        yield LeftOut(name=name, shape=tensor.shape, why=_TIED)


def _no_reals(dtype: str) -> str:
    """Say what numbers a tensor holds that are not real ones."""
    if dtype.startswith("complex"):
        return "complex numbers"
    if dtype == "bool":
        return "truth values, as masks"
    return f"integers ({dtype}), as of positions and quantized weights"


def _of_model(model: nn.Module, hints: Hints) -> Iterator[list[WeightMatrix] | LeftOut]:
    """Yield what parameters are, with what their modules tell of them; buffers are none."""
    seen: set[int] = set()
    for prefix, module in model.named_modules(remove_duplicate=False):
        owner = _owner(model, prefix, module)
        for name, parameter in module.named_parameters(recurse=False, remove_duplicate=False):
            full = f"{prefix}.{name}" if prefix else name
            if parameter.is_meta or nn.parameter.is_lazy(parameter):
                raise TaskError(
                    f"weights must have memory; {full!r} is lazy or on the meta device. Run the model once, or load "
                    "its checkpoint, first."
                )
            shape, dtype = tuple(parameter.shape), str(parameter.dtype).removeprefix("torch.")
            if id(parameter) in seen:
                yield LeftOut(name=full, shape=shape, why=_TIED)
            elif not parameter.is_floating_point():
                yield LeftOut(name=full, shape=shape, why=_no_reals(dtype))
            else:
                own = replace(_of_module(owner, shape, hints), dtype=dtype)
                yield tensor_matrices(full, shape, parameter.detach, own)
            seen.add(id(parameter))
        for name, buffer in module.named_buffers(recurse=False):
            if buffer.dim() > 1:
                full = f"{prefix}.{name}" if prefix else name
                yield LeftOut(name=full, shape=tuple(buffer.shape), why="buffers of a model")


def _owner(model: nn.Module, prefix: str, module: nn.Module) -> nn.Module:
    """Return the module that parameters are of, which is another one where they are parametrized."""
    if not isinstance(module, ParametrizationList):
        return module
    return model.get_submodule(f".{prefix}".rpartition(".parametrizations.")[0].removeprefix("."))


def _of_module(module: nn.Module, shape: tuple[int, ...], hints: Hints) -> Hints:
    """Add what a module tells of its parameter of this shape."""
    hints = replace(hints, kind=_kind_of(module))
    if not isinstance(module, nn.modules.conv._ConvNd) or not module.transposed:
        return hints
    # What a kernel is made of has other shapes, as the norms of weight norm.
    is_kernel = shape == (module.in_channels, module.out_channels // module.groups, *module.kernel_size)
    return replace(hints, transposed=True, groups=module.groups if is_kernel else 1)


def _kind_of(module: nn.Module) -> str | None:
    """Return what the matrices of a module are."""
    if isinstance(module, nn.modules.conv._ConvNd):
        return "convolution"
    if isinstance(module, nn.Embedding | nn.EmbeddingBag):
        return "embedding"
    return "attention" if isinstance(module, nn.MultiheadAttention) else None


def select(inventory: Inventory, patterns: tuple[str, ...]) -> Inventory:
    """Return the matrices whose names match one of the patterns, all if there is none; the rest is left out.

    Parameters
    ----------
    inventory : Inventory
    patterns : tuple of str
        As for :func:`probes.weights.names.matches`.

    Returns
    -------
    Inventory

    Examples
    --------
    >>> model = nn.Sequential(nn.Linear(3, 8), nn.Linear(8, 2))
    >>> [matrix.name for matrix in select(list_weights(model), ("1.",)).matrices]
    ['1.weight']
    """
    if not patterns:
        return inventory
    kept = tuple(matrix for matrix in inventory.matrices if matches(matrix.name, patterns))
    rest = tuple(
        LeftOut(name=matrix.name, shape=matrix.shape, why=NOT_CHOSEN)
        for matrix in inventory.matrices
        if not matches(matrix.name, patterns)
    )
    return Inventory(matrices=kept, left_out=(*inventory.left_out, *rest))
