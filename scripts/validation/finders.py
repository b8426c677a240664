"""What range-test finders suggest: one exponential ramp of the learning rate, read by the rules of three tools.

Written from the published behavior of the tools (their code is not used); each ramp takes 100 steps from the initial
state:

torch-lr-finder 0.2
    1e-7 to 10; loss smoothed by 0.95 of the last one; stops at five times the best smoothed loss; suggests the rate of
    the steepest descent per step, leaving out the first 10 and the last 5 points.
Lightning 2.6, ``lr_find``
    1e-8 to 1; smoothing 0.98 with bias correction; stops at four times the best; steepest descent, leaving out the
    first 10 points and the last.
fastai 2, ``valley``
    1e-7 to 10; smoothing 0.98 with bias correction; stops at four times the best; leaves out the first tenth and the
    last 5 points; takes the longest decreasing run of smoothed losses (not necessarily of neighbors), and of it, as
    long as it is, the middle of its second third, counted back from its end.
"""

import copy
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

import probes
from probes.parameters import select
from probes.training import TrainingRun
from scripts.validation.cells import Cell
from spectra.recommend import OptimizerSpec

__all__ = ["FINDERS", "suggestions"]

_NUM_STEPS = 100


@dataclass(frozen=True)
class _Ramp:
    low: float
    high: float
    smoothing: float
    corrected: bool
    stop: float


_RAMPS = {
    "torch-lr-finder": _Ramp(1e-7, 10.0, 0.95, corrected=False, stop=5.0),
    "Lightning": _Ramp(1e-8, 1.0, 0.98, corrected=True, stop=4.0),
    "fastai valley": _Ramp(1e-7, 10.0, 0.98, corrected=True, stop=4.0),
}
FINDERS = tuple(_RAMPS)


def suggestions(cell: Cell) -> dict[str, float | None]:
    """Return the learning rate that each finder suggests, or None where it has too few points."""
    task = cell.build()
    return {name: _suggest(name, *_ramp(task, cell, ramp)) for name, ramp in _RAMPS.items()}


def _ramp(task: probes.Task, cell: Cell, ramp: _Ramp) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return learning rates and smoothed losses until the ramp stops."""
    model = copy.deepcopy(task.model)
    run = TrainingRun(
        task,
        model,
        list(select(model, task.parameters).values()),
        task.samples(),
        optimizer=OptimizerSpec(kind=cell.optimizer),  # type: ignore[arg-type]
        batch_size=cell.batch_size,
        learning_rate=ramp.low,
        rng=np.random.default_rng([cell.seed, 8]),
    )
    rates: list[float] = []
    smoothed: list[float] = []
    average = 0.0
    for step in range(_NUM_STEPS):
        rate = ramp.low * (ramp.high / ramp.low) ** (step / (_NUM_STEPS - 1))
        for group in run.optimizer.param_groups:
            group["lr"] = rate
        alive = run.advance(1)
        loss = run.losses[-1]
        if not math.isfinite(loss):
            break
        if ramp.corrected:
            average = ramp.smoothing * average + (1 - ramp.smoothing) * loss
            value = average / (1 - ramp.smoothing ** (step + 1))
        else:
            average = loss if step == 0 else ramp.smoothing * average + (1 - ramp.smoothing) * loss
            value = average
        rates.append(rate)
        smoothed.append(value)
        if not alive or value > ramp.stop * min(smoothed):
            break
    return np.array(rates), np.array(smoothed)


def _suggest(name: str, rates: npt.NDArray[np.float64], losses: npt.NDArray[np.float64]) -> float | None:
    begin, end = {"torch-lr-finder": (10, 5), "Lightning": (10, 1), "fastai valley": (_NUM_STEPS // 10, 5)}[name]
    rates, losses = rates[begin:-end], losses[begin:-end]
    if len(rates) < 2:
        return None
    if name == "fastai valley":
        return float(rates[_valley(losses)])
    return float(rates[int(np.argmin(np.gradient(losses)))])


def _valley(losses: npt.NDArray[np.float64]) -> int:
    """Return the index that the valley rule picks."""
    lengths = np.ones(len(losses), dtype=int)
    for index in range(1, len(losses)):
        above = lengths[:index][losses[:index] > losses[index]]
        if len(above):
            lengths[index] = above.max() + 1
    end = int(np.argmax(lengths))
    length = int(lengths[end])
    third = length / 3
    return end - length + int(third) + int(third / 2)
