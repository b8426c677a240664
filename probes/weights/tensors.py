"""How one tensor becomes weight matrices: as it is, flattened, cut into slices or thirds, or not at all.

=============================================  ====================================================================
tensor                                         matrices
=============================================  ====================================================================
(rows, columns)                                itself: Linear, Embedding
(out, in, kernel...) of a convolution          (out, in * kernel...)
(in, out / g, kernel...) of a transposed one   (out, in / g * kernel...), g groups; known in models, not in files
(number, rows, columns), as of experts         one for each number, ``name[0]``, ``name[1]`` ...
(layers, number, rows, columns)                one for each pair, ``name[0,0]``, ``name[0,1]`` ...
(1, rows, columns), as of positions            (rows, columns)
in_proj_weight, qkv.weight, c_attn.weight      three of (rows / 3, columns): ``[query]``, ``[key]``, ``[value]``; or of
                                               (rows, columns / 3), whichever size is three times the other
recurrent layers                               as they are stored, gates above each other
=============================================  ====================================================================

A tensor of three or more sizes is a kernel or a stack. What decides, in this order: what the user says, which must not
be both; the module; the name (``expert``, ``moe``; ``conv``); one matrix alone is a stack, and more than four sizes are
a kernel; otherwise whether the last sizes are too large for a kernel. Each matrix says which.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from probes.weights.names import kind_by_name, matches, notes_by_name, why_no_matrix

__all__ = ["Hints", "LeftOut", "WeightMatrix", "tensor_matrices"]

Matrix = npt.NDArray[np.float64]

_PARTS = ("query", "key", "value")
#: Ends of the names of fused projections: PyTorch's MultiheadAttention, timm, and GPT-2, whose matrices are transposed
#: in one of its implementations and not in another.
_FUSED = ("in_proj_weight", "qkv.weight", "c_attn.weight")
#: Words in the names of stacks, and of kernels.
_STACK_MARKS, _KERNEL_MARKS = ("expert", "moe"), ("conv",)
#: A kernel whose name does not say so is at most so long in the directions that decide: longer than the 31 of the
#: largest two-dimensional kernels in use (Ding, Zhang, Han and Ding 2022, RepLKNet).
MAX_KERNEL = 32


@dataclass(frozen=True, kw_only=True)
class WeightMatrix:
    """A matrix that can be read.

    Attributes
    ----------
    name : str
        Of the tensor; of a part of it ``name[query]``, ``name[0]`` and so on.
    kind : str
        ``"linear"``, ``"convolution"``, ``"embedding"`` or ``"attention"``.
    tensor : str
        Name of the tensor.
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
    tensor: str
    stored_shape: tuple[int, ...]
    shape: tuple[int, int]
    read: Callable[[], Matrix]
    rule: str = "as it is"
    notes: tuple[str, ...] = ()
    spacing: float = float(np.finfo(np.float32).eps)
    base: Callable[[], Matrix] | None = None


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """What no spectrum is computed of, and why: a tensor that is no weight matrix, or a matrix that is passed over.

    Attributes
    ----------
    name : str
    shape : tuple of int
        Of the tensor; of the matrix where that was not chosen, not reached, or not in common with another checkpoint.
    why : str
        In the plural, as of all tensors that are left out for that reason.
    """

    name: str
    shape: tuple[int, ...]
    why: str


@dataclass(frozen=True, kw_only=True)
class Hints:
    """What is known of a tensor, and asked for, beside its name and shape.

    Attributes
    ----------
    kind : str or None
        What its module says that it is.
    transposed : bool
        Whether it is a kernel whose outputs come second.
    groups : int
        Of such a kernel, the groups that channels are in.
    stacks, kernels : tuple of str
        Patterns of names whose tensors of three or more sizes are stacks of matrices, or kernels.
    notes : tuple of str
    dtype : str
        As of torch, ``"float32"`` and so on.
    """

    kind: str | None = None
    transposed: bool = False
    groups: int = 1
    stacks: tuple[str, ...] = ()
    kernels: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    dtype: str = "float32"


def tensor_matrices(
    name: str, shape: tuple[int, ...], read: Callable[[], Tensor], hints: Hints
) -> list[WeightMatrix] | LeftOut:
    """Return the matrices of one tensor of real numbers, or why there are none.

    Parameters
    ----------
    name : str
    shape : tuple of int
    read : callable
        Returns the tensor.
    hints : Hints

    Returns
    -------
    list of WeightMatrix, or LeftOut

    Examples
    --------
    >>> found = tensor_matrices("experts.w1", (4, 60, 80), lambda: torch.zeros(4, 60, 80), Hints())
    >>> len(found), found[0].name, found[0].shape, found[0].rule
    (4, 'experts.w1[0]', (60, 80), "slice of a stack, the name holds 'expert'")
    >>> tensor_matrices("norm.weight", (60,), lambda: torch.zeros(60), Hints()).why
    'vectors and single numbers, as biases and norms'
    """
    why = why_no_matrix(name, shape)
    if why:
        return LeftOut(name=name, shape=shape, why=why)
    make = partial(
        WeightMatrix,
        tensor=name,
        stored_shape=shape,
        notes=(*hints.notes, *notes_by_name(name)),
        spacing=_spacing(hints.dtype),
    )
    if len(shape) == 2:
        found = _of_two_sizes(name, hints.kind or kind_by_name(name), shape, read, make)
    else:
        stacked, reason = _is_stack(name, shape, hints)
        kind = hints.kind or kind_by_name(name, is_kernel=not stacked)
        if stacked:
            found = _of_stack(name, "linear" if kind == "convolution" else kind, shape, read, make, reason)
        else:
            found = [_of_kernel(name, kind, shape, read, make, reason, hints)]
    return found if min(found[0].shape) > 1 else LeftOut(name=name, shape=shape, why="a single row or column")


def _spacing(dtype: str) -> float:
    """Return the relative distance of neighbors among numbers of a kind, of single precision if it is unknown."""
    try:
        return float(torch.finfo(getattr(torch, dtype)).eps)
    except (AttributeError, TypeError, NotImplementedError):
        return float(np.finfo(np.float32).eps)


def _of_two_sizes(
    name: str, kind: str, shape: tuple[int, ...], read: Callable[[], Tensor], make: Callable[..., WeightMatrix]
) -> list[WeightMatrix]:
    """Return the matrix, or the three of a fused projection."""
    rows, columns = shape
    if not name.endswith(_FUSED) or max(shape) != 3 * min(shape):
        return [make(name=name, kind=kind, shape=(rows, columns), read=partial(_whole, read, (rows, columns)))]
    axis = 0 if rows > columns else 1
    part = (rows // 3, columns) if axis == 0 else (rows, columns // 3)
    rule = f"a third of the {'rows' if axis == 0 else 'columns'}, the name is that of a fused projection"
    return [
        make(name=f"{name}[{label}]", kind="attention", shape=part, read=partial(_part, read, axis, i), rule=rule)
        for i, label in enumerate(_PARTS)
    ]


def _is_stack(name: str, shape: tuple[int, ...], hints: Hints) -> tuple[bool, str]:
    """Tell stacks of matrices from kernels, and say by what."""
    if matches(name, hints.stacks) or matches(name, hints.kernels):
        return matches(name, hints.stacks), "as asked"
    if hints.kind == "convolution":
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
    name: str,
    kind: str,
    shape: tuple[int, ...],
    read: Callable[[], Tensor],
    make: Callable[..., WeightMatrix],
    reason: str,
    hints: Hints,
) -> WeightMatrix:
    """Return the kernel as a matrix with a row for each output."""
    rule = f"kernel as (out, in * kernel), {reason}"
    if hints.transposed:
        out, inputs = shape[1] * hints.groups, shape[0] // hints.groups
        whole: Callable[[], Matrix] = partial(_transposed_kernel, read, hints.groups)
    else:
        out, inputs = shape[:2]
        whole = partial(_whole, read, (out, inputs * math.prod(shape[2:])))
    return make(name=name, kind=kind, shape=(out, inputs * math.prod(shape[2:])), read=whole, rule=rule)


def _of_stack(
    name: str,
    kind: str,
    shape: tuple[int, ...],
    read: Callable[[], Tensor],
    make: Callable[..., WeightMatrix],
    reason: str,
) -> list[WeightMatrix]:
    """Return one matrix for each index but the last two."""
    is_one, rule = math.prod(shape[:-2]) == 1, f"slice of a stack, {reason}"
    return [
        make(
            name=name if is_one else f"{name}[{','.join(map(str, index))}]",
            kind=kind,
            shape=shape[-2:],
            read=partial(_slice, read, index),
            rule=rule,
        )
        for index in np.ndindex(*shape[:-2])
    ]


def _as_float64(tensor: Tensor, shape: Sequence[int]) -> Matrix:
    """Return a tensor, or the part that was cut out of it, as a matrix on the host."""
    matrix: Matrix = tensor.detach().to(device="cpu", dtype=torch.float64).reshape(tuple(shape)).numpy()
    return matrix


def _whole(read: Callable[[], Tensor], shape: tuple[int, int]) -> Matrix:
    return _as_float64(read(), shape)


def _transposed_kernel(read: Callable[[], Tensor], groups: int) -> Matrix:
    """Return a kernel (in, out / groups, kernel...), whose inputs are sorted by groups, with a row for each output."""
    kernel = read()
    inputs, out = kernel.shape[:2]
    sorted_by_outputs = kernel.reshape(groups, inputs // groups, out, -1).transpose(1, 2)
    return _as_float64(sorted_by_outputs, (groups * out, -1))


def _part(read: Callable[[], Tensor], axis: int, index: int) -> Matrix:
    part = read().chunk(3, dim=axis)[index]
    return _as_float64(part, part.shape)


def _slice(read: Callable[[], Tensor], index: tuple[int, ...]) -> Matrix:
    part = read()[index]
    return _as_float64(part, part.shape)
