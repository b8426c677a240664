"""Orthonormal rows on the device of an operator, in no more storage than was allowed."""

from typing import final

import numpy as np
from array_api_compat import device

from spectra.arrays import to_host
from spectra.orthogonal import orthonormalize, project_out
from spectra.products import Products
from spectra.protocols import Array

__all__ = ["BoundedBasis"]

_CHUNK = 32
_PANEL_BYTES = 2**19


@final
class BoundedBasis:
    """Orthonormal rows q_1, q_2, ... of length n which grow in chunks and can be recombined in place.

    Parameters
    ----------
    products : Products
        Of the operator whose library, dtype and device the rows have.
    max_rows : int
        Rows for which storage is allocated at most.

    Attributes
    ----------
    num_rows : int
        Rows in use.
    num_allocated : int
        Rows for which there is storage; never more than ``max_rows``, and never fewer than before.

    Examples
    --------
    >>> import numpy as np
    >>> basis = BoundedBasis(Products(np.eye(3)), max_rows=2)
    >>> coupling, overlap = basis.extend(np.array([[3.0, 0.0, 0.0], [1.0, 1.0, 0.0]]), threshold=1e-12)
    >>> basis.num_rows, coupling.shape, overlap.shape
    (2, (2, 2), (0, 2))
    """

    def __init__(self, products: Products, *, max_rows: int) -> None:
        self._products, self._xp = products, products.xp
        self._like = products.operator.like
        self.max_rows = max_rows
        self.num_rows = 0
        self._chunks: list[Array] = []

    @property
    def num_allocated(self) -> int:
        """Rows for which there is storage."""
        return sum(chunk.shape[0] for chunk in self._chunks)

    def extend(self, block: Array, *, threshold: float) -> tuple[np.ndarray, np.ndarray]:
        """Append an orthonormal basis of what a block of rows (b, n) adds to the span.

        ``block = overlap' rows + coupling' new`` with the rows from before and the r <= b new ones. Two passes of
        block Gram-Schmidt; what is left of the block in directions of at most ``threshold`` is dropped.

        Returns
        -------
        coupling : ndarray, shape (r, b)
        overlap : ndarray, shape (num_rows before, b)
            Both on the host, float64.
        """
        block, overlap = self._project_out(block)
        found = orthonormalize(block, threshold=threshold)
        room = min(found.rows.shape[0], min(self._like.shape[0], self.max_rows) - self.num_rows)
        rows, coupling = found.rows[:room, :], found.coupling[:room]
        if rows.shape[0] > 0 and self.num_rows > 0:
            rows, second = self._project_out(rows)
            overlap = overlap + second @ coupling
            again = orthonormalize(rows, threshold=0.0)
            rows, coupling = again.rows, again.coupling @ coupling
        self._append(rows)
        return coupling, overlap

    def take(self, indices: np.ndarray) -> Array:
        """Return a copy of some rows, shape (k, n)."""
        return self._xp.stack([self._chunks[i // _CHUNK][i % _CHUNK, :] for i in map(int, indices)], axis=0)

    def combine(self, coefficients: np.ndarray) -> Array:
        """Return ``c' rows``, shape (k, n), for coefficients (num_rows, k)."""
        xp, total = self._xp, None
        for first, chunk in self._used():
            part = self._products.on_device(coefficients[first : first + chunk.shape[0], :].T)
            term = xp.matmul(part, chunk)
            total = term if total is None else total + term
        return total

    def recombine(self, coefficients: np.ndarray) -> None:
        """Replace the rows by ``c' rows`` for orthonormal coefficients (num_rows, k), k <= num_rows, in place.

        Works on panels of columns, so that no second basis is ever held.
        """
        xp, (num_rows, k) = self._xp, coefficients.shape
        n, mixing = self._like.shape[0], self._products.on_device(coefficients.T)
        width = max(1, _PANEL_BYTES // (8 * max(num_rows, 1)))
        used = [chunk for _, chunk in self._used()]
        for left in range(0, n if used else 0, width):
            right = min(n, left + width)
            panel = xp.matmul(mixing, xp.concat([chunk[:, left:right] for chunk in used], axis=0))
            for i in range(0, k, _CHUNK):
                stop = min(k, i + _CHUNK)
                self._chunks[i // _CHUNK][: stop - i, left:right] = panel[i:stop, :]
        self.num_rows = k

    def _used(self) -> list[tuple[int, Array]]:
        """Return the filled part of each chunk with the index of its first row."""
        starts = range(0, self.num_rows, _CHUNK)
        return [(i, self._chunks[i // _CHUNK][: min(_CHUNK, self.num_rows - i), :]) for i in starts]

    def _project_out(self, block: Array) -> tuple[Array, np.ndarray]:
        """Subtract the projection on all rows; return the inner products on the host as well."""
        overlaps = []
        for _, chunk in self._used():
            block, overlap = project_out(block, chunk)
            overlaps.append(overlap)
        if not overlaps:
            return block, np.zeros((0, block.shape[0]))
        return block, to_host(self._xp.concat(overlaps, axis=0))

    def _append(self, rows: Array) -> None:
        """Store rows behind the others."""
        xp, n = self._xp, self._like.shape[0]
        for i in range(rows.shape[0]):
            position = self.num_rows % _CHUNK
            if self.num_rows == self.num_allocated:
                size = min(_CHUNK, min(n, self.max_rows) - self.num_rows)
                self._chunks.append(xp.zeros((size, n), dtype=self._like.dtype, device=device(self._like)))
            self._chunks[self.num_rows // _CHUNK][position, :] = rows[i, :]
            self.num_rows += 1
