"""Which way to a tangent kernel is taken, and why."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from probes.operators.ladder import AGREEMENT
from probes.operators.tangent.judge import deviation_of
from probes.operators.tangent.routes import Plan, contraction, matrix_free, structured
from probes.operators.tangent.rules import NoRule
from probes.operators.tangent.structured import Coverage, coverage
from spectra.errors import TaskError

__all__ = ["Formed", "Method", "form"]

#: How a kernel may be formed; "mixed" is what "structured" becomes where some parameters have no rule.
Method = Literal["auto", "structured", "contraction", "matrix_free"]
#: Rules must take care of this part of the parameters, or rows of the Jacobian are formed for all of them.
LEAST_SHARE = 0.5


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
    covered = coverage(plan.left.workload, plan.left.few(2))
    asked = method == "structured"
    if not covered.layers and asked:
        raise TaskError(f"method='structured' needs a layer with a rule; there is none ({covered.said()}).")
    if covered.share < LEAST_SHARE and not asked:
        return _in_memory(plan, f"rules take care of {covered.share:.0%} of the parameters only ({covered.said()}).")
    try:
        return _by_structure(plan, covered, asked=asked)
    except NoRule as problem:
        if asked:
            raise TaskError(f"method='structured' cannot be used: {problem}. Use 'auto' or 'contraction'.") from None
        return _in_memory(plan, f"{problem}.")


def _by_structure(plan: Plan, covered: Coverage, *, asked: bool) -> Formed:
    """Form the structured kernel, contract what has no rule, and judge the result."""
    layers = covered.layers
    there = layers if plan.right is None else coverage(plan.right.workload, plan.right.few(2)).layers
    if set(there) != set(layers):
        raise NoRule("data and other data use the layers differently")
    try:
        kernel, remark = structured(plan, layers, there), ""
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise NoRule(f"the backward passes to the layers fail ({str(error).splitlines()[0][:120]})") from error
    if covered.reasons:
        rest, remark = contraction(plan, list(covered.reasons))
        kernel += rest
    kernel = plan.finished(kernel)
    deviation = deviation_of(plan, kernel, (layers, there))
    if deviation > AGREEMENT[kernel.dtype]:
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
    heads = len(plan.heads) if plan.outputs == "full" else 1
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
