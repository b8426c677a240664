"""Products with the Hessian of the loss of one micro-batch, in several ways that differ in speed and in what they can.

All but differences are exact. Each builds its graph once and serves all columns; which is fastest depends on the
network, which ones work depends on its layers: see :mod:`probes.operators.ladder`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch.func import grad, vjp, vmap

from probes.operators.compiled import multiplication
from probes.operators.leaves import Leaves
from probes.operators.pieces import Piece
from probes.operators.rows import columns_of, contiguous_rows, empty_rows, joined, rows_of

__all__ = ["DIFFERENCE_STEP", "SECOND_ORDER", "Quadratic"]

#: Step of central differences along a unit vector, relative to the norm of the parameters, in float64. From 1e-5 on a
#: ReLU network crosses kinks; at 1e-8 it was right to 3e-8 (see :mod:`probes.operators.differences`).
DIFFERENCE_STEP = 1e-8


@dataclass(frozen=True, eq=False)
class Quadratic:
    """The second-order expansion of the loss of a micro-batch.

    Attributes
    ----------
    loss : torch.Tensor
        The loss, detached, without axes.
    multiply : callable
        Columns (n, k) to columns (n, k).
    used : list of bool or None
        Which parameters the loss depends on, where the way taken shows it.
    """

    loss: Tensor
    multiply: Callable[[Tensor], Tensor]
    used: list[bool] | None = None


def kept_graph(piece: Piece) -> Quadratic:
    """Double backward through the live model (Pearlmutter 1994): one gradient with graph, one pass for each column."""
    loss, leaves, used, curved = _gradients(piece)

    def multiply(columns: Tensor) -> Tensor:
        if not curved:
            return torch.zeros_like(columns)
        products = empty_rows(columns.shape[1], piece.tensors)
        for row, product in zip(contiguous_rows(columns), products, strict=True):
            leaves.fill(product, _differentiated(leaves, curved, row, retain_graph=True))
        return products.T

    return Quadratic(loss, multiply, used)


def rebuilt_graph(piece: Piece) -> Quadratic:
    """Double backward with a fresh graph for each column, freed as it is used: least memory, about twice the time."""

    def multiply(columns: Tensor) -> Tensor:
        products = empty_rows(columns.shape[1], piece.tensors)
        for row, product in zip(contiguous_rows(columns), products, strict=True):
            _, leaves, _, curved = _gradients(piece)
            if not curved:
                return torch.zeros_like(columns)
            leaves.fill(product, _differentiated(leaves, curved, row, retain_graph=False))
        return products.T

    return Quadratic(piece.evaluate("loss").detach(), multiply)


def batched_graph(piece: Piece) -> Quadratic:
    """Double backward through the live model, one pass for the whole block (``is_grads_batched``)."""
    loss = piece.evaluate("loss", rewriting="all")
    leaves = Leaves(piece.tensors)
    used, curved = _slopes(loss, leaves)

    def multiply(columns: Tensor) -> Tensor:
        if not curved:
            return torch.zeros_like(columns)
        rows = rows_of(columns, piece.tensors)
        found = torch.autograd.grad(
            list(curved.values()),
            piece.tensors,
            [rows[i] for i in curved],
            retain_graph=True,
            allow_unused=True,
            is_grads_batched=True,
        )
        return columns_of(found, piece.tensors)

    return Quadratic(loss.detach(), multiply, used)


def vmap_reverse(piece: Piece) -> Quadratic:
    """Reverse mode over reverse mode, kept, one pass mapped over the whole block."""
    function, point = piece.function("loss")

    def gradient(*tensors: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        # grad of a function that hands the loss through as well: one forward pass for both.
        def twice(*inner: Tensor) -> tuple[Tensor, Tensor]:
            value = function(*inner)
            return value, value

        return grad(twice, argnums=tuple(range(len(tensors))), has_aux=True)(*tensors)

    _, transposed, loss = cast(tuple[Any, Callable, Tensor], vjp(gradient, *point, has_aux=True))

    def multiply(columns: Tensor) -> Tensor:
        return columns_of(vmap(transposed)(tuple(rows_of(columns, point))), point)

    return Quadratic(loss.detach(), multiply)


def compiled(piece: Piece) -> Quadratic:
    """``vmap_reverse`` as a compiled program, see :mod:`probes.operators.compiled`."""
    with torch.no_grad():
        loss = piece.evaluate("loss", connected=False)
    return Quadratic(loss, multiplication(piece))


def differences(piece: Piece) -> Quadratic:
    r"""Central differences of the gradient in a float64 copy, for what cannot be differentiated twice.

    .. math:: H v \approx \frac{g(\theta + h v / \|v\|) - g(\theta - h v / \|v\|)}{2 h} \|v\|

    with :math:`h` = `DIFFERENCE_STEP` times :math:`\|\theta\|`; the error is about 1e-8 for smooth networks and more
    where a kink lies within the step. Two gradients for each column.
    """
    objective = piece.objective.to(torch.float64)
    named = dict(objective.model.named_parameters())
    twin = Piece(
        objective, piece.names, tuple(named[name] for name in piece.names), piece.batch.to(dtype=torch.float64)
    )
    origin = [p.detach().clone() for p in twin.tensors]
    step = DIFFERENCE_STEP * (math.sqrt(sum(float(p.square().sum()) for p in origin)) or 1.0)

    def gradient(shift: list[Tensor], sign: float) -> Tensor:
        with twin.at([p + sign * s for p, s in zip(origin, shift, strict=True)]):
            return joined(torch.autograd.grad(twin.evaluate("loss"), twin.tensors, allow_unused=True), twin.tensors)

    def multiply(columns: Tensor) -> Tensor:
        products = []
        for column in columns.T.double():
            norm = float(torch.linalg.vector_norm(column)) or 1.0
            shift = [row[0] for row in rows_of(column[:, None] * (step / norm), twin.tensors)]
            products.append((gradient(shift, 1.0) - gradient(shift, -1.0)) * (norm / (2 * step)))
        return torch.stack(products).T.to(columns)

    return Quadratic(twin.evaluate("loss").detach().to(piece.tensors[0]), multiply)


def _gradients(piece: Piece) -> tuple[Tensor, Leaves, list[bool], dict[int, Tensor]]:
    """Return the loss, what it is differentiated by, and what `_slopes` finds."""
    loss, leaves = piece.evaluate_at_leaves("loss")
    return loss.detach(), leaves, *_slopes(loss, leaves)


def _slopes(loss: Tensor, leaves: Leaves) -> tuple[list[bool], dict[int, Tensor]]:
    """Return which parameters the loss depends on, and by position the gradients that are not constant."""
    gradients = torch.autograd.grad(loss, leaves.variables, create_graph=True, allow_unused=True)
    return leaves.used(gradients), {i: g for i, g in enumerate(gradients) if g is not None and g.requires_grad}


def _differentiated(
    leaves: Leaves, curved: dict[int, Tensor], row: Tensor, *, retain_graph: bool
) -> tuple[Tensor | None, ...]:
    """Return the derivative of the gradient's product with one vector (n,), by the variables."""
    tangents = leaves.cut(row)
    return torch.autograd.grad(
        list(curved.values()),
        leaves.variables,
        [tangents[i] for i in curved],
        retain_graph=retain_graph,
        allow_unused=True,
    )


#: By name, the safest first. The last three are never chosen, only asked for.
SECOND_ORDER: dict[str, Callable[[Piece], Quadratic]] = {
    "kept_graph": kept_graph,
    "vmap_reverse": vmap_reverse,
    "batched_graph": batched_graph,
    "rebuilt_graph": rebuilt_graph,
    "compiled": compiled,
    "differences": differences,
}
