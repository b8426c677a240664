"""What functions and plain objects hold on to: the modules behind a loss, the random generators behind a data set."""

import contextlib
import functools
from collections.abc import Iterable, Iterator, Mapping
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch

__all__ = ["reached"]

#: Attributes of attributes are followed so far, and only containers of so few entries are looked into.
DEPTH, FEW = 6, 64

#: What holds nothing to be found.
_PLAIN = (type, ModuleType, torch.Tensor, np.ndarray, str, bytes, int, float, complex)


def reached(roots: Iterable[Any], wanted: type | tuple[type, ...]) -> list[Any]:
    """Return the objects of some types that others lead to, each once.

    Followed are attributes, the entries of short lists, tuples and mappings, bound objects, arguments of
    ``functools.partial``, and of functions: closures, defaults, and the globals they name, as far as the functions
    among these belong to the same file. What was found is not looked into.

    Parameters
    ----------
    roots : iterable
        Where to begin.
    wanted : type or tuple of types
        Of what is looked for.

    Examples
    --------
    >>> def outer(critic):
    ...     return lambda output, target: critic(output).mean()
    >>> reached([outer(torch.nn.Linear(2, 1))], torch.nn.Module)
    [Linear(in_features=2, out_features=1, bias=True)]
    """
    found: list[Any] = []
    seen: dict[int, Any] = {}
    layer = list(roots)
    for _ in range(DEPTH + 1):
        following: list[Any] = []
        for value in layer:
            if id(value) in seen or isinstance(value, _PLAIN):
                continue
            seen[id(value)] = value  # kept, so that no other object gets its number
            if isinstance(value, wanted):
                found.append(value)
            else:
                with contextlib.suppress(Exception):  # objects may do anything when they are looked at
                    following += _held(value)
        layer = following
    return found


def _held(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        yield from value.values() if len(value) <= FEW else ()
    elif isinstance(value, list | tuple | set | frozenset):
        yield from value if len(value) <= FEW else ()
    elif isinstance(value, MethodType):
        yield from (value.__self__, value.__func__)
    elif isinstance(value, functools.partial):
        yield from (value.func, *value.args, *value.keywords.values())
    elif isinstance(value, FunctionType):
        yield from _held_by_function(value)
    yield from list(getattr(value, "__dict__", {}).values())


def _held_by_function(function: FunctionType) -> Iterator[Any]:
    for cell in function.__closure__ or ():
        with contextlib.suppress(ValueError):  # nothing in it yet
            yield cell.cell_contents
    yield from function.__defaults__ or ()
    yield from (function.__kwdefaults__ or {}).values()
    for name in _names(function.__code__):
        value = function.__globals__.get(name)
        if not isinstance(value, FunctionType) or value.__globals__ is function.__globals__:
            yield value


def _names(code: CodeType) -> set[str]:
    """Return the global names that a function uses, functions inside it included."""
    inside = [_names(constant) for constant in code.co_consts if isinstance(constant, CodeType)]
    return set(code.co_names).union(*inside)
