"""The spectrum of a matrix whose entries were put in random places: what its entries alone make of a spectrum."""

import numpy as np

from spectra.arrays import as_array, require_real, to_host
from spectra.errors import NonFiniteError, ShapeError
from spectra.frozen import Vector
from spectra.protocols import Array
from spectra.start_vectors import as_seed
from spectra.symmetry import is_symmetric

__all__ = ["permuted_spectra"]


def permuted_spectra(matrix: Array, *, num: int, rng: int | np.random.Generator = 0) -> list[Vector]:
    """Return spectra of a matrix after random permutations of all of its entries, less their mean.

    Parameters
    ----------
    matrix : array, shape (m, n)
        Float32 or float64, of any library. One that is symmetric, up to rounding, stays so: entries on and off the
        diagonal are permuted among themselves.
    num : int
        Number of permutations.
    rng : int or numpy.random.Generator
        Seed.

    Returns
    -------
    list of ndarray, shape (min(m, n),)
        Descending, of the matrix over its largest modulus, so that squares neither overflow nor vanish: eigenvalues of
        a symmetric matrix, squared singular values of any other one.

    Raises
    ------
    ShapeError, BackendError, NonFiniteError
        If it is no matrix of finite real numbers.

    Notes
    -----
    ``num`` dense decompositions on the host. A signal of low rank does not survive; a few huge entries do. A mean does
    too, although it is no heavy tail, and is subtracted: on and off the diagonal of a symmetric matrix.

    Examples
    --------
    >>> (first,) = permuted_spectra(np.array([[3.0, 1.0], [1.0, 1.0]]), num=1)  # over 3; no mean off the diagonal
    >>> first.round(6).tolist()
    [0.333333, -0.333333]
    """
    given = as_array(matrix, name="matrix")
    require_real(given, what="matrix")
    if given.ndim != 2 or min(given.shape) < 1:
        raise ShapeError(f"matrix must have two dimensions, each at least 1; got shape {tuple(given.shape)}")
    entries, seed = to_host(given), as_seed(rng)
    if not np.all(np.isfinite(entries)):
        raise NonFiniteError("matrix must be finite; got NaN or infinity")
    largest = float(np.max(np.abs(entries)))
    entries = entries / (largest if largest > 0.0 else 1.0)
    generator = np.random.default_rng(seed)
    draw = _symmetric if is_symmetric(entries) else _rectangular
    return [draw(entries, generator) for _ in range(num)]


def _rectangular(entries: Vector, generator: np.random.Generator) -> Vector:
    """Return squared singular values after a permutation."""
    shuffled = generator.permutation((entries - np.mean(entries)).ravel()).reshape(entries.shape)
    return np.linalg.svd(shuffled, compute_uv=False) ** 2


def _symmetric(entries: Vector, generator: np.random.Generator) -> Vector:
    """Return eigenvalues after a permutation that keeps the symmetry."""
    n = len(entries)
    rows, columns = np.triu_indices(n, 1)
    diagonal, others = np.diag(entries), entries[rows, columns]
    shuffled = np.diag(generator.permutation(diagonal - np.mean(diagonal)))
    shuffled[columns, rows] = generator.permutation(others - (np.mean(others) if n > 1 else 0.0))
    return np.linalg.eigvalsh(shuffled, UPLO="L")[::-1]
