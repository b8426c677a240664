"""Results as files: netCDF (``.nc``) or Zarr (``.zarr``), with a schema version, written whole or not at all."""

import contextlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from spectra.errors import ArgumentError, SchemaError, SpectraError

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["check_writable", "load", "save"]

#: Newest version of each schema that this release reads, and the variables a file of it must hold.
SCHEMAS: dict[str, tuple[int, tuple[str, ...]]] = {
    "spectra/measure": (1, ("ritz_value", "weight")),
    "spectra/eigenpairs": (1, ("eigenvalue", "residual")),
    "spectra/run": (1, ()),
}
TREE_SCHEMAS = ("spectra/run",)
SUFFIXES = (".nc", ".zarr")


def save(data: "xr.Dataset | xr.DataTree", path: str | os.PathLike[str]) -> Path:
    """Write a result to ``path``, completely or not at all.

    The file is written beside its target and then takes its place, so that a full disk or a crash leaves an older file
    as it was. (A Zarr store is a folder: it is exchanged in two renames, between which a crash leaves the older store
    beside the target, its name ending in ``.old``.)

    Parameters
    ----------
    data : xarray.Dataset or xarray.DataTree
        A result with attributes ``schema`` and ``schema_version``: a spectral measure, eigenpairs or a run. Text and
        numbers in attributes stay what they are, booleans become 0 and 1, everything else becomes JSON text.
    path : str or path-like
        Ends in ``.nc`` (netCDF 4, one file) or ``.zarr`` (Zarr 2, a folder). An older result there is replaced.

    Returns
    -------
    pathlib.Path
        ``path``.

    Raises
    ------
    ArgumentError
        For another suffix, or if ``data`` holds something these formats cannot store.
    SchemaError
        If ``data`` is not a result that :func:`load` would read back.
    SpectraError
        If the file cannot be written: missing folder, no permission, full disk.

    Examples
    --------
    >>> import tempfile
    >>> import xarray as xr
    >>> pairs = xr.Dataset({"eigenvalue": ("pair", [2.0]), "residual": ("pair", [1e-9])})
    >>> pairs = pairs.assign_attrs(schema="spectra/eigenpairs", schema_version=1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     pairs.identical(load(save(pairs, Path(folder, "pairs.nc"))))
    True
    """
    import xarray as xr

    suffix = _suffix(path)
    if not isinstance(data, xr.Dataset | xr.DataTree):
        raise ArgumentError(
            f"save takes an xarray.Dataset or xarray.DataTree; got {type(data).__module__}.{type(data).__qualname__}"
        )
    _check_schema(data, "this object")
    tree = xr.DataTree.from_dict(
        {node.path: _encode(node.to_dataset(inherit=False)) for node in xr.DataTree(data).subtree}
        if isinstance(data, xr.Dataset)
        else {node.path: _encode(node.to_dataset(inherit=False)) for node in data.subtree}
    )
    target = Path(os.path.realpath(path))
    with _explained(path, "written"), _replacing(target) as temporary:
        if suffix == ".nc":
            # Serialized in memory first: HDF5 cannot close a file cleanly once a write to the disk has failed.
            content = tree.to_netcdf(engine="h5netcdf")
            with open(temporary, "xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        else:
            # Chunks that hold only the fill value are written too: a chunk that is missing was lost.
            tree.to_zarr(temporary, mode="w-", zarr_format=2, consolidated=True, write_empty_chunks=True)
    return Path(path)


def load(path: str | os.PathLike[str]) -> Any:
    """Read a result that :func:`save` or the command line has written.

    Parameters
    ----------
    path : str or path-like
        A ``.nc`` file or a ``.zarr`` folder.

    Returns
    -------
    xarray.Dataset or xarray.DataTree
        A Dataset for a spectral measure and for eigenpairs, a DataTree for a run. All of it is in memory; no file stays
        open.

    Raises
    ------
    ArgumentError
        For another suffix.
    SchemaError
        If the file is not a result of this project, was written by a newer release, is truncated or incomplete.
    SpectraError
        If there is no such file, or it may not be read.
    """
    import xarray as xr

    suffix = _suffix(path)
    if not os.path.exists(path):
        raise SpectraError(f"there is no file {os.fspath(path)!r}; check the name and the current folder")
    options: dict[str, Any] = {"engine": "h5netcdf"}
    if suffix == ".zarr":
        options = {"engine": "zarr", "consolidated": Path(path, ".zmetadata").exists()}
    with _explained(path, "read"):
        try:
            with xr.open_datatree(path, decode_times=False, **options) as opened:
                _check_schema(opened, os.fspath(path))
                if suffix == ".zarr":
                    _check_chunks(path)
                nodes = {node.path: _decode(node.to_dataset(inherit=False)) for node in opened.subtree}
        except (PermissionError, SpectraError):
            raise
        except Exception as error:
            raise SchemaError(
                f"{os.fspath(path)!r} cannot be read as a {suffix} file: it is truncated, damaged or of another format "
                f"({type(error).__name__}: {_first_line(error)})"
            ) from error
    if nodes["/"].attrs["schema"] in TREE_SCHEMAS:
        return xr.DataTree.from_dict(nodes)
    return nodes["/"]


def check_writable(path: str | os.PathLike[str]) -> None:
    """Find out now, not after an hour of measuring, whether :func:`save` could write ``path``.

    Raises
    ------
    ArgumentError
        If the name does not end in ``.nc`` or ``.zarr``.
    SpectraError
        If the folder is missing or may not be written, or something that is no result stands at ``path``.
    """
    _suffix(path)
    target = Path(os.path.realpath(path))
    with _explained(path, "written"):
        _check_replaceable(target)
        temporary = _beside(target)
        with open(temporary, "xb"):
            pass
        os.unlink(temporary)


def _suffix(path: str | os.PathLike[str]) -> str:
    suffix = Path(path).suffix
    if suffix not in SUFFIXES:
        raise ArgumentError(f"a result file ends in .nc (netCDF) or .zarr (Zarr); got {os.fspath(path)!r}")
    return suffix


def _check_schema(data: "xr.Dataset | xr.DataTree", name: str) -> None:
    """Refuse what is not a result of a schema and version that this release knows."""
    schema, version = data.attrs.get("schema"), data.attrs.get("schema_version")
    known = ", ".join(SCHEMAS)
    if schema is None:
        raise SchemaError(f"{name} is not a result of spectra: attribute 'schema' is missing (known: {known})")
    if not isinstance(schema, str) or schema not in SCHEMAS:
        raise SchemaError(f"{name} has the unknown schema {schema!r}; this release knows {known}")
    newest, variables = SCHEMAS[schema]
    if isinstance(version, bool) or not isinstance(version, int | np.integer) or version < 1:
        raise SchemaError(f"{name} must have an attribute 'schema_version' of 1 or more; got {version!r}")
    if version > newest:
        raise SchemaError(
            f"{name} has version {version} of the schema {schema!r}, and this release reads up to version {newest}; "
            "upgrade with pip install -U spectra-probes"
        )
    missing = [variable for variable in variables if variable not in data.variables]
    if missing:
        raise SchemaError(f"{name} has the schema {schema!r} but lacks {', '.join(missing)}; the file is incomplete")


def _check_chunks(path: str | os.PathLike[str]) -> None:
    """Refuse a store with lost chunks, which Zarr would read as fill values without a word."""
    import zarr

    for name, member in zarr.open_group(os.fspath(path), mode="r").members(max_depth=None):
        if isinstance(member, zarr.Array) and member.nchunks_initialized < member.nchunks:
            lost = member.nchunks - member.nchunks_initialized
            raise SchemaError(
                f"{os.fspath(path)!r} is incomplete: {lost} of {member.nchunks} chunks of {name!r} are missing"
            )


def _encode(dataset: "xr.Dataset") -> "xr.Dataset":
    """Return a copy whose attributes and texts both formats store alike."""
    result = dataset.drop_encoding()
    result.attrs = {name: _encode_attribute(name, value) for name, value in dataset.attrs.items()}
    for variable in result.variables.values():
        variable.attrs = {name: _encode_attribute(name, value) for name, value in variable.attrs.items()}
    texts = {
        name: variable.astype(str)
        for name, variable in result.variables.items()
        if variable.dtype.kind in "OT" and all(isinstance(item, str) for item in variable.values.flat)
    }
    return result.assign(texts)


def _encode_attribute(name: object, value: object) -> str | int | float:
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, str | int | float):
        return value
    try:
        return json.dumps(value.tolist() if isinstance(value, np.ndarray) else value)
    except TypeError as error:
        raise ArgumentError(f"attribute {name!r} must be text, a number or something JSON can hold: {error}") from error


def _decode(dataset: "xr.Dataset") -> "xr.Dataset":
    """Return the data in memory, without traces of the file."""
    result = dataset.load().drop_encoding()
    for holder in (result, *result.variables.values()):
        holder.attrs = {
            name: value.item() if isinstance(value, np.generic) else value for name, value in holder.attrs.items()
        }
    return result


def _beside(target: Path, ending: str = "tmp") -> Path:
    return target.with_name(f".{target.name}.{uuid.uuid4().hex[:12]}.{ending}")


def _check_replaceable(target: Path) -> None:
    """Refuse to replace a folder that is not a Zarr store, or a file by a folder."""
    if target.is_dir():
        is_store = target.suffix == ".zarr" and any((target / mark).exists() for mark in (".zgroup", "zarr.json"))
        if not is_store and (target.suffix != ".zarr" or any(target.iterdir())):
            raise SpectraError(f"{str(target)!r} is a folder that holds no result of spectra; choose another name")
    elif target.exists() and target.suffix == ".zarr":
        raise SpectraError(f"{str(target)!r} is a file, but a Zarr store is a folder; choose another name")


@contextlib.contextmanager
def _replacing(target: Path) -> Iterator[Path]:
    """Give a free path beside ``target``; what is written there takes the place of ``target``, or is removed."""
    _check_replaceable(target)
    temporary = _beside(target)
    try:
        yield temporary
        if temporary.is_dir() and target.exists():
            old = _beside(target, "old")
            os.replace(target, old)
            try:
                os.replace(temporary, target)
            except BaseException:
                os.replace(old, target)
                raise
            shutil.rmtree(old, ignore_errors=True)
        else:
            os.replace(temporary, target)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _explained(path: str | os.PathLike[str], action: str) -> Iterator[None]:
    """Turn an error of the file system into one sentence that names the file and the cause."""
    name = os.fspath(path)
    folder = os.path.dirname(os.path.abspath(name))
    try:
        yield
    except SpectraError:
        raise
    except PermissionError as error:
        raise SpectraError(f"{name!r} cannot be {action}: no permission for it or its folder {folder!r}") from error
    except OSError as error:
        if action == "written" and not os.path.isdir(folder):
            raise SpectraError(f"{name!r} cannot be written: there is no folder {folder!r}; make it first") from error
        kept = "; a file that was there before is unchanged" if action == "written" else ""
        raise SpectraError(f"{name!r} cannot be {action}: {error.strerror or _first_line(error)}{kept}") from error
    except (TypeError, ValueError, NotImplementedError) as error:
        raise ArgumentError(f"{name!r} cannot be {action}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
