r"""When a loss is reached with a constant setting."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from spectra.arrays import finite_number
from spectra.dynamics.asymptotics import floor
from spectra.dynamics.closed_form import ClosedForm
from spectra.dynamics.closures import MODE_CLOSURES, Closure, Sampling, chi_of, require_closure, shared_noise
from spectra.dynamics.compression import cheaper
from spectra.dynamics.method import constant_momentum
from spectra.dynamics.quadratic import Quadratic
from spectra.dynamics.sgd import sgd_curve
from spectra.dynamics.steps import constant_rate
from spectra.errors import ArgumentError
from spectra.start_vectors import as_count

__all__ = ["StepsToTarget", "steps_to_target"]

#: Points per factor of ten on which a first passage is looked for: neighbors differ by 1 % (design choice).
PER_DECADE = 200
#: Steps that a recursion takes at most in search of a target: some seconds (design choice).
MAX_RECURSION = 2**17


@dataclass(frozen=True, kw_only=True)
class StepsToTarget:
    """When the expected loss first is at or below a target.

    Attributes
    ----------
    num_steps : int or None
        First step; None if it is not reached.
    status : {"reached", "passing", "unreachable: floor", "unstable", "too slow"}
        ``"passing"``: reached, but the loss is above it again later: the floor is higher, or momentum overshoots.
        ``"too slow"``: not within ``max_steps``.
    floor : float
        Loss after infinitely many steps; infinite if unstable.
    """

    num_steps: int | None
    status: Literal["reached", "passing", "unreachable: floor", "unstable", "too slow"]
    floor: float


def steps_to_target(
    problem: Quadratic,
    target: float,
    *,
    closure: Closure,
    learning_rate: float,
    batch_size: int = 1,
    sampling: Sampling = "without_replacement",
    momentum: float = 0.0,
    nesterov: bool = False,
    max_steps: int = 10**12,
) -> StepsToTarget:
    """Return the first step at which the expected loss is at or below a target.

    Parameters
    ----------
    problem, closure, learning_rate, batch_size, sampling, momentum, nesterov
        As for :func:`spectra.dynamics.sgd_curve`; constant settings, a closure over modes.
    target : float
        Loss, in the units of the problem.
    max_steps : int
        Where to give up; with momentum the search also ends after 131072 steps.

    Returns
    -------
    StepsToTarget

    Raises
    ------
    ArgumentError
        If the target is not finite, or the settings cannot be used.

    Notes
    -----
    The curve need not fall all the way, so that it is looked at on 200 points per factor of ten and bisected between
    two of them: a dip that is shorter than 1 % of its time may be missed.

    Examples
    --------
    >>> one = np.ones(1)
    >>> problem = Quadratic(eigenvalue=one, multiplicity=one, initial_loss=one, floor=1.0)
    >>> steps_to_target(problem, 1.5, closure="limit", learning_rate=0.1)
    StepsToTarget(num_steps=4, status='reached', floor=1.0555555555555556)
    >>> steps_to_target(problem, 1.01, closure="limit", learning_rate=0.1).status
    'unreachable: floor'
    """
    require_closure(closure, problem)
    momentum = constant_momentum(closure, momentum, nesterov=nesterov)
    target = finite_number(target, name="target")
    max_steps = as_count(max_steps, name="max_steps")
    learning_rate = constant_rate(learning_rate, largest=problem.largest)
    settings: dict[str, Any] = {
        "learning_rate": learning_rate,
        "batch_size": batch_size,
        "sampling": sampling,
        "momentum": momentum,
        "nesterov": nesterov,
    }
    if closure not in MODE_CLOSURES:
        raise ArgumentError(f"times are found for {', '.join(MODE_CLOSURES)}; got closure={closure!r}")
    last = floor(problem, closure=closure, **settings)
    stays = bool(last <= target + 4 * np.finfo(np.float64).eps * abs(target))
    found: int | None
    if learning_rate == 0:
        found = 0 if problem.loss <= target else None
    elif momentum:
        found, stays_so_far = _passage_by_recursion(problem, target, closure, settings, min(max_steps, MAX_RECURSION))
        stays = bool(stays and stays_so_far)
    else:
        noise = shared_noise(problem, batch_size=batch_size, sampling=sampling)
        model = cheaper(problem, closure=closure, momentum=momentum)
        unit = model.unit
        model = model if unit == 1 else model.scaled(unit)
        form = ClosedForm(model, learning_rate=learning_rate / unit, noise=noise, chi=chi_of(closure, model))
        found = _passage(form, (target - problem.offset) * unit, max_steps)
    status: Literal["reached", "passing", "unreachable: floor", "unstable", "too slow"]
    if found is not None:
        status = "reached" if stays else "passing"
    elif np.isinf(last):
        status = "unstable"
    else:
        status = "unreachable: floor" if target <= last and learning_rate > 0 else "too slow"
    return StepsToTarget(num_steps=found, status=status, floor=last)


def _passage(form: ClosedForm, target: float, max_steps: int) -> int | None:
    """Return the first step at or below the target, on a grid that is refined by bisection, decade by decade."""
    grid, begin = np.zeros(1), 0
    while True:
        below = np.flatnonzero(form.curve(grid).loss <= target)
        if below.size:
            break
        begin = int(grid[-1])
        if begin >= max_steps:
            return None
        end = min(max(10 * begin, 10), max_steps)
        grid = np.unique(np.round(np.geomspace(begin + 1, end, PER_DECADE)))
    high = int(grid[below[0]])
    low = int(grid[below[0] - 1]) if below[0] > 0 else min(begin, high - 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if form.loss(middle) <= target else (middle, high)
    return high


def _passage_by_recursion(
    problem: Quadratic, target: float, closure: Closure, settings: dict[str, Any], max_steps: int
) -> tuple[int | None, bool]:
    """Return the first step at or below the target, and whether the loss stays there for four times as many."""
    length = min(256, max_steps)
    while True:
        curve = sgd_curve(
            problem,
            closure=closure,
            num_steps=length,
            record=np.arange(length + 1),
            **settings,
        )
        is_below = curve["loss"].values <= target
        first = int(np.argmax(is_below))
        if is_below[first] and (length >= min(5 * first, max_steps)):
            return first, bool(np.all(is_below[first:]))
        if length >= max_steps or not np.isfinite(curve["loss"].values[-1]):
            return (first if is_below[first] else None), False
        length = min(4 * length, max_steps)
