"""Losses that are a sum or mean of a function of each output element, so that their output Hessian is diagonal."""

from abc import abstractmethod
from typing import Any

from torch import Generator, Tensor, nn

from probes.losses.base import Loss, LossLike
from spectra.errors import TaskError

__all__ = ["ElementwiseLoss"]


class ElementwiseLoss(Loss):
    r""":math:`L = (1/D) \sum_i f(z_i, y_i)` over all elements, D their number for means and 1 for sums.

    :math:`S = \mathrm{diag}(f'') / D`, its factor is the square root, and the Fisher matrix is
    :math:`\mathrm{diag}(E f'') / D`. A subclass gives :math:`f''` and, where f is a negative log-likelihood, its
    expectation and draws of :math:`f'`. Target shapes that would broadcast are refused.
    """

    function: nn.Module
    has_closed_form = True

    @abstractmethod
    def curvature(self, output: Tensor, target: Tensor) -> Tensor:
        """Return :math:`f''` of every element, in the outputs' dtype; a shape that broadcasts to theirs."""

    def information(self, output: Tensor) -> Tensor:
        """Return the expectation of :math:`f''` over targets drawn from the model, as :meth:`curvature` does."""
        raise self._no_likelihood()

    def drawn(self, output: Tensor, num: int, generator: Generator) -> Tensor:
        """Return :math:`f'` for targets drawn from the model, shape ``(num, *output.shape)``."""
        raise self._no_likelihood()

    def sample_values(self, output: Tensor, target: Any) -> Tensor:
        """Return the mean over the elements of each sample, for sums and ``"batchmean"`` their sum."""
        terms = self._terms(output, target)
        terms = terms.flatten(1) if terms.ndim > 1 else terms.reshape(-1, 1)
        return terms.mean(1) if self.function.reduction == "mean" else terms.sum(1)

    def hessian_product(self, output: Tensor, target: Any, vector: Tensor) -> Tensor:
        r"""Return :math:`f'' u / D`."""
        self._require_shape(output, vector)
        return self.curvature(output.detach(), target) * vector / self._divisor(output)

    def root_product(self, output: Tensor, target: Any, vector: Tensor) -> Tensor:
        r"""Return :math:`\sqrt{f'' / D}\, u`."""
        self._require_shape(output, vector)
        diagonal = self.curvature(output.detach(), target) / self._divisor(output)
        if bool((diagonal < 0).any()):
            raise self._no_root()
        return diagonal.sqrt() * vector

    def root_transposed_product(self, output: Tensor, target: Any, vector: Tensor) -> Tensor:
        """Return the same as :meth:`root_product`: the factor is diagonal."""
        return self.root_product(output, target, vector)

    def fisher_product(self, output: Tensor, target: Any, vector: Tensor) -> Tensor:
        r"""Return :math:`E[f''] u / D`."""
        self._require_likelihood(output, vector)
        return self.information(output.detach()) * vector / self._divisor(output)

    def draw_scores(self, output: Tensor, target: Any, num: int, generator: Generator) -> Tensor:
        """Draw :math:`f'`, independent for every element."""
        self._require_likelihood(output)
        return self.drawn(output.detach(), num, generator)

    def scores_product(self, output: Tensor, target: Any, scores: Tensor, vector: Tensor) -> Tensor:
        """Return the mean over draws of ``s**2``, times u / D."""
        self._require_likelihood(output, vector, scores)
        return scores.square().mean(0) * vector / self._divisor(output)

    def _divisor(self, output: Tensor) -> int:
        """Return D."""
        if self.reduction == "sum":
            return 1
        return output.shape[0] if self.function.reduction == "batchmean" else output.numel()

    def _evaluate(self, function: LossLike, output: Tensor, target: Any) -> Any:
        if isinstance(target, Tensor) and target.shape != output.shape:
            raise TaskError(
                f"the loss {self.name} needs a target of the outputs' shape {tuple(output.shape)}; got "
                f"{tuple(target.shape)}, which would be broadcast to pairs of unrelated samples. Reshape one of them."
            )
        return super()._evaluate(function, output, target)
