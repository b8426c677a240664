"""Kullback-Leibler divergence from log-probabilities, the loss of distillation."""

from torch import Tensor, nn

from probes.losses.elementwise import ElementwiseLoss

__all__ = ["KullbackLeibler"]


class KullbackLeibler(ElementwiseLoss):
    """``nn.KLDivLoss``: linear in its input, the log-probabilities, so S = 0.

    ``"mean"`` divides by the number of elements, ``"batchmean"`` by that of samples. For curvature give logits to
    ``nn.CrossEntropyLoss`` with the probabilities as target: it differs by a constant.
    """

    function: nn.KLDivLoss
    is_convex = True

    def curvature(self, output: Tensor, target: Tensor) -> Tensor:
        """Return 0."""
        return output.new_zeros(())

    def _departure(self) -> str:
        return " (which compares with given distributions: for one of labels use nn.CrossEntropyLoss on logits)"
