"""The Marchenko-Pastur law: eigenvalues of the covariance of independent samples."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from spectra.errors import ArgumentError
from spectra.laws.base import Intervals
from spectra.laws.points import as_eigenvalues, as_positive
from spectra.laws.root_over_poles import RootOverPoles
from spectra.start_vectors import as_count

__all__ = ["MarchenkoPastur"]


@dataclass(frozen=True, kw_only=True)
class MarchenkoPastur(RootOverPoles):
    """Law of the eigenvalues of ``A'A / num_samples`` for a large matrix of independent entries.

    On ``[variance (1 - sqrt r)^2, variance (1 + sqrt r)^2]``, with the edges a and b and the aspect ratio r, the
    density is ``sqrt((b - x)(x - a)) / (2 pi r variance x)``; for r > 1 there is an atom at 0.

    Parameters
    ----------
    aspect_ratio : float
        Parameters over samples, positive. Above 1 a share ``1 - 1/aspect_ratio`` of the eigenvalues is 0.
    variance : float
        Variance of the entries, which is the mean of the law.

    Raises
    ------
    ArgumentError
        If a parameter is not positive or not finite.

    Notes
    -----
    Distribution function, transform and moments are closed forms. The median is below the mean: for r = 1 and variance
    1 it is 0.653, not 1. Eigenvalues of matrices that are not divided by the number of samples, and ratios that count
    samples over parameters, must be converted first.

    Source: Marchenko and Pastur (1967). Distribution function: derived here; equal to quadrature to 1e-13 (measured).

    Examples
    --------
    >>> law = MarchenkoPastur(aspect_ratio=0.25)
    >>> law.smallest, law.largest
    (0.25, 2.25)
    >>> round(law.quantile(0.5), 6), law.moment(2)
    (0.916004, 1.25)
    >>> MarchenkoPastur(aspect_ratio=2.5).cdf(0.0)
    0.6
    """

    aspect_ratio: float
    variance: float = 1.0

    def __post_init__(self) -> None:
        """Check the parameters."""
        for name in ("aspect_ratio", "variance"):
            object.__setattr__(self, name, as_positive(getattr(self, name), name=name))

    @property
    def smallest(self) -> float:
        """Lower edge ``variance (1 - sqrt r)^2`` of the bulk: the smallest eigenvalue that is not 0."""
        return self.variance * (1.0 - float(np.sqrt(self.aspect_ratio))) ** 2

    @property
    def largest(self) -> float:
        """Upper edge ``variance (1 + sqrt r)^2``."""
        return self.variance * (1.0 + float(np.sqrt(self.aspect_ratio))) ** 2

    @property
    def support(self) -> Intervals:
        """The interval [smallest, largest]."""
        return ((self.smallest, self.largest),)

    @property
    def atoms(self) -> Intervals:
        """Mass ``1 - 1/r`` at 0 if r > 1."""
        return ((0.0, 1.0 - 1.0 / self.aspect_ratio),) if self.aspect_ratio > 1.0 else ()

    def moment(self, order: int) -> float:
        """Return ``variance^k sum_{i<k} r^i / (i + 1) C(k, i) C(k - 1, i)`` for order k.

        Parameters
        ----------
        order : int
            At least 0.

        Raises
        ------
        ArgumentError
            If the order is no such integer.

        Notes
        -----
        Source: Bai and Silverstein (2010).
        """
        k = as_count(order, name="order", least=0)
        # Factor by factor: infinite, not an error, where a power exceeds every float64.
        term, total, power = 1.0, 0.0 if k else 1.0, 1.0
        for i in range(k):
            total += term
            term = term * (k - i) * (k - i - 1) / ((i + 1) * (i + 2)) * self.aspect_ratio
            power *= self.variance
        return power * total

    @classmethod
    def fit(cls, eigenvalues: npt.ArrayLike, *, aspect_ratio: float | None = None) -> Self:
        """Return the law that fits eigenvalues.

        Parameters
        ----------
        eigenvalues : array_like, shape (p,)
            Nonnegative. With a known aspect ratio, those that are 0 may be missing.
        aspect_ratio : float, optional
            Parameters over samples. If it is given, the variance follows from the median of the eigenvalues that are
            not 0, which few outliers cannot move far. Otherwise both parameters follow from the first two moments of
            all the eigenvalues, zeros included: ``variance = mean`` and ``r = mean of squares / mean^2 - 1``. Outliers
            must be taken out before.

        Raises
        ------
        ArgumentError
            If an eigenvalue is negative, all are 0, or, for an unknown aspect ratio, all are equal.
        NonFiniteError
            If one is NaN or infinite.

        Notes
        -----
        Eigenvalues below ``p eps`` times the largest count as 0, eps that of the dtype given. Derived here; moments of
        p eigenvalues are off by order 1/p.

        Examples
        --------
        >>> law = MarchenkoPastur(aspect_ratio=0.5, variance=3.0)
        >>> x = law.quantile((np.arange(1000) + 0.5) / 1000)
        >>> round(MarchenkoPastur.fit(x, aspect_ratio=0.5).variance, 5), round(MarchenkoPastur.fit(x).aspect_ratio, 3)
        (3.0, 0.5)
        """
        values, rounding = as_eigenvalues(eigenvalues)
        largest = float(np.max(values, initial=0.0))
        if not largest > 0.0 or np.min(values) < -rounding:
            raise ArgumentError("eigenvalues must be nonnegative and not all 0 (rounding below 0 is allowed)")
        relative = values / largest
        if aspect_ratio is not None:
            unit = cls(aspect_ratio=aspect_ratio)
            at_zero = sum(mass for _, mass in unit.atoms)
            middle = unit.quantile(at_zero + 0.5 * (1.0 - at_zero))
            positive = values[values > rounding]
            return cls(aspect_ratio=aspect_ratio, variance=float(np.median(positive)) / middle)
        mean = float(np.mean(relative))
        ratio = float(np.mean((relative / mean - 1.0) ** 2))
        if not ratio > 0.0:
            raise ArgumentError("eigenvalues must differ to tell the aspect ratio; pass aspect_ratio")
        return cls(aspect_ratio=ratio, variance=mean * largest)

    def nodes(self, num_nodes: int) -> npt.NDArray[np.float64]:
        """Return the nodes of Gauss quadrature against ``x dmu(x)``, shape (num_nodes,), ascending.

        Parameters
        ----------
        num_nodes : int
            At least 1.

        Returns
        -------
        ndarray, shape (num_nodes,)
            Inside the bulk, in units of the variance.

        Raises
        ------
        ArgumentError
            If the number is no positive integer.

        Notes
        -----
        O(num_nodes); with the `weights` of as many nodes. Derived here.

        Examples
        --------
        The second moment of the law is ``1 + r``.

        >>> law = MarchenkoPastur(aspect_ratio=0.5)
        >>> round(float(law.weights(3) @ law.nodes(3) ** 2), 12)
        1.5
        """
        angle = self._angles(num_nodes)
        root = np.sqrt(self.aspect_ratio)
        return self.variance * ((1.0 - root) ** 2 + 4.0 * root * np.sin(0.5 * angle) ** 2)

    def weights(self, num_nodes: int) -> npt.NDArray[np.float64]:
        """Return weights, shape (num_nodes,), for integrals of functions that vanish at 0 against the law.

        Exact for polynomials of degree up to ``2 num_nodes`` without a constant term: ``x dmu(x)`` is a semicircle,
        whose quadrature is Gauss-Chebyshev of the second kind.

        Parameters
        ----------
        num_nodes : int
            At least 1.

        Returns
        -------
        ndarray, shape (num_nodes,)
            Of the `nodes`, in their order; without a unit.

        Raises
        ------
        ArgumentError
            If the number is no positive integer.

        Notes
        -----
        O(num_nodes). The sum is below the mass off 0, by what nodes cannot see of ``1/x`` near 0. Derived here.

        Examples
        --------
        The mean of the law is its variance parameter, and one node tells it.

        >>> law = MarchenkoPastur(aspect_ratio=0.5, variance=3.0)
        >>> round(float(law.weights(1) @ law.nodes(1)), 12)
        3.0
        """
        angle = self._angles(num_nodes)
        return self.variance * 2.0 / (num_nodes + 1) * np.sin(angle) ** 2 / self.nodes(num_nodes)

    @staticmethod
    def _angles(num_nodes: int) -> npt.NDArray[np.float64]:
        count = as_count(num_nodes, name="num_nodes")
        return np.pi * np.arange(1, count + 1) / (count + 1)

    @property
    def _poles(self) -> Intervals:
        return ((0.0, 0.5 / (self.aspect_ratio * self.variance)),)

    @property
    def _edge_distances(self) -> Intervals:
        return ((self.smallest, self.largest),)
