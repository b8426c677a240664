"""Lanczos tridiagonalization, many start vectors at once, with full reorthogonalization."""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import numpy as np

from spectra.arrays import describe, detach, eps, namespace, to_host
from spectra.errors import ArgumentError, NonFiniteError, ShapeError
from spectra.operators import Operator, as_operator
from spectra.protocols import Array, Progress, SupportsMatmul
from spectra.start_vectors import as_count

__all__ = ["BREAKDOWN", "Iteration", "Ritz", "Tridiagonal", "lanczos", "ritz", "tridiagonal_eigh"]

BREAKDOWN = 64.0
"""A coupling of at most this many eps times the norm seen so far ends a Krylov space; rounding made it up to 21 eps."""

_CHECK_EVERY = 8


class Ritz(NamedTuple):
    """Eigenvalues of a tridiagonal matrix (ascending), quadrature weights (sum 1), residual norms; each shape (k,)."""

    values: np.ndarray
    weights: np.ndarray
    residuals: np.ndarray


def tridiagonal_eigh(diagonal: np.ndarray, off_diagonal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return eigenvalues (ascending) and eigenvectors (columns) of a symmetric tridiagonal matrix, at any scale.

    Parameters
    ----------
    diagonal : ndarray, shape (k,)
    off_diagonal : ndarray, shape (k - 1,) or longer
        Further entries are ignored.

    Examples
    --------
    >>> import numpy as np
    >>> values, _ = tridiagonal_eigh(np.array([2.0, 2.0]), np.array([1.0]))
    >>> values.round(12).tolist()
    [1.0, 3.0]
    """
    k = len(diagonal)
    off_diagonal = off_diagonal[: k - 1]
    largest = max(np.max(np.abs(diagonal)), np.max(np.abs(off_diagonal), initial=0.0))
    exponent = math.frexp(largest)[1]
    matrix = np.diag(np.ldexp(diagonal, -exponent))
    below = np.ldexp(off_diagonal, -exponent)
    matrix[np.arange(1, k), np.arange(k - 1)] = below
    values, vectors = np.linalg.eigh(matrix, UPLO="L")
    return np.ldexp(values, exponent), vectors


def ritz(diagonal: np.ndarray, off_diagonal: np.ndarray, num_steps: int) -> Ritz:
    """Return Ritz values, Gauss weights and residual norms of the leading block of order ``num_steps``.

    With ``T = S diag(theta) S'``: weights ``S[0, k]**2``, residual norms ``b |S[-1, k]|`` where b couples the block to
    the next vector.

    Source: Golub and Welsch (1969); Paige (1972).
    """
    values, vectors = tridiagonal_eigh(diagonal[:num_steps], off_diagonal)
    weights = vectors[0] ** 2
    residuals = off_diagonal[num_steps - 1] * np.abs(vectors[-1])
    return Ritz(values, weights / np.sum(weights), residuals)


@dataclass(frozen=True, eq=False, kw_only=True)
class Tridiagonal:
    """Tridiagonal matrices, one per start vector: small, NumPy float64, on the host.

    Attributes
    ----------
    diagonal : ndarray, shape (p, m)
        ``a_j``; zero beyond ``num_steps``.
    off_diagonal : ndarray, shape (p, m)
        ``b_j`` couples step j with the next one: entry ``num_steps - 1`` is the residual coupling, zero where the
        Krylov space was exhausted.
    num_steps : ndarray of int, shape (p,)
        Order of each matrix: the steps asked for, or fewer where the Krylov space is smaller.
    start_norm : ndarray, shape (p,)
        Norms of the start vectors.
    num_matvecs : int
        Products spent.
    basis : array, shape (p, m, n), or None
        Orthonormal rows in the library and on the device of the operator; zero rows beyond ``num_steps``.
    """

    diagonal: np.ndarray
    off_diagonal: np.ndarray
    num_steps: np.ndarray
    start_norm: np.ndarray
    num_matvecs: int
    basis: Array | None = None

    def ritz(self, probe: int) -> Ritz:
        """Return Ritz values (ascending), weights (sum 1) and residual norms of one start vector."""
        return ritz(self.diagonal[probe], self.off_diagonal[probe], int(self.num_steps[probe]))


@final
class Iteration:
    """A Lanczos iteration that can be advanced further; `lanczos` is the short way to run one.

    Parameters
    ----------
    A : Operator or SupportsMatmul
        Symmetric, order n.
    start : array, shape (n,) or (n, p)
        Nonzero start vectors.
    store : int
        Vectors for which storage is allocated at a time, ``store p n`` numbers; 0 stores none and does not
        reorthogonalize.

    Attributes
    ----------
    vectors : array, shape (p, n)
        Current Lanczos vectors; zero for a start vector whose Krylov space is exhausted.
    num_done : int
        Steps done.
    """

    def __init__(self, A: SupportsMatmul | Array, start: Array, *, store: int, reorthogonalize: bool = True) -> None:
        self.operator: Operator = as_operator(A)
        xp = self._xp = namespace(self.operator.like)
        self.vectors, self.start_norm = _unit_rows(start, self.operator)
        p = self.vectors.shape[0]
        kind = {"dtype": self.operator.dtype, "device": self.vectors.device}
        self._previous = xp.zeros_like(self.vectors)
        self._coupling = xp.zeros((p,), **kind)
        self._norm = xp.zeros((p,), **kind)
        self._alive = xp.ones((p,), dtype=xp.bool, device=self.vectors.device)
        self._image: Array | None = None
        self._exponent: int | None = None
        self._store, self._reorthogonalize = store, reorthogonalize
        self._blocks: list[Array] = []
        self._pending: list[tuple[Array, Array]] = []
        self._diagonal = np.zeros((p, 0))
        self._off_diagonal = np.zeros((p, 0))
        self.num_done = 0
        self.num_matvecs = 0

    @property
    def exhausted(self) -> bool:
        """Whether no Krylov space can grow further (as known from the last look)."""
        ended = self._off_diagonal.shape[1] > 0 and bool(np.all(self._off_diagonal[:, -1] == 0.0))
        return ended or self.num_done >= self.operator.shape[0]

    def image(self) -> Array:
        """Return ``2**-e A q`` for the current vectors, shape (p, n); costs p products unless it is still pending."""
        if self._image is None:
            xp = self._xp
            image = xp.empty_like(self.vectors)
            image[:, :] = xp.matrix_transpose(self.operator @ xp.matrix_transpose(self.vectors))
            self.num_matvecs += image.shape[0]
            if self._exponent is None:
                largest = float(xp.max(xp.abs(image)))
                if not math.isfinite(largest):
                    rows = np.isfinite(to_host(xp.max(xp.abs(image), axis=1)))
                    raise _non_finite(self.operator, step=1, probe=int(np.argmin(rows)))
                self._exponent = math.frexp(largest)[1]
            self._image = self.scaled(image)
        return self._image

    def scaled(self, product: Array) -> Array:
        """Multiply a product by the power of two ``2**-e`` that makes the operator's entries of order one."""
        exponent = -(self._exponent or 0)
        half = exponent // 2
        return product if exponent == 0 else product * 2.0**half * 2.0 ** (exponent - half)

    def advance(self, num_steps: int, *, progress: Progress | None = None, total: int = 0) -> None:
        """Do up to ``num_steps`` further steps, fewer if every Krylov space is exhausted; p products each.

        Raises
        ------
        NonFiniteError
            If a product contained NaN or infinity; names step and start vector.
        """
        for _ in range(num_steps):
            if self.num_done >= self.operator.shape[0]:
                break
            self._step()
            if progress is not None:
                progress(self.num_done, max(total, self.num_done))
            if self.num_done % _CHECK_EVERY == 0:
                self._read()
                if self.exhausted:
                    break
        self._read()

    def tridiagonal(self, *, basis: bool = False) -> Tridiagonal:
        """Return the matrices found so far."""
        exponent = self._exponent or 0
        with np.errstate(over="ignore"):
            diagonal = np.ldexp(self._diagonal, exponent)
            off_diagonal = np.ldexp(self._off_diagonal, exponent)
        if not (np.all(np.isfinite(diagonal)) and np.all(np.isfinite(off_diagonal))):
            raise NonFiniteError(
                f"the norm of {self.operator.name!r} exceeds the largest float64; scale the operator down"
            )
        ends = off_diagonal == 0.0
        order = np.where(np.any(ends, axis=1), np.argmax(ends, axis=1) + 1, diagonal.shape[1])
        m = int(np.max(order))
        return Tridiagonal(
            diagonal=diagonal[:, :m],
            off_diagonal=off_diagonal[:, :m],
            num_steps=order,
            start_norm=self.start_norm,
            num_matvecs=self.num_matvecs,
            basis=self._blocks[0][:, :m, :] if basis else None,
        )

    def combine(self, probe: int, coefficients: np.ndarray) -> Array:
        """Return ``Q c``, shape (n, r), for coefficients (k, r) on the first k stored vectors of one start vector."""
        xp, like = self._xp, self.operator.like
        coefficients = xp.asarray(coefficients.astype(_numpy_dtype(like)), device=like.device)
        total = None
        for b, block in enumerate(self._blocks):
            part = coefficients[b * self._store : min((b + 1) * self._store, coefficients.shape[0]), :]
            if part.shape[0] > 0:
                term = xp.matmul(xp.matrix_transpose(block[probe, : part.shape[0], :]), part)
                total = term if total is None else total + term
        return total

    def _step(self) -> None:
        """Do one step for every start vector, without waiting for the device."""
        xp, q, w = self._xp, self.vectors, self.image()
        self._keep(q)
        a = xp.where(self._alive, xp.vecdot(q, w), 0.0)
        w = w - a[:, None] * q - self._coupling[:, None] * self._previous
        if self._reorthogonalize:
            self._project(w)
            self._project(w)
        w = xp.where(self._alive[:, None], w, 0.0)
        b = xp.linalg.vector_norm(w, axis=-1)
        self._norm = xp.maximum(self._norm, xp.maximum(xp.abs(a), b))
        self._alive = self._alive & ~(b <= BREAKDOWN * eps(w) * self._norm)
        self.num_done += 1
        if self.num_done == self.operator.shape[0]:
            self._alive = xp.zeros_like(self._alive)
        b = xp.where(self._alive, b, 0.0)
        divisor = xp.where(self._alive, b, 1.0)
        self._previous, self._coupling, self._image = q, b, None
        self.vectors = xp.where(self._alive[:, None], w / divisor[:, None], 0.0)
        self._pending.append((a, b))

    def _keep(self, q: Array) -> None:
        """Store the current vectors as the next rows of the bases."""
        if self._store == 0:
            return
        position = self.num_done % self._store
        if position == 0:
            p, n = q.shape
            self._blocks.append(self._xp.zeros((p, self._store, n), dtype=q.dtype, device=q.device))
        self._blocks[-1][:, position, :] = q

    def _project(self, w: Array) -> None:
        """Subtract from each row of ``w``, in place, its projection on the stored basis of its start vector.

        A loop over the start vectors, not a batched product: on CPUs the latter was 3 times slower.
        """
        xp, used = self._xp, self.num_done + 1
        for i in range(w.shape[0]):
            row, correction = w[i, :], None
            for b, block in enumerate(self._blocks):
                rows = block[i, : min(used - b * self._store, self._store), :]
                part = xp.matmul(xp.matmul(rows, row), rows)
                correction = part if correction is None else correction + part
            w[i, :] = row - correction

    def _read(self) -> None:
        """Bring the coefficients of the last steps to the host; the only place that waits for the device."""
        if not self._pending:
            return
        a = to_host(self._xp.stack([a for a, _ in self._pending], axis=1))
        b = to_host(self._xp.stack([b for _, b in self._pending], axis=1))
        bad = ~(np.isfinite(a) & np.isfinite(b))
        if np.any(bad):
            step = int(np.argmax(np.any(bad, axis=0)))
            probe = int(np.argmax(bad[:, step]))
            raise _non_finite(self.operator, step=self.num_done - len(self._pending) + step + 1, probe=probe)
        self._pending = []
        self._diagonal = np.concatenate([self._diagonal, a], axis=1)
        self._off_diagonal = np.concatenate([self._off_diagonal, b], axis=1)


def lanczos(
    A: SupportsMatmul | Array,
    start: Array,
    *,
    num_steps: int,
    reorthogonalize: bool = True,
    keep_basis: bool = False,
    progress: Progress | None = None,
) -> Tridiagonal:
    """Tridiagonalize a symmetric operator on the Krylov space of each start vector.

    ``A q_j = b_{j-1} q_{j-1} + a_j q_j + b_j q_{j+1}`` with orthonormal ``q_j`` and ``q_1 = start / ||start||``.
    """
    m = min(as_count(num_steps, name="num_steps"), as_operator(A).shape[0])
    iteration = Iteration(A, start, store=m if reorthogonalize or keep_basis else 0, reorthogonalize=reorthogonalize)
    iteration.advance(m, progress=progress, total=m)
    return iteration.tridiagonal(basis=keep_basis)


def _numpy_dtype(x: Array) -> Any:
    """Return the NumPy dtype of the same name."""
    return np.float32 if eps(x) > 1e-10 else np.float64


def _unit_rows(start: Array, operator: Operator) -> tuple[Array, np.ndarray]:
    """Return the start vectors as rows of norm one, shape (p, n), and their norms on the host."""
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
    norm = xp.linalg.vector_norm(rows, axis=1)
    unit = xp.empty_like(rows)
    unit[:, :] = rows / norm[:, None]
    return unit, top * to_host(norm)


def _non_finite(operator: Operator, *, step: int, probe: int) -> NonFiniteError:
    """Return the error for a product that contains NaN or infinity."""
    return NonFiniteError(
        f"products with {operator.name!r} must be finite; Lanczos step {step} of start vector {probe} met NaN or "
        "infinity; look for overflow, division by zero or log of zero in the operator"
    )
