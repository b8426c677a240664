"""The Hessian of the training loss."""

from typing import ClassVar

from probes.objective import Quantity
from probes.operators.base import CurvatureOperator
from probes.operators.ladder import Built
from probes.operators.pieces import Piece
from probes.operators.second_order import SECOND_ORDER

__all__ = ["HessianOperator"]


class HessianOperator(CurvatureOperator):
    r"""Hessian :math:`H = \nabla^2 L(\theta)` of the mean loss over all data; indefinite in general.

    A product is :math:`H v = \nabla (g(\theta)^T v)` with g the gradient (Pearlmutter 1994, section 2). The gradient's
    graph of a batch is built once and serves all columns. In floating-point operations a product with a kept graph
    costs twice a gradient.

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
    strategies = tuple(SECOND_ORDER)
    quantity: ClassVar[Quantity] = "loss"

    def build(self, piece: Piece, strategy: str) -> Built:
        """Make one micro-batch ready for products with the Hessian of its own mean loss."""
        return SECOND_ORDER[strategy](piece)
