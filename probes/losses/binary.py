"""Losses of yes-or-no questions: the logistic loss for targets in [0, 1] and for labels -1 and 1."""

import torch
from torch import Generator, Tensor, nn

from probes.losses.draws import uniforms, widest
from probes.losses.elementwise import ElementwiseLoss

__all__ = ["BinaryCrossEntropy", "SoftMargin"]


class BinaryCrossEntropy(ElementwiseLoss):
    r"""``nn.BCEWithLogitsLoss``: S is diagonal, :math:`w (q y + 1 - y) \sigma(z) \sigma(-z) / (N C)`.

    w is ``weight``, q ``pos_weight``, y the target in [0, 1]. Without weights
    :math:`F = S = \sigma(z) \sigma(-z) / (N C)`, of Bernoulli targets; with them there is no likelihood.
    """

    function: nn.BCEWithLogitsLoss

    @property
    def is_convex(self) -> bool:
        """Whether no weight is negative (for targets in [0, 1])."""
        weights = (self.function.weight, self.function.pos_weight)
        return not any(bool((weight < 0).any()) for weight in weights if weight is not None)

    @property
    def is_likelihood(self) -> bool:
        """Whether there are no weights."""
        return self.function.weight is None and self.function.pos_weight is None

    def curvature(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the diagonal of the sum."""
        diagonal = _variance(output)
        if self.function.pos_weight is not None:
            target = target.to(output)
            diagonal = diagonal * (self.function.pos_weight.to(output) * target + 1 - target)
        return diagonal if self.function.weight is None else diagonal * self.function.weight.to(output)

    def information(self, output: Tensor) -> Tensor:
        """Return the variance of the Bernoulli targets."""
        return _variance(output)

    def drawn(self, output: Tensor, num: int, generator: Generator) -> Tensor:
        """Return ``sigma(z) - y`` for Bernoulli targets."""
        return _bernoulli_scores(output, num, generator)

    def _departure(self) -> str:
        return " with weight or pos_weight"


class SoftMargin(ElementwiseLoss):
    r"""``nn.SoftMarginLoss``: :math:`\log(1 + e^{-y z})`, :math:`S = y^2 \sigma(y z) \sigma(-y z) / (N C)`, diagonal.

    For its labels -1 and 1 this is :class:`BinaryCrossEntropy` in other words, so
    :math:`F = \sigma(z) \sigma(-z) / (N C)`.
    """

    function: nn.SoftMarginLoss
    is_convex = True
    is_likelihood = True

    def curvature(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the diagonal of the sum."""
        target = target.to(output)
        return target.square() * _variance(target * output)

    def information(self, output: Tensor) -> Tensor:
        """Return the variance of the Bernoulli labels."""
        return _variance(output)

    def drawn(self, output: Tensor, num: int, generator: Generator) -> Tensor:
        """Return ``-y sigma(-y z)`` for labels -1 and 1 drawn with probability ``sigma(y z)``."""
        return _bernoulli_scores(output, num, generator)


def _variance(logits: Tensor) -> Tensor:
    """Return p (1 - p), in a form that keeps its digits where p rounds to 1."""
    return torch.sigmoid(logits) * torch.sigmoid(-logits)


def _bernoulli_scores(logits: Tensor, num: int, generator: Generator) -> Tensor:
    """Draw p - y for 0-1 labels y of probability p."""
    positive = uniforms((num, *logits.shape), generator, logits) < torch.sigmoid(widest(logits, logits))
    return torch.where(positive, -torch.sigmoid(-logits), torch.sigmoid(logits))
