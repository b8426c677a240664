"""How much memory a product takes, and which blocks and micro-batches fit a budget."""

from collections.abc import Callable

import torch
from torch import Tensor

from spectra.errors import ArgumentError, OutOfMemoryError

__all__ = ["fitting", "saved_bytes"]

#: Memory of a product in units of what double backward saves: the graph with what one pass through it holds at a time,
#: and each column of a block. From scripts/benchmarks/product_memory.py.
GRAPH_SHARE, COLUMN_SHARE = 2.0, 1.0


def saved_bytes(act: Callable[[], object], *, apart_from: tuple[Tensor, ...]) -> int:
    """Return the bytes that autograd keeps for backward passes while ``act`` runs.

    Every storage counts once; those of the given tensors (parameters) do not count.
    """
    known = {tensor.untyped_storage().data_ptr() for tensor in apart_from}
    held: dict[int, Tensor] = {}
    total = 0

    def pack(tensor: Tensor) -> Tensor:
        nonlocal total
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known and storage.data_ptr() not in held:
            held[storage.data_ptr()] = tensor  # kept, so that no other storage takes its address meanwhile
            total += storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        act()
    return total


def fitting(budget: int, *, each: float, largest: int, width: int) -> tuple[int, int]:
    """Return the width of blocks and the number of samples in a micro-batch with which a product fits the budget.

    Parameters
    ----------
    budget : int
        Bytes.
    each : float
        Bytes that double backward saves for one sample.
    largest : int
        Samples of the largest batch.
    width : int
        Columns in a block at most.

    Raises
    ------
    ArgumentError
        The budget is not positive.
    OutOfMemoryError
        A single sample and column take more.

    Examples
    --------
    >>> fitting(10_000, each=100.0, largest=64, width=8)
    (1, 33)
    """
    if budget < 1:
        raise ArgumentError(f"memory_budget must be a positive number of bytes; got {budget}.")
    each = max(each, 1.0)
    while width > 1 and each * largest * (GRAPH_SHARE + COLUMN_SHARE * width) > budget:
        width //= 2
    samples = int(budget / (each * (GRAPH_SHARE + COLUMN_SHARE * width)))
    if samples < 1:
        raise OutOfMemoryError(
            f"one sample takes about {each * (GRAPH_SHARE + COLUMN_SHARE):.3g} bytes for a product with one column, "
            f"more than memory_budget = {budget}."
        )
    return width, min(samples, largest)
