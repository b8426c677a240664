"""A rebuilt optimizer steps the copy as the original steps the model, bit by bit, and shares nothing with it."""

import copy

import pytest
import torch
from torch import nn, optim

from probes.optimizers import rebuild
from spectra.errors import ArgumentError, TaskError
from tests.probes.optimizers.networks import network, same_parameters, take_steps

CASES = {
    "sgd": (optim.SGD, {"lr": 0.05}),
    "momentum": (optim.SGD, {"lr": 0.05, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.01}),
    "nesterov": (optim.SGD, {"lr": 0.05, "momentum": 0.9, "nesterov": True}),
    "adam": (optim.Adam, {"lr": 0.05, "weight_decay": 0.1}),
    "adamw, amsgrad": (optim.AdamW, {"lr": 0.05, "amsgrad": True}),
    "adamw, foreach": (optim.AdamW, {"lr": 0.05, "foreach": True}),
    "adamw, fused": (optim.AdamW, {"lr": 0.05, "fused": True}),
    "sgd, fused": (optim.SGD, {"lr": 0.05, "momentum": 0.9, "fused": True}),
    "adam, rate in a tensor": (optim.Adam, {"lr": torch.tensor(0.05)}),
    "adam, maximizing": (optim.Adam, {"lr": 0.05, "maximize": True}),
    "rmsprop": (optim.RMSprop, {"lr": 0.01, "momentum": 0.5, "centered": True, "weight_decay": 0.1}),
    "adagrad": (optim.Adagrad, {"lr": 0.05, "lr_decay": 0.1, "initial_accumulator_value": 0.2}),
    "adadelta": (optim.Adadelta, {"lr": 0.5}),
    "adamax": (optim.Adamax, {"lr": 0.05}),
    "nadam": (optim.NAdam, {"lr": 0.05}),
    "radam": (optim.RAdam, {"lr": 0.05}),
    "asgd": (optim.ASGD, {"lr": 0.05}),
    "rprop": (optim.Rprop, {"lr": 0.05}),
    "adafactor": (optim.Adafactor, {"lr": 0.05}),
}


@pytest.mark.parametrize("seen", [0, 5])
@pytest.mark.parametrize(("kind", "kwargs"), CASES.values(), ids=CASES.keys())
def test_steps_of_the_copy_are_those_of_the_original(kind, kwargs, seen):
    model = network()
    original = kind(model.parameters(), **kwargs)
    take_steps(original, model, range(seen))
    copied = copy.deepcopy(model)
    rebuilt = rebuild(original, model=model, onto=copied)
    take_steps(rebuilt, copied, range(seen, seen + 4))
    assert not same_parameters(model, copied)
    take_steps(original, model, range(seen, seen + 4))
    assert same_parameters(model, copied)
    assert type(rebuilt) is kind


def test_muon_is_rebuilt_for_matrices():
    model = nn.Linear(4, 3, bias=False)
    original = optim.Muon(model.parameters(), lr=0.02)
    take_steps(original, model, range(3))
    copied = copy.deepcopy(model)
    take_steps(rebuild(original, model=model, onto=copied), copied, range(3, 6))
    take_steps(original, model, range(3, 6))
    assert same_parameters(model, copied)


@pytest.mark.parametrize(("kind", "kwargs"), CASES.values(), ids=CASES.keys())
def test_the_original_is_not_touched(kind, kwargs):
    model = network()
    original = kind(model.parameters(), **kwargs)
    fired = []
    original.register_step_post_hook(lambda *_: fired.append("step"))
    original.register_state_dict_pre_hook(lambda *_: fired.append("state_dict"))
    take_steps(original, model, range(3))
    fired.clear()
    before = copy.deepcopy((original.param_groups, dict(original.state), list(model.parameters())))
    copied = copy.deepcopy(model)
    take_steps(rebuild(original, model=model, onto=copied, learning_rate=0.5), copied, range(3, 6))
    after = (original.param_groups, dict(original.state), list(model.parameters()))
    assert fired == []
    assert leaves(before) == leaves(after)


def leaves(tree: object) -> list:
    """Return the numbers of anything nested, in order."""
    if isinstance(tree, torch.Tensor):
        return tree.detach().flatten().tolist()
    if isinstance(tree, dict):
        return [leaf for key, value in tree.items() for leaf in [*leaves(key), *leaves(value)]]
    if isinstance(tree, tuple | list):
        return [leaf for entry in tree for leaf in leaves(entry)]
    return [tree]


def grouped(model: nn.Module, **extra) -> optim.AdamW:
    return optim.AdamW(
        [
            {"params": list(model.embed.named_parameters()), "lr": 1e-2},
            {"params": list(model.hidden.named_parameters()), "lr": 2.5e-3, "betas": (0.8, 0.99), "weight_decay": 0.0},
        ],
        **extra,
    )


def test_groups_keep_their_constants_names_and_ratios():
    model = network()
    original = grouped(model)
    take_steps(original, model, range(3))
    copied = copy.deepcopy(model)
    rebuilt = rebuild(original, model=model, onto=copied, learning_rate=4e-2)
    assert [group["lr"] for group in rebuilt.param_groups] == [4e-2, 1e-2]
    assert rebuilt.param_groups[1]["betas"] == (0.8, 0.99)
    assert rebuilt.param_groups[1]["weight_decay"] == 0.0
    assert rebuilt.param_groups[1]["param_names"] == ["weight", "bias"]
    assert rebuilt.param_groups[1]["params"] == [copied.hidden.weight, copied.hidden.bias]
    by_second = rebuild(original, model=model, onto=copied, learning_rate=4e-2, reference=1)
    assert [group["lr"] for group in by_second.param_groups] == [0.16, 4e-2]


def test_schedulers_stay_behind_and_zero_rates_of_a_warm_up_are_scaled():
    model = network()
    original = grouped(model)
    scheduler = optim.lr_scheduler.LambdaLR(original, lambda step: step / 10)
    copied = copy.deepcopy(model)
    rebuilt = rebuild(original, model=model, onto=copied, learning_rate=4e-2)
    assert [group["lr"] for group in rebuilt.param_groups] == [4e-2, 1e-2]
    assert all("initial_lr" not in group for group in rebuilt.param_groups)
    take_steps(rebuilt, copied, range(2))
    assert scheduler.last_epoch == 0
    assert [group["initial_lr"] for group in original.param_groups] == [1e-2, 2.5e-3]
    optim.lr_scheduler.StepLR(rebuilt, 1)
    assert [group["initial_lr"] for group in rebuilt.param_groups] == [4e-2, 1e-2]


def test_parameters_without_state_have_none_in_the_copy():
    model = network()
    original = optim.Adam(model.parameters(), lr=1e-2)
    model.hidden.weight.grad = torch.ones_like(model.hidden.weight)
    original.step()
    copied = copy.deepcopy(model)
    rebuilt = rebuild(original, model=model, onto=copied)
    assert list(rebuilt.state) == [copied.hidden.weight]
    assert len(original.state) == 1


def test_state_follows_the_precision_of_the_copy_except_for_step_counts():
    model = network(torch.float32)
    original = optim.Adam(model.parameters(), lr=1e-2)
    take_steps(original, model, range(2))
    copied = copy.deepcopy(model).double()
    rebuilt = rebuild(original, model=model, onto=copied)
    state = rebuilt.state[copied.hidden.bias]
    assert (state["exp_avg"].dtype, state["step"].dtype) == (torch.float64, torch.float32)
    torch.testing.assert_close(state["exp_avg"].float(), original.state[model.hidden.bias]["exp_avg"], rtol=0, atol=0)


def test_wrapped_models_are_unwrapped():
    model = network()
    original = optim.SGD(model.parameters(), lr=0.1)
    copied = copy.deepcopy(model)
    rebuilt = rebuild(original, model=nn.DataParallel(model), onto=copied)
    assert rebuilt.param_groups[0]["params"] == list(copied.parameters())


def test_the_copy_is_not_differentiated_through():
    # With differentiable=True torch steps no parameter that is a leaf, which those of a model are.
    model = network()
    copied = copy.deepcopy(model)
    rebuilt = rebuild(optim.Adam(model.parameters(), lr=0.1, differentiable=True), model=model, onto=copied)
    take_steps(rebuilt, copied, range(2))
    assert not same_parameters(model, copied)


def test_subclasses_that_keep_the_step_become_their_base():
    class Named(optim.AdamW):
        def __init__(self, params, *, owner):
            super().__init__(params, lr=0.1)
            self.owner = owner

    model = network()
    rebuilt = rebuild(Named(model.parameters(), owner="me"), model=model, onto=copy.deepcopy(model))
    assert type(rebuilt) is optim.AdamW


def test_refusals():
    model = network()
    copied = copy.deepcopy(model)
    sgd = optim.SGD(model.parameters(), lr=0.1)

    class Own(optim.SGD):
        def step(self, closure=None):
            return None

    with pytest.raises(TaskError, match=r"LBFGS .*closure"):
        rebuild(optim.LBFGS(model.parameters()), model=model, onto=copied)
    with pytest.raises(TaskError, match=r"Own .*cannot be rebuilt"):
        rebuild(Own(model.parameters(), lr=0.1), model=model, onto=copied)
    with pytest.raises(TaskError, match=r"4 of the 4 tensors .*this very model"):
        rebuild(optim.SGD(network().parameters(), lr=0.1), model=model, onto=copied)
    with pytest.raises(TaskError, match="shares parameters"):
        rebuild(sgd, model=model, onto=model)
    with pytest.raises(TaskError, match="must be a copy"):
        rebuild(sgd, model=model, onto=nn.Linear(2, 1))
    for rate in (0.0, -1.0, float("nan")):
        with pytest.raises(ArgumentError, match="learning_rate"):
            rebuild(sgd, model=model, onto=copied, learning_rate=rate)
