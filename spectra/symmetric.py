"""Symmetric linear operators, known only through the products ``A @ V``."""

import numbers
from collections.abc import Callable, Mapping
from typing import Any, final

from array_api_compat import device

from spectra.arrays import describe, detach, dtype_name, finite_number, is_array, namespace, require_real
from spectra.errors import ArgumentError, BackendError, ShapeError
from spectra.protocols import Array
from spectra.row_selection import RowSelection

__all__ = ["Operator"]


@final
class Operator:
    """A real symmetric operator of order n, given by a function that multiplies a block of columns.

    Parameters
    ----------
    matmat : callable
        Maps an ``(n, k)`` array to the ``(n, k)`` array ``A V``. It is handed a copy, so that it may overwrite it.
    like : array, shape (n,)
        Template. It alone fixes the order n, the dtype (float32 or float64), the device and the array library of
        everything that goes in and out; its values do not matter.
    name : str
        Named in messages and stored with results.
    facts : callable, optional
        Returns texts by name that are stored with results, such as how products were formed.

    Attributes
    ----------
    shape : tuple of int
        ``(n, n)``.
    num_matvecs : int
        Columns multiplied so far.

    Raises
    ------
    ShapeError
        If ``like`` is not one-dimensional, or is empty.
    BackendError
        If ``like`` is not an array, or its dtype is not float32 or float64 (complex numbers are refused).

    Notes
    -----
    Symmetry is assumed, not enforced: `spectra.testing.check_operator` and `spectra.slq` test it.

    Operators of one kind of vectors can be added, subtracted, negated, and multiplied or divided by a number. The
    result multiplies by its parts, whose counters run on.

    Examples
    --------
    >>> import numpy as np
    >>> A = Operator(lambda V: 3.0 * V, like=np.zeros(4))
    >>> A @ np.ones(4)
    array([3., 3., 3., 3.])
    >>> A.shape, A.num_matvecs
    ((4, 4), 1)
    """

    # Without this NumPy would take an operator for the scalar of an object array, in np.float64(2.0) * A for one.
    __array_ufunc__ = None

    def __init__(
        self,
        matmat: Callable[[Array], Array],
        *,
        like: Array,
        name: str = "operator",
        facts: Callable[[], Mapping[str, str]] | None = None,
    ) -> None:
        self._xp = namespace(like)
        if like.ndim != 1 or like.shape[0] < 1:
            raise ShapeError(f"like must be one vector of shape (n,) with at least one entry, got {describe(like)}")
        require_real(like, what="like")
        self._matmat = matmat
        self._like = detach(like)
        self._name = str(name)
        self._num_matvecs = 0
        self._facts = facts

    @property
    def facts(self) -> dict[str, str]:
        """What is stored with results besides the name, as of now."""
        return {} if self._facts is None else {str(key): str(value) for key, value in self._facts().items()}

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns, ``(n, n)``."""
        return (self._like.shape[0], self._like.shape[0])

    @property
    def dtype(self) -> Any:
        """The dtype of the array library."""
        return self._like.dtype

    @property
    def like(self) -> Array:
        """Template array of shape ``(n,)``."""
        return self._like

    @property
    def name(self) -> str:
        """Name used in messages and results."""
        return self._name

    @property
    def num_matvecs(self) -> int:
        """Columns multiplied so far."""
        return self._num_matvecs

    def __repr__(self) -> str:
        """Return name, order, dtype and number of products."""
        n = self.shape[0]
        return f"<Operator {self._name!r}: {n} x {n}, {dtype_name(self.dtype)}, {self._num_matvecs} products>"

    def __matmul__(self, other: Array) -> Array:
        """Multiply a vector ``(n,)`` or a block ``(n, k)``; costs k products.

        Raises
        ------
        ShapeError
            If the shape does not fit, on the way in or out.
        BackendError
            If library, dtype or device differ from those of ``like``, on the way in or out.
        """
        self.require_like(other, what=f"the array multiplied by {self._name!r}")
        if other.ndim not in (1, 2) or other.shape[0] != self.shape[0] or 0 in other.shape:
            n = self.shape[0]
            raise ShapeError(f"{self._name!r} multiplies arrays of shape ({n},) or ({n}, k), got {describe(other)}")
        block = self._xp.asarray(detach(other), copy=True)
        if other.ndim == 1:
            return self.multiply_block(block[:, None])[:, 0]
        return self.multiply_block(block)

    def multiply_block(self, block: Array) -> Array:
        """Multiply an ``(n, k)`` block which the function behind the operator may overwrite; costs k products.

        Raises
        ------
        ShapeError, BackendError
            If what comes back is not an ``(n, k)`` array of the same library, dtype and device.
        """
        shape = tuple(block.shape)
        self._num_matvecs += shape[1]
        product = self._matmat(block)
        self.require_like(product, what=f"the product returned by {self._name!r}")
        if tuple(product.shape) != shape:
            raise ShapeError(
                f"the product returned by {self._name!r} must have shape {shape}, got {describe(product)}; "
                "a matmat function receives and returns blocks of columns"
            )
        return detach(product)

    def __add__(self, other: "Operator") -> "Operator":
        """Return ``A + B``; one product costs one product of each.

        Examples
        --------
        >>> import numpy as np
        >>> A = Operator(lambda V: 3.0 * V, like=np.zeros(2), name="A")
        >>> B = Operator(lambda V: V[::-1], like=np.zeros(2), name="B")
        >>> (2.0 * A - B / 2.0) @ np.array([1.0, 2.0])
        array([ 5. , 11.5])
        """
        if not isinstance(other, Operator):
            return NotImplemented
        self._require_summand(other)
        return Operator(lambda v: self @ v + other @ v, like=self._like, name=f"{self._name} + {other.name}")

    def __sub__(self, other: "Operator") -> "Operator":
        """Return ``A - B``; one product costs one product of each."""
        if not isinstance(other, Operator):
            return NotImplemented
        self._require_summand(other)
        return Operator(lambda v: self @ v - other @ v, like=self._like, name=f"{self._name} - ({other.name})")

    def __neg__(self) -> "Operator":
        """Return ``-A``."""
        return Operator(lambda v: -(self @ v), like=self._like, name=f"-({self._name})")

    def __mul__(self, factor: float) -> "Operator":
        """Return ``A * factor``, the same as `scale`; the factor is one number."""
        return self.scale(factor) if isinstance(factor, numbers.Real) else NotImplemented

    __rmul__ = __mul__

    def __truediv__(self, divisor: float) -> "Operator":
        """Return ``A / divisor``."""
        if not isinstance(divisor, numbers.Real):
            return NotImplemented
        divisor = finite_number(divisor, name="divisor")
        if divisor == 0.0:
            raise ArgumentError(f"the divisor of {self._name!r} must not be zero")
        return Operator(lambda v: (self @ v) / divisor, like=self._like, name=f"({self._name}) / {divisor:g}")

    def scale(self, factor: float) -> "Operator":
        """Return ``factor A``.

        Raises
        ------
        ArgumentError
            If the factor is not a finite number.
        """
        factor = finite_number(factor, name="factor")
        return Operator(lambda v: factor * (self @ v), like=self._like, name=f"{factor:g} ({self._name})")

    def shift(self, sigma: float) -> "Operator":
        """Return ``A + sigma I``.

        Raises
        ------
        ArgumentError
            If sigma is not a finite number.

        Examples
        --------
        >>> import numpy as np
        >>> Operator(lambda V: V, like=np.zeros(2)).shift(2.0) @ np.ones(2)
        array([3., 3.])
        """
        sigma = finite_number(sigma, name="sigma")
        return Operator(lambda v: self @ v + sigma * v, like=self._like, name=f"{self._name} + {sigma:g} I")

    def submatrix(self, index: Any) -> "Operator":
        """Return the principal submatrix ``E'AE`` of some coordinates; one product costs one product of A.

        Its eigenvalues interlace with those of A (Cauchy; Horn and Johnson 2012, theorem 4.3.28).

        Parameters
        ----------
        index : slice, or integers of shape (m,)
            Which rows and columns, in which order; none twice, none negative. A list or an array of any library.

        Raises
        ------
        ArgumentError
            If nothing is selected, something twice, or something outside.

        Examples
        --------
        >>> import numpy as np
        >>> A = Operator(lambda V: np.diag([1.0, 2.0, 3.0]) @ V, like=np.zeros(3))
        >>> A.submatrix([2, 0]) @ np.ones(2)
        array([3., 1.])
        """
        rows = RowSelection(index, like=self._like)
        name = f"submatrix of {self._name}"
        return Operator(lambda v: rows.take(self.multiply_block(rows.pad(v))), like=rows.take(self._like), name=name)

    def congruence(self, diagonal: Array) -> "Operator":
        """Return ``diag(d) A diag(d)``, the operator seen by a diagonally preconditioned method.

        With ``d = P**(-1/2)`` its eigenvalues are those of ``P**(-1) A``.

        Raises
        ------
        ShapeError
            If ``diagonal`` does not have shape ``(n,)``.
        BackendError
            If library, dtype or device differ from those of ``like``.

        Examples
        --------
        >>> import numpy as np
        >>> A = Operator(lambda V: np.diag([4.0, 9.0]) @ V, like=np.zeros(2))
        >>> A.congruence(np.array([0.5, 1.0 / 3.0])) @ np.ones(2)
        array([1., 1.])
        """
        self.require_like(diagonal, what="the diagonal")
        if tuple(diagonal.shape) != self.shape[:1]:
            raise ShapeError(f"the diagonal must have shape {self.shape[:1]}, got {describe(diagonal)}")
        column = self._xp.asarray(detach(diagonal), copy=True)[:, None]
        return Operator(lambda v: column * (self @ (column * v)), like=self._like, name=f"D ({self._name}) D")

    def _require_summand(self, other: "Operator") -> None:
        """Raise unless the other operator can be added."""
        self.require_like(other.like, what=f"the operator {other.name!r} combined with {self._name!r}")
        if other.shape != self.shape:
            raise ShapeError(f"operators of one shape are required, got {self.shape} and {other.shape}")

    def require_like(self, x: Array, *, what: str) -> None:
        """Raise unless ``x`` has the library, dtype and device of ``like``."""
        same = is_array(x) and namespace(x) is self._xp and x.dtype == self.dtype and device(x) == device(self._like)
        if not same:
            came = describe(x) if is_array(x) else type(x).__name__
            expected = f"{describe(self._like).partition(' array')[0]} array on {device(self._like)}"
            raise BackendError(f"{what} must be a {expected}, got {came}; convert it first")
