"""What the Gauss-Newton matrix leaves out of the Hessian."""

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from probes.objective import Quantity
from probes.operators.base import CurvatureOperator
from probes.operators.factored import Sandwich
from probes.operators.gauss_newton import GaussNewtonOperator
from probes.operators.hessian import HessianOperator
from probes.operators.ladder import Built
from probes.operators.linearization import LINEARIZATIONS
from probes.operators.pieces import Piece
from probes.operators.second_order import SECOND_ORDER

__all__ = ["ResidualOperator"]


class ResidualOperator(CurvatureOperator):
    r"""Hessian minus Gauss-Newton matrix, :math:`H - G = \sum_n \sum_c \partial_{z_c} \ell_n \, \nabla^2 z_c`.

    It vanishes where the outputs are linear in the parameters or fit the targets exactly (Sagun et al. 2018, section
    3). Both products are formed on the same batch; the difference loses as many digits as they share.

    See :class:`probes.operators.base.CurvatureOperator` for parameters, attributes and methods.

    Examples
    --------
    >>> import torch
    >>> x = torch.tensor([[1.0], [2.0]])
    >>> operator = ResidualOperator(torch.nn.Linear(1, 1), torch.nn.MSELoss(), (x, x))
    >>> bool((operator @ torch.ones(2)).abs().max() < 1e-5)
    True
    """

    name = "residual"
    strategies = ("kept_graph", "vmap_reverse", "rebuilt_graph")
    quantity: ClassVar[Quantity] = "loss"

    def self_check(self, *, rng: int = 0) -> dict[str, Any]:
        """Check both matrices, each against differences of its own."""
        return {kind.name: self.sibling(kind).self_check(rng=rng) for kind in (HessianOperator, GaussNewtonOperator)}

    def build(self, piece: Piece, strategy: str) -> Built:
        """Make one micro-batch ready for both products."""
        outer = LINEARIZATIONS[strategy](piece, "outputs")
        loss, target = piece.objective.loss, piece.batch.target
        hessian = SECOND_ORDER[strategy](piece)
        return _Difference(
            hessian, Sandwich(hessian.loss, outer, lambda u: loss.hessian_product(outer.outputs, target, u))
        )


@dataclass(frozen=True, eq=False)
class _Difference:
    """Two products, one minus the other."""

    first: Built
    second: Built

    @property
    def loss(self) -> Tensor:
        return self.first.loss

    @property
    def used(self) -> list[bool] | None:
        return self.first.used

    def multiply(self, columns: Tensor) -> Tensor:
        return self.first.multiply(columns) - self.second.multiply(columns)
