r"""The Gram matrix of a kernel as an operator: multiplied tile by tile, never stored; points may lie on disk.

A product evaluates tiles above and on the diagonal only. A tile serves as itself and as its transpose, and all columns
of the block that is multiplied, for evaluating the kernel is what costs.
"""

import itertools
from collections.abc import Callable
from typing import Any, final

import numpy as np
from array_api_compat import device

from spectra.arrays import describe, detach, is_array, namespace, require_real
from spectra.errors import ArgumentError, BackendError, ShapeError
from spectra.exchange import device_name, library_of
from spectra.kernels.base import Kernel
from spectra.kernels.pairwise import as_points, is_alike
from spectra.protocols import Array
from spectra.start_vectors import as_count
from spectra.symmetric import Operator

__all__ = ["kernel_diagonal", "kernel_operator"]

#: Points in a tile by default, on the host: a tile and its temporaries stay in the cache. Of 400 to 1000 points, 500 to
#: 760 are equally fast (scripts/benchmarks/kernel_operator.py). No power of 2, whose transposes are slow.
HOST_BLOCK = 600
#: The same elsewhere: about six tiles of float64 are 200 MB (design choice, not measured).
DEVICE_BLOCK = 2048
#: Points of a tile from which only the diagonal is wanted, for functions that are no `Kernel`.
DIAGONAL_BLOCK = 64

KernelFunction = Callable[[Array, Array], Array]


def kernel_operator(
    kernel: Kernel | KernelFunction, X: Any, *, block: int | None = None, like: Array | None = None
) -> Operator:
    r"""Return the operator :math:`V \mapsto K V` with :math:`K_{ij} = k(x_i, x_j)`, without forming K.

    Parameters
    ----------
    kernel : Kernel or callable
        A callable maps two arrays of points (a, d), (b, d) to the (a, b) array of their kernel values, of the same
        library, dtype and device. It must be symmetric, ``k(X, Y) == k(Y, X).T``, which is not checked here.
    X : array, shape (n, d), or anything with ``shape``, ``dtype`` and slices of rows
        Points. A NumPy memmap, a zarr array or an HDF5 data set is read from disk a block of rows at a time, during
        each product; never as a whole.
    block : int, optional
        Points in a tile. By default 600 on the host and 2048 elsewhere. Memory is about six tiles of ``block**2``
        numbers (measured: 12 for arc-cosine and tangent kernels and Matérn kernels with a Bessel function), and the
        block of columns twice.
    like : array, optional
        Of any shape: what library, dtype and device to compute in, if not those of X; blocks of rows are moved there.
        Needed only for points that are NumPy arrays or on disk. By default files of integers and float64 are
        multiplied in float64, others in float32, with NumPy.

    Returns
    -------
    Operator
        Of order n. Its facts name the kernel, the block and the number of features.

    Raises
    ------
    ShapeError
        If the points are no (n, d) array, or the kernel returns a block of another shape.
    NonFiniteError
        If a coordinate is NaN or infinite; for points on disk during the product that reads it.
    BackendError
        If the points are no array, or do not fit ``like``, or the kernel returns something else.
    ArgumentError
        If the kernel cannot be called, or block is no positive integer.

    Notes
    -----
    n(n + block)/2 evaluations of the kernel for all columns together, and 2 n^2 floating-point operations for each.
    Measured for n = 12000, d = 10 on one core: 32 columns cost 1.5 to 2.2 times one, and a third to a half of what they
    cost with whole rows of K. Multiply blocks of 32 columns or so, never one vector after the other. Points on disk are
    read ``n / (2 block)`` times over in each product: choose larger blocks for slow disks.

    Examples
    --------
    >>> from spectra.kernels.stationary import RBF
    >>> X = np.random.default_rng(0).standard_normal((50, 3))
    >>> A = kernel_operator(RBF(2.0), X, block=16)
    >>> V = np.ones((50, 4))
    >>> bool(np.allclose(A @ V, RBF(2.0)(X) @ V)), A.shape
    (True, (50, 50))
    """
    points = _Points(X, like)
    function = _checked(kernel, points)
    size = min(points.num, _block(block, points.like))
    edges = [*range(0, points.num, size), points.num]
    xp = namespace(points.like)

    def multiply(V: Array) -> Array:
        sums: list[Any] = [None] * (len(edges) - 1)
        parts = [V[begin:end, :] for begin, end in itertools.pairwise(edges)]
        for i in range(len(parts)):
            first = points.rows(edges[i], edges[i + 1])
            for j in range(i, len(parts)):
                second = first if j == i else points.rows(edges[j], edges[j + 1])
                tile = function(first, second)
                sums[i] = _plus(sums[i], tile @ parts[j])
                if j > i:
                    sums[j] = _plus(sums[j], tile.T @ parts[i])
        return xp.concat(sums, axis=0)

    facts = {"kernel": _name(kernel), "kernel_block": str(size), "num_features": str(points.num_features)}
    return Operator(multiply, like=points.template(), name=f"Gram matrix of {_name(kernel)}", facts=lambda: facts)


def kernel_diagonal(
    kernel: Kernel | KernelFunction, X: Any, *, block: int | None = None, like: Array | None = None
) -> Array:
    """Return the exact diagonal of the Gram matrix, shape (n,), whose sum is the trace.

    Parameters
    ----------
    kernel, X, block, like
        As for :func:`kernel_operator`.

    Raises
    ------
    ShapeError, NonFiniteError, BackendError, ArgumentError
        As for :func:`kernel_operator`.

    Notes
    -----
    O(n d) for a `Kernel`; other functions are evaluated in tiles of 64 points, of which the diagonal is kept.

    Examples
    --------
    >>> from spectra.kernels.dot_product import Linear
    >>> kernel_diagonal(Linear(), np.array([[3.0, 4.0], [1.0, 0.0]])).tolist()
    [25.0, 1.0]
    """
    points = _Points(X, like)
    function = _checked(kernel, points)
    xp = namespace(points.like)
    size = _block(block, points.like)
    if not isinstance(kernel, Kernel):
        size = min(size, DIAGONAL_BLOCK)
    parts = []
    for begin in range(0, points.num, size):
        rows = points.rows(begin, min(begin + size, points.num))
        parts.append(kernel.diagonal(rows) if isinstance(kernel, Kernel) else xp.linalg.diagonal(function(rows, rows)))
    return xp.concat(parts)


@final
class _Points:
    """Points in rows, in memory or not, that are handed out a block of rows at a time."""

    def __init__(self, X: Any, like: Array | None) -> None:
        stored = isinstance(X, np.memmap) or (not is_array(X) and hasattr(X, "shape") and hasattr(X, "dtype"))
        if isinstance(X, np.ma.MaskedArray):
            stored = False
        shape = tuple(getattr(X, "shape", ()))
        if stored and (len(shape) != 2 or 0 in shape):
            raise ShapeError(f"X must have shape (n, d), at least one point and feature, got shape {shape}")
        self._source = X if stored else as_points(X)
        self.num, self.num_features = int(shape[0]), int(shape[1])
        if like is None:
            like = np.zeros(1, dtype=_stored_dtype(X)) if stored else self._source[:1, 0]
        if not is_array(like):
            raise BackendError(f"like must be an array, got {type(like).__name__}")
        require_real(like, what="like")
        self.like = like
        on_host = stored or library_of(self._source) == "numpy"
        self._moves = stored or not is_alike(self._source, like)
        if self._moves and not on_host:
            raise BackendError(
                f"only points of NumPy or on disk are moved to another library, dtype or device; X is "
                f"{describe(self._source)}, like is {describe(like)}: convert one of them"
            )

    def rows(self, begin: int, end: int) -> Array:
        """Return the points ``begin`` to ``end - 1``."""
        part = self._source[begin:end, :]
        if not self._moves:
            return part
        xp = namespace(self.like)
        # A copy: a slice of a memmap is a window to the file, and PyTorch warns of arrays that it must not write to.
        return as_points(xp.asarray(np.array(part), dtype=self.like.dtype, device=device(self.like)))

    def template(self) -> Array:
        """Return a vector (n,) of the kind in which products are formed."""
        return namespace(self.like).zeros(self.num, dtype=self.like.dtype, device=device(self.like))


def _stored_dtype(X: Any) -> Any:
    """Return the dtype in which points on disk are multiplied by default."""
    dtype = np.dtype(X.dtype)
    if dtype.kind not in "biuf":
        raise BackendError(f"X must hold real numbers, got dtype {dtype}")
    return np.float32 if dtype.kind == "f" and dtype.itemsize <= 4 else np.float64


def _block(block: int | None, like: Array) -> int:
    """Return the number of points in a tile."""
    if block is not None:
        return as_count(block, name="block")
    return HOST_BLOCK if device_name(like) == "cpu" else DEVICE_BLOCK


def _checked(kernel: Any, points: _Points) -> KernelFunction:
    """Return a kernel function that raises if it returns something else than a block; it is tried on one point."""
    if not callable(kernel):
        raise ArgumentError(f"a Kernel, or a function of two arrays of points, is required; got {kernel!r}")

    def function(X: Array, Y: Array) -> Array:
        block = kernel(X, Y)
        shape = (X.shape[0], Y.shape[0])
        if not is_array(block) or not is_alike(block, X):
            came = describe(block) if is_array(block) else type(block).__name__
            raise BackendError(f"{_name(kernel)} must return arrays like its points, {describe(X)}; got {came}")
        if tuple(block.shape) != shape:
            raise ShapeError(f"{_name(kernel)} must return a block of shape {shape}, got {describe(block)}")
        return detach(block)

    first = points.rows(0, 1)
    function(first, first)
    return function


def _name(kernel: Any) -> str:
    """Return a name for messages."""
    return repr(kernel) if isinstance(kernel, Kernel) else str(getattr(kernel, "__name__", type(kernel).__name__))


def _plus(total: Any, term: Array) -> Array:
    """Return a sum that may be absent, in place."""
    if total is None:
        return term
    total += term
    return total
