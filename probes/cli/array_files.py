"""Files of NumPy arrays that subcommands read, and which files are data rather than results."""

from pathlib import Path

import numpy as np

from spectra.errors import ArgumentError

__all__ = ["SUFFIXES", "is_data_file", "read_npy", "read_npz"]

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
