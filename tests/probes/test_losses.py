"""Closed-form output Hessians against automatic differentiation, and denominators against torch's own means."""

import functools
import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional

from probes.losses import BinaryCrossEntropy, CrossEntropy, DifferentiatedLoss, MeanSquaredError, read_loss
from spectra.errors import TaskError
from tests.probes.networks import labels, normal

WEIGHT = torch.tensor([0.3, 1.0, 2.5, 0.7], dtype=torch.float64)
SHAPES = [(9, 4), (5, 4, 3), (3, 4, 2, 2)]


def positions(shape):
    return (shape[0], *shape[2:])


def index_target(shape, *, ignored=False):
    target = labels(*positions(shape))
    if ignored:
        target.view(-1)[1::3] = -100
    return target


def cross_entropies():
    for weight, smoothing, reduction in itertools.product((None, WEIGHT), (0.0, 0.15), ("mean", "sum")):
        loss = nn.CrossEntropyLoss(weight=weight, label_smoothing=smoothing, reduction=reduction)
        for shape in SHAPES:
            yield loss, shape, index_target(shape)
            yield loss, shape, index_target(shape, ignored=True)
            yield loss, shape, torch.softmax(normal(*shape, seed=3), 1)


def others():
    for reduction in ("mean", "sum"):
        for shape in SHAPES[:2]:
            yield nn.MSELoss(reduction=reduction), shape, normal(*shape, seed=4)
            target = torch.sigmoid(normal(*shape, seed=4))
            yield nn.BCEWithLogitsLoss(reduction=reduction), shape, target
        yield (
            nn.BCEWithLogitsLoss(weight=WEIGHT, pos_weight=WEIGHT.flip(0), reduction=reduction),
            SHAPES[0],
            (torch.sigmoid(normal(*SHAPES[0], seed=4))),
        )


CASES = [*cross_entropies(), *others()]


@pytest.mark.parametrize(("loss", "shape", "target"), CASES)
def test_output_hessian(loss, shape, target):
    read = read_loss(loss)
    assert read.has_closed_form
    output, vector = normal(*shape, seed=7), normal(*shape, seed=8)
    expected = DifferentiatedLoss(loss, name="loss").hessian_product(output, target, vector)
    found = read.hessian_product(output, target, vector)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(("loss", "shape", "target"), CASES)
def test_denominators_join_batches_exactly(loss, shape, target):
    read = read_loss(loss)
    output = normal(*shape, seed=7)
    parts = [(output[:2], target[:2]), (output[2:], target[2:])]
    values = [read.value(*part) for part in parts]
    weights = [read.weight(*part, len(part[0])) for part in parts]
    total = sum(w * v for w, v in zip(weights, values, strict=True) if w)
    total = total if read.reduction == "sum" else total / sum(weights)
    torch.testing.assert_close(total, loss(output, target), rtol=1e-13, atol=0)


def test_unbatched_cross_entropy():
    read, output, vector = read_loss(nn.CrossEntropyLoss()), normal(4), normal(4, seed=2)
    target = torch.tensor(2)
    expected = DifferentiatedLoss(nn.CrossEntropyLoss(), name="loss").hessian_product(output, target, vector)
    torch.testing.assert_close(read.hessian_product(output, target, vector), expected)
    assert read.weight(output, target, 1) == 1


def test_log_likelihood_counts_class_weights():
    read = read_loss(nn.NLLLoss(weight=WEIGHT, ignore_index=1))
    assert read.weight(None, torch.tensor([0, 1, 2, 2]), 4) == pytest.approx(0.3 + 2 * 2.5, rel=1e-15)
    vector = normal(4, 4)
    assert not read.hessian_product(normal(4, 4), torch.tensor([0, 1, 2, 2]), vector).any()


def test_functions_are_recognized():
    assert isinstance(read_loss(functional.cross_entropy), CrossEntropy)
    assert isinstance(read_loss(functional.mse_loss), MeanSquaredError)
    assert isinstance(read_loss(functional.binary_cross_entropy_with_logits), BinaryCrossEntropy)
    partial = read_loss(functools.partial(functional.cross_entropy, ignore_index=2, reduction="sum"))
    assert partial.reduction == "sum"
    output, target = normal(9, 4), labels(9)
    expected = functional.cross_entropy(output, target, ignore_index=2, reduction="sum")
    assert torch.equal(partial.value(output, target), expected)
    assert read_loss(partial) is partial


def test_subclasses_are_not_taken_for_their_parent():
    class Focal(nn.CrossEntropyLoss):
        def forward(self, output, target):
            return super().forward(output, target) ** 2

    assert not read_loss(Focal()).has_closed_form


def test_any_callable():
    read = read_loss(lambda output, target: (output - target).abs().pow(3).mean())
    output, target, vector = normal(5, 2), normal(5, 2, seed=1), normal(5, 2, seed=2)
    expected = 6 * (output - target).abs() * vector / 10
    torch.testing.assert_close(read.hessian_product(output, target, vector), expected)
    assert read.weight(output, target, 5) == 5
    linear = read_loss(nn.L1Loss())
    assert not linear.hessian_product(output, target, vector).any()


def test_what_is_not_a_loss():
    with pytest.raises(TaskError, match="reduction='none'"):
        read_loss(nn.MSELoss(reduction="none"))
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


def test_class_weights_follow_the_dtype():
    loss = nn.CrossEntropyLoss(weight=WEIGHT.float())
    copy = read_loss(loss).to(torch.float64)
    assert copy.function.weight.dtype == torch.float64
    assert loss.weight.dtype == torch.float32
