"""The semicircle law: eigenvalues of symmetric matrices with independent entries."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from spectra.errors import ArgumentError
from spectra.frozen import Vector, frozen_array
from spectra.laws.base import Intervals, Law
from spectra.laws.points import as_points, as_positive, like_given
from spectra.start_vectors import as_count

__all__ = ["Semicircle"]


@dataclass(frozen=True, kw_only=True)
class Semicircle(Law):
    """Law of the eigenvalues of a large symmetric n x n matrix of independent entries of variance ``variance / n``.

    The density is ``sqrt(4 variance - x^2) / (2 pi variance)`` on ``[-2 sqrt(variance), 2 sqrt(variance)]``.

    Parameters
    ----------
    variance : float
        n times the variance of the entries off the diagonal, positive; it is the variance of the law too.

    Raises
    ------
    ArgumentError
        If it is not positive or not finite.

    Notes
    -----
    Source: Wigner (1958).

    Examples
    --------
    >>> law = Semicircle()
    >>> law.support, law.cdf(0.0), law.moment(4)
    (((-2.0, 2.0),), 0.5, 2.0)
    """

    variance: float = 1.0

    def __post_init__(self) -> None:
        """Check the variance."""
        object.__setattr__(self, "variance", as_positive(self.variance, name="variance"))

    @property
    def _deviation(self) -> float:
        return float(np.sqrt(self.variance))

    @property
    def support(self) -> Intervals:
        """The interval from minus to plus two standard deviations."""
        return ((-2.0 * self._deviation, 2.0 * self._deviation),)

    @property
    def atoms(self) -> Intervals:
        """None."""
        return ()

    def pdf(self, x: npt.ArrayLike) -> Any:
        """Return ``sqrt(4 variance - x^2) / (2 pi variance)``, 0 outside the support.

        Parameters
        ----------
        x : float or array of any shape

        Returns
        -------
        float or ndarray
        """
        u = np.clip(as_points(x) / (2.0 * self._deviation), -1.0, 1.0)
        return like_given(np.sqrt((1.0 - u) * (1.0 + u)) / (np.pi * self._deviation), x)

    def moment(self, order: int) -> float:
        """Return a Catalan number times ``variance^(order / 2)``; odd moments are 0.

        Parameters
        ----------
        order : int
            At least 0.

        Raises
        ------
        ArgumentError
            If the order is no such integer.
        """
        half, odd = divmod(as_count(order, name="order", least=0), 2)
        # Factor by factor: infinite where it exceeds every float64, and no sooner.
        moment = 0.0 if odd else 1.0
        for i in range(half):
            moment = moment * (4 * i + 2) / (i + 2) * self.variance
        return moment

    @classmethod
    def fit(cls, eigenvalues: npt.ArrayLike) -> Self:
        """Return the law with the median modulus of the eigenvalues.

        Parameters
        ----------
        eigenvalues : array_like, shape (n,)
            Of a matrix with mean 0. Few outliers cannot move the median far.

        Raises
        ------
        ArgumentError
            If there are none, or half of them are 0.
        NonFiniteError
            If one is NaN or infinite.

        Notes
        -----
        Derived here.

        Examples
        --------
        >>> law = Semicircle(variance=3.0)
        >>> round(Semicircle.fit(law.quantile((np.arange(1000) + 0.5) / 1000)).variance, 4)
        3.0
        """
        values = frozen_array(eigenvalues, name="eigenvalues").ravel()
        middle = float(np.median(np.abs(values))) if values.size else 0.0
        if not middle > 0.0:
            raise ArgumentError(f"eigenvalues of which more than half are not 0 are required, got {values.size} values")
        deviation = middle / cls().quantile(0.75)
        return cls(variance=deviation * deviation)

    def _continuous_cdf(self, x: Vector) -> Vector:
        """Return ``1/2 + (u sqrt(1 - u^2) + arcsin u) / pi`` with ``u = x / (2 sqrt(variance))``."""
        u = np.clip(x / (2.0 * self._deviation), -1.0, 1.0)
        return 0.5 + (u * np.sqrt((1.0 - u) * (1.0 + u)) + np.arcsin(u)) / np.pi

    def _continuous_stieltjes(self, z: npt.NDArray[np.complex128]) -> npt.NDArray[np.complex128]:
        """Return ``-2 / (z + sqrt(z - 2 s) sqrt(z + 2 s))``, whose sum never cancels."""
        z = np.where(z.imag == 0.0, z.real + 0.0j, z)
        edge = 2.0 * self._deviation
        return -2.0 / (z + np.sqrt(z - edge) * np.sqrt(z + edge))
