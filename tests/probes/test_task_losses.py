"""Tasks whose loss takes the model and the batch: measured, and trained for a measurement."""

import numpy as np
import torch
from torch import nn

import probes
from probes import HessianOperator, Task
from probes.training import TrainingRun
from spectra.recommend import OptimizerSpec
from tests.probes.networks import mlp, normal, relative_error


def heat(model, points):
    """Return the mean squared residual of y' = -y, by a derivative with respect to the input."""
    points = points.detach().requires_grad_()
    value = model(points)
    (slope,) = torch.autograd.grad(value.sum(), points, create_graph=True)
    return (slope.sum(1, keepdim=True) + value).square().mean()


def test_physics_informed_loss():
    model, points = mlp(nn.Tanh, out=1), normal(20, 6)
    task = Task(model, heat, [points[:13], points[13:]])
    assert task.batches.sizes == [13, 7]
    operator = HessianOperator(task.model, task.loss, task.data)
    whole = HessianOperator(model, heat, [points])
    vectors = normal(operator.shape[0], 3)
    assert relative_error(operator @ vectors, whole @ vectors) <= 1e-12
    assert "vmap_reverse" in operator.ladder.excluded or operator.product_strategy in operator.strategies


def test_training_steps_of_such_a_task():
    task = Task(mlp(nn.Tanh, out=1), heat, [normal(20, 6)])
    run = TrainingRun(
        task,
        task.model,
        list(task.model.parameters()),
        task.samples(),
        optimizer=OptimizerSpec(kind="sgd"),
        batch_size=20,
        learning_rate=0.01,
        rng=np.random.default_rng(0),
    )
    assert run.advance(5)
    assert run.losses[-1] < run.losses[0]


def test_half_precision_models_can_be_tasks():
    model = mlp(nn.Tanh).bfloat16()
    task = probes.Task(model, nn.CrossEntropyLoss(), [(normal(8, 6).bfloat16(), torch.arange(8) % 4)])
    operator = HessianOperator(task.model, task.loss, task.batches)
    assert operator.dtype == torch.float32
