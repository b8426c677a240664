"""Try learning rates: real steps at each from the given state, and a measurement of where they lead."""

import copy
from collections.abc import Callable

import numpy as np
import xarray as xr

from probes.noise import MIN_MICRO_BATCHES
from probes.state_meter import StateMeter
from probes.training import TrainingRun
from spectra.recommend.confirmation import Confirmation, next_confirmation
from spectra.recommend.limit import measured_limit
from spectra.recommend.run import read_stage
from spectra.recommend.self_consistent import Candidate, SelfConsistentRate, consistency_rule, next_candidate

__all__ = ["confirm_rate", "try_candidates"]

#: Directions whose limits are looked at; one alone misses limits that a weaker but noisier direction sets.
NUM_DIRECTIONS = 2
#: The stable limit needs the curvature to a few per cent, and the curvature is known better than its residual. Whether
#: a rate that was found holds is measured more carefully: with all micro-batches, and until both directions converge.
TOLERANCE, CONFIRMED_TOLERANCE = 1e-1, 5e-2
#: Products at most in the search from the eigenpairs of the candidate before; an unconverged second direction is still
#: a direction with a limit of its own.
MAX_WARM_STEPS = 10


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
    rule = consistency_rule(meter.optimizer)
    tried: list[Candidate] = []
    pairs: xr.Dataset | None = None
    while (rate := next_candidate(tried, first=first, initial_loss=initial_loss, rule=rule)) is not None:
        dataset, pairs = _followed(meter, train, rate, num_steps=num_steps, start=pairs)
        limit, loss = _limit_and_loss(dataset, meter)
        tried.append(Candidate(learning_rate=rate, limit=limit, loss=loss))
        keep(dataset)
    return tried


def confirm_rate(
    meter: StateMeter,
    train: Callable[[float], TrainingRun],
    *,
    num_steps: int,
    found: SelfConsistentRate,
    initial_loss: float,
    keep: Callable[[xr.Dataset], object],
) -> list[Confirmation]:
    """Follow the rate that was found for more steps, halve it until it holds, or double it while that pays.

    Parameters are those of :func:`try_candidates`; ``num_steps`` is even. The rule is that of
    :mod:`spectra.recommend.confirmation`.
    """
    tried: list[Confirmation] = []
    pairs: xr.Dataset | None = None
    if found.value is None:
        return tried
    climb = {"value": found.value, "may_climb": found.limited_by == "stability"}
    while (rate := next_confirmation(tried, initial_loss=initial_loss, **climb)) is not None:  # type: ignore[arg-type]
        dataset, pairs = _followed(
            meter,
            train,
            rate,
            num_steps=num_steps,
            start=pairs,
            midway=num_steps // 2,
        )
        limit, loss = _limit_and_loss(dataset, meter)
        midway = float(dataset["midway_loss"])
        tried.append(Confirmation(learning_rate=rate, limit=limit, loss=loss, midway_loss=midway))
        keep(dataset)
    return tried


def _followed(
    meter: StateMeter,
    train: Callable[[float], TrainingRun],
    rate: float,
    *,
    num_steps: int,
    start: xr.Dataset | None,
    midway: int | None = None,
) -> tuple[xr.Dataset, xr.Dataset | None]:
    """Train at a rate from the given state, measure, and set the model back; return also the eigenpairs found."""
    assert meter.optimizer is not None
    label = f"learning rate {rate:.3g}"
    state = copy.deepcopy(meter.model.state_dict())
    losses, midway_loss = np.full(num_steps, np.nan), np.inf
    count = len(meter.micro.batches) if midway else half_of_micro_batches(meter)
    stage: xr.Dataset | None = None
    try:
        training = train(rate)
        meter.progress(f"{label}: {num_steps} real steps", 0, num_steps)
        alive = True
        if midway is not None and (alive := training.advance(midway)):
            midway_loss = meter.loss()
        alive = alive and training.advance(num_steps - len(training.losses))
        meter.cost.gradients(len(training.losses), meter.batch_size)
        losses[: len(training.losses)] = training.losses
        if alive and np.isfinite(loss := meter.loss()):
            stage, _, start = meter.measure(
                label,
                second_moment=training.second_moment() if meter.optimizer.is_adaptive else None,
                start=start,
                tolerance=TOLERANCE if midway is None else CONFIRMED_TOLERANCE,
                max_steps=MAX_WARM_STEPS if midway is None and start is not None else None,
                num_directions=NUM_DIRECTIONS,
                num_micro_batches=count,
                loss=loss,
                with_gradients=False,
            )
    finally:
        meter.model.load_state_dict(state)
    dataset = _dataset(rate, stage, losses, meter, num_micro_batches=count)
    return (dataset if midway is None else dataset.assign(midway_loss=midway_loss)), start


def half_of_micro_batches(meter: StateMeter) -> int:
    """Return from how many micro-batches the curvature noise of a candidate is estimated; eight at least."""
    return max(MIN_MICRO_BATCHES, len(meter.micro.batches) // 2)


def _limit_and_loss(dataset: xr.Dataset, meter: StateMeter) -> tuple[float, float]:
    """Return the stable limit and the loss where the steps led; NaN and inf where they diverged."""
    loss = float(dataset["loss"])
    if not np.isfinite(loss):
        return float("nan"), float("inf")
    assert meter.optimizer is not None
    limit = measured_limit(
        read_stage(dataset, 0, meter.micro.size),
        optimizer=meter.optimizer,
        batch_size=meter.batch_size,
        num_samples=meter.samples.num_samples,
    )
    return limit.value, loss


def _dataset(
    rate: float, stage: xr.Dataset | None, losses: np.ndarray, meter: StateMeter, *, num_micro_batches: int
) -> xr.Dataset:
    """Return a candidate as it is stored; where it diverged everything but the losses is NaN."""
    if stage is None:
        count, directions = num_micro_batches, NUM_DIRECTIONS
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
