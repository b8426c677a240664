"""Kinds and constants read off live torch optimizers, and those that are refused."""

import copy

import pytest
import torch
from torch import nn, optim

from probes.optimizers import describe_optimizer, rebuild
from probes.training import build_optimizer
from spectra.errors import ArgumentError, TaskError
from spectra.recommend.optimizer import OptimizerSpec

SPECS = [
    OptimizerSpec(kind="sgd", weight_decay=0.1),
    OptimizerSpec(kind="momentum", momentum=0.8, dampening=0.2),
    OptimizerSpec(kind="nesterov", momentum=0.7, weight_decay=0.1),
    OptimizerSpec(kind="adam", momentum=0.8, beta2=0.95, eps=1e-6, weight_decay=0.2, amsgrad=True),
    OptimizerSpec(kind="adamw", weight_decay=0.2),
    OptimizerSpec(kind="rmsprop", momentum=0.5, alpha=0.9, eps=1e-5, weight_decay=0.3, centered=True),
]


def weights() -> list[nn.Parameter]:
    return [nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(3, 1))]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.label)
def test_what_is_built_from_a_description_is_described_by_it(spec):
    assert describe_optimizer(build_optimizer(spec, weights(), 0.1)) == spec


def test_adam_with_decoupled_decay_is_adamw_and_betas_may_be_tensors():
    adam = optim.Adam(weights(), weight_decay=0.1, decoupled_weight_decay=True)
    assert describe_optimizer(adam) == OptimizerSpec(kind="adamw", weight_decay=0.1)
    betas = (torch.tensor(0.5, dtype=torch.float64), torch.tensor(0.75, dtype=torch.float64))
    assert describe_optimizer(optim.Adam(weights(), betas=betas)) == OptimizerSpec(
        kind="adam", momentum=0.5, beta2=0.75
    )


def test_the_reference_group_is_described():
    first, second = weights()
    optimizer = optim.SGD([{"params": [first]}, {"params": [second], "momentum": 0.5}], lr=0.1)
    assert describe_optimizer(optimizer) == OptimizerSpec(kind="sgd")
    assert describe_optimizer(optimizer, reference=1) == OptimizerSpec(kind="momentum", momentum=0.5)
    with pytest.raises(ArgumentError, match=r"2 parameter groups, 0 \.\. 1; got 2"):
        describe_optimizer(optimizer, reference=2)


@pytest.mark.parametrize(
    "name",
    ["Adafactor", "Adadelta", "Adagrad", "Adamax", "ASGD", "LBFGS", "Muon", "NAdam", "RAdam", "Rprop", "SparseAdam"],
)
def test_others_of_torch_are_recognized_and_say_why_there_is_no_limit(name):
    spec = describe_optimizer(getattr(optim, name)(weights()))
    assert spec.kind == name.lower()
    assert spec.why_unsupported


def test_a_class_that_keeps_the_step_is_its_base_and_one_that_does_not_is_refused_by_name():
    class Quiet(optim.AdamW):
        """Keeps the step."""

    class Loud(optim.AdamW):
        def step(self, closure=None):
            return super().step(closure)

    class Lion(optim.Optimizer):
        def __init__(self, params):
            super().__init__(params, {"lr": 1e-4, "weight_decay": 0.5})

    assert describe_optimizer(Quiet(weights())).kind == "adamw"
    with pytest.raises(TaskError, match=r"step of Loud .*is not known.*OptimizerSpec\(kind="):
        describe_optimizer(Loud(weights()))
    assert describe_optimizer(Lion(weights())) == OptimizerSpec(kind="lion", weight_decay=0.5)


def test_thin_wrappers_are_looked_through_and_others_are_not():
    inside = optim.SGD(weights(), lr=0.1)

    class AcceleratedOptimizer(optim.Optimizer):
        def __init__(self, optimizer):
            self.optimizer = optimizer

    class Lookahead(optim.Optimizer):
        def __init__(self, optimizer):
            self.optimizer = optimizer
            self.param_groups = optimizer.param_groups

    assert describe_optimizer(AcceleratedOptimizer(inside)).kind == "sgd"
    with pytest.raises(TaskError, match="Lookahead"):
        describe_optimizer(Lookahead(inside))


def test_an_optimizer_prepared_by_accelerate_is_read_and_rebuilt():
    accelerate = pytest.importorskip("accelerate")
    model = nn.Linear(2, 1)
    prepared = accelerate.Accelerator(cpu=True).prepare(optim.AdamW(model.parameters(), lr=0.1))
    assert type(prepared).__name__ == "AcceleratedOptimizer"
    assert describe_optimizer(prepared) == OptimizerSpec(kind="adamw", weight_decay=0.01)
    rebuilt = rebuild(prepared, model=model, onto=copy.deepcopy(model), learning_rate=0.5)
    assert (type(rebuilt), rebuilt.param_groups[0]["lr"]) == (optim.AdamW, 0.5)


def test_an_optimizer_wrapped_by_lightning_is_read_and_rebuilt():
    pytest.importorskip("lightning")
    from lightning.pytorch.core.optimizer import LightningOptimizer

    model = nn.Linear(2, 1)
    wrapped = LightningOptimizer(optim.SGD(model.parameters(), lr=0.1, momentum=0.9))
    assert describe_optimizer(wrapped) == OptimizerSpec(kind="momentum")
    rebuilt = rebuild(wrapped, model=model, onto=copy.deepcopy(model), learning_rate=0.5)
    assert (type(rebuilt), rebuilt.param_groups[0]["lr"]) == (optim.SGD, 0.5)


@pytest.mark.parametrize(("given", "message"), [(optim.SGD, "the class SGD"), ("adamw", "a str")])
def test_what_is_no_optimizer_is_refused(given, message):
    with pytest.raises(TaskError, match=message):
        describe_optimizer(given)


def test_maximizing_is_refused():
    with pytest.raises(TaskError, match="maximize=True"):
        describe_optimizer(optim.SGD(weights(), lr=0.1, maximize=True))
