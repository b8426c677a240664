r"""Kernels of the inner product :math:`x'y`: linear, polynomial, and those of infinitely wide ReLU networks."""

import math
from dataclasses import dataclass
from typing import final

from spectra.arrays import namespace
from spectra.errors import ArgumentError
from spectra.kernels.base import InputLaw, Kernel, dimension_at_least, nonnegative_number, positive_number
from spectra.kernels.versine import (
    angle,
    norms_with_bias,
    relu_mean,
    relu_mean_complement,
    sine,
    sizes_and_versines,
)
from spectra.protocols import Array
from spectra.start_vectors import as_count

__all__ = ["ArcCosine", "Linear", "NeuralTangent", "Polynomial"]


@final
@dataclass(frozen=True)
class Linear(Kernel):
    r"""Linear kernel :math:`x'y + c`.

    Parameters
    ----------
    offset : float
        c, at least 0.

    Raises
    ------
    ArgumentError
        If the offset is negative.

    Examples
    --------
    >>> import numpy as np
    >>> Linear(1.0)(np.array([[1.0, 2.0]])).tolist()
    [[6.0]]
    """

    offset: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "offset", nonnegative_number(self.offset, name="offset"))

    def decay_exponent(self, dimension: int) -> float:
        """Return infinity: at most d + 1 eigenvalues are positive."""
        dimension_at_least(dimension, 1)
        return math.inf

    def _block(self, X: Array, Y: Array) -> Array:
        return X @ Y.T + self.offset

    def _diagonal(self, X: Array) -> Array:
        return namespace(X).sum(X * X, axis=1) + self.offset


@final
@dataclass(frozen=True)
class Polynomial(Kernel):
    r"""Polynomial kernel :math:`(a\, x'y + c)^q`, by default with :math:`a = 1/d`.

    Parameters
    ----------
    degree : int
        q, at least 1.
    offset : float
        c, at least 0. With c > 0 the rank is :math:`\binom{d + q}{q}`.
    scale : float, optional
        a, positive; by default one over the number of features.

    Raises
    ------
    ArgumentError
        If a parameter is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> Polynomial(2)(np.array([[1.0, 1.0]])).tolist()
    [[4.0]]
    """

    degree: int = 3
    offset: float = 1.0
    scale: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "degree", as_count(self.degree, name="degree"))
        object.__setattr__(self, "offset", nonnegative_number(self.offset, name="offset"))
        if self.scale is not None:
            object.__setattr__(self, "scale", positive_number(self.scale, name="scale"))

    def decay_exponent(self, dimension: int) -> float:
        """Return infinity: the rank is finite."""
        dimension_at_least(dimension, 1)
        return math.inf

    def _block(self, X: Array, Y: Array) -> Array:
        return self._power((X * self._factor(X)) @ Y.T)

    def _diagonal(self, X: Array) -> Array:
        return self._power(namespace(X).sum(X * X, axis=1) * self._factor(X))

    def _factor(self, X: Array) -> float:
        return 1.0 / X.shape[1] if self.scale is None else self.scale

    def _power(self, product: Array) -> Array:
        """Return the power by squaring: several times faster than that of the libraries."""
        product += self.offset
        power, square, rest = None, product, self.degree
        while True:
            if rest % 2:
                power = square if power is None else power * square
            rest //= 2
            if rest == 0:
                return power
            square = square * square


@final
@dataclass(frozen=True)
class ArcCosine(Kernel):
    r"""Arc-cosine kernel of order n: twice the mean of ``relu(w'x)^n relu(w'y)^n`` over standard normal weights w.

    With :math:`\theta` the angle of the points :math:`(x, b)` and :math:`(y, b)` and :math:`q_x = |x|^2 + b^2`,

    .. math::

        k(x, y) = \frac{(q_x q_y)^{n/2}}{\pi} J_n(\theta), \quad J_0 = \pi - \theta, \quad
        J_1 = \sin\theta + (\pi - \theta) \cos\theta, \quad
        J_2 = 3 \sin\theta \cos\theta + (\pi - \theta)(1 + 2 \cos^2\theta),

    so that k(x, x) is 1, q and 3 q^2.

    Parameters
    ----------
    order : {1, 0, 2}
        n; 0 stands for a step function.
    bias : float
        b, the standard deviation of the bias of a neuron; at least 0.

    Raises
    ------
    ArgumentError
        If the order is none of these, or the bias is negative.

    Notes
    -----
    Cho and Saul (2009), equations 1 and 3 to 6. A zero point without bias is taken as orthogonal to all others. The
    exponent is derived here from the singularity :math:`\delta^{n + 1/2}` at equal points, and confirmed by quadrature
    on the sphere of R^3; without bias eigenvalues of one parity vanish, and the exponent is that of the others.

    Examples
    --------
    >>> import numpy as np
    >>> ArcCosine(1)(np.eye(2)).round(12).tolist()
    [[1.0, 0.318309886184], [0.318309886184, 1.0]]
    """

    order: int = 1
    bias: float = 0.0

    def __post_init__(self) -> None:
        if as_count(self.order, name="order", least=0) > 2:
            raise ArgumentError(f"order must be 0, 1 or 2, got {self.order!r}")
        object.__setattr__(self, "bias", nonnegative_number(self.bias, name="bias"))

    @property
    def input_law(self) -> InputLaw:
        """The uniform law on the unit sphere."""
        return "sphere"

    def decay_exponent(self, dimension: int) -> float:
        """Return ``(d + 2n)/(d - 1)``, for inputs that are uniform on the unit sphere of R^d."""
        d = dimension_at_least(dimension, 2)
        return (d + 2.0 * self.order) / (d - 1.0)

    def _block(self, X: Array, Y: Array) -> Array:
        xp = namespace(X)
        size, versine = sizes_and_versines(X, Y, self.bias)
        if self.order == 1:
            return xp.astype(size * relu_mean(versine), X.dtype)
        sin, theta = sine(versine), angle(versine)
        if self.order == 0:
            return xp.astype(1.0 - theta / math.pi, X.dtype)
        cos = 1.0 - versine
        block = (3.0 * sin * cos + (math.pi - theta) * (1.0 + 2.0 * cos * cos)) / math.pi
        return xp.astype(size * size * block, X.dtype)

    def _diagonal(self, X: Array) -> Array:
        if self.order == 0:
            return namespace(X).ones_like(X[:, 0])
        q = namespace(X).sum(X * X, axis=1) + self.bias**2
        return q if self.order == 1 else 3.0 * q * q


@final
@dataclass(frozen=True)
class NeuralTangent(Kernel):
    r"""Neural tangent kernel of an infinitely wide ReLU network, all of whose layers are trained.

    He scaling, :math:`h \leftarrow \sqrt{2/m}\, \mathrm{relu}(h) W + b \beta` with standard normal W and beta, and *no*
    1/d at the input. With the versine :math:`\delta` and :math:`\theta` of the layer before and
    :math:`\kappa_1 = (\sin\theta + (\pi - \theta)\cos\theta)/\pi`,

    .. math::

        S \leftarrow \sqrt{q_x q_y}\, \kappa_1 + b^2, \quad T \leftarrow T (\pi - \theta)/\pi + S, \quad
        q \leftarrow q + b^2,

    begun with :math:`T = S = a^2 x'y + b^2` and :math:`q_x = a^2 |x|^2 + b^2`.

    Parameters
    ----------
    num_hidden : int
        Number of hidden layers, at least 1.
    bias : float
        b, the standard deviation of the biases; at least 0.
    input_scale : float
        a, by which inputs are multiplied. Libraries that divide by the square root of the number of features have
        :math:`a = 1/\sqrt d`.

    Raises
    ------
    ArgumentError
        If a parameter is out of range.

    Notes
    -----
    Jacot, Gabriel and Hongler (2018), theorem 1, in another normalization. The recursion for the versine is derived
    here: for the next layer it is :math:`(b^2 (\sqrt{q_x} - \sqrt{q_y})^2/c + \sqrt{q_x q_y} (1 - \kappa_1))/
    \sqrt{q'_x q'_y}` with :math:`c = \sqrt{q'_x q'_y} + b^2 + \sqrt{q_x q_y}`, free of cancellation. Exponent: Geifman
    et al. (2020); Chen and Xu (2021): that of the Laplace kernel on the sphere, for every depth. Without bias the
    eigenvalues of one parity vanish for one hidden layer.

    Examples
    --------
    >>> import numpy as np
    >>> NeuralTangent(1)(np.array([[3.0, 4.0]])).tolist()
    [[50.0]]
    >>> NeuralTangent().decay_exponent(3)
    1.5
    """

    num_hidden: int = 1
    bias: float = 0.0
    input_scale: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "num_hidden", as_count(self.num_hidden, name="num_hidden"))
        object.__setattr__(self, "bias", nonnegative_number(self.bias, name="bias"))
        object.__setattr__(self, "input_scale", positive_number(self.input_scale, name="input_scale"))

    @property
    def input_law(self) -> InputLaw:
        """The uniform law on the unit sphere."""
        return "sphere"

    def decay_exponent(self, dimension: int) -> float:
        """Return ``d/(d - 1)``, for inputs that are uniform on the unit sphere of R^d."""
        d = dimension_at_least(dimension, 2)
        return d / (d - 1.0)

    def _block(self, X: Array, Y: Array) -> Array:
        xp, square = namespace(X), self.bias**2
        first = X * self.input_scale
        second = first if Y is X else Y * self.input_scale
        size, versine = sizes_and_versines(first, second, self.bias)
        left, right = norms_with_bias(first, self.bias), norms_with_bias(second, self.bias)
        tangent = size * (1.0 - versine)
        for layer in range(self.num_hidden):
            kappa = relu_mean(versine)
            tangent = tangent * (1.0 - angle(versine) / math.pi) + size * kappa + square
            if layer == self.num_hidden - 1:
                break
            complement = relu_mean_complement(versine)
            left_next, right_next = xp.sqrt(left * left + square), xp.sqrt(right * right + square)
            grown = left_next[:, None] * right_next[None, :]
            gap = left[:, None] - right[None, :]
            nonzero = xp.where(grown > 0, grown, xp.ones_like(grown))
            versine = (square * gap * gap / (nonzero + square + size) + size * complement) / nonzero
            left, right, size = left_next, right_next, grown
        return xp.astype(tangent, X.dtype)

    def _diagonal(self, X: Array) -> Array:
        X = X * self.input_scale
        q = namespace(X).sum(X * X, axis=1) + self.bias**2
        tangent = q
        for _ in range(self.num_hidden):
            q = q + self.bias**2
            tangent = tangent + q
        return tangent
