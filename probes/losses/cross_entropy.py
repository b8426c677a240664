"""Cross-entropy of a softmax, the loss of classification and of language models."""

from typing import Any

import torch
from torch import Generator, Tensor, nn

from probes.losses.base import Loss
from probes.losses.softmax import SoftmaxCovariance, block_product, class_axis, draw_labels

__all__ = ["CrossEntropy", "kept_weight"]


class CrossEntropy(Loss):
    r"""``nn.CrossEntropyLoss`` with class indices or probabilities, weights, ``ignore_index`` and label smoothing.

    With :math:`p = \mathrm{softmax}(z)` at one position, :math:`S = (s/D) (\mathrm{diag}(p) - p p^T)`, where for class
    indices :math:`s = (1 - \epsilon) w_y + (\epsilon / C) \sum_c w_c` (0 where ignored) and :math:`D = \sum w_y` over
    kept positions; for probabilities t, :math:`s = \sum_c w_c ((1 - \epsilon) t_c + \epsilon / C)` and D counts
    positions. The Fisher matrix is :math:`(1/D) (\mathrm{diag}(p) - p p^T)` at kept positions: the output Hessian for
    class indices and for probabilities that sum to one. Class weights leave no likelihood. Outputs ``(C,)``,
    ``(N, C)`` or ``(N, C, ...)``.
    """

    function: nn.CrossEntropyLoss
    has_closed_form = True

    @property
    def is_convex(self) -> bool:
        """Whether no class weight is negative (for probabilities, if none of them is)."""
        return self.function.weight is None or not bool((self.function.weight < 0).any())

    @property
    def is_likelihood(self) -> bool:
        """Whether there are no class weights."""
        return self.function.weight is None

    def weight(self, output: Tensor | None, target: Any, size: int) -> float:
        """Return D: the weight of kept positions for class indices, the number of positions for probabilities."""
        if self.reduction == "sum":
            return 1.0
        if target.is_floating_point():
            return float(target.numel() // target.shape[1 if target.ndim > 1 else 0])
        return kept_weight(self.function, target)

    def sample_values(self, output: Tensor, target: Any) -> Tensor:
        """Return the sums over the positions of each sample, class weights applied, 0 where ignored."""
        terms = self._terms(output, target)
        return terms.flatten(1).sum(1) if terms.ndim > 1 else terms.reshape(-1)

    def hessian_product(self, output: Tensor, target: Any, vector: Tensor) -> Tensor:
        """Return ``(s/D) (p * u - p (p'u))`` at every position, without forming a C x C matrix."""
        self._require_shape(output, vector)
        return SoftmaxCovariance.of(output, self._scale(output.detach(), target)).product(vector)

    def root_product(self, output: Tensor, target: Any, vector: Tensor) -> Tensor:
        r"""Return L'u with :math:`L = \sqrt{s/D}\, (\mathrm{diag}(\sqrt p) - p \sqrt{p}^T)` at every position."""
        return self._factored(output, target, vector).root_product(vector)

    def root_transposed_product(self, output: Tensor, target: Any, vector: Tensor) -> Tensor:
        """Return L w."""
        return self._factored(output, target, vector).root_transposed_product(vector)

    def fisher_product(self, output: Tensor, target: Any, vector: Tensor) -> Tensor:
        """Return ``(1/D) (p * u - p (p'u))`` at every kept position."""
        self._require_likelihood(output, vector)
        kept = self._kept(output, target).to(output)
        return SoftmaxCovariance.of(output, kept / self._divisor(kept)).product(vector)

    def draw_scores(self, output: Tensor, target: Any, num: int, generator: Generator) -> Tensor:
        """Draw ``p - e_y`` with y from p, 0 where ignored."""
        self._require_likelihood(output)
        axis = class_axis(output)
        p = torch.softmax(output.detach(), axis)
        classes = torch.arange(p.shape[axis], device=p.device).reshape(-1, *[1] * (-axis - 1))
        drawn = classes == draw_labels(output, num, generator).unsqueeze(axis)
        # p_y - 1 as minus the other probabilities: exact where p_y rounds to 1.
        others = torch.where(drawn, 0, p)
        scores = torch.where(drawn, -others.sum(axis, keepdim=True), others)
        return torch.where(self._kept(output, target).unsqueeze(axis), scores, 0)

    def scores_product(self, output: Tensor, target: Any, scores: Tensor, vector: Tensor) -> Tensor:
        """Return the mean over draws of ``s (s'u) / D``, one C x C block for every position."""
        self._require_likelihood(output, vector, scores)
        kept = self._kept(output, target).to(output)
        return block_product(scores, vector, class_axis(output)) / self._divisor(kept)

    def _scale(self, output: Tensor, target: Tensor) -> Tensor:
        """Return s/D at every position."""
        axis, smoothing = class_axis(output), self.function.label_smoothing
        classes, weights = output.shape[axis], self.function.weight
        weights = output.new_ones(classes) if weights is None else weights.to(output)
        if target.is_floating_point():
            smoothed = (1 - smoothing) * target.to(output) + smoothing / classes
            scale = (smoothed * weights.reshape(-1, *[1] * (-axis - 1))).sum(axis)
            return scale / self._divisor(torch.ones_like(scale))
        kept = target != self.function.ignore_index
        own = torch.where(kept, weights[torch.where(kept, target, 0).long()], 0)
        scale = torch.where(kept, (1 - smoothing) * own + smoothing * weights.sum() / classes, 0)
        return scale / self._divisor(own)

    def _divisor(self, weights: Tensor) -> Tensor | float:
        """Return D, given the weight of every position."""
        return 1.0 if self.reduction == "sum" else weights.sum()

    def _kept(self, output: Tensor, target: Tensor) -> Tensor:
        """Return which positions count."""
        if target.is_floating_point():
            return torch.ones_like(output.select(class_axis(output), 0), dtype=torch.bool)
        return target != self.function.ignore_index

    def _factored(self, output: Tensor, target: Any, vector: Tensor) -> SoftmaxCovariance:
        self._require_shape(output, vector)
        scale = self._scale(output.detach(), target)
        if bool((scale < 0).any()):
            raise self._no_root()
        return SoftmaxCovariance.of(output, scale)

    def _departure(self) -> str:
        return " with class weights"


def kept_weight(module: nn.CrossEntropyLoss | nn.NLLLoss, target: Tensor) -> float:
    """Return the sum of class weights over the targets that are not ignored."""
    kept = target[target != module.ignore_index]
    if module.weight is None:
        return float(kept.numel())
    return float(module.weight.to(target.device, torch.float64)[kept.long()].sum())
