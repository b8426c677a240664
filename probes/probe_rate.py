"""A learning rate gentle enough to take a few steps before measuring."""

import copy
from collections.abc import Callable

import numpy as np

from probes.state_meter import StateMeter
from probes.training import TrainingRun, shuffled_batches
from spectra.errors import NonFiniteError

__all__ = ["batch_sharpness", "default_rate", "gentle_rate"]

#: Gentle rates, by design choice: a rate near the limit spoils the measurement. A pretrained model moves far less.
ADAM_PROBE_RATE = 1e-3
PRETRAINED_PROBE_RATE = 1e-5

#: How much the loss may rise from stage to stage, relatively: a converged model only jitters.
LOSS_SLACK = 0.01
MAX_REHEARSALS = 10


def gentle_rate(
    meter: StateMeter,
    train: Callable[[float], TrainingRun],
    *,
    steps: tuple[int, ...],
    initial_loss: float,
    first: float,
) -> tuple[float, list[str]]:
    """Return a rate at which no stage raises the loss of the one before: ``first``, quartered until that holds.

    A rate near the limit spoils the measurement: it drives the model onto a plateau, where curvature is small and
    the stable limit looks large. So the steps are rehearsed, and the model is set back.

    Parameters
    ----------
    meter : StateMeter
        The model, in its initial state; it is in that state afterwards.
    train : callable
        Makes a training run of the meter's model at a learning rate.
    steps : tuple of int
        Steps at which the loss is looked at.
    initial_loss : float
        Loss at the initial state.
    first : float
        Where to begin.

    Returns
    -------
    rate : float
    remarks : list of str
        Rates that were too large.

    Raises
    ------
    NonFiniteError
        If no rate down to ``first / 4**10`` is gentle.
    """
    rate = first
    remarks: list[str] = []
    state = copy.deepcopy(meter.model.state_dict())
    for _ in range(MAX_REHEARSALS):
        training = train(rate)
        gentle, loss = True, initial_loss
        for step in steps:
            meter.progress("rehearsing real steps", step, steps[-1])
            gentle = training.advance(step - len(training.losses))
            if gentle:
                before, loss = loss, meter.loss()
                gentle = loss <= before + LOSS_SLACK * abs(before)
            if not gentle:
                break
        meter.cost.gradients(len(training.losses), meter.batch_size)
        meter.model.load_state_dict(state)
        if gentle:
            return rate, remarks
        remarks.append(f"steps at learning rate {rate:.3g} raised the loss; measured with smaller ones")
        rate /= 4
    raise NonFiniteError(
        f"real steps raise the loss at every learning rate down to {rate:.3g}; check the loss and the data, or "
        "say pretrained=True if the model is at a minimum"
    )


def default_rate(meter: StateMeter, curvature: float) -> float:
    """Return the rate at which the rehearsal begins (see :class:`probes.plan.MeasurementPlan`)."""
    optimizer = meter.optimizer
    assert optimizer is not None
    if optimizer.is_adaptive:
        return PRETRAINED_PROBE_RATE if meter.task.pretrained else ADAM_PROBE_RATE
    sharpness = max(batch_sharpness(meter), curvature)
    rate = (1 - optimizer.beta) / sharpness if sharpness > 0 else 1e-2
    return rate * (0.1 if meter.task.pretrained else 1.0)


def batch_sharpness(meter: StateMeter, *, num_batches: int = 8) -> float:
    """Return ``E[g_b'H_b g_b / ||g_b||^2]`` at batch size 64 (Andreyev and Beneventano, arXiv 2412.20553)."""
    size = min(64, meter.samples.num_samples)
    source = shuffled_batches(meter.samples, batch_size=size, rng=np.random.default_rng([meter.seed, 3]))
    values = []
    for _ in range(num_batches):
        operator = meter.hessian([next(source)])
        gradient = next(iter(operator.batch_gradients()))
        squared = float(gradient @ gradient)
        if squared > 0:
            values.append(float(gradient @ (operator @ gradient)) / squared)
        meter.cost.products(1, size)
        meter.cost.gradients(1, size)
    return float(np.mean(values)) if values else 0.0
