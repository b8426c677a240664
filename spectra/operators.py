"""Anything that multiplies vectors, as an `Operator`."""

from collections.abc import Callable
from typing import Any

from spectra.adapters import dense, is_scipy, scipy_product, scipy_template
from spectra.arrays import describe, is_array, namespace
from spectra.errors import BackendError, ShapeError
from spectra.protocols import Array
from spectra.symmetric import Operator

__all__ = ["Operator", "as_operator", "gram"]


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
        By default ``a.name`` where there is one, else a description of ``a``. If ``a`` has an attribute ``facts``, a
        mapping of names to texts, these are stored with results.

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
    facts = (lambda: a.facts) if hasattr(a, "facts") else None
    operator = Operator(product, like=template, name=operator_name, facts=facts)
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
