r"""Problems from arrays: eigenvalues, a data matrix, a stream."""

import numpy as np
import numpy.typing as npt

from spectra.arrays import finite_number
from spectra.dynamics.eigenbasis import Coordinates, Rows
from spectra.dynamics.largest import row_bound
from spectra.dynamics.quadratic import Quadratic
from spectra.errors import ArgumentError, ShapeError
from spectra.frozen import Vector, frozen_array

__all__ = ["from_data", "from_eigenvalues", "require_squares", "streaming"]

#: Eigenvalues below this share of the largest count as zero: squares of singular values that are rounding of float64.
NEGLIGIBLE = 1e-12
#: Entries of A whose squares, summed, stay within float64.
SMALLEST = 1e-140


def from_eigenvalues(
    eigenvalue: npt.ArrayLike,
    gradient: npt.ArrayLike,
    *,
    loss: float,
    multiplicity: npt.ArrayLike | None = None,
    num_samples: int | None = None,
    largest_row: float | None = None,
    name: str = "eigenvalues",
) -> Quadratic:
    r"""Return the problem with these eigenvalues of the Hessian and this gradient in the eigenbasis.

    :math:`q_j = (v_j \cdot \nabla L(x_0))^2 / 2\lambda_j` and :math:`L_* = L(x_0) - \sum_j q_j`.

    Parameters
    ----------
    eigenvalue : array_like, shape (m,)
        Those below 1e-12 of the largest are left out.
    gradient : array_like, shape (m,)
        :math:`v_j \cdot \nabla L(x_0)`.
    loss : float
        :math:`L(x_0)`, which a quadratic sum of squares has to lose: at least :math:`\sum_j q_j`.
    multiplicity : array_like, shape (m,), optional
        1 each by default.
    num_samples, largest_row, name
        See :class:`Quadratic`.

    Returns
    -------
    Quadratic

    Raises
    ------
    ArgumentError
        If an eigenvalue is clearly negative, or the modes hold more loss than there is.
    ShapeError, NonFiniteError
        If the arrays do not fit or are not finite.

    Examples
    --------
    >>> from_eigenvalues([1.0, 4.0], [1.0, 2.0], loss=1.5).floor
    0.5
    """
    lam, g = _vectors(eigenvalue=eigenvalue, gradient=gradient)
    weight = np.ones_like(lam) if multiplicity is None else _vectors(eigenvalue=lam, multiplicity=multiplicity)[1]
    top = float(np.max(lam, initial=0.0))
    if np.any(lam < -np.sqrt(NEGLIGIBLE) * top):
        raise ArgumentError(f"a sum of squares has no negative curvature; the smallest eigenvalue is {lam.min():.6g}")
    kept = lam > NEGLIGIBLE * top
    q = g[kept] ** 2 / (2 * lam[kept])
    return Quadratic(
        eigenvalue=lam[kept],
        multiplicity=weight[kept],
        initial_loss=q,
        floor=_floor(loss, float(np.sum(q))),
        num_samples=num_samples,
        largest_row=largest_row,
        name=name,
    )


def from_data(
    A: npt.ArrayLike, b: npt.ArrayLike, start: npt.ArrayLike | None = None, *, name: str = "data"
) -> Quadratic:
    r"""Return least squares on a data matrix, :math:`L(x) = \|Ax - b\|^2 / 2n`.

    Parameters
    ----------
    A : array_like, shape (n, d)
        Features, one sample per row.
    b : array_like, shape (n,) or (n, C)
        Targets. With C outputs :math:`L = \|AX - B\|_F^2 / 2n`; the modes of all outputs share their eigenvalues, and
        what follows single samples, weight decay and population risk are not available.
    start : array_like, shape (d,) or (d, C), optional
        :math:`x_0`; zero by default.
    name : str
        For reports.

    Returns
    -------
    Quadratic
        With rows, fourth moments and coordinates (one output). Singular values below 1e-6 of the largest count as 0.

    Raises
    ------
    ShapeError, NonFiniteError
        If the arrays do not fit or are not finite.

    Notes
    -----
    One singular value decomposition, O(n d min(n, d)). Derived here.

    Examples
    --------
    >>> problem = from_data([[1.0, 0.0], [0.0, 2.0]], [1.0, 2.0])
    >>> problem.eigenvalue.tolist(), problem.initial_loss.round(12).tolist(), problem.loss
    ([2.0, 0.5], [1.0, 0.25], 1.25)
    """
    matrix, target = frozen_array(A, name="A"), frozen_array(b, name="b")
    if matrix.ndim != 2 or 0 in matrix.shape or target.ndim not in (1, 2) or target.shape[0] != matrix.shape[0]:
        raise ShapeError(f"A (n, d) and b (n,) or (n, C) are needed; got {matrix.shape} and {target.shape}")
    if target.size == 0:
        raise ShapeError(f"at least one output is needed; got b of shape {target.shape}")
    at = np.zeros((matrix.shape[1], *target.shape[1:])) if start is None else frozen_array(start, name="start")
    if at.shape != (matrix.shape[1], *target.shape[1:]):
        raise ShapeError(f"start must have shape {(matrix.shape[1], *target.shape[1:])}; got {at.shape}")
    size = float(np.max(np.abs(matrix)))
    if size == 0:
        raise ArgumentError("A is zero, so that there is no curvature and nothing to lose")
    if not SMALLEST < size < 1 / SMALLEST:
        raise ArgumentError(f"squares of A over- or underflow; scale it: its largest entry is {size:.3g}")
    for what, given in (("b", target), ("start", at)):
        require_squares(given, name=what)
    n = matrix.shape[0]
    left, singular, right = np.linalg.svd(matrix, full_matrices=False)
    kept = singular**2 > NEGLIGIBLE * singular[0] ** 2
    left, singular, basis = left[:, kept], singular[kept], right[kept].T
    residual = matrix @ at - target
    require_squares(residual, name="A @ start - b")
    sizes = float(np.max(np.sum(matrix**2, axis=1)))
    common = {
        "num_samples": n,
        "largest_row": sizes,
        "row_bound": row_bound(left, np.sum(matrix**2, axis=1)),
        "name": name,
        "kurtosis": n * np.sum(left**4, axis=0),
    }
    q = (left.T @ residual) ** 2 / (2 * n)
    rest = residual - left @ (left.T @ residual)
    floor = float(np.sum(rest**2)) / (2 * n)
    if target.ndim == 2:
        ones = np.ones_like(singular)
        return Quadratic(
            eigenvalue=singular**2 / n, multiplicity=ones, initial_loss=np.sum(q, axis=1), floor=floor, **common
        )
    error = (left.T @ residual) / singular
    coordinates = Coordinates(
        start=basis.T @ at, solution=basis.T @ at - error, basis=basis, rest=at - basis @ (basis.T @ at)
    )
    return Quadratic(
        eigenvalue=singular**2 / n,
        multiplicity=np.ones_like(singular),
        initial_loss=q,
        floor=floor,
        rows=Rows(features=left * singular, residual=-rest, error=error),
        coordinates=coordinates,
        **common,
    )


def streaming(
    covariance: npt.ArrayLike, error: npt.ArrayLike, *, noise: float = 0.0, name: str = "stream"
) -> Quadratic:
    r"""Return regression on a stream of fresh samples whose features have covariance with these eigenvalues.

    The loss is that on the population, :math:`L = \tfrac12 \sum_j \lambda_j e_j^2 + \sigma^2/2`. For Gaussian features
    the closure ``"gaussian"`` is exact.

    Parameters
    ----------
    covariance : array_like, shape (m,)
        Eigenvalues of the covariance of the features.
    error : array_like, shape (m,)
        :math:`e_j = v_j \cdot (x_0 - x_*)`.
    noise : float
        :math:`\sigma`, standard deviation of the label noise.
    name : str
        For reports.

    Returns
    -------
    Quadratic

    Raises
    ------
    ArgumentError, ShapeError, NonFiniteError
        If numbers are negative, do not fit or are not finite.

    Notes
    -----
    Derived from Wick's formula; compare Paquette, Paquette, Xiao and Pennington (2024), arXiv 2405.15074.

    Examples
    --------
    >>> streaming([2.0, 1.0], [1.0, 0.0], noise=1.0).loss
    1.5
    """
    lam, e = _vectors(covariance=covariance, error=error)
    noise = finite_number(noise, name="noise")
    if not 0 <= noise < 1 / SMALLEST:
        raise ArgumentError(f"noise is a standard deviation and must not be negative or overflow; got {noise}")
    return Quadratic(
        eigenvalue=lam,
        multiplicity=np.ones_like(lam),
        initial_loss=lam * e**2 / 2,
        floor=noise**2 / 2,
        num_samples=None,
        name=name,
    )


def require_squares(array: Vector, *, name: str) -> None:
    """Raise unless sums of squares of the entries stay within float64.

    Raises
    ------
    ArgumentError
        The message says how large the largest entry is.
    """
    size = float(np.max(np.abs(array)))
    if not size < 1 / SMALLEST:
        raise ArgumentError(f"squares of {name} overflow; scale it: its largest entry is {size:.3g}")


def _vectors(**given: npt.ArrayLike) -> list[Vector]:
    arrays = [frozen_array(value, name=name) for name, value in given.items()]
    if any(array.ndim != 1 or array.shape != arrays[0].shape for array in arrays):
        shapes = ", ".join(f"{name} {array.shape}" for name, array in zip(given, arrays, strict=True))
        raise ShapeError(f"vectors of one length are needed; got {shapes}")
    return arrays


def _floor(loss: float, held: float) -> float:
    """Return what is left of a loss after what the modes hold; rounding below zero is zero."""
    loss = finite_number(loss, name="loss")
    left = loss - held
    if left < -1e-6 * max(held, abs(loss)):
        raise ArgumentError(
            f"the modes hold a loss of {held:.6g}, more than the loss of {loss:.6g}: Hessian and gradient are not "
            "those of one sum of squares, or their units differ"
        )
    return max(left, 0.0)
