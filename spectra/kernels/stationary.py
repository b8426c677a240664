r"""Kernels of the distance :math:`r = |x - y|`: Gaussian, Laplace, Matérn, and periodic ones."""

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from array_api_compat import device

from spectra.arrays import as_array, is_array, namespace, to_host
from spectra.errors import ArgumentError
from spectra.kernels.base import InputLaw, Kernel, dimension_at_least, positive_number
from spectra.kernels.pairwise import squared_distances
from spectra.protocols import Array

__all__ = ["RBF", "Laplace", "Matern", "Periodic", "Stationary"]

#: Largest finite order: beyond it Bessel functions overflow where they matter, and the kernel is all but Gaussian.
LARGEST_NU = 50.0
#: Scaled squared distances beyond which every Matérn kernel is 0 in float64; products of larger ones would overflow.
FAR = 1e30
#: Largest argument of the Bessel function: the kernel is 0 there, while powers up to 50 are still finite.
LARGEST_ARGUMENT = 1e5


@dataclass(frozen=True)
class Stationary(Kernel):
    r"""A function of the scaled squared distance :math:`s = \sum_j (x_j - y_j)^2 / \ell_j^2`, with value 1 at 0."""

    length_scale: Any = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "length_scale", _length_scale(self.length_scale))

    @property
    def input_law(self) -> InputLaw:
        """Every law where the decay is exponential, else a density on a bounded region."""
        return "any" if self.decay_exponent(1) == math.inf else "region"

    @property
    def is_rough(self) -> bool:
        """Whether the function is not differentiable in the squared distance at 0, so that rounding there matters."""
        return False

    @abstractmethod
    def profile(self, squares: Array) -> Array:
        """Return the function of the scaled squared distances, an array that may be overwritten."""

    def features(self, X: Array) -> Array:
        """Return the points between which distances are taken."""
        return X

    def _block(self, X: Array, Y: Array) -> Array:
        first = self.features(X)
        second = first if Y is X else self.features(Y)
        return self.profile(squared_distances(first, second, scale=self.length_scale, precise=self.is_rough))

    def _diagonal(self, X: Array) -> Array:
        return namespace(X).ones_like(X[:, 0])


@final
@dataclass(frozen=True)
class RBF(Stationary):
    r"""Gaussian kernel :math:`\exp(-r^2 / 2\ell^2)`, also called radial basis function or squared exponential.

    Parameters
    ----------
    length_scale : float or sequence of d floats
        :math:`\ell`, in the unit of the inputs; one for each feature if there are several.

    Raises
    ------
    ArgumentError
        If a length scale is not positive.

    Notes
    -----
    Eigenvalues decay faster than every power. Under normal inputs they are known: Rasmussen and Williams (2006),
    section 4.3.1.

    Examples
    --------
    >>> import numpy as np
    >>> bool(np.isclose(RBF(2.0)(np.array([[0.0]]), np.array([[2.0]]))[0, 0], np.exp(-0.5)))
    True
    """

    def decay_exponent(self, dimension: int) -> float:
        """Return infinity: for normal inputs the logarithm falls like ``i^(1/d)``."""
        dimension_at_least(dimension, 1)
        return math.inf

    def profile(self, squares: Array) -> Array:
        """Return ``exp(-s/2)``."""
        return _gaussian(squares)


@final
@dataclass(frozen=True)
class Laplace(Stationary):
    r"""Laplace or exponential kernel :math:`\exp(-r/\ell)`, the Matérn kernel of order 1/2.

    Parameters
    ----------
    length_scale : float or sequence of d floats
        :math:`\ell`, in the unit of the inputs; one for each feature if there are several.

    Raises
    ------
    ArgumentError
        If a length scale is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> bool(np.isclose(Laplace(2.0)(np.array([[0.0]]), np.array([[2.0]]))[0, 0], np.exp(-1)))
    True
    >>> Laplace(2.0).decay_exponent(4)
    1.25
    """

    @property
    def is_rough(self) -> bool:
        """Always: the kernel falls linearly in r."""
        return True

    def decay_exponent(self, dimension: int) -> float:
        """Return ``1 + 1/d``, for inputs with a density on a region of dimension d."""
        return 1.0 + 1.0 / dimension_at_least(dimension, 1)

    def profile(self, squares: Array) -> Array:
        """Return ``exp(-sqrt(s))``."""
        xp = namespace(squares)
        return xp.exp(-xp.sqrt(squares))


@final
@dataclass(frozen=True)
class Matern(Stationary):
    r"""Matérn kernel :math:`\frac{2^{1-\nu}}{\Gamma(\nu)} t^\nu K_\nu(t)` with :math:`t = \sqrt{2\nu}\, r/\ell`.

    Parameters
    ----------
    length_scale : float or sequence of d floats
        :math:`\ell`, in the unit of the inputs; one for each feature if there are several.
    nu : float
        Order :math:`\nu`, at most 50, or ``math.inf`` for the Gaussian kernel. Functions of the space of the kernel
        have :math:`\nu + d/2` derivatives.

    Raises
    ------
    ArgumentError
        If a length scale or the order is not positive, or the order is finite and above 50.

    Notes
    -----
    Closed forms for 1/2, 3/2, 5/2 and infinity: Rasmussen and Williams (2006), section 4.2.1. Other orders need a
    Bessel function, evaluated by SciPy on the host in float64: 300 ns an entry instead of 4 (measured), and everything
    travels to the host and back. The exponent is that of Sobolev spaces of order nu + d/2.

    Examples
    --------
    >>> import numpy as np
    >>> x, y = np.array([[0.0]]), np.array([[1.0]])
    >>> bool(np.isclose(Matern(nu=1.5)(x, y)[0, 0], (1 + np.sqrt(3)) * np.exp(-np.sqrt(3))))
    True
    >>> Matern(nu=1.5).decay_exponent(1)
    4.0
    """

    nu: float = 1.5

    def __post_init__(self) -> None:
        super().__post_init__()
        nu = math.inf if np.ndim(self.nu) == 0 and self.nu == math.inf else positive_number(self.nu, name="nu")
        if LARGEST_NU < nu < math.inf:
            raise ArgumentError(f"nu must be at most {LARGEST_NU:g}, or math.inf for the Gaussian kernel; got {nu:g}")
        object.__setattr__(self, "nu", nu)

    @property
    def is_rough(self) -> bool:
        """For orders up to 1."""
        return self.nu <= 1.0

    def decay_exponent(self, dimension: int) -> float:
        """Return ``1 + 2 nu / d``, for inputs with a density on a region of dimension d."""
        return 1.0 + 2.0 * self.nu / dimension_at_least(dimension, 1)

    def profile(self, squares: Array) -> Array:
        """Return the closed form, or that with the Bessel function."""
        xp = namespace(squares)
        if self.nu == math.inf:
            return _gaussian(squares)
        if float(xp.max(squares)) > FAR:
            squares = xp.clip(squares, max=FAR)
        squares *= 2.0 * self.nu
        if self.nu == 2.5:
            t = xp.sqrt(squares)
            squares /= 3.0
            squares += t
            squares += 1.0
            return squares * xp.exp(-t)
        t = xp.sqrt(squares)
        if self.nu == 0.5:
            return xp.exp(-t)
        if self.nu == 1.5:
            return (1.0 + t) * xp.exp(-t)
        values = matern_bessel(to_host(t), self.nu)
        return xp.asarray(values, dtype=t.dtype, device=device(t))


@final
@dataclass(frozen=True)
class Periodic(Stationary):
    r"""Periodic kernel :math:`\exp(-2 \sum_j \sin^2(\pi (x_j - y_j)/p) / \ell_j^2)`.

    Parameters
    ----------
    length_scale : float or sequence of d floats
        :math:`\ell`, a pure number; one for each feature if there are several.
    period : float
        p, in the unit of the inputs.

    Raises
    ------
    ArgumentError
        If a parameter is not positive.

    Notes
    -----
    The Gaussian kernel of points on circles, one for each feature, and so positive semidefinite in all dimensions; a
    sine of the Euclidean distance is that in one dimension only. MacKay (1998) for one feature.

    Examples
    --------
    >>> import numpy as np
    >>> bool(np.isclose(Periodic(period=3.0)(np.array([[0.5]]), np.array([[6.5]]))[0, 0], 1.0))
    True
    """

    period: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "period", positive_number(self.period, name="period"))

    def decay_exponent(self, dimension: int) -> float:
        """Return infinity."""
        dimension_at_least(dimension, 1)
        return math.inf

    def features(self, X: Array) -> Array:
        """Return cosines and sines; angles are formed in float64."""
        xp = namespace(X)
        turn = xp.astype(X, xp.float64) / self.period
        angle = 2.0 * math.pi * (turn - xp.floor(turn))
        return xp.astype(xp.concat([xp.cos(angle), xp.sin(angle)], axis=1), X.dtype)

    def _block(self, X: Array, Y: Array) -> Array:
        first = self.features(X)
        second = first if Y is X else self.features(Y)
        scale = 2 * self.length_scale if isinstance(self.length_scale, tuple) else self.length_scale
        return self.profile(squared_distances(first, second, scale=scale))

    def profile(self, squares: Array) -> Array:
        """Return ``exp(-s/2)``."""
        return _gaussian(squares)


def matern_bessel(t: np.ndarray, nu: float) -> np.ndarray:
    r"""Return :math:`2^{1-\nu} t^\nu K_\nu(t) / \Gamma(\nu)` on the host, 1 at 0.

    Where the Bessel function overflows, for orders above 1 next to 0, ``1 - t^2 / 4(nu - 1)`` is exact to rounding.

    Examples
    --------
    >>> bool(np.isclose(matern_bessel(np.array(2.0), 0.5), np.exp(-2.0), rtol=1e-14))
    True
    """
    from scipy.special import gammaln, kve

    t = np.minimum(t, LARGEST_ARGUMENT)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        bessel = kve(nu, t)
        values = math.exp((1.0 - nu) * math.log(2.0) - float(gammaln(nu))) * t**nu * bessel * np.exp(-t)
    usable = np.isfinite(values) & np.isfinite(bessel) & (t > 0)
    series = 1.0 - (t * t / (4.0 * (nu - 1.0)) if nu > 1.0 else 0.0 * t)
    # Rounding of powers and Bessel functions of 1e-300 puts some values above 1, by up to 1e-13.
    return np.minimum(np.where(usable, values, series), 1.0)


def _gaussian(squares: Array) -> Array:
    """Return ``exp(-s/2)``."""
    squares *= -0.5
    return namespace(squares).exp(squares)


def _length_scale(given: Any) -> float | tuple[float, ...]:
    """Return one length scale as a float, several as a tuple."""
    values = to_host(given) if is_array(given) and not isinstance(given, np.ndarray | np.generic) else given
    shape = as_array(values, name="length_scale").shape
    if shape == ():
        return positive_number(values, name="length_scale")
    if len(shape) != 1 or 0 in shape:
        raise ArgumentError(f"length_scale must be a number or d numbers, got {given!r}")
    return tuple(positive_number(value, name="length_scale") for value in values)
