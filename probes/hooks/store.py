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
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from spectra import atomic_write
from spectra.errors import ArgumentError, SchemaError
from spectra.recording import (
    ADDED_LATER,
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
        What to do with a recording that is there. ``"append"`` is for resumed training: attributes but ``created``
        become those given now.
    start_step : int, optional
        The step after which training goes on, by default the last one that was counted. Rows of later steps are
        dropped: they belong to a course of the training that was left.

    Attributes
    ----------
    last_step : int
        The step after which to count on; 0 in a new recording, unless ``start_step`` says otherwise.

    Raises
    ------
    ArgumentError
        Another suffix, or a recording is there and ``if_exists`` is ``"refuse"``.
    SpectraError
        The folder is missing or may not be written, or what is there is no Zarr store.
    SchemaError
        What is there and would be continued or replaced is no recording; or would be continued and is damaged or newer.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        attrs: Mapping[str, Any],
        *,
        if_exists: IfExists = "refuse",
        start_step: int | None = None,
    ) -> None:
        self.path = Path(path)
        if self.path.suffix != ".zarr":
            raise ArgumentError(f"a recording is a Zarr store, named *.zarr; got {os.fspath(path)!r}")
        if if_exists not in ("refuse", "append", "replace"):
            raise ArgumentError(f"if_exists must be 'refuse', 'append' or 'replace'; got {if_exists!r}")
        atomic_write.check_writable(path)
        self._writer = uuid.uuid4().hex
        self.last_step = start_step or 0
        there = self.path.is_dir() and any(self.path.iterdir())
        if there and if_exists == "refuse":
            raise ArgumentError(
                f"{str(self.path)!r} is there already; pass if_exists='append' to go on with it (resumed training), "
                "'replace' to lose it, or another name"
            )
        with atomic_write.explained(self.path, "written"):
            if there and if_exists == "append":
                self._continue(attrs, start_step)
                return
            if there:
                self._remove()
            try:
                self._create(attrs)
            except BaseException:
                shutil.rmtree(self.path, ignore_errors=True)
                raise

    def _remove(self) -> None:
        if not is_recording(self.path):
            raise SchemaError(
                f"{str(self.path)!r} is no recording of a training run that could be read, so it is not replaced; "
                "choose another name, or remove it yourself"
            )
        shutil.rmtree(self.path)

    def _create(self, attrs: Mapping[str, Any]) -> None:
        self.path.mkdir(exist_ok=True)
        self._rows = dict.fromkeys(VARIABLES, 0)
        self._length = dict.fromkeys(VARIABLES, 0)
        for axis, variables in VARIABLES.items():
            for name in (axis, *variables):
                self._describe(axis, name)
            self._grow(axis)
        self._attrs: dict[str, Any] = {}
        schema = {"schema": RECORDING_SCHEMA, "schema_version": RECORDING_SCHEMA_VERSION}
        self.update({**schema, **attrs, "writer": self._writer})
        # Last: without it the folder is no Zarr store.
        self._write(".zgroup", _json({"zarr_format": 2}))

    def _continue(self, attrs: Mapping[str, Any], start_step: int | None) -> None:
        found = read_recording(self.path)
        steps = {axis: found[axis].values for axis in VARIABLES}
        self._attrs = dict(found.attrs)
        self._rows = {axis: len(marks) for axis, marks in steps.items()}
        self._length = {axis: json.loads((self.path / axis / ".zarray").read_text())["shape"][0] for axis in VARIABLES}
        for name in ADDED_LATER:
            if not (self.path / name).exists():
                self._add(name)
        if start_step is None:
            # The last row may be older: where the budget was used up, steps were counted and not noted.
            counted = int(found.attrs.get("num_steps", 0))
            self.last_step = max([counted, *(int(marks[-1]) for marks in steps.values() if len(marks))])
        else:
            for axis, marks in steps.items():
                self._forget(axis, int(np.searchsorted(marks, start_step, side="right")))
        self.update({**{key: value for key, value in attrs.items() if key != "created"}, "writer": self._writer})

    def _forget(self, axis: str, kept: int) -> None:
        """Drop the rows from number ``kept`` on, the last chunk first, so that no gap is left whatever happens."""
        chunk = CHUNKS[axis]
        for number in reversed(range(kept // chunk, -(-self._rows[axis] // chunk))):
            first, last = max(kept, number * chunk), min(self._rows[axis], (number + 1) * chunk)
            self._fill(axis, axis, first, np.full(last - first, NO_STEP, dtype="<i8"))
        self._rows[axis] = min(kept, self._rows[axis])

    @property
    def num_measured(self) -> int:
        """Rows along ``step``."""
        return self._rows["step"]

    @property
    def is_ours(self) -> bool:
        """Whether nobody else has opened the recording for writing since."""
        return bool(json.loads((self.path / ".zattrs").read_text()).get("writer") == self._writer)

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
                self._fill(axis, name, start, values[start - first : stop - first])
        self._rows[axis] = last

    def _fill(self, axis: str, name: str, start: int, values: np.ndarray) -> None:
        """Write values of one chunk in place, from row ``start`` on."""
        number, offset = divmod(start, CHUNKS[axis])
        with open(self.path / name / str(number), "r+b", buffering=0) as file:
            file.seek(offset * values.itemsize)
            file.write(values.tobytes())

    def _grow(self, axis: str) -> None:
        """Add a chunk of rows that are not filled yet to every array of an axis, to the coordinate last."""
        for name in (*VARIABLES[axis], axis):
            self._extend(axis, name, self._length[axis])
        self._length[axis] += CHUNKS[axis]

    def _add(self, name: str) -> None:
        """Add an array to the recording of an earlier release."""
        axis = next(axis for axis, variables in VARIABLES.items() if name in variables)
        self._describe(axis, name)
        for length in range(0, self._length[axis], CHUNKS[axis]):
            self._extend(axis, name, length)

    def _describe(self, axis: str, name: str) -> None:
        meaning = VARIABLES[axis].get(name, "training step, from 1; -1: not written")
        (self.path / name).mkdir()
        self._write(f"{name}/.zattrs", _json({"_ARRAY_DIMENSIONS": [axis], "long_name": meaning}))

    def _extend(self, axis: str, name: str, length: int) -> None:
        """Add a chunk to an array that has ``length`` rows."""
        chunk = CHUNKS[axis]
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
