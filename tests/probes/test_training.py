"""Real optimizer steps: the same as torch's, in the same order, and divergence noticed."""

import copy

import numpy as np
import pytest
import torch

from probes.training import TrainingRun, build_optimizer, shuffled_batches
from spectra.errors import ArgumentError
from spectra.recommend import OptimizerSpec
from tests.probes.small_tasks import classifier


def training(task, model, kind, rate, batch_size=32):
    return TrainingRun(
        task,
        model,
        list(model.parameters()),
        task.samples(),
        optimizer=OptimizerSpec(kind=kind),
        batch_size=batch_size,
        learning_rate=rate,
        rng=np.random.default_rng(3),
    )


@pytest.mark.parametrize("kind", ["sgd", "momentum", "adam", "adamw"])
def test_steps_are_those_of_a_hand_written_loop(kind):
    task = classifier()
    ours, theirs = copy.deepcopy(task.model), copy.deepcopy(task.model)
    run = training(task, ours, kind, 0.01)
    assert run.advance(4)
    assert run.advance(3)
    optimizer = build_optimizer(OptimizerSpec(kind=kind), list(theirs.parameters()), 0.01)
    batches = shuffled_batches(task.samples(), batch_size=32, rng=np.random.default_rng(3))
    for _ in range(7):
        batch = next(batches)
        optimizer.zero_grad()
        task.loss(theirs(batch.inputs), batch.target).backward()
        optimizer.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a, b)
    assert len(run.losses) == 7


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


def test_batch_sizes_outside_the_data_are_refused():
    with pytest.raises(ArgumentError, match="256 samples"):
        next(shuffled_batches(classifier().samples(), batch_size=257, rng=np.random.default_rng(0)))
