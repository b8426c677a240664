"""What every law offers: density, distribution function, quantiles, moments, Stieltjes transform, draws."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from spectra.errors import ArgumentError
from spectra.frozen import Vector
from spectra.laws.bracketing import increasing_root
from spectra.laws.graded_rule import GradedRule
from spectra.laws.interval_angles import point_at
from spectra.laws.points import as_complex_points, as_points, as_shares, like_given
from spectra.start_vectors import as_count, as_seed

__all__ = ["Law"]

Intervals = tuple[tuple[float, float], ...]
#: Sums of masses that miss 1 by less are 1: some roundings of a float64.
_ROUNDING = 1e-14


class Law(ABC):
    """A probability law on the line: a density on finitely many intervals, and atoms.

    A subclass is a frozen dataclass and defines `support`, `atoms` and `pdf`; everything else follows from them by
    quadrature and root finding, and is replaced by a closed form where there is one. Laws that can be fitted to
    eigenvalues have a class method ``fit(eigenvalues, ...)``.

    Notes
    -----
    Points may be scalars, which give Python numbers, or arrays, which give arrays of their shape. Names are those of
    the frozen distributions of SciPy, but for `quantile` (there ``ppf``) and `sample` (``rvs``).
    """

    @property
    @abstractmethod
    def support(self) -> Intervals:
        """Intervals (low, high) of the continuous part, ascending."""

    @property
    @abstractmethod
    def atoms(self) -> Intervals:
        """Pairs (location, mass), ascending."""

    @abstractmethod
    def pdf(self, x: npt.ArrayLike) -> Any:
        """Return the density of the continuous part, 0 outside the support.

        Parameters
        ----------
        x : float or array of any shape

        Returns
        -------
        float or ndarray
        """

    def cdf(self, x: npt.ArrayLike) -> Any:
        """Return the mass of ``(-inf, x]``, atoms included.

        Parameters
        ----------
        x : float or array of any shape

        Returns
        -------
        float or ndarray
            In [0, 1].

        Raises
        ------
        ArgumentError, NonFiniteError
            If ``x`` is no real number or NaN.
        """
        points = as_points(x)
        total = self._continuous_cdf(points)
        for location, mass in self.atoms:
            total = total + mass * (points >= location)
        return like_given(np.clip(total, 0.0, 1.0), x)

    def quantile(self, q: npt.ArrayLike) -> Any:
        """Return the smallest x with ``cdf(x) >= q``.

        Parameters
        ----------
        q : float or array of any shape
            In [0, 1]. 0 gives the lower end of the law.

        Returns
        -------
        float or ndarray

        Raises
        ------
        ArgumentError, NonFiniteError
            If q is outside of [0, 1] or NaN.

        Notes
        -----
        All points at once, about 10 evaluations of the distribution function.
        """
        shares = as_shares(q, name="q")
        target, found, before = shares.copy(), np.full(shares.shape, np.nan), 0.0
        for location, mass in self.atoms:
            lower = before + float(self._continuous_cdf(np.array([location]))[0])
            upper = 1.0 if lower + mass > 1.0 - _ROUNDING else lower + mass
            found[(shares <= upper) & (shares > (lower if lower > 0.0 else -1.0)) & np.isnan(found)] = location
            target = np.where(shares > upper, target - mass, target)
            before += mass
        rest = np.isnan(found)
        if np.any(rest) and not self.support:
            found[rest] = self.atoms[-1][0]
        elif np.any(rest):
            found[rest] = self._continuous_quantile(target[rest])
        return like_given(found, q)

    def sf(self, x: npt.ArrayLike) -> Any:
        """Return the survival function ``1 - cdf(x)``, the mass above x, for points as in `cdf`."""
        return like_given(1.0 - np.asarray(self.cdf(x)).ravel(), x)

    def isf(self, p: npt.ArrayLike) -> Any:
        """Return the smallest x with ``sf(x) <= p``, the quantile of ``1 - p``.

        Parameters
        ----------
        p : float or array of any shape
            In [0, 1].

        Returns
        -------
        float or ndarray

        Raises
        ------
        ArgumentError, NonFiniteError
            If p is outside of [0, 1] or NaN.
        """
        return like_given(np.asarray(self.quantile(1.0 - as_shares(p, name="p"))), p)

    def median(self) -> float:
        """Return the quantile of one half."""
        return float(self.quantile(0.5))

    def interval(self, confidence: float) -> Vector:
        """Return the two quantiles, shape (2,), with a mass of ``confidence``, a number in [0, 1], between them."""
        if np.ndim(confidence) != 0:
            raise ArgumentError(f"confidence must be one number in [0, 1], got {confidence!r}")
        mass = float(as_shares(confidence, name="confidence")[0])
        return np.asarray(self.quantile(np.array([0.5 * (1.0 - mass), 0.5 * (1.0 + mass)])))

    def mean(self) -> float:
        """Return the mean of the law."""
        return self.moment(1)

    def var(self) -> float:
        """Return the variance of the law, without the cancellation of a difference of moments."""
        center = self.mean()
        return self.expectation(lambda x: (x - center) ** 2)

    def std(self) -> float:
        """Return the standard deviation of the law."""
        return float(np.sqrt(self.var()))

    def moment(self, order: int) -> float:
        """Return the mean of ``x**order``; infinite where powers exceed every float64.

        Parameters
        ----------
        order : int
            At least 0.

        Raises
        ------
        ArgumentError
            If the order is no such integer.
        """
        power = as_count(order, name="order", least=0)
        with np.errstate(over="ignore"):
            return self.expectation(lambda x: x**power)

    def expectation(self, function: Callable[[Vector], Vector]) -> float:
        """Return the mean of a function, by quadrature.

        Parameters
        ----------
        function : callable
            Takes an array of points and returns its values there; smooth on every interval of the support.

        Notes
        -----
        About 500 values of the function for each interval.
        """
        total = sum(float(rule.weights @ function(rule.nodes)) for rule in self._rules)
        for location, mass in self.atoms:
            total += mass * float(function(np.array([location]))[0])
        return total

    def stieltjes(self, z: npt.ArrayLike) -> Any:
        """Return the Stieltjes transform ``m(z) = int dF(x)/(x - z)``.

        Parameters
        ----------
        z : complex or array of any shape
            On the real axis the result is the limit from above, where it exists: its imaginary part is pi times the
            density, and infinite on an atom.

        Returns
        -------
        complex or ndarray of complex128

        Raises
        ------
        ArgumentError
            If z are no numbers.
        NonFiniteError
            If one of them is NaN or infinite.
        """
        points = as_complex_points(z)
        total = self._continuous_stieltjes(points)
        for location, mass in self.atoms:
            on_atom = points == location
            term = mass / np.where(on_atom, 1.0, location - points)
            total = total + np.where(on_atom, complex(0.0, np.inf), term)
        return like_given(total, z)

    def sample(self, num: int, *, rng: int | np.random.Generator = 0) -> Vector:
        """Draw independent numbers from the law, which eigenvalues of one matrix are not.

        Parameters
        ----------
        num : int
            How many.
        rng : int or numpy.random.Generator
            Seed.

        Returns
        -------
        ndarray, shape (num,)

        Raises
        ------
        ArgumentError
            For a bad count or seed.

        Notes
        -----
        Quantiles of uniform numbers.
        """
        generator = np.random.default_rng(as_seed(rng))
        return np.asarray(self.quantile(generator.random(as_count(num, name="num"))))

    @cached_property
    def _rules(self) -> tuple[GradedRule, ...]:
        """Quadrature on every interval of the support."""
        return tuple(GradedRule(lambda x: np.asarray(self.pdf(x)), low, high) for low, high in self.support)

    def _continuous_cdf(self, x: Vector) -> Vector:
        """Return the mass of the continuous part up to x."""
        total = np.zeros(x.shape)
        for rule in self._rules:
            total += rule.mass_below(rule.angle(x))
        return total

    def _continuous_quantile(self, target: Vector) -> Vector:
        """Return the smallest x of the support with ``_continuous_cdf(x) >= target``."""
        ends = self._continuous_cdf(np.array([high for _, high in self.support]))
        interval = np.minimum(np.searchsorted(ends, target, side="left"), len(ends) - 1)
        found = np.empty(target.shape)
        for i, (low, high) in enumerate(self.support):
            here = interval == i
            if np.any(here):
                found[here] = self._quantile_within(low, high, target[here])
        return found

    def _quantile_within(self, low: float, high: float, target: Vector) -> Vector:
        """Return quantiles that lie in one interval: roots in the angle, where edges are no steep places."""

        def point(angle: Vector) -> Vector:
            return point_at(angle, low=low, high=high)

        bracket = np.zeros(target.shape), np.full(target.shape, np.pi)
        return point(increasing_root(lambda angle: self._continuous_cdf(point(angle)), *bracket, target=target))

    def _continuous_stieltjes(self, z: npt.NDArray[np.complex128]) -> npt.NDArray[np.complex128]:
        """Return the transform of the continuous part."""
        total = np.zeros(z.shape, dtype=np.complex128)
        for rule in self._rules:
            total += rule.stieltjes(z)
        return total
