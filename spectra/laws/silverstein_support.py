r"""Where the eigenvalues of sample covariance matrices lie, from those of the population."""

from typing import Any

import numpy as np
import numpy.typing as npt

from spectra.frozen import Vector
from spectra.laws.bracketing import increasing_root
from spectra.laws.population import as_sample_model

__all__ = ["critical_points", "support_edges"]

#: Numbers held at a time: gaps times places of the population.
BLOCK = 2**20


def support_edges(population: Any, *, aspect_ratio: float) -> npt.NDArray[np.float64]:
    r"""Return the intervals that carry the continuous part of the law of the sample eigenvalues.

    Their complement is the image of the real ``u`` outside the population with ``psi'(u) > 0``.

    Parameters
    ----------
    population : PopulationLaw, Law or array_like
        Law of the population eigenvalues, see :func:`spectra.laws.population.as_population`; not negative.
    aspect_ratio : float
        Dimensions over samples, ``y = p/n``, positive.

    Returns
    -------
    ndarray, shape (k, 2)
        Ascending, in units of the population; none if all of the population is at 0.

    Raises
    ------
    ArgumentError
        If a population eigenvalue is negative or the ratio is not positive.

    Notes
    -----
    Between two neighboring places ``sum y w t^2 / (u - t)^2`` is convex, so that it has no or two roots of equality
    with 1, on the two sides of its minimum; all are bracketed without a grid. Gaps that the two nearest
    places close by themselves are left out first, so that a fine discretization costs little. Below the lowest and
    above the highest place there is one root each. Source: Silverstein and Choi (1995); the brackets are derived here.

    Examples
    --------
    One place gives the law of Marchenko and Pastur, with edges ``(1 -+ sqrt y)^2``.

    >>> support_edges([1.0], aspect_ratio=0.25).round(12).tolist()
    [[0.25, 2.25]]
    """
    law, ratio = as_sample_model(population, aspect_ratio=aspect_ratio)
    positive = law.values > 0
    t, strength = law.values[positive], np.sqrt(ratio * law.weights[positive])
    if t.size == 0:
        return np.empty((0, 2))
    critical = critical_points(t / t[-1], strength)
    edges = np.array([_psi_real(u, t / t[-1], strength) for u in critical]) * t[-1]
    return np.maximum(edges, 0.0).reshape(-1, 2)


def critical_points(t: Vector, strength: Vector) -> Vector:
    """Return all u with ``sum (strength t / (u - t))^2 = 1``, ascending: those of the edges of the support, in turn.

    Parameters
    ----------
    t, strength : ndarray, shape (k,)
        Positive places, ascending, and the roots of their weights times the aspect ratio.

    Returns
    -------
    ndarray, shape (even,)

    Notes
    -----
    About ten sums over the places for each root and each gap that may be open. Derived here.

    Examples
    --------
    >>> critical_points(np.array([1.0]), np.array([0.5])).tolist()
    [0.5, 1.5]
    """
    reach = float(np.linalg.norm(strength)) * t[-1]
    pull = (strength * t) ** (2.0 / 3.0)
    gaps = np.flatnonzero((pull[:-1] + pull[1:]) ** 1.5 < np.diff(t))
    found = [
        _roots(np.array([-reach]), t[:1], t, strength, sign=1.0),
        _roots(t[-1:], np.array([t[-1] + reach]), t, strength, sign=-1.0),
    ]
    size = max(1, BLOCK // t.size)
    for start in range(0, gaps.size, size):
        left, right = t[gaps[start : start + size]], t[gaps[start : start + size] + 1]
        bottom = _bottoms(left, right, t, strength)
        is_open = _excess(bottom, t, strength) < 0
        left, right, bottom = left[is_open], right[is_open], bottom[is_open]
        found += [
            _roots(left, bottom, t, strength, sign=-1.0),
            _roots(bottom, right, t, strength, sign=1.0),
        ]
    return np.sort(np.concatenate(found))


def _excess(u: Vector, t: Vector, strength: Vector) -> Vector:
    """Return ``1 - S^(-1/2)`` for ``S = sum (strength t / (u - t))^2``: the sign of S - 1, nearly linear at poles."""
    with np.errstate(divide="ignore", over="ignore"):
        return 1.0 - 1.0 / np.sqrt(np.sum((strength * t / (u[:, None] - t)) ** 2, axis=1))


def _roots(low: Vector, high: Vector, t: Vector, strength: Vector, *, sign: float) -> Vector:
    """Return the roots of the excess, which rises from low to high (sign 1) or falls (sign -1)."""
    return increasing_root(lambda u: sign * _excess(u, t, strength), low, high)


def _bottoms(left: Vector, right: Vector, t: Vector, strength: Vector) -> Vector:
    """Return where the excess is least between two poles: where its slope, which rises, changes sign."""

    def slope(u: Vector) -> Vector:
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            inverse = strength * t / (u[:, None] - t)
            value = np.sum(inverse**3 / (strength * t), axis=1) / np.sum(inverse**2, axis=1) ** 1.5
        return np.where(u <= left, -1.0, np.where(u >= right, 1.0, -value * strength.max() * t[-1]))

    return increasing_root(slope, left, right)


def _psi_real(u: float, t: Vector, strength: Vector) -> float:
    """Return ``u (1 + sum strength^2 t / (u - t))``."""
    return float(u * (1.0 + np.sum(strength**2 * t / (u - t))))
