"""Any choice of quantities gives the numbers that all together give."""

import numpy as np
import pytest
import torch

from probes import Task
from probes.hooks.quantities import applicable
from probes.hooks.recording_plan import RecordingPlan
from spectra.errors import ArgumentError
from spectra.recording import MEASURED, read_recording
from tests.probes import small_tasks
from tests.probes.hooks.loops import OPTIMIZERS, heard, recorder, train

CHOICES = [None, ("sharpness", "curvature_noise"), "curvature_noise", ("preconditioned_sharpness", "curvature_noise")]


@pytest.mark.parametrize("kind", ["nesterov", "adamw"])
def test_the_limit_does_not_depend_on_what_else_is_asked_for(kind, tmp_path):
    task = small_tasks.classifier()
    optimizer = OPTIMIZERS[kind](task.model.parameters())
    train(task, optimizer, num_steps=110)
    limits = []
    for i, quantities in enumerate(CHOICES):
        path = tmp_path / f"{i}.zarr"
        options = {"reference_size": 256, "samples_in_memory": 100, "tolerance": 1e-9, "max_products": 120}
        with recorder(task, path, optimizer, quantities=quantities, **options) as hook:
            hook.measure()
        assert not hook.failures
        found = read_recording(path)
        assert found["curvature_noise_status"].values.tolist() == [1]
        assert np.isfinite(found["reference_loss"]).all()
        limits.append(float(found["max_stable_learning_rate"][0]))
    np.testing.assert_allclose(limits, limits[0], rtol=1e-6)


def test_what_is_implied():
    assert applicable(None, scaled=False) == ("sharpness", "noise_scale", "curvature_noise")
    assert applicable(None, scaled=True) == MEASURED
    assert applicable(["curvature_noise"], scaled=False) == ("sharpness", "curvature_noise")
    assert applicable(["curvature_noise", "sharpness"], scaled=True) == tuple(n for n in MEASURED if n != "noise_scale")
    assert applicable(["noise_scale"], scaled=True) == ("noise_scale",)


def test_the_reference_loss_in_pieces_is_that_of_the_whole(tmp_path):
    task = small_tasks.classifier()
    optimizer = torch.optim.SGD(task.model.parameters(), lr=0.1)
    options = {"quantities": "sharpness", "reference_size": 256, "samples_in_memory": 100}
    with recorder(task, tmp_path / "run.zarr", optimizer, **options) as hook:
        hook.measure()
        hook.measure()
    inputs, target = task.data[0]
    expected = float(task.loss(task.model(inputs), target).detach())
    np.testing.assert_allclose(read_recording(tmp_path / "run.zarr")["reference_loss"], expected, rtol=1e-12)


@pytest.mark.parametrize("quantities", [None, "noise_scale"])
def test_a_failing_check_spares_the_noise_scale(quantities, tmp_path):
    task = small_tasks.once_differentiable()
    optimizer = torch.optim.SGD(task.model.parameters(), lr=0.01)
    with (
        heard() as messages,
        recorder(task, tmp_path / "run.zarr", optimizer, check=True, quantities=quantities) as hook,
    ):
        hook.measure()
    found = read_recording(tmp_path / "run.zarr").isel(step=0)
    curved = 0 if quantities else 2
    assert [int(found[f"{name}_status"]) for name in MEASURED] == [curved, 0, 1, curved]
    assert np.isfinite(found["noise_scale"])
    assert any("DerivativeError" in message for message in messages) == (quantities is None)


def test_all_that_was_asked_for_fails_where_nothing_can_be_measured(tmp_path):
    inputs, target = small_tasks.data()
    task = Task(small_tasks.network(), torch.nn.CrossEntropyLoss(), [(inputs[:5], target[:5])])
    optimizer = torch.optim.SGD(task.model.parameters(), lr=0.01)
    with heard(), recorder(task, tmp_path / "run.zarr", optimizer) as hook:
        hook.measure()
    found = read_recording(tmp_path / "run.zarr").isel(step=0)
    assert [int(found[f"{name}_status"]) for name in MEASURED] == [2, 0, 2, 2]


def test_adam_in_half_precision(tmp_path):
    """Second moments of a bfloat16 model give the preconditioner in float32, of young and of old ones."""
    inputs, target = small_tasks.data(dtype=torch.bfloat16)
    found = []
    for dtype in (torch.float32, torch.bfloat16):
        model = small_tasks.network(torch.bfloat16).to(dtype)
        task = Task(model, torch.nn.CrossEntropyLoss(), [(inputs.to(dtype), target)])
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-30, betas=(0.9, 0.9))
        path = tmp_path / f"{dtype}.zarr"
        with recorder(task, path, optimizer, reference_size=256, tolerance=1e-3, max_products=80) as hook:
            train(task, optimizer, num_steps=2, batch_size=256, after=hook.step)
            train(task, optimizer, num_steps=110, batch_size=256)
            hook.measure()
        assert not hook.failures
        found.append(read_recording(path))
    # Gradients of 8 bits, squared.
    for name in ("preconditioned_sharpness", "max_stable_learning_rate"):
        np.testing.assert_allclose(found[1][name], found[0][name], rtol=2**-6)


def test_counts_are_plain_and_nonsense_is_refused():
    task = small_tasks.classifier()
    plan = RecordingPlan(task=task, batch_size=np.int64(8), rng=np.int64(3), num_micro_batches=np.int32(4))
    assert [type(value) for value in (plan.batch_size, plan.rng, plan.num_micro_batches)] == [int, int, int]
    for wrong in ({"rng": -1}, {"rng": None}, {"tolerance": "a"}, {"tolerance": 0.0}, {"num_micro_batches": None}):
        with pytest.raises(ArgumentError):
            RecordingPlan(task=task, batch_size=8, **wrong)
