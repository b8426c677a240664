r"""Sums, products and multiples of kernels, and the constant kernel: again kernels."""

import math
from dataclasses import dataclass
from typing import final

from spectra.errors import ArgumentError
from spectra.kernels.base import InputLaw, Kernel, dimension_at_least, positive_number
from spectra.protocols import Array

__all__ = ["Constant", "Product", "Scaled", "Sum"]


@final
@dataclass(frozen=True)
class Constant(Kernel):
    """The kernel of one constant feature: the same positive number for all pairs.

    Parameters
    ----------
    value : float
        Positive.

    Raises
    ------
    ArgumentError
        If it is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> Constant(2.0)(np.zeros((1, 3)), np.ones((2, 3))).tolist()
    [[2.0, 2.0]]
    """

    value: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", positive_number(self.value, name="value"))

    def decay_exponent(self, dimension: int) -> float:
        """Return infinity: one eigenvalue is positive."""
        dimension_at_least(dimension, 1)
        return math.inf

    def _block(self, X: Array, Y: Array) -> Array:
        return 0.0 * X[:, :1] + 0.0 * Y[:, :1].T + self.value

    def _diagonal(self, X: Array) -> Array:
        return 0.0 * X[:, 0] + self.value


@final
@dataclass(frozen=True, repr=False)
class Scaled(Kernel):
    """A kernel times a positive number.

    Parameters
    ----------
    kernel : Kernel
        To be multiplied.
    factor : float
        Positive.

    Raises
    ------
    ArgumentError
        If the factor is not positive.
    """

    kernel: Kernel
    factor: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "factor", positive_number(self.factor, name="the factor of a kernel"))

    def __repr__(self) -> str:
        return f"{self.factor:g} {_in_parentheses(self.kernel)}"

    @property
    def input_law(self) -> InputLaw:
        """That of the kernel."""
        return self.kernel.input_law

    def decay_exponent(self, dimension: int) -> float:
        """Return that of the kernel."""
        return self.kernel.decay_exponent(dimension)

    def _block(self, X: Array, Y: Array) -> Array:
        return self.factor * self.kernel._block(X, Y)

    def _diagonal(self, X: Array) -> Array:
        return self.factor * self.kernel._diagonal(X)


@dataclass(frozen=True, repr=False)
class _Pair(Kernel):
    """Two kernels."""

    left: Kernel
    right: Kernel

    @property
    def input_law(self) -> InputLaw:
        """The law for which the exponent of both parts holds.

        Raises
        ------
        ArgumentError
            If there is none, because one exponent holds on a region and the other on the sphere.
        """
        laws: set[InputLaw] = {self.left.input_law, self.right.input_law} - {"any"}
        if len(laws) == 2:
            raise ArgumentError(
                f"no exponent is known for {self!r}: those of its parts hold for inputs on a region and on the sphere"
            )
        return laws.pop() if laws else "any"

    def decay_exponent(self, dimension: int) -> float:
        """Return the smaller exponent of the two: the less smooth kernel decides.

        Raises
        ------
        ArgumentError
            If the exponents of the parts hold for different laws of the inputs.

        Notes
        -----
        For sums by Weyl's inequalities. For products derived here: the spectral density of a product is a convolution,
        whose tail is that of the heavier one.
        """
        _ = self.input_law
        return min(self.left.decay_exponent(dimension), self.right.decay_exponent(dimension))


@final
@dataclass(frozen=True, repr=False)
class Sum(_Pair):
    """The sum of two kernels.

    Parameters
    ----------
    left, right : Kernel
        Summands.

    Examples
    --------
    >>> import numpy as np
    >>> Sum(Constant(1.0), Constant(2.0))(np.zeros((1, 1))).tolist()
    [[3.0]]
    """

    def __repr__(self) -> str:
        return f"{self.left!r} + {self.right!r}"

    def _block(self, X: Array, Y: Array) -> Array:
        return self.left._block(X, Y) + self.right._block(X, Y)

    def _diagonal(self, X: Array) -> Array:
        return self.left._diagonal(X) + self.right._diagonal(X)


@final
@dataclass(frozen=True, repr=False)
class Product(_Pair):
    """The product of two kernels, which is one by Schur's theorem.

    Parameters
    ----------
    left, right : Kernel
        Factors.

    Examples
    --------
    >>> import numpy as np
    >>> Product(Constant(3.0), Constant(2.0))(np.zeros((1, 1))).tolist()
    [[6.0]]
    """

    def __repr__(self) -> str:
        return f"{_in_parentheses(self.left)} * {_in_parentheses(self.right)}"

    def _block(self, X: Array, Y: Array) -> Array:
        return self.left._block(X, Y) * self.right._block(X, Y)

    def _diagonal(self, X: Array) -> Array:
        return self.left._diagonal(X) * self.right._diagonal(X)


def _in_parentheses(kernel: Kernel) -> str:
    """Return a kernel as a factor."""
    return f"({kernel!r})" if isinstance(kernel, Sum) else repr(kernel)
