r"""Matrices of the form :math:`J^T W J`, J the derivative of the outputs or of the losses of the samples."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from probes.objective import Quantity
from probes.operators.base import CurvatureOperator
from probes.operators.linearization import LINEARIZATIONS, Linearization
from probes.operators.pieces import Piece
from spectra.errors import ArgumentError

__all__ = ["FactoredOperator", "Sandwich"]


@dataclass(frozen=True, eq=False)
class Sandwich:
    r"""One micro-batch of a matrix ``J' W J``.

    Attributes
    ----------
    loss : torch.Tensor
        The loss of the micro-batch, detached.
    linearization : Linearization
        Products with J and its transpose.
    middle : callable
        Tangents (k, \*outputs.shape) to cotangents of the same shape: products with W.
    """

    loss: Tensor
    linearization: Linearization
    middle: Callable[[Tensor], Tensor]

    @property
    def used(self) -> list[bool] | None:
        """Which parameters are depended on, if known."""
        return self.linearization.used

    def multiply(self, columns: Tensor) -> Tensor:
        """Return the product with columns (n, k)."""
        return self.linearization.pull(self.middle(self.linearization.push(columns)))


class FactoredOperator(CurvatureOperator):
    r"""A matrix :math:`\sum_n J_n^T W_n J_n`; see the subclasses.

    The products with J and its transpose come in several ways, see :mod:`probes.operators.linearization`.
    """

    strategies = tuple(LINEARIZATIONS)
    quantity: ClassVar[Quantity] = "outputs"

    def build(self, piece: Piece, strategy: str) -> Sandwich:
        """Make one micro-batch ready for products with the matrix of its own mean loss."""
        linearization = LINEARIZATIONS[strategy](piece, self.quantity)
        return Sandwich(
            self.loss_of(piece, linearization.outputs),
            linearization,
            self.middle(piece, linearization.outputs),
        )

    @property
    def is_semidefinite(self) -> bool:
        """Whether the matrix is known to be positive semidefinite."""
        return True

    @property
    def has_root(self) -> bool:
        """Whether :meth:`root` is known."""
        return False

    def root(self, piece: Piece, outputs: Tensor) -> Callable[[Tensor], Tensor]:
        r"""Return the product with L, where ``W = L L'``: (k, \*outputs.shape) to the same shape.

        Raises
        ------
        ArgumentError
            No real factor is known.
        """
        raise ArgumentError(
            f"the matrix {self.name!r} has no known real factor (its loss is not known to be convex in the outputs, or "
            "samples are coupled). Use products."
        )

    def loss_of(self, piece: Piece, outputs: Tensor) -> Tensor:
        """Return the loss of a micro-batch from its outputs."""
        return piece.objective.loss.value(outputs, piece.batch.target).detach()

    @abstractmethod
    def middle(self, piece: Piece, outputs: Tensor) -> Callable[[Tensor], Tensor]:
        r"""Return the product with W: tangents (k, \*outputs.shape) to cotangents of the same shape."""
