r"""Matrices of the gradients of single samples: the empirical Fisher matrix and the covariance of gradients.

With the mean loss :math:`L = \frac1D \sum_n \ell_n` of N samples, the gradient of sample n is
:math:`g_n = \frac{N}{D} \nabla \ell_n`, so that their mean is the gradient of L. (D is N unless the loss divides by
something else, such as the number of tokens that are not ignored.)
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from probes.batches import Batch
from probes.losses import LossLike
from probes.objective import Quantity
from probes.operators.factored import FactoredOperator, Sandwich
from probes.operators.pieces import Piece
from spectra.errors import ArgumentError

__all__ = ["EmpiricalFisherOperator", "GradientCovarianceOperator"]


class EmpiricalFisherOperator(FactoredOperator):
    r"""Uncentered second moment :math:`E = \frac1N \sum_n g_n g_n^T` of the gradients of the samples.

    Also called the empirical Fisher matrix; it is no Fisher matrix unless the model fits the targets' distribution
    (Kunstner, Balles and Hennig 2019, section 3). For ``reduction="sum"`` it is the sum over samples. A product is one
    with the Jacobian of the vector of the samples' losses and one with its transpose.

    See :class:`probes.operators.base.CurvatureOperator` for parameters, attributes and methods.

    Raises
    ------
    TaskError
        The loss does not split into samples (a contrastive loss, say).

    Examples
    --------
    >>> import torch
    >>> model = torch.nn.Linear(1, 1, bias=False)
    >>> torch.nn.init.zeros_(model.weight)
    Parameter containing:
    tensor([[0.]], requires_grad=True)
    >>> x = torch.tensor([[1.0], [2.0]])
    >>> float(EmpiricalFisherOperator(model, torch.nn.MSELoss(), (x, x)) @ torch.ones(1))  # (2^2 + 8^2) / 2
    34.0
    """

    name = "empirical_fisher"
    quantity: ClassVar[Quantity] = "sample_values"

    def loss_of(self, piece: Piece, outputs: Tensor) -> Tensor:
        """Return the mean loss of a micro-batch from the losses of its samples."""
        return outputs.sum() / piece.objective.weight(piece.batch)

    def middle(self, piece: Piece, outputs: Tensor) -> Callable[[Tensor], Tensor]:
        """Return the product with a multiple of the identity."""
        factor = self._factor(len(outputs), piece.objective.weight(piece.batch))
        return lambda tangents: factor * tangents

    @property
    def has_root(self) -> bool:
        """Yes."""
        return True

    def root(self, piece: Piece, outputs: Tensor) -> Callable[[Tensor], Tensor]:
        """Return the product with the root of that multiple."""
        factor = self._factor(len(outputs), piece.objective.weight(piece.batch)) ** 0.5
        return lambda weights: factor * weights

    def share(self, index: int) -> float:
        """Return the factor of a batch's own matrix in the matrix of all data."""
        total = self._factor(self.num_samples, sum(self.workload.weights))
        return total / self._factor(self.batches.sizes[index], self.workload.weights[index])

    def _factor(self, num_samples: int, weight: float) -> float:
        """Return what the sum of ``grad l_n grad l_n'`` is multiplied by."""
        return 1.0 if self.objective.reduction == "sum" else num_samples / weight**2


class GradientCovarianceOperator(EmpiricalFisherOperator):
    r"""Covariance :math:`\Sigma = \frac{1}{N - \delta} \sum_n (g_n - \bar g)(g_n - \bar g)^T` of samples' gradients.

    Centered without cancellation: within each batch, and between the means of batches by the update of Chan, Golub and
    LeVeque (1983, equation 1.5). The covariance of the gradient of a batch of B samples is :math:`\Sigma / B`. For
    ``reduction="sum"`` it is the sum over samples.

    Parameters
    ----------
    ddof : int
        :math:`\delta`: 0 for the matrix :math:`E - \bar g \bar g^T`, 1 for the unbiased estimate.
    **options
        As for :class:`probes.operators.base.CurvatureOperator`.

    Raises
    ------
    TaskError
        The loss does not split into samples.
    ArgumentError
        No more samples than ``ddof``.
    """

    name = "gradient_covariance"
    ddof: int = 0

    def __init__(self, model: nn.Module, loss: LossLike, data: Any, *, ddof: int = 0, **options: Any) -> None:
        self.ddof = ddof
        super().__init__(model, loss, data, **options)
        if not 0 <= ddof < self.num_samples:
            raise ArgumentError(f"ddof must be less than the number of samples, {self.num_samples}; got {ddof}.")

    def middle(self, piece: Piece, outputs: Tensor) -> Callable[[Tensor], Tensor]:
        """Return the product with a multiple of the projection on what has mean zero."""
        factor = self._factor(len(outputs), piece.objective.weight(piece.batch))

        def centered(tangents: Tensor) -> Tensor:
            # Twice: what rounding leaves of the mean would be multiplied by a mean gradient that may be large.
            once = tangents - tangents.mean(dim=-1, keepdim=True)
            return factor * (once - once.mean(dim=-1, keepdim=True))

        return centered

    @property
    def has_root(self) -> bool:
        """No: the mean runs over all batches."""
        return False

    def root(self, piece: Piece, outputs: Tensor) -> Callable[[Tensor], Tensor]:
        """Raise, for a batch alone does not know the mean."""
        return FactoredOperator.root(self, piece, outputs)

    def _total(self, columns: Tensor) -> Tensor:
        count, total = self.num_samples, torch.zeros_like(columns)
        moments = _Moments(columns)
        for index, batch in self.workload.counted():
            mean, tangent, product = self._centered(index, batch, columns)
            total += self.share(index) * product
            moments.add(batch.size, mean, tangent)
        ignored = count - moments.count
        if ignored:
            moments.add(ignored, torch.zeros_like(self.like), columns.new_zeros(columns.shape[1]))
        self.workload.warn_unused()
        total += self._factor(count, sum(self.workload.weights)) * moments.between
        return total * (count / (count - self.ddof))

    def _centered(self, index: int, batch: Batch, columns: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the mean of the samples' derivatives (n,), its products with the columns (k,), and the product."""
        with self.workload.evaluating(index, batch):
            built, products = self._built(index, batch, columns)
            assert isinstance(built, Sandwich)
            outputs = built.linearization.outputs
            mean = built.linearization.pull(torch.full_like(outputs, 1 / len(outputs))[None])[:, 0]
            blocks = columns.split(self.block_width, dim=1)
            products += [built.multiply(block) for block in blocks[len(products) :]]
        return mean, mean @ columns, torch.cat(products, dim=1)


@dataclass
class _Moments:
    """The scatter between means of groups, ``sum_j N_j (m_j - m)(m_j - m)' V``, one group after the other."""

    columns: Tensor

    def __post_init__(self) -> None:
        self.count = 0
        self.mean = torch.zeros_like(self.columns[:, 0])
        self.tangent = torch.zeros_like(self.columns[0])
        self.between = torch.zeros_like(self.columns)

    def add(self, size: int, mean: Tensor, tangent: Tensor) -> None:
        """Add a group of so many samples, its mean (n,) and the mean's products with the columns (k,)."""
        step, gain = mean - self.mean, tangent - self.tangent
        after = self.count + size
        self.between += (self.count * size / after) * torch.outer(step, gain)
        self.mean, self.tangent, self.count = (
            self.mean + step * (size / after),
            self.tangent + gain * (size / after),
            after,
        )
