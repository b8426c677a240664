r"""Eigenvalues of sample covariance matrices of any population: the law of Marchenko and Pastur in full."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from spectra.frozen import Vector
from spectra.laws.adaptive_rule import AdaptiveRule
from spectra.laws.base import Law
from spectra.laws.points import as_complex_points, as_points, like_given
from spectra.laws.population import PopulationLaw, as_sample_model
from spectra.laws.population_recovery import recover_population
from spectra.laws.silverstein import CompanionSolution, companion_stieltjes
from spectra.laws.silverstein_support import support_edges

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["GeneralizedMarchenkoPastur"]


@dataclass(frozen=True, kw_only=True, eq=False)
class GeneralizedMarchenkoPastur(Law):
    r"""Law of the eigenvalues of ``C^(1/2) X X' C^(1/2) / n`` for a large p by n matrix X of independent entries.

    Its Stieltjes transform solves the equation of Silverstein, see :mod:`spectra.laws.silverstein`.

    Parameters
    ----------
    population : PopulationLaw, Law or array_like
        Law H of the eigenvalues of C, not negative: a discrete law, a continuous one, which is discretized, or the
        eigenvalues themselves.
    aspect_ratio : float
        Dimensions over samples, ``y = p/n``, positive. Entries of X have variance 1.

    Raises
    ------
    ArgumentError
        If a population eigenvalue is negative or the ratio is not positive.

    Notes
    -----
    At 0 there is an atom of mass ``max(H({0}), 1 - 1/y)``. A continuous population that was discretized gives a smooth
    law as long as neighboring places are closer than sampling spreads them; a very small y shows them one by one.
    Measured: mass 1 to 1e-12 for populations over twelve decades and y down to 1e-9.
    Source: Marchenko and Pastur (1967); Silverstein and Choi (1995).

    Examples
    --------
    >>> law = GeneralizedMarchenkoPastur(population=PopulationLaw(values=[1.0, 10.0]), aspect_ratio=0.1)
    >>> len(law.support), round(law.cdf(5.0), 9), round(law.moment(1), 9)
    (2, 0.5, 5.5)
    """

    population: PopulationLaw
    aspect_ratio: float

    def __post_init__(self) -> None:
        """Check the model."""
        law, ratio = as_sample_model(self.population, aspect_ratio=self.aspect_ratio)
        object.__setattr__(self, "population", law)
        object.__setattr__(self, "aspect_ratio", ratio)

    @classmethod
    def fit(
        cls, eigenvalues: "npt.ArrayLike | xr.Dataset", *, aspect_ratio: float, grid: npt.ArrayLike | None = None
    ) -> "GeneralizedMarchenkoPastur":
        """Return the law of the population that explains sample eigenvalues best.

        Parameters
        ----------
        eigenvalues, aspect_ratio, grid
            As for :func:`spectra.laws.population_recovery.recover_population`, which also says whether to trust it.

        Raises
        ------
        ArgumentError, ShapeError, NonFiniteError, SchemaError
            As there.
        """
        return cls(
            population=recover_population(eigenvalues, aspect_ratio=aspect_ratio, grid=grid).law,
            aspect_ratio=aspect_ratio,
        )

    @cached_property
    def support(self) -> tuple[tuple[float, float], ...]:  # type: ignore[override]
        """Intervals of the continuous part, ascending."""
        edges = support_edges(self.population, aspect_ratio=self.aspect_ratio)
        return tuple((float(low), float(high)) for low, high in edges)

    @property
    def atoms(self) -> tuple[tuple[float, float], ...]:
        """The atom at 0, if there is one."""
        at_zero = self.population.atoms[0][1] if self.population.values[0] == 0 else 0.0
        mass = max(at_zero, 1.0 - 1.0 / self.aspect_ratio)
        return ((0.0, mass),) if mass > 0 else ()

    def solution(self, z: npt.ArrayLike) -> CompanionSolution:
        """Return the transform with its companion, and the mask of the points that converged.

        Parameters
        ----------
        z : array_like of complex, shape (k,)
            In the closed upper half-plane.

        Returns
        -------
        CompanionSolution

        Raises
        ------
        ArgumentError, NonFiniteError
            If a point lies below the real axis or is not finite.
        """
        return companion_stieltjes(self.population, z, aspect_ratio=self.aspect_ratio)

    def pdf(self, x: npt.ArrayLike) -> Any:
        """Return the density of the continuous part: 0 off the support, NaN where the equation was not solved.

        Parameters
        ----------
        x : float or array of any shape

        Returns
        -------
        float or ndarray
        """
        points = as_points(x)
        inside = np.zeros(points.shape, dtype=bool)
        for low, high in self.support:
            inside |= (points > low) & (points < high)
        density = np.zeros(points.shape)
        solution = self.solution(points[inside])
        density[inside] = np.where(solution.converged, solution.companion.imag / (np.pi * self.aspect_ratio), np.nan)
        return like_given(density, x)

    def expectation(self, function: Callable[[Vector], Vector]) -> float:
        """Return the mean of a function, smooth on every interval, by quadrature on panels adapted to the density.

        Parameters
        ----------
        function : callable
            Takes an array of points and returns its values there.
        """
        total = sum(float(rule.weights @ function(rule.nodes)) for rule in self._panels)
        return total + sum(mass * float(function(np.array([place]))[0]) for place, mass in self.atoms)

    @cached_property
    def _panels(self) -> tuple[AdaptiveRule, ...]:
        """Quadrature on every interval; the density of merging intervals is too sharp for panels fixed beforehand."""
        return tuple(AdaptiveRule(lambda x: np.asarray(self.pdf(x)), low, high) for low, high in self.support)

    def _continuous_cdf(self, x: Vector) -> Vector:
        """Return the mass of the continuous part up to x."""
        return np.sum([rule.mass_below(x) for rule in self._panels], axis=0) if self.support else np.zeros(x.shape)

    def stieltjes(self, z: npt.ArrayLike) -> Any:
        """Return ``m(z)``; on the real axis the limit from above, of infinite imaginary part at an atom.

        NaN where the equation was not solved.

        Parameters
        ----------
        z : complex or array of any shape

        Returns
        -------
        complex or ndarray of complex128
        """
        points = as_complex_points(z)
        below = points.imag < 0
        solution = self.solution(np.where(below, points.conj(), points))
        value = np.where(solution.converged, solution.stieltjes, np.nan)
        for place, _ in self.atoms:
            value = np.where(points == place, complex(0.0, np.inf), value)
        return like_given(np.where(below, value.conj(), value), z)
