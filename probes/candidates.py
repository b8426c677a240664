"""Try learning rates: real steps at each from the given state, and a measurement of where they lead."""

import copy
from collections.abc import Callable

import numpy as np
import xarray as xr

from probes.state_meter import StateMeter
from probes.training import TrainingRun
from spectra.recommend.limit import measured_limit
from spectra.recommend.run import read_stage
from spectra.recommend.self_consistent import Candidate, consistency_rule, next_candidate

__all__ = ["try_candidates"]

#: The stable limit needs the curvature to a few per cent, and the curvature is known better than its residual.
TOLERANCE = 2e-2
#: Directions whose limits are looked at: the smallest limit was that of the first or the second.
NUM_DIRECTIONS = 2


def try_candidates(
    meter: StateMeter,
    train: Callable[[float], TrainingRun],
    *,
    num_steps: int,
    first: float,
    initial_loss: float,
    keep: Callable[[xr.Dataset], object],
) -> list[Candidate]:
    """Search the self-consistent learning rate; see :mod:`spectra.recommend.self_consistent`.

    Parameters
    ----------
    meter : StateMeter
        The model, in the state from which every candidate starts; it is in that state afterwards.
    train : callable
        Makes a training run of the meter's model at a learning rate.
    num_steps : int
        Real steps of each candidate.
    first : float
        The rate to begin with.
    initial_loss : float
        Loss on the reference set at the given state.
    keep : callable
        Receives the dataset of each candidate as soon as it is measured.

    Returns
    -------
    list of Candidate
        In the order in which they were tried.
    """
    assert meter.optimizer is not None
    state = copy.deepcopy(meter.model.state_dict())
    rule = consistency_rule(meter.optimizer)
    tried: list[Candidate] = []
    pairs: xr.Dataset | None = None
    try:
        while (rate := next_candidate(tried, first=first, initial_loss=initial_loss, rule=rule)) is not None:
            label = f"learning rate {rate:.3g}"
            meter.model.load_state_dict(state)
            training = train(rate)
            meter.progress(f"{label}: {num_steps} real steps", 0, num_steps)
            alive = training.advance(num_steps)
            meter.cost.gradients(len(training.losses), meter.batch_size)
            losses = np.full(num_steps, np.nan)
            losses[: len(training.losses)] = training.losses
            stage: xr.Dataset | None = None
            if alive and np.isfinite(meter.loss()):
                stage, _, pairs = meter.measure(
                    label,
                    second_moment=training.second_moment() if meter.optimizer.is_adaptive else None,
                    start=pairs,
                    tolerance=TOLERANCE,
                    num_directions=NUM_DIRECTIONS,
                    with_gradients=False,
                )
            candidate = _judged(rate, stage, meter)
            tried.append(candidate)
            keep(_dataset(rate, stage, losses, meter))
    finally:
        meter.model.load_state_dict(state)
    return tried


def _judged(rate: float, stage: xr.Dataset | None, meter: StateMeter) -> Candidate:
    """Return what the rule needs to know of a candidate."""
    if stage is None:
        return Candidate(learning_rate=rate, limit=float("nan"), loss=float("inf"))
    read = read_stage(stage, 0, meter.micro.size)
    assert meter.optimizer is not None
    limit = measured_limit(
        read, optimizer=meter.optimizer, batch_size=meter.batch_size, num_samples=meter.samples.num_samples
    )
    return Candidate(learning_rate=rate, limit=limit.value, loss=read.loss)


def _dataset(rate: float, stage: xr.Dataset | None, losses: np.ndarray, meter: StateMeter) -> xr.Dataset:
    """Return a candidate as it is stored; where it diverged everything but the losses is NaN."""
    if stage is None:
        count, directions = len(meter.micro.batches), NUM_DIRECTIONS
        stage = xr.Dataset(
            {
                "loss": np.nan,
                "curvature": ("direction", np.full(directions, np.nan)),
                "residual": ("direction", np.full(directions, np.nan)),
                "start_curvature": ("start", np.full(meter.plan.num_starts, np.nan)),
                "smallest_curvature": np.nan,
                "curvature_noise_gram": (
                    ("direction", "micro_batch", "other"),
                    np.full((directions, count, count), np.nan),
                ),
            }
        )
    return stage.assign(training_loss=("step", losses)).assign_coords(learning_rate=rate)
