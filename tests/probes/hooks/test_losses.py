"""Losses that a training loop hands in: copied, converted one by one, and no reason to stop anything."""

import numpy as np
import pytest
import torch

from probes.hooks import Recorder
from probes.hooks.observer import Observer
from probes.hooks.training_log import TrainingLog
from spectra.recording import read_recording
from tests.probes.hooks.loops import OPTIMIZERS, Clock, heard, noisy_task, recorder, train


def observed(monkeypatch):
    """Have measurements take no time and find one number; return the steps at which they took place."""
    steps = []

    def observe(self, step):
        steps.append(step)
        return {"step": float(step), "sharpness": 1.0, "sharpness_status": 1}

    monkeypatch.setattr(Observer, "observe", observe)
    return steps


@pytest.mark.parametrize("wrong", [torch.ones(3), {"loss": 1.0}, "1.0 (mean)", torch.tensor(1j)])
def test_a_loss_that_is_no_number_stops_nothing(wrong, tmp_path, monkeypatch):
    measured = observed(monkeypatch)
    task = noisy_task()
    optimizer = OPTIMIZERS["sgd"](task.model.parameters())
    with heard() as messages, recorder(task, tmp_path / "run.zarr", optimizer, every=100, clock=Clock()) as hook:
        train(task, optimizer, num_steps=20, after=lambda loss: hook.step(wrong))
    assert measured == [1]
    found = read_recording(tmp_path / "run.zarr")
    assert found["step"].values.tolist() == [1]
    assert found["training_step"].values.tolist() == list(range(1, 21))
    assert np.isnan(found["step_loss"]).all()
    assert np.isnan(found["training_loss"]).all()
    assert np.isfinite(found["gradient_norm"]).all()
    assert found.attrs["status"] == "closed"
    if not isinstance(wrong, torch.Tensor) or not wrong.is_complex():
        # Said once, not at every step: there is room for a hundred failures only.
        assert [(entry["step"], entry["quantity"]) for entry in hook.failures] == [(1, "step_loss")]
        assert sum("step_loss could not be recorded" in message for message in messages) == 1


def test_one_such_loss_leaves_the_other_steps_as_they_are(tmp_path, monkeypatch):
    observed(monkeypatch)
    task = noisy_task()
    optimizer = OPTIMIZERS["sgd"](task.model.parameters())
    with heard(), recorder(task, tmp_path / "run.zarr", optimizer, clock=Clock()) as hook:
        for step in range(1, 7):
            hook.step(torch.ones(3) if step == 4 else float(step))
    losses = read_recording(tmp_path / "run.zarr")["step_loss"].values
    assert np.array_equal(losses, [1.0, 2.0, 3.0, np.nan, 5.0, 6.0], equal_nan=True)


def test_a_value_that_cannot_be_read_is_nan_alone():
    log = TrainingLog(wants_l1=False)
    for step in (1, 2, 3):
        loss = torch.empty((), device="meta") if step == 2 else torch.tensor(float(step))
        log.note(step, optimizer=None, learning_rate=0.1, loss=loss)
    rows = log.take()
    assert [row["training_step"] for row in rows] == [1, 2, 3]
    assert np.array_equal([row["step_loss"] for row in rows], [1.0, np.nan, 3.0], equal_nan=True)


def test_a_loss_whose_memory_is_used_again_is_that_of_its_step(tmp_path, monkeypatch):
    """As with captured graphs, which write every loss to the same place."""
    observed(monkeypatch)
    task = noisy_task()
    optimizer = OPTIMIZERS["sgd"](task.model.parameters())
    static, expected = torch.zeros(()), []

    def after(loss):
        expected.append(float(static.copy_(loss.detach())))
        hook.step(static)

    with recorder(task, tmp_path / "run.zarr", optimizer, clock=Clock()) as hook:
        train(task, optimizer, num_steps=4, after=after)
    assert read_recording(tmp_path / "run.zarr")["step_loss"].values.tolist() == expected


def test_a_measurement_that_raises_is_not_tried_at_every_step(tmp_path, monkeypatch):
    steps = []

    def observe(self, step):
        steps.append(step)
        raise RuntimeError("unforeseen")

    monkeypatch.setattr(Observer, "observe", observe)
    task, clock = noisy_task(), Clock()
    optimizer = OPTIMIZERS["sgd"](task.model.parameters())
    with heard(), Recorder(task, tmp_path / "run.zarr", batch_size=32, every=25, clock=clock) as hook:
        train(task, optimizer, num_steps=60, after=hook.step)
    assert steps == [1, 25, 50]
    assert {entry["reason"] for entry in hook.failures} == {"RuntimeError: unforeseen"}


def test_attached_a_step_of_the_loop_only_hands_in_the_loss(tmp_path, monkeypatch):
    measured = observed(monkeypatch)
    task = noisy_task()
    optimizer = OPTIMIZERS["sgd"](task.model.parameters())
    options = {"every": 2, "clock": Clock()}
    with recorder(task, tmp_path / "run.zarr", None, **options).attach(optimizer) as hook:
        losses = train(task, optimizer, num_steps=5, after=hook.step)
    assert hook.step_count == 5
    assert measured == [1, 2, 4]
    found = read_recording(tmp_path / "run.zarr")
    assert found["training_step"].values.tolist() == [1, 2, 3, 4, 5]
    np.testing.assert_allclose(found["step_loss"], losses)
    np.testing.assert_allclose(found["training_loss"], [losses[0], losses[1], losses[3]])


def test_a_closed_recorder_is_not_attached(tmp_path):
    task = noisy_task()
    optimizer = OPTIMIZERS["sgd"](task.model.parameters())
    hook = recorder(task, tmp_path / "run.zarr", None)
    hook.close()
    with heard() as messages:
        hook.attach(optimizer)
        hook.attach(optimizer)
    assert not optimizer._optimizer_step_post_hooks
    assert [message for message in messages if "nothing is attached" in message] == messages[:1]
