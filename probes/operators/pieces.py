"""One micro-batch of an objective, as a function of the measured parameters: live, or as a pure function."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from probes.batch import Batch
from probes.objective import Objective
from probes.parameters import flatten
from spectra.errors import DerivativeError

__all__ = ["Mapping", "Piece", "columns_of", "joined", "rows_of"]

#: What is differentiated: the loss of the micro-batch, the outputs of the model, or the losses of the samples.
Mapping = Literal["loss", "outputs", "sample_values"]


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

    def evaluate(self, mapping: Mapping, *, connected: bool = True) -> Tensor:
        """Return the loss, the outputs or the losses of the samples, connected to the live parameters if need be.

        Raises
        ------
        DerivativeError
            The result does not depend on any trainable parameter.
        """
        value = _evaluated(self.objective, self.batch, mapping)
        if connected and not value.requires_grad:
            raise DerivativeError(
                f"the {_NAMES[mapping]} of {type(self.objective.model).__name__} do not depend on any trainable "
                "parameter: the graph is cut. Look for detach(), torch.no_grad(), .data, .item() or NumPy in forward, "
                "output= or the loss."
            )
        return value

    def function(self, mapping: Mapping) -> tuple[Callable[..., Tensor], tuple[Tensor, ...]]:
        """Return the same as a pure function of the parameters, and the values at which it is to be taken.

        Parameters that are not measured, and copies of the buffers, are held fixed. Tied parameters stay tied.
        """
        whole = _Called(self.objective, self.batch)
        state = {f"model.{name}": p.detach() for name, p in self.objective.model.named_parameters()}
        state.update({f"model.{name}": b.detach().clone() for name, b in self.objective.model.named_buffers()})
        prefixed = [f"model.{name}" for name in self.names]

        def evaluate(*tensors: Tensor) -> Tensor:
            return functional_call(whole, {**state, **dict(zip(prefixed, tensors, strict=True))}, (mapping,))

        return evaluate, tuple(tensor.detach() for tensor in self.tensors)

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


_NAMES = {"loss": "values of the loss", "outputs": "outputs", "sample_values": "losses of the samples"}


class _Called(nn.Module):
    """Calls the objective, so that `functional_call` can replace parameters of the model below it."""

    def __init__(self, objective: Objective, batch: Batch) -> None:
        super().__init__()
        self.model = objective.model
        self._objective, self._batch = objective, batch
        self.training = objective.model.training

    def forward(self, mapping: Mapping) -> Tensor:
        return _evaluated(self._objective, self._batch, mapping)


def _evaluated(objective: Objective, batch: Batch, mapping: Mapping) -> Tensor:
    if mapping == "outputs":
        return objective.outputs(batch)
    if mapping == "sample_values":
        return objective.loss.sample_values(objective.outputs(batch), batch.target)
    return objective.value(batch)


def columns_of(pieces: Sequence[Tensor | None], like: Sequence[Tensor]) -> Tensor:
    """Join gradients of shape (k, \\*parameter.shape), None for zero, into columns (n, k)."""
    width = next((piece.shape[0] for piece in pieces if piece is not None), 1)
    rows = [
        p.new_zeros(width, p.numel()) if piece is None else piece.reshape(width, -1)
        for piece, p in zip(pieces, like, strict=True)
    ]
    return torch.cat(rows, dim=1).T


def rows_of(columns: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """Cut columns (n, k) into tensors of shape (k, \\*parameter.shape)."""
    rows = columns.T.contiguous()
    pieces = rows.split([p.numel() for p in like], dim=1)
    return [piece.reshape(len(rows), *p.shape) for piece, p in zip(pieces, like, strict=True)]


def joined(pieces: Sequence[Any], like: Sequence[Tensor]) -> Tensor:
    """Join gradients of the parameters' shapes, None for zero, into one vector (n,)."""
    return flatten([torch.zeros_like(p) if piece is None else piece for piece, p in zip(pieces, like, strict=True)])
