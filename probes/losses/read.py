"""From a user's loss to a :class:`probes.losses.Loss`."""

import functools
from typing import Any

from torch import nn

from probes.losses.base import Loss, LossLike
from probes.losses.binary import BinaryCrossEntropy, SoftMargin
from probes.losses.cross_entropy import CrossEntropy
from probes.losses.differentiated import DifferentiatedLoss
from probes.losses.divergence import KullbackLeibler
from probes.losses.log_probabilities import NegativeLogLikelihood
from probes.losses.poisson import PoissonLikelihood
from probes.losses.robust import AbsoluteError, Huber, SmoothAbsoluteError
from probes.losses.squared import MeanSquaredError
from spectra.errors import TaskError

__all__ = ["read_loss"]

_CLOSED: dict[type[nn.Module], type[Loss]] = {
    nn.BCEWithLogitsLoss: BinaryCrossEntropy,
    nn.CrossEntropyLoss: CrossEntropy,
    nn.HuberLoss: Huber,
    nn.KLDivLoss: KullbackLeibler,
    nn.L1Loss: AbsoluteError,
    nn.MSELoss: MeanSquaredError,
    nn.NLLLoss: NegativeLogLikelihood,
    nn.PoissonNLLLoss: PoissonLikelihood,
    nn.SmoothL1Loss: SmoothAbsoluteError,
    nn.SoftMarginLoss: SoftMargin,
}
_FUNCTIONS: dict[Any, type[nn.Module]] = {
    nn.functional.binary_cross_entropy_with_logits: nn.BCEWithLogitsLoss,
    nn.functional.cross_entropy: nn.CrossEntropyLoss,
    nn.functional.huber_loss: nn.HuberLoss,
    nn.functional.kl_div: nn.KLDivLoss,
    nn.functional.l1_loss: nn.L1Loss,
    nn.functional.mse_loss: nn.MSELoss,
    nn.functional.nll_loss: nn.NLLLoss,
    nn.functional.poisson_nll_loss: nn.PoissonNLLLoss,
    nn.functional.smooth_l1_loss: nn.SmoothL1Loss,
    nn.functional.soft_margin_loss: nn.SoftMarginLoss,
}


def read_loss(loss: LossLike) -> Loss:
    """Read a loss: a ``torch.nn`` loss, a function of ``torch.nn.functional`` or any callable.

    Parameters
    ----------
    loss : callable
        ``(output, target) -> scalar``. A callable that is not known by name must be the mean over the samples of the
        batch; batches count by their number of samples. It is the sum where an attribute ``reduction``, or that keyword
        of a ``functools.partial``, says ``"sum"``. Known, as modules, as functions and as ``functools.partial`` of
        functions with keywords that the module has: cross-entropy, negative log-likelihood, mean squared error, binary
        cross-entropy with logits, soft margin, Huber, smooth L1, L1, Poisson likelihood, Kullback-Leibler divergence.

    Returns
    -------
    Loss
        A loss that is known has closed forms; any other is a :class:`DifferentiatedLoss`.

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
    module = _as_module(loss)
    name = getattr(loss, "__name__", type(loss).__name__)
    keywords = module.keywords if isinstance(module, functools.partial) else {}
    reduction = getattr(module, "reduction", keywords.get("reduction", "mean"))
    if reduction == "none":
        raise TaskError(f"the loss {name} has reduction='none'; curvature needs one number: 'mean' or 'sum'.")
    kind = _CLOSED.get(type(module), DifferentiatedLoss)
    return kind(module, name=name, reduction="sum" if reduction == "sum" else "mean")


def _as_module(loss: Any) -> Any:
    """Return the module of a known function, or what came."""
    known = [module for function, module in _FUNCTIONS.items() if loss is function]
    if known:
        return known[0]()
    if isinstance(loss, functools.partial) and not loss.args:
        for function, module in _FUNCTIONS.items():
            if loss.func is function:
                try:
                    return module(**loss.keywords)
                except TypeError:
                    return loss
    return loss
