"""Arrays that subcommands read from files of NumPy or get from functions, and which files are data, not results."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from spectra.errors import ArgumentError

__all__ = ["SUFFIXES", "features_and_targets", "is_data_file", "read_npy", "read_npz"]

#: Files of data that are read, by suffix.
SUFFIXES = (".npz", ".npy", ".csv", ".tsv", ".txt")


def is_data_file(name: str) -> bool:
    """Whether the argument names a file of data rather than a function or a result."""
    return Path(name).suffix.lower() in SUFFIXES


def read_npy(path: Path) -> np.ndarray:
    """Return the array of a ``.npy`` file, mapped, not read.

    Raises
    ------
    ArgumentError
        If it holds no array of plain numbers or text.
    OSError
        If it cannot be read.
    """
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ArgumentError(f"{path} is no array that can be read: {error}") from error
    return np.asanyarray(found)


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a ``.npz`` file by name.

    Raises
    ------
    ArgumentError
        If it is no such file.
    OSError
        If it cannot be read.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (ValueError, EOFError) as error:
        raise ArgumentError(f"{path} is no .npz file that can be read: {error}") from error


def features_and_targets(found: Any) -> tuple[Any, Any] | None:
    """Return features and targets of what a function gave: an array, a pair, or a mapping with ``data``; else None."""
    if isinstance(found, np.ndarray):
        return found, None
    if isinstance(found, tuple | list) and len(found) == 2:
        return found[0], found[1]
    if isinstance(found, Mapping) and "data" in found:
        return found["data"], found.get("target")
    return None
