"""Matrices of each kind as what an operator needs: a product function and a template vector."""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from array_api_compat import device

from spectra.arrays import describe, detach, dtype_name, namespace, require_real
from spectra.errors import BackendError
from spectra.protocols import Array

__all__ = ["dense", "is_scipy", "scipy_product", "scipy_template"]


def dense(a: Array, like: Array | None) -> tuple[Array, Array]:
    """Return the matrix in a usable dtype, and a template vector of its columns."""
    xp = namespace(a)
    a = detach(a)
    if dtype_name(a.dtype).startswith(("int", "uint", "bool")):
        a = xp.astype(a, xp.float64)
    require_real(a, what="a matrix")
    if like is None:
        return a, xp.zeros((a.shape[1],), dtype=a.dtype, device=device(a))
    require_real(like, what="like")
    if namespace(like) is not xp or device(like) != device(a):
        raise BackendError(f"like must have the library and device of the matrix, {describe(a)}; got {describe(like)}")
    return xp.astype(a, like.dtype, copy=False), like


def is_scipy(a: object) -> bool:
    """Whether ``a`` is a SciPy sparse matrix or LinearOperator, without importing SciPy."""
    module = sys.modules.get("scipy.sparse.linalg")
    is_operator = module is not None and isinstance(a, module.LinearOperator)
    return is_operator or type(a).__module__.startswith("scipy.sparse")


def scipy_template(a: Any, like: Array | None) -> np.ndarray:
    """Return the NumPy template vector for a SciPy object."""
    kind = np.dtype(a.dtype) if a.dtype is not None else np.dtype(np.float64)
    if kind.kind in "iub":
        kind = np.dtype(np.float64)
    require_real(np.zeros(0, dtype=kind), what="a SciPy operator")
    template = np.zeros(a.shape[1], dtype=kind) if like is None else like
    if not isinstance(template, np.ndarray):
        raise BackendError(f"SciPy operators multiply NumPy arrays; like must be one too, got {describe(like)}")
    return template


def scipy_product(a: Any, template: np.ndarray) -> Callable[[Array], Array]:
    """Return the product of a SciPy object with a block, in the dtype of the template."""

    def product(block: np.ndarray) -> np.ndarray:
        result = np.asarray(a @ block)
        if np.iscomplexobj(result):
            raise BackendError(f"a real product is required, got {describe(result)} from {type(a).__name__}")
        return result.astype(template.dtype, copy=False)

    return product
