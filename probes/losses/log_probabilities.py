"""Negative log-likelihood of outputs that are log-probabilities already."""

from typing import Any

import torch
from torch import Generator, Tensor, nn

from probes.losses.base import Loss
from probes.losses.cross_entropy import kept_weight
from probes.losses.softmax import block_product, class_axis, draw_labels
from spectra.errors import TaskError

__all__ = ["NegativeLogLikelihood"]


class NegativeLogLikelihood(Loss):
    r"""``nn.NLLLoss``: linear in its input, so S = 0, but with the denominator of cross-entropy.

    The Fisher matrix does not vanish: for log-probabilities z a score is :math:`-e_y`, so that F is diagonal,
    :math:`e^{z} / D` at kept positions, and the network in front turns it into the Fisher matrix of cross-entropy. That
    needs outputs that are log-probabilities, which is checked, and no class weights.
    """

    function: nn.NLLLoss
    is_convex = True
    has_closed_form = True

    @property
    def is_likelihood(self) -> bool:
        """Whether there are no class weights."""
        return self.function.weight is None

    def weight(self, output: Tensor | None, target: Any, size: int) -> float:
        """Return the sum of the class weights of the kept targets."""
        return 1.0 if self.reduction == "sum" else kept_weight(self.function, target)

    def sample_values(self, output: Tensor, target: Any) -> Tensor:
        """Return the sums over the positions of each sample, class weights applied, 0 where ignored."""
        terms = self._terms(output, target)
        return terms.flatten(1).sum(1) if terms.ndim > 1 else terms.reshape(-1)

    def hessian_product(self, output: Tensor, target: Any, vector: Tensor) -> Tensor:
        """Return zeros."""
        self._require_shape(output, vector)
        return torch.zeros_like(vector)

    def root_product(self, output: Tensor, target: Any, vector: Tensor) -> Tensor:
        """Return zeros."""
        return self.hessian_product(output, target, vector)

    def root_transposed_product(self, output: Tensor, target: Any, vector: Tensor) -> Tensor:
        """Return zeros."""
        return self.hessian_product(output, target, vector)

    def fisher_product(self, output: Tensor, target: Any, vector: Tensor) -> Tensor:
        """Return ``exp(z) u / D`` at every kept position."""
        self._require_likelihood(output, vector)
        self._require_log_probabilities(output)
        kept = self._kept(output, target)
        return output.detach().exp() * (kept / self._divisor(kept)) * vector

    def draw_scores(self, output: Tensor, target: Any, num: int, generator: Generator) -> Tensor:
        """Draw ``-e_y`` with y from exp(z), 0 where ignored."""
        self._require_likelihood(output)
        self._require_log_probabilities(output)
        axis = class_axis(output)
        classes = torch.arange(output.shape[axis], device=output.device).reshape(-1, *[1] * (-axis - 1))
        drawn = classes == draw_labels(output, num, generator).unsqueeze(axis)
        return torch.where(drawn, -self._kept(output, target), 0)

    def scores_product(self, output: Tensor, target: Any, scores: Tensor, vector: Tensor) -> Tensor:
        """Return the mean over draws of ``s (s'u) / D``, one block for every position."""
        self._require_likelihood(output, vector, scores)
        return block_product(scores, vector, class_axis(output)) / self._divisor(self._kept(output, target))

    def _kept(self, output: Tensor, target: Tensor) -> Tensor:
        """Return 1 at kept positions and 0 at others, with 1 at the axis of the classes."""
        return (target != self.function.ignore_index).to(output).unsqueeze(class_axis(output))

    def _divisor(self, kept: Tensor) -> Tensor | float:
        return 1.0 if self.reduction == "sum" else kept.sum()

    def _require_log_probabilities(self, output: Tensor) -> None:
        total = torch.logsumexp(output.detach(), class_axis(output))
        # Rounding of a log-softmax grows with its largest entry but stays far below half the digits.
        if bool((total.abs() > torch.finfo(output.dtype).eps ** 0.5).any()):
            raise TaskError(
                f"the Fisher matrix of the loss {self.name} needs outputs that are log-probabilities, the end of a "
                f"log_softmax over the classes; their exponentials sum to {float(total.exp().max()):.3g}. Give logits "
                "to nn.CrossEntropyLoss instead."
            )

    def _departure(self) -> str:
        return " with class weights"
