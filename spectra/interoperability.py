"""Operators for other libraries: as a SciPy LinearOperator, or with vectors of another array library."""

from typing import TYPE_CHECKING

import numpy as np

from spectra.arrays import describe, dtype_name
from spectra.errors import BackendError
from spectra.exchange import device_name, library_of, to_library
from spectra.operators import Operator, as_operator
from spectra.protocols import Array, SupportsMatmul

if TYPE_CHECKING:
    from scipy.sparse.linalg import LinearOperator

__all__ = ["as_scipy", "in_library"]


def in_library(A: SupportsMatmul | Array, library: str, *, device: str | None = None) -> Operator:
    """Return the operator for vectors of another array library, as for a PyTorch Hessian in a CuPy iteration.

    Each block goes to the operator's library and its image comes back, without a copy where both live on one device.

    Parameters
    ----------
    A : Operator or anything `as_operator` accepts, shape (n, n)
        The operator.
    library : {"numpy", "torch", "cupy", "array_api_strict"}
        Of the vectors to multiply.
    device : str, optional
        Where they live, as for `spectra.exchange.to_library`.

    Returns
    -------
    Operator
        Of the same dtype. Its products count for A as well. A itself, where nothing changes.

    Raises
    ------
    BackendError
        If the library is missing or has no device.
    ArgumentError
        If it is not supported.

    Notes
    -----
    No products.

    Examples
    --------
    >>> A = as_operator(np.diag([1.0, 2.0]))
    >>> in_library(A, "numpy") is A
    True
    """
    operator = as_operator(A)
    like = to_library(operator.like, library, device=device)
    if like is operator.like:
        return operator
    home, home_device = library_of(operator.like), device_name(operator.like)

    def product(block: Array) -> Array:
        image = operator @ to_library(block, home, device=home_device)
        return to_library(image, library, device=device_name(like))

    return Operator(product, like=like, name=operator.name)


def as_scipy(A: SupportsMatmul | Array) -> "LinearOperator":
    """Return the operator as a SciPy LinearOperator, for `scipy.sparse.linalg.eigsh`, ``lobpcg``, ``cg`` and others.

    Parameters
    ----------
    A : Operator or anything `as_operator` accepts, shape (n, n)
        Real symmetric. Of any array library; vectors are copied between the host and its device.

    Returns
    -------
    scipy.sparse.linalg.LinearOperator
        Its own adjoint, with the dtype of A and an attribute ``operator``: the `Operator`, whose ``num_matvecs`` counts
        the products.

    Raises
    ------
    ShapeError, BackendError
        If A is no operator. On multiplication, also for complex vectors.

    Notes
    -----
    No products. `as_operator` takes the result back.

    Examples
    --------
    >>> from scipy.sparse.linalg import eigsh
    >>> A = as_operator(np.diag(np.arange(1.0, 31.0)))
    >>> values = eigsh(as_scipy(A), k=2, return_eigenvectors=False, v0=np.ones(30))
    >>> values.round(9).tolist(), A.num_matvecs > 0
    ([29.0, 30.0], True)
    """
    from scipy.sparse.linalg import LinearOperator

    operator = as_operator(A)
    on_host = in_library(operator, "numpy")
    dtype = np.dtype(dtype_name(operator.dtype))

    def product(block: np.ndarray) -> np.ndarray:
        block = np.asarray(block)
        if np.iscomplexobj(block):
            raise BackendError(
                f"{operator.name!r} multiplies real vectors, got {describe(block)}; multiply real and imaginary part"
            )
        return on_host @ block.astype(dtype, copy=False)

    result = LinearOperator(
        shape=operator.shape, matvec=product, rmatvec=product, matmat=product, rmatmat=product, dtype=dtype
    )
    result.operator = operator
    return result
