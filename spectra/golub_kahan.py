"""Golub-Kahan bidiagonalization of a rectangular matrix, many start vectors at once, both sides reorthogonalized."""

from dataclasses import dataclass
from typing import Any, final

import numpy as np
from array_api_compat import device

from spectra.arrays import describe, eps, inner, inner_with_rows, namespace, norms, to_host
from spectra.errors import (
    ArgumentError,
    BackendError,
    NonDeterministicError,
    NonFiniteError,
    NotSymmetricError,
    ShapeError,
)
from spectra.lanczos import BREAKDOWN
from spectra.products import scale_by_power_of_two
from spectra.protocols import Array, Progress
from spectra.rectangular import RectangularOperator, as_rectangular
from spectra.soundness import judge
from spectra.start_vectors import as_count

__all__ = ["Bidiagonal", "Bidiagonalization", "golub_kahan"]

_CHECK_EVERY = 8


@dataclass(frozen=True, eq=False, kw_only=True)
class Bidiagonal:
    """Upper bidiagonal matrices, one per start vector: ``A V = U B``; NumPy float64 on the host.

    Attributes
    ----------
    couplings : ndarray, shape (p, 2 k)
        ``a_1, b_1, a_2, b_2, ...``: diagonal and superdiagonal entries in turn, the last b being the coupling to the
        next vector. Zero where, and after, the space was exhausted.
    num_couplings : ndarray of int, shape (p,)
        How many count: up to and with the first zero.
    num_matvecs : int
        Products with A and with its transpose.
    """

    couplings: np.ndarray
    num_couplings: np.ndarray
    num_matvecs: int

    def matrix(self, start: int) -> np.ndarray:
        """Return B of one start vector, square; singular where A maps the space to a smaller one."""
        used = self.couplings[start, : int(self.num_couplings[start])]
        k = (len(used) + 1) // 2
        above = used[1::2][: k - 1]
        return np.diag(used[::2]) + np.diag(above, 1)

    def singular_values(self, start: int) -> np.ndarray:
        """Return the singular values of B, ascending: inside the range of those of A."""
        return np.linalg.svd(self.matrix(start), compute_uv=False)[::-1]


@final
class Bidiagonalization:
    """A Golub-Kahan iteration that can be advanced further; `golub_kahan` is the short way to run one.

    Runs on ``2**-e A``, with the exponent e of the largest entry of the first product.

    Parameters
    ----------
    A : RectangularOperator or anything `as_rectangular` accepts, shape (m, n)
        The matrix.
    start : array, shape (n, p)
        Nonzero start vectors.
    store : int
        Vectors of each side for which storage is allocated at a time.

    Attributes
    ----------
    num_done : int
        Steps done.
    num_matvecs : int
        Products with A and with its transpose.
    exponent : int
        e.
    """

    def __init__(self, A: Any, start: Array, *, store: int) -> None:
        self.operator = as_rectangular(A)
        xp = self._xp = namespace(start)
        rows = xp.matrix_transpose(start)
        self._right = rows / norms(rows)[:, None]
        p = rows.shape[0]
        kind = {"dtype": start.dtype, "device": device(start)}
        self._left = xp.zeros((p, self.operator.shape[0]), **kind)
        self._coupling = xp.zeros((p,), **kind)
        self._norm = xp.zeros((p,), **kind)
        self._alive = xp.ones((p,), dtype=xp.bool, device=device(start))
        self._rights = _Basis(p, self.operator.shape[1], store, kind)
        self._lefts = _Basis(p, self.operator.shape[0], store, kind)
        self._pending: list[Array] = []
        self._couplings = np.zeros((p, 0))
        self._first: Array | None = None
        self.num_done = self.num_matvecs = self.exponent = 0

    @property
    def limit(self) -> int:
        """Steps after which everything is known: the shorter side."""
        return min(self.operator.shape)

    @property
    def exhausted(self) -> bool:
        """Whether no space can grow further (as known from the last look)."""
        ended = self._couplings.shape[1] > 0 and bool(np.all(self._couplings[:, -1] == 0.0))
        return ended or self.num_done >= self.limit

    def defect(self) -> float:
        """Compare ``u'(A v)`` with ``v'(A' u)`` for ``u = A v / ||A v||``, and repeat a product; costs 2 products.

        Raises
        ------
        NotSymmetricError
            If the two products do not belong to one matrix: they differ by more than sqrt(eps) relative.
        NonDeterministicError
            If a repeated product changes by more than that.
        """
        xp = self._xp
        v, image = self._right[:1, :], self._image()[:1, :]
        again = self._scaled(self._product(v))
        size = float(xp.linalg.vector_norm(image))
        if size == 0.0:
            return 0.0
        change = float(xp.linalg.vector_norm(again - image)) / size
        name = self.operator.name
        judge(
            change,
            eps=eps(image),
            error=NonDeterministicError,
            message=f"{name!r} must be deterministic, but gave two results for one vector",
        )
        back = self._scaled(self._product(image / size, transpose=True))
        change_of_pair = abs(size - float(xp.sum(back * v))) / size
        judge(
            change_of_pair,
            eps=eps(image),
            error=NotSymmetricError,
            message=f"the two products of {name!r} must be with A and A', but u'(A v) and v'(A'u) differ",
        )
        return max(change, change_of_pair)

    def advance(self, num_steps: int, *, progress: Progress | None = None, total: int = 0) -> None:
        """Do up to ``num_steps`` further steps, fewer if every space is exhausted; 2 p products each.

        Raises
        ------
        NonFiniteError
            If a product contained NaN or infinity.
        """
        for _ in range(num_steps):
            if self.num_done >= self.limit:
                break
            with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is found, and named, by `_read`
                self._step()
            if progress is not None:
                progress(self.num_done, max(total, self.num_done))
            if self.num_done % _CHECK_EVERY == 0:
                self._read()
                if self.exhausted:
                    break
        self._read()

    def bidiagonal(self, *, scaled: bool = False) -> Bidiagonal:
        """Return the matrices found so far, in units of A, or of ``2**-e A``."""
        ends = self._couplings == 0.0
        count = np.where(np.any(ends, axis=1), np.argmax(ends, axis=1) + 1, self._couplings.shape[1])
        with np.errstate(over="ignore", under="ignore"):
            couplings = self._couplings if scaled else np.ldexp(self._couplings, self.exponent)
        return Bidiagonal(couplings=couplings, num_couplings=count, num_matvecs=self.num_matvecs)

    def _product(self, rows: Array, *, transpose: bool = False) -> Array:
        """Return the unscaled products as rows."""
        self.num_matvecs += rows.shape[0]
        block = self._xp.matrix_transpose(rows)
        product = self.operator.rmatmat(block) if transpose else self.operator.matmat(block)
        return self._xp.matrix_transpose(product)

    def _scaled(self, x: Array) -> Array:
        return scale_by_power_of_two(x, -self.exponent)

    def _image(self) -> Array:
        """Return the scaled products with the start vectors; fixes the scale."""
        if self._first is None:
            image = self._product(self._right)
            largest = to_host(self._xp.max(self._xp.abs(image), axis=1))
            if not np.all(np.isfinite(largest)):
                raise _non_finite(self.operator, step=1, start=int(np.argmin(np.isfinite(largest))))
            self.exponent = int(np.frexp(np.max(largest))[1])
            self._first = self._scaled(image)
        return self._first

    def _step(self) -> None:
        xp = self._xp
        image = self._image() if self.num_done == 0 else self._scaled(self._product(self._right))
        self._rights.keep(self._right)
        a, left = self._next(image - self._coupling[:, None] * self._left, self._lefts)
        self._lefts.keep(left)
        image = self._scaled(self._product(left, transpose=True)) - a[:, None] * self._right
        if self.num_done + 1 == self.limit and self.operator.shape[1] == self.limit:
            self._alive = xp.zeros_like(self._alive)
        b, right = self._next(image, self._rights)
        self._left, self._right, self._coupling, self._first = left, right, b, None
        self._pending.extend([a, b])
        self.num_done += 1

    def _next(self, w: Array, basis: "_Basis") -> tuple[Array, Array]:
        """Return norm and direction of what is orthogonal to a basis; zero where nothing is left."""
        xp = self._xp
        w = basis.project_out(basis.project_out(w))
        w = xp.where(self._alive[:, None], w, 0.0)
        size = xp.astype(xp.sqrt(inner(w, w)), w.dtype)
        self._norm = xp.maximum(self._norm, size)
        self._alive = self._alive & ~(size <= BREAKDOWN * eps(w) * self._norm)
        size = xp.where(self._alive, size, 0.0)
        return size, xp.where(self._alive[:, None], w / xp.where(self._alive, size, 1.0)[:, None], 0.0)

    def _read(self) -> None:
        """Bring the last coefficients to the host; the only place that waits for the device."""
        if not self._pending:
            return
        found = to_host(self._xp.stack(self._pending, axis=1))
        bad = ~np.isfinite(found)
        if np.any(bad):
            position = int(np.argmax(np.any(bad, axis=0)))
            step = self.num_done - (len(self._pending) - position - 1) // 2
            raise _non_finite(self.operator, step=step, start=int(np.argmax(bad[:, position])))
        self._pending = []
        self._couplings = np.concatenate([self._couplings, found], axis=1)


class _Basis:
    """Orthonormal rows of every start vector, stored in blocks."""

    def __init__(self, num: int, length: int, store: int, kind: dict[str, Any]) -> None:
        self._shape, self._kind = (num, store, length), kind
        self._blocks: list[Array] = []
        self._used = 0

    def keep(self, rows: Array) -> None:
        """Store one more row of each start vector."""
        position = self._used % self._shape[1]
        if position == 0:
            self._blocks.append(namespace(rows).zeros(self._shape, **self._kind))
        self._blocks[-1][:, position, :] = rows
        self._used += 1

    def project_out(self, w: Array) -> Array:
        """Return the rows without their projections on the stored ones of their start vectors."""
        xp = namespace(w)
        if not self._blocks:
            return w
        remainders = []
        for i in range(w.shape[0]):
            row = w[i, :]
            for b, block in enumerate(self._blocks):
                rows = block[i, : min(self._used - b * self._shape[1], self._shape[1]), :]
                row = row - xp.astype(inner_with_rows(rows, w[i, :]), row.dtype) @ rows
            remainders.append(row)
        return xp.stack(remainders, axis=0)


def golub_kahan(A: Any, start: Array, *, num_steps: int, progress: Progress | None = None) -> Bidiagonal:
    """Reduce a matrix to bidiagonal form on the Krylov spaces of start vectors.

    ``A v_j = b_{j-1} u_{j-1} + a_j u_j`` and ``A' u_j = a_j v_j + b_j v_{j+1}`` with orthonormal u and v, hence
    ``A V = U B`` with B upper bidiagonal, whose singular values approach those of A, the extreme ones first.

    Parameters
    ----------
    A : RectangularOperator, dense array, scipy.sparse array or scipy LinearOperator, shape (m, n)
        Real.
    start : array, shape (n,) or (n, p)
        Nonzero start vectors.
    num_steps : int
        Steps; at most ``min(m, n)`` are made.
    progress : callable, optional
        Called with ``(steps done, steps planned)`` after each step.

    Returns
    -------
    Bidiagonal
        NumPy float64 on the host.

    Raises
    ------
    NonFiniteError
        If a product contains NaN or infinity; names step and start vector.
    ArgumentError, ShapeError, BackendError
        For a wrong call.

    Notes
    -----
    Costs ``2 p num_steps`` products, half of them with the transpose, and holds ``p num_steps (m + n)`` numbers. Both
    sides are orthogonalized twice. Equals Lanczos on ``A'A`` with ``alpha_j = a_j**2 + b_{j-1}**2`` and
    ``beta_j = a_j b_j``, but keeps the small singular values, which forming that would lose.

    Source: Golub and Kahan (1965); Paige (1974).

    Examples
    --------
    >>> import numpy as np
    >>> a = np.array([[3.0, 0.0], [0.0, 4.0], [0.0, 0.0]])
    >>> golub_kahan(a, np.ones(2), num_steps=2).singular_values(0).round(12).tolist()
    [3.0, 4.0]
    """
    operator = as_rectangular(A)
    steps = min(as_count(num_steps, name="num_steps"), *operator.shape)
    xp = namespace(start)
    if start.ndim not in (1, 2) or start.shape[0] != operator.shape[1] or 0 in start.shape:
        raise ShapeError(f"start must have {operator.shape[1]} rows to fit {operator!r}, got {describe(start)}")
    if xp is not namespace(operator.like) or start.dtype != operator.like.dtype:
        raise BackendError(f"start must be an array like {describe(operator.like)}, got {describe(start)}")
    block = start[:, None] if start.ndim == 1 else start
    largest = to_host(xp.max(xp.abs(block), axis=0))
    if not np.all(np.isfinite(largest) & (largest > 0)):
        column = int(np.argmin(np.isfinite(largest) & (largest > 0)))
        raise ArgumentError(f"start vectors must be finite and nonzero; column {column} has {largest[column]}")
    iteration = Bidiagonalization(operator, block, store=steps)
    iteration.advance(steps, progress=progress, total=steps)
    return iteration.bidiagonal()


def _non_finite(operator: RectangularOperator, *, step: int, start: int) -> NonFiniteError:
    """Return the error for a product that contains NaN or infinity."""
    return NonFiniteError(
        f"products with {operator.name!r} must be finite; bidiagonalization step {step} of start vector {start} met "
        "NaN or infinity; look for overflow or division by zero in the operator"
    )
