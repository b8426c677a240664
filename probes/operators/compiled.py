"""Hessian products compiled by Inductor: several times faster for small networks, after a long first call.

The product with a block, as a program of PyTorch's elementary operations, is recorded once for every shape of a batch
and compiled. Recording runs the model as it is on one batch: a forward pass that takes another way for other data
(Python branches on values that PyTorch does not see) would be frozen, so that this is only done when asked for.
"""

import dataclasses
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.func import grad, vjp, vmap

from probes.operators.kept_graphs import plain_attributes
from probes.operators.pieces import Piece
from probes.operators.rewriting import rewritten
from probes.operators.rows import columns_of, rows_of
from probes.trees import map_tensors, tensors_in
from spectra.errors import ArgumentError

__all__ = ["multiplication"]

Program = Callable[[tuple[Tensor, ...], tuple[Tensor, ...], list[Tensor]], tuple[Tensor, ...]]

_PROGRAMS: "WeakKeyDictionary[nn.Module, dict[Any, Program]]" = WeakKeyDictionary()


def multiplication(piece: Piece) -> Callable[[Tensor], Tensor]:
    """Return the product of the micro-batch's Hessian with columns (n, k); compiles at the first call for each shape.

    Parameters, data and vectors are arguments of the program; what else the loss depends on (buffers, frozen
    parameters, plain attributes of modules) is part of it, and a change of it compiles anew.

    Raises
    ------
    ArgumentError
        Dropout masks are frozen by a seed: a program would draw its own.
    """
    if piece.objective.seed is not None:
        raise ArgumentError("strategy='compiled' cannot freeze dropout masks; leave out dropout_seed or name another.")
    point = tuple(tensor.detach() for tensor in piece.tensors)
    leaves = tensors_in((piece.batch.inputs, piece.batch.target))
    programs = _PROGRAMS.setdefault(piece.objective.model, {})

    def multiply(columns: Tensor) -> Tensor:
        rows = tuple(rows_of(columns, point))
        signature = _signature(piece, rows, leaves)
        with torch.compiler.set_stance("default"):
            if signature not in programs:
                programs[signature] = torch.compile(_recorded(piece, point, rows, leaves))
            return columns_of(programs[signature](point, rows, leaves), point)

    return multiply


def _recorded(piece: Piece, point: tuple[Tensor, ...], rows: tuple[Tensor, ...], leaves: list[Tensor]) -> Any:
    """Record the product as a graph of elementary operations."""
    from torch.fx.experimental.proxy_tensor import make_fx  # takes a second

    pure = piece.objective.functional(piece.names)

    def product(tensors: tuple[Tensor, ...], block: tuple[Tensor, ...], data: list[Tensor]) -> tuple[Tensor, ...]:
        supply = iter(data)
        inputs, target = map_tensors(lambda _: next(supply), (piece.batch.inputs, piece.batch.target))
        batch = dataclasses.replace(piece.batch, inputs=inputs, target=target)

        def loss(values: tuple[Tensor, ...]) -> Tensor:
            with rewritten("necessary"):
                return pure(values, batch)

        transposed = vjp(grad(loss), tensors)[1]
        return vmap(lambda vector: transposed(vector)[0])(block)

    return make_fx(product)(point, rows, leaves)


def _signature(piece: Piece, rows: tuple[Tensor, ...], leaves: list[Tensor]) -> Any:
    """Return what a program is good for."""
    model, own = piece.objective.model, {id(tensor) for tensor in piece.tensors}
    fixed = [p.detach() for p in model.parameters() if id(p) not in own] + [b.detach() for b in model.buffers()]
    return (
        piece.names,
        id(piece.objective.loss.function),
        id(piece.objective.output),
        tuple((tuple(t.shape), t.dtype, t.device) for t in (*rows, *leaves)),
        plain_attributes(model),
        tuple(float(t.double().norm()) for t in fixed if not t.is_complex()),
    )
