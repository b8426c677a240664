"""The generalized Gauss-Newton matrix, by double backward through the outputs."""

from collections.abc import Sequence

import torch
from torch import Tensor

from probes.batches import Batch
from probes.objective import Objective
from probes.operators.base import CurvatureOperator
from probes.parameters import flatten, unflatten
from spectra.errors import DerivativeError

__all__ = ["GaussNewtonOperator", "linearized", "tangents"]


class GaussNewtonOperator(CurvatureOperator):
    r"""Generalized Gauss-Newton matrix :math:`G = \sum_n J_n^T S_n J_n` of the mean loss over all data.

    :math:`J_n` is the Jacobian of the outputs for sample n and :math:`S_n` the Hessian of the mean loss with respect to
    those outputs (Schraudolph 2002, section 3). Positive semidefinite when the loss is convex in the outputs, and then
    equal to the Fisher matrix for cross-entropy. A product is :math:`u = J v`, :math:`w = S u`, :math:`J^T w`; J v is
    formed by differentiating :math:`u \mapsto J^T u`, which works for every layer that can be differentiated twice,
    and S by the closed form of the loss. Cost per batch: one gradient with graph, then about 1.3 gradients per column.

    See :class:`probes.operators.base.CurvatureOperator` for parameters, attributes and methods.

    Raises
    ------
    TaskError, NonFiniteError, NonDeterministicError, NotSymmetricError, DerivativeError
        On construction, from the self-check; the message names the likely cause.

    Examples
    --------
    For a model linear in its parameters it is the Hessian:

    >>> import torch
    >>> model = torch.nn.Linear(1, 1, bias=False)
    >>> x = torch.tensor([[1.0], [2.0], [3.0]])
    >>> operator = GaussNewtonOperator(model, torch.nn.MSELoss(), (x, x))
    >>> round(float(operator @ torch.ones(1)), 4)
    9.3333
    """

    name = "gauss_newton"

    @staticmethod
    def batch_products(
        objective: Objective, parameters: Sequence[Tensor], batch: Batch, columns: Tensor
    ) -> tuple[Tensor, Tensor, list[bool]]:
        """Return a batch's loss, its own matrix times all columns (n, k), and which parameters it uses."""
        outputs = objective.outputs(batch)
        loss = objective.loss.value(outputs.detach(), batch.target)
        probe, transposed = linearized(outputs, parameters)
        used = [t is not None for t in transposed]
        products = []
        for column in range(columns.shape[1]):
            tangent = tangents(probe, transposed, unflatten(columns[:, column], parameters))
            cotangent = objective.loss.hessian_product(outputs.detach(), batch.target, tangent)
            pieces = torch.autograd.grad(outputs, list(parameters), cotangent, retain_graph=True, allow_unused=True)
            products.append(
                flatten([torch.zeros_like(p) if g is None else g for g, p in zip(pieces, parameters, strict=True)])
            )
        return loss.detach(), torch.stack(products, dim=1), used


def linearized(outputs: Tensor, parameters: Sequence[Tensor]) -> tuple[Tensor, tuple[Tensor | None, ...]]:
    """Return a tensor u of the outputs' shape and :math:`J^T u` as a graph linear in u, one entry per parameter.

    Raises
    ------
    DerivativeError
        The outputs do not depend on the parameters.
    """
    if not outputs.requires_grad:
        raise DerivativeError(
            "the model's outputs do not depend on any trainable parameter: the graph is cut. Look for detach(), "
            "torch.no_grad(), .data or NumPy in forward or output=."
        )
    probe = torch.zeros_like(outputs, requires_grad=True)
    return probe, torch.autograd.grad(outputs, list(parameters), probe, create_graph=True, allow_unused=True)


def tangents(probe: Tensor, transposed: Sequence[Tensor | None], vectors: Sequence[Tensor]) -> Tensor:
    """Return :math:`J v`, shape of the outputs, from what :func:`linearized` gave; its graphs are kept."""
    kept = [(t, v) for t, v in zip(transposed, vectors, strict=True) if t is not None and t.requires_grad]
    if not kept:
        return torch.zeros_like(probe)
    (tangent,) = torch.autograd.grad(
        [t for t, _ in kept], probe, [v for _, v in kept], retain_graph=True, allow_unused=True
    )
    return torch.zeros_like(probe) if tangent is None else tangent.detach()
