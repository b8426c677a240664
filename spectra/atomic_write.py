"""Writing a file or folder whole or not at all, and saying in one sentence what went wrong."""

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from spectra.errors import SpectraError

__all__ = ["check_writable", "explained", "replacing"]

#: Either of these files makes a folder a Zarr store.
STORE_MARKS = (".zgroup", "zarr.json")


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a free path beside ``path``; what is written there takes its place, or is removed after an error.

    A file is exchanged in one step. A folder takes two renames: a crash between them leaves the older folder beside
    ``path``, under a name that ends in ``.old``. A symbolic link stays, and its target is replaced.

    Parameters
    ----------
    path : str or path-like
        A file, or a Zarr store.

    Raises
    ------
    SpectraError
        If the folder of ``path`` is missing, or if ``path`` is a folder and not a Zarr store, a device or a pipe, so
        that nothing else is ever removed.
    """
    target = Path(os.path.realpath(path))
    _check_target(target)
    temporary = _beside(target, "tmp")
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
def explained(path: str | os.PathLike[str], action: str) -> Iterator[None]:
    """Turn an error of the file system into one sentence that names the file and the cause.

    Parameters
    ----------
    path : str or path-like
        What the user asked for.
    action : {"written", "read"}
        What is being done to it.

    Raises
    ------
    SpectraError
        In place of any OSError.
    """
    name = os.fspath(path)
    folder = os.path.dirname(os.path.realpath(name))
    try:
        yield
    except OSError as error:
        if isinstance(error, PermissionError):
            cause = f"no permission for it or for its folder {folder!r}"
        else:
            cause = error.strerror or str(error)
        kept = "; what was there before is unchanged" if action == "written" and os.path.exists(name) else ""
        raise SpectraError(f"{name!r} cannot be {action}: {cause}{kept}") from error


def check_writable(path: str | os.PathLike[str]) -> None:
    """Find out now, and not after a long measurement, whether ``path`` could be written.

    Raises
    ------
    SpectraError
        If its folder is missing or may not be written, or if something stands there that is not ours to replace.
    """
    target = Path(os.path.realpath(path))
    with explained(path, "written"):
        _check_target(target)
        probe = _beside(target, "tmp")
        with open(probe, "xb"):
            pass
        os.unlink(probe)


def _beside(target: Path, ending: str) -> Path:
    return target.with_name(f".{target.name}.{uuid.uuid4().hex[:12]}.{ending}")


def _check_target(target: Path) -> None:
    if not target.parent.is_dir():
        raise SpectraError(
            f"{str(target)!r} cannot be written: there is no folder {str(target.parent)!r}; make it first"
        )
    if target.suffix == ".zarr" and target.is_file():
        raise SpectraError(f"{str(target)!r} is a file, and a Zarr store is a folder; choose another name")
    is_store = target.suffix == ".zarr" and any((target / mark).exists() for mark in STORE_MARKS)
    may_be_folder = is_store or (target.suffix == ".zarr" and target.is_dir() and not any(target.iterdir()))
    if target.is_dir() and not may_be_folder:
        raise SpectraError(f"{str(target)!r} is a folder and not a Zarr store; choose another name")
    if target.exists() and not target.is_dir() and not target.is_file():
        raise SpectraError(f"{str(target)!r} is a device or a pipe, not a file to replace; choose another name")
