"""The Jacobi law: the share of one sample covariance in the sum of two."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from spectra.errors import ArgumentError
from spectra.laws.base import Intervals
from spectra.laws.points import as_eigenvalues, as_positive
from spectra.laws.root_over_poles import RootOverPoles

__all__ = ["Jacobi"]


@dataclass(frozen=True, kw_only=True)
class Jacobi(RootOverPoles):
    """Law of the eigenvalues of ``A (A + B)^-1``, ``A = X1 X1'`` and ``B = X2 X2'`` of shapes (p, n1) and (p, n2).

    Squared canonical correlations and the overlaps of two random subspaces follow it. With ``y1 = p/n1``, ``y2 =
    p/n2``, ``c = p/(n1 + n2)`` and ``d = n1/(n1 + n2)`` the edges are ``(sqrt(d (1 - c)) -+ sqrt(c (1 - d)))^2`` and
    the density is ``sqrt((b - x)(x - a)) / (2 pi c x (1 - x))``; for y1 > 1 there is an atom at 0, for y2 > 1 at 1.

    Parameters
    ----------
    first_ratio, second_ratio : float
        Dimensions over samples of A and of B, ``y1`` and ``y2``, positive, with ``1/y1 + 1/y2 > 1``: beyond, the sum
        has no inverse.

    Raises
    ------
    ArgumentError
        If a ratio is not positive or the sum has no inverse.

    Notes
    -----
    Also called MANOVA. Source: Wachter (1980). The atoms follow from the ranks of A and B and were checked by the mass
    of the density and by samples.

    Examples
    --------
    >>> law = Jacobi(first_ratio=0.5, second_ratio=0.5)
    >>> round(law.quantile(0.5), 12), round(law.moment(1), 12)
    (0.5, 0.5)
    >>> Jacobi(first_ratio=0.5, second_ratio=1.25).atoms
    ((1.0, 0.2),)
    """

    first_ratio: float
    second_ratio: float

    def __post_init__(self) -> None:
        """Check the ratios."""
        for name in ("first_ratio", "second_ratio"):
            object.__setattr__(self, name, as_positive(getattr(self, name), name=name))
        inverse = 1.0 / self.first_ratio + 1.0 / self.second_ratio
        if not inverse > 1.0:
            raise ArgumentError(
                f"1/first_ratio + 1/second_ratio must be above 1 for A + B to be regular, got {inverse}"
            )

    @classmethod
    def fit(cls, eigenvalues: npt.ArrayLike) -> Self:
        """Return the law with the mean ``d`` and the variance ``d (1 - d) c`` of the eigenvalues.

        Parameters
        ----------
        eigenvalues : array_like, shape (p,)
            All of them, between 0 and 1 but for rounding, zeros and ones included; outliers removed.

        Raises
        ------
        ArgumentError
            If one is not between 0 and 1, or no such law has these moments.
        NonFiniteError
            If one is NaN or infinite.

        Notes
        -----
        The ratios are sizes, which are usually known: a fit that differs shows that the model does not hold. Derived
        here from the moments of two free projections.

        Examples
        --------
        >>> law = Jacobi(first_ratio=0.5, second_ratio=0.25)
        >>> found = Jacobi.fit(law.quantile((np.arange(4000) + 0.5) / 4000))
        >>> round(found.first_ratio, 3), round(found.second_ratio, 3)
        (0.5, 0.25)
        """
        values, rounding = as_eigenvalues(eigenvalues)
        if values.size == 0 or np.min(values) < -rounding or np.max(values) > 1.0 + rounding:
            raise ArgumentError("eigenvalues between 0 and 1, at least one, are required (rounding beyond is allowed)")
        mean, variance = float(np.mean(values)), float(np.var(values))
        if not (0.0 < mean < 1.0 and variance > 0.0):
            raise ArgumentError("eigenvalues that differ are required: equal ones have no aspect ratio")
        share = variance / (mean * (1.0 - mean))
        return cls(first_ratio=share / mean, second_ratio=share / (1.0 - mean))

    @property
    def support(self) -> Intervals:
        """The interval ``(sqrt(d (1 - c)) -+ sqrt(c (1 - d)))^2``."""
        (to_low, _), (_, to_high) = self._edge_distances
        return ((to_low, 1.0 - to_high),)

    @property
    def atoms(self) -> Intervals:
        """Mass ``1 - 1/y1`` at 0 if y1 > 1, and ``1 - 1/y2`` at 1 if y2 > 1."""
        at_zero = ((0.0, 1.0 - 1.0 / self.first_ratio),) if self.first_ratio > 1.0 else ()
        at_one = ((1.0, 1.0 - 1.0 / self.second_ratio),) if self.second_ratio > 1.0 else ()
        return at_zero + at_one

    @property
    def _poles(self) -> Intervals:
        coefficient = 0.5 * (1.0 / self.first_ratio + 1.0 / self.second_ratio)
        return ((0.0, coefficient), (1.0, -coefficient))

    @property
    def _edge_distances(self) -> Intervals:
        y1, y2 = self.first_ratio, self.second_ratio
        total = y1 + y2
        excess = y1 + y2 - y1 * y2
        # d(1-c), c(1-d), their sum's complement; differences of squares keep the relative accuracy of the near edge
        first, second = y2 * excess / total**2, y1**2 * y2 / total**2
        third, fourth = y1 * y2**2 / total**2, y1 * excess / total**2
        low = (y2 * (1.0 - y1) / total / (np.sqrt(first) + np.sqrt(second))) ** 2
        high = (np.sqrt(first) + np.sqrt(second)) ** 2
        from_high = (y1 * (1.0 - y2) / total / (np.sqrt(third) + np.sqrt(fourth))) ** 2
        from_low = (np.sqrt(third) + np.sqrt(fourth)) ** 2
        return ((float(low), float(high)), (float(from_low), float(from_high)))
