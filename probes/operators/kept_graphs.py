"""Graphs that outlive a product, where they are small enough, and what tells whether they are still good."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from probes.operators.ladder import Built

__all__ = ["KeptGraphs", "fingerprint", "plain_attributes"]


class KeptGraphs:
    """What was built for micro-batches, kept from product to product while the model stays as it is.

    Parameters
    ----------
    max_bytes : int
        Memory for the graphs of all batches together; the graph of a single batch, which a product takes anyway, is
        kept whatever its size. 0 keeps none.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.is_on = False
        self._predicted: dict[tuple[int, ...], float] = {}
        self._built: dict[tuple[int, str], Built] = {}
        self._state: tuple[Any, ...] = ()

    def look_at(self, model: nn.Module, *, sizes: list[int], predict: Callable[[], float]) -> None:
        """Give up what belongs to another state of the model; called before every product.

        Parameters
        ----------
        model : torch.nn.Module
            Whose state counts.
        sizes : list of int
            Samples of each batch.
        predict : callable
            Returns the bytes that the graphs of all batches take; called once for each way of cutting the data.
        """
        key = tuple(sizes)
        if self.max_bytes > 0 and len(sizes) > 1 and key not in self._predicted:
            try:
                self._predicted[key] = predict()
            except Exception:  # what cannot be built for a few samples is left to the product, and not kept
                self._predicted[key] = math.inf
        self.is_on = self.max_bytes > 0 and (len(sizes) == 1 or self._predicted[key] <= self.max_bytes)
        # The sizes too: an operator that shares these data may have cut them anew.
        state = (key, *fingerprint(model)) if self.is_on else ()
        if state != self._state:
            self._built, self._state = {}, state

    def get(self, index: int, strategy: str) -> Built | None:
        """Return what was built for a batch in one way, if it is still good."""
        return self._built.get((index, strategy))

    def put(self, index: int, strategy: str, built: Built) -> None:
        """Keep what was built, if anything is to be kept."""
        if self.is_on:
            self._built[index, strategy] = built

    def clear(self) -> None:
        """Free the graphs."""
        self._built = {}


def fingerprint(model: nn.Module) -> tuple[Any, ...]:
    """Return what changes when a model does.

    Versions and addresses of parameters and buffers; their norms, since writing to ``.data`` leaves no trace in a
    version; and the mode and every plain attribute (numbers, texts) of each module.
    """
    tensors = [*model.parameters(), *model.buffers()]
    real = [t.detach() for t in tensors if t.is_floating_point() and t.numel()]
    if len({(t.dtype, t.device) for t in real}) == 1:
        norms = torch.stack(list(torch._foreach_norm(real))).tolist()
    else:
        norms = [float(torch.linalg.vector_norm(t)) for t in real]
    return (
        tuple((t.data_ptr(), t._version, t.requires_grad) for t in tensors),
        plain_attributes(model),
        tuple(norms),
    )


def plain_attributes(model: nn.Module) -> tuple[tuple[str, bool | int | float | str], ...]:
    """Return every number and text that is an attribute of a module, the mode included."""
    return tuple(
        (name, value)
        for module in model.modules()
        for name, value in vars(module).items()
        if isinstance(value, bool | int | float | str)
    )
