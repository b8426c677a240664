"""Constants of the optimizer as they are at each measurement, and optimizers that lack some."""

import numpy as np
import pytest
import torch

from spectra.recommend import OptimizerSpec, stable_limit
from spectra.recording import read_recording
from tests.probes import small_tasks
from tests.probes.hooks.loops import heard, noisy_task, recorder, train

EXACT = {"reference_size": 256, "tolerance": 1e-8, "max_products": 60, "samples_in_memory": 256}


@pytest.mark.parametrize("kind", ["momentum", "adam"])
def test_momentum_that_a_schedule_changes_is_that_of_the_step(kind, tmp_path):
    task = small_tasks.classifier()
    if kind == "adam":
        optimizer = torch.optim.Adam(task.model.parameters(), lr=1e-3)
    else:
        optimizer = torch.optim.SGD(task.model.parameters(), lr=1e-3, momentum=0.9)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-3, total_steps=20)
    expected = []

    def after(loss):
        group = optimizer.param_groups[0]
        expected.append(group["betas"][0] if kind == "adam" else group["momentum"])
        hook.step(loss)
        schedule.step()

    with recorder(task, tmp_path / "run.zarr", optimizer, every=5, **EXACT) as hook:
        train(task, optimizer, num_steps=15, after=after)
    found = read_recording(tmp_path / "run.zarr")
    assert not hook.failures
    steps = found["step"].values
    np.testing.assert_array_equal(found["momentum"], np.array(expected)[steps - 1])
    assert len(set(found["momentum"].values.tolist())) == 4
    curvature = found["preconditioned_sharpness" if kind == "adam" else "sharpness"].values
    noise = np.maximum(found["curvature_noise"].values, 0.0)
    limits = [
        stable_limit(c, s, batch_size=32, optimizer=OptimizerSpec(kind=kind, momentum=beta))
        for c, s, beta in zip(curvature, noise, found["momentum"].values, strict=True)
    ]
    np.testing.assert_allclose(found["max_stable_learning_rate"], limits, rtol=1e-9)


class Descent(torch.optim.Optimizer):
    """Gradient descent whose rate is its own business."""

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p.add_(p.grad, alpha=-0.01)


@pytest.mark.parametrize("constants", [{}, {"lr": None}])
def test_without_a_learning_rate_curvature_and_noise_are_recorded(constants, tmp_path):
    task = noisy_task()
    optimizer = Descent(task.model.parameters(), constants)
    with heard() as messages, recorder(task, tmp_path / "run.zarr", optimizer, every=2) as hook:
        train(task, optimizer, num_steps=4, after=hook.step)
    found = read_recording(tmp_path / "run.zarr")
    assert found["step"].values.tolist() == [1, 2, 4]
    for name in ("sharpness", "noise_scale", "curvature_noise"):
        assert np.isfinite(found[name]).all(), name
    for name in ("learning_rate", "momentum", "max_stable_learning_rate"):
        assert np.isnan(found[name]).all(), name
    assert np.isfinite(found["gradient_norm"]).all()
    # That the optimizer is not known is said once, not at every measurement.
    assert [entry["quantity"] for entry in hook.failures] == ["optimizer"]
    assert sum("optimizer could not be recorded" in message for message in messages) == 1
