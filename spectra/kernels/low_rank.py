r"""A low-rank approximation :math:`K \approx FF'` of a Gram matrix, with what it leaves out."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from array_api_compat import device

from spectra.arrays import dtype_name, namespace
from spectra.errors import ArgumentError, ShapeError
from spectra.frozen import Vector, frozen_array
from spectra.kernels.gram import GramSpectrum
from spectra.kernels.gram_input import checked_ridge
from spectra.orthogonal import thin_factors
from spectra.protocols import Array

__all__ = ["LowRank", "Stop"]

Stop = Literal["tolerance", "num_columns", "rounding"]


@dataclass(frozen=True, kw_only=True, eq=False)
class LowRank:
    r"""A positive semidefinite approximation of rank k from below: :math:`0 \preceq FF' \preceq K`.

    Attributes
    ----------
    factor : array, shape (n, k)
        F, float64, in the library and on the device of the data.
    trace : float
        Of K.
    residual_trace : float
        :math:`\operatorname{tr}(K - FF')`, at least 0. It bounds the error of every eigenvalue, which is never too
        large.
    residual_diagonal : ndarray, shape (n,)
        Diagonal of K - FF', on the host.
    pivots : ndarray of int, shape (k,)
        The samples whose columns were used, in this order.
    num_evaluations : int
        Entries of K that were computed.
    eps : float
        Machine epsilon of the dtype in which the entries of K were computed.
    stop : {"tolerance", "num_columns", "rounding"}
        Why there are no further columns: small enough, as many as asked for, or nothing left but rounding.
    is_trustworthy : bool
        Whether :math:`\|F\|^2` and the residual add up to the trace of K.
    why : str
        A sentence.

    Examples
    --------
    >>> from spectra.kernels.rp_cholesky import rp_cholesky_of_gram
    >>> found = rp_cholesky_of_gram(np.diag([3.0, 1.0, 1.0]), num_columns=3)
    >>> found.eigenvalue.round(12).tolist(), found.num_columns, found.residual_trace
    ([3.0, 1.0, 1.0], 3, 0.0)
    """

    factor: Array
    trace: float
    residual_trace: float
    residual_diagonal: Vector
    pivots: np.ndarray
    num_evaluations: int
    eps: float
    stop: Stop
    is_trustworthy: bool
    why: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "residual_diagonal", frozen_array(self.residual_diagonal, name="residual_diagonal"))

    @property
    def num_columns(self) -> int:
        """Columns used, k."""
        return int(self.factor.shape[1])

    @property
    def num_samples(self) -> int:
        """Order of the matrix, n."""
        return int(self.factor.shape[0])

    @property
    def eigenvalue(self) -> Vector:
        """The k eigenvalues of FF' that can be positive, descending, float64 on the host."""
        return self._decomposition[0]

    @property
    def eigenvector(self) -> Array:
        """Orthonormal eigenvectors of FF', shape (n, k), on the device."""
        return self._decomposition[1]

    def spectrum(self) -> GramSpectrum:
        """Return the eigenvalues with the residual trace.

        Raises
        ------
        ArgumentError
            If there is no positive one.

        Examples
        --------
        >>> from spectra.kernels.rp_cholesky import rp_cholesky_of_gram
        >>> round(rp_cholesky_of_gram(np.eye(5), num_columns=2).spectrum().residual_trace, 12)
        3.0
        """
        if self.num_columns == 0:
            raise ArgumentError("an approximation of rank 0 has no positive eigenvalue: the kernel is zero")
        return GramSpectrum.of_eigenvalues(
            self.eigenvalue, num_samples=self.num_samples, eps=self.eps, residual_trace=self.residual_trace
        )

    def solve(self, V: Array, *, ridge: float) -> Array:
        r"""Return :math:`(FF' + \delta I)^{-1} V`, in the dtype of V.

        Parameters
        ----------
        V : array, shape (n,) or (n, b)
            In the library of the factor, float32 or float64.
        ridge : float
            :math:`\delta`, positive.

        Raises
        ------
        ArgumentError
            If the ridge is not positive.
        ShapeError
            If V has no n rows.

        Notes
        -----
        4 n k b operations after a singular value decomposition of F, which is kept: 4 n k^2. Identity of Woodbury
        (1950), in the orthonormal basis of the eigenvectors, so that nothing cancels for small ridges.

        Examples
        --------
        >>> from spectra.kernels.rp_cholesky import rp_cholesky_of_gram
        >>> rp_cholesky_of_gram(np.diag([3.0, 1.0]), num_columns=2).solve(np.ones(2), ridge=1.0).round(12).tolist()
        [0.25, 0.5]
        """
        delta = checked_ridge(ridge)
        if delta == 0:
            raise ArgumentError("an approximation of low rank can be inverted with a positive ridge only; got ridge=0")
        xp = namespace(V)
        if V.ndim not in (1, 2) or V.shape[0] != self.num_samples:
            raise ShapeError(f"V must have shape ({self.num_samples},) or ({self.num_samples}, b); got {V.shape}")
        columns = V[:, None] if V.ndim == 1 else V
        basis = xp.astype(self.eigenvector, V.dtype, copy=False)
        # 1/(w + d) - 1/d, without the difference
        shrink = -self.eigenvalue / (self.eigenvalue + delta) / delta
        weight = xp.asarray(shrink.astype(dtype_name(V.dtype)), device=device(V))
        inner = xp.matmul(xp.matrix_transpose(basis), columns)
        solved = columns / delta + xp.matmul(basis, weight[:, None] * inner)
        return solved[:, 0] if V.ndim == 1 else solved

    @cached_property
    def _decomposition(self) -> tuple[Vector, Any]:
        """Return eigenvalues and eigenvectors, from the singular values of F."""
        xp = namespace(self.factor)
        if self.num_columns == 0:
            return frozen_array(np.zeros(0), name="eigenvalue"), self.factor
        q, triangle = thin_factors(self.factor)
        left, sizes, _ = np.linalg.svd(triangle)
        vectors = xp.matmul(q, xp.asarray(np.ascontiguousarray(left), device=device(self.factor)))
        return frozen_array(sizes**2, name="eigenvalue"), vectors
