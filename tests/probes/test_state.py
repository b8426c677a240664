"""The model, and the world around it, are as they were: after success, and after an error in the middle."""

import copy
import random

import numpy as np
import pytest
import torch
from torch import nn

from probes import GaussNewtonOperator, HessianOperator
from probes.state import differentiable, forward_mode, frozen_randomness, preserved
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


def _draw():
    return float(torch.rand(())), float(np.random.rand()), random.random()  # noqa: NPY002


def test_frozen_randomness_repeats_and_leaves_no_trace():
    before = torch.get_rng_state(), repr(np.random.get_state()), random.getstate()  # noqa: NPY002
    draws = []
    for seed in (3, 3, 4, 2**40 + 3):
        with frozen_randomness(seed, torch.device("cpu")):
            draws.append(_draw())
    assert draws[0] == draws[1]
    assert all(a != b for a, b in zip(draws[0], draws[2], strict=True))
    with pytest.raises(KeyboardInterrupt), frozen_randomness(3):
        raise KeyboardInterrupt
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1:] == (repr(np.random.get_state()), random.getstate())  # noqa: NPY002


def test_frozen_masks_are_those_of_the_seed():
    model = seeded(lambda: nn.Sequential(nn.Dropout(0.5), nn.Linear(6, 4))).train()
    masked = []
    for _ in range(2):
        with frozen_randomness(1):
            masked.append(model(DATA[0]))
    with frozen_randomness(1):
        mask = nn.functional.dropout(torch.ones_like(DATA[0]), 0.5)
    assert torch.equal(masked[0], masked[1])
    torch.testing.assert_close(masked[0], model[1](DATA[0] * mask))


def test_forward_mode_of_recurrent_layers_on_the_cpu():
    model = seeded(lambda: nn.LSTM(6, 4, batch_first=True))
    inputs, tangent = DATA[0].reshape(4, 3, 6), torch.ones(4, 3, 6)
    enabled = torch._C._get_mkldnn_enabled()
    with differentiable(model), forward_mode():
        assert not torch._C._get_mkldnn_enabled()
        _, found = torch.func.jvp(lambda x: model(x)[0], (inputs,), (tangent,))
    assert torch._C._get_mkldnn_enabled() == enabled
    with differentiable(model), torch.no_grad():
        sides = [model(inputs + sign * 1e-2 * tangent)[0] for sign in (1, -1)]
    # Central differences with step 1e-2: their error is the step squared, their rounding 1e-7 / 1e-2.
    torch.testing.assert_close(found, (sides[0] - sides[1]) / 2e-2, rtol=1e-3, atol=1e-4)
    with pytest.raises(KeyboardInterrupt), forward_mode():
        raise KeyboardInterrupt
    assert torch._C._get_mkldnn_enabled() == enabled


class _Mixed(nn.Module):
    def __init__(self, region):
        super().__init__()
        self.linear, self.region, self.fail = nn.Linear(6, 4), region, False

    def forward(self, x):
        with self.region():
            if self.fail:
                raise KeyboardInterrupt
            return self.linear(x)


def _decorated():
    return torch.autocast("cpu", dtype=torch.bfloat16)


@pytest.mark.parametrize(
    "region",
    [
        _decorated,
        lambda: torch.amp.autocast("cpu", dtype=torch.bfloat16),
        lambda: torch.amp.autocast_mode.autocast("cpu"),
    ],
)
def test_autocast_inside_the_model_is_off(region):
    model = seeded(lambda: _Mixed(region))
    assert model(DATA[0]).dtype == torch.bfloat16
    with differentiable(model) as seen:
        assert model(DATA[0]).dtype == torch.float32
        assert seen.num_regions == 1
        with differentiable(model) as inner, torch.autocast("cpu", enabled=False):
            model(DATA[0])
            assert not torch.is_autocast_enabled("cpu")
        assert (inner.num_regions, seen.num_regions) == (1, 2)
        model(DATA[0])
    model.fail = True
    with pytest.raises(KeyboardInterrupt), differentiable(model):
        model(DATA[0])
    model.fail = False
    assert model(DATA[0]).dtype == torch.bfloat16
    assert not torch.is_autocast_enabled("cpu")


def test_autocast_as_a_decorator_and_across_the_border_of_a_block():
    function = _decorated()(nn.functional.linear)
    weight = torch.ones(4, 6)
    model = nn.Linear(1, 1)
    with differentiable(model):
        assert function(DATA[0], weight).dtype == torch.float32
    assert function(DATA[0], weight).dtype == torch.bfloat16
    region = _decorated()
    with differentiable(model):
        region.__enter__()
    assert torch.mm(DATA[0], weight.T).dtype == torch.float32
    region.__exit__(None, None, None)
    assert not torch.is_autocast_enabled("cpu")


class _Scaled(torch.autograd.Function):
    """Uses the decorators for mixed precision."""

    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.bfloat16)
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return 2 * x * gradient


def test_custom_functions_for_mixed_precision_run_in_full():
    x = DATA[0].clone().requires_grad_()
    with differentiable(nn.Linear(1, 1)), _decorated():
        value = _Scaled.apply(x).sum()
        (first,) = torch.autograd.grad(value, x, create_graph=True)
        (second,) = torch.autograd.grad(first.sum(), x)
    assert value.dtype == torch.float32
    assert torch.equal(first.detach(), 2 * x.detach())
    assert torch.equal(second, torch.full_like(x, 2))


def test_sparse_embeddings_are_dense_inside_only():
    model = seeded(lambda: nn.Embedding(4, 6, sparse=True))
    with differentiable(model):
        (gradient,) = torch.autograd.grad(model(DATA[1]).square().sum(), model.weight, create_graph=True)
        assert not gradient.is_sparse
    assert model.sparse
    with pytest.raises(KeyboardInterrupt), differentiable(model):
        raise KeyboardInterrupt
    assert model.sparse


def test_compiled_parts_run_eagerly():
    model = nn.Sequential(nn.Linear(6, 8), torch.compile(nn.Linear(8, 4), backend="eager"))
    model[0].compile(backend="eager")
    with differentiable(model):
        gradients = torch.autograd.grad(model(DATA[0]).square().sum(), list(model.parameters()), create_graph=True)
        assert type(gradients[0].grad_fn) is not None
        twice = torch.autograd.grad(sum(g.square().sum() for g in gradients), model[0].weight)
    assert bool(twice[0].any())
    assert torch._dynamo.eval_frame._stance.stance == "default"
