"""Closed forms for densities that are a semicircle divided by linear factors."""

from abc import abstractmethod
from typing import Any

import numpy as np
import numpy.typing as npt

from spectra.frozen import Vector
from spectra.laws.base import Intervals, Law
from spectra.laws.points import as_points, like_given

__all__ = ["LARGEST_TERM", "RootOverPoles"]

#: Below this ratio of half width to distance of the pole, closed forms cancel worse (eps / ratio**2) than quadrature.
_LEAST_RATIO = 1e-2
#: Closed forms are sums of terms of the sizes of coefficient times distance, and so lose this many units of rounding;
#: beyond, quadrature is better.
LARGEST_TERM = 1e4


class RootOverPoles(Law):
    """Law with the density ``sum_k c_k sqrt((b - x)(x - a)) / (pi (x - e_k))`` on one interval [a, b].

    Marchenko-Pastur (one pole at 0), the F ratio and the Jacobi law (two poles each) are of this form. Poles are
    outside of (a, b).

    Notes
    -----
    With ``x = m - h cos t`` and ``g = m - e``, a term's integrand is ``g + h cos t - (g^2 - h^2)/(g - h cos t)``, which
    gives distribution function and Stieltjes transform in closed form. Derived here.
    """

    @property
    @abstractmethod
    def _poles(self) -> Intervals:
        """Pairs (location e_k, coefficient c_k)."""

    @property
    @abstractmethod
    def _edge_distances(self) -> Intervals:
        """For every pole ``(|a - e|, |b - e|)``, without the cancellation of a difference."""

    def pdf(self, x: npt.ArrayLike) -> Any:
        """Return the density of the continuous part, 0 outside the support.

        Parameters
        ----------
        x : float or array of any shape

        Returns
        -------
        float or ndarray
            Infinite at an edge where a pole is.
        """
        points = as_points(x)
        (low, high), total = self.support[0], np.zeros(points.shape)
        inside = (points >= low) & (points <= high)
        here = points[inside]
        for pole, coefficient in self._poles:
            with np.errstate(divide="ignore", invalid="ignore"):
                term = np.sqrt(high - here) * np.sqrt(here - low) / (here - pole)
            total[inside] += coefficient / np.pi * np.where(here == pole, np.copysign(np.inf, coefficient), term)
        return like_given(total, x)

    @property
    def _largest_term(self) -> float:
        """Size of the terms whose sum has mass 1."""
        return sum(abs(c) * max(pair) for (_, c), pair in zip(self._poles, self._edge_distances, strict=True))

    def _continuous_cdf(self, x: Vector) -> Vector:
        """Return the mass of the continuous part up to x in closed form, unless it cancels."""
        low, high = self.support[0]
        half = 0.5 * (high - low)
        is_narrow = any(half < _LEAST_RATIO * max(distances) for distances in self._edge_distances)
        if is_narrow or self._largest_term > LARGEST_TERM:
            return super()._continuous_cdf(x)
        inside = np.clip(x, low, high)
        angle = 2.0 * np.arctan2(np.sqrt(inside - low), np.sqrt(high - inside))
        total = np.zeros(x.shape)
        for (pole, coefficient), (to_low, to_high) in zip(self._poles, self._edge_distances, strict=True):
            side = 1.0 if pole <= low else -1.0
            turned = np.arctan2(np.sqrt(to_high) * np.sin(0.5 * angle), np.sqrt(to_low) * np.cos(0.5 * angle))
            swing = 0.5 * (to_low + to_high) * angle + side * half * np.sin(angle)
            total += side * coefficient / np.pi * (swing - 2.0 * np.sqrt(to_low * to_high) * turned)
        return total

    def _continuous_stieltjes(self, z: npt.NDArray[np.complex128]) -> npt.NDArray[np.complex128]:
        """Return divided differences of the semicircle's transform between z and the poles."""
        total = np.zeros(z.shape, dtype=np.complex128)
        low, high = self.support[0]
        middle, half = 0.5 * (low + high), 0.5 * (high - low)
        z = np.where(z.imag == 0.0, z.real + 0.0j, z)
        root = np.sqrt(z - low) * np.sqrt(z - high)
        denominator = root + z - middle
        for (pole, coefficient), (to_low, to_high) in zip(self._poles, self._edge_distances, strict=True):
            side = 1.0 if pole <= low else -1.0
            root_at_pole = -side * np.sqrt(to_low * to_high)
            # the root and the distance have one sign: no cancellation
            at_pole = root_at_pole - side * 0.5 * (to_low + to_high)
            with np.errstate(divide="ignore", invalid="ignore"):
                far = half**2 * (1.0 / at_pole - 1.0 / denominator) / (z - pole)
                near = 1.0 + (z + pole - 2.0 * middle) / (root + root_at_pole)
                near = half**2 * near / (denominator * at_pole)
            total += coefficient * np.where(np.abs(z - pole) > 0.5 * abs(middle - pole), far, near)
        return total
