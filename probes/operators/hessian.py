"""The Hessian of the training loss, by double backward."""

from collections.abc import Sequence

import torch
from torch import Tensor

from probes.batches import Batch
from probes.objective import Objective
from probes.operators.base import CurvatureOperator
from probes.parameters import flatten, unflatten

__all__ = ["HessianOperator"]


class HessianOperator(CurvatureOperator):
    r"""Hessian :math:`H = \nabla^2 L(\theta)` of the mean loss over all data; indefinite in general.

    A product is :math:`H v = \nabla (g(\theta)^T v)` with g the gradient (Pearlmutter 1994, section 2): the gradient's
    graph of a batch is built once and differentiated once for each column. Cost per batch: one gradient with graph,
    then about 1.5 gradients per column.

    See :class:`probes.operators.base.CurvatureOperator` for parameters, attributes and methods.

    Raises
    ------
    TaskError, NonFiniteError, NonDeterministicError, NotSymmetricError, DerivativeError
        On construction, from the self-check; the message names the likely cause.

    Examples
    --------
    The Hessian of least squares with one weight is twice the mean of the squared input:

    >>> import torch
    >>> model = torch.nn.Linear(1, 1, bias=False)
    >>> x = torch.tensor([[1.0], [2.0], [3.0]])
    >>> operator = HessianOperator(model, torch.nn.MSELoss(), [(x[:2], x[:2]), (x[2:], x[2:])])
    >>> round(float(operator @ torch.ones(1)), 4)
    9.3333
    """

    name = "hessian"

    @staticmethod
    def batch_products(
        objective: Objective, parameters: Sequence[Tensor], batch: Batch, columns: Tensor
    ) -> tuple[Tensor, Tensor, list[bool]]:
        """Return a batch's loss, its own Hessian times all columns (n, k), and which parameters it uses."""
        loss = objective.value(batch)
        gradients = torch.autograd.grad(loss, list(parameters), create_graph=True, allow_unused=True)
        curved = [i for i, g in enumerate(gradients) if g is not None and g.requires_grad]
        used = [g is not None for g in gradients]
        if not curved:
            return loss.detach(), torch.zeros_like(columns), used
        products = []
        for column in range(columns.shape[1]):
            vectors = unflatten(columns[:, column], parameters)
            pieces = torch.autograd.grad(
                [gradients[i] for i in curved],
                list(parameters),
                [vectors[i] for i in curved],
                retain_graph=column + 1 < columns.shape[1],
                allow_unused=True,
            )
            products.append(
                flatten([torch.zeros_like(p) if h is None else h for h, p in zip(pieces, parameters, strict=True)])
            )
        return loss.detach(), torch.stack(products, dim=1).detach(), used
