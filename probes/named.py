"""Objects that are named on the command line: ``"package.module:function"`` or ``"path/to/file.py:function"``."""

import difflib
import functools
import importlib
import importlib.util
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from spectra.errors import CheckpointError, SpectraError, TaskError

__all__ = ["load_named", "said"]


def load_named(spec: str, *, kind: str, accept: Callable[[Any], bool]) -> Any:
    """Return the object of that name where it is accepted as it is, else what it returns when it is called.

    Parameters
    ----------
    spec : str
        Modules are looked for on ``sys.path`` and in the working directory; ``sys.path`` is as before afterwards.
        **The module's code is run.**
    kind : str
        What is wanted, for messages: ``"task"``.
    accept : callable
        Whether the object itself is one.

    Raises
    ------
    TaskError
        No colon, module or file not found, an error while it runs (the original is chained), no such name, or
        something that is neither accepted nor callable.
    CheckpointError
        The function loads a checkpoint that could only be read by running code stored in it.

    Notes
    -----
    Does not import PyTorch. Source: a convention of this project.

    Examples
    --------
    >>> load_named("math:pi", kind="number", accept=lambda found: isinstance(found, float)) > 3
    True
    """
    module_name, colon, attribute = str(spec).rpartition(":")
    if not colon or not module_name or not attribute:
        raise TaskError(
            f"a {kind} is named 'package.module:function' or 'file.py:function'; got {spec!r}"
            + (" without a function after a colon." if not colon or not attribute else ".")
        )
    found: Any = _load_module(module_name, spec)
    for part in attribute.split("."):
        if not hasattr(found, part):
            names = [name for name in dir(found) if not name.startswith("_")]
            near = difflib.get_close_matches(part, names, n=3, cutoff=0.4)
            raise TaskError(
                f"{module_name} has no {attribute!r}. "
                + (f"Did you mean {', '.join(near)}?" if near else f"It defines {', '.join(names[:8]) or 'nothing'}.")
            )
        found = getattr(found, part)
    if accept(found):
        return found
    if not callable(found):
        raise TaskError(f"{spec} must be a {kind} or a function that returns one; it is {said(found)}.")
    return _run(found, f"{spec} failed while building the {kind}")


def _load_module(name: str, spec: str) -> ModuleType:
    """Import a module by name, or run a file under a private name."""
    path = Path(name)
    before = list(sys.path)
    if path.suffix == ".py" or os.sep in name:
        if not path.is_file():
            raise TaskError(f"there is no file {path} (from {spec!r}, looked for in {Path.cwd()}).")
        private = f"_probes_task_{abs(hash(str(path.resolve()))):x}"
        described = importlib.util.spec_from_file_location(private, path)
        if described is None or described.loader is None:
            raise TaskError(f"{path} is not a Python file (from {spec!r}).")
        module = importlib.util.module_from_spec(described)
        sys.path.insert(0, str(path.resolve().parent))
        sys.modules[private] = module
        try:
            _run(
                functools.partial(described.loader.exec_module, module),
                f"{path} failed while it was imported",
            )
        except BaseException:
            sys.modules.pop(private, None)
            raise
        finally:
            sys.path[:] = before
        return module
    sys.path.insert(0, str(Path.cwd()))
    try:
        return _run(functools.partial(importlib.import_module, name), f"{name} failed while it was imported")
    except TaskError as error:
        cause = error.__cause__
        if isinstance(cause, ModuleNotFoundError) and cause.name and f"{name}.".startswith(f"{cause.name}."):
            raise TaskError(
                f"there is no module {cause.name!r} (from {spec!r}; looked for on sys.path and in {Path.cwd()}). For a "
                "file write 'path/to/file.py:function'."
            ) from cause
        raise
    finally:
        sys.path[:] = before


def _run(function: Callable[[], Any], failure: str) -> Any:
    """Call code of the user's and say in one sentence what went wrong in it."""
    try:
        return function()
    except SpectraError:
        raise
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{failure}: a checkpoint could not be read safely (torch.load with weights_only=True). It holds Python "
            "objects whose loading runs code, or it is damaged. Save the state_dict alone, or, if you trust the file, "
            "call torch.load(..., weights_only=False) yourself. "
            f"PyTorch says: {str(error).strip().splitlines()[0]}"
        ) from error
    except Exception as error:
        raise TaskError(f"{failure}: {type(error).__name__}: {error}") from error


def said(value: Any) -> str:
    """Name a value in an error message."""
    return f"the class {value.__name__}" if isinstance(value, type) else f"{type(value).__name__} {value!r:.60}"
