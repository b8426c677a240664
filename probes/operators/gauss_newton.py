"""The generalized Gauss-Newton matrix."""

from collections.abc import Callable

from torch import Tensor

from probes.operators.factored import FactoredOperator
from probes.operators.pieces import Piece

__all__ = ["GaussNewtonOperator"]


class GaussNewtonOperator(FactoredOperator):
    r"""Generalized Gauss-Newton matrix :math:`G = \sum_n J_n^T S_n J_n` of the mean loss over all data.

    :math:`J_n` is the Jacobian of the outputs for sample n and :math:`S_n` the Hessian of the mean loss with respect to
    those outputs (Schraudolph 2002, section 3). Positive semidefinite when the loss is convex in the outputs, and then
    equal to the Fisher matrix for cross-entropy. A product is :math:`u = J v`, :math:`w = S u`, :math:`J^T w`, with
    S by the closed form of the loss where it has one, else by differentiating the loss alone twice. In floating-point
    operations a product with a kept graph costs 4/3 of a gradient.

    See :class:`probes.operators.base.CurvatureOperator` for parameters, attributes and methods, and
    :mod:`probes.operators.dual` for the exact spectrum where outputs are few.

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

    @property
    def is_semidefinite(self) -> bool:
        """Whether the loss is known to be convex in the outputs."""
        return self.objective.loss.is_convex

    def middle(self, piece: Piece, outputs: Tensor) -> Callable[[Tensor], Tensor]:
        """Return the product with the output Hessian of the micro-batch's mean loss."""
        loss, target = piece.objective.loss, piece.batch.target
        return lambda tangents: loss.hessian_product(outputs, target, tangents)

    @property
    def has_root(self) -> bool:
        """Whether the loss is convex in closed form."""
        return self.objective.loss.is_convex and self.objective.loss.has_closed_form

    def root(self, piece: Piece, outputs: Tensor) -> Callable[[Tensor], Tensor]:
        """Return the product with L, where the output Hessian is ``L L'``."""
        loss, target = piece.objective.loss, piece.batch.target
        return lambda weights: loss.root_transposed_product(outputs, target, weights)
