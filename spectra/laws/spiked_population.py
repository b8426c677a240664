"""Spikes on a bulk that is not white: sample covariances of a population with any discrete law of eigenvalues."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from spectra.errors import ArgumentError
from spectra.frozen import Vector
from spectra.laws.points import as_positive, as_reals, like_given
from spectra.laws.population import as_population

__all__ = ["SpikedPopulation"]

#: Halvings of an interval down to the resolution of float64.
_HALVINGS = 200


@dataclass(frozen=True, kw_only=True, eq=False)
class SpikedPopulation:
    r"""Sample covariance ``X X' / n`` of a population with law :math:`H = \sum_k w_k \delta_{t_k}` and a few spikes.

    A spike :math:`\ell` above all :math:`t_k` is seen at :math:`\psi(\ell) = \ell\,(1 + y \int t / (\ell - t)\,dH)`
    where :math:`\psi'(\ell) > 0`, and is not seen elsewhere. Its overlap is :math:`\ell\psi'(\ell)/\psi(\ell)`.

    Parameters
    ----------
    population : PopulationLaw, Law or array_like
        Law H of the eigenvalues of the bulk of the population, or these eigenvalues; not negative, nor all 0.
    aspect_ratio : float
        Variables over samples, positive.

    Raises
    ------
    ArgumentError, NonFiniteError, ShapeError
        If a parameter cannot be used.

    Notes
    -----
    Only spikes above the bulk. Source: Silverstein and Choi (1995); Bai and Yao (2012).

    Examples
    --------
    >>> white = SpikedPopulation(population=[1.0], aspect_ratio=0.5)
    >>> round(white.outlier(6.0), 12), round(white.threshold, 9)
    (6.6, 1.707106781)
    """

    population: Any
    aspect_ratio: float

    def __post_init__(self) -> None:
        """Check the parameters."""
        law = as_population(self.population)
        if law.values[0] < 0.0 or not law.values[-1] > 0.0:
            raise ArgumentError("population eigenvalues must not be negative, nor all 0")
        object.__setattr__(self, "population", law)
        object.__setattr__(self, "aspect_ratio", as_positive(self.aspect_ratio, name="aspect_ratio"))

    @property
    def threshold(self) -> float:
        r"""Smallest spike that is visible: where :math:`\psi' = 0` above the bulk."""
        top = float(self.population.values[-1])
        low, high = top, top * (1.0 + np.sqrt(self.aspect_ratio)) * (1.0 + 1e-12)
        for _ in range(_HALVINGS):
            middle = 0.5 * (low + high)
            if not low < middle < high:
                break
            low, high = (low, middle) if self._slope(np.array([middle]))[0] > 0.0 else (middle, high)
        return float(high)

    @property
    def edge(self) -> float:
        """Upper edge of the bulk of the sample."""
        return float(self._image(np.array([self.threshold]))[0])

    def outlier(self, spike: npt.ArrayLike) -> Any:
        """Return the limit of the sample eigenvalue; NaN for spikes that are not visible."""
        spikes, visible = self._visible(spike)
        return like_given(np.where(visible, self._image(spikes), np.nan), spike)

    def overlap(self, spike: npt.ArrayLike) -> Any:
        """Return the squared cosine of the sample eigenvector to that of the population; 0 if not visible."""
        spikes, visible = self._visible(spike)
        return like_given(np.where(visible, self._slope(spikes) / self._ratio(spikes), 0.0), spike)

    def spike(self, outlier: npt.ArrayLike) -> Any:
        r"""Return the population eigenvalue behind a sample eigenvalue, by bisection; NaN up to the edge."""
        values = as_reals(outlier, name="outlier")
        visible = values > self.edge
        low = np.full(values.shape, self.threshold)
        high = np.where(visible, values, low)  # psi(l) >= l
        for _ in range(_HALVINGS):
            middle = 0.5 * low + 0.5 * high
            if np.all((middle <= low) | (middle >= high)):
                break
            below = self._image(middle) < values
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        return like_given(np.where(visible, 0.5 * low + 0.5 * high, np.nan), outlier)

    def _visible(self, spike: npt.ArrayLike) -> tuple[Vector, Any]:
        """Return spikes, a safe one where they are not visible, and where they are."""
        spikes, least = as_reals(spike, name="spike"), self.threshold
        visible = spikes > least
        return np.where(visible, spikes, 2.0 * least), visible

    def _image(self, spikes: Vector) -> Vector:
        r"""Return :math:`\psi`."""
        return spikes * self._ratio(spikes)

    def _ratio(self, spikes: Vector) -> Vector:
        r"""Return :math:`\psi(\ell)/\ell`."""
        terms = self.population.weights * self.population.values / (spikes[..., None] - self.population.values)
        return 1.0 + self.aspect_ratio * np.asarray(np.sum(terms, axis=-1))

    def _slope(self, spikes: Vector) -> Vector:
        r"""Return :math:`\psi' = 1 - y \int t^2 / (l - t)^2 dH`."""
        terms = self.population.weights * (self.population.values / (spikes[..., None] - self.population.values)) ** 2
        return 1.0 - self.aspect_ratio * np.sum(terms, axis=-1)
