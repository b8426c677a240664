"""Three ways to the same kernel: from layers' features, from rows of the Jacobian, from products."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from probes.batch import Batch
from probes.operators.jacobian import JacobianOperator
from probes.operators.ntk import Outputs
from probes.operators.tangent.contraction import JacobianRows
from probes.operators.tangent.rules import Layer
from probes.operators.tangent.sides import Side
from probes.operators.tangent.structured import features
from probes.operators.tangent.tiles import Measured, Tiles, kernel_of
from probes.operators.workload import Workload

__all__ = ["COLUMNS", "KEPT", "Plan", "contraction", "matrix_free", "structured"]

#: Columns of a matrix-free product at once.
COLUMNS = 8
#: Parts of the budget: what is kept on both sides, and one block of samples.
KEPT, BLOCK = 2, 8
#: Samples for which all heads should fit at once; else heads are treated some at a time.
AT_ONCE = 16


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """What is asked for.

    Attributes
    ----------
    left, right : Side
        The right one is ``None`` for the kernel of the left samples among themselves.
    outputs : {"full", "trace", "sum"}
        What becomes of the outputs of a sample.
    micro_batch : int or None
        Samples of a block at most.
    memory_budget : int
        Bytes for features or rows of both sides, temporary ones included. The kernel itself comes on top.
    """

    left: Side
    right: Side | None
    outputs: Outputs
    micro_batch: int | None
    memory_budget: int

    @property
    def sides(self) -> list[Side]:
        """One or two."""
        return [self.left] if self.right is None else [self.left, self.right]

    @property
    def num_heads(self) -> int:
        """K: one head for a sum, else all outputs."""
        return 1 if self.outputs == "sum" else self.left.num_outputs

    @property
    def heads(self) -> Tensor:
        """Cotangents of the outputs of a sample whose kernels are wanted, (K, o)."""
        like, o = next(iter(self.left.workload.parameters.values())).detach(), self.left.num_outputs
        if self.outputs == "sum":
            return like.new_full((1, o), o**-0.5)
        return torch.eye(o, dtype=like.dtype, device=like.device)

    def finished(self, kernel: Tensor) -> Tensor:
        """Return the sum over heads, (N, M), or all pairs, (N, K, M, K), as the kernel that is asked for."""
        if self.outputs == "full":
            return kernel.flatten(2, 3).flatten(0, 1)
        return kernel / self.left.num_outputs if self.outputs == "trace" else kernel


def structured(
    plan: Plan, layers: Mapping[str, Layer], layers_right: Mapping[str, Layer], bytes_of_sample: Callable[[int], int]
) -> Tensor:
    """Return the part of the kernel that layers with a rule add; a sample takes so many bytes for a number of heads.

    Raises
    ------
    NoRule
        A layer is not used as its rule supposes.
    """
    own = {id(plan.left): layers, id(plan.right): layers_right}

    def measure(side: Side, batch: Batch, heads: Tensor) -> Measured:
        return features(side.workload, batch, heads, own[id(side)], full=plan.outputs == "full")

    return _in_tiles(plan, measure, bytes_of_sample)


def contraction(plan: Plan, names: Sequence[str] | None = None) -> tuple[Tensor, str]:
    """Return the kernel of some parameters (by default all) from rows of the Jacobian, and a remark or nothing."""
    ways = {}
    for side in plan.sides:
        workload: Workload = side.workload if names is None else side.workload.restricted(names)
        ways[id(side)] = JacobianRows(workload)

    def measure(side: Side, batch: Batch, heads: Tensor) -> Measured:
        return ways[id(side)].rows(0, batch, heads)

    def bytes_of_sample(heads: int) -> int:
        workload = ways[id(plan.left)].workload
        return heads * workload.size * workload.dtype.itemsize

    found = _in_tiles(plan, measure, bytes_of_sample, graph=True)
    slow = next((way for way in ways.values() if way.why), None)
    return found, f"rows of the Jacobian sample by sample, for they cannot be mapped: {slow.why}" if slow else ""


def matrix_free(plan: Plan) -> Tensor:
    """Return the kernel column by column, from products with the Jacobian and its transpose."""
    left = JacobianOperator.of_workload(_cut(plan, plan.left))
    right = left if plan.right is None else JacobianOperator.of_workload(_cut(plan, plan.right))
    o, count = plan.left.num_outputs, (plan.right or plan.left).num_samples
    like, scale = left.like, o**-0.5
    n = plan.left.num_samples
    total = like.new_zeros((n, o, count, o) if plan.outputs == "full" else (n, count))
    places = [(j, k) for j in range(count) for k in range(1 if plan.outputs == "sum" else o)]
    for begin in range(0, len(places), COLUMNS):
        some = places[begin : begin + COLUMNS]
        cotangents = like.new_zeros(count, o, len(some))
        for column, (j, k) in enumerate(some):
            if plan.outputs == "sum":
                cotangents[j, :, column] = scale
            else:
                cotangents[j, k, column] = 1.0
        found = left.matmat(right.rmatmat(cotangents.flatten(0, 1))).reshape(n, o, len(some))
        for column, (j, k) in enumerate(some):
            if plan.outputs == "full":
                total[:, :, j, k] = found[:, :, column]
            elif plan.outputs == "trace":
                total[:, j] += found[:, k, column]
            else:
                total[:, j] = scale * found[:, :, column].sum(1)
    if plan.right is None:
        total = (total + (total.permute(2, 3, 0, 1) if total.ndim == 4 else total.T)) / 2
    return total


def _cut(plan: Plan, side: Side) -> Workload:
    """Cut batches so that their graphs fit, with the columns of a product that go through them."""
    workload = side.workload
    if side.is_divisible and side.num_samples > AT_ONCE:
        size = max(1, plan.memory_budget // BLOCK // max(1, side.graph_bytes() * (1 + COLUMNS)))
        workload.split(size, because="the graph of a batch does not fit into memory_budget")
    return workload


def _in_tiles(
    plan: Plan,
    measure: Callable[[Side, Batch, Tensor], Measured],
    bytes_of_sample: Callable[[int], int],
    *,
    graph: bool = False,
) -> Tensor:
    """Cut samples into blocks, and heads where they need not be paired, so that the budget suffices.

    The graph counts where it is not much the same as what is measured.
    """
    heads, full = plan.heads, plan.outputs == "full"
    block_bytes = max(1, plan.memory_budget // BLOCK)
    at_once = len(heads) if full else max(1, min(len(heads), block_bytes // max(1, AT_ONCE * bytes_of_sample(1))))
    parts = list(heads.split(at_once))
    size = max(1, block_bytes // max(1, bytes_of_sample(at_once)))
    if plan.micro_batch is not None:
        size = min(size, plan.micro_batch)
    if graph and min(size, plan.left.num_samples) > AT_ONCE:
        size = min(size, max(AT_ONCE, block_bytes // max(1, plan.left.graph_bytes() * (1 + at_once))))

    def tiles(side: Side) -> Tiles:
        blocks = side.blocks(size)
        kept = plan.memory_budget // (KEPT * len(plan.sides))
        return Tiles(blocks.sizes, lambda index, some: measure(side, blocks.take(index), some), kept)

    right = None if plan.right is None else tiles(plan.right)
    return kernel_of(tiles(plan.left), right, parts, full=full)
