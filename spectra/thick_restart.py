"""Block Lanczos with thick restarts: Ritz pairs at the ends of the spectrum in bounded memory."""

from dataclasses import dataclass
from typing import Literal, final

import numpy as np

from spectra.arrays import eps
from spectra.bounded_basis import BoundedBasis
from spectra.lanczos import BREAKDOWN, lanczos
from spectra.products import Products
from spectra.protocols import Array, Progress
from spectra.soundness import require_symmetric

__all__ = ["End", "RitzPairs", "ThickRestart", "at_ends"]

End = Literal["largest", "smallest", "both", "magnitude"]

_KEEP = 0.4
"""Part of the memory that a restart keeps: within 1.25 times the fewest products of 0 to 0.8 in all but one of 25 cases
(five spectra, 20 to 80 rows). In that one, the other end held ten outliers, which came up anew after each restart."""

_SETTLED = 1e-4
"""Ritz vectors of the other end with at most this residual, relative to the norm, are kept as well: 280 instead of 697
products in the case above, and nowhere among the others more than before; with 1e-2 about the same."""

_LOOK_EVERY = 16
"""Ritz pairs are computed anew when the basis has grown by this fraction; it wastes at most that many products."""


def at_ends(values: np.ndarray, num: int, which: End) -> list[tuple[str, int]]:
    """Return end and position of the wanted ones among ascending values, the outermost first.

    Examples
    --------
    >>> import numpy as np
    >>> at_ends(np.array([-3.0, 0.0, 2.0]), 1, "both"), at_ends(np.array([-3.0, 0.0, 2.0]), 2, "magnitude")
    ([('largest', 2), ('smallest', 0)], [('magnitude', 0), ('magnitude', 2)])
    """
    order = list(range(len(values)))
    if which == "magnitude":
        by_size = np.argsort(-np.abs(values), kind="stable")[:num]
        return [("magnitude", int(i)) for i in by_size]
    chosen: list[tuple[str, int]] = []
    if which in ("largest", "both"):
        chosen += [("largest", i) for i in order[::-1][:num]]
    if which in ("smallest", "both"):
        chosen += [("smallest", i) for i in order[:num]]
    return chosen


@dataclass(frozen=True, eq=False, kw_only=True)
class RitzPairs:
    """Ritz pairs of ``2**-e A`` on the rows of a basis, ascending.

    Attributes
    ----------
    values : ndarray, shape (m,)
    residuals : ndarray, shape (m,)
        ``||A y - theta y||`` as the recurrence predicts it.
    coefficients : ndarray, shape (num_rows, m)
        Orthonormal; y = c' rows.
    """

    values: np.ndarray
    residuals: np.ndarray
    coefficients: np.ndarray


@final
class ThickRestart:
    """Rayleigh-Ritz on a growing block Krylov space which is cut back to its best part when the memory is full.

    Rows of the basis are *expanded*, if the product with them is known, or wait at the *frontier*. The projected matrix
    H holds ``q_i' A q_j`` wherever one of the two is expanded; with V the expanded rows and F the frontier
    ``A V' = V' T + F' G``, so that Ritz pairs and their residuals need neither products nor vectors.

    Parameters
    ----------
    products : Products
        Of the operator.
    start : array, shape (b, n)
        Unit rows.
    max_rows : int
        Rows stored at most; at least ``wanted + 2 b`` for as many wanted pairs, unless n is smaller.

    Attributes
    ----------
    basis : BoundedBasis
    num_steps : int
        Block steps done.
    num_restarts : int
    extent : tuple of float
        Smallest and largest Ritz value so far, of the scaled operator.
    norm : float
        The larger modulus of the two.
    forgotten : float
        Norm of the residuals given up by `lock`.
    start_ends : ndarray, shape (2, b)
        Largest and smallest Ritz value on the Krylov space of each start vector alone, as of the first restart or of
        `run`'s end; costs no products.

    Notes
    -----
    Source: Wu and Simon (2000); the block form keeps a frontier of b rows through the restart.

    Examples
    --------
    >>> import numpy as np
    >>> A = Products(np.diag(np.arange(1.0, 201.0)))
    >>> search = ThickRestart(A, np.full((1, 200), 200.0**-0.5), max_rows=12)
    >>> search.run(num=1, which="largest", tolerance=1e-8, max_steps=500)
    >>> float(A.unscaled(search.ritz().values[-1]).round(9)), search.basis.num_allocated, search.num_restarts > 1
    (200.0, 12, True)
    """

    def __init__(self, products: Products, start: Array, *, max_rows: int) -> None:
        self.products = products
        self.basis = BoundedBasis(products, max_rows=max_rows)
        self._eps = eps(start)
        self._start_coordinates, _ = self.basis.extend(start, threshold=BREAKDOWN * self._eps)
        rows = self.basis.num_rows
        self._projected = np.zeros((rows, rows))
        self._is_expanded = np.zeros(rows, dtype=bool)
        self._active = np.arange(rows)
        self._first: tuple[Array, Array] | None = None
        self._symmetry_checked = False
        self.num_steps = self.num_restarts = 0
        self.extent = (np.inf, -np.inf)
        self.forgotten = self._scale = 0.0
        self._num_locked = 0
        self._start_ends: np.ndarray | None = None

    @property
    def norm(self) -> float:
        """Largest modulus of a Ritz value so far, of the scaled operator; 0 before there is one."""
        return max(abs(end) for end in self.extent) if np.isfinite(self.extent[0]) else 0.0

    @property
    def exhausted(self) -> bool:
        """Whether the Krylov space cannot grow further."""
        return len(self._active) == 0

    @property
    def start_ends(self) -> np.ndarray:
        """Outermost Ritz values of each start vector alone, shape (2, b)."""
        return self._ends_of_starts() if self._start_ends is None else self._start_ends

    def run(
        self,
        *,
        num: int,
        which: End,
        tolerance: float,
        max_steps: int,
        progress: Progress | None = None,
    ) -> None:
        """Step until ``num`` pairs at each wanted end have residuals of at most ``tolerance * norm``.

        Also ends where the space is exhausted, or after ``max_steps`` block steps; b products each.
        """
        wanted = (2 if which == "both" else 1) * num
        look = 0
        while not self.exhausted and self.num_steps < max_steps:
            if self.basis.num_rows + len(self._active) > self.basis.max_rows < self._n:
                self.restart(num=num, which=which)
            self.step()
            if progress is not None:
                progress(self.num_steps, max_steps)
            if self.num_steps >= look or self.exhausted:
                pairs = self.ritz()
                look = self.num_steps + 1 + len(pairs.values) // (_LOOK_EVERY * max(1, len(self._active)))
                chosen = [i for _, i in at_ends(pairs.values, num, which)]
                complete = len(pairs.values) >= min(wanted, self._n)
                if complete and np.all(pairs.residuals[chosen] <= tolerance * self.norm):
                    return

    @property
    def _n(self) -> int:
        return self.products.operator.shape[0]

    def step(self) -> None:
        """Multiply the active rows of the frontier; what is new about the products becomes the next active rows."""
        xp, active = self.products.xp, self._active
        rows = self.basis.take(active)
        image = xp.empty_like(rows)
        image[:, :] = xp.matrix_transpose(self.products.multiply(xp.matrix_transpose(rows)))
        self._check_symmetry(rows, image)
        self._scale = max(self._scale, float(xp.max(xp.linalg.vector_norm(image, axis=1))))
        coupling, overlap = self.basis.extend(image, threshold=BREAKDOWN * self._eps * self._scale)
        self._grow(self.basis.num_rows)
        overlap[active] = 0.5 * (overlap[active] + overlap[active].T)
        self._projected[:, active] = np.concatenate([overlap, coupling])
        self._projected[active, :] = self._projected[:, active].T
        self._is_expanded[active] = True
        self.num_steps += 1

    def ritz(self) -> RitzPairs:
        """Return the Ritz pairs on all rows with known products."""
        inside, frontier = np.flatnonzero(self._is_expanded), np.flatnonzero(~self._is_expanded)
        values, vectors = np.linalg.eigh(self._projected[np.ix_(inside, inside)])
        if len(values) > 0:
            self.extent = (min(self.extent[0], float(values[0])), max(self.extent[1], float(values[-1])))
        residuals = np.linalg.norm(self._projected[np.ix_(frontier, inside)] @ vectors, axis=0)
        coefficients = np.zeros((len(self._is_expanded), len(values)))
        coefficients[inside] = vectors
        return RitzPairs(values=values, residuals=residuals, coefficients=coefficients)

    def restart(self, *, num: int, which: End) -> None:
        """Keep the outermost Ritz vectors and the frontier."""
        if self._start_ends is None:
            self._start_ends = self._ends_of_starts()
        pairs, frontier = self.ritz(), np.flatnonzero(~self._is_expanded)
        chosen = self._worth_keeping(pairs, num, which, room=self.basis.max_rows - 2 * len(frontier) - 1)
        k, f = len(chosen), len(frontier)
        mixing = np.zeros((self.basis.num_rows, k + f))
        mixing[:, :k] = pairs.coefficients[:, chosen]
        mixing[frontier, k + np.arange(f)] = 1.0
        coupling = self._projected[frontier] @ mixing[:, :k]
        self.basis.recombine(mixing)
        self._projected = np.block([[np.diag(pairs.values[chosen]), coupling.T], [coupling, np.zeros((f, f))]])
        self._active = k + np.flatnonzero(np.isin(frontier, self._active))
        self._is_expanded = np.arange(k + f) < k
        self.num_restarts += 1

    def _worth_keeping(self, pairs: RitzPairs, num: int, which: End, *, room: int) -> list[int]:
        """Return the outermost Ritz pairs, fewer where settled ones of the other end are kept to be out of the way."""
        sides, share = 2 if which == "both" else 1, int(_KEEP * self.basis.max_rows)
        others: list[int] = []
        if which in ("largest", "smallest"):
            other: End = "smallest" if which == "largest" else "largest"
            others = [i for _, i in at_ends(pairs.values, max(0, min(share, room - num)), other)]
            others = [i for i in others if pairs.residuals[i] <= _SETTLED * self.norm]
        keep = max(sides * num, min(share - len(others) // 2, room - len(others)))
        return sorted({i for _, i in at_ends(pairs.values, max(1, keep // sides), which)} | set(others))

    def lock(self, pairs: RitzPairs, index: list[int]) -> None:
        """Keep some Ritz vectors as if they were exact, and nothing else."""
        if self._start_ends is None:
            self._start_ends = self._ends_of_starts()
        self.basis.recombine(pairs.coefficients[:, index])
        self._projected = np.diag(pairs.values[index])
        self._is_expanded = np.ones(len(index), dtype=bool)
        self._active, self._num_locked = np.arange(0), len(index)
        self.forgotten += float(np.linalg.norm(pairs.residuals[index]))

    def inject(self, row: Array) -> None:
        """Let the part of a unit row (1, n) that is orthogonal to what was locked start a Krylov space of its own."""
        self.basis.extend(row, threshold=BREAKDOWN * self._eps)
        self._grow(self.basis.num_rows)

    def injected(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the Lanczos coefficients of the injected vector, the last coupling to the next vector (or 0)."""
        k, m = self._num_locked, int(np.sum(self._is_expanded))
        padded = np.append(np.diag(self._projected, -1), 0.0)
        return np.diag(self._projected)[k:m], padded[k:m]

    def _grow(self, after: int) -> None:
        """Make room in the projected matrix for rows that the basis has grown; they are the active ones."""
        before = len(self._is_expanded)
        projected = np.zeros((after, after))
        projected[:before, :before] = self._projected
        self._projected = projected
        self._is_expanded = np.concatenate([self._is_expanded, np.zeros(after - before, dtype=bool)])
        self._active = np.arange(before, after)

    def _ends_of_starts(self) -> np.ndarray:
        """Run Lanczos on the projected matrix, where the start vectors are known: the numbers A itself would give.

        They agree for as many steps as blocks were multiplied, and for all steps once the space is exhausted.
        """
        steps = int(np.sum(self._is_expanded)) if self.exhausted else self.num_steps
        inside = np.flatnonzero(self._is_expanded)
        rank, b = self._start_coordinates.shape
        start = np.zeros((len(inside), b))
        start[:rank] = self._start_coordinates
        found = lanczos(self._projected[np.ix_(inside, inside)], start, num_steps=max(1, steps))
        ritz = [found.ritz(i).values for i in range(b)]
        return np.array([[values[-1] for values in ritz], [values[0] for values in ritz]])

    def _check_symmetry(self, rows: Array, image: Array) -> None:
        """Compare ``u'(Av)`` with ``v'(Au)`` among the rows of the first two steps; costs nothing."""
        if self._symmetry_checked:
            return
        if self._first is not None:
            xp = self.products.xp
            rows = xp.concat([self._first[0], rows], axis=0)
            image = xp.concat([self._first[1], image], axis=0)
            self._symmetry_checked = True
        if rows.shape[0] > 1:
            require_symmetric(self.products, rows, image)
        self._first = None if self._symmetry_checked else (rows, image)
