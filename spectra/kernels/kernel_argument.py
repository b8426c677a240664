"""A kernel from what a caller writes: a name, a kernel object, or any function of two sets of points."""

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from spectra.errors import ArgumentError, MissingExtraError, ShapeError
from spectra.kernels.base import Kernel, positive_number
from spectra.kernels.dot_product import ArcCosine, Linear, NeuralTangent, Polynomial
from spectra.kernels.length_scale import median_distance
from spectra.kernels.stationary import RBF, Laplace, Matern, Periodic

__all__ = ["KERNEL_NAMES", "KernelFunction", "PairwiseKernel", "kernel_block", "kernel_parameters", "resolve_kernel"]

KernelFunction: TypeAlias = Callable[[Any, Any], Any]
"""``kernel(X, Y)`` returns the block of shape (len(X), len(Y))."""


@dataclass(frozen=True)
class PairwiseKernel:
    """A kernel of ``sklearn.metrics.pairwise`` by name, for those that this package does not have.

    Parameters
    ----------
    name : str
        As scikit-learn names it.
    parameters : tuple of (str, value)
        Keywords.

    Raises
    ------
    MissingExtraError
        When it is called, if scikit-learn is not installed.

    Examples
    --------
    >>> PairwiseKernel("laplacian", (("gamma", 0.5),))
    PairwiseKernel(name='laplacian', parameters=(('gamma', 0.5),))
    """

    name: str
    parameters: tuple[tuple[str, Any], ...] = ()

    def __call__(self, X: Any, Y: Any = None) -> np.ndarray:
        """Return the block of shape (len(X), len(Y)), on the host."""
        try:
            from sklearn.metrics.pairwise import pairwise_kernels
        except ImportError as error:
            raise MissingExtraError(
                f"the kernel {self.name!r} is that of scikit-learn, which is not installed; pip install scikit-learn, "
                f"or use one of {', '.join(name for name in KERNEL_NAMES if name not in _SKLEARN)}"
            ) from error
        return pairwise_kernels(X, Y, metric=self.name, **dict(self.parameters))


@dataclass(frozen=True, kw_only=True)
class _Named:
    """How a name becomes a kernel: what builds it, its own keywords, and further names of theirs."""

    build: Callable[..., KernelFunction]
    keywords: tuple[str, ...] = ()
    aliases: Mapping[str, str]
    takes_distance: bool = False


def _rbf(*, gamma: float | None = None, length_scale: Any = 1.0) -> RBF:
    """Return the Gaussian kernel ``exp(-gamma r^2)``."""
    return RBF(length_scale if gamma is None else 1 / math.sqrt(2 * positive_number(gamma, name="gamma")))


def _pairwise(name: str, **parameters: Any) -> PairwiseKernel:
    """Return a kernel of scikit-learn."""
    return PairwiseKernel(name, tuple(sorted(parameters.items())))


_POLYNOMIAL = _Named(
    build=Polynomial, keywords=("degree", "offset", "scale"), aliases={"coef0": "offset", "gamma": "scale"}
)
_TANGENT = _Named(build=NeuralTangent, keywords=("num_hidden", "bias", "input_scale"), aliases={})
_SKLEARN = {
    "cosine": _Named(build=functools.partial(_pairwise, "cosine"), aliases={}),
    "laplacian": _Named(build=functools.partial(_pairwise, "laplacian"), keywords=("gamma",), aliases={}),
    "sigmoid": _Named(build=functools.partial(_pairwise, "sigmoid"), keywords=("gamma", "coef0"), aliases={}),
}
_KERNELS = {
    "rbf": _Named(build=_rbf, keywords=("length_scale", "gamma"), aliases={}, takes_distance=True),
    "laplace": _Named(build=Laplace, keywords=("length_scale",), aliases={}, takes_distance=True),
    "matern": _Named(build=Matern, keywords=("length_scale", "nu"), aliases={}, takes_distance=True),
    "periodic": _Named(build=Periodic, keywords=("length_scale", "period"), aliases={}),
    "linear": _Named(build=Linear, keywords=("offset",), aliases={}),
    "polynomial": _POLYNOMIAL,
    "poly": _POLYNOMIAL,
    "arc-cosine": _Named(build=ArcCosine, keywords=("order", "bias"), aliases={}),
    "neural-tangent": _TANGENT,
    "ntk": _TANGENT,
    **_SKLEARN,
}

KERNEL_NAMES: tuple[str, ...] = tuple(_KERNELS)
"""Names that :func:`resolve_kernel` knows; the last three need scikit-learn."""


def kernel_parameters(name: str) -> tuple[str, ...]:
    """Return the keywords that a kernel of this name takes.

    Raises
    ------
    ArgumentError
        For a name that is not known; lists those that are.

    Examples
    --------
    >>> kernel_parameters("matern")
    ('length_scale', 'nu')
    """
    named = _named(name)
    return (*named.keywords, *named.aliases)


def resolve_kernel(
    kernel: str | KernelFunction, X: Any = None, parameters: Mapping[str, Any] | None = None
) -> KernelFunction:
    """Return the kernel that a name, an object or a function stands for.

    Parameters
    ----------
    kernel : str or callable
        A name of :data:`KERNEL_NAMES`; a :class:`spectra.kernels.base.Kernel`; or any function that takes X of shape
        (n, d) and Y of shape (m, d) and returns a block of shape (n, m). scikit-learn's convention, a function of two
        single rows, is not this one.
    X : array, shape (n, d), optional
        Data. A kernel of the distance that is named without a length scale gets the median distance of its rows.
    parameters : mapping, optional
        Keywords of the named kernel, see :func:`kernel_parameters`; or of the function. scikit-learn's names are
        understood: ``gamma`` and ``coef0`` of the polynomial kernel, ``gamma`` of the Gaussian one.

    Returns
    -------
    callable
        A Kernel but for names of scikit-learn and functions.

    Raises
    ------
    ArgumentError
        For a name or a keyword that is not known, both lists given; or where a length scale is needed and cannot be
        found.

    Notes
    -----
    ``"laplace"`` is the kernel of the Euclidean distance, ``"laplacian"`` scikit-learn's of the sum of absolute
    differences. ``"rbf"``, ``"polynomial"`` and ``"linear"`` with ``gamma``, ``degree`` and ``coef0`` are
    scikit-learn's to rounding, but for the default of ``gamma`` in ``"rbf"``.

    Examples
    --------
    >>> resolve_kernel("laplace", np.array([[0.0], [1.0], [3.0]]))
    Laplace(length_scale=2.0)
    >>> resolve_kernel("rbf", parameters={"gamma": 0.5})
    RBF(length_scale=1.0)
    """
    given = {} if parameters is None else dict(parameters)
    if not isinstance(kernel, str):
        if not callable(kernel):
            raise ArgumentError(f"kernel must be a name, a Kernel or a function of X and Y; got {kernel!r}")
        if given and isinstance(kernel, Kernel):
            raise ArgumentError(
                f"{kernel!r} holds its parameters itself; got {', '.join(sorted(given))} besides. Set them there"
            )
        return functools.partial(kernel, **given) if given else kernel
    named = _named(kernel)
    keywords: dict[str, Any] = {}
    for key, value in given.items():
        own = named.aliases.get(key, key)
        if own not in named.keywords:
            known = ", ".join(kernel_parameters(kernel)) or "none"
            raise ArgumentError(f"the kernel {kernel!r} has no parameter {key!r}; it has {known}")
        if own in keywords:
            raise ArgumentError(f"{key!r} of the kernel {kernel!r} is given under two names")
        keywords[own] = value
    if "gamma" in keywords and "length_scale" in keywords:
        raise ArgumentError("gamma and length_scale are the same parameter: gamma = 1 / (2 length_scale^2); give one")
    if named.takes_distance and not keywords.keys() & {"gamma", "length_scale"}:
        if X is None:
            raise ArgumentError(f"the kernel {kernel!r} needs a length_scale, or data to take the median distance of")
        keywords["length_scale"] = median_distance(X)
    return named.build(**keywords)


def kernel_block(kernel: KernelFunction | str, X: np.ndarray, Y: np.ndarray) -> np.ndarray:
    """Return ``kernel(X, Y)`` on the host, after checking its shape; X itself where it is "precomputed".

    Raises
    ------
    ShapeError
        If the function does not return one number for each pair of rows.

    Examples
    --------
    >>> kernel_block(Linear(), np.eye(2), np.eye(2)[:1]).tolist()
    [[1.0], [0.0]]
    """
    if isinstance(kernel, str):
        return X
    block = np.asarray(kernel(X, Y))
    if block.shape != (len(X), len(Y)):
        raise ShapeError(f"kernel(X, Y) must have shape ({len(X)}, {len(Y)}); got {block.shape}")
    return block


def _named(name: str) -> _Named:
    """Return what is known about a name."""
    if name not in _KERNELS:
        raise ArgumentError(f"kernel must be one of {', '.join(KERNEL_NAMES)}, a Kernel or a function; got {name!r}")
    return _KERNELS[name]
