"""The Hessian of a model in evaluation mode, whatever mode the model is in."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, final

import torch
from torch import Tensor, nn

from probes.losses import LossLike
from probes.objective import unwrapped
from probes.operators import HessianOperator
from probes.parameters import unflatten
from probes.state import differentiable, preserved
from spectra import Operator
from spectra.errors import TaskError

__all__ = ["EvaluationHessian"]


@final
class EvaluationHessian:
    """A Hessian, measured with the model in evaluation mode; afterwards the model is as it was found.

    Parameters
    ----------
    model, loss, data, rng, check
        As for :class:`probes.HessianOperator`.

    Attributes
    ----------
    operator : spectra.Operator, shape (n, n)
        For every function of :mod:`spectra`; it counts its products.
    source : HessianOperator
        The same matrix while the model is in evaluation mode.
    parameters : list of torch.nn.Parameter
        The trainable ones, in order.

    Examples
    --------
    >>> model = nn.Sequential(nn.Linear(1, 1), nn.Dropout()).train()
    >>> hessian = EvaluationHessian(model, nn.MSELoss(), (torch.ones(2, 1), torch.zeros(2, 1)))
    >>> hessian.operator @ torch.tensor([1.0, 0.0])
    tensor([2., 2.])
    >>> model.training
    True
    """

    def __init__(self, model: nn.Module, loss: LossLike, data: Any, *, rng: int = 0, check: bool = True) -> None:
        if not isinstance(model, nn.Module):
            raise TaskError(f"model must be a torch.nn.Module; got {type(model).__name__}.")
        self._model = unwrapped(model)
        with self._evaluating():
            self.source = HessianOperator(model, loss, data, rng=rng, check=check)
        self.parameters = list(self.source.parameters.values())
        self.operator = Operator(self._multiply, like=self.source.like, name="hessian")

    def gradient(self) -> list[Tensor]:
        """Return the gradient over all data, one tensor for each parameter."""
        with self._evaluating():
            return unflatten(self.source.gradient(), self.parameters)

    def gradient_with_graph(self) -> list[Tensor]:
        """Return the gradient of the first batch, to be differentiated once more."""
        with self._evaluating(), differentiable(self._model):
            value = self.source.objective.value(self.source.batches[0])
            pieces = torch.autograd.grad(value, self.parameters, create_graph=True, allow_unused=True)
        return [torch.zeros_like(p) if g is None else g for g, p in zip(pieces, self.parameters, strict=True)]

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        with preserved(self._model):
            self._model.eval()
            yield

    def _multiply(self, block: Tensor) -> Tensor:
        with self._evaluating():
            return self.source @ block
