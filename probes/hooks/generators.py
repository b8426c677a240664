"""Random generators that data draw from, kept while samples are read."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from probes.hooks.reach import reached
from probes.state import preserved_random_state

__all__ = ["preserved_generators"]

_KINDS = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)


@contextmanager
def preserved_generators(data: Any) -> Iterator[None]:
    """Restore the global random states on the way out, and those of generators that the data hold.

    Parameters
    ----------
    data : DataLoader, data set or iterable
        Generators of PyTorch, NumPy and Python are found on it, on its sampler, data set and transforms; not those that
        are variables of a module, or of another library.

    Examples
    --------
    >>> generator = torch.Generator().manual_seed(0)
    >>> with preserved_generators([generator]):
    ...     inside = torch.rand(1, generator=generator)
    >>> bool(torch.rand(1, generator=generator) == inside)
    True
    """
    found = reached([data], _KINDS)
    states = [_state(generator) for generator in found]
    with preserved_random_state():
        try:
            yield
        finally:
            for generator, state in zip(found, states, strict=True):
                _restore(generator, state)


def _state(generator: Any) -> Any:
    if isinstance(generator, np.random.Generator):
        return generator.bit_generator.state
    return generator.getstate() if isinstance(generator, random.Random) else generator.get_state()


def _restore(generator: Any, state: Any) -> None:
    if isinstance(generator, np.random.Generator):
        generator.bit_generator.state = state
    elif isinstance(generator, random.Random):
        generator.setstate(state)
    else:
        generator.set_state(state)
