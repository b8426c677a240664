"""The part of a tangent kernel that layers with a rule add, from their inputs and the gradients by their outputs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from probes.batch import Batch
from probes.operators.explanations import require_finite
from probes.operators.tangent.bundle import Bundle
from probes.operators.tangent.features import Features
from probes.operators.tangent.recording import Recording
from probes.operators.tangent.rules import Layer, NoRule, layers_with_rules
from probes.operators.workload import Workload

__all__ = ["Coverage", "coverage", "features"]


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
    _found: Mapping[str, Sequence[Features]] = field(default_factory=dict)

    def cost(self, heads: int, *, full: bool) -> tuple[int, int]:
        """Return for so many heads the multiplications of a pair of samples by rules, and the bytes of a sample."""
        costs = [part.cost(heads, full=full) for parts in self._found.values() for part in parts]
        return sum(multiplications for multiplications, _ in costs), sum(size for _, size in costs)

    def passing_bytes(self, heads: int) -> int:
        """Return for so many heads what inputs and gradients of a sample take until they are made use of."""
        parts = [part for parts in self._found.values() for part in parts]
        return sum((part.num_bytes + heads * part.gradient_bytes) // part.num_samples for part in parts)

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

    Raises
    ------
    NoRule
        A layer is not used as its rule supposes.
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
        recording.calls = [call for call in recording.calls if call.layer.path in layers]
        found = recording.outline(len(outputs))
    covered = sum(parameters[name].numel() for layer in layers.values() for name in layer.names)
    ordered = {name: reasons[name] for name in parameters if name in reasons}
    return Coverage(layers=layers, reasons=ordered, share=covered / workload.size, _found=found)


def features(
    workload: Workload, batch: Batch, heads: Tensor, layers: Mapping[str, Layer], *, full: bool = False
) -> Bundle:
    """Return the features of a batch for some heads, so that what is wanted of pairs of samples is cheap.

    Raises
    ------
    NoRule
        A layer is not used as its rule supposes.
    """
    recording = Recording(layers)
    with workload.evaluating(0, batch):
        with recording.watching():
            outputs = workload.piece(batch).evaluate("outputs")
        problems = recording.problems(outputs, workload.parameters)
        if problems:
            name, problem = next(iter(problems.items()))
            raise NoRule(f"{name}: {problem}")
        found = recording.features(outputs, heads, full=full)
    for path, parts in found.items():
        for part in parts:
            require_finite(part.gradients, f"the gradient by the outputs of {path or 'the model'}")
    return Bundle(found)
