"""From modules, functions, partials and callables to losses."""

import functools

import pytest
import torch
from torch import nn
from torch.nn import functional

from probes import losses
from probes.losses import CrossEntropy, DifferentiatedLoss, MeanSquaredError, read_loss
from spectra.errors import TaskError
from tests.probes.networks import labels, normal

FUNCTIONS = {
    functional.binary_cross_entropy_with_logits: losses.BinaryCrossEntropy,
    functional.cross_entropy: losses.CrossEntropy,
    functional.huber_loss: losses.Huber,
    functional.kl_div: losses.KullbackLeibler,
    functional.l1_loss: losses.AbsoluteError,
    functional.mse_loss: losses.MeanSquaredError,
    functional.nll_loss: losses.NegativeLogLikelihood,
    functional.poisson_nll_loss: losses.PoissonLikelihood,
    functional.smooth_l1_loss: losses.SmoothAbsoluteError,
    functional.soft_margin_loss: losses.SoftMargin,
}


def target_for(function, output):
    if function in (functional.cross_entropy, functional.nll_loss):
        return labels(len(output))
    return torch.sigmoid(normal(*output.shape, seed=4))


@pytest.mark.parametrize(("function", "kind"), FUNCTIONS.items(), ids=lambda entry: entry.__name__)
@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides the total loss")
def test_functions_are_recognized(function, kind):
    output = normal(9, 4).abs()
    target = target_for(function, output)
    read = read_loss(function)
    assert type(read) is kind
    assert read.reduction == "mean"
    assert torch.equal(read.value(output, target), function(output, target))
    partial = read_loss(functools.partial(function, reduction="sum"))
    assert type(partial) is kind
    assert partial.reduction == "sum"
    assert torch.equal(partial.value(output, target), function(output, target, reduction="sum"))
    assert read_loss(partial) is partial


@pytest.mark.parametrize(
    ("function", "settings"),
    [
        (functional.cross_entropy, {"ignore_index": 2, "label_smoothing": 0.2}),
        (functional.huber_loss, {"delta": 0.2}),
        (functional.smooth_l1_loss, {"beta": 0.0}),
        (functional.poisson_nll_loss, {"log_input": False, "full": True}),
        (functional.kl_div, {"reduction": "batchmean", "log_target": True}),
    ],
)
def test_keywords_are_kept(function, settings):
    output = normal(9, 4).abs() + 0.1
    target = target_for(function, output)
    read = read_loss(functools.partial(function, **settings))
    assert read.has_closed_form
    assert torch.equal(read.value(output, target), function(output, target, **settings))
    torch.testing.assert_close(
        read.sample_values(output, target).sum() / read.weight(output, target, 9), read.value(output, target)
    )


def test_keywords_that_modules_lack_are_differentiated():
    weight = torch.rand(9, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    read = read_loss(functools.partial(functional.mse_loss, weight=weight, reduction="sum"))
    assert isinstance(read, DifferentiatedLoss)
    assert read.reduction == "sum"
    vector = normal(9, 4, seed=2)
    torch.testing.assert_close(read.hessian_product(normal(9, 4), normal(9, 4, seed=1), vector), 2 * weight * vector)


def test_modules_are_recognized():
    assert isinstance(read_loss(nn.CrossEntropyLoss()), CrossEntropy)
    assert isinstance(read_loss(nn.MSELoss()), MeanSquaredError)
    mean = read_loss(nn.KLDivLoss(reduction="batchmean"))
    assert mean.reduction == "mean"
    assert mean.weight(None, None, 7) == 7


def test_subclasses_are_not_taken_for_their_parent():
    class Focal(nn.CrossEntropyLoss):
        def forward(self, output, target):
            return super().forward(output, target) ** 2

    assert not read_loss(Focal()).has_closed_form


def test_what_is_not_a_loss():
    with pytest.raises(TaskError, match="reduction='none'"):
        read_loss(nn.MSELoss(reduction="none"))
    with pytest.raises(TaskError, match="reduction='none'"):
        read_loss(functools.partial(functional.huber_loss, reduction="none"))
    with pytest.raises(TaskError, match="callable"):
        read_loss("cross_entropy")
    with pytest.raises(TaskError, match=r"one number.*shape \(5, 2\)"):
        read_loss(lambda output, target: output).value(normal(5, 2), None)
    with pytest.raises(TaskError, match="got float"):
        read_loss(lambda output, target: 1.0).value(normal(5, 2), None)
    with pytest.raises(TaskError, match="failed on outputs of shape"):
        read_loss(nn.CrossEntropyLoss()).value(normal(5, 2), labels(4))
    with pytest.raises(TaskError, match="broadcast to pairs of unrelated samples"):
        read_loss(nn.MSELoss()).value(normal(5, 1), normal(5))
