"""The settings of ``torch.optim.SGD``, as a linear step."""

from typing import Any

import numpy as np

from spectra.arrays import finite_number
from spectra.dynamics.two_state import LinearStep, heavy_ball_step, nesterov_step
from spectra.errors import ArgumentError
from spectra.frozen import Vector

__all__ = ["constant_momentum", "method_step", "require_method"]


#: Momentum closer to 1 than this leaves no digits to what it damps.
MOST = 1 - 1e-9


def method_step(curvature: Vector, *, learning_rate: float, momentum: float, nesterov: bool) -> LinearStep:
    """Return one step of SGD with momentum for modes of these curvatures."""
    form = nesterov_step if nesterov else heavy_ball_step
    return form(curvature, learning_rate=learning_rate, momentum=momentum)


def require_method(closure: str, *, momentum: Any, nesterov: bool) -> None:
    """Raise unless momentum is in [0, 1) and the closure knows it.

    Raises
    ------
    ArgumentError
        The message says what came and what to do.
    """
    try:
        values = np.asarray(momentum, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"momentum must be a number, or one per step; got {momentum!r}") from error
    if not np.all((values >= 0) & (values <= MOST)):
        raise ArgumentError(f"momentum must lie in [0, 1), and at most at 1 - 1e-9; got {momentum!r}")
    if not isinstance(nesterov, bool | np.bool_):
        raise ArgumentError(f"nesterov must be True or False; got {nesterov!r}")
    if nesterov and not np.any(values > 0):
        raise ArgumentError("nesterov=True needs a momentum above 0")
    if np.any(values > 0) and closure in ("row_resolved", "exact", "continuous"):
        raise ArgumentError(
            f"closure={closure!r} is for plain SGD; with momentum use 'limit', 'gaussian' or 'kurtosis'"
        )


def constant_momentum(closure: str, momentum: Any, *, nesterov: bool) -> float:
    """Return one momentum that :func:`require_method` allows.

    Raises
    ------
    ArgumentError
        As of `require_method`, and for a schedule.

    Examples
    --------
    >>> constant_momentum("limit", 0, nesterov=False)
    0.0
    """
    require_method(closure, momentum=momentum, nesterov=nesterov)
    if np.ndim(momentum) != 0:
        raise ArgumentError(f"momentum must be one number here; got {momentum!r}")
    return finite_number(momentum, name="momentum")
