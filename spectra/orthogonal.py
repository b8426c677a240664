"""Orthonormal bases of blocks of vectors, stored as rows."""

from dataclasses import dataclass

import numpy as np
from array_api_compat import device

from spectra.arrays import PIECE, dtype_name, inner_with_rows, namespace, to_host
from spectra.protocols import Array

__all__ = ["Orthonormal", "orthonormalize", "project_out", "thin_factors"]

_ROUNDS = 5
_ORTHONORMAL = 1e-6
_NEARLY = 0.01
"""A defect of the Gram matrix up to which one whitening leaves nothing but rounding."""

_SMALLEST = 1e-12
"""Eigenvalues of a Gram matrix of float32 rows, of unit norm, below which they are rounding."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Orthonormal:
    """What `orthonormalize` found: ``block = overlap' against + coupling' rows``.

    Attributes
    ----------
    rows : array, shape (r, n)
        Orthonormal, orthogonal to ``against``; r <= b is the numerical rank of what was left of the block.
    coupling : ndarray, shape (r, b)
        On the host, float64.
    overlap : ndarray, shape (k, b)
        Inner products with the rows of ``against``, on the host, float64.
    """

    rows: Array
    coupling: np.ndarray
    overlap: np.ndarray


def project_out(block: Array, against: Array) -> tuple[Array, Array]:
    """Return ``block - block against' against``, and ``against block'``, shape (k, b), on the device."""
    xp = namespace(block)
    # The few rows on the left: as columns on the right PyTorch's BLAS takes longer over them.
    overlap = inner_with_rows(block, xp.matrix_transpose(against))
    return block - xp.matmul(xp.astype(overlap, block.dtype), against), xp.matrix_transpose(overlap)


def thin_factors(columns: Array) -> tuple[Array, np.ndarray]:
    """Return Q with orthonormal columns, shape (n, b), and R on the host, shape (b, b), with ``columns = Q R``.

    Householder's QR factors; of long float32 columns those that repeated whitening with the Gram matrix gives, for
    reflections lose three digits there (float32 sums of two million squares, see `spectra.arrays.inner_with_rows`). R
    is then not triangular.

    Notes
    -----
    Columns that depend on others leave Q less than orthonormal in directions which R gives the weight of rounding.
    Waits for the device.

    Source: Fukaya, Kannan, Nakatsukasa, Yamamoto and Yanagisawa (2020), with eigenvectors in place of Cholesky factors.

    Examples
    --------
    >>> import numpy as np
    >>> columns = np.random.default_rng(0).standard_normal((40000, 3)).astype(np.float32)
    >>> q, r = thin_factors(columns)
    >>> bool(np.allclose(q.T @ q, np.eye(3), atol=1e-5)), bool(np.allclose(q @ r, columns, atol=1e-4))
    (True, True)
    """
    xp = namespace(columns)
    if columns.dtype == xp.float64 or columns.shape[0] <= PIECE:
        q, triangle = xp.linalg.qr(columns)
        return q, to_host(triangle)
    rows, factor = xp.matrix_transpose(columns), np.eye(columns.shape[1])
    for _ in range(_ROUNDS):
        gram = _gram(rows)
        norm = np.sqrt(np.diagonal(gram))
        defect = np.max(np.abs(gram - np.eye(len(gram))))
        if defect <= _ORTHONORMAL:
            break
        size = np.where(norm > 0.0, norm, 1.0)
        values, vectors = np.linalg.eigh(gram / np.outer(size, size))
        root = np.sqrt(np.maximum(values, _SMALLEST * len(values)))
        whiten = (vectors / size[:, None]) / root
        rows = xp.matmul(xp.asarray(whiten.T.astype(dtype_name(rows.dtype)), device=device(rows)), rows)
        factor = root[:, None] * (vectors.T * norm) @ factor
        if defect <= _NEARLY:
            break
    return xp.matrix_transpose(rows), factor


def _gram(rows: Array) -> np.ndarray:
    """Return ``rows rows'`` on the host, summed in float64.

    Sums in float32, even of pieces, err by more than 1e-6, which no whitening with them can undo, and hide directions
    that are 3e-4 times as large as the others.
    """
    xp, n, total = namespace(rows), rows.shape[1], None
    for begin in range(0, n, PIECE):
        piece = xp.astype(rows[:, begin : min(begin + PIECE, n)], xp.float64)
        term = xp.matmul(piece, xp.matrix_transpose(piece))
        total = term if total is None else total + term
    return to_host(total)


def orthonormalize(block: Array, against: Array | None = None, *, threshold: float) -> Orthonormal:
    """Return an orthonormal basis of what a block of rows adds to the span of ``against``.

    Block Gram-Schmidt, twice, with the singular values of the remainder in between: directions whose singular value is
    at most ``threshold`` are dropped, so that neither dependent rows nor an exhausted space put noise into the basis.

    Parameters
    ----------
    block : array, shape (b, n)
        b <= n.
    against : array, shape (k, n), optional
        Orthonormal rows.
    threshold : float
        In the units of the block, for instance ``64 eps`` times its norm before.

    Returns
    -------
    Orthonormal

    Notes
    -----
    ``O(n b (k + b))`` operations; waits for the device. Source: Giraud, Langou, Rozloznik and van den Eshof (2005);
    Stewart (2008) for blocks.

    Examples
    --------
    >>> import numpy as np
    >>> found = orthonormalize(np.array([[1.0, 1.0, 0.0], [2.0, 2.0, 0.0]]), np.eye(1, 3), threshold=1e-12)
    >>> np.abs(found.rows).round(12).tolist(), found.overlap.tolist()
    ([[0.0, 1.0, 0.0]], [[1.0, 2.0]])
    """
    xp = namespace(block)
    n, b = block.shape[1], block.shape[0]
    overlap = np.zeros((0, b))
    if against is not None and against.shape[0] > 0:
        block, first = project_out(block, against)
        overlap = to_host(first)
    q, factor = thin_factors(xp.matrix_transpose(block))
    left, sizes, right = np.linalg.svd(factor)
    rank = int(np.sum(sizes > threshold))
    if rank == 0:
        empty = xp.zeros((0, n), dtype=block.dtype, device=device(block))
        return Orthonormal(rows=empty, coupling=np.zeros((0, b)), overlap=overlap)
    chosen = xp.asarray(left[:, :rank].astype(dtype_name(block.dtype)), device=device(block))
    rows = xp.matmul(xp.matrix_transpose(chosen), xp.matrix_transpose(q))
    coupling = sizes[:rank, None] * right[:rank]
    if against is not None and against.shape[0] > 0:
        rows, second = project_out(rows, against)
        overlap = overlap + to_host(second) @ coupling
        q, factor = thin_factors(xp.matrix_transpose(rows))
        rows = xp.matrix_transpose(q)
        coupling = factor @ coupling
    contiguous = xp.empty_like(rows)
    contiguous[:, :] = rows
    return Orthonormal(rows=contiguous, coupling=coupling, overlap=overlap)
