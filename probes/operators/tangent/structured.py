"""The part of a tangent kernel that layers with a rule add, from their inputs and the gradients by their outputs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from probes.batch import Batch
from probes.operators.explanations import require_finite
from probes.operators.tangent.features import Features
from probes.operators.tangent.recording import Recording
from probes.operators.tangent.rules import Layer, NoRule, layers_with_rules
from probes.operators.workload import Workload

__all__ = ["Bundle", "Coverage", "coverage", "features"]


@dataclass(frozen=True, eq=False)
class Bundle:
    """Features of some samples, layer by layer.

    Attributes
    ----------
    layers : mapping of str to sequence of Features
        A layer that the samples do not use is not there.
    """

    layers: Mapping[str, Sequence[Features]]

    @property
    def num_bytes(self) -> int:
        """Memory."""
        return sum(part.num_bytes for parts in self.layers.values() for part in parts)

    def diagonal(self, other: "Bundle") -> Tensor:
        """Return the sum over heads of the kernels of single heads, (N, M)."""
        return self._sum(other, "diagonal")

    def full(self, other: "Bundle") -> Tensor:
        """Return the kernel of all pairs of heads, (N, K, M, K)."""
        return self._sum(other, "full")

    def _sum(self, other: "Bundle", kind: str) -> Tensor:
        total: Tensor | None = None
        for path, parts in self.layers.items():
            for mine, theirs in zip(parts, other.layers.get(path, ()), strict=False):
                block = getattr(mine, kind)(theirs)
                total = block if total is None else total.add_(block)
        if total is None:
            raise NoRule("two batches use no layer in common")
        return total


@dataclass(frozen=True, kw_only=True, eq=False)
class Coverage:
    """Which parameters rules take care of.

    Attributes
    ----------
    layers : dict of str to Layer
        By path.
    reasons : dict of str to str
        For each other measured parameter, why not.
    share : float
        Part of all measured numbers that rules take care of.
    """

    layers: dict[str, Layer]
    reasons: dict[str, str]
    share: float

    def said(self) -> str:
        """Name what no rule takes care of, and why, in a clause."""
        first = next(iter(self.reasons))
        others = f", and {len(self.reasons) - 1} more parameters have no rule" if len(self.reasons) > 1 else ""
        return f"{first}: {self.reasons[first]}{others}"


def coverage(workload: Workload, batch: Batch) -> Coverage:
    """Look at the modules, and at the graph of a few samples, for what rules take care of.

    Parameters
    ----------
    workload : Workload
        What is measured.
    batch : Batch
        A few samples.
    """
    parameters = workload.parameters
    layers, reasons = layers_with_rules(workload.model, parameters)
    recording = Recording(layers)
    with workload.evaluating(0, batch):
        with recording.watching():
            outputs = workload.piece(batch).evaluate("outputs")
        problems = recording.problems(outputs, parameters)
    reasons |= problems
    for path in [path for path, layer in layers.items() if set(layer.names) & set(problems)]:
        for name in layers.pop(path).names:
            reasons.setdefault(name, "the other parameter of its module has no rule")
    covered = sum(parameters[name].numel() for layer in layers.values() for name in layer.names)
    ordered = {name: reasons[name] for name in parameters if name in reasons}
    return Coverage(layers=layers, reasons=ordered, share=covered / workload.size)


def features(workload: Workload, index: int, batch: Batch, heads: Tensor, layers: Mapping[str, Layer]) -> Bundle:
    """Return the features of a batch for some heads.

    Raises
    ------
    NoRule
        A layer is not used as its rule supposes.
    """
    recording = Recording(layers)
    with workload.evaluating(index, batch):
        with recording.watching():
            outputs = workload.piece(batch, index).evaluate("outputs")
        problems = recording.problems(outputs, workload.parameters)
        if problems:
            name, problem = next(iter(problems.items()))
            raise NoRule(f"{name}: {problem}")
        found = recording.features(outputs, heads)
    for path, parts in found.items():
        for part in parts:
            require_finite(part.gradients, f"the gradient by the outputs of {path or 'the model'}")
    return Bundle(found)
