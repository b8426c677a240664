"""The store of a recording: whole rows at any time, whatever interrupts the writer."""

import builtins
import itertools
import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import xarray as xr

import spectra
from probes.hooks.store import CHUNKS, RecordingStore
from spectra.errors import ArgumentError, SchemaError, SpectraError
from spectra.recording import RECORDING_SCHEMA, VARIABLES, is_recording, read_recording


def rows(first, last):
    return [{"step": step, "sharpness": 0.5 * step, "sharpness_status": 1} for step in range(first, last)]


def test_what_is_appended_is_read_also_across_chunks(tmp_path):
    store = RecordingStore(tmp_path / "run.zarr", {"task": "a", "seed": 3})
    assert read_recording(tmp_path / "run.zarr").sizes == {"step": 0, "training_step": 0}
    edges = [1, 2, 5, CHUNKS["step"] + 1, CHUNKS["step"] + 3, 3 * CHUNKS["step"] + 7]
    for first, last in itertools.pairwise(edges):
        store.append("step", rows(first, last))
        found = read_recording(tmp_path / "run.zarr")
        assert found["step"].values.tolist() == list(range(1, last))
        assert found["sharpness"].values.tolist() == [0.5 * step for step in range(1, last)]
        assert found["sharpness_status"].values.tolist() == [1] * (last - 1)
        assert found["noise_scale_status"].values.tolist() == [0] * (last - 1)
        assert np.isnan(found["noise_scale"].values).all()
    assert found.attrs["schema"] == RECORDING_SCHEMA
    assert (found.attrs["task"], found.attrs["seed"]) == ("a", 3)
    assert all(found[name].attrs["long_name"] == meaning for v in VARIABLES.values() for name, meaning in v.items())
    assert spectra.load(tmp_path / "run.zarr").identical(found)


def test_plain_xarray_opens_it_too(tmp_path):
    store = RecordingStore(tmp_path / "run.zarr", {})
    store.append("step", rows(1, 4))
    with xr.open_zarr(tmp_path / "run.zarr", zarr_format=2, consolidated=False, decode_times=False) as opened:
        kept = opened.where(opened["step"] >= 0, drop=True)
        assert kept["sharpness"].values.tolist() == [0.5, 1.0, 1.5]


def test_a_row_counts_only_once_its_coordinate_is_there(tmp_path, monkeypatch):
    store = RecordingStore(tmp_path / "run.zarr", {})
    store.append("step", rows(1, 3))
    opened = builtins.open

    def failing(path, *args, **kwargs):
        if str(path).endswith(os.path.join("noise_scale", "0")):
            raise OSError(28, "No space left on device")
        return opened(path, *args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(builtins, "open", failing)
        with pytest.raises(OSError, match="No space left"):
            store.append("step", rows(3, 6))
    assert read_recording(tmp_path / "run.zarr")["step"].values.tolist() == [1, 2]
    store.append("step", rows(3, 6))
    assert read_recording(tmp_path / "run.zarr")["step"].values.tolist() == [1, 2, 3, 4, 5]


def test_a_full_disk_while_the_store_grows(tmp_path, monkeypatch):
    store = RecordingStore(tmp_path / "run.zarr", {})
    store.append("step", rows(1, CHUNKS["step"] + 1))
    replaced, calls = os.replace, []

    def failing(source, target):
        calls.append(target)
        if len(calls) == 7:
            raise OSError(28, "No space left on device")
        replaced(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", failing)
        with pytest.raises(OSError, match="No space left"):
            store.append("step", rows(CHUNKS["step"] + 1, CHUNKS["step"] + 3))
    assert read_recording(tmp_path / "run.zarr").sizes["step"] == CHUNKS["step"]
    assert not list(tmp_path.rglob("*.partial"))
    store.append("step", rows(CHUNKS["step"] + 1, CHUNKS["step"] + 3))
    assert read_recording(tmp_path / "run.zarr")["step"].values.tolist() == list(range(1, CHUNKS["step"] + 3))


@pytest.mark.slow
def test_a_killed_run_leaves_a_readable_store_that_can_be_continued(tmp_path):
    code = textwrap.dedent(
        """
        import sys
        from probes.hooks.store import RecordingStore
        store = RecordingStore(sys.argv[1], {})
        step = 0
        while True:
            step += 1
            store.append("step", [{"step": step, "sharpness": 0.5 * step}])
            if step == 300:
                print("ready", flush=True)
        """
    )
    path = tmp_path / "run.zarr"
    writer = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    with writer:
        assert writer.stdout.readline() == b"ready\n"
        for _ in range(20):  # while it writes
            seen = read_recording(path)
            assert seen["step"].values.tolist() == list(range(1, seen.sizes["step"] + 1))
            assert np.array_equal(seen["sharpness"], 0.5 * seen["step"])
        writer.send_signal(signal.SIGKILL)
    found = read_recording(path)
    last = found.sizes["step"]
    assert last >= 300
    assert np.array_equal(found["sharpness"], 0.5 * np.arange(1, last + 1))
    store = RecordingStore(path, {}, if_exists="append")
    assert store.last_step == last
    store.append("step", rows(last + 1, last + 2))
    assert read_recording(path)["step"].values.tolist() == list(range(1, last + 2))


def test_what_is_there_is_not_lost_by_accident(tmp_path):
    store = RecordingStore(tmp_path / "run.zarr", {})
    store.append("step", rows(1, 3))
    with pytest.raises(ArgumentError, match="is there already"):
        RecordingStore(tmp_path / "run.zarr", {})
    assert RecordingStore(tmp_path / "run.zarr", {}, if_exists="append").last_step == 2
    assert RecordingStore(tmp_path / "run.zarr", {}, if_exists="replace").last_step == 0
    assert read_recording(tmp_path / "run.zarr").sizes["step"] == 0
    (tmp_path / "mine.zarr").mkdir()
    (tmp_path / "mine.zarr" / "thesis.txt").write_text("years of work")
    with pytest.raises(SpectraError, match="is a folder and not a Zarr store"):
        RecordingStore(tmp_path / "mine.zarr", {}, if_exists="replace")
    with pytest.raises(SpectraError, match="there is no folder"):
        RecordingStore(tmp_path / "missing" / "run.zarr", {})
    with pytest.raises(ArgumentError, match="if_exists must be"):
        RecordingStore(tmp_path / "other.zarr", {}, if_exists="merge")  # type: ignore[arg-type]


def test_another_result_is_not_taken_for_a_recording(tmp_path):
    pairs = xr.Dataset({"eigenvalue": ("pair", [2.0]), "residual": ("pair", [1e-9])})
    pairs = pairs.assign_attrs(schema="spectra/eigenpairs", schema_version=1)
    spectra.save(pairs, tmp_path / "pairs.zarr")
    assert not is_recording(tmp_path / "pairs.zarr")
    with pytest.raises(SchemaError, match="has the schema 'spectra/eigenpairs'"):
        read_recording(tmp_path / "pairs.zarr")
    with pytest.raises(ArgumentError, match="is there already"):
        RecordingStore(tmp_path / "pairs.zarr", {})
    with pytest.raises(SpectraError, match="there is no file"):
        read_recording(tmp_path / "none.zarr")
    RecordingStore(tmp_path / "run.zarr", {"schema_version": 99})
    with pytest.raises(SchemaError, match="reads up to version 1"):
        spectra.load(tmp_path / "run.zarr")
