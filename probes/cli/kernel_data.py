"""What ``spectra kernel`` reads: samples and targets, or a Gram matrix, from a file or a function."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from probes.cli.array_files import features_and_targets, is_data_file, read_npy, read_npz
from probes.cli.kernel_table import feature_column, read_text_table, row_numbers, target_column
from probes.named import load_named
from spectra.errors import ArgumentError, NonFiniteError, ShapeError, TaskError

__all__ = ["KernelData", "read_kernel_data"]

#: Names under which arrays are looked for, in this order.
FEATURES = ("X", "x", "data", "features", "inputs", "X_train", "x_train")
TARGETS = ("y", "Y", "target", "targets", "label", "labels", "y_train")
GRAMS = ("K", "gram", "kernel")


@dataclass(frozen=True, kw_only=True, eq=False)
class KernelData:
    """Samples or a Gram matrix, with or without targets.

    Attributes
    ----------
    features : array, shape (n, d), or None
    gram : array, shape (n, n), or None
        At least one of the two is given.
    target : array, shape (n,) or (n, C), or None
    name : str
        For reports.
    remarks : tuple of str
        What was done with what was read.
    """

    features: Any = None
    gram: Any = None
    target: Any = None
    name: str
    remarks: tuple[str, ...] = ()


def read_kernel_data(name: str, *, target: str | None = None, one_hot: bool = False) -> Any:
    """Read a file, or call a function, and return samples with their targets.

    Parameters
    ----------
    name : str
        ``.npz`` with arrays ``X`` and ``y`` (or ``K`` and ``y``), ``.npy`` (mapped, not read), ``.csv``, ``.tsv`` or
        ``.txt`` (with or without a header); or ``package.module:function`` that returns ``(X, y)``, an object or
        mapping with ``data`` and ``target`` such as those of scikit-learn, or a task.
    target : str, optional
        Array of an ``.npz``, or column of a text file by name or number (-1 is the last), that holds the targets.
    one_hot : bool
        Whether to encode the targets as classes; targets that are text always are.

    Returns
    -------
    KernelData, or whatever else the function returned (a task)

    Raises
    ------
    ArgumentError
        If there is no such array or column, or the targets are no numbers.
    ShapeError
        If features are no table.
    TaskError
        If the function cannot be called or returns nothing of that kind.
    OSError
        If the file cannot be read.
    """
    if not is_data_file(name):
        found = load_named(name, kind="data set", accept=lambda value: features_and_targets(value) is not None)
        parts = features_and_targets(found)
        if parts is None:
            return found
        features, labels = parts
        return _finished(name, features=features, target=labels, one_hot=one_hot)
    path = Path(name)
    suffix = path.suffix.lower()
    if suffix == ".npy":
        if target is not None:
            raise ArgumentError("a .npy file holds one array; put X and y into an .npz file to have targets")
        return _finished(name, features=read_npy(path), one_hot=one_hot)
    if suffix == ".npz":
        return _archive(path, target, one_hot)
    return _table(path, target, one_hot)


def _archive(path: Path, target: str | None, one_hot: bool) -> KernelData:
    """Read an ``.npz`` file."""
    arrays = read_npz(path)
    if target is not None and target not in arrays:
        raise ArgumentError(f"{path} has no array {target!r}; it holds {', '.join(arrays)}")
    chosen = target or next((name for name in TARGETS if name in arrays), None)
    labels = None if chosen is None else arrays[chosen]
    features = next((name for name in FEATURES if name in arrays), None)
    gram = next((name for name in GRAMS if name in arrays), None)
    if features is None and gram is None:
        tables = [name for name, array in arrays.items() if array.ndim == 2 and name != chosen]
        if len(tables) != 1:
            raise ArgumentError(
                f"{path} must hold features named {', '.join(FEATURES)} or a Gram matrix named {', '.join(GRAMS)}; it "
                f"holds {', '.join(arrays) or 'nothing'}"
            )
        features = tables[0]
    return _finished(
        path.name,
        features=None if features is None else arrays[features],
        gram=None if gram is None else arrays[gram],
        target=labels,
        one_hot=one_hot,
        remarks=() if chosen or len(arrays) == 1 else (_no_targets("array", list(arrays)),),
    )


def _no_targets(what: str, names: list[str]) -> str:
    """Say that no targets were found, and how to name them."""
    some = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    return (
        f"no {what} is named {', '.join(TARGETS[:3])} or the like, so that there are no targets and no error is "
        f"predicted: name one of {some} with --target"
    )


def _table(path: Path, target: str | None, one_hot: bool) -> KernelData:
    """Read a text file with or without a header."""
    table = read_text_table(path)
    remarks = table.remarks
    place = _column(path, target, table.header)
    others = [i for i in range(len(table.header)) if i != place]
    counting = row_numbers(table, others)
    if counting is not None:
        others.remove(counting)
        remarks += (f"the column {table.header[counting] or 'without a name'} numbers the rows and was left out",)
    if place is None:
        remarks += (_no_targets("column", table.header),)
    if not others:
        raise ShapeError(f"{path} has no columns of features")
    features = np.column_stack([feature_column(path, table, i) for i in others])
    labels = None if place is None else target_column(path, table, place)
    return _finished(path.name, features=features, target=labels, one_hot=one_hot, remarks=remarks)


def _column(path: Path, target: str | None, header: list[str]) -> int | None:
    """Return the place of the target among the columns."""
    if target is None:
        names = [name.lower() for name in header]
        return next((names.index(name) for name in map(str.lower, TARGETS) if name in names), None)
    if target in header:
        return header.index(target)
    try:
        place = int(target)
    except ValueError:
        raise ArgumentError(f"{path} has no column {target!r}; it has {', '.join(header[:12])}") from None
    if not -len(header) <= place < len(header):
        raise ArgumentError(f"{path} has {len(header)} columns; --target {place} is none of them")
    return place % len(header)


def _finished(
    name: str,
    *,
    features: Any = None,
    gram: Any = None,
    target: Any = None,
    one_hot: bool = False,
    remarks: tuple[str, ...] = (),
) -> KernelData:
    """Check what was read, and encode classes."""
    if features is not None:
        if hasattr(features, "tocsr"):
            raise ArgumentError(f"{name}: features are a sparse matrix; use toarray()")
        if not isinstance(features, np.ndarray):
            features = np.asarray(features)
        if features.ndim != 2:
            raise ShapeError(f"{name}: features must be a table of shape (n, d); got {tuple(features.shape)}")
        if 0 in features.shape:
            raise ShapeError(f"{name}: there are no samples, or no features: shape {tuple(features.shape)}")
        if features.dtype.kind not in "fiub":
            raise ArgumentError(f"{name}: features must be real numbers; got {features.dtype}")
        if features.dtype.kind in "iub":
            features = features.astype(float)
    if target is not None:
        target = np.asarray(target)
        if one_hot or target.dtype.kind in "USO":
            if target.ndim != 1:
                raise ShapeError(f"{name}: classes must be one column; got shape {target.shape}")
            classes = np.unique(target)
            if len(classes) > max(2, len(target) // 2):
                raise ArgumentError(f"{name}: {len(classes)} classes in {len(target)} samples are no classes")
            target = (target[:, None] == classes).astype(float)
            remarks += (f"targets encoded as {len(classes)} columns, one for each class",)
        elif target.dtype.kind in "fc" and not np.all(np.isfinite(target)):
            row = int(np.argwhere(~np.isfinite(target))[0][0])
            raise NonFiniteError(
                f"{name}: targets must be finite; row {row} holds NaN or infinity. Leave such rows out"
            )
    elif one_hot:
        raise ArgumentError("--one-hot needs targets: name them with --target")
    if features is None and gram is None:
        raise TaskError(f"{name} gave neither features nor a Gram matrix")
    return KernelData(features=features, gram=gram, target=target, name=name, remarks=remarks)
