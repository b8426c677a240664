r"""Kernel regression as a quadratic problem."""

import numpy as np
import numpy.typing as npt

from spectra.dynamics.eigenbasis import Rows
from spectra.dynamics.largest import row_bound
from spectra.dynamics.problems import require_squares
from spectra.dynamics.quadratic import Quadratic
from spectra.errors import ArgumentError, ShapeError
from spectra.frozen import frozen_array

__all__ = ["from_kernel"]

#: Eigenvalues below this share of the largest count as zero: rounding of a float64 decomposition.
NEGLIGIBLE = 1e-12


def from_kernel(K: npt.ArrayLike, y: npt.ArrayLike, *, name: str = "kernel") -> Quadratic:
    r"""Return kernel regression by SGD on the function, from zero: :math:`L(f) = |f - y|^2 / 2n`.

    A step on sample i adds a multiple of the kernel function of i, so that :math:`f \leftarrow f - \gamma (f_i - y_i)
    K_{\cdot i}`. With :math:`K = U \operatorname{diag}(\kappa) U^T` the features of sample i are :math:`U_{ij}
    \sqrt{\kappa_j}` and the Hessian has the eigenvalues :math:`\kappa_j / n`.

    Parameters
    ----------
    K : array_like, shape (n, n)
        Kernel matrix of the samples, symmetric positive semidefinite; not divided by n.
    y : array_like, shape (n,)
        Targets.
    name : str
        For reports.

    Returns
    -------
    Quadratic

    Raises
    ------
    ArgumentError
        If K is not symmetric or clearly indefinite.
    ShapeError, NonFiniteError
        If the arrays do not fit or are not finite.

    Notes
    -----
    One eigendecomposition of order n. Derived here.

    Examples
    --------
    It is linear regression for the linear kernel.

    >>> from spectra.dynamics import from_data
    >>> A = np.array([[1.0, 2.0], [0.0, 1.0], [1.0, 1.0]])
    >>> y = np.array([1.0, 0.0, 2.0])
    >>> ours, linear = from_kernel(A @ A.T, y), from_data(A, y)
    >>> bool(np.allclose(ours.eigenvalue, linear.eigenvalue) and np.allclose(ours.initial_loss, linear.initial_loss))
    True
    """
    matrix, target = frozen_array(K, name="K"), frozen_array(y, name="y")
    if matrix.ndim != 2 or matrix.shape != (*target.shape, *target.shape) or target.size == 0:
        raise ShapeError(f"K (n, n) and y (n,) are needed; got {matrix.shape} and {target.shape}")
    require_squares(target, name="y")
    scale = float(np.max(np.abs(matrix)))
    if np.max(np.abs(matrix - matrix.T)) > 1e-8 * scale:
        raise ArgumentError("a kernel matrix must be symmetric")
    values, vectors = np.linalg.eigh(matrix / 2 + matrix.T / 2)
    values, vectors = values[::-1], vectors[:, ::-1]
    if values[-1] < -1e-8 * max(values[0], 0.0) or values[0] <= 0:
        raise ArgumentError(
            f"a kernel matrix must be positive semidefinite; its smallest eigenvalue is {values[-1]:.6g}"
        )
    n = target.size
    kept = values > NEGLIGIBLE * values[0]
    values, left = values[kept], vectors[:, kept]
    onto = left.T @ target
    rest = target - left @ onto
    root = np.sqrt(values)
    return Quadratic(
        eigenvalue=values / n,
        multiplicity=np.ones_like(values),
        initial_loss=onto**2 / (2 * n),
        floor=float(rest @ rest) / (2 * n),
        num_samples=n,
        largest_row=float(np.max(np.diag(matrix))),
        row_bound=row_bound(left, np.diag(matrix)),
        kurtosis=n * np.sum(left**4, axis=0),
        rows=Rows(features=left * root, residual=rest, error=-onto / root),
        name=name,
    )
