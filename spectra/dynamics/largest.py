"""The largest eigenvalue of a small or medium symmetric matrix that is known by its products, on the host."""

from collections.abc import Callable

import numpy as np
from scipy.sparse.linalg import LinearOperator, eigsh

from spectra.frozen import Vector

__all__ = ["largest_eigenvalue", "row_bound"]

#: Matrices up to this order are formed (design choice: ARPACK needs more products than that).
SMALL = 64


def largest_eigenvalue(product: Callable[[Vector], Vector], order: int, *, start: Vector) -> float:
    """Return the largest eigenvalue of a symmetric matrix with positive ones.

    Parameters
    ----------
    product : callable
        ``v -> M v``.
    order : int
    start : ndarray, shape (order,)
        Not orthogonal to the eigenvector.

    Notes
    -----
    SciPy's ARPACK, with the matrix in units of its action on ``start``, because its tolerance is not free of units.

    Examples
    --------
    >>> round(largest_eigenvalue(lambda v: 3e-20 * v, 100, start=np.ones(100)) / 1e-20, 12)
    3.0
    """
    if order <= SMALL:
        return float(np.linalg.eigvalsh(np.stack([product(column) for column in np.eye(order)]))[-1])
    scale = float(np.linalg.norm(product(start)) / np.linalg.norm(start))
    operator = LinearOperator((order, order), matvec=lambda v: product(v) / scale, dtype=np.float64)
    return scale * float(eigsh(operator, k=1, which="LA", v0=start, return_eigenvectors=False)[0])


def row_bound(left: Vector, sizes: Vector) -> float:
    r"""Return the largest eigenvalue of :math:`\sum_i |a_i|^2 u_i u_i^T`, rows of left singular vectors."""
    return largest_eigenvalue(lambda v: left.T @ (sizes * (left @ v)), left.shape[1], start=np.ones(left.shape[1]))
