"""Lanczos tridiagonalization, many start vectors at once, with full reorthogonalization."""

from typing import final

import numpy as np
from array_api_compat import device

from spectra.arrays import eps, inner, inner_with_rows, to_host
from spectra.errors import NonFiniteError
from spectra.operators import Operator, as_operator
from spectra.products import Products
from spectra.protocols import Array, Progress, SupportsMatmul
from spectra.soundness import require_repeatable, require_symmetric
from spectra.start_vectors import as_count, unit_rows
from spectra.tridiagonal import Tridiagonal

__all__ = ["BREAKDOWN", "Iteration", "Tridiagonal", "lanczos"]

BREAKDOWN = 64.0
"""A coupling of at most this many eps times the norm seen so far ends a Krylov space; rounding made it up to 21 eps."""

_CHECK_EVERY = 8


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
        self.products = Products(A)
        self.operator: Operator = self.products.operator
        xp = self._xp = self.products.xp
        self.vectors, self.start_norm = unit_rows(start, self.operator)
        p = self.vectors.shape[0]
        kind = {"dtype": xp.float64, "device": device(self.vectors)}
        self._previous: Array | None = None
        self._coupling = xp.zeros((p,), **kind)
        self._norm = xp.zeros((p,), **kind)
        self._alive = xp.ones((p,), dtype=xp.bool, device=device(self.vectors))
        self._image: Array | None = None
        self._store, self._reorthogonalize = store, reorthogonalize
        self._blocks: list[Array] = []
        self._pending: list[tuple[Array, Array]] = []
        self._diagonal = np.zeros((p, 0))
        self._off_diagonal = np.zeros((p, 0))
        self.num_done = 0

    @property
    def num_matvecs(self) -> int:
        """Products spent."""
        return self.products.num_matvecs

    @property
    def exhausted(self) -> bool:
        """Whether no Krylov space can grow further (as known from the last look)."""
        ended = self._off_diagonal.shape[1] > 0 and bool(np.all(self._off_diagonal[:, -1] == 0.0))
        return ended or self.num_done >= self.operator.shape[0]

    def image(self) -> Array:
        """Return ``2**-e A q`` for the current vectors, shape (p, n); costs p products unless it is still pending."""
        if self._image is None:
            xp, q = self._xp, self.vectors
            product = xp.matrix_transpose(self.products.multiply_unchecked(xp.matrix_transpose(q)))
            image = xp.empty(tuple(q.shape), dtype=q.dtype, device=device(q))
            image[:, :] = product
            if self.products.exponent is None:
                rows = np.isfinite(to_host(xp.max(xp.abs(image), axis=1)))
                raise _non_finite(self.operator, step=1, probe=int(np.argmin(rows)))
            self._image = image
        return self._image

    def symmetry_defect(self) -> float:
        """Compare ``u'(Av)`` with ``v'(Au)`` for all pairs of start vectors; see `require_symmetric`.

        With a single start vector the iteration is advanced by one step, and its first two Lanczos vectors are
        compared. The products are those the iteration needs anyway: no cost unless it ends after a single step.
        """
        xp, q, image = self._xp, self.vectors, self.image()
        if self.operator.shape[0] == 1:
            return 0.0
        if q.shape[0] == 1:
            image = xp.asarray(image, copy=True)  # the step works on it
            self.advance(1)
            if self.exhausted:
                return 0.0
            q = xp.concat([q, self.vectors], axis=0)
            image = xp.concat([image, self.image()], axis=0)
        return require_symmetric(self.products, q, image)

    def repeat_defect(self) -> float:
        """Repeat the product with the first start vector, before the first step; see `require_repeatable`."""
        return require_repeatable(self.products, self.vectors[0, :], self.image()[0, :])

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
        diagonal = self.products.unscaled(self._diagonal)
        off_diagonal = self.products.unscaled(self._off_diagonal)
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

    def first_vectors(self, count: int) -> Array:
        """Return the unit start vectors of the first probes, from the stored bases, shape (count, n)."""
        return self._blocks[0][:count, 0, :]

    def combine(self, probe: int, coefficients: np.ndarray) -> Array:
        """Return ``Q c``, shape (n, r), for coefficients (k, r) on the first k stored vectors of one start vector."""
        xp, coefficients = self._xp, self.products.on_device(coefficients)
        total = None
        for b, block in enumerate(self._blocks):
            part = coefficients[b * self._store : min((b + 1) * self._store, coefficients.shape[0]), :]
            if part.shape[0] > 0:
                term = xp.matmul(xp.matrix_transpose(block[probe, : part.shape[0], :]), part)
                total = term if total is None else total + term
        return total

    def _step(self) -> None:
        """Do one step for every start vector, without waiting for the device."""
        image = self.image()
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is found, and named, by `_read`
            self._orthogonalize(image)
        self.num_done += 1

    def _orthogonalize(self, w: Array) -> None:
        """Turn the image of the current vectors, in place, into the next vectors, and note two coefficients.

        A loop over the start vectors: temporaries have the size of one vector, and on CPUs products with one basis at
        a time are faster than batched ones.
        """
        xp, p = self._xp, w.shape[0]
        self._keep()
        a, b = zip(*(self._orthogonalize_row(w, i) for i in range(p)), strict=True)
        a = xp.where(self._alive, xp.stack(a), 0.0)
        b = xp.where(self._alive, xp.stack(b), 0.0)
        self._norm = xp.maximum(self._norm, xp.maximum(xp.abs(a), b))
        self._alive = self._alive & ~(b <= BREAKDOWN * eps(w) * self._norm)
        if self.num_done + 1 == self.operator.shape[0]:
            self._alive = xp.zeros_like(self._alive)
        b = xp.where(self._alive, b, 0.0)
        factor = xp.astype(1.0 / xp.where(self._alive, b, 1.0), w.dtype)
        target = self._room(w)
        for i in range(p):
            target[i, :] = xp.where(self._alive[i], w[i, :] * factor[i], 0.0)
        self._previous, self._coupling, self._image = self.vectors, b, None
        self.vectors = target
        self._pending.append((a, b))

    def _orthogonalize_row(self, w: Array, i: int) -> tuple[Array, Array]:
        """Orthogonalize one row of the images; return its inner product with q, and the norm of what is left."""
        xp, q, row = self._xp, self.vectors[i, :], w[i, :]
        if self._reorthogonalize:
            once, coefficients = self._projected(row, i)
            # In float64 the inner product with q is the last coefficient of the first pass.
            a = coefficients[-1] if row.dtype == xp.float64 else inner(q, row)
            row, _ = self._projected(once, i)
        else:
            a = inner(q, row)
            row = row - xp.astype(a, row.dtype) * q
            if self._previous is not None:
                row = row - xp.astype(self._coupling[i], row.dtype) * self._previous[i, :]
        w[i, :] = row
        return a, xp.sqrt(inner(row, row))

    def _projected(self, row: Array, i: int) -> tuple[Array, Array]:
        """Return a row minus its projection on the basis of a start vector, and its last coefficients."""
        xp, used = self._xp, self.num_done + 1
        correction, coefficients = None, None
        for b, block in enumerate(self._blocks):
            rows = block[i, : min(used - b * self._store, self._store), :]
            coefficients = inner_with_rows(rows, row)
            part = xp.astype(coefficients, rows.dtype, copy=False) @ rows
            correction = part if correction is None else correction + part
        return row - correction, coefficients

    def _keep(self) -> None:
        """Begin a new block of stored vectors, with the current ones, where the last block is full."""
        if self._store == 0 or self.num_done % self._store != 0:
            return
        p, n = self.vectors.shape
        q = self.vectors
        self._blocks.append(self._xp.empty((p, self._store, n), dtype=q.dtype, device=device(q)))
        self._blocks[-1][:, 0, :] = q
        self.vectors = self._blocks[-1][:, 0, :]

    def _room(self, w: Array) -> Array:
        """Return where the next vectors go: into the stored bases, where the last block has room, else over w."""
        position = (self.num_done + 1) % self._store if self._store else 0
        return w if position == 0 else self._blocks[-1][:, position, :]

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

    Parameters
    ----------
    A : Operator or anything `as_operator` accepts, shape (n, n)
        Real symmetric (not tested here, see `spectra.slq`).
    start : array, shape (n,) or (n, p)
        Nonzero start vectors in the library, dtype and on the device of the operator.
    num_steps : int
        Steps m; at most n are made, and fewer where the Krylov space is smaller.
    reorthogonalize : bool
        Whether to orthogonalize each new vector twice against all before it. Without it nothing needs to be stored and
        eigenvalues return as copies: good for integrals against the measure only, never for lists of eigenvalues.
    keep_basis : bool
        Whether to return the Lanczos vectors.
    progress : callable, optional
        Called with ``(steps done, steps planned)`` after each step.

    Returns
    -------
    Tridiagonal
        NumPy float64 on the host; the basis, if kept, stays on the device of the operator.

    Raises
    ------
    NonFiniteError
        If a product contains NaN or infinity; names step and start vector.
    ArgumentError
        If ``num_steps`` is no positive integer, or a start vector is zero or not finite.
    ShapeError, BackendError
        If the start vectors do not fit the operator.

    Notes
    -----
    Costs ``p m`` products, and ``p m n`` numbers of storage if it reorthogonalizes or keeps the basis. The host waits
    for the device once to read the scale of the operator, and every eighth step. The iteration runs on ``2**-e A``, so
    that multiplying A by a power of two changes units only. A Krylov space counts as exhausted where the next coupling
    is at most 64 eps times the norm seen so far; its start vector is then frozen while the others go on.

    Source: Lanczos (1950); Paige (1972); Giraud, Langou, Rozloznik and van den Eshof (2005) for orthogonalizing twice.

    Examples
    --------
    >>> import numpy as np
    >>> T = lanczos(np.diag([1.0, 1.0, 5.0]), np.ones(3), num_steps=3)
    >>> T.num_steps.tolist(), T.ritz(0).values.round(12).tolist(), T.ritz(0).weights.round(12).tolist()
    ([2], [1.0, 5.0], [0.666666666667, 0.333333333333])
    """
    m = min(as_count(num_steps, name="num_steps"), as_operator(A).shape[0])
    iteration = Iteration(A, start, store=m if reorthogonalize or keep_basis else 0, reorthogonalize=reorthogonalize)
    iteration.advance(m, progress=progress, total=m)
    return iteration.tridiagonal(basis=keep_basis)


def _non_finite(operator: Operator, *, step: int, probe: int) -> NonFiniteError:
    """Return the error for a product that contains NaN or infinity."""
    return NonFiniteError(
        f"products with {operator.name!r} must be finite; Lanczos step {step} of start vector {probe} met NaN or "
        "infinity; look for overflow, division by zero or log of zero in the operator"
    )
