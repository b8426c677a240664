"""How much memory a product takes, and which blocks and micro-batches fit a budget."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from probes.batch import Batch
from spectra.errors import ArgumentError, OutOfMemoryError

if TYPE_CHECKING:
    from probes.operators.base import CurvatureOperator

__all__ = ["GRAPH_SHARE", "fit", "fitting", "graph_bytes", "saved_bytes", "with_less_memory"]

#: Samples on which the memory of a product is measured.
MEMORY_SAMPLES = 8

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


def fitting(budget: int, *, each: float, largest: int, width: int, fixed: float = 0.0) -> tuple[int, int]:
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
    fixed : float
        Bytes that double backward saves whatever the number of samples.

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
    while width > 1 and (fixed + each * largest) * (GRAPH_SHARE + COLUMN_SHARE * width) > budget:
        width //= 2
    samples = int((budget / (GRAPH_SHARE + COLUMN_SHARE * width) - fixed) / each)
    if samples < 1:
        raise OutOfMemoryError(
            f"one sample takes about {(fixed + each) * (GRAPH_SHARE + COLUMN_SHARE):.3g} bytes for a product with one "
            f"column, more than memory_budget = {budget}."
        )
    return width, min(samples, largest)


def fit(operator: "CurvatureOperator", budget: int) -> None:
    """Choose micro-batches and blocks whose memory, predicted from a few samples, is within the budget.

    Raises
    ------
    ArgumentError, OutOfMemoryError
        As `fitting`; also where the data cannot be cut.
    """
    each, fixed = graph_bytes(operator)
    largest = max(operator.batches.sizes)
    operator.block_width, samples = fitting(budget, each=each, largest=largest, width=operator.block_width, fixed=fixed)
    if samples < largest:
        operator.workload.split(samples, because=f"a product does not fit into memory_budget = {budget}")


def graph_bytes(operator: "CurvatureOperator") -> tuple[float, float]:
    """Return what double backward saves for a sample, and whatever the number of samples, from two small batches."""
    workload = operator.workload
    index, whole = next(workload.counted())
    few = fewer = whole
    if whole.is_divisible and whole.size > 1:
        few = whole.take(slice(0, min(whole.size, MEMORY_SAMPLES)))
        fewer = few.take(slice(0, few.size // 2))
        if not (operator.objective.weight(few) and operator.objective.weight(fewer)):
            few = fewer = whole  # targets that are ignored make no graph

    def kept(batch: Batch) -> int:
        with workload.evaluating(index, batch):
            piece = workload.piece(batch)
            return saved_bytes(lambda: operator.build(piece, "kept_graph"), apart_from=piece.tensors)

    # What does not grow with the samples has the size of the parameters.
    most, least = kept(few), kept(fewer)
    each = (most - least) / (few.size - fewer.size) if few.size > fewer.size else most / few.size
    return each, max(0.0, most - each * few.size)


def with_less_memory(operator: "CurvatureOperator", act: Callable[[], Tensor]) -> Tensor:
    """Run a product; where memory is short make blocks narrower, then batches smaller, and run it again.

    Raises
    ------
    OutOfMemoryError
        One column and one sample do not fit, or batches cannot be made smaller.
    """
    while True:
        operator.refresh()
        try:
            return act()
        except torch.OutOfMemoryError as error:
            problem = str(error).strip().splitlines()[0]
        operator.release()
        if operator.device.type == "cuda":
            torch.cuda.empty_cache()
        largest = max(operator.batches.sizes)
        if operator.block_width > 1:
            operator.block_width //= 2
        elif largest > 1 and all(batch.is_divisible for batch in operator.batches):
            operator.workload.split((largest + 1) // 2, because=f"a product does not fit into memory ({problem})")
        else:
            raise OutOfMemoryError(
                f"a product of {operator.name} with one column on {largest} sample(s) does not fit into memory "
                f"({problem}); n = {operator.shape[0]}, {operator.dtype} on {operator.device}. Measure fewer "
                "parameters (parameters=), shorter inputs, or on a device with more memory."
            )
