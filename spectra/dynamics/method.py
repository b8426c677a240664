"""The settings of ``torch.optim.SGD``, as a linear step."""

import numpy as np

from spectra.dynamics.quadratic import Vector
from spectra.dynamics.two_state import LinearStep, heavy_ball_step, nesterov_step
from spectra.errors import ArgumentError

__all__ = ["method_step", "require_method"]


def method_step(curvature: Vector, *, learning_rate: float, momentum: float, nesterov: bool) -> LinearStep:
    """Return one step of SGD with momentum for modes of these curvatures."""
    form = nesterov_step if nesterov else heavy_ball_step
    return form(curvature, learning_rate=learning_rate, momentum=momentum)


def require_method(closure: str, *, momentum: object, nesterov: bool) -> None:
    """Raise unless momentum is in [0, 1) and the closure knows it.

    Raises
    ------
    ArgumentError
        The message says what came and what to do.
    """
    values = np.asarray(momentum, dtype=np.float64)
    if not np.all((values >= 0) & (values < 1)):
        raise ArgumentError(f"momentum must lie in [0, 1); got {momentum!r}")
    if nesterov and not np.any(values > 0):
        raise ArgumentError("nesterov=True needs a momentum above 0")
    if np.any(values > 0) and closure in ("row_resolved", "exact", "continuous"):
        raise ArgumentError(
            f"closure={closure!r} is for plain SGD; with momentum use 'limit', 'gaussian' or 'kurtosis'"
        )
