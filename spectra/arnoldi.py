"""Arnoldi's method for real square operators that need not be symmetric, with full reorthogonalization."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from array_api_compat import device

from spectra.adapters import is_scipy
from spectra.arrays import eps, inner, inner_with_rows, is_array, to_host
from spectra.errors import NonFiniteError, ShapeError
from spectra.lanczos import BREAKDOWN
from spectra.products import Products
from spectra.protocols import Array, SupportsMatmul
from spectra.rectangular import RectangularOperator, as_rectangular
from spectra.start_vectors import as_count, unit_rows

__all__ = ["Hessenberg", "RitzPoints", "arnoldi", "normality_defect", "ritz_points"]

_CHECK_EVERY = 8


class RitzPoints(NamedTuple):
    """Eigenvalues of a Hessenberg matrix, their complex weights (sum 1) and residual norms; each shape (k,).

    Attributes
    ----------
    values, weights : ndarray of complex, shape (k,)
    residuals : ndarray, shape (k,)
    condition : float

    Notes
    -----
    Source: see `ritz_points`.

    Examples
    --------
    >>> ritz_points(np.array([[2.0], [0.0]])).residuals.tolist()
    [0.0]
    """

    values: np.ndarray
    weights: np.ndarray
    residuals: np.ndarray
    condition: float
    """Largest condition number of one of the eigenvalues: rounding in the weights is eps times this."""


def ritz_points(matrix: np.ndarray) -> RitzPoints:
    """Return Ritz values, weights and residual norms of a Hessenberg matrix with its last row.

    With the leading square block ``H = X diag(theta) inverse(X)``::

        w_k = X[0, k] inverse(X)[k, 0],      sum_k w_k f(theta_k) = e1' f(H) e1

    Parameters
    ----------
    matrix : ndarray, shape (k + 1, k)
        The last row holds the coupling to the next vector.

    Returns
    -------
    RitzPoints
        Ordered by real, then imaginary part. The weights are those of a spectral measure, positive, if H is normal.
        Else they are complex in general. An H without a basis of eigenvectors has weights and a condition that are
        infinite or NaN.

    Raises
    ------
    ValueError
        Of SciPy, if an entry is not finite.

    Notes
    -----
    The residual ``||A y - theta y||`` of the unit Ritz vector y is ``matrix[k, k-1] |x_k|``. For a normal operator an
    eigenvalue lies that close to the Ritz value.

    Source: Saad (2011), Numerical Methods for Large Eigenvalue Problems, for Ritz pairs; the weights are derived.

    O(k^3) operations on the host, no products.

    Examples
    --------
    >>> points = ritz_points(np.array([[0.0, -1.0], [1.0, 0.0], [0.0, 0.5]]))
    >>> points.values.round(12).tolist(), points.weights.real.round(12).tolist(), points.residuals.round(3).tolist()
    ([-1j, 1j], [0.5, 0.5], [0.354, 0.354])
    """
    import scipy.linalg

    k = matrix.shape[1]
    scale = float(np.max(np.abs(matrix), initial=0.0)) or 1.0
    values, left, right = scipy.linalg.eig(matrix[:k] / scale, left=True, right=True)
    cosines = np.sum(left.conj() * right, axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        weights = right[0] * left[0].conj() / cosines
        condition = float(np.max(1.0 / np.abs(cosines)))
    order = np.lexsort((values.imag, values.real))
    residuals = abs(matrix[k, k - 1]) * np.abs(right[-1])
    return RitzPoints(scale * values[order], weights[order], residuals[order], condition)


@dataclass(frozen=True, eq=False, kw_only=True)
class Hessenberg:
    """Upper Hessenberg matrix of one start vector: small, NumPy float64, on the host.

    Attributes
    ----------
    matrix : ndarray, shape (k + 1, k)
        H with its last row, ``A Q_k = Q_{k+1} matrix``. The last entry is zero where the Krylov space was exhausted.
    start_norm : float
        Norm of the start vector.
    num_matvecs : int
        Products spent.
    basis : array, shape (k, n), or None
        Orthonormal rows, in the library and on the device of the operator.

    Notes
    -----
    Source: Arnoldi (1951), see `arnoldi`.

    Examples
    --------
    >>> arnoldi(np.diag([1.0, 2.0]), np.array([1.0, 0.0]), num_steps=2).matrix.tolist()
    [[1.0], [0.0]]
    """

    matrix: np.ndarray
    start_norm: float
    num_matvecs: int
    basis: Array | None = None

    @property
    def num_steps(self) -> int:
        """Order k: the steps asked for, or fewer where the Krylov space is smaller."""
        return int(self.matrix.shape[1])

    def ritz(self) -> RitzPoints:
        """Return Ritz values, weights and residual norms, see `ritz_points`."""
        return ritz_points(self.matrix)


def arnoldi(A: SupportsMatmul | Array, start: Array, *, num_steps: int, keep_basis: bool = False) -> Hessenberg:
    """Reduce a real square operator to Hessenberg form on the Krylov space of one start vector.

    ``A q_j = sum_{i <= j+1} h_ij q_i`` with orthonormal ``q_j`` and ``q_1 = start / ||start||``. For a polynomial p of
    degree at most k, the number of steps, ``q_1' p(A) q_1 = e1' p(H) e1``; and for p and r of degree less than k
    ``(p(A) q_1)' (r(A) q_1) = (p(H) e1)' (r(H) e1)``.

    Parameters
    ----------
    A : array, scipy.sparse array, scipy LinearOperator, RectangularOperator, Operator or any object with ``like``
        Real, shape (n, n); neither symmetric nor normal.
    start : array, shape (n,)
        Nonzero, in the library, dtype and on the device of the operator.
    num_steps : int
        Steps; at most n are made, and fewer where the Krylov space is smaller.
    keep_basis : bool
        Whether to return the Arnoldi vectors.

    Returns
    -------
    Hessenberg
        The matrix on the host; the basis, if it was asked for, where the operator is.

    Raises
    ------
    NonFiniteError
        If a product contains NaN or infinity.
    ArgumentError
        If ``num_steps`` is no positive integer, or the start vector is zero or not finite.
    ShapeError, BackendError
        If the start vector does not fit the operator, or the operator is not square.

    Notes
    -----
    Costs one product per step, and storage for as many vectors of the device. Each vector is orthogonalized twice
    against all before it. The iteration runs on ``2**-e A``, so that multiplying A by a power of two changes units
    only. The Krylov space counts as exhausted where the next coupling is at most 64 eps times the norm seen so far;
    the host looks every eighth step.

    Source: Arnoldi (1951); Giraud, Langou, Rozloznik and van den Eshof (2005) for orthogonalizing twice.

    Examples
    --------
    >>> rotation = np.array([[0.0, -2.0], [2.0, 0.0]])
    >>> found = arnoldi(rotation, np.ones(2), num_steps=5)
    >>> found.num_steps, found.ritz().values.imag.round(12).tolist()
    (2, [-2.0, 2.0])
    """
    products = Products(A)
    operator, xp = products.operator, products.xp
    n = operator.shape[0]
    m = min(as_count(num_steps, name="num_steps"), n)
    rows, norm = unit_rows(start, operator)
    if rows.shape[0] != 1:
        raise ShapeError(f"start must be one vector, of shape ({n},); got {rows.shape[0]} vectors")
    basis = xp.zeros((m + 1, n), dtype=rows.dtype, device=device(rows))
    basis[0, :] = rows[0, :]
    size = xp.zeros((), dtype=xp.float64, device=device(rows))
    matrix, pending = np.zeros((m + 1, m)), []
    for j in range(m):
        w = products.multiply_unchecked(basis[j, :])
        if products.exponent is None:
            raise _non_finite(operator.name, 1)
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is found, and named, below
            once = inner_with_rows(basis[: j + 1, :], w)
            w = w - xp.astype(once, w.dtype) @ basis[: j + 1, :]
            twice = inner_with_rows(basis[: j + 1, :], w)
            w = w - xp.astype(twice, w.dtype) @ basis[: j + 1, :]
            column, coupling = once + twice, xp.sqrt(inner(w, w))
            size = xp.maximum(size, xp.sqrt(xp.sum(column**2) + coupling**2))
            alive = (coupling > BREAKDOWN * eps(w) * size) & (j + 1 < n)
            coupling = xp.where(alive, coupling, 0.0)
            basis[j + 1, :] = xp.where(alive, w / xp.astype(xp.where(alive, coupling, 1.0), w.dtype), 0.0)
        pending.append(xp.concat([column, xp.reshape(coupling, (1,))]))
        if (j + 1) % _CHECK_EVERY == 0 or j + 1 == m:
            for i, entries in enumerate(pending, start=j + 1 - len(pending)):
                matrix[: i + 2, i] = to_host(entries)
                if not np.all(np.isfinite(matrix[: i + 2, i])):
                    raise _non_finite(operator.name, i + 1)
            pending = []
            if np.any(matrix[np.arange(1, j + 2), np.arange(j + 1)] == 0.0):
                break
    ends = np.flatnonzero(matrix[np.arange(1, m + 1), np.arange(m)] == 0.0)
    k = int(ends[0]) + 1 if ends.size else m
    matrix = products.unscaled(matrix[: k + 1, :k])
    if not np.all(np.isfinite(matrix)):
        raise NonFiniteError(f"the norm of {operator.name!r} exceeds the largest float64; scale the operator down")
    return Hessenberg(
        matrix=matrix,
        start_norm=float(norm[0]),
        num_matvecs=products.num_matvecs,
        basis=basis[:k, :] if keep_basis else None,
    )


def normality_defect(A: Any, vector: Array) -> tuple[float, int]:
    """Return ``||A A'v - A'A v|| / max(||A A'v||, ||A'A v||)``, NaN where A has no transpose, and the products spent.

    Parameters
    ----------
    A : as for `arnoldi`
        Dense and sparse arrays, a LinearOperator with ``rmatvec`` and a RectangularOperator have a transpose.
    vector : array, shape (n,)
        A random one: a normal matrix has the defect zero, up to rounding, for every vector.

    Returns
    -------
    defect : float
        In [0, 2]; 0 for a normal matrix up to rounding.
    num_matvecs : int
        Products spent: 4, or 0 where A has no transpose.

    Raises
    ------
    NonFiniteError
        If a product contains NaN or infinity.
    ArgumentError, ShapeError, BackendError
        If the vector does not fit, or A is not square.

    Notes
    -----
    Costs two products with A and two with its transpose.

    Source: derived.

    Examples
    --------
    >>> shear = np.array([[1.0, 1.0], [0.0, 1.0]])
    >>> round(normality_defect(shear, np.ones(2))[0], 3), normality_defect(shear - shear.T, np.ones(2))[0]
    (0.392, 0.0)
    """
    if not (isinstance(A, RectangularOperator) or is_array(A) or is_scipy(A)):
        return float("nan"), 0
    forward, backward = Products(A), Products(as_rectangular(A).transpose())
    column = forward.xp.matrix_transpose(unit_rows(vector, forward.operator)[0])
    try:
        there = backward.multiply(column)
    except NotImplementedError:  # a LinearOperator without rmatvec
        return float("nan"), 0
    one, other = forward.multiply(there), backward.multiply(forward.multiply(column))
    xp = forward.xp
    apart, left, right = (float(xp.linalg.vector_norm(x)) for x in (one - other, one, other))
    return (apart / max(left, right) if apart > 0 else 0.0), 4


def _non_finite(name: str, step: int) -> NonFiniteError:
    """Return the error for a product that contains NaN or infinity."""
    return NonFiniteError(
        f"products with {name!r} must be finite; Arnoldi step {step} met NaN or infinity; look for overflow, division "
        "by zero or log of zero in the operator"
    )
