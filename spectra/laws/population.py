r"""A discrete law, such as the eigenvalues of a population covariance: finitely many values with their weights."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import roots_legendre

from spectra.arrays import finite_number
from spectra.errors import ArgumentError, ShapeError
from spectra.frozen import Vector, frozen_array
from spectra.laws.interval_angles import point_at
from spectra.laws.points import as_complex_points, as_points, as_positive, as_shares, like_given
from spectra.start_vectors import as_count, as_seed

__all__ = ["PopulationLaw", "as_population", "as_sample_model"]

#: Nodes of the quadrature per interval of a continuous law (design choice: the square roots at the edges are smooth in
#: the angle of the nodes, so that 128 reach rounding for the laws of this package away from hard edges).
NUM_NODES = 128
#: Mass that a continuous law may lack on its nodes before it is refused (design choice, far above rounding and far
#: below what would be seen in a plot).
LACK = 1e-3
#: Sums of weights that miss a share by less reach it: some roundings of a float64.
STEP_ROUNDING = 1e-14


@dataclass(frozen=True, kw_only=True, eq=False)
class PopulationLaw:
    r"""The law ``H = sum_k w_k delta(t_k)``.

    Parameters
    ----------
    values : array_like, shape (k,)
        The places ``t_k``, in units of the eigenvalues, in any order. Equal ones are merged.
    weights : array_like, shape (k,), optional
        Their weights, not negative; normalized to sum 1, and places of weight 0 are left out. By default all are equal,
        as for the eigenvalues of a matrix.

    Raises
    ------
    ShapeError
        If the arrays are not one-dimensional, of equal length and of at least one entry.
    ArgumentError, NonFiniteError
        If an entry is not a finite real number, a weight is negative, or all are 0.

    Examples
    --------
    >>> law = PopulationLaw(values=[3, 1, 3], weights=[1, 2, 1])
    >>> law.values.tolist(), law.weights.tolist(), law.moment(1)
    ([1.0, 3.0], [0.5, 0.5], 2.0)
    """

    values: Vector
    weights: Vector = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        """Sort, merge and normalize."""
        values = frozen_array(self.values, name="values")
        if values.ndim != 1 or values.size == 0:
            raise ShapeError(f"values must have shape (k,) with k at least 1; got shape {values.shape}")
        weights = np.ones(values.size) if self.weights is None else frozen_array(self.weights, name="weights")
        if weights.shape != values.shape:
            raise ShapeError(f"weights must have the shape of values, {values.shape}; got {weights.shape}")
        if np.any(weights < 0) or not np.any(weights > 0):
            raise ArgumentError("weights must not be negative, and one must be positive")
        places, index = np.unique(values, return_inverse=True)
        total = np.bincount(index.ravel(), weights=weights / np.max(weights), minlength=places.size)
        keep = total > 0
        object.__setattr__(self, "values", frozen_array(places[keep], name="values"))
        object.__setattr__(self, "weights", frozen_array(total[keep] / np.sum(total), name="weights"))

    @classmethod
    def from_law(cls, law: Any, *, num_nodes: int = NUM_NODES) -> "PopulationLaw":
        """Return the discrete law of a quadrature for ``law``.

        Parameters
        ----------
        law : Law
            With ``support``, ``atoms`` and ``pdf``.
        num_nodes : int
            Nodes on each interval of its support: Gauss-Legendre in the angle ``a`` of ``x = mid - half cos a``, where
            a density with square-root edges is smooth.

        Raises
        ------
        ArgumentError
            If the mass on the nodes is not 1 to 0.1 %: more nodes are needed, or the law is none; or if its support has
            no end.

        Examples
        --------
        >>> from spectra.laws import MarchenkoPastur
        >>> law = PopulationLaw.from_law(MarchenkoPastur(aspect_ratio=0.5))
        >>> law.values.size, round(law.moment(2), 12)
        (128, 1.5)
        """
        node, weight = roots_legendre(as_count(num_nodes, name="num_nodes"))
        angle = 0.5 * np.pi * (node + 1.0)
        places = [np.array([place for place, _ in law.atoms], dtype=np.float64)]
        masses = [np.array([mass for _, mass in law.atoms], dtype=np.float64)]
        for low, high in law.support:
            if not np.isfinite(high - low):
                raise ArgumentError(f"the law must end on both sides to be discretized; its support is {law.support}")
            x = point_at(angle, low=low, high=high)
            places.append(x)
            masses.append(0.25 * np.pi * (high - low) * weight * np.sin(angle) * np.asarray(law.pdf(x)))
        mass = np.concatenate(masses)
        if not abs(np.sum(mass) - 1.0) <= LACK:
            raise ArgumentError(
                f"the law must have mass 1 on {num_nodes} nodes per interval; got {np.sum(mass):.6g}: raise num_nodes"
            )
        return cls(values=np.concatenate(places), weights=np.maximum(mass, 0.0))

    @property
    def atoms(self) -> tuple[tuple[float, float], ...]:
        """Return pairs of place and weight, ascending."""
        return tuple(zip(self.values.tolist(), self.weights.tolist(), strict=True))

    @property
    def support(self) -> tuple[tuple[float, float], ...]:
        """Return the intervals of the continuous part: none."""
        return ()

    def moment(self, order: float) -> float:
        """Return ``sum_k w_k t_k^order``."""
        power = finite_number(order, name="order")
        if (power < 0.0 and np.any(self.values == 0.0)) or (power % 1.0 != 0.0 and self.values[0] < 0.0):
            raise ArgumentError(
                f"a law with the values {self.values.min()} to {self.values.max()} has no moment {power}"
            )
        with np.errstate(over="ignore"):
            return float(self.weights @ self.values**power)

    def cdf(self, x: npt.ArrayLike) -> Any:
        """Return the weight of all places up to ``x``, of the shape of ``x``."""
        steps = np.concatenate([[0.0], np.minimum(np.cumsum(self.weights), 1.0)])
        steps[-1] = 1.0
        return like_given(steps[np.searchsorted(self.values, as_points(x), side="right")], x)

    def quantile(self, q: npt.ArrayLike) -> Any:
        """Return the smallest place whose ``cdf`` reaches q, of the shape of ``q``; the lowest one for 0.

        Raises
        ------
        ArgumentError, NonFiniteError
            If q is outside of [0, 1] or NaN.
        """
        steps = np.cumsum(self.weights)
        place = np.searchsorted(steps + STEP_ROUNDING, as_shares(q, name="q"), side="left")
        return like_given(self.values[np.minimum(place, self.values.size - 1)], q)

    def mean(self) -> float:
        """Return the mean."""
        return self.moment(1)

    def var(self) -> float:
        """Return the variance."""
        return float(self.weights @ (self.values - self.mean()) ** 2)

    def std(self) -> float:
        """Return the standard deviation."""
        return float(np.sqrt(self.var()))

    def median(self) -> float:
        """Return the quantile of one half."""
        return float(self.quantile(0.5))

    def stieltjes(self, z: npt.ArrayLike) -> Any:
        r"""Return ``m(z) = sum_k w_k / (t_k - z)``, of the shape of ``z``; of infinite imaginary part at the places.

        Raises
        ------
        ArgumentError, NonFiniteError
            If z are no numbers, or one of them is NaN or infinite.
        """
        flat = as_complex_points(z)
        found = np.zeros(flat.shape, dtype=np.complex128)
        for place, weight in zip(self.values, self.weights, strict=True):
            at = flat == place
            found += np.where(at, complex(0.0, np.inf), weight / np.where(at, 1.0, place - flat))
        return like_given(found, z)

    def sample(self, num: int, *, rng: int | np.random.Generator = 0) -> Vector:
        """Return ``num`` independent draws, shape (num,), for a seed ``rng``."""
        generator = np.random.default_rng(as_seed(rng))
        return generator.choice(self.values, size=as_count(num, name="num"), p=self.weights)


def as_population(law: Any, *, num_nodes: int = NUM_NODES) -> PopulationLaw:
    """Return a discrete law for a discrete law, a continuous one, or the eigenvalues of a population matrix.

    Parameters
    ----------
    law : PopulationLaw, Law or array_like
        A law of this package, or eigenvalues, shape (p,), each of weight 1/p.
    num_nodes : int
        For continuous laws, see :meth:`PopulationLaw.from_law`.

    Raises
    ------
    ArgumentError, ShapeError, NonFiniteError
        If it is none of them.

    Examples
    --------
    >>> as_population([1.0, 1.0, 4.0]).weights.round(4).tolist()
    [0.6667, 0.3333]
    """
    if isinstance(law, PopulationLaw):
        return law
    if all(hasattr(law, name) for name in ("support", "atoms", "pdf")):
        return PopulationLaw.from_law(law, num_nodes=num_nodes)
    return PopulationLaw(values=law)


def as_sample_model(population: Any, *, aspect_ratio: float) -> tuple[PopulationLaw, float]:
    """Return a population without negative values and a positive ratio of dimension to samples.

    Raises
    ------
    ArgumentError
        If a value is negative or the ratio is not positive.
    """
    law = as_population(population)
    if law.values[0] < 0:
        raise ArgumentError(f"eigenvalues of a population covariance must not be negative; got {law.values[0]:.3g}")
    return law, as_positive(aspect_ratio, name="aspect_ratio")
