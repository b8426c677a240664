"""Read a loader once, whatever its order."""

from collections.abc import Iterable
from typing import Any

import torch

from probes.state import preserved_random_state

__all__ = ["one_pass"]


def one_pass(dataloader: Iterable[Any]) -> list[Any]:
    """Return the batches of one pass over a loader; random numbers that shuffling takes are given back.

    The batches of a shuffling or augmenting loader are a fixed sample from then on, so that every product is of the
    same matrix.

    Examples
    --------
    >>> loader = torch.utils.data.DataLoader(list(range(6)), batch_size=3, shuffle=True)
    >>> sorted(torch.cat(one_pass(loader)).tolist())
    [0, 1, 2, 3, 4, 5]
    """
    generator = getattr(dataloader, "generator", None)
    state = generator.get_state() if isinstance(generator, torch.Generator) else None
    with preserved_random_state():
        try:
            return list(dataloader)
        finally:
            if isinstance(generator, torch.Generator) and state is not None:
                generator.set_state(state)
