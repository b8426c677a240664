"""Mixed-precision regions inside a model, run in full precision for as long as products are formed."""

import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

__all__ = ["Precision", "full_precision"]

_LOCK = threading.Lock()
_WATCHING: list["Precision"] = []


@dataclass
class Precision:
    """What :func:`full_precision` saw.

    Attributes
    ----------
    num_regions : int
        How many autocast regions of the model were entered, and ran in the precision of the parameters instead.
    """

    num_regions: int = 0


@contextmanager
def full_precision() -> Iterator[Precision]:
    """Let every ``torch.autocast`` region that the block enters run without autocast.

    A region inside ``forward`` would round products to 8 or 11 bits, below which curvature is noise. While the block
    runs, entering ``torch.autocast`` (also as a decorator, and as ``torch.cuda.amp.autocast``) acts as if
    ``enabled=False`` had been given, in every thread, since a recomputing backward pass may run in another one. Regions
    left, nested or raised in are handled by PyTorch itself. ``torch.set_autocast_enabled`` is not affected.

    Yields
    ------
    Precision
        Counts the regions that would have been active.
    """
    seen = Precision()
    with _LOCK:
        if not _WATCHING:
            _replace_entry()
        _WATCHING.append(seen)
    try:
        yield seen
    finally:
        with _LOCK:
            _WATCHING[:] = [other for other in _WATCHING if other is not seen]
            if not _WATCHING:
                torch.amp.autocast_mode.autocast.__enter__ = _ENTRY  # type: ignore[method-assign]


_ENTRY = torch.amp.autocast_mode.autocast.__enter__


def _replace_entry() -> None:
    @functools.wraps(_ENTRY)
    def enter(region: Any) -> Any:
        wanted = region._enabled
        if wanted:
            for seen in list(_WATCHING):
                seen.num_regions += 1
        region._enabled = False
        try:
            return _ENTRY(region)
        finally:
            region._enabled = wanted

    torch.amp.autocast_mode.autocast.__enter__ = enter  # type: ignore[method-assign]
