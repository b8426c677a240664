"""Gradient and curvature noise against closed forms of least squares and against per-sample derivatives."""

import numpy as np
import pytest
import torch

from probes import HessianOperator, curvature_noise, gradient_noise
from probes.noise import gram, micro_batches
from spectra.errors import ArgumentError, ShapeError
from tests.probes.small_tasks import classifier, least_squares


def per_sample(task):
    """Return per-sample gradients (N, n) and Hessians (N, n, n) of least squares."""
    inputs, target = task.data[0]
    weight = task.model.weight.detach().flatten()
    residual = inputs @ weight - target.flatten()
    return 2 * residual[:, None] * inputs, 2 * inputs[:, :, None] * inputs[:, None, :]


def test_curvature_noise_covers_the_exact_scatter_of_sample_hessians():
    task = least_squares()
    _, hessians = per_sample(task)
    vector = torch.linalg.eigh(hessians.mean(0))[1][:, -1]
    spread = (hessians - hessians.mean(0)) @ vector
    exact = float((spread**2).sum()) / (len(spread) - 1)
    inside = 0
    for seed in range(20):
        low, high = curvature_noise(task, vector, batch_size=8, rng=seed, check=False).interval()
        inside += low <= exact <= high
    # 95% nominal over draws of 192 of 256 samples: 16 of 20 would be four binomial standard errors below.
    assert inside >= 17


def test_all_micro_batches_together_give_the_exact_value():
    task = least_squares()
    gradients, hessians = per_sample(task)
    exact_noise = float(((hessians - hessians.mean(0))[:, :, 0] ** 2).sum()) / 255
    found = curvature_noise(task, torch.eye(6, dtype=torch.float64)[0], num_batches=256, batch_size=1)
    assert found.value == pytest.approx(exact_noise, rel=1e-10)
    statistics = gradient_noise(task, num_batches=256, batch_size=1)
    trace = float(gradients.var(dim=0, correction=1).sum())
    mean = gradients.mean(0)
    assert statistics.trace_covariance.value == pytest.approx(trace, rel=1e-10)
    assert statistics.squared_gradient.value == pytest.approx(float(mean @ mean), rel=1e-10)
    hessian = hessians.mean(0)
    weighted = float(torch.trace(hessian @ torch.cov(gradients.T)))
    assert statistics.noise_curvature.value == pytest.approx(weighted, rel=1e-10)
    assert statistics.gradient_curvature.value == pytest.approx(float(mean @ hessian @ mean), rel=1e-10)


def test_noise_leaves_the_model_as_it_was():
    task = classifier()
    task.model.train()
    before = {name: value.clone() for name, value in task.model.state_dict().items()}
    state = torch.random.get_rng_state()
    gradient_noise(task)
    curvature_noise(task, torch.ones(HessianOperator(task.model, task.loss, task.data).shape[0], dtype=torch.float64))
    assert task.model.training
    assert all(parameter.grad is None for parameter in task.model.parameters())
    assert torch.equal(torch.random.get_rng_state(), state)
    for name, value in task.model.state_dict().items():
        assert torch.equal(value, before[name])


def test_gram_accumulates_float32_in_float64():
    rng = np.random.default_rng(0)
    columns = torch.tensor(rng.standard_normal((5000, 3)) + 1e3, dtype=torch.float32)
    exact = columns.double().T @ columns.double()
    np.testing.assert_allclose(gram(columns), exact.numpy(), rtol=1e-14)


def test_micro_batches_are_disjoint_and_shrink_with_the_data():
    samples = classifier().samples()
    drawn = micro_batches(samples, num=24, size=16, rng=np.random.default_rng(0))
    assert drawn.size == 256 // 24
    rows = torch.cat([batch.inputs for batch in drawn.batches])
    assert len(torch.unique(rows, dim=0)) == len(rows) == 24 * drawn.size


def test_wrong_calls_are_refused():
    task = classifier()
    with pytest.raises(ArgumentError, match="at least 8"):
        gradient_noise(task, num_batches=4)
    with pytest.raises(ShapeError, match="shape"):
        curvature_noise(task, torch.ones(3))
    with pytest.raises(ArgumentError, match="norm"):
        curvature_noise(task, torch.zeros(83, dtype=torch.float64))
