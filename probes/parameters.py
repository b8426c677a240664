"""Which parameters a curvature operator acts on, and the flat vector they form."""

import difflib
import fnmatch
import math
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from spectra.errors import BackendError, ShapeError, TaskError

__all__ = ["ParameterSpec", "flatten", "select", "unflatten"]

ParameterSpec = str | Iterable[str] | Callable[[str, nn.Parameter], bool] | None


def select(model: nn.Module, spec: ParameterSpec = None) -> dict[str, nn.Parameter]:
    """Return the trainable parameters of a model in their own order, tied ones once.

    Parameters
    ----------
    model : torch.nn.Module
        Parameters with ``requires_grad=False`` are frozen and never part of the operator.
    spec : None, str, iterable of str, or callable
        ``None``: all trainable parameters. A name or a pattern such as ``"layers.*.weight"`` (:mod:`fnmatch`), a
        module name such as ``"head"`` (everything below it), or several of them: their union. A callable
        ``(name, parameter) -> bool`` keeps those for which it is true.

    Returns
    -------
    dict of str to torch.nn.Parameter
        The order of ``model.named_parameters()``. A parameter known under several names has its first one.

    Raises
    ------
    TaskError
        Nothing trainable is left, a pattern matches nothing or only frozen parameters, or a lazy parameter has no
        shape yet.
    BackendError
        The parameters are not all of one dtype (float32 or float64) and on one device.

    Examples
    --------
    >>> import torch
    >>> list(select(torch.nn.Linear(2, 1), "*weight"))
    ['weight']
    """
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    lazy = [name for name, p in model.named_parameters() if nn.parameter.is_lazy(p)]
    if lazy:
        raise TaskError(
            f"parameter {lazy[0]!r} of {type(model).__name__} has no shape yet (lazy module); run one forward pass "
            "before measuring the model."
        )
    if not trainable:
        total = sum(1 for _ in model.parameters())
        raise TaskError(
            f"{type(model).__name__} has no trainable parameter: all {total} of its parameters have "
            "requires_grad=False. Curvature needs at least one with requires_grad=True."
        )
    if spec is None:
        kept = trainable
    elif callable(spec):
        kept = {name: p for name, p in trainable.items() if spec(name, p)}
        if not kept:
            raise TaskError(
                f"the given callable kept none of the {len(trainable)} trainable parameters "
                f"({_some(trainable)}); it is called as (name, parameter) -> bool."
            )
    else:
        kept = _matching(model, trainable, [spec] if isinstance(spec, str) else list(spec))
    _require_one_kind(kept)
    return kept


def flatten(tensors: Sequence[Tensor]) -> Tensor:
    """Join tensors of the parameters' shapes into one vector of shape ``(n,)``, on their device."""
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def unflatten(vector: Tensor, parameters: Iterable[Tensor]) -> list[Tensor]:
    """Cut a flat vector into tensors of the parameters' shapes: the inverse of :func:`flatten`.

    Parameters
    ----------
    vector : torch.Tensor, shape (n,) or (n, k)
        For k columns each result has shape ``(*parameter.shape, k)``.
    parameters : iterable of torch.Tensor
        Give the shapes; their sizes must sum to n.

    Raises
    ------
    ShapeError
        The sizes do not sum to n.
    """
    shapes = [parameter.shape for parameter in parameters]
    sizes = [math.prod(shape) for shape in shapes]
    if vector.ndim not in (1, 2) or vector.shape[0] != sum(sizes):
        raise ShapeError(
            f"a flat vector for these parameters has shape ({sum(sizes)},) or ({sum(sizes)}, k); "
            f"got {tuple(vector.shape)}."
        )
    pieces = vector.split(sizes)
    return [piece.reshape(*shape, *vector.shape[1:]) for piece, shape in zip(pieces, shapes, strict=True)]


def _matching(model: nn.Module, trainable: dict[str, nn.Parameter], patterns: list[str]) -> dict[str, nn.Parameter]:
    """Return the trainable parameters that at least one pattern names; every pattern must name one."""
    every = list(model.named_parameters(remove_duplicate=False))
    wanted: set[int] = set()
    for pattern in patterns:
        if not isinstance(pattern, str):
            raise TaskError(
                "parameters= takes names, patterns or a callable (name, parameter) -> bool; "
                f"got an entry of type {type(pattern).__name__}."
            )
        hits = [
            (name, p)
            for name, p in every
            if name == pattern or name.startswith(f"{pattern}.") or fnmatch.fnmatchcase(name, pattern)
        ]
        if not hits:
            near = difflib.get_close_matches(pattern, [name for name, _ in every], n=3, cutoff=0.4)
            raise TaskError(
                f"no parameter of {type(model).__name__} matches {pattern!r}. "
                + (f"Did you mean {', '.join(near)}?" if near else f"It has {_some(dict(every))}.")
            )
        if not any(p.requires_grad for _, p in hits):
            raise TaskError(
                f"{pattern!r} matches only frozen parameters ({_some(dict(hits))}: requires_grad=False); "
                "curvature acts on trainable ones."
            )
        wanted.update(id(p) for _, p in hits)
    kept = {name: p for name, p in trainable.items() if id(p) in wanted}
    if not kept:
        raise TaskError("parameters= is an empty list; pass None for all trainable parameters.")
    return kept


def _require_one_kind(parameters: dict[str, nn.Parameter]) -> None:
    """Raise unless all parameters share one supported dtype and one device."""
    first_name, first = next(iter(parameters.items()))
    for name, p in parameters.items():
        if p.dtype not in (torch.float32, torch.float64):
            raise BackendError(
                f"curvature needs float32 or float64 parameters; {name!r} is {p.dtype}. Products in half precision "
                "are noise below about 3e-3 of the largest eigenvalue: measure model.float() instead."
            )
        if p.dtype != first.dtype or p.device != first.device:
            raise BackendError(
                f"all measured parameters must have one dtype and device; {first_name!r} is {first.dtype} on "
                f"{first.device}, {name!r} is {p.dtype} on {p.device}."
            )


def _some(names: Iterable[str], limit: int = 5) -> str:
    """Join the first few names."""
    names = list(names)
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")
