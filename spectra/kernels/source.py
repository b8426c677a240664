"""What analyses of kernels accept: a Gram matrix, its eigenvalues, or data and a kernel function."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from array_api_compat import device

from spectra.arrays import as_array, namespace
from spectra.errors import ArgumentError, ShapeError
from spectra.kernels.gram import GramSpectrum, gram_spectrum
from spectra.kernels.gram_input import as_gram, checked_eps
from spectra.start_vectors import as_count, as_seed

__all__ = ["KernelSource", "as_source", "as_spectrum", "spectrum_of"]

#: Samples up to which all rows are used: the dense decomposition takes about half a minute and 400 MB (measured).
MAX_DENSE = 4000
#: Rows taken at random beyond: law and exponent from 1500 of 2500 points agreed with those of all to 0.1 % (measured).
SUBSAMPLE = 1500
#: Stream of the generator that draws the rows, so that other draws of one seed are independent of it.
STREAM = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class KernelSource:
    """A checked Gram matrix, or eigenvalues where there is none.

    Attributes
    ----------
    matrix : ndarray, shape (n, n), optional
        Symmetric, float64, on the host.
    eps : float
        Machine epsilon of the dtype in which the matrix was computed.
    spectrum : GramSpectrum, optional
        Given instead of the matrix.
    num_available : int
        Samples of which the n rows were taken; n itself unless they were subsampled.
    remarks : tuple of str
        What was done to the source.
    """

    matrix: np.ndarray | None
    eps: float
    spectrum: GramSpectrum | None
    num_available: int
    remarks: tuple[str, ...] = ()


def as_source(
    source: Any,
    *,
    kernel: Callable[[Any, Any], Any] | None = None,
    num_samples: int | None = None,
    eps: float | None = None,
    max_dense: int = MAX_DENSE,
    subsample: int = SUBSAMPLE,
    rng: int | np.random.Generator = 0,
) -> KernelSource:
    """Return a Gram matrix, if there is one, without decomposing it; see :func:`as_spectrum` for the arguments.

    Examples
    --------
    >>> as_source([3.0, 1.0]).matrix is None, as_source(np.eye(2)).matrix.shape
    (True, (2, 2))
    """
    if isinstance(source, GramSpectrum):
        _refuse(kernel, num_samples, what="a GramSpectrum")
        known = source if eps is None else _with_eps(source, eps)
        return KernelSource(matrix=None, eps=known.eps, spectrum=known, num_available=known.num_samples)
    if hasattr(source, "data_vars"):
        raise ArgumentError(
            "a spectral measure holds no eigenvalues and no Gram matrix; spectra.effective_dimension integrates "
            "against it. Pass the Gram matrix, its eigenvalues, or data with kernel="
        )
    array = as_array(source, name="the source")
    if kernel is not None:
        _refuse(None, num_samples, what="data with a kernel")
        return _from_data(array, kernel, eps=eps, max_dense=max_dense, subsample=subsample, rng=rng)
    if array.ndim == 1:
        known = GramSpectrum.of_eigenvalues(array, num_samples=num_samples, eps=eps)
        return KernelSource(matrix=None, eps=known.eps, spectrum=known, num_available=known.num_samples)
    if array.ndim != 2 or array.shape[0] != array.shape[1]:
        raise ShapeError(
            "a Gram matrix of shape (n, n), eigenvalues of shape (m,), or data of shape (n, d) with kernel= are "
            f"required; got shape {tuple(array.shape)} without a kernel"
        )
    _refuse(None, num_samples, what="a Gram matrix")
    matrix, found = as_gram(array)
    return KernelSource(matrix=matrix, eps=found if eps is None else eps, spectrum=None, num_available=len(matrix))


def as_spectrum(
    source: Any,
    *,
    kernel: Callable[[Any, Any], Any] | None = None,
    num_samples: int | None = None,
    eps: float | None = None,
    centered: bool = False,
    vectors: bool = False,
    max_dense: int = MAX_DENSE,
    subsample: int = SUBSAMPLE,
    rng: int | np.random.Generator = 0,
) -> GramSpectrum:
    """Return the eigenvalues of a kernel on a sample, from whatever is at hand.

    Parameters
    ----------
    source : GramSpectrum, or array of any library
        Without a kernel: a Gram matrix of shape (n, n), or its eigenvalues of shape (m,), not divided by n. With one:
        data of shape (n, d). A square array without a kernel is a Gram matrix.
    kernel : callable, optional
        ``kernel(X, Y)`` returns the block of shape (len(X), len(Y)), in the dtype whose rounding it has. It is called
        with X twice; noise that it adds for equal indices only, as a ``WhiteKernel`` of scikit-learn, is left out then.
    num_samples : int, optional
        n, with eigenvalues only; by default as many as there are eigenvalues.
    eps : float, optional
        Machine epsilon of the dtype in which the *matrix* was computed, where that is not the dtype it has.
    centered, vectors : bool
        Whether to find the eigenvalues of the centered matrix, and eigenvectors, too.
    max_dense, subsample : int
        Beyond ``max_dense`` samples, ``subsample`` rows of the data are drawn at random, which a remark says.
    rng : int or numpy.random.Generator
        Seed of these rows.

    Returns
    -------
    GramSpectrum
        A given one is returned as it is.

    Raises
    ------
    ShapeError
        For data without a kernel, and other shapes that fit nothing.
    ArgumentError
        If arguments contradict each other, eigenvectors are asked of eigenvalues, or the matrix is no Gram matrix.
    NonFiniteError, NotSymmetricError, BackendError
        See :func:`spectra.kernels.gram_input.as_gram`.

    Notes
    -----
    O(n^3), twice that for ``centered``.

    Examples
    --------
    >>> found = as_spectrum(np.array([[1.0], [2.0]]), kernel=lambda X, Y: X @ Y.T)
    >>> found.eigenvalue.tolist()
    [5.0, 0.0]
    """
    came = as_source(
        source,
        kernel=kernel,
        num_samples=num_samples,
        eps=eps,
        max_dense=max_dense,
        subsample=subsample,
        rng=rng,
    )
    return spectrum_of(came, centered=centered, vectors=vectors)


def spectrum_of(source: KernelSource, *, centered: bool = False, vectors: bool = False) -> GramSpectrum:
    """Return the eigenvalues of a source, with the remarks on how it came to be."""
    if source.spectrum is not None:
        if vectors and source.spectrum.eigenvector is None:
            raise ArgumentError(
                "eigenvectors are needed, which eigenvalues do not tell; pass the Gram matrix or data with kernel="
            )
        return source.spectrum
    # How negative an eigenvalue may be depends on the rounding of the entries.
    precision = max(checked_eps(source.eps), float(np.finfo(np.float64).eps))
    found = gram_spectrum(source.matrix, vectors=vectors, centered=centered, eps=precision)
    if source.eps != found.eps:
        found = _with_eps(found, source.eps)
    return replace(found, remarks=(*source.remarks, *found.remarks))


def _from_data(
    X: Any,
    kernel: Callable[[Any, Any], Any],
    *,
    eps: float | None,
    max_dense: int,
    subsample: int,
    rng: int | np.random.Generator,
) -> KernelSource:
    """Return the Gram matrix of data, or of some rows of it."""
    if not callable(kernel):
        raise ArgumentError(f"kernel must be a function of two arrays of points; got {kernel!r}")
    if X.ndim != 2 or 0 in X.shape:
        raise ShapeError(f"data must have shape (n, d), samples in rows; got {tuple(X.shape)}")
    most, fewer = as_count(max_dense, name="max_dense"), as_count(subsample, name="subsample")
    n = int(X.shape[0])
    remarks: tuple[str, ...] = ()
    if n > most:
        fewer = min(fewer, n)
        rows = np.sort(np.random.default_rng([as_seed(rng), STREAM]).permutation(n)[:fewer])
        xp = namespace(X)
        X = xp.take(X, xp.asarray(rows, device=device(X)), axis=0)
        remarks = (f"from {fewer} of {n} samples, drawn at random, because there are more than {most}",)
    block = kernel(X, X)
    rows_used = int(X.shape[0])
    shape = tuple(getattr(block, "shape", ()))
    if shape != (rows_used, rows_used):
        raise ShapeError(
            f"kernel(X, X) must have shape ({rows_used}, {rows_used}); got {shape or type(block).__name__}"
        )
    matrix, found = as_gram(block, name="kernel(X, X)")
    return KernelSource(
        matrix=matrix, eps=found if eps is None else eps, spectrum=None, num_available=n, remarks=remarks
    )


def _with_eps(found: GramSpectrum, eps: float) -> GramSpectrum:
    """Return eigenvalues as if the matrix were computed with another machine epsilon."""
    eps = checked_eps(eps)
    floor = found.num_samples * eps * float(found.eigenvalue[0])
    return replace(found, eps=eps, ridge_floor=max(floor, found.ridge_floor) if eps > found.eps else found.ridge_floor)


def _refuse(kernel: object, num_samples: object, *, what: str) -> None:
    """Raise if something is given that the source knows itself."""
    if kernel is not None:
        raise ArgumentError(f"kernel= belongs to data; got {what}")
    if num_samples is not None:
        raise ArgumentError(f"num_samples= belongs to eigenvalues; got {what}")
