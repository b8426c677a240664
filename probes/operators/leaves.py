r"""What a live graph is differentiated by: the parameters, and of a large embedding only the rows that a batch reads.

PyTorch's gradient of an embedding has the size of its whole table, zero but for the rows of the tokens in the batch,
and is written anew by every product. While the model runs, the rows read are cut off as leaves of their own:

.. math:: e = P W, \qquad \nabla_W = P^T \nabla_e, \qquad \nabla^2_W = P^T \nabla^2_e P

with P the 0-1 matrix that picks rows. Other uses of the same table (a tied output layer) stay connected to it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from probes.operators.rewriting import is_recorded_for_later
from probes.operators.rows import fill_row

__all__ = ["Leaves", "Lookup", "Lookups"]


@dataclass(frozen=True, eq=False)
class Lookup:
    """Rows that a batch reads from a table.

    Attributes
    ----------
    place : int
        The position of the table among the parameters.
    codes : torch.Tensor, shape (m,)
        Which rows.
    rows : torch.Tensor, shape (m, d)
        Their values, a leaf of the graph.
    """

    place: int
    codes: Tensor
    rows: Tensor


class Lookups(TorchFunctionMode):
    """Catches the embeddings of a model while it runs, where their table is a parameter with more rows than are read.

    Parameters
    ----------
    tensors : sequence of torch.Tensor
        The parameters, live.

    Attributes
    ----------
    found : list of Lookup
        What was caught.
    is_void : bool
        Whether the model or the loss differentiates something itself, for which the tables have to stay connected.
    """

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        super().__init__()
        self._places = {id(tensor): place for place, tensor in enumerate(tensors)}
        self.found: list[Lookup] = []
        self.is_void = False

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Replace embeddings, note derivatives, and leave all else alone."""
        if func is functional.embedding:
            result = self._looked_up(*args, **(kwargs or {}))
            if result is not None:
                return result
        self.is_void = self.is_void or func in _DERIVATIVES
        return func(*args, **(kwargs or {}))

    def _looked_up(
        self,
        input: Tensor,
        weight: Tensor,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
    ) -> Tensor | None:
        place = self._places.get(id(weight))
        if place is None or max_norm is not None or scale_grad_by_freq or input.numel() >= len(weight):
            return None
        # Hooks want to see the gradient of the table, and checkpointing the same calls when it runs the model again.
        if not torch.is_grad_enabled() or weight._backward_hooks or is_recorded_for_later():
            return None
        codes = input.reshape(-1)
        rows = weight.detach()[codes].requires_grad_()
        self.found.append(Lookup(place, codes, rows))
        # Never the leaf itself, for the model may write to what it gets.
        read = rows.clone()
        if padding_idx is not None:
            read = torch.where((codes == padding_idx % len(weight))[:, None], rows.detach(), rows)
        return read.reshape(*input.shape, weight.shape[1])


_DERIVATIVES = frozenset({torch.autograd.grad, torch.autograd.backward, torch.Tensor.backward})


@dataclass(frozen=True, eq=False)
class Leaves:
    """The parameters, and rows that were looked up in some of them.

    Attributes
    ----------
    tensors : tuple of torch.Tensor
        The parameters, live.
    lookups : tuple of Lookup
        May be empty.
    """

    tensors: tuple[Tensor, ...]
    lookups: tuple[Lookup, ...] = ()

    @property
    def variables(self) -> tuple[Tensor, ...]:
        """What to differentiate by: the parameters, then the rows."""
        return (*self.tensors, *(lookup.rows for lookup in self.lookups))

    def used(self, gradients: Sequence[Tensor | None]) -> list[bool]:
        """Return for each parameter whether there is a gradient, given those by the variables."""
        used = [gradient is not None for gradient in gradients]
        for lookup, by_rows in zip(self.lookups, used[len(self.tensors) :], strict=True):
            used[lookup.place] |= by_rows
        return used[: len(self.tensors)]

    def cut(self, row: Tensor) -> list[Tensor]:
        """Cut a vector (n,) into tangents of the variables."""
        parts = row.split([p.numel() for p in self.tensors])
        tangents = [part.view(p.shape) for part, p in zip(parts, self.tensors, strict=True)]
        return [*tangents, *(tangents[lookup.place][lookup.codes] for lookup in self.lookups)]

    def fill(self, row: Tensor, found: Sequence[Tensor | None]) -> None:
        """Write gradients by the variables, None for zero, into a vector (n,)."""
        count = len(self.tensors)
        fill_row(row, found[:count], self.tensors)
        if not self.lookups:
            return
        parts = row.split([p.numel() for p in self.tensors])
        for lookup, by_rows in zip(self.lookups, found[count:], strict=True):
            if by_rows is not None:
                table = parts[lookup.place].view(self.tensors[lookup.place].shape)
                table.index_add_(0, lookup.codes, by_rows.detach())
