"""What ``spectra laws`` reads: eigenvalues, a matrix or a spectral measure, from a file or a function."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from probes.cli.array_files import SUFFIXES, features_and_targets, is_data_file, read_npy, read_npz
from probes.cli.kernel_data import TARGETS
from probes.cli.kernel_table import feature_column, read_text_table, row_numbers
from probes.cli.session import is_run_file
from probes.named import load_named
from spectra.errors import ArgumentError, TaskError

__all__ = ["SpectrumSource", "read_spectrum"]

#: Arrays of a sparse matrix of SciPy, one of which has a name of those below.
SPARSE = ("format", "shape", "data")
#: Names under which arrays of an archive are looked for, in this order.
NAMES = ("eigenvalues", "eigenvalue", "spectrum", "covariance", "K", "gram", "kernel", "H", "A", "X", "x", "data")


@dataclass(frozen=True, kw_only=True, eq=False)
class SpectrumSource:
    """An array or a spectral measure, what it is called, and what was done to get it."""

    source: Any
    name: str
    remarks: tuple[str, ...] = ()

    @property
    def content(self) -> str:
        """What it is, for a line of progress."""
        if hasattr(self.source, "data_vars"):
            return f"spectral measure of order {int(self.source.attrs['dimension'])}"
        return f"array of shape {tuple(self.source.shape)}"


def read_spectrum(name: str, *, array: str | None = None) -> SpectrumSource:
    """Read a file, or call a function.

    Parameters
    ----------
    name : str
        ``.npy``, ``.npz``, ``.csv``, ``.tsv`` or ``.txt``, as `spectra kernel` reads them; a result with a spectral
        measure; or ``package.module:function`` that returns an array, samples and targets, or a mapping with ``data``
        as scikit-learn does.
    array : str, optional
        Array of an archive, column of a text file, or matrix of a result.

    Raises
    ------
    ArgumentError
        If there is no such file, array or column, or a column holds no numbers.
    ShapeError, SchemaError, OSError
        If the file cannot be read.
    TaskError
        If the function cannot be called or returns no array.
    """
    path = Path(name)
    if is_run_file(name):
        return _of_result(name, array)
    if not is_data_file(name):
        if path.exists():
            raise ArgumentError(f"{name} is no file of {', '.join(SUFFIXES)}, and no result (.nc, .zarr)")
        if ":" not in name:
            raise ArgumentError(
                f"there is no file or law {name!r}: give a file of {', '.join(SUFFIXES)}, a result (.nc, .zarr), a "
                "function as package.module:function, or a law of the list that `spectra laws` prints"
            )
        found = load_named(name, kind="matrix", accept=lambda value: features_and_targets(value) is not None)
        if array is not None:
            raise ArgumentError("--array needs a file of several arrays")
        # A list of two is a list of numbers or rows, not samples and targets.
        parts = None if isinstance(found, list) else features_and_targets(found)
        entries, targets = (found, None) if parts is None else parts
        remarks = () if targets is None else ("targets were left out",)
        return SpectrumSource(source=_array(entries, name), name=name, remarks=remarks)
    if path.suffix.lower() == ".npy":
        if array is not None:
            raise ArgumentError("a .npy file holds one array; leave --array out")
        return SpectrumSource(source=_array(read_npy(path), name), name=path.name)
    if path.suffix.lower() == ".npz":
        return _of_archive(path, array)
    return _of_table(path, array)


def _array(found: Any, name: str) -> np.ndarray:
    """Return real numbers; whole ones and truth values as floats."""
    if hasattr(found, "toarray"):
        raise ArgumentError(f"{name} is a sparse matrix; use toarray(), or take a measure of it with spectra.slq")
    if hasattr(found, "detach"):
        found = found.detach().cpu().numpy()
    try:
        values = np.asarray(found)
    except ValueError as error:
        raise TaskError(f"{name} gave no array: {error}") from error
    if values.dtype.kind in "iub":
        return values.astype(np.float64)
    if values.dtype.kind == "f":
        return values if values.dtype in (np.float32, np.float64) else values.astype(np.float64)
    if values.dtype.kind == "c":
        if not np.any(values.imag):
            return values.real
        raise ArgumentError(
            f"{name} holds complex numbers, and these laws are of real eigenvalues: give singular values, or the "
            "eigenvalues of a symmetric or Hermitian matrix, which are real"
        )
    raise ArgumentError(f"{name} must hold real numbers; got {values.dtype}")


def _of_archive(path: Path, array: str | None) -> SpectrumSource:
    arrays = read_npz(path)
    if array is None and set(SPARSE) <= set(arrays):
        raise ArgumentError(
            f"{path} holds a sparse matrix; save its toarray(), or take a measure of it with spectra.slq"
        )
    known = [name for name in NAMES if name in arrays]
    chosen = array or (known[0] if known else next(iter(arrays)) if len(arrays) == 1 else None)
    listed = ", ".join(arrays) or "nothing"
    if chosen is None:
        raise ArgumentError(f"{path} holds {listed}; name one with --array")
    if chosen not in arrays:
        raise ArgumentError(f"{path} has no array {chosen!r}; it holds {listed}")
    remarks = () if len(arrays) == 1 else (f"the array {chosen} of {listed} was taken",)
    return SpectrumSource(source=_array(arrays[chosen], f"{path.name}, {chosen}"), name=path.name, remarks=remarks)


def _of_table(path: Path, array: str | None) -> SpectrumSource:
    table = read_text_table(path)
    remarks = table.remarks
    places = list(range(len(table.header)))
    if array is not None:
        if array not in table.header:
            raise ArgumentError(f"{path} has no column {array!r}; it has {', '.join(table.header[:12])}")
        places = [table.header.index(array)]
    counting = row_numbers(table, places)
    if counting is not None:
        places.remove(counting)
        remarks += (f"the column {table.header[counting] or 'without a name'} numbers the rows and was left out",)
    targets = [table.header[i] for i in places if len(places) > 1 and table.header[i].lower() in TARGETS]
    if targets:
        remarks += (f"{', '.join(targets)} counted as a variable; leave out of the file what is to be predicted",)
    remedy = "or name one column with --array"
    columns = np.column_stack([feature_column(path, table, i, remedy=remedy) for i in places])
    source = columns[:, 0] if columns.shape[1] == 1 else columns[0] if len(columns) == 1 else columns
    return SpectrumSource(source=source, name=path.name, remarks=remarks)


def _of_result(name: str, array: str | None) -> SpectrumSource:
    """Return the spectral measure of a result, or its eigenvalues."""
    from spectra.storage import load

    data = load(name)
    groups = {path: node for path, node in getattr(data, "subtree_with_keys", ())}
    measures = {
        path: node.to_dataset() for path, node in groups.items() if node.attrs.get("schema") == "spectra/measure"
    }
    if data.attrs.get("schema") == "spectra/measure":
        measures = {"": data}
    if not measures:
        return _of_known(name, data, array)
    if array is not None:
        measures = {path: one for path, one in measures.items() if array in path.split("/")}
    if len(measures) != 1:
        listed = ", ".join(sorted(p for p, node in groups.items() if node.attrs.get("schema") == "spectra/measure"))
        raise ArgumentError(f"{name} holds the measures {listed or 'of one matrix'}; name one with --array")
    ((path, measure),) = measures.items()
    remarks = (f"the measure {path} was taken",) if path else ()
    return SpectrumSource(source=measure, name=Path(name).name, remarks=remarks)


def _of_known(name: str, data: Any, array: str | None) -> SpectrumSource:
    """Return the singular values of a weight matrix as eigenvalues, or say what is missing."""
    schema = data.attrs.get("schema")
    if schema != "spectra/weights":
        raise ArgumentError(
            f"{name} ({schema}) holds no spectral measure: `spectra measure` and `spectra spectrum` save one"
        )
    layers = data["layer"].values.tolist()
    if array not in layers:
        some = ", ".join(layers[:8]) + (", ..." if len(layers) > 8 else "")
        raise ArgumentError(f"{name} holds the matrices {some}; name one with --array")
    row = data.isel(layer=layers.index(array))
    values = row["singular_value"].values
    size = max(int(row["num_rows"]), int(row["num_columns"]))
    remark = f"squared singular values of {array}, divided by {size}, its larger side: give it with --samples"
    return SpectrumSource(
        source=values[np.isfinite(values)] ** 2 / size, name=f"{Path(name).name}, {array}", remarks=(remark,)
    )
