r"""Points in rows: checked once, and the squared distances between them without loss of digits.

The expansion :math:`|x-y|^2 = |x|^2 + |y|^2 - 2 x'y` costs one matrix product, but errs by eps times the squared size
of the points, whatever their distance. Functions of r that are linear at 0 turn that into its square root.
"""

import math
from typing import Any

import numpy as np
from array_api_compat import device

from spectra.arrays import describe, detach, dtype_name, eps, namespace, require_real, to_host
from spectra.errors import BackendError, NonFiniteError, ShapeError
from spectra.protocols import Array

__all__ = ["as_pair", "as_points", "is_alike", "squared_distances"]

#: Features up to which differences are formed one by one: as fast as a product there, and exact (measured).
DIRECT = 2
#: Squared distance, relative to the squared size of the points, below which a pair is evaluated again by differences.
#: What is left has a relative error of about eps / CLOSE, 1e-9 in r^2 (design choice).
CLOSE = 1e-6
#: Numbers gathered at once for such pairs; where they are more than this share of all, differences are formed for all.
GATHER, MANY = 2**21, 0.25


def as_points(X: Array, *, name: str = "X") -> Array:
    """Return points of shape (n, d) as float32 or float64 of their library; integers become float64.

    Parameters
    ----------
    X : array, shape (n, d)
        One point in each row.
    name : str
        For messages.

    Raises
    ------
    BackendError
        If it is no array, or complex or half precision.
    ShapeError
        If it has not two axes, or is empty.
    NonFiniteError
        If an entry is NaN or infinite; names the row.

    Examples
    --------
    >>> import numpy as np
    >>> as_points(np.eye(2, dtype=np.int64)).dtype
    dtype('float64')
    """
    xp = namespace(X)
    X = detach(X)
    if X.ndim != 2 or 0 in X.shape:
        hint = f"; one feature is {name}[:, None]" if X.ndim == 1 else ""
        raise ShapeError(f"{name} must have shape (n, d), at least one point and feature, got {describe(X)}{hint}")
    if dtype_name(X.dtype).startswith(("int", "uint", "bool")):
        X = xp.astype(X, xp.float64)
    require_real(X, what=name)
    finite = xp.all(xp.isfinite(X), axis=1)
    if not bool(xp.all(finite)):
        row = int(to_host(xp.astype(finite, xp.float64)).argmin())
        raise NonFiniteError(f"{name} must be finite; row {row} holds NaN or infinity. Drop such rows or impute them")
    return X


def as_pair(X: Array, Y: Array | None) -> tuple[Array, Array | None]:
    """Return two checked sets of points that fit together; the second is None if it is the first.

    Raises
    ------
    ShapeError
        If they differ in the number of features, or see :func:`as_points`.
    BackendError
        If library, dtype or device differ.
    NonFiniteError
        See :func:`as_points`.
    """
    first = as_points(X)
    if Y is None or Y is X:
        return first, None
    second = as_points(Y, name="Y")
    if not is_alike(first, second):
        raise BackendError(
            f"X and Y must share library, dtype and device, got {describe(first)} and {describe(second)}"
        )
    if first.shape[1] != second.shape[1]:
        raise ShapeError(f"X and Y must have equally many features, got {first.shape[1]} and {second.shape[1]}")
    return first, second


def is_alike(x: Array, y: Array) -> bool:
    """Whether two arrays share library, dtype and device.

    Examples
    --------
    >>> import numpy as np
    >>> is_alike(np.ones(2), np.ones((3, 3))), is_alike(np.ones(2), np.ones(2, dtype=np.float32))
    (True, False)
    """
    return namespace(x) is namespace(y) and x.dtype == y.dtype and device(x) == device(y)


def squared_distances(X: Array, Y: Array, *, scale: Any = 1.0, precise: bool = False) -> Array:
    r"""Return :math:`|x_i - y_j|^2 / \ell^2`, never negative.

    Parameters
    ----------
    X, Y : array, shapes (n, d) and (m, d)
        Checked points, see :func:`as_pair`.
    scale : float or tuple of d floats
        Length scale :math:`\ell`, or one for each feature.
    precise : bool
        Whether small distances need their relative accuracy: for functions that are not smooth in the *squared*
        distance. Then the product is formed in float64, and pairs that are much closer than the points are large are
        evaluated again by differences, so that copies have distance 0.

    Returns
    -------
    array, shape (n, m)
        In the dtype of the points; infinite beyond its range.

    Notes
    -----
    One product of inner length d + 2, whose errors are eps times the squared size of the points in length scales. Where
    that exceeds the root of eps, as with an outlier or a tiny length scale, the computation is precise anyway. Points
    are centered first, which does not change distances: with inputs shifted by 100 the float32 error was measured to
    grow ten-thousandfold without it.

    Measured errors of Gram matrices relative to the largest eigenvalue, in float32 with n = 1500, d = 3, copies and
    neighbors: Laplace 3e-6, single entries 1e-3, and 4e-8 if precise; RBF and Matérn 3/2 and 5/2 6e-8. In float64 with
    d = 10, entries of copies under Laplace: 3e-8, and 3e-16 if precise.

    Examples
    --------
    >>> import numpy as np
    >>> squared_distances(np.array([[0.0], [3.0]]), np.array([[4.0]])).tolist()
    [[16.0], [1.0]]
    """
    # Distances that overflow are infinite, and kernels of them 0.
    with np.errstate(over="ignore", invalid="ignore"):
        return _squared_distances(X, Y, _inverse(scale, X), precise=precise)


def _squared_distances(X: Array, Y: Array, factor: Array, *, precise: bool) -> Array:
    """Return squared distances for reciprocal length scales."""
    xp, dtype = namespace(X), X.dtype
    if X.shape[1] <= DIRECT:
        return _by_differences(X, Y, factor)
    if precise:
        X, Y, factor = (xp.astype(x, xp.float64) for x in (X, Y, factor))
    middle = (xp.sum(X, axis=0) + xp.sum(Y, axis=0)) / (X.shape[0] + Y.shape[0])
    first, second = (X - middle) * factor, (Y - middle) * factor
    left, right = (xp.sum(x * x, axis=1, keepdims=True) for x in (first, second))
    size = float(xp.max(left) + xp.max(right))
    if not precise and not size * eps(X) ** 0.5 <= 1.0:
        return xp.astype(_squared_distances(X, Y, factor, precise=True), dtype)
    if not math.isfinite(size):
        return xp.astype(_by_differences(X, Y, factor), dtype)
    rows = xp.concat([first, left, xp.ones_like(left)], axis=1)
    columns = xp.concat([-2.0 * second, xp.ones_like(right), right], axis=1)
    squares = rows @ columns.T
    # The smallest entry decides what is left to do: it costs a tenth of a clip (measured).
    smallest = float(xp.min(squares))
    if precise:
        if smallest < CLOSE * size:
            squares = _repair(squares, X, Y, factor, CLOSE * size)
        return xp.astype(squares, dtype)
    return xp.clip(squares, min=0.0) if smallest < 0.0 else squares


def _inverse(scale: Any, X: Array) -> Array:
    """Return the reciprocal length scales as an array that broadcasts over rows."""
    xp = namespace(X)
    given = scale if isinstance(scale, tuple) else (scale,)
    if isinstance(scale, tuple) and len(scale) != X.shape[1]:
        raise ShapeError(f"{len(given)} length scales do not fit points of {X.shape[1]} features")
    # Finite, so that copies have distance 0.
    largest = float(np.finfo(dtype_name(X.dtype)).max)
    return xp.asarray([min(1.0 / s, largest) for s in given], dtype=X.dtype, device=device(X))


def _by_differences(X: Array, Y: Array, factor: Array) -> Array:
    """Return squared distances feature by feature."""
    total = None
    for j in range(X.shape[1]):
        difference = (X[:, j, None] - Y[None, :, j]) * factor[min(j, factor.shape[0] - 1)]
        difference *= difference
        total = difference if total is None else total + difference
    return total


def _repair(squares: Array, X: Array, Y: Array, factor: Array, near: float) -> Array:
    """Return squared distances with those below ``near`` from differences of the points as given, not less than 0."""
    xp = namespace(X)
    close = squares < near
    i, j = xp.nonzero(close)
    if i.shape[0] > MANY * X.shape[0] * Y.shape[0]:
        return _by_differences(X, Y, factor)
    step = max(1, GATHER // X.shape[1])
    exact = []
    for begin in range(0, i.shape[0], step):
        part = slice(begin, min(begin + step, i.shape[0]))
        difference = (xp.take(X, i[part], axis=0) - xp.take(Y, j[part], axis=0)) * factor
        exact.append(xp.sum(difference * difference, axis=1))
    squares[close] = xp.concat(exact)
    return squares
