r"""Angles between points, accurate for neighbors, and what a ReLU makes of them.

The arc cosine of a rounded cosine errs by the square root of eps for neighbors. Here everything is a function of the
versine :math:`\delta = 1 - \cos\theta`, half the squared distance of the normalized points.
"""

import math

from spectra.arrays import namespace
from spectra.kernels.pairwise import squared_distances
from spectra.protocols import Array

__all__ = ["angle", "norms_with_bias", "relu_mean", "relu_mean_complement", "sine", "sizes_and_versines"]

#: Versines above are 2, for that of opposite directions errs by rounding, and the angle by the root of it.
OPPOSITE = 2.0 - 4e-15


def norms_with_bias(X: Array, bias: float) -> Array:
    """Return the norms of ``(x, b)`` in float64."""
    xp = namespace(X)
    X = xp.astype(X, xp.float64)
    return xp.sqrt(xp.sum(X * X, axis=1) + bias * bias)


def sizes_and_versines(X: Array, Y: Array, bias: float) -> tuple[Array, Array]:
    """Return products of norms and versines of the angles between points ``(x, b)``, in float64."""
    xp = namespace(X)
    left = norms_with_bias(X, bias)
    first = _directions(X, left, bias)
    right, second = (left, first) if Y is X else (norms_with_bias(Y, bias), None)
    second = _directions(Y, right, bias) if second is None else second
    versine = 0.5 * squared_distances(first, second, precise=True)
    return left[:, None] * right[None, :], xp.where(versine > OPPOSITE, 2.0 * xp.ones_like(versine), versine)


def _directions(X: Array, norm: Array, bias: float) -> Array:
    """Return the points ``(x, b)`` on the unit sphere; zero points get an axis of their own."""
    xp = namespace(X)
    zero = norm == 0
    safe = xp.where(zero, xp.ones_like(norm), norm)[:, None]
    last = bias / safe if bias > 0 else xp.astype(zero, xp.float64)[:, None]
    return xp.concat([xp.astype(X, xp.float64) / safe, last], axis=1)


def angle(versine: Array) -> Array:
    """Return the angle of a versine, accurate next to 0."""
    xp = namespace(versine)
    return 2.0 * xp.asin(xp.sqrt(0.5 * versine))


def sine(versine: Array) -> Array:
    """Return the sine of the angle of a versine."""
    return namespace(versine).sqrt(versine * (2.0 - versine))


def relu_mean(versine: Array) -> Array:
    """Return kappa_1, 1 for equal directions."""
    return (sine(versine) + (math.pi - angle(versine)) * (1.0 - versine)) / math.pi


def relu_mean_complement(versine: Array) -> Array:
    """Return ``1 - kappa_1`` without cancellation in its leading term."""
    return versine - (sine(versine) - angle(versine) * (1.0 - versine)) / math.pi
