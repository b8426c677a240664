"""Which way to a tangent kernel is taken, and why."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from probes.operators.ladder import AGREEMENT
from probes.operators.tangent.judge import deviation_of
from probes.operators.tangent.routes import KEPT, Plan, contraction, matrix_free, structured
from probes.operators.tangent.rules import NoRule
from probes.operators.tangent.sides import Side
from probes.operators.tangent.structured import Coverage, coverage
from spectra.errors import TaskError

__all__ = ["Formed", "Method", "form"]

#: How a kernel may be formed; "mixed" is what "structured" becomes where some parameters have no rule.
Method = Literal["auto", "structured", "contraction", "matrix_free"]
#: Rules must leave at most this part of the multiplications of a contraction (or of its memory, where that is short) to
#: make up for their own expenses: a look at the graph, a certificate, and the rows that judge the result.
WORTHWHILE = 0.5
#: The same where they save so many multiplications that expenses do not count (measured: convolutions
#: that leave 0.74 are 1.2 to 1.5 times as fast, transformers that leave 1.0 are 0.8 times as fast).
WORTHWHILE_AT_LENGTH, AT_LENGTH = 0.8, 1e9


@dataclass(kw_only=True, eq=False)
class Formed:
    """A kernel, how it was formed, and why so."""

    kernel: Tensor
    method: str
    why: str
    deviation: float = float("nan")
    remarks: tuple[str, ...] = ()


def form(plan: Plan, method: str) -> Formed:
    """Choose a way, or take the one asked for, and go it."""
    if not all(side.is_divisible for side in plan.sides):
        if method not in ("auto", "matrix_free"):
            raise TaskError(f"method={method!r} needs batches that can be cut into samples; use 'matrix_free'.")
        return Formed(
            kernel=plan.finished(matrix_free(plan)),
            method="matrix_free",
            why="the batches cannot be cut into samples.",
        )
    if method == "matrix_free":
        return Formed(kernel=plan.finished(matrix_free(plan)), method=method, why="it was asked for.")
    if method == "contraction":
        return _by_rows(plan, "it was asked for.")
    asked = method == "structured"
    try:
        covered = _coverage(plan.left)
        if not covered.layers and asked:
            raise TaskError(f"method='structured' needs a layer with a rule; there is none ({covered.said()}).")
        because = "" if asked else _does_not_pay(plan, covered)
        if not because:
            return _by_structure(plan, covered, asked=asked)
    except NoRule as problem:
        if asked:
            raise TaskError(f"method='structured' cannot be used: {problem}. Use 'auto' or 'contraction'.") from None
        because = f"{problem}."
    return _in_memory(plan, because)


def _does_not_pay(plan: Plan, covered: Coverage) -> str:
    """Say why rules would not pay, or return nothing where they do."""
    k, full = plan.num_heads, plan.outputs == "full"
    size, itemsize = plan.left.workload.size, plan.left.workload.dtype.itemsize
    without = sum(plan.left.workload.parameters[name].numel() for name in covered.reasons)
    multiplications, held = covered.cost(k, full=full)
    pairs = k * k if full else k
    part = (multiplications + pairs * without) / (pairs * size)
    saved = (1 - part) * pairs * size * plan.left.num_samples * (plan.right or plan.left).num_samples
    if part <= (WORTHWHILE_AT_LENGTH if saved >= AT_LENGTH else WORTHWHILE):
        return ""
    number = sum(side.num_samples for side in plan.sides)
    if number * k * size * itemsize > plan.memory_budget // KEPT and held + k * without * itemsize <= (
        WORTHWHILE * k * size * itemsize
    ):
        return ""
    why = f"; rules take care of {covered.share:.0%} of the parameters ({covered.said()})" if covered.reasons else ""
    return f"rules would save too little, they leave {part:.0%} of the multiplications for a pair of samples{why}."


def _coverage(side: Side) -> Coverage:
    """Look for what rules take care of.

    Raises
    ------
    NoRule
        A layer is not used as its rule supposes, or the backward passes fail.
    """
    with _failing_passes():
        return coverage(side.workload, side.few(2))


@contextmanager
def _failing_passes() -> Iterator[None]:
    """Turn errors of PyTorch into the absence of a rule, for rows of the Jacobian may be had yet."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise NoRule(f"the backward passes to the layers fail ({str(error).splitlines()[0][:120]})") from error


def _by_structure(plan: Plan, covered: Coverage, *, asked: bool) -> Formed:
    """Form the structured kernel, contract what has no rule, and judge the result."""
    layers = covered.layers
    there = layers if plan.right is None else _coverage(plan.right).layers
    if set(there) != set(layers):
        raise NoRule("data and other data use the layers differently")
    full, remark = plan.outputs == "full", ""
    with _failing_passes():
        kernel = structured(plan, layers, there, lambda k: max(covered.cost(k, full=full)[1], covered.passing_bytes(k)))
    if covered.reasons:
        rest, remark = contraction(plan, list(covered.reasons))
        kernel += rest
    kernel = plan.finished(kernel)
    deviation = deviation_of(plan, kernel, (layers, there))
    # Not the other way round: NaN disagrees.
    if not deviation <= AGREEMENT[kernel.dtype]:
        raise NoRule(
            f"the structured kernel differs by {deviation:.2g} (relative) from rows of the Jacobian on a few samples"
        )
    why = "every parameter belongs to a layer with a rule."
    if covered.reasons:
        why = f"rules take care of {covered.share:.0%} of the parameters; the others are contracted ({covered.said()})."
    return Formed(
        kernel=kernel,
        method="mixed" if covered.reasons else "structured",
        why=why if not asked else f"it was asked for; {why}",
        deviation=deviation,
        remarks=(remark,) if remark else (),
    )


def _in_memory(plan: Plan, because: str) -> Formed:
    """Contract rows of the Jacobian if those of two samples fit into the budget, else go without."""
    heads = plan.num_heads if plan.outputs == "full" else 1
    needed = 2 * heads * plan.left.workload.size * plan.left.workload.dtype.itemsize
    if needed <= plan.memory_budget:
        return _by_rows(plan, because)
    return Formed(
        kernel=plan.finished(matrix_free(plan)),
        method="matrix_free",
        why=f"{because} The rows of two samples take {needed} bytes, more than the budget of {plan.memory_budget}.",
    )


def _by_rows(plan: Plan, because: str) -> Formed:
    kernel, remark = contraction(plan)
    return Formed(kernel=plan.finished(kernel), method="contraction", why=because, remarks=(remark,) if remark else ())
