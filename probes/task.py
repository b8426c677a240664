"""What a user gives: a model, its loss, its data, and how the output is read."""

import difflib
import functools
import importlib
import importlib.util
import os
import pickle
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from probes.batches import Batches, Samples
from probes.model_loss import ModelLoss, read_any_loss
from probes.parameters import ParameterSpec, select
from spectra.errors import CheckpointError, SpectraError, TaskError

__all__ = ["Task", "load_task"]


@dataclass(eq=False)
class Task:
    """A training problem: model, loss and data.

    Parameters
    ----------
    model : torch.nn.Module
        Measured in the mode it is in; never changed.
    loss : torch.nn loss or callable
        ``(output, target) -> scalar``, the mean over the samples of a batch, or ``(model, batch) -> scalar``, see
        :class:`probes.model_loss.ModelLoss`.
    data : iterable of batches, DataLoader, or one batch
        The training data, in a fixed order; see :class:`probes.batches.Batches`.
    name : str, optional
        For reports; the model's class by default.
    output : callable, optional
        Takes what the model returns and gives the tensor for the loss.
    parameters : None, str, iterable of str or callable
        Which parameters are measured; see :func:`probes.parameters.select`.
    description : str
        One sentence for reports.
    pretrained : bool
        Whether the parameters come from a training run (rather than from initialization).

    Raises
    ------
    TaskError
        Something is missing or has the wrong type; the message says what came.

    Examples
    --------
    >>> import torch
    >>> task = Task(torch.nn.Linear(2, 1), torch.nn.MSELoss(), [(torch.zeros(3, 2), torch.zeros(3, 1))])
    >>> task.name, task.batches.num_samples
    ('Linear', 3)
    """

    model: nn.Module
    loss: Callable[..., Any]
    data: Any
    name: str | None = None
    output: Callable[[Any], Any] | None = None
    parameters: ParameterSpec = None
    description: str = ""
    pretrained: bool = False

    def __post_init__(self) -> None:
        """Check the types; neither the model nor the data are run."""
        if not isinstance(self.model, nn.Module):
            hint = " Pass an instance, not the class." if isinstance(self.model, type) else ""
            raise TaskError(f"Task.model must be a torch.nn.Module; got {_said(self.model)}.{hint}")
        if isinstance(self.loss, type):
            raise TaskError(f"Task.loss must be an instance; got the class {self.loss.__name__}: add ().")
        read_any_loss(self.loss)
        if self.data is None:
            raise TaskError("Task.data must be batches of (inputs, target), a DataLoader or one batch; got None.")
        if self.output is not None and not callable(self.output):
            raise TaskError(f"Task.output must be a callable or None; got {_said(self.output)}.")
        if self.name is None:
            self.name = type(self.model).__name__
        if isinstance(self.parameters, Iterable) and not isinstance(self.parameters, str):
            self.parameters = list(self.parameters)
        select(self.model, self.parameters, allow_half=True)

    @functools.cached_property
    def batches(self) -> Batches:
        """The data, read once and frozen in their order, delivered on the model's device."""
        paired = not isinstance(read_any_loss(self.loss), ModelLoss)
        return Batches(self.data, device=next(self.model.parameters()).device, paired=paired)

    def samples(self) -> Samples:
        """Return all samples in one store, to draw batches of any size from."""
        return self.batches.samples()

    def operator_options(self) -> dict[str, Any]:
        """Return the keyword arguments that every curvature operator of this task takes."""
        return {"parameters": self.parameters, "output": self.output}


def load_task(spec: str) -> Task:
    """Load a task from ``"package.module:function"`` or ``"path/to/file.py:function"``.

    Parameters
    ----------
    spec : str
        After the colon: a function without arguments that returns a :class:`Task`, or a task. Modules are looked for
        on ``sys.path`` and in the working directory; ``sys.path`` is as before afterwards. **The module's code is
        run.**

    Raises
    ------
    TaskError
        No colon, module or file not found, an error while it runs (the original is chained), no such function, or
        something that is not a task.
    CheckpointError
        The function loads a checkpoint that could only be read by running code stored in it.
    """
    module_name, colon, attribute = str(spec).rpartition(":")
    if not colon or not module_name or not attribute:
        raise TaskError(
            f"a task is named 'package.module:function' or 'file.py:function'; got {spec!r}"
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
    if isinstance(found, Task):
        return found
    if not callable(found):
        raise TaskError(f"{spec} must be a Task or a function that returns one; it is {_said(found)}.")
    task = _run(found, f"{spec} failed while building the task")
    if not isinstance(task, Task):
        raise TaskError(f"{spec} must return a probes.Task; it returned {_said(task)}.")
    return task


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


def _said(value: Any) -> str:
    """Name a value in an error message."""
    return f"the class {value.__name__}" if isinstance(value, type) else f"{type(value).__name__} {value!r:.60}"
