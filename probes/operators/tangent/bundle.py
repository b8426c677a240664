"""All that is known of some samples, layer by layer or parameter by parameter, and the kernel that it adds up to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from probes.operators.tangent.features import Features
from probes.operators.tangent.rules import NoRule

__all__ = ["Bundle"]


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
