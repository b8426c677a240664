"""The Marchenko-Pastur law: eigenvalues of the covariance of independent samples."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from spectra.arrays import finite_number
from spectra.errors import ArgumentError
from spectra.start_vectors import as_count

__all__ = ["MarchenkoPastur"]


@dataclass(frozen=True, kw_only=True)
class MarchenkoPastur:
    """Law of the eigenvalues of ``A'A / num_samples`` for a large matrix of independent entries.

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
    Source: Marchenko and Pastur (1967).

    Examples
    --------
    >>> law = MarchenkoPastur(aspect_ratio=0.25)
    >>> law.smallest, law.largest
    (0.25, 2.25)
    """

    aspect_ratio: float
    variance: float = 1.0

    def __post_init__(self) -> None:
        """Check the parameters."""
        for name in ("aspect_ratio", "variance"):
            value = finite_number(getattr(self, name), name=name)
            if not value > 0:
                raise ArgumentError(f"{name} must be positive, got {value!r}")
            object.__setattr__(self, name, value)

    @property
    def smallest(self) -> float:
        """Lower edge ``variance (1 - sqrt r)^2`` of the bulk: the smallest eigenvalue that is not 0."""
        return self.variance * (1.0 - float(np.sqrt(self.aspect_ratio))) ** 2

    @property
    def largest(self) -> float:
        """Upper edge ``variance (1 + sqrt r)^2``."""
        return self.variance * (1.0 + float(np.sqrt(self.aspect_ratio))) ** 2

    def nodes(self, num_nodes: int) -> npt.NDArray[np.float64]:
        """Return the nodes of Gauss quadrature against ``x dmu(x)``, shape (num_nodes,), ascending.

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
        """
        angle = self._angles(num_nodes)
        return self.variance * 2.0 / (num_nodes + 1) * np.sin(angle) ** 2 / self.nodes(num_nodes)

    @staticmethod
    def _angles(num_nodes: int) -> npt.NDArray[np.float64]:
        count = as_count(num_nodes, name="num_nodes")
        return np.pi * np.arange(1, count + 1) / (count + 1)
