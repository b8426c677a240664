"""Rows of the Jacobian, sample by sample, and their products: the tangent kernel by its definition."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.func import vjp, vmap

from probes.batch import Batch, map_tensors, tensors_in
from probes.operators.explanations import require_finite
from probes.operators.rows import empty_rows, fill_row
from probes.operators.tangent.bundle import Bundle
from probes.operators.tangent.features import Rows
from probes.operators.tangent.recording import unmapped_is_fine
from probes.operators.workload import Workload

__all__ = ["JacobianRows"]


@dataclass(eq=False)
class JacobianRows:
    """The derivatives of combinations of the outputs of single samples by all measured parameters.

    Parameters
    ----------
    workload : Workload
        What is measured; its batches can be cut into samples.

    Attributes
    ----------
    way : str
        ``"mapped"`` over samples, as long as PyTorch can map the model, else ``"sample by sample"``.
    """

    workload: Workload
    way: str = "mapped"
    why: str = field(default="", init=False)

    def rows(self, index: int, batch: Batch, heads: Tensor) -> Bundle:
        """Return the rows of a batch's samples for each head, (N, K, P), by one or several parts of the parameters.

        Parameters
        ----------
        index : int
            Number of the batch.
        batch : Batch
            Some of its samples.
        heads : torch.Tensor, shape (K, o)
            Cotangents of the outputs of one sample.
        """
        if self.way == "mapped":
            try:
                with self.workload.evaluating(index, batch):
                    return _checked(self._mapped(index, batch, heads))
            except torch.OutOfMemoryError:
                raise
            except Exception as error:
                if isinstance(error, ArithmeticError):
                    raise
                # Whatever torch.func cannot do shows here in many types; the plain way below says what is wrong.
                self.way, self.why = "sample by sample", str(error).strip().splitlines()[0][:200]
        with self.workload.evaluating(index, batch):
            return _checked(self._one_by_one(index, batch, heads))

    def _mapped(self, index: int, batch: Batch, heads: Tensor) -> list[Tensor]:
        """Return rows by ``vmap`` of a vector-Jacobian product over samples and heads, parameter by parameter.

        They are not joined, for that would be a copy of everything.
        """
        function, point = self._function(index, batch)
        leaves = tensors_in(batch.inputs)

        def of_sample(*sample: Tensor) -> tuple[Tensor, ...]:
            pull = vjp(lambda *tensors: function(tensors, sample), *point)[1]
            return vmap(pull)(heads)  # type: ignore[no-any-return]

        with unmapped_is_fine():
            return [part.detach().reshape(*part.shape[:2], -1) for part in vmap(of_sample)(*leaves)]

    def _function(self, index: int, batch: Batch) -> tuple[Callable[..., Tensor], tuple[Tensor, ...]]:
        """Return the outputs of a sample (o,) as a function of parameters and its tensors, and the parameters."""
        piece = self.workload.piece(batch, index)
        pure = piece.objective.functional(piece.names, value="outputs")

        def function(tensors: Sequence[Tensor], sample: Sequence[Tensor]) -> Tensor:
            supply = iter(sample)
            inputs: Any = map_tensors(lambda _: next(supply).unsqueeze(0), batch.inputs)
            return pure(tensors, Batch(inputs, None, 1, batch.target_key)).reshape(-1)

        return function, tuple(tensor.detach() for tensor in piece.tensors)

    def _one_by_one(self, index: int, batch: Batch, heads: Tensor) -> list[Tensor]:
        """Return rows by backward passes through the live model, a sample and a head at a time."""
        parts = []
        for i in range(batch.size):
            piece = self.workload.piece(batch.take(slice(i, i + 1)), index)
            outputs = piece.evaluate("outputs")
            rows = empty_rows(len(heads), piece.tensors)
            for row, head in zip(rows, heads, strict=True):
                cotangent = head.reshape(outputs.shape)
                found = torch.autograd.grad(outputs, piece.tensors, cotangent, retain_graph=True, allow_unused=True)
                fill_row(row, found, piece.tensors)
            parts.append(rows)
        return [torch.stack(parts)]


def _checked(parts: list[Tensor]) -> Bundle:
    for part in parts:
        require_finite(part, "the Jacobian of the outputs")
    return Bundle({"": [Rows(part) for part in parts]})
