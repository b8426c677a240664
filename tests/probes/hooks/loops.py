"""Small training loops for the tests of the hooks, and a clock that only moves when told."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from probes import Task
from probes.hooks import Recorder
from tests.probes.small_tasks import data


class Clock:
    """Seconds that pass when a test says so, and by ``tick`` at every reading."""

    def __init__(self, tick: float = 0.0) -> None:
        self.now, self.tick = 0.0, tick

    def __call__(self) -> float:
        self.now += self.tick
        return self.now


class Noisy(nn.Module):
    """Dropout and batch normalization: random numbers and buffers that a measurement must not move."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.3), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


def noisy_task(dtype: torch.dtype = torch.float32) -> Task:
    """Return a task with dropout and batch normalization, seeded, the global generator untouched."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Noisy().to(dtype)
    return Task(model, nn.CrossEntropyLoss(), [data(dtype=dtype)], name="noisy")


OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1),
    "nesterov": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True),
    "adamw": lambda p: torch.optim.AdamW(p, lr=1e-2),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=1e-3),
}


def train(
    task: Task,
    optimizer: torch.optim.Optimizer,
    *,
    num_steps: int,
    after: Callable[[torch.Tensor], object] = lambda loss: None,
    batch_size: int = 32,
) -> list[float]:
    """Train in train mode on shuffled batches drawn from the global generator; return the losses."""
    inputs, target = task.data[0]
    task.model.train()
    losses = []
    for _ in range(num_steps):
        rows = torch.randperm(len(inputs))[:batch_size]
        optimizer.zero_grad()
        loss = task.loss(task.model(inputs[rows]), target[rows])
        loss.backward()
        optimizer.step()
        after(loss)
        losses.append(float(loss.detach()))
    return losses


def recorder(task: Task, path: Path, optimizer: torch.optim.Optimizer | None, **options: Any) -> Recorder:
    """Return a recorder with so large a budget that no measurement waits."""
    return Recorder(
        task, path, **{"batch_size": 32, "overhead": 1e6, "check": False, "optimizer": optimizer, **options}
    )


@contextmanager
def heard() -> Iterator[list[str]]:
    """Collect what is warned about inside; nothing is raised, nothing is lost."""
    messages: list[str] = []
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        yield messages
        messages += [str(warning.message) for warning in seen]
