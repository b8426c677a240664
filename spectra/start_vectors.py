"""Random start vectors, drawn on the host from (seed, index): equal on every array library and device."""

import operator as index_operator
from typing import Literal

import numpy as np
from array_api_compat import device

from spectra.arrays import describe, detach, dtype_name, inner, namespace, require_real, to_host
from spectra.errors import ArgumentError, ShapeError
from spectra.operators import Operator
from spectra.protocols import Array

__all__ = ["Distribution", "as_count", "as_seed", "start_vectors", "unit_rows"]

Distribution = Literal["sphere", "rademacher", "gaussian"]
_DISTRIBUTIONS = ("sphere", "rademacher", "gaussian")
_LARGEST_SEED = 2**63 - 1


def as_count(value: int, *, name: str, least: int = 1) -> int:
    """Return ``value`` as an int of at least ``least``.

    Raises
    ------
    ArgumentError
        If it is no integer (booleans are none), or too small.
    """
    try:
        number = index_operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool | np.bool_) or number < least:
        raise ArgumentError(f"{name} must be an integer of at least {least}, got {value!r}")
    return number


def as_seed(rng: int | np.random.Generator) -> int:
    """Return the seed that names a stream of start vectors: an int stays, a Generator is asked for one draw.

    Raises
    ------
    ArgumentError
        If ``rng`` is neither a Generator nor an int in [0, 2**63).

    Examples
    --------
    >>> as_seed(7)
    7
    """
    if isinstance(rng, np.random.Generator):
        return int(rng.integers(_LARGEST_SEED))
    try:
        seed = as_count(rng, name="rng", least=0)
    except ArgumentError as error:
        raise ArgumentError(f"rng must be an int of at least 0 or a numpy.random.Generator, got {rng!r}") from error
    if seed > _LARGEST_SEED:
        raise ArgumentError(f"rng must be smaller than 2**63 so that it can be stored, got {rng!r}")
    return seed


def start_vectors(
    like: Array,
    *,
    num: int,
    rng: int | np.random.Generator = 0,
    first: int = 0,
    distribution: Distribution = "sphere",
) -> Array:
    """Draw random vectors v with ``E[v v'] = I``.

    Column i is a pure function of ``(seed, first + i)``: more columns never change earlier ones, and every array
    library and device gets the same numbers, up to the rounding to its dtype.

    Parameters
    ----------
    like : array, shape (n,)
        Template: n, dtype, device and library of the result.
    num : int
        Number of columns.
    rng : int or numpy.random.Generator
        Seed. A Generator gives up one draw, see `as_seed`.
    first : int
        Index of the first column.
    distribution : {"sphere", "rademacher", "gaussian"}
        ``"sphere"`` is uniform on the sphere of radius sqrt(n): rotation invariant, without variance on multiples of
        the identity, and what the certificates of largest eigenvalues require. ``"rademacher"`` has independent
        signs and no variance on diagonal matrices. ``"gaussian"`` has independent standard normal entries.

    Returns
    -------
    array, shape (n, num)
        In the library, dtype and on the device of ``like``.

    Raises
    ------
    ArgumentError
        For a bad count, seed or distribution.
    ShapeError
        If ``like`` is not a non-empty vector.
    BackendError
        If ``like`` is not a float32 or float64 array.

    Notes
    -----
    No products. Drawn in float64 by NumPy on the host, one generator per column.

    Source: Girard (1989); Hutchinson (1990).

    Examples
    --------
    >>> import numpy as np
    >>> V = start_vectors(np.zeros(100), num=3)
    >>> np.allclose(np.linalg.norm(V, axis=0), 10.0)
    True
    >>> np.array_equal(start_vectors(np.zeros(100), num=1, first=2)[:, 0], V[:, 2])
    True
    """
    xp = namespace(like)
    require_real(like, what="like")
    if like.ndim != 1 or like.shape[0] < 1:
        raise ShapeError(f"like must be one-dimensional with at least one entry, got {describe(like)}")
    num, first, seed = as_count(num, name="num"), as_count(first, name="first", least=0), as_seed(rng)
    if distribution not in _DISTRIBUTIONS:
        raise ArgumentError(f"distribution must be one of {', '.join(_DISTRIBUTIONS)}; got {distribution!r}")
    n = like.shape[0]
    rows = np.empty((num, n), dtype=dtype_name(like.dtype))
    for i in range(num):
        rows[i] = _draw(np.random.default_rng([seed, first + i]), n, distribution)
    return xp.matrix_transpose(xp.asarray(rows, device=device(like)))


def unit_rows(start: Array, operator: Operator) -> tuple[Array, np.ndarray]:
    """Return the start vectors as rows of norm one, shape (p, n), and their norms on the host.

    Raises
    ------
    ShapeError, BackendError
        If they do not fit the operator.
    ArgumentError
        If one of them is zero or not finite.
    """
    xp = namespace(start)
    if start.ndim not in (1, 2) or start.shape[0] != operator.shape[0] or 0 in start.shape:
        n = operator.shape[0]
        raise ShapeError(f"start must have shape ({n},) or ({n}, p) to fit {operator.name!r}, got {describe(start)}")
    operator.require_like(start, what="start")
    start = detach(start)
    rows = start[None, :] if start.ndim == 1 else xp.matrix_transpose(start)
    largest = xp.max(xp.abs(rows), axis=1)
    top = to_host(largest)
    if not np.all(np.isfinite(top) & (top > 0)):
        probe = int(np.argmin(np.isfinite(top) & (top > 0)))
        raise ArgumentError(f"start vectors must be finite and nonzero; column {probe} has largest entry {top[probe]}")
    rows = rows / largest[:, None]
    norm = xp.sqrt(inner(rows, rows))
    unit = xp.empty_like(rows)
    unit[:, :] = rows / xp.astype(norm, rows.dtype)[:, None]
    return unit, top * to_host(norm)


def _draw(generator: np.random.Generator, n: int, distribution: Distribution) -> np.ndarray:
    """Draw one vector in float64."""
    if distribution == "rademacher":
        return 2.0 * generator.integers(0, 2, size=n) - 1.0
    vector = generator.standard_normal(n)
    if distribution == "gaussian":
        return vector
    return vector * (np.sqrt(n) / np.linalg.norm(vector))
