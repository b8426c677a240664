"""Steps of SGD on least squares for many runs at once: gradient of a batch, update, and what is recorded."""

from collections.abc import Callable, Iterable

import numpy as np

from spectra.arrays import namespace
from spectra.dynamics.simulation_plan import SimulationPlan, distinct
from spectra.protocols import Array

__all__ = ["batch_gradient", "run_sgd"]


def batch_gradient(states: Array, rows: Array, targets: Array, *, batch_size: int) -> Array:
    """Return ``(1/B) sum_i (a_i'x - b_i) a_i`` of each run, with the rows of its own batch.

    Parameters
    ----------
    states : array, shape (runs, d)
    rows : array, shape (runs, m, d)
        m is B, or B times the rows of a sample; a single row is a batch of one.
    targets : array, shape (runs, m)
    batch_size : int
        B.

    Returns
    -------
    array, shape (runs, d)

    Examples
    --------
    >>> batch_gradient(np.ones((1, 2)), np.array([[[1.0, 2.0]]]), np.array([[2.0]]), batch_size=1).tolist()
    [[1.0, 2.0]]
    """
    xp = namespace(states)
    if rows.shape[1] == 1:
        single = rows[:, 0, :]
        return single * (xp.vecdot(single, states) - targets[:, 0])[:, None]
    residual = (rows @ states[:, :, None])[:, :, 0] - targets
    return ((residual / batch_size)[:, None, :] @ rows)[:, 0, :]


def run_sgd(
    states: Array,
    gradients: Iterable[Callable[[Array], Array]],
    plan: SimulationPlan,
    *,
    measure: Callable[[Array], Array],
) -> Array:
    """Run all updates and return what was measured at the recorded steps.

    The update is that of ``torch.optim.SGD`` without dampening, from ``v = 0``::

        g <- g + weight_decay x,   v <- momentum v + g,   x <- x - learning_rate v

    and with Nesterov's variant ``x <- x - learning_rate (g + momentum v)``.

    Parameters
    ----------
    states : array, shape (runs, d)
        Overwritten.
    gradients : iterable of functions
        One per step: from the states to a new array, the gradients of the batches of this step.
    plan : SimulationPlan
    measure : function
        From the states to an array of the quantities recorded.

    Returns
    -------
    array, shape (records, ...)
        On the device of ``states``; nothing waits for the device before.

    Notes
    -----
    A run that overflows goes on with infinity and NaN, without a warning. Source: the documentation of
    ``torch.optim.SGD``.
    """
    wanted, recorded = frozenset(plan.record.tolist()), []
    schedule = zip(map(float, plan.learning_rate), map(float, plan.momentum), gradients, strict=True)
    velocity = namespace(states).zeros_like(states) if np.any(distinct(plan.momentum) > 0) else None
    # the draws of the gradients have no part in this: an overflow is a result, and reported as one
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        if 0 in wanted:
            recorded.append(measure(states))
        for step, (learning_rate, momentum, gradient_of) in enumerate(schedule, start=1):
            gradient = gradient_of(states)
            if plan.weight_decay:
                gradient += plan.weight_decay * states
            if velocity is not None:
                velocity *= momentum
                velocity += gradient
                gradient = gradient + momentum * velocity if plan.nesterov else velocity
            states -= learning_rate * gradient
            if step in wanted:
                recorded.append(measure(states))
    return namespace(states).stack(recorded)
