r"""What every kernel function offers: blocks of its Gram matrix, the exact diagonal, sums, products, and its decay."""

import numbers
from abc import ABC, abstractmethod
from typing import Any, Literal, TypeAlias

from array_api_compat import device

from spectra.arrays import finite_number, namespace
from spectra.errors import ArgumentError
from spectra.kernels.pairwise import as_pair, as_points
from spectra.protocols import Array
from spectra.start_vectors import as_count

__all__ = ["InputLaw", "Kernel", "dimension_at_least", "nonnegative_number", "positive_number", "with_diagonal"]

InputLaw: TypeAlias = Literal["any", "region", "sphere"]
"""Where a decay exponent holds: for every law on a bounded set, for one with a density on a bounded region of R^d that
is bounded above and below, or for the uniform law on the unit sphere of R^d."""


class Kernel(ABC):
    r"""A positive semidefinite function :math:`k(x, y)` of two points.

    Kernels are immutable and equal if their parameters are. They can be added to and multiplied by each other and by
    positive numbers.

    Examples
    --------
    >>> import numpy as np
    >>> from spectra.kernels.stationary import RBF, Laplace
    >>> kernel = 2.0 * RBF(1.0) + Laplace(3.0)
    >>> kernel
    2 RBF(length_scale=1.0) + Laplace(length_scale=3.0)
    >>> kernel.diagonal(np.zeros((2, 5))).tolist()
    [3.0, 3.0]
    """

    # Without this NumPy would take a kernel for the scalar of an object array, in np.float64(2.0) * kernel for one.
    __array_ufunc__ = None

    def __call__(self, X: Array, Y: Array | None = None) -> Array:
        r"""Return the block :math:`k(x_i, y_j)` of a Gram matrix.

        Parameters
        ----------
        X : array, shape (n, d)
            Points in rows, float32 or float64; integers become float64.
        Y : array, shape (m, d), optional
            Of the same library, dtype and device. By default X.

        Returns
        -------
        array, shape (n, m)
            In the library and dtype of X and on its device. Without Y, or if Y is X, it is exactly symmetric, with the
            exact diagonal.

        Raises
        ------
        ShapeError, NonFiniteError, BackendError
            If the points are not usable or do not fit together.

        Notes
        -----
        O(n m d), and memory for a few blocks (n, m).
        """
        first, second = as_pair(X, Y)
        if second is not None:
            return self._block(first, second)
        block = self._block(first, first)
        return with_diagonal(0.5 * (block + block.T), self._diagonal(first))

    @property
    def input_law(self) -> InputLaw:
        """The law of the inputs for which :meth:`decay_exponent` holds, see :data:`InputLaw`."""
        return "any"

    def diagonal(self, X: Array) -> Array:
        """Return ``k(x_i, x_i)``, shape (n,), in O(n d); its sum is the exact trace of the Gram matrix.

        Raises
        ------
        ShapeError, NonFiniteError, BackendError
            If the points are not usable.
        """
        return self._diagonal(as_points(X))

    @abstractmethod
    def decay_exponent(self, dimension: int) -> float:
        r"""Return :math:`\alpha` of the eigenvalues :math:`\lambda_i \sim i^{-\alpha}` of the integral operator.

        Parameters
        ----------
        dimension : int
            d, the number of features. Inputs are distributed as `input_law` says; where they lie on a manifold in the
            region instead, its dimension counts.

        Returns
        -------
        float
            ``math.inf`` for decay that is faster than every power: exponential, or a finite number of eigenvalues.

        Raises
        ------
        ArgumentError
            If the dimension is too small.
        """

    @abstractmethod
    def _block(self, X: Array, Y: Array) -> Array:
        """Return the block for checked points."""

    @abstractmethod
    def _diagonal(self, X: Array) -> Array:
        """Return the diagonal for checked points."""

    def __add__(self, other: Any) -> "Kernel":
        """Return the sum with a kernel, or with a positive constant."""
        from spectra.kernels.composed import Constant, Sum

        if isinstance(other, numbers.Real):
            other = Constant(float(other))
        return Sum(self, other) if isinstance(other, Kernel) else NotImplemented

    def __mul__(self, other: Any) -> "Kernel":
        """Return the product with a kernel, or with a positive number."""
        from spectra.kernels.composed import Product, Scaled

        if isinstance(other, numbers.Real):
            return Scaled(self, float(other))
        return Product(self, other) if isinstance(other, Kernel) else NotImplemented

    def __radd__(self, other: Any) -> "Kernel":
        """Return the sum with a positive constant."""
        return self + other

    def __rmul__(self, other: Any) -> "Kernel":
        """Return the product with a positive number."""
        return self * other


def with_diagonal(block: Array, diagonal: Array) -> Array:
    """Return a square block with another diagonal."""
    xp = namespace(block)
    index = xp.arange(block.shape[0], device=device(block))
    return xp.where(index[:, None] == index[None, :], diagonal[:, None], block)


def positive_number(value: Any, *, name: str) -> float:
    """Return a finite number above 0, or raise ArgumentError."""
    number = finite_number(value, name=name)
    if not number > 0:
        raise ArgumentError(f"{name} must be positive, got {value!r}")
    return number


def nonnegative_number(value: Any, *, name: str) -> float:
    """Return a finite number of at least 0, or raise ArgumentError."""
    number = finite_number(value, name=name)
    if number < 0:
        raise ArgumentError(f"{name} must be at least 0, got {value!r}")
    return number


def dimension_at_least(dimension: int, least: int) -> int:
    """Return a checked number of features."""
    return as_count(dimension, name="dimension", least=least)
