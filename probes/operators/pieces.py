"""One micro-batch of an objective, as a function of the measured parameters: live, or as a pure function."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from probes.batch import Batch
from probes.objective import Objective, Quantity
from probes.operators.rewriting import Rewriting, rewritten
from spectra.errors import DerivativeError

__all__ = ["Piece", "columns_of", "empty_rows", "fill_row", "joined", "rows_of"]


@dataclass(frozen=True, eq=False)
class Piece:
    """A micro-batch, the objective, and the parameters that are differentiated.

    Attributes
    ----------
    objective : Objective
        Model, loss and output reader; the model is live.
    names : tuple of str
        Names of the measured parameters in the model.
    tensors : tuple of torch.Tensor
        The measured parameters, live, in the same order.
    batch : Batch
        The samples.
    index : int
        The number of the micro-batch, from which random draws are seeded.
    """

    objective: Objective
    names: tuple[str, ...]
    tensors: tuple[Tensor, ...]
    batch: Batch
    index: int = 0

    def evaluate(self, quantity: Quantity, *, connected: bool = True, rewriting: Rewriting = "necessary") -> Tensor:
        """Return the loss, the outputs or the losses of the samples, connected to the live parameters if need be.

        Parameters
        ----------
        quantity : {"loss", "outputs", "sample_values"}
            What is evaluated.
        connected : bool
            Whether a result that depends on no parameter is an error.
        rewriting : {"none", "necessary", "all"}
            Which layers are replaced by equal ones, see :mod:`probes.operators.rewriting`.

        Raises
        ------
        DerivativeError
            The result does not depend on any trainable parameter.
        """
        with rewritten(rewriting):
            value = self.objective.quantity(self.batch, quantity)
        if connected and not value.requires_grad:
            raise DerivativeError(
                f"the {_NAMES[quantity]} of {type(self.objective.model).__name__} do not depend on any trainable "
                "parameter: the graph is cut. Look for detach(), torch.no_grad(), .data, .item() or NumPy in forward, "
                "output= or the loss."
            )
        return value

    def function(self, quantity: Quantity) -> tuple[Callable[..., Tensor], tuple[Tensor, ...]]:
        """Return the same as a pure function of the parameters, and the values at which it is to be taken.

        Parameters that are not measured, and copies of the buffers, are held fixed. Tied parameters stay tied.
        """
        pure = self.objective.functional(self.names, value=quantity)

        def function(*tensors: Tensor) -> Tensor:
            with rewritten("necessary"):
                return pure(tensors, self.batch)

        return function, tuple(tensor.detach() for tensor in self.tensors)

    @contextmanager
    def at(self, point: Sequence[Tensor]) -> Iterator[None]:
        """Move the live parameters for the duration of the block; for copies of a model only."""
        origin = [tensor.detach().clone() for tensor in self.tensors]
        try:
            with torch.no_grad():
                for tensor, value in zip(self.tensors, point, strict=True):
                    tensor.copy_(value)
            yield
        finally:
            with torch.no_grad():
                for tensor, value in zip(self.tensors, origin, strict=True):
                    tensor.copy_(value)


_NAMES: dict[Quantity, str] = {
    "loss": "values of the loss",
    "outputs": "outputs",
    "sample_values": "losses of the samples",
}


def columns_of(pieces: Sequence[Tensor | None], like: Sequence[Tensor]) -> Tensor:
    r"""Join gradients of shape (k, \*parameter.shape), None for zero, into columns (n, k)."""
    width = next((piece.shape[0] for piece in pieces if piece is not None), 1)
    rows = [
        p.new_zeros(width, p.numel()) if piece is None else piece.reshape(width, -1)
        for piece, p in zip(pieces, like, strict=True)
    ]
    return torch.cat(rows, dim=1).T


def rows_of(columns: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    r"""Cut columns (n, k) into tensors of shape (k, \*parameter.shape)."""
    rows = columns.T.contiguous()
    pieces = rows.split([p.numel() for p in like], dim=1)
    return [piece.reshape(len(rows), *p.shape) for piece, p in zip(pieces, like, strict=True)]


def joined(pieces: Sequence[Any], like: Sequence[Tensor]) -> Tensor:
    """Join gradients of the parameters' shapes, None for zero, into one vector (n,)."""
    return fill_row(like[0].new_empty(sum(p.numel() for p in like)), pieces, like)


def empty_rows(count: int, like: Sequence[Tensor]) -> Tensor:
    """Return room for so many vectors, as rows (count, n)."""
    return like[0].detach().new_empty(count, sum(p.numel() for p in like))


def fill_row(row: Tensor, pieces: Sequence[Any], like: Sequence[Tensor]) -> Tensor:
    """Write gradients of the parameters' shapes, None for zero, into a vector (n,), each number once."""
    begin = 0
    for piece, p in zip(pieces, like, strict=True):
        part = row[begin : begin + p.numel()]
        if piece is None:
            part.zero_()
        else:
            part.copy_(piece.detach().reshape(-1))
        begin += p.numel()
    return row
