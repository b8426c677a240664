"""The mean Hessian of batches that are normalized each by itself, as batch normalization does in training."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from probes.batches import Batch
from probes.operators import HessianOperator

__all__ = ["BatchwiseHessian"]


class BatchwiseHessian:
    r"""The mean of the Hessians of batches of equal size, :math:`\frac1K \sum_k \nabla^2 L_k`, one operator for each.

    With batch normalization in train mode the loss of a batch is no mean over its samples, so that an operator of
    several batches would depend on how the data are cut and is refused. Here the cut is the meaning: training sees
    batches of this size.

    Parameters
    ----------
    model, loss
        As for :class:`probes.HessianOperator`.
    batches : sequence of Batch
        Of equal size.
    **options
        For each operator.
    """

    name = "mean Hessian of batches"

    def __init__(self, model: torch.nn.Module, loss: Any, batches: Sequence[Batch], **options: Any) -> None:
        self.batches = batches
        self._operators = [HessianOperator(model, loss, [batch], **options) for batch in batches]

    @property
    def like(self) -> torch.Tensor:
        """A vector of the right length, dtype and device."""
        return self._operators[0].like

    def __matmul__(self, block: torch.Tensor) -> torch.Tensor:
        """Multiply (n,) or (n, k)."""
        total = self._operators[0] @ block
        for operator in self._operators[1:]:
            total = total + operator @ block
        return total / len(self._operators)

    def loss(self) -> torch.Tensor:
        """Return the mean loss."""
        return torch.stack([operator.loss().double() for operator in self._operators]).mean()

    def batch_gradients(self) -> Iterator[torch.Tensor]:
        """Yield the gradient of each batch."""
        for operator in self._operators:
            yield operator.gradient()

    def per_batch(self, block: torch.Tensor) -> Iterator[tuple[float, torch.Tensor]]:
        """Yield weight (1) and product of each batch."""
        for operator in self._operators:
            yield 1.0, operator @ block
