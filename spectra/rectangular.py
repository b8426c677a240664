"""Real matrices of any shape, known through products with them and with their transposes."""

from collections.abc import Callable
from typing import Any, final

from array_api_compat import device

from spectra.adapters import is_scipy, scipy_product, scipy_template
from spectra.arrays import describe, detach, dtype_name, is_array, namespace, require_real
from spectra.errors import BackendError, ShapeError
from spectra.protocols import Array
from spectra.start_vectors import as_count

__all__ = ["RectangularOperator", "as_rectangular"]


@final
class RectangularOperator:
    """A real matrix of shape (m, n), known through products with it and with its transpose.

    Parameters
    ----------
    matmat : callable
        Maps an ``(n, k)`` block to the ``(m, k)`` block ``A V``. It is handed a copy.
    rmatmat : callable
        Maps an ``(m, k)`` block to the ``(n, k)`` block ``A' U``. It is handed a copy.
    shape : tuple of int
        ``(m, n)``; may be square, where A is not symmetric.
    like : array, shape (n,)
        Template: dtype, device and array library of the vectors on both sides.
    name : str
        Named in messages.

    Raises
    ------
    ShapeError
        If the shape is empty, or does not fit ``like``.
    BackendError
        If ``like`` is no float32 or float64 array.

    Examples
    --------
    >>> import numpy as np
    >>> a = np.array([[3.0, 0.0], [0.0, 4.0], [0.0, 0.0]])
    >>> A = RectangularOperator(lambda v: a @ v, lambda u: a.T @ u, shape=(3, 2), like=np.zeros(2))
    >>> A @ np.ones(2)
    array([3., 4., 0.])
    >>> A.transpose().shape
    (2, 3)
    """

    def __init__(
        self,
        matmat: Callable[[Array], Array],
        rmatmat: Callable[[Array], Array],
        *,
        shape: tuple[int, int],
        like: Array,
        name: str = "operator",
    ) -> None:
        self._xp = namespace(like)
        require_real(like, what="like")
        shape = (as_count(shape[0], name="rows"), as_count(shape[1], name="columns"))
        if like.ndim != 1 or like.shape[0] != shape[1]:
            raise ShapeError(
                f"like must have shape ({shape[1]},) to fit a matrix of shape {shape}, got {describe(like)}"
            )
        self.shape = shape
        self.like = detach(like)
        self.name = str(name)
        self._matmat, self._rmatmat = matmat, rmatmat

    def __repr__(self) -> str:
        """Return name, shape and dtype."""
        return f"<RectangularOperator {self.name!r}: {self.shape[0]} x {self.shape[1]}, {dtype_name(self.like.dtype)}>"

    def __matmul__(self, other: Array) -> Array:
        """Multiply a vector ``(n,)`` or a block ``(n, k)``.

        Raises
        ------
        ShapeError
            If the shape does not fit.
        """
        if other.ndim not in (1, 2) or other.shape[0] != self.shape[1]:
            n = self.shape[1]
            raise ShapeError(f"{self.name!r} multiplies arrays of shape ({n},) or ({n}, k), got {describe(other)}")
        return self.matmat(other[:, None])[:, 0] if other.ndim == 1 else self.matmat(other)

    def matmat(self, block: Array) -> Array:
        """Return ``A V`` for an ``(n, k)`` block; k products."""
        return self._checked(self._matmat, block, rows=self.shape[0])

    def rmatmat(self, block: Array) -> Array:
        """Return ``A' U`` for an ``(m, k)`` block; k products."""
        return self._checked(self._rmatmat, block, rows=self.shape[1])

    def transpose(self) -> "RectangularOperator":
        """Return ``A'``."""
        like = self._xp.zeros((self.shape[0],), dtype=self.like.dtype, device=device(self.like))
        shape = (self.shape[1], self.shape[0])
        return RectangularOperator(self._rmatmat, self._matmat, shape=shape, like=like, name=f"({self.name})'")

    def _checked(self, product: Callable[[Array], Array], block: Array, *, rows: int) -> Array:
        """Return a product whose library, dtype, device and shape have been looked at."""
        result = product(self._xp.asarray(block, copy=True))
        same = is_array(result) and namespace(result) is self._xp and result.dtype == self.like.dtype
        if not same or device(result) != device(self.like):
            came = describe(result) if is_array(result) else type(result).__name__
            raise BackendError(f"products with {self.name!r} must be arrays like {describe(self.like)}, got {came}")
        if tuple(result.shape) != (rows, block.shape[1]):
            raise ShapeError(
                f"products with {self.name!r} must have shape {(rows, block.shape[1])}, got {describe(result)}"
            )
        return detach(result)


def as_rectangular(a: Any, *, like: Array | None = None, name: str | None = None) -> RectangularOperator:
    """Wrap a matrix of any shape: a dense array, a scipy.sparse array or a SciPy LinearOperator with ``rmatmat``.

    Parameters
    ----------
    a : RectangularOperator, dense array, scipy.sparse array or scipy LinearOperator, shape (m, n)
        Real. An integer matrix is converted to float64. Not copied.
    like : array, shape (n,), optional
        Template that fixes the dtype.
    name : str, optional
        Named in messages.

    Raises
    ------
    ShapeError
        If ``a`` is not two-dimensional, or is empty.
    BackendError
        If ``a`` is complex or none of the kinds above.

    Examples
    --------
    >>> import numpy as np
    >>> as_rectangular(np.ones((3, 2))).rmatmat(np.ones((3, 1)))[:, 0]
    array([3., 3.])
    """
    if isinstance(a, RectangularOperator):
        return a
    shape = tuple(getattr(a, "shape", ()))
    if len(shape) != 2 or 0 in shape:
        raise ShapeError(f"a matrix of shape (m, n), neither of them 0, is required; got shape {shape}")
    if is_array(a):
        xp = namespace(a)
        matrix = detach(a)
        if dtype_name(matrix.dtype).startswith(("int", "uint", "bool")):
            matrix = xp.astype(matrix, xp.float64)
        require_real(matrix, what="a matrix")
        template = xp.zeros((shape[1],), dtype=matrix.dtype, device=device(matrix)) if like is None else like
        matrix = xp.astype(matrix, template.dtype, copy=False)
        transposed = xp.matrix_transpose(matrix)
        return RectangularOperator(
            matrix.__matmul__, transposed.__matmul__, shape=shape, like=template, name=name or "dense matrix"
        )
    if is_scipy(a):
        template = scipy_template(a, like)
        return RectangularOperator(
            scipy_product(a, template),
            scipy_product(a.T, template),
            shape=shape,
            like=template,
            name=name or "SciPy operator",
        )
    raise BackendError(
        f"a dense array, a scipy.sparse array, a LinearOperator or a RectangularOperator is required, got "
        f"{type(a).__name__}"
    )
