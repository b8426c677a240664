r"""What becomes of a constant setting: its floor, its rate, and when a loss is reached."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy.optimize import brentq

from spectra.arrays import finite_number
from spectra.dynamics.closed_form import ClosedForm
from spectra.dynamics.closures import MODE_CLOSURES, Closure, Sampling, chi_of, require_closure, shared_noise
from spectra.dynamics.compression import cheaper
from spectra.dynamics.critical import kernel_norm
from spectra.dynamics.method import method_step, require_method
from spectra.dynamics.quadratic import Quadratic, Vector
from spectra.dynamics.sgd import sgd_curve
from spectra.dynamics.steps import constant_rate
from spectra.dynamics.two_state import moment_matrix, response
from spectra.errors import ArgumentError
from spectra.start_vectors import as_count

__all__ = ["StepsToTarget", "floor", "rate", "steps_to_target"]

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


def floor(
    problem: Quadratic,
    *,
    closure: Closure,
    learning_rate: float,
    batch_size: int = 1,
    sampling: Sampling = "without_replacement",
    momentum: float = 0.0,
    nesterov: bool = False,
) -> float:
    r"""Return the expected loss after infinitely many steps, :math:`L_* / (1 - \|K\|)`, infinite if unstable.

    Parameters
    ----------
    problem, closure, learning_rate, batch_size, sampling, momentum, nesterov
        As for :func:`spectra.dynamics.sgd_curve`; constant settings. A learning rate of 0 leaves the loss as it is.

    Returns
    -------
    float
        In the units of the problem, with its offset.

    Raises
    ------
    ArgumentError
        For a closure without a kernel, and settings that cannot be used.

    Notes
    -----
    O(m). Source: Paquette, Lee, Pedregosa and Paquette (2021), arXiv 2102.04396.

    Examples
    --------
    Noise of a single mode at half the learning rate that is stable without noise doubles the loss:

    >>> one = np.ones(1)
    >>> floor(
    ...     Quadratic(eigenvalue=one, multiplicity=one, initial_loss=one, floor=1.0),
    ...     closure="limit",
    ...     learning_rate=2 / 3,
    ... )
    2.0
    """
    noise = shared_noise(problem, batch_size=batch_size, sampling=sampling)
    if learning_rate == 0:
        return problem.loss
    norm = kernel_norm(
        problem, closure=closure, learning_rate=learning_rate, noise=noise, momentum=momentum, nesterov=nesterov
    )
    return problem.offset + problem.floor / (1 - norm) if norm < 1 else float("inf")


def rate(
    problem: Quadratic,
    *,
    closure: Closure,
    learning_rate: float,
    batch_size: int = 1,
    sampling: Sampling = "without_replacement",
    momentum: float = 0.0,
    nesterov: bool = False,
) -> float:
    r"""Return the asymptotic factor per step of the loss above its floor; 1 or more if unstable.

    It is the larger of the slowest mode's :math:`\rho` and the root z of :math:`\sum_k K(k) z^{-k-1} = 1` (the
    Malthusian exponent), which exceeds it where noise feeds itself: the loss of all modes then decays together.

    Parameters
    ----------
    problem, closure, learning_rate, batch_size, sampling, momentum, nesterov
        As for :func:`spectra.dynamics.sgd_curve`; constant settings.

    Returns
    -------
    float
        Factor per step; 0 where there is nothing to lose.

    Raises
    ------
    ArgumentError
        For a closure other than those over modes, and settings that cannot be used.

    Notes
    -----
    One eigendecomposition of order m; with momentum O(m) for each of some tens of evaluations. With many small
    eigenvalues it says little: it is the rate of the very last of the loss. :func:`steps_to_target` looks at the whole
    curve.

    Source: Paquette, Lee, Pedregosa and Paquette (2021), arXiv 2102.04396; for momentum derived here.

    Examples
    --------
    >>> one = np.ones(1)
    >>> problem = Quadratic(eigenvalue=one, multiplicity=one, initial_loss=one, num_samples=9)
    >>> round(rate(problem, closure="limit", learning_rate=0.5, batch_size=9), 12)
    0.25
    """
    require_closure(closure, problem)
    require_method(closure, momentum=momentum, nesterov=nesterov)
    if closure not in MODE_CLOSURES:
        raise ArgumentError(f"a rate is known for {', '.join(MODE_CLOSURES)}; got closure={closure!r}")
    noise = shared_noise(problem, batch_size=batch_size, sampling=sampling)
    learning_rate = constant_rate(learning_rate, largest=problem.largest)
    if problem.unit != 1:
        problem, learning_rate = problem.scaled(problem.unit), learning_rate / problem.unit
    chi = chi_of(closure, problem)
    if momentum:
        return _two_state_rate(problem, noise, chi, learning_rate, momentum, nesterov)
    return ClosedForm(problem, learning_rate=learning_rate, noise=noise, chi=chi).rate


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
    require_closure(closure, problem)
    require_method(closure, momentum=momentum, nesterov=nesterov)
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


def _two_state_rate(
    problem: Quadratic, noise: float, chi: Vector, learning_rate: float, momentum: float, nesterov: bool
) -> float:
    counts = (problem.initial_loss > 0) | ((noise > 0) & (problem.multiplicity > 0))
    lam, chi, multiplicity = problem.eigenvalue[counts], chi[counts], problem.multiplicity[counts]
    step = method_step(lam, learning_rate=learning_rate, momentum=momentum, nesterov=nesterov)
    source = response(step)
    own = moment_matrix(step)
    own[:, :, 0] += noise * (chi * lam**2)[:, None] * source
    slowest = float(np.max(np.abs(np.linalg.eigvals(own)), initial=0.0))
    weight = noise * multiplicity * lam**2

    def excess(z: float) -> float:
        answer = np.linalg.solve(z * np.eye(3) - own, source[:, :, None])[:, 0, 0]
        return float(weight @ answer) - 1

    # Above the slowest mode the excess falls from infinity to -1. That mode is known to about 1e-8 only where two
    # eigenvalues meet, and below it the sign is anything, so that the root is bracketed from a little further away.
    begins = slowest * (1 + np.geomspace(1e-13, 1.0, 40))
    low = next((z for z in begins if excess(z) > 0), None) if noise > 0 else None
    if low is None:
        return slowest
    high = max(2.0, 2 * low)
    while excess(high) > 0:
        high *= 2
    return float(brentq(excess, low, high, xtol=1e-15, rtol=1e-14))
