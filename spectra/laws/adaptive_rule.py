r"""Quadrature of a density with edges, near-edges and several scales: panels are halved where they need it."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from numpy.polynomial import legendre

from spectra.frozen import Vector
from spectra.laws.interval_angles import angle_of, point_at

__all__ = ["AdaptiveRule"]

#: Nodes per panel, and equal panels to begin with (design choices: a smooth density needs no halving).
NODES, PANELS = 20, 8
#: A panel is halved while its last coefficients carry more mass than this.
ENOUGH = 1e-14
#: Halvings of one panel and panels in all (design choices: 1e-12 of the interval is seen; what is left is below
#: rounding for every edge that is algebraic).
HALVINGS, MOST = 40, 4000


class AdaptiveRule:
    """One interval of a support, in the angle of ``x = middle - half cos(angle)``.

    Parameters
    ----------
    density : callable
        The density, for an array of points inside the interval.
    low, high : float
        The ends of the interval.

    Notes
    -----
    In the angle a density with square-root edges is smooth. Gaps that are nearly open and populations of several
    scales are sharp features elsewhere; panels around them are halved. Some hundred evaluations, once. Derived here.

    Examples
    --------
    >>> rule = AdaptiveRule(lambda x: np.sqrt(4.0 - x**2) / (2.0 * np.pi), -2.0, 2.0)
    >>> round(rule.mass, 12), round(float(rule.weights @ rule.nodes**4), 12)
    (1.0, 2.0)
    """

    def __init__(self, density: Callable[[Vector], Vector], low: float, high: float) -> None:
        """Evaluate the density."""
        self.low, self.high = low, high
        node, weight = legendre.leggauss(NODES)
        analysis = legendre.legvander(node, NODES - 1) * ((np.arange(NODES) + 0.5) * weight[:, None])
        starts = np.linspace(0.0, np.pi, PANELS + 1)[:-1]
        length = np.pi / PANELS
        kept: list[tuple[Vector, Vector, Vector]] = []
        for level in range(HALVINGS + 1):
            angle = starts[:, None] + 0.5 * length * (node + 1.0)
            jacobian = 0.5 * (high - low) * np.sin(angle)
            value = jacobian * np.asarray(density(self.point(angle.ravel()))).reshape(angle.shape)
            tail = np.max(np.abs((value @ analysis)[:, -3:]), axis=1)
            is_last = level == HALVINGS or 2 * starts.size + sum(k[0].size for k in kept) > MOST
            done = np.full(starts.shape, True) if is_last else 0.5 * length * tail <= ENOUGH
            kept.append((starts[done], np.full(int(np.sum(done)), length), value[done]))
            starts = np.stack([starts[~done], starts[~done] + 0.5 * length], axis=1).ravel()
            length *= 0.5
            if starts.size == 0:
                break
        order = np.argsort(np.concatenate([k[0] for k in kept]))
        self._starts = np.concatenate([k[0] for k in kept])[order]
        self._half_lengths = 0.5 * np.concatenate([k[1] for k in kept])[order]
        values = np.concatenate([k[2] for k in kept])[order]
        self.nodes = self.point((self._starts[:, None] + self._half_lengths[:, None] * (node + 1.0)).ravel())
        self.weights = (self._half_lengths[:, None] * weight * values).ravel()
        coefficients = (values @ analysis) * self._half_lengths[:, None]
        self._integrals = legendre.legint(coefficients, lbnd=-1.0, axis=1)
        self._below = np.concatenate([[0.0], np.cumsum(self.weights.reshape(values.shape).sum(axis=1))])

    @property
    def mass(self) -> float:
        """Mass of the interval."""
        return float(self._below[-1])

    def point(self, angle: Vector) -> Vector:
        """Return ``x`` at an angle in [0, pi], accurate next to both ends."""
        return point_at(angle, low=self.low, high=self.high)

    def mass_below(self, x: Vector) -> Vector:
        """Return the mass below points, by integrals of the polynomials of the panels."""
        angle = angle_of(x, low=self.low, high=self.high)
        panel: npt.NDArray[np.int64] = np.clip(
            np.searchsorted(self._starts, angle, side="right") - 1, 0, self._starts.size - 1
        )
        t = np.clip((angle - self._starts[panel]) / self._half_lengths[panel] - 1.0, -1.0, 1.0)
        within = legendre.legval(t, self._integrals[panel].T, tensor=False)
        return np.clip(self._below[panel] + within, 0.0, self.mass)
