r"""Laws in a parameter in which nothing needs to be solved: the engine room of free convolutions.

A chart gives, for a parameter u of the upper half-plane, a point ``w(u)`` and the reciprocal Cauchy transform
``F(w) = -1/m(w)`` there, with the derivatives of both. For the law of sample covariances m(w) takes the solution of an
equation, but w and m are sums in ``u = -1/v``, with v the companion transform; for other laws u is w itself.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from spectra.frozen import Vector
from spectra.laws.generalized_marchenko_pastur import GeneralizedMarchenkoPastur
from spectra.laws.marchenko_pastur import MarchenkoPastur
from spectra.laws.population import PopulationLaw

__all__ = ["Chart", "ChartValues", "ComplexVector", "chart_of"]

ComplexVector = npt.NDArray[np.complex128]

#: Where the transform of a law is read for its first two moments, in units of its scale: the fourth moment leaves 1e-4
#: of the second, rounding of closed forms that cancel 1e-8 (derived); and the least spread, in the same units.
FAR, LEAST_SPREAD = 1e2, 1e-3
#: Range of the scale of a law, in units of the largest point at which it is wanted: of the factors of a product one may
#: be as large as the other is small. The grid of scales is refined once, to a factor of 1.03 (design choices).
REACH, NUM_REACHES = (1e-40, 1e40), 80
#: Share of the mass off 0 that is left at the scale of a law.
HALF = 0.5
#: Mass off 0 below this is rounding.
LIGHT = 1e-12
#: Step of numerical derivatives in units of the spread of the law: the error of order 1e-7 is the factor by which each
#: Newton step shortens the next (derived).
DIFFERENCE = 1e-7
#: Complex numbers held at a time: points times places of the population.
BLOCK = 2**20


@dataclass(frozen=True, kw_only=True, eq=False)
class ChartValues:
    """Point ``w``, ``F(w) = -1/m(w)``, and the derivatives of both by the parameter; each of shape (k,)."""

    point: ComplexVector
    reciprocal: ComplexVector
    point_slope: ComplexVector
    reciprocal_slope: ComplexVector


class Chart(ABC):
    """A law in a parameter of the upper half-plane, with its mean and a rough variance."""

    mean: float
    variance: float

    @abstractmethod
    def at(self, u: ComplexVector) -> ChartValues:
        """Return point and reciprocal transform at parameters, shape (k,)."""

    def far(self, point: ComplexVector) -> ComplexVector:
        """Return parameters of points far from the law, roughly."""
        return point


def chart_of(law: Any, *, largest: float) -> Chart:
    """Return the chart of a law.

    Parameters
    ----------
    law : Law, PopulationLaw, or anything with ``stieltjes(z)``
    largest : float
        Largest modulus of the points that matter, which tells roughly how large the law may be.

    Notes
    -----
    Sums over the population for discrete laws and those of sample covariances; a transform and a numerical derivative,
    two evaluations, for others. Derived here.

    Examples
    --------
    For population 1 the law of Marchenko and Pastur has ``w = u (1 + y / (u - 1))``.

    >>> values = chart_of(MarchenkoPastur(aspect_ratio=0.5), largest=1.0).at(np.array([2.0 + 1.0j]))
    >>> bool(np.allclose(values.point, (2 + 1j) * (1 + 0.5 / (1 + 1j)), rtol=1e-14))
    True
    """
    if isinstance(law, PopulationLaw):
        return _Sums(law.values, law.weights, 0.0)
    if isinstance(law, GeneralizedMarchenkoPastur):
        return _Sums(law.population.values, law.population.weights, law.aspect_ratio)
    if isinstance(law, MarchenkoPastur):
        return _Sums(np.array([law.variance]), np.ones(1), law.aspect_ratio)
    return _Transform(law, largest)


class _Sums(Chart):
    """Population law H and ratio y: ``w = u q`` and ``F = q / S`` with ``S = sum w / (u - t)``, ``q = 1 - y + y u S``.

    With y = 0 it is H itself.
    """

    def __init__(self, places: Vector, weights: Vector, ratio: float) -> None:
        """Take the moments."""
        self._t, self._ratio = places, ratio
        self._w = np.stack([weights, weights * places], axis=1)
        self._close = 0.5 * float(np.min(np.abs(places[places != 0.0]), initial=np.inf))
        self.mean = float(weights @ places)
        self.variance = float(weights @ (places - self.mean) ** 2) + ratio * self.mean**2

    def at(self, u: ComplexVector) -> ChartValues:
        """Return point and reciprocal transform by sums over the population, some points at a time."""
        size = max(1, BLOCK // self._t.size)
        parts = [self._sums(u[i : i + size]) for i in range(0, max(u.size, 1), size)]
        total, ratio, total_slope, ratio_slope = (np.concatenate(column) for column in zip(*parts, strict=True))
        value = ratio / total
        return ChartValues(
            point=u * ratio,
            reciprocal=value,
            point_slope=ratio + u * ratio_slope,
            reciprocal_slope=(ratio_slope - value * total_slope) / total,
        )

    def far(self, point: ComplexVector) -> ComplexVector:
        """Return ``w - y mean``: the first terms of ``w = u + y mean + ...``."""
        return point - self._ratio * self.mean

    def _sums(self, u: ComplexVector) -> tuple[ComplexVector, ...]:
        """Return S and q, and their derivatives."""
        inverse = 1.0 / (u[:, None] - self._t)
        first, second = inverse @ self._w, (inverse * inverse) @ self._w
        if self._ratio == 0.0:
            return first[:, 0], np.ones_like(u), -second[:, 0], np.zeros_like(u)
        # Near 0 the two large terms of 1 + y sum w t / (u - t) cancel.
        near = (1.0 - self._ratio) + self._ratio * u * first[:, 0]
        ratio = np.where(np.abs(u) < self._close, near, 1.0 + self._ratio * first[:, 1])
        return first[:, 0], ratio, -second[:, 0], -self._ratio * second[:, 1]


class _Transform(Chart):
    """A law of which only the transform is known."""

    def __init__(self, law: Any, largest: float) -> None:
        """Estimate the moments."""
        self._law = law
        self.mean, self.variance, scale = self._moments(largest)
        self._step = DIFFERENCE * (float(np.sqrt(self.variance)) or scale)

    def at(self, u: ComplexVector) -> ChartValues:
        """Return the transform and its difference in the direction of the half-plane."""
        values = -1.0 / self._stieltjes(np.concatenate([u, u + 1j * self._step]))
        here, above = values[: u.size], values[u.size :]
        return ChartValues(
            point=u,
            reciprocal=here,
            point_slope=np.ones_like(u),
            reciprocal_slope=(above - here) / (1j * self._step),
        )

    def _stieltjes(self, z: ComplexVector) -> ComplexVector:
        """Return the transform of points of the closed upper half-plane, up to rounding, or NaN."""
        usable = np.isfinite(z)
        value = np.full(z.shape, np.nan, dtype=np.complex128)
        value[usable] = self._law.stieltjes(z[usable].real + 1j * np.maximum(z[usable].imag, 0.0))
        return value

    def _moments(self, largest: float) -> tuple[float, float, float]:
        """Return mean, variance and scale, roughly: ``-z m(z) = 1 + mean/z + second/z^2`` far up the imaginary axis."""
        low, high = largest * REACH[0], largest * REACH[1]
        for _ in range(2):
            reach = np.geomspace(low, high, NUM_REACHES)
            # Falls from the mass off 0 to 0; where it first falls is the scale, beyond there may be rounding alone.
            beyond = np.abs(1.0 + 1j * reach * self._stieltjes(np.asarray(1j * reach, dtype=np.complex128)))
            if not beyond[0] > LIGHT:
                return 0.0, 0.0, largest
            above = int(np.argmax(~(beyond > HALF * beyond[0]))) or NUM_REACHES - 1
            low, high = float(reach[above - 1]), float(reach[above])
        far = FAR * high
        value = complex((-1j * far * self._stieltjes(np.array([1j * far])))[0])
        mean, second = -value.imag * far, (1.0 - value.real) * far**2
        return mean, max(second - mean**2, (LEAST_SPREAD * high) ** 2), high
