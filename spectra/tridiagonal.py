"""Symmetric tridiagonal matrices and their Gauss quadrature: small, NumPy float64, on the host."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from spectra.protocols import Array

__all__ = ["Ritz", "Tridiagonal", "ritz", "tridiagonal_eigh"]


class Ritz(NamedTuple):
    """Eigenvalues of a tridiagonal matrix (ascending), quadrature weights (sum 1), residual norms; each shape (k,)."""

    values: np.ndarray
    weights: np.ndarray
    residuals: np.ndarray


def tridiagonal_eigh(diagonal: np.ndarray, off_diagonal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return eigenvalues (ascending) and eigenvectors (columns) of a symmetric tridiagonal matrix, at any scale.

    Parameters
    ----------
    diagonal : ndarray, shape (k,)
    off_diagonal : ndarray, shape (k - 1,) or longer
        Further entries are ignored.

    Examples
    --------
    >>> import numpy as np
    >>> values, _ = tridiagonal_eigh(np.array([2.0, 2.0]), np.array([1.0]))
    >>> values.round(12).tolist()
    [1.0, 3.0]
    """
    k = len(diagonal)
    off_diagonal = off_diagonal[: k - 1]
    largest = max(np.max(np.abs(diagonal)), np.max(np.abs(off_diagonal), initial=0.0))
    exponent = math.frexp(largest)[1]
    matrix = np.diag(np.ldexp(diagonal, -exponent))
    below = np.ldexp(off_diagonal, -exponent)
    matrix[np.arange(1, k), np.arange(k - 1)] = below
    values, vectors = np.linalg.eigh(matrix, UPLO="L")
    return np.ldexp(values, exponent), vectors


def ritz(diagonal: np.ndarray, off_diagonal: np.ndarray, num_steps: int) -> Ritz:
    """Return Ritz values, Gauss weights and residual norms of the leading block of order ``num_steps``.

    With ``T = S diag(theta) S'``: weights ``S[0, k]**2``, residual norms ``b |S[-1, k]|`` where b couples the block to
    the next vector.

    Source: Golub and Welsch (1969); Paige (1972).
    """
    values, vectors = tridiagonal_eigh(diagonal[:num_steps], off_diagonal)
    weights = vectors[0] ** 2
    residuals = off_diagonal[num_steps - 1] * np.abs(vectors[-1])
    return Ritz(values, weights / np.sum(weights), residuals)


@dataclass(frozen=True, eq=False, kw_only=True)
class Tridiagonal:
    """Tridiagonal matrices, one per start vector: small, NumPy float64, on the host.

    Attributes
    ----------
    diagonal : ndarray, shape (p, m)
        ``a_j``; zero beyond ``num_steps``.
    off_diagonal : ndarray, shape (p, m)
        ``b_j`` couples step j with the next one: entry ``num_steps - 1`` is the residual coupling, zero where the
        Krylov space was exhausted.
    num_steps : ndarray of int, shape (p,)
        Order of each matrix: the steps asked for, or fewer where the Krylov space is smaller.
    start_norm : ndarray, shape (p,)
        Norms of the start vectors.
    num_matvecs : int
        Products spent.
    basis : array, shape (p, m, n), or None
        Orthonormal rows in the library and on the device of the operator; zero rows beyond ``num_steps``.
    """

    diagonal: np.ndarray
    off_diagonal: np.ndarray
    num_steps: np.ndarray
    start_norm: np.ndarray
    num_matvecs: int
    basis: Array | None = None

    def ritz(self, probe: int) -> Ritz:
        """Return Ritz values (ascending), weights (sum 1) and residual norms of one start vector."""
        return ritz(self.diagonal[probe], self.off_diagonal[probe], int(self.num_steps[probe]))
