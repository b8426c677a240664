"""Which tensors of a model or checkpoint are weight matrices, and how tensors of other shapes become matrices.

===========================================  ==============================================================
tensor                                       matrix
===========================================  ==============================================================
Linear, Embedding, Bilinear slice            as it is
Conv1d, Conv2d, Conv3d: (out, in, k...)      (out, in * k...)
ConvTranspose, of a model: (in, out, k...)   (out, in * k...)
(1, rows, columns), as of positions          (rows, columns)
fused attention: in_proj_weight, qkv.weight  three of (rows / 3, columns): query, key, value
fused attention: c_attn.weight               three of (rows, columns / 3): query, key, value
===========================================  ==============================================================

Vectors, integers and matrices with fewer than two rows or columns are none.
"""

import math
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from probes.checkpoints.streaming import stream_tensors
from spectra.errors import TaskError

__all__ = ["WeightMatrix", "select", "weight_matrices"]

Matrix = npt.NDArray[np.float64]

_PARTS = ("query", "key", "value")
#: Names of fused projections, with the axis along which query, key and value lie: PyTorch's MultiheadAttention, timm,
#: and GPT-2, whose matrices are transposed.
_FUSED = {"in_proj_weight": 0, "qkv.weight": 0, "c_attn.weight": 1}
_EMBEDDING_MARKS = ("embed", "wte", "wpe")


@dataclass(frozen=True)
class WeightMatrix:
    """A matrix that can be read.

    Attributes
    ----------
    name : str
        Of the tensor; of a part of a fused one ``name[query]`` and so on.
    kind : str
        ``"linear"``, ``"convolution"``, ``"embedding"`` or ``"attention"``.
    stored_shape : tuple of int
        Of the tensor.
    shape : tuple of int
        Of the matrix.
    read : callable
        Returns it, float64 on the host.
    """

    name: str
    kind: str
    stored_shape: tuple[int, ...]
    shape: tuple[int, int]
    read: Callable[[], Matrix]


def weight_matrices(source: nn.Module | str | os.PathLike[str]) -> Iterator[WeightMatrix]:
    """Yield every weight matrix of a model or checkpoint in its order, without reading any; shared ones once.

    Parameters
    ----------
    source : torch.nn.Module, str or path
        A model, or a checkpoint as for :func:`probes.checkpoints.read_state_dict`.

    Raises
    ------
    CheckpointError
        If the checkpoint cannot be read.
    TaskError
        If a parameter has no memory: lazy, or on the meta device.

    Examples
    --------
    >>> model = nn.Sequential(nn.Conv2d(3, 8, 5), nn.Flatten(), nn.Linear(8, 2))
    >>> [(matrix.name, matrix.kind, matrix.shape) for matrix in weight_matrices(model)]
    [('0.weight', 'convolution', (8, 75)), ('2.weight', 'linear', (2, 8))]
    """
    if isinstance(source, nn.Module):
        yield from _of_model(source)
        return
    for tensor in stream_tensors(source):
        if tensor.is_floating:
            yield from _as_matrices(tensor.name, tensor.shape, tensor.read, kind=None, swap=False)


def _of_model(model: nn.Module) -> Iterator[WeightMatrix]:
    """Yield the matrices of parameters, with what their modules tell of them."""
    seen: set[int] = set()
    for prefix, module in model.named_modules():
        kind, swap = _kind_of(module)
        for name, parameter in module.named_parameters(recurse=False):
            if id(parameter) in seen or not parameter.is_floating_point():
                continue
            seen.add(id(parameter))
            full = f"{prefix}.{name}" if prefix else name
            if parameter.is_meta or nn.parameter.is_lazy(parameter):
                raise TaskError(
                    f"weights must have memory; {full!r} is lazy or on the meta device. Run the model once, or load "
                    "its checkpoint, first."
                )
            yield from _as_matrices(full, tuple(parameter.shape), partial(_itself, parameter), kind=kind, swap=swap)


def _itself(parameter: Tensor) -> Tensor:
    return parameter


def _kind_of(module: nn.Module) -> tuple[str | None, bool]:
    """Return what the matrices of a module are, and whether their outputs come second."""
    if isinstance(module, nn.modules.conv._ConvNd):
        return "convolution", bool(module.transposed)
    if isinstance(module, nn.Embedding | nn.EmbeddingBag):
        return "embedding", False
    return ("attention", False) if isinstance(module, nn.MultiheadAttention) else (None, False)


def _as_matrices(
    name: str, shape: tuple[int, ...], read: Callable[[], Tensor], *, kind: str | None, swap: bool
) -> Iterator[WeightMatrix]:
    """Yield the matrices of one tensor: none of a vector, three of a fused projection."""
    if len(shape) < 2 or 0 in shape:
        return
    first, second = (shape[1], shape[0]) if swap else (shape[0], shape[1])
    rows, columns = (first, second * math.prod(shape[2:]))
    if len(shape) == 3 and shape[0] == 1 and kind != "convolution":
        rows, columns = shape[1:]
    if min(rows, columns) < 2:
        return
    found = kind or _kind_by_name(name, shape)
    whole = partial(_matrix, read, (rows, columns), swap)
    axis = next((axis for end, axis in _FUSED.items() if name.endswith(end)), None)
    if axis is None or len(shape) != 2 or shape[axis] != 3 * shape[1 - axis]:
        yield WeightMatrix(name, found, shape, (rows, columns), whole)
        return
    part = (rows // 3, columns) if axis == 0 else (rows, columns // 3)
    for i, label in enumerate(_PARTS):
        yield WeightMatrix(f"{name}[{label}]", "attention", shape, part, partial(_part, whole, axis, i))


def _kind_by_name(name: str, shape: tuple[int, ...]) -> str:
    """Guess the kind of a tensor of a checkpoint."""
    lower = name.lower()
    if any(mark in lower.rpartition(".")[0] or lower.endswith(f"{mark}.weight") for mark in _EMBEDDING_MARKS):
        return "embedding" if "norm" not in lower else "linear"
    if "attention" in lower or "attn" in lower:
        return "attention"
    return "convolution" if len(shape) > 2 else "linear"


def _matrix(read: Callable[[], Tensor], shape: tuple[int, int], swap: bool) -> Matrix:
    """Read a tensor as a matrix."""
    tensor = read().detach()
    if swap:
        tensor = tensor.transpose(0, 1)
    matrix: Matrix = tensor.to(device="cpu", dtype=torch.float64).reshape(shape).numpy()
    return matrix


def _part(whole: Callable[[], Matrix], axis: int, index: int) -> Matrix:
    """Read one of three parts."""
    return np.split(whole(), 3, axis=axis)[index]


def select(matrices: Iterable[WeightMatrix], patterns: tuple[str, ...]) -> tuple[list[WeightMatrix], list[str]]:
    """Return the matrices whose names match one of the patterns, all if there is none, and the names of the rest."""
    from fnmatch import fnmatchcase

    kept, rest = list[WeightMatrix](), list[str]()
    for matrix in matrices:
        matches = not patterns or any(fnmatchcase(matrix.name, p) or p in matrix.name for p in patterns)
        if matches:
            kept.append(matrix)
        else:
            rest.append(matrix.name)
    return kept, rest
