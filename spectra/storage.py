"""Results as files: netCDF (``.nc``) or Zarr (``.zarr``) with a schema version, written whole or not at all."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from spectra import atomic_write
from spectra.complex_measure_schema import COMPLEX_MEASURE_SCHEMA, validate_complex_measure
from spectra.complex_parts import join_complex, split_complex
from spectra.errors import ArgumentError, SchemaError, SpectraError
from spectra.measure_schema import MEASURE_SCHEMA, validate_measure
from spectra.recording import is_recording, read_recording
from spectra.storage_schemas import TREE_SCHEMAS, check_schema, plain

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["check_writable", "load", "save"]

SUFFIXES = (".nc", ".zarr")

PathLike = str | os.PathLike[str]


def save(data: "xr.Dataset | xr.DataTree", path: PathLike) -> Path:
    """Write a result to ``path``, completely or not at all.

    It is written beside its target and then takes its place, so that a full disk leaves an older file as it was.

    Parameters
    ----------
    data : xarray.Dataset or xarray.DataTree
        A result with attributes ``schema`` and ``schema_version``: a spectral measure, eigenpairs, a curve, a run.
        Text and numbers in attributes stay what they are, booleans become 0 and 1, all else becomes JSON text. Complex
        variables, which netCDF does not know, are stored as their two parts, and :func:`load` puts them together.
    path : str or path-like
        Ends in ``.nc`` (netCDF 4, one file) or ``.zarr`` (Zarr 2, a folder). An older result there is replaced.

    Returns
    -------
    pathlib.Path
        ``path``.

    Raises
    ------
    ArgumentError
        For another suffix, or if ``data`` holds something that these formats cannot store.
    SchemaError
        If ``data`` is not a result that :func:`load` would read back.
    SpectraError
        If the file cannot be written: missing folder, no permission, full disk.

    Notes
    -----
    Costs the memory of the result once more. Source: a convention of this project.

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
        kind = f"{type(data).__module__}.{type(data).__qualname__}"
        raise ArgumentError(f"save takes an xarray.Dataset or xarray.DataTree; got {kind}")
    check_schema(data, "the data to save")
    nodes = {"/": data} if isinstance(data, xr.Dataset) else _nodes(data)
    tree = xr.DataTree.from_dict({name: _encode(node) for name, node in nodes.items()})
    # Serialized in memory first: after a failed write HDF5 cannot close its file, and threads of Zarr go on writing.
    try:
        content = _serialize(tree, suffix)
    except (TypeError, ValueError, NotImplementedError) as error:
        raise ArgumentError(f"{os.fspath(path)!r} cannot be written: {_first_line(error)}") from error
    with atomic_write.explained(path, "written"), atomic_write.replacing(path) as temporary:
        for name, part in content.items():
            file = temporary / name
            file.parent.mkdir(parents=True, exist_ok=True)
            _write(file, part)
    return Path(path)


def load(path: PathLike) -> Any:
    """Read a result that :func:`save`, the command line or a recorder has written.

    Parameters
    ----------
    path : str or path-like
        A ``.nc`` file or a ``.zarr`` folder.

    Returns
    -------
    xarray.Dataset or xarray.DataTree
        A Dataset for a spectral measure, for eigenpairs and for the recording of a training run, a DataTree for a run.
        All of it is in memory; no file stays open.

    Raises
    ------
    ArgumentError
        For another suffix.
    SchemaError
        If the file is not a result of this project, comes from a newer release, is truncated or incomplete.
    SpectraError
        If there is no such file, or it may not be read.

    Notes
    -----
    Costs the memory of the result twice at most. Source: a convention of this project.

    Examples
    --------
    See :func:`save`.
    """
    import xarray as xr

    suffix, name = _suffix(path), os.fspath(path)
    if not os.path.exists(path):
        raise SpectraError(f"there is no file {name!r}; check the name and the current folder")
    if is_recording(path):
        return read_recording(path)
    options: dict[str, Any] = {"engine": "h5netcdf"}
    if suffix == ".zarr":
        options = {"engine": "zarr", "consolidated": Path(path, ".zmetadata").exists()}
    try:
        # Numbers stay numbers: a unit such as "seconds" must not turn them into dates.
        with xr.open_datatree(path, decode_times=False, **options) as opened:
            check_schema(opened, repr(name))
            if suffix == ".zarr":
                _check_chunks(name)
            nodes = {key: _decode(node) for key, node in _nodes(opened).items()}
    except SpectraError:
        raise
    except PermissionError as error:
        raise SpectraError(f"{name!r} cannot be read: no permission") from error
    except Exception as error:
        raise SchemaError(
            f"{name!r} cannot be read as a {suffix} file: it is truncated, damaged or of another format "
            f"({type(error).__name__}: {_first_line(error)})"
        ) from error
    root = nodes["/"]
    validate = {MEASURE_SCHEMA: validate_measure, COMPLEX_MEASURE_SCHEMA: validate_complex_measure}
    if root.attrs["schema"] in validate:
        try:
            validate[root.attrs["schema"]](root)
        except SchemaError as error:
            raise SchemaError(f"{name!r} is damaged: {error}") from error
    return xr.DataTree.from_dict(nodes) if root.attrs["schema"] in TREE_SCHEMAS else root


def check_writable(path: PathLike) -> None:
    """Find out now, and not after a long measurement, whether :func:`save` could write ``path``.

    Parameters
    ----------
    path : str or path-like
        Of a result that does not have to exist yet.

    Raises
    ------
    ArgumentError
        If the name does not end in ``.nc`` or ``.zarr``.
    SpectraError
        If the folder is missing or may not be written, or if something that is no result stands at ``path``.

    Notes
    -----
    Costs an empty file, which is removed. Source: a convention of this project.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     check_writable(Path(folder, "curve.nc"))
    """
    _suffix(path)
    atomic_write.check_writable(path)


def _suffix(path: PathLike) -> str:
    suffix = Path(path).suffix
    if suffix not in SUFFIXES:
        raise ArgumentError(f"a result file ends in .nc (netCDF) or .zarr (Zarr); got {os.fspath(path)!r}")
    return suffix


def _nodes(tree: "xr.DataTree") -> dict[str, "xr.Dataset"]:
    return {node.path: node.to_dataset(inherit=False) for node in tree.subtree}


def _serialize(tree: "xr.DataTree", suffix: str) -> dict[str, bytes | memoryview]:
    """Return the content of each file; a file that is the whole result has the name ``""``."""
    if suffix == ".nc":
        return {"": tree.to_netcdf(engine="h5netcdf")}
    from zarr.storage import MemoryStore

    parts: dict[str, Any] = {}
    # Chunks that hold only the fill value are written too, so that a missing chunk is a lost one.
    options: dict[str, Any] = {"zarr_format": 2, "consolidated": True, "write_empty_chunks": True}
    tree.to_zarr(MemoryStore(parts), mode="w-", **options)
    return {name: part.to_bytes() for name, part in parts.items()}


def _write(path: Path, content: bytes | memoryview) -> None:
    with open(path, "xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _check_chunks(name: str) -> None:
    """Refuse a store with lost chunks, which Zarr would read as fill values without a word."""
    import zarr

    for key, member in zarr.open_group(name, mode="r").members(max_depth=None):
        if isinstance(member, zarr.Array) and member.nchunks_initialized < member.nchunks:
            lost = member.nchunks - member.nchunks_initialized
            raise SchemaError(f"{name!r} is incomplete: {lost} of {member.nchunks} chunks of {key!r} are missing")


def _encode(dataset: "xr.Dataset") -> "xr.Dataset":
    """Return a copy whose attributes and texts both formats store alike."""
    result = split_complex(dataset.drop_encoding())
    result.attrs = {name: _encode_attribute(name, value) for name, value in dataset.attrs.items()}
    for name in result.variables:
        array = result[name]
        array.attrs = {key: _encode_attribute(key, value) for key, value in array.attrs.items()}
        if array.dtype.kind in "OT" and all(isinstance(item, str) for item in array.values.flat):
            result[name] = array.astype(str)
    return result


def _encode_attribute(name: object, value: object) -> str | int | float:
    item = plain(value)
    if isinstance(item, bool):
        return int(item)
    if isinstance(item, str | int | float):
        return item
    try:
        return json.dumps(item.tolist() if isinstance(item, np.ndarray) else item)
    except TypeError as error:
        message = f"attribute {name!r} must be text, a number or something that JSON can hold: {error}"
        raise ArgumentError(message) from error


def _decode(dataset: "xr.Dataset") -> "xr.Dataset":
    """Return the data in memory, without traces of the file."""
    result = dataset.load().drop_encoding()
    for holder in (result, *(result[name] for name in result.variables)):
        holder.attrs = {name: plain(value) for name, value in holder.attrs.items()}
    return join_complex(result)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["no message"])[0]
