"""Orthonormal bases of blocks of vectors, stored as rows."""

from dataclasses import dataclass

import numpy as np
from array_api_compat import device

from spectra.arrays import dtype_name, namespace, to_host
from spectra.protocols import Array

__all__ = ["Orthonormal", "orthonormalize", "project_out"]


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
    overlap = xp.matmul(against, xp.matrix_transpose(block))
    return block - xp.matmul(xp.matrix_transpose(overlap), against), overlap


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
    q, triangle = xp.linalg.qr(xp.matrix_transpose(block))
    left, sizes, right = np.linalg.svd(to_host(triangle))
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
        q, triangle = xp.linalg.qr(xp.matrix_transpose(rows))
        rows = xp.matrix_transpose(q)
        coupling = to_host(triangle) @ coupling
    contiguous = xp.empty_like(rows)
    contiguous[:, :] = rows
    return Orthonormal(rows=contiguous, coupling=coupling, overlap=overlap)
