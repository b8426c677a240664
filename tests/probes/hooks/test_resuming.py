"""Recordings that are continued, replaced or left behind, and arguments that are refused before anything is written."""

import gc
import json
import shutil

import numpy as np
import pytest
import torch
import xarray as xr

import spectra
from probes.hooks.observer import Observer
from probes.hooks.store import CHUNKS, RecordingStore
from spectra.errors import ArgumentError, SchemaError, TaskError
from spectra.recording import VARIABLES, read_recording
from tests.probes.hooks.loops import OPTIMIZERS, Clock, heard, noisy_task, recorder, train
from tests.probes.hooks.test_losses import observed


def rows(first, last):
    return [{"step": step, "sharpness": 0.5 * step} for step in range(first, last)]


def files(path):
    return {file.relative_to(path): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def foreign(path):
    pairs = xr.Dataset({"eigenvalue": ("pair", [2.0]), "residual": ("pair", [1e-9])})
    spectra.save(pairs.assign_attrs(schema="spectra/eigenpairs", schema_version=1), path)


def damaged(path):
    RecordingStore(path, {}).append("step", rows(1, 4))
    (path / ".zattrs").write_text("{")


@pytest.mark.parametrize("there", [foreign, damaged])
@pytest.mark.parametrize("if_exists", ["append", "replace"])
def test_what_is_no_readable_recording_is_never_removed(there, if_exists, tmp_path):
    path = tmp_path / "run.zarr"
    there(path)
    before = files(path)
    with pytest.raises(SchemaError):
        RecordingStore(path, {}, if_exists=if_exists)
    assert files(path) == before


def test_steps_are_counted_on_from_those_that_were_not_noted(tmp_path):
    store = RecordingStore(tmp_path / "run.zarr", {})
    store.append("training_step", [{"training_step": 847}])
    store.update({"num_steps": 1000})
    assert RecordingStore(tmp_path / "run.zarr", {}, if_exists="append").last_step == 1000


def test_what_was_given_when_it_was_continued_is_what_the_attributes_say(tmp_path, monkeypatch):
    observed(monkeypatch)
    task = noisy_task()
    optimizer = OPTIMIZERS["sgd"](task.model.parameters())
    with heard(), recorder(task, tmp_path / "run.zarr", optimizer, every=2, clock=Clock()) as hook:
        train(task, optimizer, num_steps=3, after=hook.step)
        hook.step("no number")
    created = read_recording(tmp_path / "run.zarr").attrs["created"]
    RecordingStore(tmp_path / "run.zarr", {}, if_exists="append").update({"created": "long ago"})
    options = {"every": 2, "clock": Clock(), "if_exists": "append", "batch_size": 64, "reference_size": 128}
    with recorder(task, tmp_path / "run.zarr", optimizer, **options) as hook:
        train(task, optimizer, num_steps=2, after=hook.step)
    attrs = read_recording(tmp_path / "run.zarr").attrs
    assert created != attrs["created"] == "long ago"
    assert (attrs["batch_size"], attrs["reference_size"]) == (64, 128)
    assert (attrs["num_steps"], attrs["num_measured"]) == (6, 4)  # at 1, 2, 4 and 6
    assert hook.num_measured == 4
    assert [entry["step"] for entry in json.loads(attrs["failures"])] == [4]


def test_resumed_from_an_earlier_checkpoint_later_rows_are_dropped(tmp_path, monkeypatch):
    observed(monkeypatch)
    task = noisy_task()
    optimizer = OPTIMIZERS["sgd"](task.model.parameters())
    for start, options in ((None, {}), (4, {"if_exists": "append", "start_step": 4})):
        with recorder(task, tmp_path / "run.zarr", optimizer, every=3, clock=Clock(), **options) as hook:
            for _ in range(8 if start is None else 3):
                hook.step(1.0 if start is None else 2.0)
    found = read_recording(tmp_path / "run.zarr")
    assert found["training_step"].values.tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert found["step_loss"].values.tolist() == [1.0] * 4 + [2.0] * 3
    assert found["step"].values.tolist() == [1, 3, 6]
    assert found["training_loss"].values.tolist() == [1.0, 1.0, 2.0]
    assert found.attrs["num_measured"] == 3
    with recorder(task, tmp_path / "other.zarr", optimizer, start_step=500) as hook:
        assert hook.step_count == 500


def test_rows_are_dropped_across_chunks(tmp_path):
    chunk = CHUNKS["step"]
    for kept in (0, 3, chunk - 1, chunk, chunk + 1, 3 * chunk):
        path = tmp_path / f"{kept}.zarr"
        RecordingStore(path, {}).append("step", rows(1, 2 * chunk + 6))
        store = RecordingStore(path, {}, if_exists="append", start_step=kept)
        store.append("step", rows(kept + 1, kept + 3))
        found = read_recording(path)
        expected = [*range(1, min(kept, 2 * chunk + 5) + 1), kept + 1, kept + 2]
        assert found["step"].values.tolist() == expected
        assert found["sharpness"].values.tolist() == [0.5 * step for step in expected]


def test_a_recording_of_an_earlier_release_is_read_and_continued(tmp_path):
    path = tmp_path / "run.zarr"
    RecordingStore(path, {}).append("step", rows(1, CHUNKS["step"] + 3))
    shutil.rmtree(path / "momentum")
    assert np.isnan(read_recording(path)["momentum"]).all()
    store = RecordingStore(path, {}, if_exists="append")
    last = CHUNKS["step"] + 3
    store.append("step", [{"step": last, "momentum": 0.5}])
    found = read_recording(path)
    assert found["momentum"].values[-1] == 0.5
    assert np.isnan(found["momentum"].values[:-1]).all()
    assert found["momentum"].attrs["long_name"] == VARIABLES["step"]["momentum"]
    shutil.rmtree(path / "sharpness")
    with pytest.raises(SchemaError, match="is damaged"):
        read_recording(path)


def test_what_waits_is_written_where_nobody_closed_the_recorder(tmp_path, monkeypatch):
    observed(monkeypatch)
    task = noisy_task()
    hook = recorder(task, tmp_path / "run.zarr", None, every=2, clock=Clock())
    with heard():
        for step in range(1, 6):
            hook.step("no number" if step == 3 else 1.0)
    assert read_recording(tmp_path / "run.zarr").sizes["step"] == 0
    del hook
    gc.collect()
    found = read_recording(tmp_path / "run.zarr")
    assert found["step"].values.tolist() == [1, 2, 4]
    assert found["training_step"].values.tolist() == [1, 2, 3, 4, 5]
    assert found.attrs["status"] == "recording"
    assert (found.attrs["num_steps"], found.attrs["num_measured"]) == (5, 3)
    assert [entry["quantity"] for entry in json.loads(found.attrs["failures"])] == ["step_loss"]


def test_what_waits_does_not_get_into_the_recording_that_took_its_place(tmp_path, monkeypatch):
    observed(monkeypatch)
    task = noisy_task()
    hook = recorder(task, tmp_path / "run.zarr", None, clock=Clock())
    hook.step(1.0)
    other = recorder(task, tmp_path / "run.zarr", None, clock=Clock(), if_exists="replace")
    del hook
    gc.collect()
    assert read_recording(tmp_path / "run.zarr").sizes == {"step": 0, "training_step": 0}
    other.close()


@pytest.mark.parametrize("name", ["batch_size", "rng", "num_micro_batches", "reference_size", "every", "start_step"])
def test_whole_numbers_of_numpy_are_numbers(name, tmp_path):
    values = {"rng": 1, "num_micro_batches": 4, "reference_size": 64}
    task = noisy_task()
    optimizer = OPTIMIZERS["sgd"](task.model.parameters())
    with recorder(task, tmp_path / "run.zarr", optimizer, **{name: np.int64(values.get(name, 32))}) as hook:
        train(task, optimizer, num_steps=1, after=hook.step)
    assert not hook.failures
    assert np.isfinite(read_recording(tmp_path / "run.zarr")["sharpness"]).all() or name == "start_step"


@pytest.mark.parametrize(
    "wrong",
    [{"rng": None}, {"rng": -1}, {"tolerance": "a"}, {"tolerance": -0.1}, {"start_step": -1}, {"batch_size": 1.5}],
)
def test_wrong_arguments_leave_nothing_behind(wrong, tmp_path):
    with pytest.raises(ArgumentError, match=next(iter(wrong))):
        recorder(noisy_task(), tmp_path / "run.zarr", None, **wrong)
    with pytest.raises(TaskError, match="must be an instance of torch"):
        recorder(noisy_task(), tmp_path / "run.zarr", object())
    assert not list(tmp_path.iterdir())


def test_a_generator_names_the_seed(tmp_path):
    seeds = []
    for name in ("a", "b"):
        with recorder(noisy_task(), tmp_path / f"{name}.zarr", None, rng=np.random.default_rng(3)):
            seeds.append(read_recording(tmp_path / f"{name}.zarr").attrs["seed"])
    assert seeds[0] == seeds[1] >= 0


def test_a_store_that_cannot_be_made_leaves_no_half(tmp_path, monkeypatch):
    with pytest.raises(TypeError):
        RecordingStore(tmp_path / "run.zarr", {"wrong": [object()]})
    assert not (tmp_path / "run.zarr").exists()
    attributes = Observer.attributes.fget
    monkeypatch.setattr(Observer, "attributes", property(lambda self: {**attributes(self), "wrong": [torch.zeros(1)]}))
    with pytest.raises(TypeError):
        recorder(noisy_task(), tmp_path / "run.zarr", None)
    assert not list(tmp_path.iterdir())
