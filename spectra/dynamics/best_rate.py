r"""The constant learning rate with the lowest expected loss after a given number of steps."""

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

#: Learning rates tried first, per factor of ten, down to this share of the limit.
PER_DECADE, LOWEST = 6, 1e-4
#: The flat region: learning rates whose expected loss is at most this share of what was gained above the best.
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
        The flat region around it: rates that lose at most 2 % of the gain, as far as they were searched.
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

    Rates from 1e-4 to 0.8 of the critical learning rate are tried on a grid with equal ratios, and the best is refined.

    Raises
    ------
    ArgumentError
        If the settings cannot be used together, or there is no step to take.

    Notes
    -----
    Where :func:`spectra.dynamics.stability` refuses the critical rate of the closure, the row-safe rate takes its
    place. The cap is at 0.8 because the mean above it is carried by rare runs.

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

    count = int(PER_DECADE * np.log10(1 / LOWEST)) + 1
    grid = cap * np.geomspace(LOWEST, 1.0, count)
    losses = np.array([after(rate) for rate in grid])
    best = int(np.argmin(losses))
    value, lowest = float(grid[best]), float(losses[best])
    ends = np.log(grid[[max(best - 1, 0), min(best + 1, count - 1)]])
    refined = minimize_scalar(lambda x: after(float(np.exp(x))), bounds=ends, method="bounded", options={"xatol": 1e-3})
    if refined.fun < lowest:
        value, lowest = float(np.exp(refined.x)), float(refined.fun)
    within = grid[losses <= lowest + FLAT * (problem.loss - lowest)]
    return BestLearningRate(
        value=value,
        loss=lowest,
        low=float(min(value, *within)) if within.size else value,
        high=float(max(value, *within)) if within.size else value,
        is_capped=bool(value >= cap * (1 - 2e-3)),
        stability=limits,
        num_steps=int(num_steps),
    )
