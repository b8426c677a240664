r"""Convolution whose derivatives of every order are PyTorch's own first derivatives.

With y = x * w, the first derivatives are two more bilinear maps, B(g, w) for the input and C(g, x) for the filter. Each
is linear in both arguments, so that their derivatives are again y, B and C. PyTorch instead forms the derivative of C
as a convolution whose filter has the size of the output, which is slow on CPUs.
"""

from typing import Any

import torch
from torch import Tensor

__all__ = ["convolution"]

#: Stride, padding, dilation, transposed, output padding, groups.
_Geometry = tuple[list[int], list[int], list[int], bool, list[int], int]


def convolution(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | tuple[int, ...] = 1,
    padding: int | tuple[int, ...] | str = 0,
    dilation: int | tuple[int, ...] = 1,
    groups: int = 1,
) -> Any:
    """Return what ``torch.conv1d``, ``conv2d`` or ``conv3d`` return, or ``NotImplemented`` for what is left to them."""
    if isinstance(padding, str) or input.ndim != weight.ndim or not input.is_floating_point():
        return NotImplemented
    axes = weight.ndim - 2
    geometry: _Geometry = (
        _each(stride, axes),
        _each(padding, axes),
        _each(dilation, axes),
        False,
        [0] * axes,
        groups,
    )
    result = _Convolution.apply(input, weight, geometry)
    return result if bias is None else result + bias.reshape(-1, *(1,) * axes)


def _each(value: int | tuple[int, ...], axes: int) -> list[int]:
    """Return one number for each axis."""
    values = [value] if isinstance(value, int) else list(value)
    return values * axes if len(values) == 1 else values


def _forward(x: Tensor, w: Tensor, geometry: _Geometry) -> Tensor:
    return torch.ops.aten.convolution(x, w, None, *geometry)


def _backward(g: Tensor, x: Tensor, w: Tensor, geometry: _Geometry, wanted: tuple[bool, bool]) -> tuple[Any, Any]:
    """Return B(g, w) and C(g, x); of x and w only the shapes matter where their own derivative is asked for."""
    found = torch.ops.aten.convolution_backward(g, x, w, None, *geometry, (*wanted, False))
    return found[0], found[1]


class _Convolution(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, w: Tensor, geometry: _Geometry) -> Tensor:
        return _forward(x, w, geometry)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        x, w, ctx.geometry = inputs
        ctx.save_for_backward(x, w)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Any, ...]:
        x, w = ctx.saved_tensors
        wanted = tuple(ctx.needs_input_grad[:2])
        apply = _Gradients.apply if torch.is_grad_enabled() else _backward
        return (*apply(g, x, w, ctx.geometry, wanted), None)


class _Gradients(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(g: Tensor, x: Tensor, w: Tensor, geometry: _Geometry, wanted: tuple[bool, bool]) -> tuple[Any, Any]:
        return _backward(g, x, w, geometry, wanted)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        g, x, w, ctx.geometry, _ = inputs
        ctx.save_for_backward(g, x, w)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, u: Tensor | None, v: Tensor | None) -> tuple[Any, ...]:
        """Differentiate ``u' B(g, w) + v' C(g, x)``; both are ``g' (u * w)`` and ``g' (x * v)``."""
        g, x, w = ctx.saved_tensors
        forward = _Convolution.apply if torch.is_grad_enabled() else _forward
        backward = _Gradients.apply if torch.is_grad_enabled() else _backward
        for_g = for_x = for_w = None
        if u is not None:
            for_g = forward(u, w, ctx.geometry) if ctx.needs_input_grad[0] else None
            for_w = backward(g, u, w, ctx.geometry, (False, True))[1] if ctx.needs_input_grad[2] else None
        if v is not None:
            for_x = backward(g, x, v, ctx.geometry, (True, False))[0] if ctx.needs_input_grad[1] else None
            if ctx.needs_input_grad[0]:
                second = forward(x, v, ctx.geometry)
                for_g = second if for_g is None else for_g + second
        return for_g, for_x, for_w, None, None
