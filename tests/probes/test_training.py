"""Real optimizer steps: the same as torch's, in the same order, and divergence noticed."""

import copy

import numpy as np
import pytest
import torch

from probes import Task
from probes.optimizers import rebuild
from probes.training import TrainingRun, shuffled_batches
from spectra.errors import ArgumentError, TaskError
from spectra.recommend.optimizer import OptimizerSpec
from tests.probes.small_tasks import classifier, data, network, with_dropout


def training(task, model, optimizer, rate, batch_size=32, **options):
    return TrainingRun(
        task,
        model,
        list(model.parameters()),
        task.samples(),
        optimizer=OptimizerSpec(kind=optimizer) if isinstance(optimizer, str) else optimizer,
        batch_size=batch_size,
        learning_rate=rate,
        rng=np.random.default_rng(3),
        **options,
    )


def hand_written(task, model, optimizer, steps, *, clip=None, skip=0):
    """Train as every tutorial does, on the batches of :func:`training`."""
    batches = shuffled_batches(task.samples(), batch_size=32, rng=np.random.default_rng(3))
    norms = []
    for _ in range(skip):
        next(batches)
    for _ in range(steps):
        batch = next(batches)
        optimizer.zero_grad()
        task.loss(model(batch.inputs), batch.target).backward()
        if clip is not None:
            norms.append(float(torch.nn.utils.clip_grad_norm_(model.parameters(), clip)))
        optimizer.step()
    return norms


def same(a, b):
    return all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


TORCH = {
    "sgd": (torch.optim.SGD, {}),
    "momentum": (torch.optim.SGD, {"momentum": 0.9}),
    "nesterov": (torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
    "adam": (torch.optim.Adam, {}),
    "adamw": (torch.optim.AdamW, {"weight_decay": 0.0}),
    "rmsprop": (torch.optim.RMSprop, {}),
}


@pytest.mark.parametrize("kind", TORCH)
def test_steps_are_those_of_a_hand_written_loop(kind):
    task = classifier()
    ours, theirs = copy.deepcopy(task.model), copy.deepcopy(task.model)
    run = training(task, ours, kind, 0.01)
    assert run.advance(4)
    assert run.advance(3)
    made, constants = TORCH[kind]
    hand_written(task, theirs, made(theirs.parameters(), lr=0.01, **constants), 7)
    assert same(ours, theirs)
    assert len(run.losses) == 7


@pytest.mark.parametrize(
    ("spec", "made", "constants"),
    [
        (
            OptimizerSpec(kind="momentum", momentum=0.5, dampening=0.3, weight_decay=0.1),
            torch.optim.SGD,
            {"momentum": 0.5, "dampening": 0.3, "weight_decay": 0.1},
        ),
        (
            OptimizerSpec(kind="adamw", amsgrad=True, weight_decay=0.1, momentum=0.8, beta2=0.9, eps=1e-4),
            torch.optim.AdamW,
            {"amsgrad": True, "weight_decay": 0.1, "betas": (0.8, 0.9), "eps": 1e-4},
        ),
        (
            OptimizerSpec(kind="rmsprop", alpha=0.9, momentum=0.5, centered=True, weight_decay=0.1, eps=1e-4),
            torch.optim.RMSprop,
            {"alpha": 0.9, "momentum": 0.5, "centered": True, "weight_decay": 0.1, "eps": 1e-4},
        ),
    ],
    ids=lambda value: value.label if isinstance(value, OptimizerSpec) else "",
)
def test_every_constant_of_a_description_reaches_torch(spec, made, constants):
    task = classifier()
    ours, theirs = copy.deepcopy(task.model), copy.deepcopy(task.model)
    assert training(task, ours, spec, 0.01).advance(5)
    hand_written(task, theirs, made(theirs.parameters(), lr=0.01, **constants), 5)
    assert same(ours, theirs)


@pytest.mark.parametrize("rate", [None, 0.002])
def test_a_rebuilt_optimizer_goes_on_where_the_original_stands(rate):
    task = classifier()
    model = copy.deepcopy(task.model)
    original = torch.optim.AdamW(
        [{"params": model[0].parameters(), "lr": 0.01}, {"params": model[2].parameters(), "lr": 0.005}]
    )
    hand_written(task, model, original, 5)
    copied = copy.deepcopy(model)
    run = training(task, copied, rebuild(original, model=model, onto=copied), rate)
    assert (run.spec, run.learning_rate) == (OptimizerSpec(kind="adamw", weight_decay=0.01), rate or 0.01)
    assert run.advance(4)
    if rate is not None:
        original.param_groups[0]["lr"], original.param_groups[1]["lr"] = rate, rate / 2
    hand_written(task, model, original, 4)
    assert same(model, copied)
    expected = torch.cat([(original.state[p]["exp_avg_sq"] / (1 - 0.999**9)).flatten() for p in model.parameters()])
    torch.testing.assert_close(run.second_moment(), expected, rtol=1e-12, atol=0)


def test_an_optimizer_of_another_model_is_refused_before_it_is_stepped():
    task = classifier()
    copied = copy.deepcopy(task.model)
    with pytest.raises(TaskError, match=r"4 of the 4 tensors .*rebuild\(optimizer, model=model, onto=copy\)"):
        training(task, copied, torch.optim.SGD(task.model.parameters(), lr=0.1), None)


@pytest.mark.parametrize("clip", [0.05, 0.78, 1e6])
def test_clipping_is_that_of_torch_and_is_counted(clip):
    task = classifier()
    ours, theirs = copy.deepcopy(task.model), copy.deepcopy(task.model)
    run = training(task, ours, "momentum", 0.05, clip_norm=clip)
    assert run.advance(6)
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.05, momentum=0.9)
    norms = hand_written(task, theirs, optimizer, 6, clip=clip)
    assert same(ours, theirs)
    assert run.gradient_norms == norms
    assert run.num_clipped == sum(norm > clip for norm in norms)
    assert (run.num_clipped == 6, run.num_clipped == 0) == (clip == 0.05, clip == 1e6)


@pytest.mark.parametrize("size", [1, 5, 8, 31, 32, 64])
def test_accumulated_gradients_are_those_of_the_whole_batch(size):
    task = classifier()
    whole, parts = copy.deepcopy(task.model), copy.deepcopy(task.model)
    one, many = training(task, whole, "sgd", 0.1), training(task, parts, "sgd", 0.1, micro_batch_size=size)
    assert one.advance(5)
    assert many.advance(5)
    np.testing.assert_allclose(many.losses, one.losses, rtol=1e-13)
    for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-15)
    assert same(whole, parts) == (size >= 32)


def test_pieces_count_by_their_weight_in_the_mean_and_empty_ones_not_at_all():
    inputs, labels = data()
    labels = labels.clone()
    labels[torch.arange(256) % 3 != 0] = -100
    task = Task(network(), torch.nn.CrossEntropyLoss(weight=torch.tensor([1.0, 5.0, 0.5]).double()), [(inputs, labels)])
    whole, parts = copy.deepcopy(task.model), copy.deepcopy(task.model)
    one, many = training(task, whole, "sgd", 0.1), training(task, parts, "sgd", 0.1, micro_batch_size=2)
    assert one.advance(5)
    assert many.advance(5)
    np.testing.assert_allclose(many.losses, one.losses, rtol=1e-13)
    for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-15)


def test_accumulation_with_dropout_is_repeatable():
    task = with_dropout()
    models = [copy.deepcopy(task.model) for _ in range(2)]
    for model in models:
        assert training(task, model, "adamw", 0.01, micro_batch_size=10).advance(4)
    assert same(*models)


def test_gradients_of_parameters_that_are_not_trained_do_not_add_up():
    task = classifier()
    model = copy.deepcopy(task.model)
    original = torch.optim.SGD(task.model[2].parameters(), lr=0.1)
    run = training(task, model, rebuild(original, model=task.model, onto=model), None)
    assert run.advance(3)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(model[0].weight, task.model[0].weight)


@pytest.mark.parametrize(
    ("optimizer", "rate", "options", "message"),
    [
        ("sgd", None, {}, "learning_rate is needed"),
        ("muon", 0.1, {}, "steps of muon are not taken here: its steps are orthogonalized"),
        ("sgd", 0.1, {"clip_norm": 0.0}, "clip_norm must be positive"),
        ("sgd", 0.1, {"clip_norm": float("nan")}, "clip_norm must be a finite"),
        ("sgd", 0.1, {"micro_batch_size": 0}, "at least 1 sample"),
    ],
)
def test_impossible_settings_are_refused(optimizer, rate, options, message):
    task = classifier()
    with pytest.raises(ArgumentError, match=message):
        training(task, copy.deepcopy(task.model), optimizer, rate, **options)


def test_every_epoch_visits_each_sample_once():
    task = classifier()
    source = shuffled_batches(task.samples(), batch_size=64, rng=np.random.default_rng(0))
    epoch = torch.cat([next(source).inputs for _ in range(4)])
    assert len(torch.unique(epoch, dim=0)) == 256


def test_divergence_is_noticed_and_grads_are_cleared():
    task = classifier()
    model = copy.deepcopy(task.model)
    run = training(task, model, "sgd", 1e4)
    assert not run.advance(50)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_bias_corrected_second_moment_of_one_step_is_the_squared_gradient():
    task = classifier()
    model = copy.deepcopy(task.model)
    run = training(task, model, "adamw", 1e-3, batch_size=256)
    loss = task.loss(model(task.data[0][0]), task.data[0][1])
    gradient = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))])
    assert torch.equal(run.second_moment(), torch.zeros_like(gradient))
    run.advance(1)
    torch.testing.assert_close(run.second_moment(), gradient**2, rtol=1e-9, atol=1e-16)


def test_second_moment_of_rmsprop_is_not_bias_corrected():
    task = classifier()
    model = copy.deepcopy(task.model)
    run = training(task, model, "rmsprop", 1e-3, batch_size=256)
    loss = task.loss(model(task.data[0][0]), task.data[0][1])
    gradient = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))])
    run.advance(1)
    torch.testing.assert_close(run.second_moment(), 0.01 * gradient**2, rtol=1e-9, atol=1e-16)


def test_batch_sizes_outside_the_data_are_refused():
    with pytest.raises(ArgumentError, match="256 samples"):
        next(shuffled_batches(classifier().samples(), batch_size=257, rng=np.random.default_rng(0)))
