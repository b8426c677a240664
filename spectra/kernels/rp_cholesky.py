r"""Randomly pivoted Cholesky: a low-rank approximation of a Gram matrix from a few of its columns.

A column is drawn with a probability proportional to what its diagonal entry has left, and taken out, again and again.
k columns cost n k entries of K, against n^2 for a product with it.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from array_api_compat import device

from spectra.arrays import as_array, describe, detach, dtype_name, eps, is_array, namespace, require_real, to_host
from spectra.errors import ArgumentError, BackendError, NonFiniteError, ShapeError
from spectra.kernels.gram_input import as_gram
from spectra.kernels.low_rank import LowRank
from spectra.kernels.pivoted_factor import pivoted_factor, require_diagonal
from spectra.protocols import Array
from spectra.start_vectors import as_count

__all__ = ["rp_cholesky", "rp_cholesky_of_gram"]

#: Candidates drawn at once. 128 keep the products with the factor so far efficient (design choice).
BLOCK = 128
#: Samples at a time whose k(x, x) are found from a block of the kernel, where it has no method for them.
SQUARE = 64


def rp_cholesky(
    kernel: Callable[..., Array],
    X: Any,
    *,
    num_columns: int,
    tolerance: float = 0.0,
    block: int = BLOCK,
    rng: int | np.random.Generator = 0,
) -> LowRank:
    r"""Approximate the Gram matrix of a kernel by randomly pivoted Cholesky, from k of its columns.

    Pivots follow the distribution of the plain algorithm: i with probability :math:`r_i / \sum_j r_j`, where r is the
    diagonal of K - FF' at that moment. They are drawn a block at a time and thinned out by rejection.

    Parameters
    ----------
    kernel : callable
        ``kernel(X, Y)`` returns the matrix of k(x_i, y_j); if it has a method ``diagonal(X)``, that is used.
    X : array of any library, shape (n, d)
        Samples. They are taken as float64, so that float32 data costs no accuracy.
    num_columns : int
        k at most; no more than n are used.
    tolerance : float
        Stop where the residual trace is at most this share of the trace of K.
    block : int
        Pivots drawn at once. It changes which random numbers are used, not their distribution.
    rng : int or numpy.random.Generator
        Seed.

    Returns
    -------
    LowRank
        With fewer columns where the residual has fallen to rounding.

    Raises
    ------
    ArgumentError
        For a wrong call, or if the kernel is not positive semidefinite.
    ShapeError
        If X is not two-dimensional, or the kernel returns another shape than (n, m).
    NonFiniteError
        If a sample or an entry of K is NaN or infinite.
    NotSymmetricError
        If the kernel is not symmetric on the pivots.
    BackendError
        If the kernel returns something else than real arrays of the library of X.

    Notes
    -----
    About n k entries of K, 2 n k^2 operations, and k + 1 vectors of storage. Captures a spectrum that decays fast to
    rounding, and of a power law the largest eigenvalues only.

    Source: Chen, Epperly, Tropp and Webber (2022), arXiv 2207.06503; rejection: Epperly, Tropp and Webber (2024), arXiv
    2410.03969. In rejection sampling every pivot is positive, so that no jitter is needed, which would ruin the factor
    where the residual is close to rounding.

    Examples
    --------
    The kernel of a line has rank 2.

    >>> X = np.linspace(0.0, 1.0, 50)[:, None]
    >>> found = rp_cholesky(lambda X, Y: 1.0 + X @ Y.T, X, num_columns=10)
    >>> found.num_columns, found.stop, bool(found.residual_trace < 1e-12 * found.trace)
    (2, 'rounding', True)
    """
    if not callable(kernel):
        raise ArgumentError(f"kernel must be a function of two arrays of points; got {kernel!r}")
    samples = _samples(X)
    xp, n = namespace(samples), samples.shape[0]
    count = as_count(block, name="block")
    precision = eps(_values(kernel, samples[:1, :], samples[:1, :]))

    def columns(index: np.ndarray, rows: np.ndarray | None = None) -> Array:
        """Return K[rows, index] in float64, all rows by default."""
        chosen = _take(samples, index)
        found = _values(kernel, samples if rows is None else _take(samples, rows), chosen)
        same = xp.asarray((np.arange(n) if rows is None else rows)[:, None] == index[None, :], device=device(samples))
        return xp.where(same, xp.asarray(diagonal[index], device=device(samples)), xp.astype(found, xp.float64))

    if hasattr(kernel, "diagonal"):
        diagonal = to_host(kernel.diagonal(samples))
        if diagonal.shape != (n,):
            raise ShapeError(f"kernel.diagonal(X) must return an array of shape {(n,)}; got {diagonal.shape}")
        extra = n
    else:
        parts = [samples[begin : min(begin + SQUARE, n), :] for begin in range(0, n, SQUARE)]
        diagonal = np.concatenate([np.diagonal(to_host(_values(kernel, part, part))) for part in parts])
        extra = sum(int(part.shape[0]) ** 2 for part in parts)
    require_diagonal(diagonal, precision)
    return pivoted_factor(
        columns,
        diagonal,
        like=samples,
        num_columns=num_columns,
        tolerance=tolerance,
        block=count,
        rng=rng,
        precision=precision,
        extra=extra,
    )


def rp_cholesky_of_gram(
    K: Any,
    *,
    num_columns: int,
    tolerance: float = 0.0,
    block: int = BLOCK,
    rng: int | np.random.Generator = 0,
) -> LowRank:
    """Approximate a Gram matrix that is at hand; see :func:`rp_cholesky`.

    Parameters
    ----------
    K : array of any library, shape (n, n)
        See :func:`spectra.kernels.gram_input.as_gram`. Works on the host.
    num_columns, tolerance, block, rng
        As for :func:`rp_cholesky`.

    Returns
    -------
    LowRank

    Raises
    ------
    ArgumentError, ShapeError, NonFiniteError, NotSymmetricError, BackendError
        For a wrong call, or no Gram matrix.

    Examples
    --------
    >>> found = rp_cholesky_of_gram(np.ones((4, 4)), num_columns=4)
    >>> found.num_columns, found.eigenvalue.round(12).tolist()
    (1, [4.0])
    """
    matrix, precision = as_gram(K)
    require_diagonal(np.diag(matrix), precision)

    def columns(index: np.ndarray, rows: np.ndarray | None = None) -> Array:
        """Return K[rows, index], all rows by default."""
        return matrix[:, index] if rows is None else matrix[np.ix_(rows, index)]

    return pivoted_factor(
        columns,
        np.diag(matrix).copy(),
        like=matrix,
        num_columns=num_columns,
        tolerance=tolerance,
        block=as_count(block, name="block"),
        rng=rng,
        precision=precision,
        extra=0,
    )


def _samples(X: Any) -> Array:
    """Return samples of shape (n, d) as float64."""
    array = detach(as_array(X, name="X"))
    kind = dtype_name(array.dtype)
    if not kind.startswith(("float", "int", "uint", "bool")):
        raise ArgumentError(f"X must hold real numbers; got {kind}")
    if array.ndim != 2 or 0 in array.shape:
        raise ShapeError(f"X must have shape (n, d), at least one sample; got {tuple(array.shape)}")
    xp = namespace(array)
    samples = xp.astype(array, xp.float64)
    if not bool(xp.all(xp.isfinite(samples))):
        raise NonFiniteError("X must be finite; a sample holds NaN or infinity")
    return samples


def _values(kernel: Callable[..., Array], X: Array, Y: Array) -> Array:
    """Return a checked block of the kernel; integers become float64."""
    found, shape = kernel(X, Y), (X.shape[0], Y.shape[0])
    if not is_array(found) or namespace(found) is not namespace(X):
        came = describe(found) if is_array(found) else type(found).__name__
        raise BackendError(f"kernel(X, Y) must return arrays of the library of {describe(X)}; got {came}")
    if tuple(found.shape) != shape:
        raise ShapeError(f"kernel(X, Y) must return an array of shape {shape}; got {tuple(found.shape)}")
    if dtype_name(found.dtype).startswith(("int", "uint", "bool")):
        found = namespace(found).astype(found, namespace(found).float64)
    require_real(found, what="kernel(X, Y)")
    return detach(found)


def _take(x: Array, index: np.ndarray) -> Array:
    """Return some rows."""
    xp = namespace(x)
    return xp.take(x, xp.asarray(index, device=device(x)), axis=0)
