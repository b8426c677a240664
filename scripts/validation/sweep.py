"""The truth: trainings from one initial state at every rate of a grid, and at any rate that is asked for."""

import copy
import math

import numpy as np
import torch

import probes
from probes.objective import forward
from probes.parameters import select
from probes.training import TrainingRun
from scripts.validation.cells import GRIDS, Cell
from spectra.recommend import OptimizerSpec

__all__ = ["Sweep", "mean_loss", "regret", "sweep", "train"]

Sweep = dict[str, float | None]

#: A sweep goes down until so many rates in a row end above the best, and up until so many fail.
_WORSE, _FAILED = 3, 2
_FIRST = {"sgd": 2.0**-4, "momentum": 2.0**-7, "adamw": 2.0**-9}


def mean_loss(task: probes.Task, model: torch.nn.Module) -> float:
    """Return the mean training loss over (at most 1024 samples of) the data, in evaluation mode."""
    from probes.losses import read_loss

    samples = task.samples()
    order = np.random.default_rng(123).permutation(samples.num_samples)[:1024]
    loss, total = read_loss(task.loss), 0.0
    was_training = model.training
    model.eval()
    with torch.no_grad():
        for rows in np.array_split(order, 8):
            batch = samples.take(rows)
            total += float(loss.value(forward(model, batch, task.output), batch.target)) * len(rows)
    model.train(was_training)
    return total / len(order)


def train(task: probes.Task, cell: Cell, rate: float) -> float:
    """Return the final loss after training with this (peak) rate; infinity when it diverged."""
    model = copy.deepcopy(task.model)
    run = TrainingRun(
        task,
        model,
        list(select(model, task.parameters).values()),
        task.samples(),
        optimizer=OptimizerSpec(kind=cell.optimizer),  # type: ignore[arg-type]
        batch_size=cell.batch_size,
        learning_rate=rate,
        rng=np.random.default_rng([cell.seed, 7]),
    )
    for step in range(cell.num_steps):
        if cell.schedule == "linear":
            for group in run.optimizer.param_groups:
                group["lr"] = rate * (1 - step / cell.num_steps)
        if not run.advance(1):
            return math.inf
    final = mean_loss(task, model)
    return final if math.isfinite(final) else math.inf


def sweep(cell: Cell) -> dict:
    """Train at the rates of the grid around the best one.

    Returns
    -------
    dict
        ``initial_loss``; ``losses`` (rate as text: final loss, or None where it diverged); ``best_rate``,
        ``best_loss``; ``threshold``, the largest rate below the first that ends non-finite or above the initial loss;
        ``best_is_at_edge`` of the grid.
    """
    torch.set_num_threads(1)
    task = cell.build()
    initial = mean_loss(task, task.model)
    grid = GRIDS[cell.optimizer]
    losses: dict[int, float] = {}
    first = int(np.argmin(abs(np.log(grid / _FIRST[cell.optimizer]))))

    def visit(index: int) -> float:
        losses[index] = train(task, cell, float(grid[index]))
        return losses[index]

    failures = 0
    for index in range(first, len(grid)):
        failures = failures + 1 if visit(index) > initial else 0
        if failures >= _FAILED:
            break
    worse = 0
    for index in range(first - 1, -1, -1):
        best = min(losses.values())
        worse = worse + 1 if best < visit(index) <= initial else 0
        if worse >= _WORSE:
            break
    ordered = sorted(losses)
    best_index = min(ordered, key=lambda index: losses[index])
    unstable = [index for index in ordered if losses[index] > initial and index > best_index]
    return {
        "initial_loss": initial,
        "losses": {f"{grid[i]:.9g}": losses[i] if math.isfinite(losses[i]) else None for i in ordered},
        "best_rate": float(grid[best_index]),
        "best_loss": losses[best_index],
        "threshold": float(grid[unstable[0] - 1]) if unstable else None,
        "best_is_at_edge": best_index in (0, len(grid) - 1),
    }


def regret(final: float, swept: dict) -> float:
    """Return ``(L - L_best) / (L_0 - L_best)``, 1 where it diverged; negative if better than the whole grid."""
    initial, best = swept["initial_loss"], swept["best_loss"]
    return (final - best) / (initial - best) if final <= initial else 1.0
