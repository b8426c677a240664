"""From a task to advice in one call."""

from collections.abc import Callable

import torch

from probes.measurement import measure_run
from probes.plan import MeasurementPlan
from probes.task import Task
from spectra.recommend import Advice, OptimizerSpec, advise

__all__ = ["recommend"]


def recommend(
    task: Task,
    *,
    optimizer: "OptimizerSpec | str | torch.optim.Optimizer" = "adamw",
    batch_size: int = 64,
    schedule: str = "constant",
    clip_norm: float | None = None,
    micro_batch_size: int | None = None,
    plan: MeasurementPlan | None = None,
    rng: int = 0,
    progress: Callable[[str, int, int], None] | None = None,
) -> Advice:
    """Measure a task and recommend a learning rate and batch sizes for it.

    Parameters
    ----------
    task : Task
        Model, loss and data. Steps are taken on a deep copy; the model is left as found.
    optimizer : OptimizerSpec, or its kind, or torch.optim.Optimizer
        Optimizer to recommend for. A torch optimizer of ``task.model`` is read with its parameter groups and state.
    batch_size : int
        Effective batch size: micro-batch x accumulation x workers.
    schedule : {"constant", "linear"}
        Learning-rate schedule; ``"linear"`` decays to zero.
    clip_norm : float, optional
        Gradient clipping of the training.
    micro_batch_size : int, optional
        Gradients are accumulated over pieces of at most so many samples.
    plan : MeasurementPlan, optional
        What to measure, and how carefully.
    rng : int
        Seed of everything random.
    progress : callable, optional
        Called with (what is being done, done, total).

    Returns
    -------
    Advice
        ``advice.learning_rate`` and the other recommendations, each with value, interval, verdict and checks.
        ``spectra.report.render(advice)`` makes a page of it.

    See Also
    --------
    probes.measure_run : the measurement alone, as a run that can be saved and reused.
    spectra.recommend.advise : the rules alone.
    """
    run = measure_run(
        task,
        optimizer=optimizer,
        batch_size=batch_size,
        clip_norm=clip_norm,
        micro_batch_size=micro_batch_size,
        plan=plan,
        rng=rng,
        progress=progress,
    )
    return advise(run, batch_size=batch_size, schedule=schedule)
