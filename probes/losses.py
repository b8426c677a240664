r"""Losses, the denominators of their means, and their Hessians with respect to the model's outputs.

A loss over several batches is :math:`L = \sum_j D_j L_j / \sum_j D_j`: each batch mean :math:`L_j` counts by what its
mean divides by. For cross-entropy that is the sum of the class weights of the kept targets, not the number of samples.
"""

import copy
import functools
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from spectra.errors import SpectraError, TaskError

__all__ = ["Loss", "read_loss"]

#: ``(output, target) -> scalar``, a ``torch.nn`` loss or any callable.
LossLike = Callable[[Any, Any], Tensor]


class Loss(ABC):
    """A loss read from the user's: its value on a batch, its denominator and its output Hessian.

    Attributes
    ----------
    name : str
        For messages and records.
    reduction : {"mean", "sum"}
        For ``"sum"`` the operator is of the sum over all data, nothing is divided.
    is_convex : bool
        Whether the output Hessian is known to be positive semidefinite.
    has_closed_form : bool
        Whether ``hessian_product`` uses a formula rather than automatic differentiation.
    """

    is_convex = False
    has_closed_form = False

    def __init__(self, function: LossLike, *, name: str, reduction: Literal["mean", "sum"] = "mean") -> None:
        self.function = function
        self.name = name
        self.reduction = reduction

    def value(self, output: Tensor, target: Any) -> Tensor:
        """Return the user's loss of a batch, a tensor without axes.

        Raises
        ------
        TaskError
            The loss cannot be evaluated or is not one number.
        """
        try:
            value = self.function(output, target)
        except (SpectraError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            shape = tuple(target.shape) if isinstance(target, Tensor) else type(target).__name__
            raise TaskError(
                f"the loss {self.name} failed on outputs of shape {tuple(output.shape)} {output.dtype} and target "
                f"{shape}: {type(error).__name__}: {error}"
            ) from error
        if not isinstance(value, Tensor) or value.numel() != 1:
            came = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            raise TaskError(
                f"the loss {self.name} must return one number as a tensor, the mean over the samples of a batch; got "
                f"{came}."
            )
        return value.reshape(())

    def weight(self, output: Tensor | None, target: Any, size: int) -> float:
        """Return :math:`D_j`, by which the mean of a batch of ``size`` samples counts (1 for sums).

        ``output`` is not needed by any loss so far and may be ``None``.
        """
        return 1.0 if self.reduction == "sum" else float(size)

    @abstractmethod
    def hessian_product(self, output: Tensor, target: Any, vector: Tensor) -> Tensor:
        """Return the Hessian of ``value`` with respect to the outputs, times a tensor of the outputs' shape."""

    def to(self, dtype: torch.dtype) -> "Loss":
        """Return a copy whose own floating-point tensors (class weights, say) have ``dtype``."""
        other = copy.copy(self)
        if isinstance(self.function, nn.Module):
            other.function = copy.deepcopy(self.function).to(dtype)
        return other


class DifferentiatedLoss(Loss):
    """Any loss: its output Hessian by differentiating twice, with the network left out (cost: two small passes)."""

    def hessian_product(self, output: Tensor, target: Any, vector: Tensor) -> Tensor:
        """Return the product by double backward through the loss alone."""
        with torch.enable_grad():
            leaf = output.detach().requires_grad_()
            value = self.value(leaf, target)
            if not value.requires_grad:
                return torch.zeros_like(vector)
            (first,) = torch.autograd.grad(value, leaf, create_graph=True, allow_unused=True)
            if first is None or not first.requires_grad:
                return torch.zeros_like(vector)
            (second,) = torch.autograd.grad(first, leaf, vector, allow_unused=True)
        return torch.zeros_like(vector) if second is None else second


class NegativeLogLikelihood(DifferentiatedLoss):
    """``nn.NLLLoss``: linear in its input, but with the denominator of cross-entropy."""

    function: nn.NLLLoss

    def weight(self, output: Tensor | None, target: Any, size: int) -> float:
        """Return the sum of the class weights of the kept targets."""
        return 1.0 if self.reduction == "sum" else _kept_weight(self.function, target)


class CrossEntropy(Loss):
    r"""``nn.CrossEntropyLoss`` with class indices or probabilities, weights, ``ignore_index`` and label smoothing.

    With :math:`p = \mathrm{softmax}(z)` at one position, :math:`S = (s/D) (\mathrm{diag}(p) - p p^T)`, where for class
    indices :math:`s = (1 - \epsilon) w_y + (\epsilon / C) \sum_c w_c` (0 where ignored) and :math:`D = \sum w_y` over
    kept positions; for probabilities t, :math:`s = \sum_c w_c ((1 - \epsilon) t_c + \epsilon / C)` and D counts
    positions.
    """

    function: nn.CrossEntropyLoss
    is_convex = True
    has_closed_form = True

    def weight(self, output: Tensor | None, target: Any, size: int) -> float:
        """Return D: the weight of kept positions for class indices, the number of positions for probabilities."""
        if self.reduction == "sum":
            return 1.0
        if target.is_floating_point():
            return float(target.numel() // target.shape[1 if target.ndim > 1 else 0])
        return _kept_weight(self.function, target)

    def hessian_product(self, output: Tensor, target: Any, vector: Tensor) -> Tensor:
        """Return ``(s/D) (p * u - p (p'u))`` at every position, without forming a C x C matrix."""
        axis = 1 if output.ndim > 1 else 0
        p = torch.softmax(output.detach(), axis)
        scale = self._scale(output.detach(), target, axis)
        pu = p * vector
        return scale.unsqueeze(axis) * (pu - p * pu.sum(axis, keepdim=True))

    def _scale(self, output: Tensor, target: Tensor, axis: int) -> Tensor:
        """Return s/D at every position."""
        smoothing, classes = self.function.label_smoothing, output.shape[axis]
        weights = self.function.weight
        weights = output.new_ones(classes) if weights is None else weights.to(output)
        if target.is_floating_point():
            smoothed = (1 - smoothing) * target.to(output) + smoothing / classes
            shape = [1] * output.ndim
            shape[axis] = classes
            scale = (smoothed * weights.reshape(shape)).sum(axis)
            return scale if self.reduction == "sum" else scale / scale.numel()
        kept = target != self.function.ignore_index
        own = torch.where(kept, weights[torch.where(kept, target, 0)], 0)
        scale = torch.where(kept, (1 - smoothing) * own + smoothing * weights.sum() / classes, 0)
        return scale if self.reduction == "sum" else scale / own.sum()


class MeanSquaredError(Loss):
    r"""``nn.MSELoss``, which divides by the number of elements: :math:`S = 2 / (N C) \cdot I`."""

    is_convex = True
    has_closed_form = True

    def value(self, output: Tensor, target: Any) -> Tensor:
        """Return the loss; shapes that would broadcast are refused."""
        if isinstance(target, Tensor) and target.shape != output.shape:
            raise TaskError(
                f"the loss {self.name} needs a target of the outputs' shape {tuple(output.shape)}; got "
                f"{tuple(target.shape)}, which would be broadcast to pairs of unrelated samples. Reshape one of them."
            )
        return super().value(output, target)

    def hessian_product(self, output: Tensor, target: Any, vector: Tensor) -> Tensor:
        """Return ``2 u / (N C)``, or ``2 u`` for sums."""
        return 2 * vector if self.reduction == "sum" else 2 * vector / output.numel()


class BinaryCrossEntropy(Loss):
    r"""``nn.BCEWithLogitsLoss``: S is diagonal, :math:`w (q y + 1 - y) \sigma(z) (1 - \sigma(z)) / (N C)`."""

    function: nn.BCEWithLogitsLoss
    is_convex = True
    has_closed_form = True

    def hessian_product(self, output: Tensor, target: Any, vector: Tensor) -> Tensor:
        """Return the diagonal times u."""
        sigma = torch.sigmoid(output.detach())
        diagonal = sigma * (1 - sigma)
        if self.function.pos_weight is not None:
            diagonal = diagonal * (self.function.pos_weight.to(output) * target + 1 - target)
        if self.function.weight is not None:
            diagonal = diagonal * self.function.weight.to(output)
        return diagonal * vector if self.reduction == "sum" else diagonal * vector / output.numel()


_CLOSED: dict[type[nn.Module], type[Loss]] = {
    nn.CrossEntropyLoss: CrossEntropy,
    nn.MSELoss: MeanSquaredError,
    nn.BCEWithLogitsLoss: BinaryCrossEntropy,
    nn.NLLLoss: NegativeLogLikelihood,
}
_FUNCTIONS: dict[Any, type[nn.Module]] = {
    nn.functional.cross_entropy: nn.CrossEntropyLoss,
    nn.functional.mse_loss: nn.MSELoss,
    nn.functional.binary_cross_entropy_with_logits: nn.BCEWithLogitsLoss,
    nn.functional.nll_loss: nn.NLLLoss,
}


def read_loss(loss: LossLike) -> Loss:
    """Read a loss: a ``torch.nn`` loss, a function of ``torch.nn.functional`` or any callable.

    Parameters
    ----------
    loss : callable
        ``(output, target) -> scalar``. A callable that is not known by name must be the mean over the samples of the
        batch; batches count by their number of samples. ``functools.partial`` of the four known functions
        (``cross_entropy``, ``mse_loss``, ``binary_cross_entropy_with_logits``, ``nll_loss``) is understood.

    Returns
    -------
    Loss
        ``value``, ``weight``, ``hessian_product``, ``reduction``.

    Raises
    ------
    TaskError
        Not callable, or ``reduction="none"``.

    Examples
    --------
    >>> import torch
    >>> loss = read_loss(torch.nn.CrossEntropyLoss(ignore_index=-1))
    >>> loss.weight(None, torch.tensor([0, 2, -1, 1]), 4)
    3.0
    """
    if isinstance(loss, Loss):
        return loss
    if not callable(loss):
        raise TaskError(f"loss must be a torch.nn loss or a callable (output, target) -> mean; got {loss!r}.")
    module: Any = loss
    for function, kind_of_module in _FUNCTIONS.items():
        if loss is function:
            module = kind_of_module()
        elif isinstance(loss, functools.partial) and loss.func is function and not loss.args:
            module = kind_of_module(**loss.keywords)
    name = getattr(loss, "__name__", type(loss).__name__)
    reduction = getattr(module, "reduction", "mean")
    if reduction == "none":
        raise TaskError(f"the loss {name} has reduction='none'; curvature needs one number: 'mean' or 'sum'.")
    kind = _CLOSED.get(type(module), DifferentiatedLoss)
    return kind(module, name=name, reduction="sum" if reduction == "sum" else "mean")


def _kept_weight(module: nn.CrossEntropyLoss | nn.NLLLoss, target: Tensor) -> float:
    """Return the sum of class weights over the targets that are not ignored."""
    kept = target[target != module.ignore_index]
    if module.weight is None:
        return float(kept.numel())
    return float(module.weight.to(target.device, torch.float64)[kept].sum())
