"""An optimizer restored from its state goes on as the saved one would have."""

import copy

import pytest
import torch
from torch import nn, optim

from probes.optimizers import optimizer_from_state, rebuild
from spectra.errors import ArgumentError, CheckpointError
from tests.cases import optional
from tests.probes.optimizers.networks import network, same_parameters, take_steps

CASES = {
    "sgd": (optim.SGD, {"lr": 0.05, "momentum": 0.9, "nesterov": True}),
    "adam": (optim.Adam, {"lr": 0.05, "weight_decay": 0.1, "amsgrad": True}),
    "adamw": (optim.AdamW, {"lr": 0.05}),
    "rmsprop": (optim.RMSprop, {"lr": 0.01, "momentum": 0.5, "centered": True}),
}


@pytest.mark.parametrize(("kind", "kwargs"), CASES.values(), ids=CASES.keys())
def test_training_goes_on_from_the_file_bit_by_bit(tmp_path, kind, kwargs):
    model = network()
    original = kind(model.parameters(), **kwargs)
    take_steps(original, model, range(4))
    torch.save(original.state_dict(), tmp_path / "optimizer.pt")
    state = torch.load(tmp_path / "optimizer.pt", weights_only=True)
    kept = copy.deepcopy(state)
    copied = copy.deepcopy(model)
    restored = optimizer_from_state(state, model=copied)
    assert type(restored) is kind
    take_steps(restored, copied, range(4, 8))
    take_steps(original, model, range(4, 8))
    assert same_parameters(model, copied)
    for index, entries in kept["state"].items():
        now = state["state"][index]
        assert all(torch.equal(torch.as_tensor(value), torch.as_tensor(now[key])) for key, value in entries.items())


def test_restored_on_the_model_and_rebuilt_on_a_copy():
    model = network()
    original = optim.AdamW(model.parameters(), lr=0.05)
    take_steps(original, model, range(4))
    before = copy.deepcopy(model)
    restored = optimizer_from_state(original.state_dict(), model=model)
    copied = copy.deepcopy(model)
    take_steps(rebuild(restored, model=model, onto=copied), copied, range(4, 6))
    assert same_parameters(model, before)
    take_steps(original, model, range(4, 6))
    assert same_parameters(model, copied)


def reversed_groups(model: nn.Module, *, named: bool) -> optim.AdamW:
    pairs = [(name, p) for name, p in model.named_parameters()][::-1]
    weights = [pair if named else pair[1] for pair in pairs if pair[1].ndim > 1]
    biases = [pair if named else pair[1] for pair in pairs if pair[1].ndim < 2]
    return optim.AdamW([{"params": weights}, {"params": biases, "weight_decay": 0.0}], lr=0.05)


@pytest.mark.parametrize("named", [True, False])
def test_several_groups_need_names_from_the_state_or_the_caller(named):
    model = network()
    original = reversed_groups(model, named=named)
    take_steps(original, model, range(3))
    copied = copy.deepcopy(model)
    if not named:
        with pytest.raises(ArgumentError, match="2 parameter groups without names"):
            optimizer_from_state(original.state_dict(), model=copied)
    names = None if named else ["hidden.weight", "embed.weight", "hidden.bias", "embed.bias"]
    restored = optimizer_from_state(original.state_dict(), model=copied, names=names)
    assert [group["weight_decay"] for group in restored.param_groups] == [0.01, 0.0]
    take_steps(restored, copied, range(3, 6))
    take_steps(original, model, range(3, 6))
    assert same_parameters(model, copied)


class Normed(nn.Module):
    """Weights, biases and norms of every sort of name."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(4, 5)
        self.first = nn.LayerNorm(5)
        self.input_layernorm = nn.BatchNorm1d(5)
        self.norms = nn.BatchNorm1d(5)
        self.hidden = nn.Linear(5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.hidden(self.norms(self.input_layernorm(self.first(torch.tanh(self.embed(x))))))


def test_the_groups_of_hugging_face_trainer_are_recognized(tmp_path):
    transformers = optional("transformers")
    optional("accelerate")
    torch.manual_seed(0)
    model = Normed()
    model.embed.weight.requires_grad_(False)
    arguments = transformers.TrainingArguments(output_dir=str(tmp_path), weight_decay=0.1, use_cpu=True)
    original = transformers.Trainer(model=model, args=arguments).create_optimizer()
    for step in range(3):
        original.zero_grad()
        model(torch.randn(8, 4, generator=torch.Generator().manual_seed(step))).square().mean().backward()
        original.step()
    state = original.state_dict()
    for group in state["param_groups"]:
        group.pop("param_names", None)
    restored = optimizer_from_state(state, model=model)
    assert [[id(p) for p in group["params"]] for group in restored.param_groups] == [
        [id(p) for p in group["params"]] for group in original.param_groups
    ]
    assert [group["weight_decay"] for group in restored.param_groups] == [0.1, 0.0]


def test_states_keyed_by_name_are_read_by_name():
    model = network()
    original = optim.AdamW(model.parameters(), lr=0.05)
    take_steps(original, model, range(3))
    state = original.state_dict()
    names = [name for name, _ in model.named_parameters()]
    state["state"] = {names[index]: entries for index, entries in state["state"].items()}
    state["param_groups"][0]["params"] = names
    copied = copy.deepcopy(model)
    take_steps(optimizer_from_state(state, model=copied), copied, range(3, 5))
    take_steps(original, model, range(3, 5))
    assert same_parameters(model, copied)


@pytest.mark.parametrize("only_trainable", [True, False])
def test_frozen_parameters_may_or_may_not_have_been_given(only_trainable):
    model = network()
    model.embed.bias.requires_grad_(False)
    given = [p for p in model.parameters() if p.requires_grad or not only_trainable]
    original = optim.SGD(given, lr=0.1, momentum=0.9)
    restored = optimizer_from_state(original.state_dict(), model=model)
    assert [id(p) for p in restored.param_groups[0]["params"]] == [id(p) for p in given]


def test_old_states_say_by_kind_whether_decay_is_decoupled():
    model = network()
    state = optim.AdamW(model.parameters(), lr=0.05).state_dict()
    del state["param_groups"][0]["decoupled_weight_decay"]
    with pytest.raises(ArgumentError, match="kind='adam' or kind='adamw'"):
        optimizer_from_state(state, model=model)
    assert type(optimizer_from_state(state, model=model, kind="adamw")) is optim.AdamW
    assert optimizer_from_state(state, model=model, kind="adamw").param_groups[0]["decoupled_weight_decay"]
    assert type(optimizer_from_state(state, model=model, kind="adam")) is optim.Adam
    state["param_groups"][0]["weight_decay"] = 0.0
    assert type(optimizer_from_state(state, model=model)) is optim.Adam


def test_schedules_stay_behind():
    model = network()
    original = optim.SGD(model.parameters(), lr=0.1)
    optim.lr_scheduler.StepLR(original, 1)
    restored = optimizer_from_state(original.state_dict(), model=model)
    assert "initial_lr" not in restored.param_groups[0]


@pytest.mark.parametrize("steps", [0, 3])
def test_a_schedule_at_zero_is_left_for_the_rates_that_it_began_with(steps):
    from probes.optimizers import group_ratios

    model = network()
    pairs = list(model.named_parameters())
    original = optim.SGD([{"params": pairs[:1]}, {"params": pairs[1:], "lr": 0.05}], lr=0.1)
    ends = {"start_factor": 1.0, "end_factor": 0.0, "total_iters": 3} if steps else {"lr_lambda": lambda step: step}
    schedule = (optim.lr_scheduler.LinearLR if steps else optim.lr_scheduler.LambdaLR)(original, **ends)
    for _ in range(steps):
        original.step()
        schedule.step()
    assert original.param_groups[0]["lr"] == 0.0
    restored = optimizer_from_state(original.state_dict(), model=model)
    assert [group["lr"] for group in restored.param_groups] == [0.1, 0.05]
    assert group_ratios(restored) == (1.0, 0.5)


def test_states_that_do_not_fit_are_refused():
    model = network()
    adam = optim.Adam(model.parameters(), lr=0.05)
    take_steps(adam, model, range(1))
    state = adam.state_dict()
    for kind, message in (("sgd", "is one of adam, not of sgd"), ("lion", "must be one of sgd")):
        with pytest.raises(ArgumentError, match=message):
            optimizer_from_state(state, model=model, kind=kind)
    with pytest.raises(CheckpointError, match="4 parameters, but 2 were found in Linear"):
        optimizer_from_state(state, model=nn.Linear(2, 1))
    with pytest.raises(CheckpointError, match=r"exp_avg of 'embed.bias' has shape \(5, 4\), the parameter \(5,\)"):
        optimizer_from_state(state, model=model, names=["embed.bias", "embed.weight", "hidden.weight", "hidden.bias"])
    with pytest.raises(CheckpointError, match="'nowhere'"):
        optimizer_from_state(state, model=model, names=["nowhere", "embed.bias", "hidden.weight", "hidden.bias"])
    with pytest.raises(CheckpointError, match=r"momentum_decay.*not those of"):
        optimizer_from_state(optim.NAdam(model.parameters()).state_dict(), model=model)
    with pytest.raises(CheckpointError, match="'state' and 'param_groups'"):
        optimizer_from_state(model.state_dict(), model=model)
