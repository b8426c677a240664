r"""The derivative J of a map from parameters to outputs, on one micro-batch, as two products for blocks of vectors.

``push`` is :math:`V \mapsto J V` and ``pull`` is :math:`U \mapsto J^T U`. There are several ways to the same numbers;
each builds its graph once and serves all columns. Which one is fastest depends on the network, which ones work depends
on its layers: see :mod:`probes.operators.ladder`.
"""

import functools
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import jvp, vjp, vmap

from probes.objective import Quantity
from probes.operators.pieces import Piece
from probes.operators.rows import columns_of, contiguous_rows, empty_rows, rows_of
from probes.state import forward_mode

__all__ = ["LINEARIZATIONS", "Linearization"]


@dataclass(frozen=True, eq=False)
class Linearization:
    r"""The derivative of a map at the current parameters.

    Attributes
    ----------
    outputs : torch.Tensor
        The value of the map, detached.
    push : callable
        Columns (n, k) to tangents (k, \*outputs.shape).
    pull : callable
        Cotangents (k, \*outputs.shape) to columns (n, k).
    used : list of bool or None
        Which parameters the map depends on, where the way taken shows it.
    """

    outputs: Tensor
    push: Callable[[Tensor], Tensor]
    pull: Callable[[Tensor], Tensor]
    used: list[bool] | None = None


def kept_graph(piece: Piece, quantity: Quantity) -> Linearization:
    r"""Differentiate the live model; J v comes from differentiating :math:`u \mapsto J^T u` once more.

    Works wherever double backward does. One backward pass through the outputs for each column and direction.
    """
    outputs, leaves = piece.evaluate_at_leaves(quantity)
    probe = torch.zeros_like(outputs, requires_grad=True)
    transposed = torch.autograd.grad(outputs, leaves.variables, probe, create_graph=True, allow_unused=True)
    linear = {i: t for i, t in enumerate(transposed) if t is not None and t.requires_grad}

    def push(columns: Tensor) -> Tensor:
        tangents = []
        for row in contiguous_rows(columns):
            found = None
            if linear:
                parts = leaves.cut(row)
                (found,) = torch.autograd.grad(
                    list(linear.values()), probe, [parts[i] for i in linear], retain_graph=True, allow_unused=True
                )
            tangents.append(torch.zeros_like(outputs) if found is None else found)
        return torch.stack(tangents).detach()

    def pull(cotangents: Tensor) -> Tensor:
        products = empty_rows(len(cotangents), piece.tensors)
        for product, cotangent in zip(products, cotangents, strict=True):
            found = torch.autograd.grad(outputs, leaves.variables, cotangent, retain_graph=True, allow_unused=True)
            leaves.fill(product, found)
        return products.T

    return Linearization(outputs.detach(), push, pull, leaves.used(transposed))


def rebuilt_graph(piece: Piece, quantity: Quantity) -> Linearization:
    """Like `kept_graph`, but no graph outlives a column: least memory, about twice the time."""

    def push(columns: Tensor) -> Tensor:
        return torch.cat([kept_graph(piece, quantity).push(columns[:, k : k + 1]) for k in range(columns.shape[1])])

    def pull(cotangents: Tensor) -> Tensor:
        products = empty_rows(len(cotangents), piece.tensors)
        for product, cotangent in zip(products, cotangents, strict=True):
            value, leaves = piece.evaluate_at_leaves(quantity)
            leaves.fill(product, torch.autograd.grad(value, leaves.variables, cotangent, allow_unused=True))
        return products.T

    return Linearization(piece.evaluate(quantity).detach(), push, pull)


def vmap_forward(piece: Piece, quantity: Quantity) -> Linearization:
    """Forward mode for J v and a kept reverse pass for J'u, each mapped over the block.

    The forward pass of the network is repeated once for each block, not for each column. Layers without a forward
    derivative cannot be measured this way.
    """
    function, point = piece.function(quantity)
    outputs, transposed = vjp(function, *point)[:2]
    _load_forward_mode()

    def push(columns: Tensor) -> Tensor:
        def tangent(*rows: Tensor) -> Tensor:
            return jvp(function, point, rows)[1]

        with _forward_mode(piece):
            return vmap(tangent, randomness="same")(*rows_of(columns, point)).detach()

    return Linearization(outputs.detach(), push, _mapped_pull(transposed, point))


def vmap_reverse(piece: Piece, quantity: Quantity) -> Linearization:
    """Reverse mode twice, kept and mapped over the block."""
    function, point = piece.function(quantity)
    outputs, transposed = vjp(function, *point)[:2]
    doubled = vjp(transposed, torch.zeros_like(outputs))[1]

    def push(columns: Tensor) -> Tensor:
        return vmap(lambda *rows: doubled(rows)[0])(*rows_of(columns, point)).detach()

    return Linearization(outputs.detach(), push, _mapped_pull(transposed, point))


@functools.cache
def _load_forward_mode() -> None:
    """Let PyTorch load its forward-mode formulas, which compiles some of them and warns that this is deprecated."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        jvp(torch.sin, (torch.zeros(()),), (torch.ones(()),))


def _forward_mode(piece: Piece) -> AbstractContextManager[None]:
    """Switch off fused recurrent layers, which have no forward derivative, where there are any."""
    recurrent = any(isinstance(module, nn.RNNBase) for module in piece.objective.model.modules())
    return forward_mode() if recurrent else nullcontext()


def _mapped_pull(transposed: Callable[[Tensor], tuple[Tensor, ...]], point: tuple[Tensor, ...]) -> Callable:
    def pull(cotangents: Tensor) -> Tensor:
        return columns_of(vmap(transposed)(cotangents), point)

    return pull


#: By name, the safest first.
LINEARIZATIONS: dict[str, Callable[[Piece, Quantity], Linearization]] = {
    "kept_graph": kept_graph,
    "vmap_forward": vmap_forward,
    "vmap_reverse": vmap_reverse,
    "rebuilt_graph": rebuilt_graph,
}
