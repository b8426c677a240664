r"""Gram matrices and their eigenvalues: checked once, with what rounding leaves of them.

A Gram matrix has the entries :math:`K_{ij} = k(x_i, x_j)`, without a factor 1/n. Its eigenvalues are
:math:`w_1 \ge w_2 \ge \dots`; :math:`w_i/n` tends to the i-th eigenvalue of the integral operator for fixed i.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from spectra.arrays import dtype_name, finite_number
from spectra.errors import ArgumentError, ShapeError
from spectra.frozen import Vector, frozen_array
from spectra.kernels.gram_input import as_gram, checked_eps, checked_ridge
from spectra.start_vectors import as_count

__all__ = ["GramSpectrum", "center", "gram_spectrum"]

#: Rows whose kernel distance is below this many eps of their size are the same.
SAME = 8.0
#: Rows that are compared with all others at once.
ROWS = 512


@dataclass(frozen=True, kw_only=True, eq=False)
class GramSpectrum:
    r"""Eigenvalues of a Gram matrix, and what is needed to read them.

    Attributes
    ----------
    eigenvalue : ndarray, shape (m,)
        Descending, not divided by n. Those that rounding made negative are 0.
    num_samples : int
        n, the order of the matrix; of n - m eigenvalues nothing is known but their sum.
    eps : float
        Machine epsilon of the dtype in which the matrix was computed.
    ridge_floor : float
        A solution with a smaller ridge is one with this ridge as far as numbers tell: ``n eps w_1``, or the size of the
        most negative eigenvalue where that is larger. In the unit of the eigenvalues.
    eigenvector : ndarray, shape (n, m), optional
        Columns.
    centered_eigenvalue : ndarray, shape (n,), optional
        Eigenvalues of ``HKH`` with ``H = I - 11'/n``: without the mean of the kernel.
    residual_trace : float
        Sum of the n - m eigenvalues that are not listed.
    remarks : tuple of str
        What is unusual about the matrix, in sentences.

    Notes
    -----
    The floor of a solution in rounded arithmetic was measured; the size of backward errors
    is that of Higham (2002), theorem 10.4.

    Examples
    --------
    >>> found = gram_spectrum(np.diag([1.0, 4.0]))
    >>> found.eigenvalue.tolist(), found.trace, found.num_samples
    ([4.0, 1.0], 5.0, 2)
    """

    eigenvalue: Vector
    num_samples: int
    eps: float
    ridge_floor: float
    eigenvector: Vector | None = None
    centered_eigenvalue: Vector | None = None
    residual_trace: float = 0.0
    remarks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("eigenvalue", "eigenvector", "centered_eigenvalue"):
            array = getattr(self, name)
            if array is not None:
                object.__setattr__(self, name, frozen_array(array, name=name))

    @classmethod
    def of_eigenvalues(
        cls,
        eigenvalue: npt.ArrayLike,
        *,
        num_samples: int | None = None,
        eps: float | None = None,
        residual_trace: float = 0.0,
    ) -> "GramSpectrum":
        """Return eigenvalues that are known already, in any order.

        Parameters
        ----------
        eigenvalue : array_like, shape (m,)
            Of a Gram matrix (not divided by n).
        num_samples : int, optional
            n; by default m.
        eps : float, optional
            Machine epsilon of the dtype in which the *matrix* was computed; by default that of ``eigenvalue``, and of
            float64 for integers and lists.
        residual_trace : float
            Sum of eigenvalues that are not listed.

        Raises
        ------
        ArgumentError
            If there are none, more than n, all are zero, or one is clearly negative.
        ShapeError, NonFiniteError
            If they are no finite vector.

        Examples
        --------
        >>> GramSpectrum.of_eigenvalues([1.0, 3.0], num_samples=10).eigenvalue.tolist()
        [3.0, 1.0]
        """
        values = frozen_array(eigenvalue, name="eigenvalue")
        if values.ndim != 1 or values.size == 0:
            raise ShapeError(f"eigenvalues of shape (m,), at least one, are required; got shape {values.shape}")
        n = values.size if num_samples is None else as_count(num_samples, name="num_samples")
        if n < values.size:
            raise ArgumentError(f"a Gram matrix of {n} samples has {n} eigenvalues; got {values.size}")
        rest = finite_number(residual_trace, name="residual_trace")
        if rest < 0:
            raise ArgumentError(f"residual_trace must be at least 0; got {residual_trace!r}")
        if eps is None:
            given = getattr(eigenvalue, "dtype", None)
            eps = float(np.finfo(np.float32 if dtype_name(given) == "float32" else np.float64).eps)
        return cls._checked(np.sort(values)[::-1], n, checked_eps(eps), residual_trace=rest)

    @classmethod
    def _checked(
        cls,
        values: Vector,
        n: int,
        eps: float,
        *,
        remarks: tuple[str, ...] = (),
        residual_trace: float = 0.0,
        vectors: Vector | None = None,
        centered: Vector | None = None,
    ) -> "GramSpectrum":
        """Return descending eigenvalues with those of rounding set to 0; raise if they are none of a Gram matrix."""
        largest, smallest = float(values[0]), float(values[-1])
        if not largest > 0:
            raise ArgumentError(f"a Gram matrix needs a positive eigenvalue; the largest is {largest:.6g}")
        if smallest < -math.sqrt(eps) * largest:
            raise ArgumentError(
                f"a Gram matrix must be positive semidefinite; its smallest eigenvalue is {smallest:.6g}, the largest "
                f"{largest:.6g}. Not every similarity is a kernel; tanh and most string distances, for example, are not"
            )
        floor = n * eps * largest
        if smallest < -floor:
            remarks = (
                *remarks,
                f"slightly indefinite: the smallest eigenvalue is {smallest:.3g}, more than rounding of the "
                f"decomposition ({floor:.1g}) explains, so the entries are less accurate than their dtype; ridges "
                f"below {-smallest:.3g} are not resolved",
            )
            floor = -smallest
        return cls(
            eigenvalue=np.maximum(values, 0.0),
            num_samples=n,
            eps=eps,
            ridge_floor=floor,
            eigenvector=vectors,
            centered_eigenvalue=None if centered is None else np.maximum(np.sort(centered)[::-1], 0.0),
            residual_trace=residual_trace,
            remarks=remarks,
        )

    @property
    def trace(self) -> float:
        """Sum of all eigenvalues."""
        return float(np.sum(self.eigenvalue)) + self.residual_trace

    @property
    def is_complete(self) -> bool:
        """Whether all n eigenvalues are listed."""
        return self.eigenvalue.size == self.num_samples

    def effective_ridge(self, ridge: float) -> float:
        """Return the ridge that numbers can tell: ``max(ridge, ridge_floor)``.

        Raises
        ------
        ArgumentError
            If the ridge is negative or not finite.

        Examples
        --------
        >>> bool(gram_spectrum(np.eye(4)).effective_ridge(0.0) == 4 * np.finfo(float).eps)
        True
        """
        return max(checked_ridge(ridge), self.ridge_floor)


def center(K: np.ndarray) -> np.ndarray:
    """Return ``HKH`` with ``H = I - 11'/n``: the Gram matrix of features less their mean.

    Examples
    --------
    >>> center(np.ones((3, 3))).tolist()
    [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """
    mean = np.mean(K, axis=0)
    return K - mean[:, None] - mean[None, :] + np.mean(mean)


def gram_spectrum(
    K: Any, *, vectors: bool = False, centered: bool = False, eps: float | None = None, name: str = "K"
) -> GramSpectrum:
    """Return the eigenvalues of a Gram matrix, after checking it.

    Parameters
    ----------
    K : array of any library, shape (n, n)
        See :func:`as_gram`.
    vectors : bool
        Whether to keep eigenvectors.
    centered : bool
        Whether to find the eigenvalues of the centered matrix too, for another decomposition of order n.
    eps : float, optional
        Machine epsilon of the dtype in which the entries were computed; by default that of K.
    name : str
        For messages.

    Returns
    -------
    GramSpectrum
        On the host, float64. Remarks mention indefinite matrices and samples that occur twice.

    Raises
    ------
    ArgumentError
        If the matrix is zero, or an eigenvalue is negative by more than the square root of eps times the largest.
    ShapeError, NonFiniteError, NotSymmetricError, BackendError
        See :func:`as_gram`.

    Notes
    -----
    O(n^3) time and three times the memory of the matrix in float64.

    Examples
    --------
    >>> gram_spectrum([[2.0, 1.0], [1.0, 2.0]]).eigenvalue.round(12).tolist()
    [3.0, 1.0]
    """
    matrix, found = as_gram(K, name=name)
    precision, n = found if eps is None else checked_eps(eps), len(matrix)
    if vectors:
        values, basis = np.linalg.eigh(matrix)
    else:
        values, basis = np.linalg.eigvalsh(matrix), None
    return GramSpectrum._checked(
        values[::-1],
        n,
        precision,
        vectors=None if basis is None else basis[:, ::-1],
        centered=np.linalg.eigvalsh(center(matrix)) if centered else None,
        remarks=_duplicates(matrix, precision),
    )


def _duplicates(matrix: np.ndarray, eps: float) -> tuple[str, ...]:
    """Say how many samples the kernel does not tell from an earlier one."""
    diagonal = np.diag(matrix)
    again = 0
    for begin in range(0, len(matrix), ROWS):
        rows = slice(begin, begin + ROWS)
        size = diagonal[rows, None] + diagonal[None, :]
        same = size - 2 * matrix[rows] <= SAME * eps * size
        again += int(np.sum(np.any(np.tril(same, k=begin - 1), axis=1)))
    if again == 0:
        return ()
    if again == len(matrix) - 1:
        return ("the kernel does not tell any two samples apart: constant features, or a length scale far too long",)
    return (f"{again} of {len(matrix)} samples are copies of earlier ones to this kernel, so the matrix is singular",)
