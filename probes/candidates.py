"""Try learning rates: real steps at each from the given state, and a measurement of where they lead."""

import copy
from collections.abc import Callable

import numpy as np
import xarray as xr

from probes.noise import MIN_MICRO_BATCHES
from probes.state_meter import StateMeter
from probes.training import TrainingRun
from spectra.recommend.confirmation import FOLLOWED, Confirmation, is_on_plateau, next_confirmation
from spectra.recommend.limit import measured_limit
from spectra.recommend.run import read_stage
from spectra.recommend.self_consistent import Candidate, SelfConsistentRate, consistency_rule, next_candidate

__all__ = ["confirm_rate", "try_candidates"]

#: Directions whose limits are looked at; one alone misses limits that a weaker but noisier direction sets.
NUM_DIRECTIONS = 2
#: The stable limit needs the curvature to a few per cent, and the curvature is known better than its residual. Whether
#: a rate that was found holds is measured more carefully: with all micro-batches, and until both directions converge.
TOLERANCE, CONFIRMED_TOLERANCE = 1e-1, 5e-2
#: Part of the products allowed to a search that may be spent on one from the eigenpairs of the candidate before: the
#: second direction need not converge.
WARM_PART = 6


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
        dataset, pairs = _followed(meter, train, rate, looks=(num_steps,), size=num_steps, start=pairs)
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

    Parameters are those of :func:`try_candidates`, ``num_steps`` being those of the candidates. The rule is that of
    :mod:`spectra.recommend.confirmation`.
    """
    tried: list[Confirmation] = []
    pairs: xr.Dataset | None = None
    if found.value is None:
        return tried
    climb = {"value": found.value, "may_climb": found.limited_by == "stability"}
    looks = tuple(num_steps * factor for factor in FOLLOWED)
    while (rate := next_confirmation(tried, initial_loss=initial_loss, **climb)) is not None:  # type: ignore[arg-type]
        dataset, pairs = _followed(
            meter,
            train,
            rate,
            looks=looks,
            size=num_steps * FOLLOWED[-1],
            start=pairs,
            is_careful=True,
            goes_on=lambda loss: is_on_plateau(loss, initial_loss=initial_loss),
        )
        limit, loss = _limit_and_loss(dataset, meter)
        midway = float(dataset["midway_loss"])
        tried.append(Confirmation(learning_rate=rate, limit=limit, loss=loss, midway_loss=midway))
        if not tried[-1].diverged:  # gains are compared after equal numbers of steps
            taken = int(np.sum(np.isfinite(dataset["training_loss"].values)))
            looks = (taken // 2, taken)
        keep(dataset)
    return tried


def _followed(
    meter: StateMeter,
    train: Callable[[float], TrainingRun],
    rate: float,
    *,
    looks: tuple[int, ...],
    size: int,
    start: xr.Dataset | None,
    is_careful: bool = False,
    goes_on: Callable[[float], bool] = lambda _: True,
) -> tuple[xr.Dataset, xr.Dataset | None]:
    """Train at a rate from the given state, measure, and set the model back; return also the eigenpairs found.

    The loss is looked at after the steps ``looks``; from the second look on, training ends unless it ``goes_on``.
    """
    assert meter.optimizer is not None
    label = f"learning rate {rate:.3g}"
    state = copy.deepcopy(meter.model.state_dict())
    losses, seen = np.full(size, np.nan), [np.inf]
    count = len(meter.micro.batches) if is_careful else half_of_micro_batches(meter)
    stage: xr.Dataset | None = None
    try:
        training = train(rate)
        for look in looks:
            meter.progress(f"{label}: {look} real steps", len(training.losses), look)
            alive = training.advance(look - len(training.losses))
            seen.append(meter.loss() if alive else np.inf)
            if not np.isfinite(seen[-1]) or (look != looks[0] and not goes_on(seen[-1])):
                break
        meter.cost.gradients(len(training.losses), meter.batch_size)
        losses[: len(training.losses)] = training.losses
        if np.isfinite(seen[-1]):
            stage, _, start = meter.measure(
                label,
                second_moment=training.second_moment() if meter.optimizer.is_adaptive else None,
                start=start,
                tolerance=CONFIRMED_TOLERANCE if is_careful else TOLERANCE,
                max_steps=None if is_careful or start is None else max(2, meter.plan.max_krylov_steps // WARM_PART),
                num_directions=NUM_DIRECTIONS,
                num_micro_batches=count,
                loss=seen[-1],
                with_gradients=False,
            )
    finally:
        meter.model.load_state_dict(state)
    dataset = _dataset(rate, stage, losses, meter, num_micro_batches=count)
    return (dataset.assign(midway_loss=seen[-2]) if is_careful else dataset), start


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
