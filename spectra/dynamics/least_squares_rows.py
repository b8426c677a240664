"""Losses and batch gradients of an explicit least-squares problem, for many states at once."""

from dataclasses import dataclass

import numpy as np
from array_api_compat import device

from spectra.arrays import describe, detach, inner, namespace, require_real
from spectra.dynamics.sgd_steps import batch_gradient
from spectra.errors import BackendError, NonFiniteError, ShapeError
from spectra.exchange import device_name
from spectra.protocols import Array
from spectra.start_vectors import as_count

__all__ = ["LeastSquaresRows", "least_squares_rows", "require_finite_like"]

#: Bytes of rows that are gathered at once on a CPU, whose caches they should fit (measured for d = 1000: 128 KiB to
#: 1 MiB are equally fast, all rows of 32 runs up to twice as slow).
_CACHE_BYTES = 2**19


@dataclass(frozen=True, kw_only=True, eq=False)
class LeastSquaresRows:
    """``L(x) = 1/(2n) sum_i |A_i x - b_i|^2`` with q rows in each of n samples.

    Attributes
    ----------
    matrix : array, shape (n q, d)
    targets : array, shape (n, q)
    rows_per_sample : int
        q.
    max_bytes : int
        Bound of temporary arrays.
    """

    matrix: Array
    targets: Array
    rows_per_sample: int
    max_bytes: int

    @property
    def num_samples(self) -> int:
        """Return n."""
        return self.targets.shape[0]

    @property
    def num_parameters(self) -> int:
        """Return d."""
        return self.matrix.shape[1]

    def on_device(self, values: np.ndarray) -> Array:
        """Copy indices or weights to the device of A; weights get its dtype."""
        xp = namespace(self.matrix)
        dtype = self.matrix.dtype if values.dtype.kind == "f" else xp.int64
        return xp.asarray(values, dtype=dtype, device=device(self.matrix))

    def losses(self, states: Array) -> Array:
        """Return L of each state as float64 on the device."""
        total = 0.0
        for begin, end in self._pieces(states.shape[0]):
            residual = self._residual(states, begin, end)
            total = total + inner(residual, residual)
        return total / (2.0 * self.num_samples)

    def gradient(self, states: Array) -> Array:
        """Return ``A'(A x - b)/n`` of each state."""
        total = namespace(states).zeros_like(states)
        for begin, end in self._pieces(states.shape[0]):
            total += (self._residual(states, begin, end) / self.num_samples) @ self._rows(begin, end)
        return total

    def weighted_gradient(self, weights: Array, states: Array) -> Array:
        """Return ``sum_i w_i A_i'(A_i x - b_i)`` with the weights of each state, shape (runs, n), by whole products."""
        xp, total = namespace(states), namespace(states).zeros_like(states)
        for begin, end in self._pieces(states.shape[0]):
            residual = self._residual(states, begin, end)
            by_sample = xp.reshape(residual, (states.shape[0], end - begin, self.rows_per_sample))
            weighted = xp.reshape(by_sample * weights[:, begin:end, None], residual.shape)
            total += weighted @ self._rows(begin, end)
        return total

    def batch_gradient(self, samples: Array, batch_size: int, states: Array) -> Array:
        """Return the gradient of the mean loss of a batch for each state.

        Parameters
        ----------
        samples : array of int, shape (runs * batch_size,)
            The batch of the first state, then that of the second, and so on.
        batch_size : int
        states : array, shape (runs, d)
        """
        xp, (runs, d), q = namespace(states), states.shape, self.rows_per_sample
        by_sample = xp.reshape(self.matrix, (self.num_samples, q * d))
        room = min(self.max_bytes, _CACHE_BYTES) if device_name(states) == "cpu" else self.max_bytes
        count = max(1, room // (batch_size * q * d * 8))
        pieces = []
        for begin in range(0, runs, count):
            mine = states[begin : min(begin + count, runs), :]
            numbers = samples[begin * batch_size : (begin + mine.shape[0]) * batch_size]
            rows = xp.reshape(xp.take(by_sample, numbers, axis=0), (mine.shape[0], batch_size * q, d))
            targets = xp.reshape(xp.take(self.targets, numbers, axis=0), (mine.shape[0], batch_size * q))
            pieces.append(batch_gradient(mine, rows, targets, batch_size=batch_size))
        return pieces[0] if len(pieces) == 1 else xp.concat(pieces)

    def _rows(self, begin: int, end: int) -> Array:
        """Return the rows of samples ``begin`` to ``end``."""
        return self.matrix[begin * self.rows_per_sample : end * self.rows_per_sample, :]

    def _residual(self, states: Array, begin: int, end: int) -> Array:
        """Return ``A x - b`` for samples ``begin`` to ``end``, shape (runs, (end - begin) q)."""
        xp = namespace(states)
        targets = xp.reshape(self.targets[begin:end, :], (1, -1))
        return states @ xp.matrix_transpose(self._rows(begin, end)) - targets

    def _pieces(self, runs: int) -> list[tuple[int, int]]:
        """Return ranges of samples whose residuals keep within ``max_bytes``."""
        n, count = self.num_samples, max(1, self.max_bytes // (8 * runs * self.rows_per_sample))
        return [(begin, min(begin + count, n)) for begin in range(0, n, count)]


def least_squares_rows(A: Array, b: Array, *, rows_per_sample: int, max_bytes: int) -> LeastSquaresRows:
    """Check a least-squares problem and lay it out row by row.

    Raises
    ------
    BackendError
        If A is not a real array, or b is not one like it.
    ShapeError
        If A is not a non-empty matrix, b does not fit, or the rows do not make whole samples.
    NonFiniteError
        If an entry is NaN or infinite.
    """
    xp = namespace(A)
    require_real(A, what="A")
    if A.ndim != 2 or 0 in A.shape:
        raise ShapeError(f"A must be a matrix with at least one row and one column, got {describe(A)}")
    q = as_count(rows_per_sample, name="rows_per_sample")
    if A.shape[0] % q:
        raise ShapeError(f"A must have a multiple of rows_per_sample = {q} rows, got {A.shape[0]}")
    matrix = require_finite_like(A, A, shape=A.shape, what="A")
    # gathering wants each row in one piece; this copies only a matrix that is laid out by columns
    matrix = xp.reshape(xp.reshape(matrix, (-1,)), A.shape)
    targets = xp.reshape(require_finite_like(b, A, shape=(A.shape[0],), what="b"), (-1, q))
    return LeastSquaresRows(
        matrix=matrix, targets=targets, rows_per_sample=q, max_bytes=as_count(max_bytes, name="max_bytes")
    )


def require_finite_like(x: Array, like: Array, *, shape: tuple[int, ...], what: str) -> Array:
    """Return ``x`` without a record of derivatives; raise unless it fits another array and is finite.

    Raises
    ------
    BackendError
        If it is of another library, dtype or device.
    ShapeError
        If its shape is another.
    NonFiniteError
        If an entry is NaN or infinite.
    """
    xp = namespace(x)
    require_real(x, what=what)
    if xp is not namespace(like) or x.dtype != like.dtype or device(x) != device(like):
        raise BackendError(f"{what} must be of the library, dtype and device of {describe(like)}, got {describe(x)}")
    if tuple(x.shape) != tuple(shape):
        raise ShapeError(f"{what} must have shape {tuple(shape)}, got {describe(x)}")
    x = detach(x)
    if not bool(xp.all(xp.isfinite(x))):
        raise NonFiniteError(f"{what} must be finite, got NaN or infinity")
    return x
