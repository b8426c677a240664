"""The model, and the world around it, are as they were: after success, and after an error in the middle."""

import copy
import random

import numpy as np
import pytest
import torch
from torch import nn

from probes import GaussNewtonOperator, HessianOperator
from probes.state import differentiable, preserved
from spectra.errors import NonFiniteError, SpectraError
from tests.probes.networks import labels, normal, seeded


class Net(nn.Module):
    """Batch statistics, a frozen layer, a frozen flag within a train-mode model, and spare buffers."""

    def __init__(self):
        super().__init__()
        self.first, self.norm, self.head = nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 4)
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.head.bias.requires_grad_(False)
        self.fail = False

    def forward(self, x):
        self.calls += 1
        x = self.norm(self.first(x))
        torch.rand(3)
        if self.fail and torch.is_grad_enabled():
            self.eval()
            raise KeyboardInterrupt
        return self.head(torch.tanh(x))


def network():
    model = seeded(Net).train()
    model.head.eval()
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    return model


def snapshot(model):
    return {
        "values": {k: v.clone() for k, v in model.state_dict().items()},
        "identities": [id(t) for t in (*model.parameters(), *model.buffers(), *(p.grad for p in model.parameters()))],
        "versions": [t._version for t in (*model.parameters(), *model.buffers())],
        "gradients": [p.grad.clone() for p in model.parameters()],
        "flags": [m.training for m in model.modules()],
        "trainable": [p.requires_grad for p in model.parameters()],
        "hooks": [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()],
        "random": (torch.get_rng_state(), repr(np.random.get_state()), random.getstate()),  # noqa: NPY002
        "modes": (
            torch.is_grad_enabled(),
            torch.backends.mha.get_fastpath_enabled(),
            torch.backends.cuda.flash_sdp_enabled(),
            torch.is_inference_mode_enabled(),
        ),
    }


def assert_unchanged(model, before):
    after = snapshot(model)
    for name, value in before["values"].items():
        assert torch.equal(value, after["values"][name]), name
    for a, b in zip(before["gradients"], after["gradients"], strict=True):
        assert torch.equal(a, b)
    assert torch.equal(before["random"][0], after["random"][0])
    assert before["random"][1:] == after["random"][1:]
    for key in ("identities", "versions", "flags", "trainable", "hooks", "modes"):
        assert before[key] == after[key], key


DATA = (normal(12, 6, dtype=torch.float32), labels(12))


@pytest.mark.parametrize("kind", [HessianOperator, GaussNewtonOperator], ids=lambda kind: kind.name)
def test_everything_is_as_it_was(kind):
    model = network()
    before = snapshot(model)
    operator = kind(model, nn.CrossEntropyLoss(), DATA)
    assert_unchanged(model, before)
    product = operator @ torch.ones_like(operator.like)
    operator.gradient()
    operator.loss()
    list(operator.per_batch(product))
    assert_unchanged(model, before)


@pytest.mark.parametrize("kind", [HessianOperator, GaussNewtonOperator], ids=lambda kind: kind.name)
def test_also_after_an_error(kind):
    model = network()
    operator = kind(model, nn.CrossEntropyLoss(), DATA)
    model.fail = True
    before = snapshot(model)
    with pytest.raises(KeyboardInterrupt):
        operator @ operator.like
    with pytest.raises(KeyboardInterrupt):
        kind(model, nn.CrossEntropyLoss(), DATA)
    assert_unchanged(model, before)
    model.fail = False
    with pytest.raises(NonFiniteError):
        kind(model, nn.CrossEntropyLoss(), (DATA[0] * torch.inf, DATA[1]))
    with pytest.raises(SpectraError):
        kind(model, lambda z, t: z, DATA)
    assert_unchanged(model, before)


def test_a_graph_of_the_caller_stays_usable():
    model = network().eval()
    loss = nn.CrossEntropyLoss()(model(DATA[0]), DATA[1])
    expected = torch.autograd.grad(loss, model.first.weight, retain_graph=True)[0]
    model.norm.train()
    HessianOperator(model, nn.CrossEntropyLoss(), DATA).gradient()
    assert torch.equal(torch.autograd.grad(loss, model.first.weight)[0], expected)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, lambda: torch.autocast("cpu")])
def test_ambient_modes_change_nothing(mode):
    model = seeded(Net).eval()
    reference = HessianOperator(model, nn.CrossEntropyLoss(), DATA)
    vector = torch.ones_like(reference.like)
    expected = reference @ vector
    with mode():
        inputs = DATA[0] * 1.0
        operator = HessianOperator(model, nn.CrossEntropyLoss(), (inputs, DATA[1]))
        assert torch.equal(operator @ vector.clone(), expected)
    assert not expected.requires_grad


def test_preserved_puts_back_what_the_block_changes():
    model = network()
    before = snapshot(model)
    with preserved(model):
        model.eval()
        model.first.weight.requires_grad_(False)
        model.first.weight.grad = None
        model.norm.running_mean.fill_(7)
        model.calls = torch.tensor(5)
        model.register_buffer("extra", torch.zeros(1))
        torch.manual_seed(3)
        np.random.seed(3)  # noqa: NPY002
        random.seed(3)
    assert_unchanged(model, before)


def test_a_shared_buffer_stays_shared():
    model = nn.Sequential(nn.BatchNorm1d(2), nn.BatchNorm1d(2))
    model[1].running_mean = model[0].running_mean
    with preserved(model):
        assert model[0].running_mean is model[1].running_mean
    assert model[0].running_mean is model[1].running_mean


def test_the_math_kernel_is_on_inside_only():
    model = nn.Linear(1, 1)
    flags = torch.backends.cuda.flash_sdp_enabled(), torch.backends.mha.get_fastpath_enabled()
    with torch.no_grad(), differentiable(model):
        assert torch.is_grad_enabled()
        assert not torch.backends.cuda.flash_sdp_enabled()
        assert not torch.backends.mha.get_fastpath_enabled()
    assert flags == (torch.backends.cuda.flash_sdp_enabled(), torch.backends.mha.get_fastpath_enabled())


def test_products_follow_the_live_parameters():
    model = seeded(Net).eval()
    operator = HessianOperator(model, nn.CrossEntropyLoss(), DATA)
    vector = torch.ones_like(operator.like)
    other = copy.deepcopy(model)
    with torch.no_grad():
        for p in (*model.parameters(), *other.parameters()):
            p.mul_(1.5)
    assert torch.equal(operator @ vector, HessianOperator(other, nn.CrossEntropyLoss(), DATA) @ vector)
