"""How one tensor becomes weight matrices: as it is, flattened, cut into slices or thirds, or not at all.

=============================================  ====================================================================
tensor                                         matrices
=============================================  ====================================================================
(rows, columns)                                itself: Linear, Embedding
(out, in, kernel...) of a convolution          (out, in * kernel...)
(in, out, kernel...) of a transposed one       (out, in * kernel...); recognized in models, not in files
(number, rows, columns), as of experts         one for each number, ``name[0]``, ``name[1]`` ...
(1, rows, columns), as of positions            (rows, columns)
in_proj_weight, qkv.weight, c_attn.weight      three of (rows / 3, columns): ``[query]``, ``[key]``, ``[value]``; or of
                                               (rows, columns / 3), whichever size is three times the other
recurrent layers                               as they are stored, gates above each other
=============================================  ====================================================================

A tensor of three or more sizes is a kernel or a stack. What decides, in this order: what the user says, the module, the
name (``expert``, ``moe``; ``conv``), and whether the last sizes are too large for a kernel. Each matrix says which.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

__all__ = ["SCALES", "LeftOut", "Reading", "WeightMatrix", "matches", "tensor_matrices"]

Matrix = npt.NDArray[np.float64]

_PARTS = ("query", "key", "value")
#: Ends of the names of fused projections: PyTorch's MultiheadAttention, timm, and GPT-2, whose matrices are transposed
#: in one of its implementations and not in another.
_FUSED = ("in_proj_weight", "qkv.weight", "c_attn.weight")
#: Names of what a module makes its weights of: of pruning and spectral norm, and of weight norm.
_RAW, _PARAMETRIZED = ("weight_orig", "weight_v"), "parametrizations."
_EMBEDDING_MARKS = ("embed", "wte", "wpe")
#: Words in the names of stacks, and of kernels.
_STACK_MARKS, _KERNEL_MARKS = ("expert", "moe"), ("conv",)
#: Ends of the names of tables that are stored beside weights: masks, and sines and cosines of rotary positions.
_TABLES = ("mask", "cos_cached", "sin_cached")
#: Ends that quantized checkpoints put to the name of a matrix for its scales.
SCALES = ("_scale", "_scale_inv", "_scales")
#: A kernel whose name does not say so is at most so long in the directions that decide: longer than the 31 of the
#: largest two-dimensional kernels in use (Ding, Zhang, Han and Ding 2022, RepLKNet).
MAX_KERNEL = 32


@dataclass(frozen=True)
class WeightMatrix:
    """A matrix that can be read.

    Attributes
    ----------
    name : str
        Of the tensor; of a part of it ``name[query]``, ``name[0]`` and so on.
    kind : str
        ``"linear"``, ``"convolution"``, ``"embedding"`` or ``"attention"``.
    stored_shape : tuple of int
        Of the tensor.
    shape : tuple of int
        Of the matrix.
    read : callable
        Returns it, float64 on the host.
    rule : str
        How the tensor became it, and why; ``"as it is"`` where it was one.
    notes : tuple of str
        What to know about the numbers in it.
    spacing : float
        Relative distance of neighbors among the numbers that the tensor is stored in.
    base : callable or None
        Returns the matrix that is to be subtracted.
    """

    name: str
    kind: str
    stored_shape: tuple[int, ...]
    shape: tuple[int, int]
    read: Callable[[], Matrix]
    rule: str = "as it is"
    notes: tuple[str, ...] = ()
    spacing: float = float(np.finfo(np.float32).eps)
    base: Callable[[], Matrix] | None = None


@dataclass(frozen=True)
class LeftOut:
    """A tensor that is no weight matrix, and why."""

    name: str
    shape: tuple[int, ...]
    why: str


@dataclass(frozen=True)
class Reading:
    """What is known of a tensor beside its name and shape.

    Attributes
    ----------
    kind : str or None
        What its module says that it is.
    transposed : bool
        Whether its outputs come second.
    stacks, kernels : tuple of str
        Patterns of names whose tensors of three or more sizes are stacks of matrices, or kernels.
    notes : tuple of str
    dtype : str
        As of torch, ``"float32"`` and so on.
    """

    kind: str | None = None
    transposed: bool = False
    stacks: tuple[str, ...] = ()
    kernels: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    dtype: str = "float32"


def matches(name: str, patterns: Sequence[str]) -> bool:
    """Whether a name holds one of the patterns, or matches it with ``*`` and ``?``."""
    return any(fnmatchcase(name, pattern) or pattern in name for pattern in patterns)


def tensor_matrices(
    name: str, shape: tuple[int, ...], read: Callable[[], Tensor], reading: Reading
) -> list[WeightMatrix] | LeftOut:
    """Return the matrices of one tensor of real numbers, or why there are none.

    Parameters
    ----------
    name : str
    shape : tuple of int
    read : callable
        Returns the tensor.
    reading : Reading

    Examples
    --------
    >>> found = tensor_matrices("experts.w1", (4, 60, 80), lambda: torch.zeros(4, 60, 80), Reading())
    >>> len(found), found[0].name, found[0].shape, found[0].rule
    (4, 'experts.w1[0]', (60, 80), "slice of a stack, the name holds 'expert'")
    >>> tensor_matrices("norm.weight", (60,), lambda: torch.zeros(60), Reading()).why
    'vectors and single numbers, as biases and norms'
    """
    why = _why_none(name, shape)
    if why:
        return LeftOut(name, shape, why)
    kind = reading.kind or _kind_by_name(name, shape)
    if len(shape) == 2:
        found = _of_two_sizes(name, kind, shape, read, reading)
    else:
        stacked, reason = _is_stack(name, shape, reading)
        make = _of_stack if stacked else _of_kernel
        found = make(name, kind, shape, read, reading, reason)
    if min(found[0].shape) < 2:
        return LeftOut(name, shape, "a single row or column")
    notes, spacing = (*reading.notes, *_notes(name)), _spacing(reading.dtype)
    return [replace(matrix, notes=notes, spacing=spacing) for matrix in found]


def _notes(name: str) -> tuple[str, ...]:
    """Say where a tensor is not what its module multiplies by."""
    if name.rpartition(".")[2] in _RAW or _PARAMETRIZED in name:
        return ("what pruning, a norm or another parametrization is applied to, which is not applied here",)
    return ()


def _spacing(dtype: str) -> float:
    """Return the relative distance of neighbors among numbers of a kind, of single precision if it is unknown."""
    try:
        return float(torch.finfo(getattr(torch, dtype)).eps)
    except (AttributeError, TypeError, NotImplementedError):
        return float(np.finfo(np.float32).eps)


def _why_none(name: str, shape: tuple[int, ...]) -> str:
    """Return why a tensor is no matrix whatever its entries; empty if it may be one."""
    last = name.rpartition(".")[2].lower()
    if len(shape) < 2:
        return "vectors and single numbers, as biases and norms"
    if 0 in shape:
        return "empty"
    if last.endswith(("bias", *_TABLES)):
        return "the name says that it is a bias, a mask or a table"
    if last.endswith(SCALES) or last == "scales":
        return "the name says that it is the scales of quantized weights"
    return ""


def _of_two_sizes(
    name: str, kind: str, shape: tuple[int, ...], read: Callable[[], Tensor], reading: Reading
) -> list[WeightMatrix]:
    """Return the matrix, or the three of a fused projection."""
    rows, columns = shape
    whole = partial(_matrix, read, (rows, columns), reading.transposed)
    if not name.endswith(_FUSED) or max(shape) != 3 * min(shape):
        return [WeightMatrix(name, kind, shape, (rows, columns), whole)]
    axis = 0 if rows > columns else 1
    part = (rows // 3, columns) if axis == 0 else (rows, columns // 3)
    rule = f"a third of the {'rows' if axis == 0 else 'columns'}, the name is that of a fused projection"
    return [
        WeightMatrix(f"{name}[{label}]", "attention", shape, part, partial(_part, read, axis, i), rule)
        for i, label in enumerate(_PARTS)
    ]


def _is_stack(name: str, shape: tuple[int, ...], reading: Reading) -> tuple[bool, str]:
    """Tell stacks of matrices from kernels, and say by what."""
    if matches(name, reading.stacks) or matches(name, reading.kernels):
        return matches(name, reading.stacks), "as asked"
    if reading.kind == "convolution":
        return False, "its module is a convolution"
    lower = name.lower()
    for marks, stacked in ((_STACK_MARKS, True), (_KERNEL_MARKS, False)):
        mark = next((mark for mark in marks if mark in lower), None)
        if mark is not None:
            return stacked, f"the name holds {mark!r}"
    if len(shape) == 3 and shape[0] == 1:
        return True, "there is one"
    sizes = "x".join(map(str, shape[2:]))
    if len(shape) > 4 or min(shape[2:]) <= MAX_KERNEL:
        return False, f"a guess by its last sizes, {sizes}"
    return True, f"a guess by its last sizes, {sizes}"


def _of_kernel(
    name: str, kind: str, shape: tuple[int, ...], read: Callable[[], Tensor], reading: Reading, reason: str
) -> list[WeightMatrix]:
    """Return the kernel as a matrix with a row for each output."""
    out, inputs = (shape[1], shape[0]) if reading.transposed else shape[:2]
    flat = (out, inputs * math.prod(shape[2:]))
    whole = partial(_matrix, read, flat, reading.transposed)
    return [WeightMatrix(name, kind, shape, flat, whole, f"kernel as (out, in * kernel), {reason}")]


def _of_stack(
    name: str, kind: str, shape: tuple[int, ...], read: Callable[[], Tensor], reading: Reading, reason: str
) -> list[WeightMatrix]:
    """Return one matrix for each index but the last two."""
    rows, columns = shape[-2:]
    kind = "linear" if kind == "convolution" else kind
    found = []
    for index in np.ndindex(*shape[:-2]):
        label = name if math.prod(shape[:-2]) == 1 else f"{name}[{','.join(map(str, index))}]"
        part = partial(_slice, read, index)
        rule = f"slice of a stack, {reason}"
        found.append(WeightMatrix(label, kind, shape, (rows, columns), part, rule))
    return found


def _kind_by_name(name: str, shape: tuple[int, ...]) -> str:
    """Guess the kind of a tensor of a checkpoint."""
    lower = name.lower()
    if any(mark in lower.rpartition(".")[0] or lower.endswith(f"{mark}.weight") for mark in _EMBEDDING_MARKS):
        return "embedding" if "norm" not in lower else "linear"
    if "attention" in lower or "attn" in lower:
        return "attention"
    return "convolution" if len(shape) > 2 else "linear"


def _as_float64(tensor: Tensor, shape: tuple[int, ...]) -> Matrix:
    """Return a tensor, or the part that was cut out of it, as a matrix on the host."""
    matrix: Matrix = tensor.detach().to(device="cpu", dtype=torch.float64).reshape(shape).numpy()
    return matrix


def _matrix(read: Callable[[], Tensor], shape: tuple[int, int], transposed: bool) -> Matrix:
    tensor = read()
    return _as_float64(tensor.transpose(0, 1) if transposed else tensor, shape)


def _part(read: Callable[[], Tensor], axis: int, index: int) -> Matrix:
    part = read().chunk(3, dim=axis)[index]
    return _as_float64(part, tuple(part.shape))


def _slice(read: Callable[[], Tensor], index: tuple[int, ...]) -> Matrix:
    part = read()[index]
    return _as_float64(part, tuple(part.shape))
