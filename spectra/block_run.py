"""One block Lanczos run from random start vectors that answers several questions: extremes, quadrature, trace."""

from dataclasses import dataclass
from typing import final

import numpy as np

from spectra.arrays import dtype_name, eps, inner, inner_with_rows, to_host
from spectra.bounded_basis import BoundedBasis
from spectra.errors import ArgumentError, NonFiniteError
from spectra.lanczos import BREAKDOWN, Iteration
from spectra.operators import Operator
from spectra.products import Products
from spectra.protocols import Array
from spectra.soundness import require_repeatable, require_symmetric
from spectra.start_vectors import start_vectors, unit_rows
from spectra.thick_restart import RitzPairs

__all__ = ["BlockRun", "ComplementTrace"]

_SAMPLES_FROM, _RESTARTS_FROM = 2**20, 2**21
"""First index, among the random vectors of a seed, of the trace's samples and of vectors that start anew."""

_ROUNDING = 64.0


@dataclass(frozen=True, eq=False, kw_only=True)
class ComplementTrace:
    """A trace, known on a subspace of dimension k and sampled on its complement.

    Attributes
    ----------
    inside : float
        ``tr V'AV``.
    samples : ndarray, shape (r,)
        ``(n - k) g'Ag`` for unit vectors g uniform on the sphere of the complement; none where k = n.
    rounding : float
        Bound of the rounding error.
    """

    inside: float
    samples: np.ndarray
    rounding: float

    @property
    def value(self) -> float:
        """The estimate."""
        return self.inside + (float(np.mean(self.samples)) if len(self.samples) else 0.0)

    @property
    def deviation(self) -> float:
        """Standard deviation of a sample."""
        return float(np.std(self.samples, ddof=1)) if len(self.samples) > 1 else np.inf

    @property
    def stderr(self) -> float:
        """Standard error of the estimate."""
        return self.deviation / np.sqrt(max(1, len(self.samples)))


@final
class BlockRun:
    """A block Krylov space, never cut back, and random vectors outside of it.

    Rows of the basis are *expanded*, if the product with them is known, or wait at the *frontier*. With V the expanded
    rows, W all of them, and H the projected matrix, ``A V' = W' H``.

    Parameters
    ----------
    operator : Operator
        Symmetric, order n.
    num_starts, seed : int
        Start vectors 0, 1, ... of the seed, uniform on the sphere.
    max_basis_bytes : int
        Memory for vectors.

    Attributes
    ----------
    products : Products
    num_steps : int
        Block steps done.
    defects : dict
        What the checks of symmetry and repetition found.

    Notes
    -----
    Lanczos on H, from the coordinates of a start vector, gives the tridiagonal matrix that Lanczos on A gives, for as
    many steps as blocks were multiplied.

    Samples of the trace lie outside of the Krylov space *of that moment*: a random vector w, drawn once, is projected
    on the complement of V whenever the estimate is asked for. V depends on the start vectors only, so that the
    projection stays uniform on its sphere, and ``w'Aw`` and ``W w`` suffice for the quadratic form. So the space can
    grow after the samples were paid for, and they all become better.

    Examples
    --------
    >>> from spectra.operators import as_operator
    >>> run = BlockRun(as_operator(np.diag(1.0 / np.arange(1.0, 201.0) ** 2)), num_starts=2, seed=0)
    >>> for _ in range(8):
    ...     run.step()
    >>> run.sample(4)
    >>> run.num_rows, run.products.num_matvecs, bool(abs(run.trace().value - np.pi**2 / 6) < 0.01)
    (16, 21, True)
    """

    def __init__(self, operator: Operator, *, num_starts: int, seed: int, max_basis_bytes: int = 2**32) -> None:
        self.operator, self.seed, self.num_starts = operator, seed, num_starts
        self.products = Products(operator)
        self._eps = eps(operator.like)
        self._row_bytes = operator.shape[0] * np.dtype(dtype_name(operator.dtype)).itemsize
        self._max_rows = max_basis_bytes // self._row_bytes
        if self._max_rows < min(operator.shape[0], 2 * num_starts):
            raise ArgumentError(
                f"max_basis_bytes must allow two blocks of {num_starts} vectors, {2 * num_starts * self._row_bytes} "
                f"bytes; got {max_basis_bytes}. Allow more, or take fewer num_probes"
            )
        self._starts = unit_rows(start_vectors(operator.like, num=num_starts, rng=seed), operator)[0]
        self._basis = BoundedBasis(self.products, max_rows=min(self._max_rows, operator.shape[0]))
        self._coordinates, _ = self._basis.extend(self._starts, threshold=BREAKDOWN * self._eps)
        rows = self._basis.num_rows
        self._projected = np.zeros((rows, rows))
        self._is_expanded = np.zeros(rows, dtype=bool)
        self._active = np.arange(rows)
        self._first: tuple[Array, Array] | None = None
        self._scale, self._num_restarts = 0.0, 0
        self._num_krylov_rows: int | None = None
        self.num_steps = 0
        self.defects: dict[str, float] = {}
        self._samples: list[Array] = []
        self._forms = np.zeros(0)
        self._overlaps = np.zeros((0, 0))

    @property
    def num_rows(self) -> int:
        """Dimension of the space on which products are known."""
        return int(np.sum(self._is_expanded))

    @property
    def num_samples(self) -> int:
        """Samples of the trace."""
        return len(self._forms)

    @property
    def is_exhausted(self) -> bool:
        """Whether the Krylov space cannot grow further."""
        return len(self._active) == 0

    @property
    def is_complete(self) -> bool:
        """Whether the space is the whole one."""
        return self.num_rows == self.operator.shape[0]

    @property
    def is_consistent(self) -> bool:
        """Whether there is something to say, and no step was cut short."""
        samples = sum(rows.shape[0] for rows in self._samples)
        return (
            self.num_rows > 0
            and len(self._is_expanded) == len(self._projected) == self._basis.num_rows
            and samples == len(self._forms) == self._overlaps.shape[1]
        )

    @property
    def step_cost(self) -> int:
        """Products of the next step."""
        return len(self._active)

    @property
    def room(self) -> int:
        """Vectors for which there is memory."""
        return self._max_rows - self._basis.num_rows - self.num_samples

    @property
    def can_step(self) -> bool:
        """Whether a step is possible, in the space and in memory."""
        left = self.operator.shape[0] - self._basis.num_rows
        return not self.is_exhausted and self.room >= min(self.step_cost, left)

    def step(self) -> None:
        """Multiply the frontier; what is new about the products becomes the next one. Costs `step_cost` products.

        The first step repeats one product more, to see whether the operator is deterministic.

        Raises
        ------
        NotSymmetricError, NonDeterministicError, NonFiniteError
            See `spectra.slq`.
        """
        xp, active = self.products.xp, self._active
        rows = self._basis.take(active)
        image = xp.empty_like(rows)
        image[:, :] = xp.matrix_transpose(self.products.multiply(xp.matrix_transpose(rows)))
        self._check(rows, image)
        self._scale = max(self._scale, float(xp.max(xp.linalg.vector_norm(image, axis=1))))
        coupling, overlap = self._basis.extend(image, threshold=BREAKDOWN * self._eps * self._scale)
        self._grow()
        overlap[active] = 0.5 * (overlap[active] + overlap[active].T)
        self._projected[:, active] = np.concatenate([overlap, coupling])
        self._projected[active, :] = self._projected[:, active].T
        self._is_expanded[active] = True
        self.num_steps += 1

    def start_anew(self, num: int) -> None:
        """Let further random vectors start where the Krylov space is exhausted, for what it has not seen."""
        self._num_krylov_rows = self._num_krylov_rows or self._basis.num_rows
        fresh = start_vectors(self.operator.like, num=num, rng=self.seed, first=_RESTARTS_FROM + self._num_restarts)
        self._num_restarts += num
        self._basis.extend(unit_rows(fresh, self.operator)[0], threshold=BREAKDOWN * self._eps)
        self._grow()

    def sample(self, num: int) -> None:
        """Draw further samples of the trace; costs as many products."""
        fresh = start_vectors(self.operator.like, num=num, rng=self.seed, first=_SAMPLES_FROM + self.num_samples)
        rows = unit_rows(fresh, self.operator)[0]
        xp = self.products.xp
        image = xp.matrix_transpose(self.products.multiply(xp.matrix_transpose(rows)))
        self._samples.append(rows)
        self._forms = np.concatenate([self._forms, to_host(inner(rows, image))])
        done = self._overlaps.shape[0]
        new = self._overlaps_of(rows, 0, done) if done else np.zeros((0, num))
        self._overlaps = np.concatenate([self._overlaps, new], axis=1)

    def ritz(self) -> RitzPairs:
        """Return the Ritz pairs on the expanded rows, ascending, with residuals."""
        inside, frontier = np.flatnonzero(self._is_expanded), np.flatnonzero(~self._is_expanded)
        values, vectors = np.linalg.eigh(self._projected[np.ix_(inside, inside)])
        residuals = np.linalg.norm(self._projected[np.ix_(frontier, inside)] @ vectors, axis=0)
        coefficients = np.zeros((len(self._is_expanded), len(values)))
        coefficients[inside] = vectors
        return RitzPairs(values=values, residuals=residuals, coefficients=coefficients)

    def vectors(self, pairs: RitzPairs, index: list[int]) -> np.ndarray:
        """Return chosen Ritz vectors on the host, unit rows."""
        rows = to_host(self._basis.combine(pairs.coefficients[:, index]))
        return rows / np.linalg.norm(rows, axis=1)[:, None]

    def trace(self, *, num_rows: int | None = None) -> ComplementTrace:
        """Estimate the trace of the scaled operator; no products.

        Parameters
        ----------
        num_rows : int, optional
            As if only the first rows of the basis had been expanded.
        """
        n, r = self.operator.shape[0], self.num_samples
        self._update_overlaps()
        expanded = np.flatnonzero(self._is_expanded)[:num_rows]
        inside = self._projected[np.ix_(expanded, expanded)]
        nuclear = float(np.sum(np.abs(np.linalg.eigvalsh(inside)))) if len(expanded) else 0.0
        rounding = _ROUNDING * self._eps * (nuclear + n * float(np.mean(np.abs(self._forms)) if r else 0.0))
        known, k = float(np.trace(inside)), len(expanded)
        if k == n or r == 0:
            return ComplementTrace(inside=known, samples=np.zeros(0), rounding=rounding)
        own, images = self._overlaps[expanded], self._projected[:, expanded].T @ self._overlaps
        forms = self._forms - 2.0 * np.sum(own * images, axis=0) + np.sum(own * (inside @ own), axis=0)
        outside = np.maximum(1.0 - np.sum(own * own, axis=0), self._eps)
        return ComplementTrace(inside=known, samples=(n - k) * forms / outside, rounding=rounding)

    def iteration(self) -> tuple[Iteration, np.ndarray]:
        """Return Lanczos from each start vector, as on A itself but in coordinates of the basis, and the unit starts.

        Takes no products. Start vectors are rows.

        Raises
        ------
        NonFiniteError
            If the norm of A exceeds the largest float64.
        """
        rows = self._num_krylov_rows or self._basis.num_rows
        steps = rows if self.is_exhausted or self._num_krylov_rows else self.num_steps
        start = np.zeros((rows, self.num_starts))
        start[: len(self._coordinates)] = self._coordinates
        matrix = self.products.unscaled(self._projected[:rows, :rows])
        if not np.all(np.isfinite(matrix)):
            raise NonFiniteError(
                f"the norm of {self.operator.name!r} exceeds the largest float64; scale the operator down"
            )
        found = Iteration(matrix, start, store=steps)
        found.advance(steps)
        return found, np.ascontiguousarray((start / np.linalg.norm(start, axis=0)).T)

    def _update_overlaps(self) -> None:
        """Bring the inner products of the samples with the rows of the basis up to date."""
        done, now = self._overlaps.shape[0], self._basis.num_rows
        if self._samples and done < now:
            new = np.concatenate([self._overlaps_of(rows, done, now) for rows in self._samples], axis=1)
            self._overlaps = np.concatenate([self._overlaps, new])

    def _overlaps_of(self, rows: Array, first: int, stop: int) -> np.ndarray:
        """Return inner products of rows of the basis with some vectors, shape (stop - first, len(rows))."""
        basis = self._basis.take(np.arange(first, stop))
        return to_host(inner_with_rows(basis, self.products.xp.matrix_transpose(rows)))

    def _grow(self) -> None:
        """Make room in the projected matrix for rows that the basis has grown; they are the active ones."""
        before, after = len(self._is_expanded), self._basis.num_rows
        projected = np.zeros((after, after))
        projected[:before, :before] = self._projected
        self._projected = projected
        self._is_expanded = np.concatenate([self._is_expanded, np.zeros(after - before, dtype=bool)])
        self._active = np.arange(before, after)

    def _check(self, rows: Array, image: Array) -> None:
        """Look whether the operator is symmetric, among the rows of the first two steps, and deterministic."""
        if self.num_steps == 0:
            self.defects["repeat_defect"] = require_repeatable(self.products, rows[0, :], image[0, :])
        if "symmetry_defect" in self.defects:
            return
        if self._first is not None:
            xp = self.products.xp
            rows = xp.concat([self._first[0], rows], axis=0)
            image = xp.concat([self._first[1], image], axis=0)
        if rows.shape[0] > 1:
            found = require_symmetric(self.products, rows, image)
            if self._first is not None or self.operator.shape[0] == rows.shape[0]:
                self.defects["symmetry_defect"] = found
        self._first = (rows, image) if self._first is None else None
