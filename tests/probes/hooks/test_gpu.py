"""The recorder of a model that trains on a GPU."""

import numpy as np
import pytest
import torch

from probes import Task
from spectra.recording import read_recording
from tests.probes.hooks.loops import OPTIMIZERS, noisy_task, recorder, train

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def on_device() -> Task:
    task = noisy_task()
    inputs, target = task.data[0]
    return Task(task.model.cuda(), task.loss, [(inputs.cuda(), target.cuda())])


def test_training_is_bit_identical_with_and_without_it(tmp_path):
    found = []
    for recorded in (False, True):
        torch.manual_seed(1)
        task = on_device()
        optimizer = OPTIMIZERS["adamw"](task.model.parameters())
        if recorded:
            with recorder(task, tmp_path / "run.zarr", optimizer, every=3, check=True) as hook:
                train(task, optimizer, num_steps=10, after=hook.step)
            assert not hook.failures
        else:
            train(task, optimizer, num_steps=10)
        found.append([*task.model.state_dict().values(), torch.cuda.get_rng_state(), torch.get_rng_state()])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
    recording = read_recording(tmp_path / "run.zarr")
    assert np.isfinite(recording["preconditioned_sharpness"]).all()
    assert np.isfinite(recording["gradient_norm"]).all()
