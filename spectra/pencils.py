"""Reduce a symmetric pencil (A, B), B positive definite, to one operator with the same eigenvalues."""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from array_api_compat import device

from spectra.arrays import describe, dtype_name, is_array, namespace, to_host
from spectra.errors import ArgumentError, BackendError, ShapeError
from spectra.operators import Operator
from spectra.protocols import Array

__all__ = ["Metric", "reduce_pencil"]

Metric: TypeAlias = Array | tuple[Callable[[Array], Array], Callable[[Array], Array]]
"""The diagonal of B, shape (n,), or a pair of block products with F and with F', where ``F F' = B**-1``."""


def reduce_pencil(operator: Operator, metric: Metric) -> tuple[Operator, int]:
    """Return ``F' A F`` with ``F F' = B**-1``; its eigenvalues times ``2**e`` are those of ``A x = lambda B x``.

    Parameters
    ----------
    operator : Operator, shape (n, n)
        A.
    metric : array of shape (n,), or pair of callables
        The positive diagonal of B; or the block products ``V -> F V`` and ``V -> F' V``. With a Cholesky factor,
        ``B = L L'``, these solve with ``L'`` and with ``L``.

    Returns
    -------
    operator : Operator
    exponent : int
        e, with which a diagonal was brought to order one.

    Raises
    ------
    ArgumentError
        If a diagonal is not positive and finite, or the metric is neither of the two.
    ShapeError, BackendError
        If a diagonal does not fit the operator.

    Notes
    -----
    No product is computed here.

    Examples
    --------
    >>> import numpy as np
    >>> from spectra import as_operator
    >>> C, exponent = reduce_pencil(as_operator(np.diag([4.0, 9.0])), np.array([1.0, 9.0]))
    >>> (np.diag(C @ np.eye(2)) * 2.0**exponent).tolist()
    [4.0, 1.0]
    """
    if is_array(metric):
        return _divide_by_diagonal(operator, metric)
    if not (isinstance(metric, tuple) and len(metric) == 2 and all(callable(product) for product in metric)):
        raise ArgumentError(
            "metric must be the diagonal of B, or a pair of functions that multiply blocks by F and by F', F F' = "
            f"B**-1; got {type(metric).__name__}"
        )
    factor, transposed = metric

    def product(block: Array) -> Array:
        return transposed(operator @ factor(block))

    return Operator(product, like=operator.like, name=f"F' ({operator.name}) F"), 0


def _divide_by_diagonal(operator: Operator, metric: Array) -> tuple[Operator, int]:
    """Return ``D A D`` with ``D = (2**e B)**-1/2``."""
    if tuple(metric.shape) != operator.shape[:1]:
        raise ShapeError(f"the diagonal of the metric must have shape {operator.shape[:1]}, got {describe(metric)}")
    if namespace(metric) is not namespace(operator.like):
        raise BackendError(f"the metric must be an array like {describe(operator.like)}, got {describe(metric)}")
    values = to_host(metric)
    if not np.all(np.isfinite(values) & (values > 0)):
        worst = values[np.argmin(np.isfinite(values) & (values > 0))]
        raise ArgumentError(f"the diagonal of the metric must be positive and finite, got an entry {worst}")
    exponent = int(np.frexp(np.max(values))[1])
    root = (1.0 / np.sqrt(np.ldexp(values, -exponent))).astype(dtype_name(operator.dtype))
    xp = namespace(operator.like)
    return operator.congruence(xp.asarray(root, device=device(operator.like))), -exponent
