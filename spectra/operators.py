"""Symmetric linear operators, known only through the products ``A @ V``."""

from collections.abc import Callable
from typing import Any, final

from array_api_compat import device

from spectra.adapters import dense, is_scipy, scipy_product, scipy_template
from spectra.arrays import describe, detach, dtype_name, finite_number, is_array, namespace, require_real
from spectra.errors import BackendError, ShapeError
from spectra.protocols import Array

__all__ = ["Operator", "as_operator", "gram"]


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

    Examples
    --------
    >>> import numpy as np
    >>> A = Operator(lambda V: 3.0 * V, like=np.zeros(4))
    >>> A @ np.ones(4)
    array([3., 3., 3., 3.])
    >>> A.shape, A.num_matvecs
    ((4, 4), 1)
    """

    def __init__(self, matmat: Callable[[Array], Array], *, like: Array, name: str = "operator") -> None:
        self._xp = namespace(like)
        if like.ndim != 1 or like.shape[0] < 1:
            raise ShapeError(f"like must be one vector of shape (n,) with at least one entry, got {describe(like)}")
        require_real(like, what="like")
        self._matmat = matmat
        self._like = detach(like)
        self._name = str(name)
        self._num_matvecs = 0

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

    def shift(self, sigma: float) -> "Operator":
        """Return ``A + sigma I``.

        Examples
        --------
        >>> import numpy as np
        >>> as_operator(np.eye(2)).shift(2.0) @ np.ones(2)
        array([3., 3.])
        """
        sigma = finite_number(sigma, name="sigma")
        return Operator(lambda v: self @ v + sigma * v, like=self._like, name=f"{self._name} + {sigma:g} I")

    def scale(self, factor: float) -> "Operator":
        """Return ``factor A``."""
        factor = finite_number(factor, name="factor")
        return Operator(lambda v: factor * (self @ v), like=self._like, name=f"{factor:g} ({self._name})")

    def __add__(self, other: "Operator") -> "Operator":
        """Return ``A + B``; one product costs one product of each."""
        if not isinstance(other, Operator):
            return NotImplemented
        self.require_like(other.like, what=f"the operator {other.name!r} added to {self._name!r}")
        if other.shape != self.shape:
            raise ShapeError(f"operators of one shape are required, got {self.shape} and {other.shape}")
        return Operator(lambda v: self @ v + other @ v, like=self._like, name=f"{self._name} + {other.name}")

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
        >>> A = as_operator(np.diag([4.0, 9.0])).congruence(np.array([0.5, 1.0 / 3.0]))
        >>> A @ np.ones(2)
        array([1., 1.])
        """
        self.require_like(diagonal, what="the diagonal")
        if tuple(diagonal.shape) != self.shape[:1]:
            raise ShapeError(f"the diagonal must have shape {self.shape[:1]}, got {describe(diagonal)}")
        column = self._xp.asarray(detach(diagonal), copy=True)[:, None]
        return Operator(lambda v: column * (self @ (column * v)), like=self._like, name=f"D ({self._name}) D")

    def require_like(self, x: Array, *, what: str) -> None:
        """Raise unless ``x`` has the library, dtype and device of ``like``."""
        same = is_array(x) and namespace(x) is self._xp and x.dtype == self.dtype and device(x) == device(self._like)
        if not same:
            came = describe(x) if is_array(x) else type(x).__name__
            expected = f"{describe(self._like).partition(' array')[0]} array on {device(self._like)}"
            raise BackendError(f"{what} must be a {expected}, got {came}; convert it first")


def as_operator(a: Any, *, like: Array | None = None, name: str | None = None) -> Operator:
    """Wrap anything that multiplies blocks of vectors as an `Operator`.

    Parameters
    ----------
    a : Operator, dense array, scipy.sparse array, scipy LinearOperator, or any object with ``.shape`` and ``@``
        Real, symmetric, shape (n, n). Integer matrices are converted to float64. A matrix is not copied.
    like : array, shape (n,), optional
        Template that fixes dtype, device and array library; needed only for objects that are no arrays and have no
        attribute ``like``.
    name : str, optional
        By default ``a.name`` where there is one, else a description of ``a``.

    Returns
    -------
    Operator
        ``a`` itself where it is an Operator already and neither option asks for another.

    Raises
    ------
    ShapeError
        If ``a`` is not square, is empty, or does not fit ``like``.
    BackendError
        If ``a`` is complex, of an unsupported dtype, cannot be multiplied, or nothing says which arrays it multiplies.

    Notes
    -----
    No product is computed here.

    Examples
    --------
    >>> import numpy as np
    >>> as_operator(np.array([[2, 1], [1, 2]])) @ np.array([1.0, 1.0])
    array([3., 3.])
    """
    if isinstance(a, Operator) and like is None and name in (None, a.name):
        return a
    if not hasattr(a, "shape") or not hasattr(a, "__matmul__"):
        raise BackendError(
            f"an operator needs .shape and @, got {type(a).__name__}; pass an array, a scipy.sparse matrix, a "
            "LinearOperator, or Operator(matmat, like=...)"
        )
    shape = tuple(a.shape)
    if len(shape) != 2 or shape[0] != shape[1] or shape[0] < 1:
        raise ShapeError(f"an operator must be square with shape (n, n) and n >= 1, got shape {shape}")
    if is_array(a):
        matrix, template = dense(a, like)
        operator_name = name or "dense matrix"
        product: Callable[[Array], Array] = matrix.__matmul__
    elif is_scipy(a):
        template = scipy_template(a, like)
        operator_name = name or "SciPy operator"
        product = scipy_product(a, template)
    else:
        template = like if like is not None else getattr(a, "like", None)
        if template is None:
            raise BackendError(
                f"nothing says which arrays {type(a).__name__} multiplies; pass like=, an array of shape ({shape[0]},) "
                "with the library, dtype and device of the vectors"
            )
        operator_name = name or str(getattr(a, "name", None) or type(a).__name__)
        product = a.__matmul__
    operator = Operator(product, like=template, name=operator_name)
    if operator.shape != shape:
        raise ShapeError(
            f"like must have shape ({shape[0]},) to fit an operator of shape {shape}, got {describe(template)}"
        )
    return operator


def gram(b: Any, *, like: Array | None = None, name: str = "gram") -> Operator:
    """Return ``B'B``, of the order of the columns of ``B``; one product costs one with ``B`` and one with ``B'``.

    Parameters
    ----------
    b : dense array, scipy.sparse array or scipy LinearOperator, shape (m, n)
        Real. An integer matrix is converted to float64.
    like : array, shape (n,), optional
        As for `as_operator`.
    name : str
        Name of the operator.

    Raises
    ------
    ShapeError
        If ``b`` is not two-dimensional, or is empty.
    BackendError
        If ``b`` is complex or none of the kinds above.

    Examples
    --------
    >>> import numpy as np
    >>> gram(np.array([[1.0, 2.0]])) @ np.array([1.0, 0.0])
    array([1., 2.])
    """
    shape = tuple(getattr(b, "shape", ()))
    if len(shape) != 2 or 0 in shape:
        raise ShapeError(f"a matrix of shape (m, n), neither of them 0, is required; got shape {shape}")
    if is_array(b):
        matrix, template = dense(b, like)
        transpose = namespace(matrix).matrix_transpose(matrix)
        return Operator(lambda v: transpose @ (matrix @ v), like=template, name=name)
    if is_scipy(b):
        template = scipy_template(b, like)
        forward, backward = scipy_product(b, template), scipy_product(b.T, template)
        return Operator(lambda v: backward(forward(v)), like=template, name=name)
    raise BackendError(f"a dense array, a scipy.sparse array or a LinearOperator is required, got {type(b).__name__}")
