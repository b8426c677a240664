r"""What the tridiagonal coefficients of Lanczos runs tend to.

Where the bulk is one interval, they tend to constants, and the interval is
:math:`\alpha_\infty \pm 2\beta_\infty`.
"""

from typing import NamedTuple

import numpy as np

from spectra.frozen import Vector

__all__ = ["Limits", "coefficient_limits"]

#: The edges move inward by at most this times (high - low) / N a step, which a fit is clipped to. Derived: Wishart
#: matrices with p <= n have sqrt(y) / 2 + (1 + y) / 4, at most 1, and Gaussian symmetric ones 1/4.
DRIFT = 2.0
#: Coefficients of one matrix are correlated over steps, so that the standard error of a line through independent ones
#: is too small (measured: by 0.3 to 2 times on Wishart matrices of order 300 and 1200, 20 to 80 steps).
CORRELATION = 1.5


class Limits(NamedTuple):
    """Edges, their standard errors, and the scatter of the coefficients."""

    low: float
    high: float
    low_stderr: float
    high_stderr: float
    scatter: float


def coefficient_limits(coefficients: list[tuple[Vector, Vector]], n: int) -> Limits:
    """Return the edges that the last half of the coefficients, averaged over probes, tends to without their drift."""
    # The last coupling of an exhausted Krylov space is 0 and belongs to no limit.
    last = min(len(diagonal) for diagonal, _ in coefficients) - 1
    index = np.arange(last, dtype=np.float64)[last // 2 :]
    diagonal = np.mean([part[last // 2 : last] for part, _ in coefficients], axis=0)
    radius = 2.0 * np.mean([part[last // 2 : last] for _, part in coefficients], axis=0)
    most = DRIFT * 2.0 * float(np.mean(radius)) / n
    low, low_stderr = _limit(index, diagonal - radius, 0.0, most)
    high, high_stderr = _limit(index, diagonal + radius, -most, 0.0)
    return Limits(low, high, low_stderr, high_stderr, max(_line(index, diagonal)[1], _line(index, radius)[1]))


def _line(index: Vector, values: Vector) -> tuple[float, float]:
    """Return the slope of the line through the values, and their standard deviation around it."""
    centered = index - np.mean(index)
    slope = float(centered @ values / (centered @ centered))
    rest = values - np.mean(values) - slope * centered
    unit = float(np.max(np.abs(rest))) or 1.0  # squares neither overflow nor vanish
    return slope, unit * float(np.linalg.norm(rest / unit)) / max(len(index) - 2, 1) ** 0.5


def _limit(index: Vector, values: Vector, least: float, most: float) -> tuple[float, float]:
    """Return the value at step 0 of a line whose slope lies between two numbers, with its standard error."""
    slope, noise = _line(index, values)
    middle = float(np.mean(index))
    error = min(noise / float(np.linalg.norm(index - middle)), most - least)
    value = float(np.mean(values)) - middle * min(max(slope, least), most)
    return value, CORRELATION * float(np.hypot(noise / np.sqrt(len(index)), error * middle))
