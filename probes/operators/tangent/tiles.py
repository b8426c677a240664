"""A kernel between the samples of two lists of batches, pair by pair, in bounded memory."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

__all__ = ["Measured", "Tiles", "kernel_of"]


class Measured(Protocol):
    """What is known of some samples, from which a kernel with others is formed."""

    @property
    def num_bytes(self) -> int:
        """Memory that it takes."""

    def diagonal(self, other: Any, /) -> Tensor:
        """Return the sum over heads of the kernels of single heads, (N, M)."""

    def full(self, other: Any, /) -> Tensor:
        """Return the kernel of all pairs of heads, (N, K, M, K)."""


@dataclass(eq=False)
class Tiles:
    """Batches of samples, measured when needed, and kept as far as memory allows.

    Parameters
    ----------
    sizes : sequence of int
        Samples of each batch.
    measure : callable
        Takes the number of a batch and heads (K, o).
    max_bytes : int
        Kept at most.
    """

    sizes: Sequence[int]
    measure: Callable[[int, Tensor], Measured]
    max_bytes: int
    _kept: dict[int, Measured] = field(default_factory=dict)
    _bytes: int = 0

    def get(self, index: int, heads: Tensor) -> Measured:
        """Return what is known of a batch."""
        if index in self._kept:
            return self._kept[index]
        found = self.measure(index, heads)
        if self._bytes + found.num_bytes <= self.max_bytes:
            self._kept[index] = found
            self._bytes += found.num_bytes
        return found

    def forget(self) -> None:
        """Keep nothing: other heads come next."""
        self._kept, self._bytes = {}, 0

    def slices(self) -> list[slice]:
        """Return where the samples of each batch are among all."""
        ends = torch.tensor(list(self.sizes)).cumsum(0).tolist()
        return [slice(end - size, end) for end, size in zip(ends, self.sizes, strict=True)]


def kernel_of(left: Tiles, right: Tiles | None, heads: Sequence[Tensor], *, full: bool) -> Tensor:
    """Return the kernel between all samples of two sides, or of one side with itself.

    Parameters
    ----------
    left, right : Tiles
        ``None`` for the left one again; then each pair is formed once.
    heads : sequence of torch.Tensor, each of shape (K, o)
        Treated one after the other, and summed over; one only for ``full``.
    full : bool
        Whether all pairs of heads are wanted, (N, K, M, K), or the sum over equal ones, (N, M).
    """
    columns = left if right is None else right
    first = heads[0]
    n, m = sum(left.sizes), sum(columns.sizes)
    shape = (n, len(first), m, len(first)) if full else (n, m)
    total = first.new_zeros(shape)
    places = columns.slices()
    for some in heads:
        left.forget()
        columns.forget()
        for i, rows in enumerate(left.slices()):
            mine = left.get(i, some)
            for j in range(i if right is None else 0, len(places)):
                theirs = mine if right is None and i == j else columns.get(j, some)
                block = mine.full(theirs) if full else mine.diagonal(theirs)
                axis = 2 if full else 1
                total[rows].narrow(axis, places[j].start, block.shape[axis]).add_(block)
                if right is None and i != j:
                    turned = block.permute(2, 3, 0, 1) if full else block.T
                    total[places[j]].narrow(axis, rows.start, turned.shape[axis]).add_(turned)
    left.forget()
    columns.forget()
    if right is not None:
        return total
    return (total + (total.permute(2, 3, 0, 1) if full else total.T)) / 2
