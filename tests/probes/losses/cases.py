"""Every loss that has a closed form, with outputs and targets, and oracles that know only the torch loss."""

import itertools
from dataclasses import dataclass
from typing import Any

import torch
from scipy import stats
from torch import Tensor, nn
from torch.func import grad, jacrev

from tests.probes.networks import labels, normal

WEIGHT = torch.tensor([0.3, 1.0, 2.5, 0.7], dtype=torch.float64)
SHAPES = [(9, 4), (5, 4, 3), (3, 4, 2, 2)]


@dataclass(frozen=True)
class Case:
    """A torch loss, outputs and a target."""

    loss: Any
    output: Tensor
    target: Any

    def __str__(self) -> str:
        shape = "x".join(map(str, self.output.shape))
        kind = "soft" if torch.is_floating_point(self.target) else "hard"
        settings = "".join(
            f"-{key}"
            for key in ("weight", "pos_weight", "label_smoothing")
            if isinstance(self.loss, nn.Module) and getattr(self.loss, key, None) is not None
        )
        return f"{type(self.loss).__name__}-{self.loss.reduction}-{shape}-{kind}{settings}"


def positions(shape):
    return (shape[0], *shape[2:])


def index_target(shape, *, ignored=False):
    target = labels(*positions(shape))
    if ignored:
        target.view(-1)[1::3] = -100
    return target


def soft_target(*shape):
    return torch.softmax(normal(*shape, seed=3), 1 if len(shape) > 1 else 0)


def softmax_cases():
    for reduction, smoothing, weight in itertools.product(("mean", "sum"), (0.0, 0.15), (None, WEIGHT)):
        loss = nn.CrossEntropyLoss(weight=weight, label_smoothing=smoothing, reduction=reduction)
        for shape in SHAPES if weight is None and not smoothing else SHAPES[1:2]:
            output = normal(*shape, seed=7)
            yield Case(loss, output, index_target(shape))
            yield Case(loss, output, index_target(shape, ignored=True))
            yield Case(loss, output, soft_target(*shape))
        yield Case(loss, normal(4, seed=7), torch.tensor(2))
        yield Case(loss, normal(4, seed=7), soft_target(4))
    yield Case(nn.CrossEntropyLoss(ignore_index=2), normal(9, 4, seed=7), labels(9).to(torch.uint8))


def log_probability_cases():
    for reduction, weight in itertools.product(("mean", "sum"), (None, WEIGHT)):
        for shape in SHAPES if weight is None else SHAPES[1:2]:
            output = torch.log_softmax(normal(*shape, seed=7), 1)
            loss = nn.NLLLoss(weight=weight, reduction=reduction)
            yield Case(loss, output, index_target(shape, ignored=True))
    for reduction, log_target in itertools.product(("mean", "sum", "batchmean"), (False, True)):
        output, target = torch.log_softmax(normal(5, 4, 3, seed=7), 1), soft_target(5, 4, 3)
        yield Case(
            nn.KLDivLoss(reduction=reduction, log_target=log_target), output, target.log() if log_target else target
        )


def elementwise_cases():
    for reduction, shape in [("mean", (6,)), ("mean", (5, 4, 3)), ("sum", (9, 4))]:
        output, real = normal(*shape, seed=7), normal(*shape, seed=4)
        share, sign = torch.sigmoid(real), torch.where(real > 0, 1.0, -1.0).double()
        count = torch.poisson(torch.exp(real), generator=torch.Generator().manual_seed(5))
        yield Case(nn.MSELoss(reduction=reduction), output, real)
        yield Case(nn.BCEWithLogitsLoss(reduction=reduction), output, share)
        yield Case(nn.SoftMarginLoss(reduction=reduction), output, sign)
        yield Case(nn.HuberLoss(reduction=reduction), output, real)
        yield Case(nn.HuberLoss(delta=0.3, reduction=reduction), output, real)
        yield Case(nn.SmoothL1Loss(reduction=reduction), output, real)
        yield Case(nn.SmoothL1Loss(beta=0.3, reduction=reduction), output, real)
        yield Case(nn.SmoothL1Loss(beta=0.0, reduction=reduction), output, real)
        yield Case(nn.L1Loss(reduction=reduction), output, real)
        yield Case(nn.PoissonNLLLoss(reduction=reduction), output, count)
        yield Case(nn.PoissonNLLLoss(full=True, reduction=reduction), output, count)
        yield Case(nn.PoissonNLLLoss(log_input=False, eps=0.01, reduction=reduction), output.exp(), count)
    for reduction in ("mean", "sum"):
        loss = nn.BCEWithLogitsLoss(weight=WEIGHT, pos_weight=WEIGHT.flip(0), reduction=reduction)
        yield Case(loss, normal(9, 4, seed=7), torch.sigmoid(normal(9, 4, seed=4)))


CASES = [*softmax_cases(), *log_probability_cases(), *elementwise_cases()]


def dense_hessian(case: Case) -> Tensor:
    """Return the output Hessian of the torch loss by differentiating twice, as a matrix."""
    count = case.output.numel()
    return jacrev(grad(lambda z: case.loss(z, case.target)))(case.output).reshape(count, count)


def dense(product, count: int, shape) -> Tensor:
    """Return the matrix of a product of output space that takes leading axes."""
    return product(torch.eye(count, dtype=torch.float64).reshape(count, *shape)).reshape(count, count).T


def drawable_targets(case: Case):
    """Yield targets that are the same at every position, with their probabilities at every position or element.

    For the Gaussian they are the nodes of a quadrature that is exact for the second moment.
    """
    output, loss = case.output, case.loss
    if isinstance(loss, nn.CrossEntropyLoss | nn.NLLLoss):
        axis = 1 if output.ndim > 1 else 0
        for index, share in enumerate(torch.softmax(output, axis).unbind(axis)):
            target = torch.full_like(share, index, dtype=torch.long)
            ignored = torch.zeros_like(share, dtype=torch.bool)
            if not torch.is_floating_point(case.target):
                ignored = case.target == loss.ignore_index
            yield torch.where(ignored, -100, target), share.unsqueeze(axis)
    elif isinstance(loss, nn.MSELoss):
        for sign in (-1, 1):
            yield output + sign * 0.5**0.5, torch.full_like(output, 0.5)
    elif isinstance(loss, nn.BCEWithLogitsLoss | nn.SoftMarginLoss):
        yield torch.ones_like(output), torch.sigmoid(output)
        no = torch.zeros_like(output) if isinstance(loss, nn.BCEWithLogitsLoss) else -torch.ones_like(output)
        yield no, torch.sigmoid(-output)
    else:
        rate = output.exp() if loss.log_input else output + loss.eps
        for count in range(100):
            share = torch.from_numpy(stats.poisson.pmf(count, rate.numpy()))
            yield torch.full_like(output, count), share
