"""Tracy-Widom laws: the largest eigenvalue of a large random matrix."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from numpy.polynomial import chebyshev

from spectra.errors import ArgumentError
from spectra.frozen import Vector
from spectra.laws.base import Intervals, Law
from spectra.laws.bracketing import increasing_root
from spectra.laws.graded_rule import GradedRule
from spectra.laws.points import as_points, as_shares, like_given
from spectra.laws.tracy_widom_table import JOINT, LEFT, LOG_CDF, LOG_SF, OFFSET, RIGHT

__all__ = ["TracyWidom"]

#: Outside of these ends less than 1e-28 of the mass is left, so that integrals may end there.
_INTEGRAL_ENDS = (-13.0, 24.0)
#: Quantiles of the smallest float64 number and its complement are between these ends.
_QUANTILE_ENDS = (-45.0, 140.0)
#: Points further out, infinity among them, are moved here, where the expansions do not overflow and masses are 0.
_FAR = 1e100
#: Logarithms of masses below those of any float64 number, which stand for that of 0 in root finding.
_LOG_OF_ZERO = -1e4


@dataclass(frozen=True, kw_only=True)
class TracyWidom(Law):
    """Law of the largest eigenvalue of a random symmetric matrix, centered and scaled.

    ``F_1(s) = det(1 - Ai((x + y)/2)/2)`` and ``F_2(s) = det(1 - K_Airy(x, y))``, Fredholm determinants on (s, inf).

    Parameters
    ----------
    beta : {1, 2}
        1 for real matrices, 2 for complex ones.

    Raises
    ------
    ArgumentError
        If beta is neither.

    Notes
    -----
    Evaluated from Chebyshev polynomials of the logarithm of the distribution function on [-10, -1] and of the survival
    function on [-1, 60], computed once from the determinants; both tails keep their relative accuracy of 1e-11
    (measured). Further out, where masses are below 1e-21 and 1e-136, the leading terms of the asymptotic expansions are
    continued from the ends of the table, at relative errors of 1e-5 (measured at -12 and 70).

    Source: Tracy and Widom (1994, 1996); Ferrari and Spohn (2005) and Bornemann (2010) for the determinants; Baik,
    Buckingham and DiFranco (2008) for the left tail.

    Examples
    --------
    >>> law = TracyWidom(beta=1)
    >>> round(law.quantile(0.95), 8), round(law.cdf(0.0), 10)
    (0.97931605, 0.8319080662)
    >>> f"{law.sf(10.0):.5e}"
    '1.70822e-11'
    """

    beta: Literal[1, 2] = 1

    def __post_init__(self) -> None:
        """Check beta."""
        if isinstance(self.beta, bool) or self.beta not in (1, 2):
            raise ArgumentError(f"beta must be 1 (real matrices) or 2 (complex matrices), got {self.beta!r}")
        object.__setattr__(self, "beta", int(self.beta))

    @property
    def support(self) -> Intervals:
        """The whole line."""
        return ((-np.inf, np.inf),)

    @property
    def atoms(self) -> Intervals:
        """None."""
        return ()

    def pdf(self, x: npt.ArrayLike) -> Any:
        """Return the density.

        Parameters
        ----------
        x : float or array of any shape

        Returns
        -------
        float or ndarray
        """
        s = as_points(x)
        left = s < JOINT
        inside = np.clip(s, -_FAR, _FAR)
        log_cdf, cdf_slope = self._left(np.where(left, inside, JOINT))
        log_sf, sf_slope = self._right(np.where(left, JOINT, inside))
        density = np.where(left, np.exp(log_cdf) * cdf_slope, -np.exp(log_sf) * sf_slope)
        return like_given(density, x)

    def sf(self, x: npt.ArrayLike) -> Any:
        """Return the survival function ``1 - cdf``, the p-value, without cancellation.

        Parameters
        ----------
        x : float or array of any shape

        Returns
        -------
        float or ndarray

        Examples
        --------
        >>> TracyWidom(beta=2).sf(40.0) > 0.0
        True
        """
        return like_given(np.exp(self._log_sf(as_points(x))), x)

    def log_sf(self, x: npt.ArrayLike) -> Any:
        """Return the natural logarithm of the survival function, which does not underflow.

        Parameters
        ----------
        x : float or array of any shape

        Returns
        -------
        float or ndarray
        """
        return like_given(self._log_sf(as_points(x)), x)

    def quantile(self, q: npt.ArrayLike) -> Any:
        """Return x with ``cdf(x) = q``; infinite for 0 and 1.

        Parameters
        ----------
        q : float or array of any shape
            In [0, 1]. For q close to 1 use `isf`.

        Returns
        -------
        float or ndarray

        Raises
        ------
        ArgumentError, NonFiniteError
            If q is outside of [0, 1] or NaN.
        """
        share = as_shares(q, name="q")
        return like_given(self._inverse(share, 1.0 - share), q)

    def isf(self, p: npt.ArrayLike) -> Any:
        """Return x with ``sf(x) = p``, to full accuracy for small p.

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

        Examples
        --------
        >>> law = TracyWidom(beta=1)
        >>> f"{law.sf(law.isf(1e-200)):.10g}"
        '1e-200'
        """
        tail = as_shares(p, name="p")
        return like_given(self._inverse(1.0 - tail, tail), p)

    @cached_property
    def _rules(self) -> tuple[GradedRule, ...]:
        return (GradedRule(lambda x: np.asarray(self.pdf(x)), *_INTEGRAL_ENDS),)

    def _continuous_cdf(self, x: Vector) -> Vector:
        log_cdf, _ = self._left(np.clip(x, -_FAR, JOINT))
        return np.where(x < JOINT, np.exp(log_cdf), -np.expm1(self._log_sf(np.maximum(x, JOINT))))

    def _log_sf(self, s: Vector) -> Vector:
        """Return the logarithm of the survival function."""
        log_cdf, _ = self._left(np.clip(s, -_FAR, JOINT))
        log_sf, _ = self._right(np.clip(s, JOINT, _FAR))
        with np.errstate(divide="ignore"):
            value = np.where(s < JOINT, np.log(-np.expm1(log_cdf)), log_sf)
        return np.where(s == np.inf, -np.inf, value)

    def _inverse(self, below: Vector, above: Vector) -> Vector:
        """Return the point with these masses below and above it; the smaller one counts."""
        found = np.empty(below.shape)
        left = below < float(self._continuous_cdf(np.array([JOINT]))[0])
        with np.errstate(divide="ignore"):
            log_below = np.maximum(np.log(below[left]), _LOG_OF_ZERO)
            log_above = np.maximum(np.log(above[~left]), _LOG_OF_ZERO)
        ends = np.full(log_below.shape, _QUANTILE_ENDS[0]), np.full(log_below.shape, JOINT)
        found[left] = increasing_root(lambda s: self._left(s)[0], *ends, target=log_below)
        ends = np.full(log_above.shape, JOINT), np.full(log_above.shape, _QUANTILE_ENDS[1])
        found[~left] = increasing_root(lambda s: -self._right(s)[0], *ends, target=-log_above)
        return np.where(below == 0.0, -np.inf, np.where(above == 0.0, np.inf, found))

    def _left(self, s: Vector) -> tuple[Vector, Vector]:
        """Return the logarithm of the distribution function up to the joint, and its derivative."""
        inside = np.clip(s, LEFT, JOINT)
        value, slope = _series(LOG_CDF[self.beta], inside, LEFT, JOINT)
        tail, tail_slope = self._left_expansion(np.maximum(-s, -LEFT))
        return value + tail - self._left_expansion(np.array(-LEFT))[0], np.where(s < LEFT, -tail_slope, slope)

    def _right(self, s: Vector) -> tuple[Vector, Vector]:
        """Return the logarithm of the survival function from the joint on, and its derivative."""
        root = np.sqrt(np.clip(s, JOINT, RIGHT) + OFFSET)
        value, slope = _series(LOG_SF[self.beta], root, float(np.sqrt(JOINT + OFFSET)), float(np.sqrt(RIGHT + OFFSET)))
        tail, tail_slope = self._right_expansion(np.maximum(s, RIGHT))
        total = value + tail - self._right_expansion(np.array(RIGHT))[0]
        return total, np.where(s > RIGHT, tail_slope, slope / (2.0 * root))

    def _left_expansion(self, u: Vector) -> tuple[Vector, Vector]:
        """Return ``log F(-u)`` up to a constant and order ``u^-3``, and its derivative in u."""
        if self.beta == 2:
            value = -(u**3) / 12.0 - np.log(u) / 8.0 + 3.0 / 64.0 * u**-3.0
            return value, -(u**2) / 4.0 - 0.125 / u - 9.0 / 64.0 * u**-4.0
        value = -(u**3) / 24.0 - u**1.5 / (3.0 * np.sqrt(2.0)) - np.log(u) / 16.0 - u**-1.5 / (24.0 * np.sqrt(2.0))
        slope = -(u**2) / 8.0 - np.sqrt(u) / (2.0 * np.sqrt(2.0)) - 0.0625 / u + u**-2.5 / (16.0 * np.sqrt(2.0))
        return value, slope

    def _right_expansion(self, s: Vector) -> tuple[Vector, Vector]:
        """Return ``log(1 - F(s))`` up to a constant and order ``s^-3``, and its derivative."""
        rate, power, third = 2.0 * self.beta / 3.0, 0.75 * self.beta, 41.0 / 48.0 if self.beta == 1 else 35.0 / 24.0
        value = -rate * s**1.5 - power * np.log(s) - third * s**-1.5
        return value, -1.5 * rate * np.sqrt(s) - power / s + 1.5 * third * s**-2.5


def _series(coefficients: tuple[float, ...], x: Vector, low: float, high: float) -> tuple[Vector, Vector]:
    """Return a Chebyshev series on [low, high], and its derivative."""
    t = np.clip((2.0 * x - (low + high)) / (high - low), -1.0, 1.0)
    slope = chebyshev.chebval(t, chebyshev.chebder(coefficients)) * (2.0 / (high - low))
    return np.asarray(chebyshev.chebval(t, coefficients), dtype=np.float64), np.asarray(slope, dtype=np.float64)
