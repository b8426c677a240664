r"""The part of a loss that is a square: what its quadratic model in the outputs loses at most, sample by sample.

Around outputs z the loss of a sample is :math:`\ell(z + u) \approx \ell + g^T u + \tfrac12 u^T S u`, with its gradient
g and its Hessian S. Where g lies in the range of S this is a square and a constant,

.. math:: \tfrac12 |S^{1/2} u + r|^2 + \ell - \tfrac12 |r|^2, \qquad r = (S^{1/2})^+ g, \quad |r|^2 = g^T S^+ g,

and r is what makes the noise of gradients. For the squared error the square is the loss itself; for cross-entropy with
one correct class of probability p it is :math:`(1/p - 1)/2`. Derived here.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from probes.batch import map_tensors
from probes.losses.base import Loss
from probes.losses.cross_entropy import CrossEntropy
from probes.losses.dense import sample_hessians
from probes.losses.elementwise import ElementwiseLoss
from probes.losses.softmax import class_axis
from spectra.errors import NonFiniteError, TaskError

__all__ = ["MAX_OUTPUTS", "OutputSquares", "output_squares"]

#: Outputs of a sample up to which a loss without a formula is treated by matrices: 130 MB for 1000 samples.
MAX_OUTPUTS = 128


@dataclass(frozen=True, kw_only=True)
class OutputSquares:
    r"""The squares that the mean loss of one batch holds.

    Attributes
    ----------
    energy : float
        :math:`\tfrac{1}{2} \sum_i g_i^T S_i^+ g_i` with gradient and Hessian of the mean loss of the batch: the mean
        over its samples of half their squares, in the unit of the loss.
    num_squares : int
        Sum over the samples of the rank of S: how many residuals they bring.
    """

    energy: float
    num_squares: int


def output_squares(loss: Loss, output: Tensor, target: Any) -> OutputSquares:
    """Return the part of the mean loss of a batch that is a square.

    Parameters
    ----------
    loss : Loss
        With ``reduction="mean"``, convex in the outputs.
    output : Tensor, shape (N, ...)
    target : tensor, or tuple, list or mapping of tensors

    Raises
    ------
    TaskError
        The loss has a slope in a direction without curvature, so that its quadratic model has no minimum; is not
        convex; couples samples; or has no formula and too many outputs.
    NonFiniteError
        The square is not finite: a target to which the model gives no probability.

    Notes
    -----
    One gradient by the outputs. By formula for cross-entropy and for losses of single elements; for any other loss from
    the eigenvalues of the Hessian of every sample.

    Examples
    --------
    Two classes with equal probability: half of 1/p - 1.

    >>> from probes.losses import read_loss
    >>> output_squares(read_loss(torch.nn.CrossEntropyLoss()), torch.zeros(3, 2), torch.tensor([0, 1, 1]))
    OutputSquares(energy=0.5, num_squares=3)
    """
    if isinstance(loss, CrossEntropy):
        found = _of_softmax(loss, output.detach(), target)
    elif isinstance(loss, ElementwiseLoss):
        found = _of_elements(loss, output, target)
    else:
        found = _of_matrices(loss, output, target)
    if not found.energy < float("inf"):
        raise NonFiniteError(
            f"the quadratic model of the loss {loss.name} is not finite: the model gives a target of some sample "
            "(nearly) no probability. Train a few steps first, or look for a wrong label."
        )
    return found


def _of_softmax(loss: CrossEntropy, output: Tensor, target: Tensor) -> OutputSquares:
    r"""With targets t of sum s and p = softmax(z): :math:`\sum_c (s p_c - t_c)^2 / (s p_c)` at every position."""
    axis = class_axis(output)
    log_p = torch.log_softmax(_wide(output), axis)
    classes, smoothing = output.shape[axis], loss.function.label_smoothing
    if target.is_floating_point():
        t = target.to(log_p)
    else:
        t = torch.zeros_like(log_p).scatter_(axis, target.unsqueeze(axis), 1.0)
    t = (1 - smoothing) * t + smoothing / classes
    s = t.sum(axis, keepdim=True)
    if bool((t < 0).any()):
        raise TaskError(
            f"the loss {loss.name} is not convex for negative target probabilities, so that its quadratic model has no "
            "minimum. Give probabilities."
        )
    p = log_p.exp()
    # Without a target s p remains, however small p is; elsewhere a p that is rounded to 0 makes the term infinite.
    terms = torch.where(t == 0, s * p, (s * p - t).square() * torch.exp(-log_p) / torch.where(s == 0, 1, s))
    positions = s.numel()
    return OutputSquares(
        energy=float(terms.sum()) / (2 * positions), num_squares=int((s > 0).sum()) * max(classes - 1, 1)
    )


def _of_elements(loss: ElementwiseLoss, output: Tensor, target: Any) -> OutputSquares:
    r""":math:`f'^2 / f''` of every element."""
    loss, output, target = _widened(loss, output, target)
    gradient = _gradient(loss, output, target)
    curvature = loss.hessian_product(output, target, torch.ones_like(output))
    if bool((curvature < 0).any()):
        raise _not_convex(loss, float(curvature.min()))
    flat = curvature == 0
    _require_curved(loss, int((flat & (gradient != 0)).sum()), output.numel())
    terms = gradient.square() / torch.where(flat, 1, curvature)
    return OutputSquares(energy=0.5 * float(terms.sum()), num_squares=int((~flat).sum()))


def _of_matrices(loss: Loss, output: Tensor, target: Any) -> OutputSquares:
    r""":math:`g^T S^+ g` from the eigenvalues of S, those above rounding."""
    count = output[:1].numel()
    if count > MAX_OUTPUTS:
        raise TaskError(
            f"the loss {loss.name} has no formula here, and {count} outputs of a sample are too many for matrices (at "
            f"most {MAX_OUTPUTS}). Use a loss of torch.nn, such as nn.CrossEntropyLoss or nn.MSELoss."
        )
    blocks = sample_hessians(loss, output, target)
    gradient = _gradient(*_widened(loss, output, target)).reshape(len(output), -1).double().cpu()
    values, vectors = torch.linalg.eigh(blocks.hessians)
    largest = values.abs().amax(1, keepdim=True)
    if float(values.min()) < -blocks.rounding * float(largest.max()):
        raise _not_convex(loss, float(values.min()))
    along = torch.einsum("nij,ni->nj", vectors, gradient)
    curved = (values > blocks.rounding * largest) & (values > 0)
    outside = torch.where(curved, 0, along).norm(dim=1)
    _require_curved(loss, int((outside > blocks.rounding**0.5 * gradient.norm(dim=1)).sum()), len(output))
    terms = torch.where(curved, along.square() / torch.where(curved, values, 1), 0)
    return OutputSquares(energy=0.5 * float(terms.sum()), num_squares=int(curved.sum()))


def _gradient(loss: Loss, output: Tensor, target: Any) -> Tensor:
    with torch.enable_grad():
        leaf = output.detach().requires_grad_()
        value = loss.value(leaf, target)
        found = torch.autograd.grad(value, leaf, allow_unused=True)[0] if value.requires_grad else None
    return torch.zeros_like(leaf).detach() if found is None else found


def _wide(tensor: Tensor) -> Tensor:
    return tensor if tensor.device.type == "mps" else tensor.double()


def _widened(loss: Any, output: Tensor, target: Any) -> tuple[Any, Tensor, Any]:
    """Return loss, outputs and target in float64 if the loss can be evaluated so, else as they are."""
    output = output.detach()
    try:
        wide = loss.to(torch.float64)
        doubled = map_tensors(lambda tensor: _wide(tensor) if tensor.is_floating_point() else tensor, target)
        wide.value(_wide(output), doubled)
    except (TaskError, RuntimeError):
        return loss, output, target
    return wide, _wide(output), doubled


def _not_convex(loss: Loss, smallest: float) -> TaskError:
    return TaskError(
        f"the loss {loss.name} is not convex in the outputs (curvature {smallest:.3g} somewhere), so that "
        "its quadratic model has no minimum and SGD on it no stable rate. Use a convex loss, such as "
        "nn.CrossEntropyLoss or nn.MSELoss."
    )


def _require_curved(loss: Loss, num_flat: int, total: int) -> None:
    if num_flat:
        raise TaskError(
            f"the loss {loss.name} has a slope but no curvature at {num_flat} of {total} outputs, so that its "
            "quadratic model falls without end. Use nn.MSELoss, or nn.HuberLoss with delta above all errors; for "
            "log-probabilities give logits to nn.CrossEntropyLoss."
        )
