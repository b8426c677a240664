"""The Zarr store of a recording: rows are written while training runs, and a reader finds whole rows at any time.

Its files are written here, one by one: format 2 of Zarr without compression is a folder for each array, with a
description in JSON and chunks of plain numbers. Arrays grow by whole chunks whose rows are not filled yet (NaN, and -1
for the coordinate). A row is written in place, its coordinate last, so that it counts only once it is complete, and
neither a killed run nor a full disk damages what is there. Through the ``zarr`` library an append takes 45 ms.
"""

import contextlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from spectra import atomic_write
from spectra.errors import ArgumentError
from spectra.recording import (
    MEASURED,
    RECORDING_SCHEMA,
    RECORDING_SCHEMA_VERSION,
    VARIABLES,
    is_recording,
    read_recording,
)

__all__ = ["IfExists", "RecordingStore"]

IfExists = Literal["refuse", "append", "replace"]

#: Rows in a chunk, by axis: 2 kB and 64 kB for each variable.
CHUNKS = {"step": 256, "training_step": 8192}

#: Filled in where a row is not complete: the coordinate of a row is written after everything else.
NO_STEP = -1


class RecordingStore:
    """A recording on the disk; see :mod:`spectra.recording` for what it holds.

    Parameters
    ----------
    path : str or path-like
        Ends in ``.zarr``.
    attrs : mapping
        Attributes beside the schema: numbers and text.
    if_exists : {"refuse", "append", "replace"}
        What to do with a recording that is there. ``"append"`` is for resumed training.

    Attributes
    ----------
    last_step : int
        The last step in the store; 0 in a new one.

    Raises
    ------
    ArgumentError
        Another suffix, or a recording is there and ``if_exists`` is ``"refuse"``.
    SpectraError
        The folder is missing or may not be written, or what is there is no Zarr store.
    SchemaError
        To be appended to a recording that is damaged or newer.
    """

    def __init__(
        self, path: str | os.PathLike[str], attrs: Mapping[str, Any], *, if_exists: IfExists = "refuse"
    ) -> None:
        self.path = Path(path)
        if self.path.suffix != ".zarr":
            raise ArgumentError(f"a recording is a Zarr store, named *.zarr; got {os.fspath(path)!r}")
        if if_exists not in ("refuse", "append", "replace"):
            raise ArgumentError(f"if_exists must be 'refuse', 'append' or 'replace'; got {if_exists!r}")
        atomic_write.check_writable(path)
        self.last_step = 0
        there = self.path.is_dir() and any(self.path.iterdir())
        if there and if_exists == "refuse":
            raise ArgumentError(
                f"{str(self.path)!r} is there already; pass if_exists='append' to go on with it (resumed training), "
                "'replace' to lose it, or another name"
            )
        if there and if_exists == "append" and is_recording(path):
            self._continue()
        else:
            if there:
                shutil.rmtree(self.path)
            self._create(attrs)

    def _create(self, attrs: Mapping[str, Any]) -> None:
        with atomic_write.explained(self.path, "written"):
            self.path.mkdir(exist_ok=True)
            self._rows = dict.fromkeys(VARIABLES, 0)
            self._length = dict.fromkeys(VARIABLES, 0)
            for axis, variables in VARIABLES.items():
                for name, meaning in [(axis, "training step, from 1; -1: not written"), *variables.items()]:
                    (self.path / name).mkdir()
                    self._write(f"{name}/.zattrs", _json({"_ARRAY_DIMENSIONS": [axis], "long_name": meaning}))
                self._grow(axis)
            self._attrs: dict[str, Any] = {}
            self.update({"schema": RECORDING_SCHEMA, "schema_version": RECORDING_SCHEMA_VERSION, **attrs})
            # Last: without it the folder is no Zarr store.
            self._write(".zgroup", _json({"zarr_format": 2}))

    def _continue(self) -> None:
        found = read_recording(self.path)
        self._attrs = dict(found.attrs)
        self._rows = {axis: found.sizes[axis] for axis in VARIABLES}
        self._length = {axis: json.loads((self.path / axis / ".zarray").read_text())["shape"][0] for axis in VARIABLES}
        for axis in VARIABLES:
            if found.sizes[axis]:
                self.last_step = max(self.last_step, int(found[axis].values[-1]))

    @property
    def attrs(self) -> dict[str, Any]:
        """Attributes as last written."""
        return dict(self._attrs)

    def append(self, axis: str, rows: Sequence[Mapping[str, float]]) -> None:
        """Write rows at the end of an axis; what a row does not name is NaN, or "not measured".

        Raises
        ------
        OSError
            The disk is full, the folder gone, ...; the store is as readable as before, and the rows may be appended
            again.
        """
        if not rows:
            return
        first, last = self._rows[axis], self._rows[axis] + len(rows)
        while self._length[axis] < last:
            self._grow(axis)
        chunk = CHUNKS[axis]
        for name in (*VARIABLES[axis], axis):  # the coordinate last: then the rows count
            dtype, fill = _kind(name, axis)
            absent = 0 if dtype == "|i1" else fill
            values = np.array([row.get(name, absent) for row in rows], dtype=dtype)
            for number in range(first // chunk, (last - 1) // chunk + 1):
                start, stop = max(first, number * chunk), min(last, (number + 1) * chunk)
                with open(self.path / name / str(number), "r+b", buffering=0) as file:
                    file.seek((start - number * chunk) * values.itemsize)
                    file.write(values[start - first : stop - first].tobytes())
        self._rows[axis] = last

    def _grow(self, axis: str) -> None:
        """Add a chunk of rows that are not filled yet to every array of an axis, to the coordinate last."""
        chunk, length = CHUNKS[axis], self._length[axis]
        for name in (*VARIABLES[axis], axis):
            dtype, fill = _kind(name, axis)
            self._write(f"{name}/{length // chunk}", np.full(chunk, fill, dtype=dtype).tobytes())
            meta = {
                "zarr_format": 2,
                "shape": [length + chunk],
                "chunks": [chunk],
                "dtype": dtype,
                "compressor": None,
                "fill_value": "NaN" if isinstance(fill, float) else fill,
                "order": "C",
                "filters": None,
            }
            self._write(f"{name}/.zarray", _json(meta))
        self._length[axis] = length + chunk

    def update(self, attrs: Mapping[str, Any]) -> None:
        """Write attributes: text, numbers; lists and mappings as JSON text.

        Raises
        ------
        OSError
            As :meth:`append`.
        """
        plain = (str, int, float)
        kept = {key: value if isinstance(value, plain) else json.dumps(value) for key, value in attrs.items()}
        merged = {**self._attrs, **kept}
        self._write(".zattrs", _json(merged))
        self._attrs = merged

    def _write(self, name: str, content: bytes) -> None:
        """Exchange one file in one step."""
        target = self.path / name
        temporary = target.with_name(f"{target.name}.partial")
        try:
            temporary.write_bytes(content)
            os.replace(temporary, target)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


def _json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, indent=1).encode()


def _kind(name: str, axis: str) -> tuple[str, float | int]:
    """Return dtype and fill value of a variable."""
    if name == axis:
        return "<i8", NO_STEP
    if name.endswith("_status") and name.removesuffix("_status") in MEASURED:
        return "|i1", 0
    return "<f8", float("nan")
