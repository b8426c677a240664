r"""Fisher information matrices of the model's own distribution of targets, exactly and from drawn targets."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from probes.losses import BinaryCrossEntropy, CrossEntropy, LossLike, MeanSquaredError
from probes.operators.factored import FactoredOperator
from probes.operators.pieces import Piece
from spectra.errors import ArgumentError

__all__ = ["FisherOperator", "MonteCarloFisherOperator"]


class FisherOperator(FactoredOperator):
    r"""Fisher information matrix of the model's distribution (type 2), exact.

    .. math:: F = \frac{1}{D} \sum_n J_n^T \, E_{y \sim p(\cdot | z_n)}[s s^T] \, J_n, \quad
              s = \partial_z (-\log p(y | z))

    For losses that are the negative log-likelihood of a distribution: cross-entropy, binary cross-entropy with logits,
    squared error (a Gaussian), Poisson. Equal to the Gauss-Newton matrix for those without class weights (Martens 2020,
    section 9); targets enter only by what they exclude (``ignore_index``).

    See :class:`probes.operators.base.CurvatureOperator` for parameters, attributes and methods.

    Raises
    ------
    TaskError
        The loss is no negative log-likelihood: use :class:`probes.GaussNewtonOperator`.

    Examples
    --------
    >>> import torch
    >>> model = torch.nn.Linear(1, 1, bias=False)
    >>> x = torch.tensor([[1.0], [2.0], [3.0]])
    >>> round(float(FisherOperator(model, torch.nn.MSELoss(), (x, 0 * x)) @ torch.ones(1)), 4)
    9.3333
    """

    name = "fisher"

    def middle(self, piece: Piece, outputs: Tensor) -> Callable[[Tensor], Tensor]:
        """Return the product with the Fisher matrix of the distribution in output space."""
        loss, target = piece.objective.loss, piece.batch.target
        return lambda tangents: loss.fisher_product(outputs, target, tangents)

    @property
    def has_root(self) -> bool:
        """Whether the Fisher matrix in output space is the output Hessian, whose factor is known."""
        return isinstance(self.objective.loss, CrossEntropy | MeanSquaredError | BinaryCrossEntropy)

    def root(self, piece: Piece, outputs: Tensor) -> Callable[[Tensor], Tensor]:
        """Return the product with L, where the Fisher matrix in output space is ``L L'``."""
        if not self.has_root:
            return super().root(piece, outputs)
        loss, target = piece.objective.loss, piece.batch.target
        return lambda weights: loss.root_transposed_product(outputs, target, weights)


class MonteCarloFisherOperator(FactoredOperator):
    r"""Fisher information matrix from targets drawn from the model's distribution.

    .. math:: \hat F = \frac{1}{D K} \sum_n \sum_{k=1}^{K} J_n^T s_{nk} s_{nk}^T J_n, \quad y_{nk} \sim p(\cdot | z_n)

    Unbiased for :class:`FisherOperator`. Draws are independent between positions and, for losses that treat outputs one
    by one, between outputs; products of different positions, which vanish on average, are left out. The draws depend on
    the seed ``rng``, the number of the batch and the outputs only, so that the operator is the same at every product;
    they do depend on how the data are cut into batches.

    Parameters
    ----------
    num_draws : int
        Targets K drawn for each sample.
    **options
        As for :class:`probes.operators.base.CurvatureOperator`; ``rng`` seeds the draws as well.

    Raises
    ------
    TaskError
        The loss is no negative log-likelihood.
    """

    name = "monte_carlo_fisher"
    num_draws: int = 1
    seed: int = 0

    def __init__(self, model: nn.Module, loss: LossLike, data: Any, *, num_draws: int = 1, **options: Any) -> None:
        if num_draws < 1:
            raise ArgumentError(f"num_draws must be at least 1; got {num_draws}.")
        self.num_draws, self.seed = num_draws, int(options.get("rng", 0))
        super().__init__(model, loss, data, **options)

    def middle(self, piece: Piece, outputs: Tensor) -> Callable[[Tensor], Tensor]:
        """Return the product with the mean of the scores' outer products."""
        loss, target = piece.objective.loss, piece.batch.target
        generator = torch.Generator().manual_seed(int(np.random.default_rng([self.seed, piece.index]).integers(2**62)))
        scores = loss.draw_scores(outputs, target, self.num_draws, generator)
        return lambda tangents: loss.scores_product(outputs, target, scores, tangents)
