r"""The constant learning rate with the lowest expected loss after a given number of steps."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar

from spectra.dynamics.closures import Closure, Sampling
from spectra.dynamics.compression import cheaper
from spectra.dynamics.quadratic import Quadratic
from spectra.dynamics.sgd import sgd_curve
from spectra.dynamics.stability import NEAR_CRITICAL, Stability, stability
from spectra.errors import ArgumentError
from spectra.start_vectors import as_count

__all__ = ["BestLearningRate", "best_learning_rate"]

#: Design choice: learning rates tried first, per factor of ten and at least, and the share of the cap below which none
#: is tried.
PER_DECADE, FEWEST, LOWEST = 6, 13, 1e-12
#: Relative accuracy of the ends of the flat region.
EDGE = 0.02
#: The flat region (design choice): learning rates whose expected loss is at most this share of what was gained above
#: the best.
FLAT = 0.02


@dataclass(frozen=True, kw_only=True)
class BestLearningRate:
    """The best constant learning rate for a budget.

    Attributes
    ----------
    value : float
        The rate.
    loss : float
        Expected loss that it reaches.
    low, high : float
        The flat region around it: rates that lose at most 2 % of the gain, up to the cap; its ends to 2 %.
    is_capped : bool
        Whether the cap, and not the curve, decided: a larger rate may be better on average, and is too near the
        critical one for the average to say much about a run.
    stability : Stability
        The critical learning rate behind the cap.
    num_steps : int
        The budget.
    """

    value: float
    loss: float
    low: float
    high: float
    is_capped: bool
    stability: Stability
    num_steps: int


def best_learning_rate(
    problem: Quadratic,
    *,
    closure: Closure,
    num_steps: int,
    batch_size: int = 1,
    sampling: Sampling = "without_replacement",
    momentum: float = 0.0,
    nesterov: bool = False,
) -> BestLearningRate:
    r"""Return the constant learning rate with the lowest expected loss after ``num_steps`` steps.

    Rates from 0.8 of the critical learning rate downwards are tried on a grid with equal ratios, by a factor of 100 and
    as long as the smallest are best, and the best is refined.

    Parameters
    ----------
    problem, closure, batch_size, sampling, momentum, nesterov
        As for :func:`spectra.dynamics.sgd_curve`; constant settings.
    num_steps : int
        The budget, at least 1.

    Returns
    -------
    BestLearningRate

    Raises
    ------
    ArgumentError
        If the settings cannot be used together, or there is no step to take.

    Notes
    -----
    Where :func:`spectra.dynamics.stability` refuses the critical rate of the closure, the row-safe rate takes its
    place. Some 40 curves, of a compressed problem where it is large. Derived here. The cap is at 0.8 because the mean
    above it is carried by rare runs.

    Examples
    --------
    A single mode without noise is solved by one step of ``1 / eigenvalue``.

    >>> one = np.ones(1)
    >>> problem = Quadratic(eigenvalue=2 * one, multiplicity=one, initial_loss=one, num_samples=4)
    >>> round(best_learning_rate(problem, closure="limit", num_steps=1, batch_size=4).value, 4)
    0.5
    """
    if as_count(num_steps, name="num_steps", least=0) < 1:
        raise ArgumentError("num_steps must be at least 1: without a step every learning rate is the same")
    settings: dict[str, Any] = {
        "batch_size": batch_size,
        "sampling": sampling,
        "momentum": momentum,
        "nesterov": nesterov,
    }
    limits = stability(problem, closure=closure, **settings)
    cap = NEAR_CRITICAL * min(limits.usable, limits.noise_free_learning_rate)

    model = cheaper(problem, closure=closure, momentum=momentum)

    def after(rate: float) -> float:
        curve = sgd_curve(
            model, closure=closure, learning_rate=rate, num_steps=num_steps, record=[num_steps], **settings
        )
        return float(curve["loss"].values[-1])

    ratio = 10 ** (1 / PER_DECADE)
    grid = [cap]
    losses = [after(cap)]
    while len(grid) < FEWEST or (np.argmin(losses) >= len(grid) - 2 and grid[-1] > cap * LOWEST):
        grid.append(grid[-1] / ratio)
        losses.append(after(grid[-1]))
    best = int(np.argmin(losses))
    value, lowest = grid[best], losses[best]
    ends = np.log([grid[min(best + 1, len(grid) - 1)], grid[max(best - 1, 0)]])
    refined = minimize_scalar(lambda x: after(float(np.exp(x))), bounds=ends, method="bounded", options={"xatol": 1e-3})
    if refined.fun < lowest:
        value, lowest = float(np.exp(refined.x)), float(refined.fun)
    allowed = lowest + FLAT * max(problem.loss - lowest, 0.0)
    low = _edge(after, value, [rate for rate in grid if rate < value], allowed)
    high = _edge(after, value, [rate for rate in reversed(grid) if rate > value], allowed)
    return BestLearningRate(
        value=value,
        loss=lowest,
        low=low,
        high=high,
        is_capped=bool(value >= cap * (1 - 2e-3)),
        stability=limits,
        num_steps=int(num_steps),
    )


def _edge(after: Callable[[float], float], inside: float, outwards: list[float], allowed: float) -> float:
    """Return the last rate, going outwards, whose loss is allowed; the end of the grid if all of them are."""
    for rate in outwards:
        if not after(rate) <= allowed:
            low, high = np.log(inside), np.log(rate)
            while abs(high - low) > EDGE:
                middle = 0.5 * (low + high)
                low, high = (middle, high) if after(float(np.exp(middle))) <= allowed else (low, middle)
            return float(np.exp(low))
        inside = rate
    return inside
