"""Quadrature of a density whose edges are algebraic: roots, inverse roots and cube roots."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from numpy.polynomial import legendre

from spectra.frozen import Vector
from spectra.laws.interval_angles import angle_of, point_at

__all__ = ["GradedRule"]

#: Nodes per panel. Panels that double in length see a singularity at distance of their own length: 5.8**-16 = 6e-13.
_NODES = 16
#: Equal panels of the angle; those at both ends are halved again and again.
_PANELS = 16
#: Halvings towards an edge, at most: the smallest angle is 2e-13, where even a cube root has no mass left.
_MOST_HALVINGS = 40
#: Smallest panel in units of ``sqrt(edge/width)``: nearer to an edge that is not 0, rounding spoils ``x - edge``.
_LEAST_ANGLE = 1e-3
#: Poles this far from a panel, in half lengths, are harmless: 16 nodes integrate them to (2.7 + 2.5)**-32.
_NEAR = 2.7
#: A pole this close to a node, in distances of nodes, is seen as the mean of two beside it: rounding is then 1e-11.
_TOO_CLOSE = 1e-5
#: Poles whose sine is smaller sit on an edge, where the integrand has no pole.
_ON_EDGE = 1e-8

#: Points whose transform is computed at once: 16 MB for each array of points and nodes.
_BLOCK = 2048


class GradedRule:
    """One interval of the support, and Gauss-Legendre panels in the angle of ``x = middle - half cos(angle)``.

    Parameters
    ----------
    density : callable
        The density, for an array of points inside the interval.
    low, high : float
        The ends of the interval.

    Notes
    -----
    About 500 evaluations of the density, once; what follows is evaluated from polynomials of degree 15. In the angle,
    density times Jacobian is smooth at edges of the forms ``sqrt(x - a)`` and ``1/sqrt(x - a)``; panels that shrink
    towards both ends resolve other exponents. Derived here.

    Examples
    --------
    The semicircle.

    >>> import numpy as np
    >>> rule = GradedRule(lambda x: np.sqrt(4.0 - x**2) / (2.0 * np.pi), -2.0, 2.0)
    >>> round(rule.mass, 12), round(float(rule.weights @ rule.nodes**4), 12)
    (1.0, 2.0)
    """

    def __init__(self, density: Callable[[Vector], Vector], low: float, high: float) -> None:
        """Evaluate the density."""
        self.low, self.high = low, high
        width = high - low
        self._breaks = _graded_breaks(_halvings(abs(low) / width), _halvings(abs(high) / width))
        self._half_lengths = 0.5 * np.diff(self._breaks)
        self._t, self._w = legendre.leggauss(_NODES)
        centers = self._breaks[:-1] + self._half_lengths
        self._angles = centers[:, None] + self._half_lengths[:, None] * self._t
        self.nodes = self.point(self._angles.ravel())
        self._values = 0.5 * (high - low) * np.sin(self._angles) * density(self.nodes).reshape(self._angles.shape)
        self._marks = np.sort(np.concatenate([self.nodes, self.point(self._breaks)]))
        self._panel_weights = self._half_lengths[:, None] * self._w
        self.weights = (self._panel_weights * self._values).ravel()
        # coefficients of the interpolants in Legendre polynomials, by discrete orthogonality
        basis = legendre.legvander(self._t, _NODES - 1) * (np.arange(_NODES) + 0.5)
        self._coefficients = (self._values * self._w) @ basis
        self._integrals = self._half_lengths[:, None] * np.stack(
            [legendre.legint(c, lbnd=-1.0) for c in self._coefficients]
        )
        self._below = np.concatenate([[0.0], np.cumsum(self.weights.reshape(self._angles.shape).sum(axis=1))])

    @property
    def mass(self) -> float:
        """Mass of the interval."""
        return float(self._below[-1])

    def point(self, angle: Vector) -> Vector:
        """Return ``x`` at an angle in [0, pi], accurate next to both ends."""
        return point_at(angle, low=self.low, high=self.high)

    def angle(self, x: Vector) -> Vector:
        """Return the angle of points; those outside the interval get the nearest end's."""
        return angle_of(x, low=self.low, high=self.high)

    def mass_below(self, angle: Vector) -> Vector:
        """Return the mass below an angle, by integrals of the panels' polynomials."""
        panel, t = self._locate(angle)
        below = np.clip(self._below[panel] + _series(self._integrals[panel], t), 0.0, self.mass)
        return np.where(angle <= 0.0, 0.0, np.where(angle >= np.pi, self.mass, below))

    def stieltjes(self, z: npt.NDArray[np.complex128]) -> npt.NDArray[np.complex128]:
        """Return the integral of ``density(x)/(x - z)``; on the interval itself the boundary value from above.

        Near the interval the integrand has poles in the angle, whose integrals are known: what a panel's nodes make of
        ``1/(angle - pole)`` is replaced by the logarithm, times the residue.
        """
        if z.size > _BLOCK:
            return np.concatenate([self.stieltjes(z[i : i + _BLOCK]) for i in range(0, z.size, _BLOCK)])
        total = self._transform(z)
        marks = self._marks
        right = np.clip(np.searchsorted(marks, z.real), 1, marks.size - 1)
        distance = np.minimum(np.abs(z - marks[right - 1]), np.abs(z - marks[right]))
        least = _TOO_CLOSE * (marks[right] - marks[right - 1])
        close = distance < least
        if np.any(close):
            step = 2.0 * least[close]
            total[close] = 0.5 * (self._transform(z[close] - step) + self._transform(z[close] + step))
        return total

    def _transform(self, z: npt.NDArray[np.complex128]) -> npt.NDArray[np.complex128]:
        """Return the transform away from the nodes."""
        poles = self._poles(z)
        total = np.asarray(_over(self.weights, self.nodes - z[:, None]).sum(axis=1))
        slope = 0.5 * (self.high - self.low) * np.sin(poles)
        apart = np.abs(np.sin(poles)) > _ON_EDGE
        centers = self._breaks[:-1] + self._half_lengths
        panel_weights, panel_nodes = self.weights.reshape(self._angles.shape), self.nodes.reshape(self._angles.shape)
        for sign, period in ((1.0, 0.0), (-1.0, 0.0), (-1.0, 2.0 * np.pi)):
            at = sign * poles + period
            place = (at[:, None] - centers) / self._half_lengths
            row, panel = np.nonzero((np.abs(place) < 1.0 + _NEAR) & apart[:, None])
            gap = self._angles[panel] - at[row, None]
            residue = _series(self._coefficients[panel], place[row, panel]) / (sign * slope[row])
            numerical = _over(self._panel_weights[panel], gap).sum(axis=1)
            correction = residue * (_log_ratio(place[row, panel], sign) - numerical)
            if sign > 0.0:
                # x - z from the same difference of angles as above: their large parts must cancel to rounding
                there = panel_weights[panel]
                distance = (
                    (self.high - self.low) * np.sin(0.5 * gap) * np.sin(0.5 * (self._angles[panel] + at[row, None]))
                )
                correction += (_over(there, distance) - _over(there, panel_nodes[panel] - z[row, None])).sum(axis=1)
            np.add.at(total, row, correction)
        return total

    def _poles(self, z: npt.NDArray[np.complex128]) -> npt.NDArray[np.complex128]:
        """Return the angle in the strip [0, pi] where ``x = z``, its imaginary part of the sign of that of z."""
        width = self.high - self.low
        root_left, root_right = np.sqrt((z - self.low) / width), np.sqrt((self.high - z) / width)
        plus, minus = root_right + 1j * root_left, root_right - 1j * root_left
        # Their product is 1; far from the interval the smaller one cancels.
        is_larger = np.abs(plus) >= np.abs(minus)
        angles = np.where(is_larger, -2j, 2j) * np.log(np.where(is_larger, plus, minus))
        on_path = (z.imag == 0.0) & (z.real >= self.low) & (z.real <= self.high)
        return np.where(on_path, angles.real, angles)

    def _locate(self, angle: Vector) -> tuple[npt.NDArray[np.int64], Vector]:
        """Return the panel of each angle and its place in it, in [-1, 1]."""
        panel = np.clip(np.searchsorted(self._breaks, angle, side="right") - 1, 0, self._half_lengths.size - 1)
        return panel, np.clip((angle - self._breaks[panel]) / self._half_lengths[panel] - 1.0, -1.0, 1.0)


def _halvings(edge: float) -> int:
    """Return how often to halve towards an edge that is so many widths away from 0."""
    least = max(_LEAST_ANGLE * float(np.sqrt(edge)), 0.5**_MOST_HALVINGS)
    return int(np.clip(np.log2(np.pi / _PANELS / least), 0, _MOST_HALVINGS))


def _over(weights: np.ndarray, difference: np.ndarray) -> np.ndarray:
    """Return the quotient, and 0 for a node on the point."""
    return np.divide(weights, difference, out=np.zeros_like(difference), where=difference != 0.0)


def _log_ratio(pole: npt.NDArray[np.complex128], sign: float) -> npt.NDArray[np.complex128]:
    """Return the integral of 1/(t - pole) over [-1, 1]; poles on the path are passed on the side of ``sign``."""
    with np.errstate(divide="ignore"):
        off_axis = np.log(pole - 1.0) - np.log(pole + 1.0)
        on_axis = np.log(np.abs(pole.real - 1.0)) - np.log(np.abs(pole.real + 1.0))
    turn = np.where(np.abs(pole.real) < 1.0, sign * 1j * np.pi, 0.0)
    return np.where(pole.imag == 0.0, on_axis + turn, off_axis)


def _graded_breaks(left: int, right: int) -> Vector:
    """Return equal panels of [0, pi], with the first and last halved towards the ends."""
    equal = np.linspace(0.0, np.pi, _PANELS + 1)
    to_left = equal[1] * 0.5 ** np.arange(left, 0, -1)
    to_right = np.pi - equal[1] * 0.5 ** np.arange(1, right + 1)
    return np.concatenate([[0.0], to_left, equal[1:-1], to_right, [np.pi]])


def _series(coefficients: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Return Legendre series, one per point: coefficients of shape (n, k) at t of shape (n,)."""
    return legendre.legval(t, coefficients.T, tensor=False)
