import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import spectra
from spectra import atomic_write, storage
from spectra.dynamics import from_data, sgd_curve
from spectra.errors import ArgumentError, SchemaError, SpectraError
from spectra.storage import check_writable, load, save

SUFFIXES = [".nc", ".zarr"]


def dataset() -> xr.Dataset:
    """Return eigenpairs with every kind of content that results have."""
    return xr.Dataset(
        {
            "eigenvalue": ("pair", [3.5, -1e-300], {"unit": "1/learning rate", "exact": 1}),
            "residual": ("pair", [np.nan, np.inf]),
            "converged": ("pair", [True, False]),
            "end": ("pair", ["largest", "kleinster Eigenwert: größer?"]),
            "eigenvector": (("pair", "coordinate"), np.arange(6.0).reshape(2, 3)),
            "seconds": ("pair", [1, 2], {"units": "seconds"}),
            "zeros": ("pair", np.zeros(2)),
            "scalar": 2.0,
            "empty": ("nothing", np.zeros(0)),
        },
        coords={"pair": ["a", "bcd"], "step": ("pair", np.array([1, 2], dtype=np.int32))},
        attrs={
            "schema": "spectra/eigenpairs",
            "schema_version": 1,
            "operator": "",
            "dimension": 2**40,
            "level": 0.1,
            "tolerance": float("nan"),
            "limit": -np.inf,
            "name": "größe λ",
        },
    )


def run() -> xr.DataTree:
    """Return a run: attributes on the root, children with dimensions of equal names."""
    return xr.DataTree.from_dict(
        {
            "/": xr.Dataset(attrs={"schema": "spectra/run", "schema_version": 1, "optimizer": ""}),
            "/stages": xr.Dataset({"loss": ("stage", [2.0, 1.0])}, coords={"stage": [0, 10]}),
            "/spectrum": xr.Dataset({"weight": (("probe", "node"), np.eye(3))}, attrs={"seed": 0}),
            "/spectrum/deep": xr.Dataset({"stage": ("stage", [1.0])}),
        }
    )


@pytest.fixture(params=SUFFIXES)
def path(request, tmp_path) -> Path:
    return tmp_path / f"result{request.param}"


@pytest.mark.parametrize("make", [dataset, run])
def test_round_trip_is_identical(path, make) -> None:
    assert save(make(), path) == path
    found = load(path)
    assert type(found) is type(make())
    xr.testing.assert_identical(found, make())
    assert {key: type(value) for key, value in found.attrs.items()} == {
        key: type(value) for key, value in make().attrs.items()
    }


def test_results_of_this_library_round_trip(path) -> None:
    operator = np.diag([1.0, 1.0, 2.0, 5.0, 5.0])
    for result in (
        spectra.slq(operator, num_probes=3, num_steps=5),
        spectra.eigenpairs(operator, num=2, which="both"),
    ):
        xr.testing.assert_identical(load(save(result, path)), result)


def test_results_of_dynamics_round_trip(path) -> None:
    problem = from_data(np.diag([1.0, 2.0, 3.0]), np.ones(3))
    curve = sgd_curve(problem, closure="limit", learning_rate=0.1, num_steps=5)
    xr.testing.assert_equal(load(save(curve, path)), curve)
    assert load(save(problem.to_dataset(), path)).attrs["floor"] == problem.floor
    tree = xr.DataTree.from_dict(
        {"/": xr.Dataset(attrs={"schema": "spectra/dynamics", "schema_version": 1}), "/problem": problem.to_dataset()}
    )
    xr.testing.assert_identical(load(save(tree, path)), tree)


@pytest.mark.parametrize(
    ("schema", "missing"),
    [
        ("spectra/curve", "loss"),
        ("spectra/quadratic", "multiplicity, initial_loss"),
        ("spectra/simulation", "loss, stderr"),
        ("spectra/linearization", "loss, predicted_loss"),
    ],
)
def test_incomplete_results_of_dynamics_are_refused(path, schema, missing) -> None:
    data = dataset()[["eigenvalue"]].assign_attrs(schema=schema, schema_version=1)
    with pytest.raises(SchemaError, match=f"asks for {missing}"):
        save(data, path)


def test_damaged_measure_is_refused(path) -> None:
    measure = spectra.slq(np.eye(3), num_probes=2)
    save(measure.assign(weight=0.5 * measure["weight"]), path)
    with pytest.raises(SchemaError, match="is damaged: the weights of probe 0") as caught:
        load(path)
    assert str(path) in str(caught.value)


def test_second_generation_changes_format_and_nothing_else(tmp_path) -> None:
    save(dataset(), tmp_path / "a.zarr")
    save(load(tmp_path / "a.zarr"), tmp_path / "b.nc")
    save(load(tmp_path / "b.nc"), tmp_path / "c.zarr")
    xr.testing.assert_identical(load(tmp_path / "c.zarr"), dataset())


def test_dtypes_are_kept(path) -> None:
    found = load(save(dataset(), path))
    assert found["converged"].dtype == bool
    assert found["step"].dtype == np.int32
    assert found["seconds"].dtype.kind == "i"


def test_texts_of_object_arrays(path) -> None:
    data = dataset().assign(end=("pair", np.array(["x", "longer"], dtype=object)))
    assert load(save(data, path))["end"].values.tolist() == ["x", "longer"]


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        ({"steps": [1, 2], "on": None}, '{"steps": [1, 2], "on": null}'),
        ([1, 2], "[1, 2]"),
        (np.array([[1.0]]), "[[1.0]]"),
        (True, 1),
        (np.bool_(False), 0),
        (np.float32(0.5), 0.5),
        (None, "null"),
    ],
)
def test_attributes_become_text_or_numbers(path, value, stored) -> None:
    data = dataset().assign_attrs(extra=value)
    data["eigenvalue"].attrs["extra"] = value
    found = load(save(data, path))
    assert found.attrs["extra"] == stored
    assert found["eigenvalue"].attrs["extra"] == stored


def test_argument_is_not_changed(path) -> None:
    data = dataset().assign_attrs(extra={"a": 1})
    data["eigenvalue"].attrs["extra"] = {"b": 2}
    data["eigenvalue"].encoding["dtype"] = "float32"
    before = data.copy(deep=True)
    found = load(save(data, path))
    xr.testing.assert_identical(data, before)
    assert data["eigenvalue"].encoding == {"dtype": "float32"}
    assert found["eigenvalue"].dtype == np.float64


def test_foreign_encoding_is_dropped(path) -> None:
    found = load(save(dataset(), path))
    assert not found.encoding
    assert not any(found[name].encoding for name in found.variables)


def test_no_file_stays_open(path) -> None:
    save(dataset(), path)
    found = load(path)
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert float(found["eigenvector"].sum()) == 15.0


def test_overwriting_leaves_the_new_result_alone(path) -> None:
    save(dataset(), path)
    save(run(), path)
    xr.testing.assert_identical(load(path), run())
    assert os.listdir(path.parent) == [path.name]


def test_symbolic_link_stays(path) -> None:
    home = path.with_name(f"home{path.suffix}")
    save(dataset(), home)
    path.symlink_to(home)
    save(run(), path)
    assert path.is_symlink()
    xr.testing.assert_identical(load(home), run())


def test_permissions_follow_the_umask(tmp_path) -> None:
    before = os.umask(0o022)
    try:
        save(dataset(), tmp_path / "a.nc")
    finally:
        os.umask(before)
    assert (tmp_path / "a.nc").stat().st_mode & 0o777 == 0o644


# Failures while writing ------------------------------------------------------------------------------------------


def fail_half_way(monkeypatch, error: BaseException) -> None:
    """Let the last file fail when a part of it has reached the disk."""
    write = storage._write

    def failing(path, content) -> None:
        if path.name == ".zmetadata" or path.name.endswith(".tmp"):
            path.write_bytes(bytes(content)[:100])
            raise error
        write(path, content)

    monkeypatch.setattr(storage, "_write", failing)


@pytest.mark.parametrize("existing", [False, True])
def test_full_disk_leaves_the_old_file_and_no_debris(path, monkeypatch, existing) -> None:
    if existing:
        save(dataset(), path)
    fail_half_way(monkeypatch, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    with pytest.raises(SpectraError, match="No space left on device") as caught:
        save(run(), path)
    assert str(path) in str(caught.value)
    assert ("unchanged" in str(caught.value)) == existing
    assert os.listdir(path.parent) == [path.name] * existing
    if existing:
        xr.testing.assert_identical(load(path), dataset())


def test_interrupt_leaves_the_old_file_and_no_debris(path, monkeypatch) -> None:
    save(dataset(), path)
    fail_half_way(monkeypatch, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        save(run(), path)
    monkeypatch.undo()
    assert os.listdir(path.parent) == [path.name]
    xr.testing.assert_identical(load(path), dataset())


def test_store_is_put_back_if_the_exchange_fails(tmp_path, monkeypatch) -> None:
    path = save(dataset(), tmp_path / "a.zarr")
    replace = os.replace

    def failing(source, target) -> None:
        if str(source).endswith(".tmp"):
            raise OSError(errno.EIO, "Input/output error")
        replace(source, target)

    monkeypatch.setattr(atomic_write.os, "replace", failing)
    with pytest.raises(SpectraError, match="Input/output error"):
        save(run(), path)
    xr.testing.assert_identical(load(path), dataset())
    assert os.listdir(tmp_path) == ["a.zarr"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits of the file size are a matter of the system")
def test_write_that_really_fails(path) -> None:
    """A limit of the file size stops the write in the operating system itself."""
    code = f"""
import resource, numpy as np, xarray as xr
from spectra import save
attrs = dict(schema="spectra/eigenpairs", schema_version=1)
numbers = np.random.default_rng(0).standard_normal(100_000)
data = xr.Dataset(dict(eigenvalue=("pair", numbers), residual=("pair", numbers)), attrs=attrs)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
save(data, {str(path)!r})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("spectra.errors.SpectraError")
    assert str(path) in last
    assert "File too large" in last
    assert os.listdir(path.parent) == []


def test_read_only_folder(path, monkeypatch) -> None:
    def refuse(*arguments, **options):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    monkeypatch.setattr(os, "mkdir", refuse)
    for attempt in (lambda: check_writable(path), lambda: save(dataset(), path)):
        with pytest.raises(SpectraError, match="no permission") as caught:
            attempt()
        assert str(path.parent) in str(caught.value)
    monkeypatch.undo()
    assert os.listdir(path.parent) == []


@pytest.mark.parametrize("attempt", [check_writable, lambda path: save(dataset(), path)])
def test_missing_folder(path, attempt) -> None:
    target = path.parent / "missing" / path.name
    with pytest.raises(SpectraError, match=r"there is no folder .*missing'; make it first"):
        attempt(target)
    assert os.listdir(path.parent) == []


def test_check_writable_leaves_nothing(path) -> None:
    check_writable(path)
    assert os.listdir(path.parent) == []
    save(dataset(), path)
    check_writable(path)
    xr.testing.assert_identical(load(path), dataset())


@pytest.mark.parametrize("attempt", [check_writable, lambda path: save(dataset(), path)])
def test_folders_of_other_people_are_not_replaced(path, attempt) -> None:
    path.mkdir()
    (path / "thesis.txt").write_text("three years of work")
    with pytest.raises(SpectraError, match="is a folder and not a Zarr store"):
        attempt(path)
    assert (path / "thesis.txt").exists()


def test_file_is_not_replaced_by_a_store(tmp_path) -> None:
    (tmp_path / "a.zarr").write_text("text")
    with pytest.raises(SpectraError, match="is a file"):
        save(dataset(), tmp_path / "a.zarr")


@pytest.mark.parametrize("attempt", [load, check_writable, lambda path: save(dataset(), path)])
@pytest.mark.parametrize("name", ["a.h5", "a", "a.nc.gz"])
def test_other_suffix(tmp_path, attempt, name) -> None:
    with pytest.raises(ArgumentError, match=r"\.nc .* or \.zarr .*; got"):
        attempt(tmp_path / name)


def test_save_refuses_other_objects(tmp_path) -> None:
    with pytest.raises(ArgumentError, match=r"got builtins\.dict"):
        save({"a": 1}, tmp_path / "a.nc")  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [object(), {"a": 1j}])
def test_attribute_that_cannot_be_stored(path, value) -> None:
    with pytest.raises(ArgumentError, match="attribute 'extra'"):
        save(dataset().assign_attrs(extra=value), path)
    assert os.listdir(path.parent) == []


def test_variable_that_cannot_be_stored(path) -> None:
    with pytest.raises(ArgumentError, match="cannot be written"):
        save(dataset().assign(bad=("pair", np.array([object(), 1], dtype=object))), path)
    assert os.listdir(path.parent) == []


# What load refuses -----------------------------------------------------------------------------------------------


def write_raw(data: xr.Dataset, path: Path) -> None:
    """Write without the checks of save."""
    if path.suffix == ".nc":
        data.to_netcdf(path, engine="h5netcdf")
    else:
        data.to_zarr(path, zarr_format=2, consolidated=True)


@pytest.mark.parametrize(
    ("attrs", "message"),
    [
        ({"schema": "spectra/eigenpairs", "schema_version": 2}, "version 2 .* up to version 1. Upgrade"),
        ({"schema": "spectra/other", "schema_version": 1}, "unknown schema 'spectra/other'"),
        ({"schema": 3, "schema_version": 1}, "unknown schema 3"),
        ({"schema": "spectra/eigenpairs"}, "whole number .* got None"),
        ({"schema": "spectra/eigenpairs", "schema_version": "1"}, "whole number .* got '1'"),
        ({"schema": "spectra/eigenpairs", "schema_version": 0}, "whole number .* got 0"),
        ({"title": "ocean temperature"}, "no attribute 'schema'"),
        ({}, "no attribute 'schema'"),
    ],
)
def test_load_and_save_refuse_other_schemas(path, attrs, message) -> None:
    data = dataset()[["eigenvalue", "residual", "zeros"]].drop_vars(["pair", "step"])
    data.attrs = attrs
    with pytest.raises(SchemaError, match=message):
        save(data, path)
    assert not path.exists()
    write_raw(data, path)
    with pytest.raises(SchemaError, match=message) as caught:
        load(path)
    assert str(path) in str(caught.value)


def test_missing_variable(path) -> None:
    data = dataset()[["eigenvalue"]].drop_vars(["pair", "step"])
    write_raw(data, path)
    with pytest.raises(SchemaError, match=r"incomplete: .* asks for residual"):
        load(path)


def test_missing_file(path) -> None:
    with pytest.raises(SpectraError, match=r"there is no file"):
        load(path)


@pytest.mark.parametrize("content", [b"", b"\x89HDF\r\n\x1a\n", b"PK\x03\x04 something else" * 50])
def test_foreign_content(tmp_path, content) -> None:
    (tmp_path / "a.nc").write_bytes(content)
    with pytest.raises(SchemaError, match="truncated, damaged or of another format"):
        load(tmp_path / "a.nc")


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9, 0.999])
def test_truncated_file(tmp_path, fraction) -> None:
    path = save(dataset(), tmp_path / "a.nc")
    content = path.read_bytes()
    path.write_bytes(content[: int(fraction * len(content))])
    with pytest.raises(SchemaError, match="truncated"):
        load(path)


def test_folder_that_is_no_store(tmp_path) -> None:
    (tmp_path / "a.zarr").mkdir()
    with pytest.raises(SchemaError):
        load(tmp_path / "a.zarr")
    (tmp_path / "b.zarr").write_text("text")
    with pytest.raises(SchemaError):
        load(tmp_path / "b.zarr")
    (tmp_path / "c.nc").mkdir()
    with pytest.raises(SchemaError):
        load(tmp_path / "c.nc")


def test_every_lost_file_of_a_store_is_noticed(tmp_path) -> None:
    """Zarr reads a missing chunk as fill values: nothing may be lost in silence."""
    path = save(dataset(), tmp_path / "a.zarr")
    files = [file for file in sorted(path.rglob("*")) if file.is_file()]
    assert len(files) > 20
    for file in files:
        content = file.read_bytes()
        file.unlink()
        try:
            found = load(path)
        except SchemaError:
            pass
        else:
            xr.testing.assert_identical(found, dataset())
        file.write_bytes(content)
    xr.testing.assert_identical(load(path), dataset())


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_store_written_by_xarray_itself(tmp_path, zarr_format) -> None:
    data = dataset()[["eigenvalue", "residual"]].drop_vars(["pair", "step"])
    data.to_zarr(tmp_path / "a.zarr", zarr_format=zarr_format, consolidated=False)
    xr.testing.assert_identical(load(tmp_path / "a.zarr"), data)


def test_attributes_survive_as_json(path) -> None:
    settings = {"probe_steps": [0, 10, 20], "rate": 1e-3}
    assert json.loads(load(save(dataset().assign_attrs(plan=settings), path)).attrs["plan"]) == settings
