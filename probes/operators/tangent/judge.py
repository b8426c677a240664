"""The structured kernel against rows of the Jacobian: the slow way is the judge."""

from collections.abc import Mapping

import torch
from torch import Tensor

from probes.operators.tangent.contraction import JacobianRows
from probes.operators.tangent.routes import AT_ONCE, Plan
from probes.operators.tangent.rules import Layer
from probes.operators.tangent.structured import features

__all__ = ["deviation_of"]

#: Samples whose rows are formed in any case, to judge the rules by; that rows belong to samples has a proof of its own.
JUDGES = 2
#: Up to so many outputs all of them are compared there; of more, one random combination.
MAX_HEADS = 64


def deviation_of(plan: Plan, kernel: Tensor, layers: tuple[Mapping[str, Layer], Mapping[str, Layer]]) -> float:
    """Return how far the kernel is from rows of the Jacobian, on the first and last sample of both sides."""
    heads, right = plan.heads, plan.right or plan.left
    chosen = [sorted({0, side.num_samples - 1}) for side in plan.sides]
    held = len(heads) * plan.left.workload.size * heads.element_size() * 2 * JUDGES <= plan.memory_budget
    if len(heads) > MAX_HEADS or not held:
        return _of_one_head(plan, layers)
    rows = [
        [JacobianRows(side.workload, way="sample by sample").rows(0, side.sample(i), heads) for i in some]
        for side, some in zip(plan.sides, chosen, strict=True)
    ]
    o = len(heads) if plan.outputs == "full" else 1
    found = kernel.reshape(plan.left.num_samples, o, right.num_samples, o)
    pairs = [
        (found[i, :, j], plan.finished(mine.full(theirs) if plan.outputs == "full" else mine.diagonal(theirs)))
        for i, mine in zip(chosen[0], rows[0], strict=True)
        for j, theirs in zip(chosen[-1], rows[-1], strict=True)
    ]
    return _apart(pairs)


def _of_one_head(plan: Plan, layers: tuple[Mapping[str, Layer], Mapping[str, Layer]]) -> float:
    """Compare the structured kernel of one random combination of many outputs, of parameters with a rule."""
    generator = torch.Generator().manual_seed(0)
    head = torch.randn(1, plan.left.num_outputs, generator=generator, dtype=torch.float64).to(plan.heads)
    ends, judged = [], []
    for side, own in ((plan.left, layers[0]), (plan.right or plan.left, layers[1])):
        some = side.few(AT_ONCE)
        names = [name for layer in own.values() for name in layer.names]
        way = JacobianRows(side.workload.restricted(names), way="sample by sample")
        ends.append(features(side.workload, some, head, own))
        judged.append([way.rows(0, some.take(slice(i, i + 1)), head) for i in sorted({0, some.size - 1})])
    found = ends[0].diagonal(ends[1])
    corners = found[:: max(1, len(found) - 1), :: max(1, found.shape[1] - 1)]
    pairs = [
        (corners[i, j], mine.diagonal(theirs)[0, 0])
        for i, mine in enumerate(judged[0])
        for j, theirs in enumerate(judged[1])
    ]
    return _apart(pairs)


def _apart(pairs: list[tuple[Tensor, Tensor]]) -> float:
    """Return the largest difference, in units of the largest entry that is right."""
    worst = max(float((found - expected).abs().max()) for found, expected in pairs)
    scale = max(float(expected.abs().max()) for _, expected in pairs)
    return worst / scale if scale else worst
