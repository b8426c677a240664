"""What is trained: tasks, optimizers, batch sizes, seeds, and which tasks the rules may be tuned on."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

import probes

__all__ = ["GRIDS", "HELD_OUT", "TUNING", "Cell", "cells"]

#: Rules and constants may be chosen on these tasks ...
TUNING = ("digits_mlp", "digits_cnn_batchnorm", "digits_lstm", "char_transformer")
#: ... and are judged on these: other networks, one pretrained, one a regression.
HELD_OUT = ("digits_cnn", "digits_resnet", "diabetes_mlp", "minilm")

#: Factor-2 grids, wide enough for every cell; a sweep visits what it needs of them.
GRIDS: dict[str, npt.NDArray[np.float64]] = {
    "sgd": 2.0 ** np.arange(-12, 7),
    "momentum": 2.0 ** np.arange(-15, 4),
    "adamw": 2.0 ** np.arange(-18, 1),
}

_BATCH_SIZES = {
    "char_transformer": (8, 16, 32),
    "diabetes_mlp": (8, 32, 128),
    "digits_cnn": (16, 64, 256),
    "digits_cnn_batchnorm": (16, 64, 256),
    "digits_lstm": (16, 64, 256),
    "digits_mlp": (16, 64, 256),
    "digits_resnet": (16, 64, 256),
    "minilm": (4, 8, 16),
}
_NUM_STEPS = {"char_transformer": 150, "minilm": 60}


@dataclass(frozen=True)
class Cell:
    """One setting: everything but the learning rate.

    Attributes
    ----------
    task : str
        Name in ``probes.examples``.
    optimizer : str
        ``"sgd"``, ``"momentum"`` (0.9) or ``"adamw"``.
    batch_size : int
        Samples in a step.
    schedule : str
        ``"constant"`` or ``"linear"`` (decay to zero).
    seed : int
        Of the model, the order of the samples and the measurement.
    """

    task: str
    optimizer: str
    batch_size: int
    schedule: str
    seed: int

    @property
    def key(self) -> str:
        """Name of the cell in the result file."""
        return f"{self.task}|{self.optimizer}|b{self.batch_size}|{self.schedule}|seed{self.seed}"

    @property
    def num_steps(self) -> int:
        """Length of a training."""
        return _NUM_STEPS.get(self.task, 200)

    @property
    def is_held_out(self) -> bool:
        """Whether no rule was tuned on its task."""
        return self.task in HELD_OUT

    def build(self) -> probes.Task:
        """Return the task at its initial state."""
        options = {"num_sentences": 256, "length": 16, "num_trained": 2} if self.task == "minilm" else {}
        return getattr(probes.examples, self.task)(seed=self.seed, **options)


def cells(*, quick: bool = False) -> list[Cell]:
    """Return all cells, or twelve of constant learning rate, two tasks of each half."""
    if quick:
        tasks = ("digits_mlp", "digits_cnn_batchnorm", "digits_cnn", "diabetes_mlp")
        return [Cell(task, o, _BATCH_SIZES[task][1], "constant", 0) for task in tasks for o in GRIDS]
    return [
        Cell(task, optimizer, batch_size, schedule, seed)
        for task in (*TUNING, *HELD_OUT)
        for batch_size in _BATCH_SIZES[task]
        for optimizer in GRIDS
        for schedule in ("constant", "linear")
        for seed in (0, 1)
    ]
