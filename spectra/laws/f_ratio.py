"""The law of F matrices: one sample covariance in units of another."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from spectra.arrays import finite_number
from spectra.errors import ArgumentError
from spectra.laws.base import Intervals, Law
from spectra.laws.points import as_eigenvalues, as_points, as_positive, like_given
from spectra.laws.root_over_poles import LARGEST_TERM, RootOverPoles

__all__ = ["FRatio"]


@dataclass(frozen=True, kw_only=True)
class FRatio(RootOverPoles):
    """Law of the eigenvalues of ``(X1 X1'/n1) (X2 X2'/n2)^-1``, X1 and X2 independent of shapes (p, n1) and (p, n2).

    With ``y1 = p/n1``, ``y2 = p/n2`` and ``h = sqrt(y1 + y2 - y1 y2)`` the edges are ``((1 -+ h)/(1 - y2))^2`` and the
    density is ``(1 - y2) sqrt((b - x)(x - a)) / (2 pi x (y1 + y2 x))``; for y1 > 1 there is an atom at 0.

    Parameters
    ----------
    first_ratio : float
        Dimensions over samples of the numerator, ``y1``, positive.
    second_ratio : float
        Dimensions over samples of the denominator, ``y2``, in (0, 1): beyond, it has no inverse.

    Raises
    ------
    ArgumentError
        If a ratio is outside of its range.

    Notes
    -----
    Source: Wachter (1980); Bai and Silverstein (2010). The atom was checked by its mass and by samples.

    Examples
    --------
    >>> law = FRatio(first_ratio=2.0, second_ratio=0.5)
    >>> law.atoms, round(law.cdf(law.support[0][1]), 12)
    (((0.0, 0.5),), 1.0)
    """

    first_ratio: float
    second_ratio: float

    def __post_init__(self) -> None:
        """Check the ratios."""
        first = as_positive(self.first_ratio, name="first_ratio")
        second = finite_number(self.second_ratio, name="second_ratio")
        if not 0.0 < second < 1.0:
            raise ArgumentError(f"second_ratio must be in (0, 1) for the inverse to exist, got {second!r}")
        object.__setattr__(self, "first_ratio", first)
        object.__setattr__(self, "second_ratio", second)

    @classmethod
    def fit(cls, eigenvalues: npt.ArrayLike) -> Self:
        """Return the law with the mean ``1/(1 - y2)`` and the variance ``(y1 + y2 - y1 y2)/(1 - y2)^3``.

        Parameters
        ----------
        eigenvalues : array_like, shape (p,)
            All of them, at least 0 but for rounding, zeros included; outliers removed.

        Raises
        ------
        ArgumentError
            If one is negative, or no such law has these moments.
        NonFiniteError
            If one is NaN or infinite.

        Notes
        -----
        The ratios are sizes, which are usually known: a fit that differs shows that the model does not hold. Derived
        here.

        Examples
        --------
        >>> law = FRatio(first_ratio=0.5, second_ratio=0.25)
        >>> found = FRatio.fit(law.quantile((np.arange(4000) + 0.5) / 4000))
        >>> round(found.first_ratio, 2), round(found.second_ratio, 2)
        (0.5, 0.25)
        """
        values, rounding = as_eigenvalues(eigenvalues)
        if values.size == 0 or np.min(values) < -rounding:
            raise ArgumentError("eigenvalues of at least 0, at least one, are required (rounding below 0 is allowed)")
        with np.errstate(over="ignore"):
            mean, variance = float(np.mean(values)), float(np.var(values))
        second = 1.0 - 1.0 / mean if mean > 0.0 else 0.0
        first = (variance * (1.0 - second) ** 3 - second) / (1.0 - second) if 0.0 < second < 1.0 else 0.0
        if not (0.0 < second < 1.0 and first > 0.0):
            raise ArgumentError(
                f"an F law has a mean above 1, and no smaller variance than that of infinitely many samples above: got "
                f"mean {mean:.6g} and variance {variance:.6g}"
            )
        return cls(first_ratio=first, second_ratio=second)

    @property
    def support(self) -> Intervals:
        """The interval ``((1 -+ h)/(1 - y2))^2``."""
        first, second = self.first_ratio, self.second_ratio
        h = float(np.sqrt(first + second - first * second))
        # 1 - h^2 = (1 - y1)(1 - y2), so that the lower edge has full relative accuracy
        return ((((1.0 - first) / (1.0 + h)) ** 2, ((1.0 + h) / (1.0 - second)) ** 2),)

    @property
    def atoms(self) -> Intervals:
        """Mass ``1 - 1/y1`` at 0 if y1 > 1."""
        return ((0.0, 1.0 - 1.0 / self.first_ratio),) if self.first_ratio > 1.0 else ()

    def pdf(self, x: npt.ArrayLike) -> Any:
        """Return the density of the continuous part, 0 outside the support.

        Parameters
        ----------
        x : float or array of any shape

        Returns
        -------
        float or ndarray
            Infinite at a lower edge of 0.

        Notes
        -----
        Not from the sum over poles, which cancels where x is far above ``y1 / y2``.
        """
        points = as_points(x)
        (low, high), density = self.support[0], np.zeros(points.shape)
        inside = (points >= low) & (points <= high)
        here = points[inside]
        share = (1.0 - self.second_ratio) / (self.first_ratio + self.second_ratio * here)
        with np.errstate(divide="ignore", invalid="ignore"):
            root = np.sqrt(high - here) * np.sqrt(here - low) / (2.0 * np.pi * here)
        density[inside] = share * np.where(here == 0.0, np.inf, root)
        return like_given(density, x)

    def _continuous_stieltjes(self, z: npt.NDArray[np.complex128]) -> npt.NDArray[np.complex128]:
        """Return the transform of the continuous part, by quadrature where the terms of both poles cancel."""
        if self._largest_term > LARGEST_TERM:
            return Law._continuous_stieltjes(self, z)
        return super()._continuous_stieltjes(z)

    @property
    def _poles(self) -> Intervals:
        coefficient = 0.5 * (1.0 - self.second_ratio) / self.first_ratio
        return ((0.0, coefficient), (-self.first_ratio / self.second_ratio, -coefficient))

    @property
    def _edge_distances(self) -> Intervals:
        (low, high), pole = self.support[0], self.first_ratio / self.second_ratio
        return ((low, high), (low + pole, high + pole))
