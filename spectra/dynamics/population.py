r"""The loss on the population, or on any other data: a quadratic function that training does not see."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from spectra.arrays import finite_number
from spectra.dynamics.quadratic import Quadratic
from spectra.errors import ArgumentError, ShapeError
from spectra.frozen import Vector, frozen_array

__all__ = ["Population"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Population:
    r"""A quadratic loss :math:`R(x) = R_* + (x - \bar x)^T S (x - \bar x) / 2`.

    For a linear model whose features have covariance S and whose targets are :math:`a \cdot \bar x` plus noise of
    variance :math:`\sigma^2`, it is the expected half square of the residual with :math:`R_* = \sigma^2 / 2`.

    Attributes
    ----------
    hessian : ndarray, shape (d, d)
        S, symmetric.
    minimizer : ndarray, shape (d,)
        :math:`\bar x`.
    floor : float
        :math:`R_*`.

    Raises
    ------
    ShapeError, NonFiniteError, ArgumentError
        If shapes do not fit, a number is not finite, or S is not symmetric.

    Examples
    --------
    >>> Population(hessian=np.eye(2), minimizer=np.ones(2), floor=0.5).risk(np.zeros(2))
    1.5
    """

    hessian: Vector
    minimizer: Vector
    floor: float = 0.0

    def __post_init__(self) -> None:
        """Check shapes and numbers."""
        hessian = frozen_array(self.hessian, name="hessian")
        minimizer = frozen_array(self.minimizer, name="minimizer")
        object.__setattr__(self, "floor", finite_number(self.floor, name="floor"))
        if minimizer.ndim != 1 or hessian.shape != 2 * minimizer.shape:
            raise ShapeError(
                f"hessian of shape (d, d) and minimizer of shape (d,) are needed; got {hessian.shape} and "
                f"{minimizer.shape}"
            )
        if np.max(np.abs(hessian - hessian.T)) > 1e-8 * np.max(np.abs(hessian)):
            raise ArgumentError("hessian must be symmetric")
        object.__setattr__(self, "hessian", hessian)
        object.__setattr__(self, "minimizer", minimizer)

    def risk(self, x: npt.ArrayLike) -> float:
        """Return R(x), x of shape (d,)."""
        error = np.asarray(x, dtype=np.float64) - self.minimizer
        return float(self.floor + 0.5 * error @ self.hessian @ error)

    def along(self, problem: Quadratic) -> Callable[[Vector, float, Vector], float]:
        r"""Return the expected risk as a function of mean coordinates, factor of the rest, and variances.

        :math:`\mathrm{E} R = R(\mathrm{E} x) + \tfrac12 \sum_j (v_j^T S v_j) \operatorname{Var}_j`: errors of
        different modes uncorrelated.
        """
        where = problem.coordinates
        assert where is not None
        if where.basis.shape[0] != self.minimizer.shape[0]:
            raise ShapeError(
                f"the population has {self.minimizer.shape[0]} parameters and the problem {where.basis.shape[0]}"
            )
        spread = np.sum(where.basis * (self.hessian @ where.basis), axis=0)

        def expected(position: Vector, rest: float, variance: Vector) -> float:
            return self.risk(where.basis @ position + rest * where.rest) + 0.5 * float(spread @ variance)

        return expected
