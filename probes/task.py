"""What a user gives: a model, its loss, its data, and how the output is read."""

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from torch import nn

from probes.batches import Batches, Samples
from probes.model_loss import ModelLoss, read_any_loss
from probes.named import load_named, said
from probes.parameters import ParameterSpec, select
from spectra.errors import TaskError

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
            raise TaskError(f"Task.model must be a torch.nn.Module; got {said(self.model)}.{hint}")
        if isinstance(self.loss, type):
            raise TaskError(f"Task.loss must be an instance; got the class {self.loss.__name__}: add ().")
        read_any_loss(self.loss)
        if self.data is None:
            raise TaskError("Task.data must be batches of (inputs, target), a DataLoader or one batch; got None.")
        if self.output is not None and not callable(self.output):
            raise TaskError(f"Task.output must be a callable or None; got {said(self.output)}.")
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
    task = load_named(spec, kind="task", accept=lambda found: isinstance(found, Task))
    if not isinstance(task, Task):
        raise TaskError(f"{spec} must return a probes.Task; it returned {said(task)}.")
    return task
