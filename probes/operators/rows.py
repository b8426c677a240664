"""Vectors as contiguous rows, cut into tensors of the parameters' shapes and joined again."""

from collections.abc import Sequence

from torch import Tensor

__all__ = ["columns_of", "contiguous_rows", "empty_rows", "fill_row", "joined", "rows_of", "side_by_side"]


def empty_rows(count: int, like: Sequence[Tensor]) -> Tensor:
    """Return room for so many vectors of the length of all parameters, as rows (count, n)."""
    return like[0].detach().new_empty(count, sum(p.numel() for p in like))


def fill_row(row: Tensor, pieces: Sequence[Tensor | None], like: Sequence[Tensor]) -> Tensor:
    r"""Write gradients, None for zero, each number once.

    Those of shape \*parameter.shape into a vector (n,), those of shape (k, \*parameter.shape) into rows (k, n).
    """
    begin = 0
    for piece, p in zip(pieces, like, strict=True):
        part = row[..., begin : begin + p.numel()]
        if piece is None:
            part.zero_()
        else:
            part.copy_(piece.detach().reshape(part.shape))
        begin += p.numel()
    return row


def joined(pieces: Sequence[Tensor | None], like: Sequence[Tensor]) -> Tensor:
    """Join gradients of the parameters' shapes, None for zero, into one vector (n,)."""
    return fill_row(empty_rows(1, like)[0], pieces, like)


def columns_of(pieces: Sequence[Tensor | None], like: Sequence[Tensor]) -> Tensor:
    r"""Join gradients of shape (k, \*parameter.shape), None for zero, into columns (n, k)."""
    width = next((piece.shape[0] for piece in pieces if piece is not None), 1)
    return fill_row(empty_rows(width, like), pieces, like).T


def contiguous_rows(columns: Tensor) -> Tensor:
    """Return columns (n, k) as contiguous rows (k, n); no copy where each vector is contiguous already."""
    return columns.T.contiguous()


def rows_of(columns: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    r"""Cut columns (n, k) into tensors of shape (k, \*parameter.shape)."""
    rows = contiguous_rows(columns)
    pieces = rows.split([p.numel() for p in like], dim=1)
    return [piece.reshape(len(rows), *p.shape) for piece, p in zip(pieces, like, strict=True)]


def side_by_side(blocks: Sequence[Tensor], like: Sequence[Tensor]) -> Tensor:
    """Join blocks of columns (n, k1), (n, k2), ... into one (n, k1 + k2 + ...), each vector contiguous."""
    if len(blocks) == 1:
        return blocks[0]
    rows = empty_rows(sum(block.shape[1] for block in blocks), like)
    begin = 0
    for block in blocks:
        rows[begin : begin + block.shape[1]] = block.T
        begin += block.shape[1]
    return rows.T
