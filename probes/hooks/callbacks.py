"""What the callbacks of both frameworks share: a recorder for the training that begins."""

import os
from collections.abc import Callable
from typing import Any

from torch import nn, optim

from probes.hooks.recorder import Recorder
from probes.task import Task

__all__ = ["RecorderSettings"]


class RecorderSettings:
    """What a callback was given, kept until training begins.

    Parameters
    ----------
    path, loss, data, batch_size, **options
        See :class:`probes.hooks.lightning.RecorderCallback`.
    """

    def __init__(
        self, path: str | os.PathLike[str], loss: Callable[..., Any], data: Any, batch_size: int | None, **options: Any
    ) -> None:
        self.path, self.loss, self.data, self.batch_size, self.options = path, loss, data, batch_size, options

    def recorder(
        self,
        model: nn.Module,
        optimizer: optim.Optimizer,
        *,
        data: Any,
        samples: int | None,
        times: int,
        name: str,
        step: int,
        previous: Recorder | None,
    ) -> Recorder:
        """Return a recorder, of a second training in the recording of the first.

        Parameters
        ----------
        model : torch.nn.Module
            The part that is measured.
        optimizer : torch.optim.Optimizer
            Of the training.
        data : DataLoader
            Of the training, where none were given.
        samples : int or None
            In one pass; None where the effective batch was given.
        times : int
            Passes in a step: accumulation x processes.
        name : str
            Of the task.
        step : int
            Steps taken before, as a checkpoint says; 0 where nothing is known.
        previous : Recorder or None
            Of the training before.
        """
        options = dict(self.options)
        if samples is not None:
            options.setdefault("samples_in_memory", max(1, samples // 4))
        if step > 0:
            options.setdefault("start_step", step)
        if previous is not None:
            previous.close()
            options["if_exists"] = "append"
        return Recorder(
            Task(model, self.loss, data if self.data is None else self.data, name=name),
            self.path,
            batch_size=self.batch_size or (samples or 1) * times,
            optimizer=optimizer,
            **options,
        )
