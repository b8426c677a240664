"""Which parameters a curvature operator acts on, and the flat vector they form."""

import difflib
import fnmatch
import itertools
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from spectra.errors import BackendError, ShapeError, TaskError

__all__ = ["ParameterSpec", "by_module", "flatten", "is_adapter", "positions", "select", "unflatten"]

ParameterSpec = str | Iterable[str] | Callable[[str, nn.Parameter], bool] | None

_HALF = (torch.float16, torch.bfloat16)

#: One component of a dotted name. LoRA with its embedding, DoRA and AdaLoRA forms, (IA)^3, VeRA, LoHa, LoKr, BOFT and
#: OFT as the library PEFT names them, lower-case LoRA as torchtune does, bottleneck layers as AdapterHub does.
_ADAPTER = re.compile(
    r"lora_([ABEab]|embedding_[AB]|magnitude_vector)|ia3_l|vera_lambda_[bd]|hada_(w[12]_[ab]|t[12])"
    r"|lokr_(w[12](_[ab])?|t2)|boft_[Rs]|oft_[rR]|adapter_(down|up)"
)


def select(model: nn.Module, spec: ParameterSpec = None, *, allow_half: bool = False) -> dict[str, nn.Parameter]:
    """Return the trainable parameters of a model in their own order, tied ones once.

    Parameters
    ----------
    model : torch.nn.Module
        Parameters with ``requires_grad=False`` are frozen and never part of the operator.
    spec : None, str, iterable of str, or callable
        ``None``: all trainable parameters. A name or a pattern such as ``"layers.*.weight"`` (:mod:`fnmatch`), a
        module name such as ``"head"`` (everything below it), or several of them: their union. A leading ``!`` excludes
        what the rest names, wherever it stands in the list: ``"!*.bias"`` alone is everything but the biases. A
        callable ``(name, parameter) -> bool``, such as :func:`is_adapter`, keeps those for which it is true.
    allow_half : bool
        Whether float16 and bfloat16 are accepted, also side by side with float32: for a caller that computes on a
        float32 copy.

    Returns
    -------
    dict of str to torch.nn.Parameter
        The order of ``model.named_parameters()``. A parameter known under several names has its first one.

    Raises
    ------
    TaskError
        Nothing trainable is left, a pattern matches nothing or only frozen parameters, or a lazy parameter has no
        shape yet. An excluding pattern may match frozen ones alone.
    BackendError
        The parameters are not all of one dtype (float32 or float64, unless ``allow_half``) and on one device.

    Examples
    --------
    >>> import torch
    >>> list(select(torch.nn.Linear(2, 1), "*weight")), list(select(torch.nn.Linear(2, 1), "!*weight"))
    (['weight'], ['bias'])
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
    elif isinstance(spec, Iterable):
        kept = _matching(model, trainable, [spec] if isinstance(spec, str) else list(spec))
    else:
        raise TaskError(
            f"parameters= takes names, patterns or a callable (name, parameter) -> bool; got {type(spec).__name__}."
        )
    _require_one_kind(kept, allow_half=allow_half)
    return kept


def is_adapter(name: str, parameter: nn.Parameter | None = None) -> bool:
    """Say whether a parameter belongs to an adapter, by a component of its name: for ``parameters=is_adapter``.

    Recognized are LoRA, DoRA and AdaLoRA (``lora_A``, ``lora_B``, ``lora_E``, ``lora_embedding_A``,
    ``lora_magnitude_vector``), (IA)^3 (``ia3_l``), VeRA, LoHa, LoKr, BOFT and OFT under the names of the library PEFT,
    torchtune's ``lora_a`` and ``lora_b``, and AdapterHub's ``adapter_down`` and ``adapter_up``. A head that is trained
    beside them (PEFT's ``modules_to_save``) is none; ``parameters=None`` has it too, where the rest is frozen.

    Parameters
    ----------
    name : str
        As in ``model.named_parameters()``.
    parameter : torch.nn.Parameter, optional
        Not looked at; every callable for :func:`select` is given it.

    Examples
    --------
    >>> is_adapter("layer.0.query.lora_A.default.weight"), is_adapter("layer.0.query.base_layer.weight")
    (True, False)
    """
    return any(_ADAPTER.fullmatch(component) for component in name.split("."))


def by_module(parameters: Iterable[str]) -> dict[str, list[str]]:
    """Group parameters by the module that owns them.

    Parameters
    ----------
    parameters : iterable of str
        Names, or a mapping whose keys they are, such as :func:`select` returns.

    Returns
    -------
    dict of str to list of str
        Path of the module (``""`` for the model itself) to the full names of its own parameters, in order of first
        appearance.

    Examples
    --------
    >>> by_module(["0.weight", "0.bias", "scale", "2.weight"])
    {'0': ['0.weight', '0.bias'], '': ['scale'], '2': ['2.weight']}
    """
    groups: dict[str, list[str]] = {}
    for name in parameters:
        groups.setdefault(name.rpartition(".")[0], []).append(name)
    return groups


def positions(parameters: Mapping[str, Tensor], subset: Iterable[str] | None = None) -> dict[str, slice]:
    """Return where each parameter's coordinates lie in the flat vector of all of them.

    Parameters
    ----------
    parameters : mapping of str to torch.Tensor
        All parameters of the flat vector in its order, such as :func:`select` returns.
    subset : iterable of str, optional
        The names wanted (a mapping's keys, one group of :func:`by_module`); all by default.

    Returns
    -------
    dict of str to slice
        In the order of ``subset``. ``torch.cat([vector[s] for s in result.values()])`` is the flat vector of the
        subset, and ``vector[s].reshape(parameters[name].shape)`` one tensor.

    Raises
    ------
    TaskError
        A name of the subset is not among the parameters.

    Examples
    --------
    >>> import torch
    >>> positions(dict(torch.nn.Linear(2, 3).named_parameters()), ["bias"])
    {'bias': slice(6, 9, None)}
    """
    ends = itertools.accumulate(math.prod(tensor.shape) for tensor in parameters.values())
    places = {
        name: slice(end - math.prod(tensor.shape), end)
        for (name, tensor), end in zip(parameters.items(), ends, strict=True)
    }
    wanted = places if subset is None else list(subset)
    for name in wanted:
        if name not in places:
            near = difflib.get_close_matches(str(name), list(places), n=3, cutoff=0.4)
            raise TaskError(
                f"{name!r} is not among the {len(places)} parameters of the flat vector. "
                + (f"Did you mean {', '.join(near)}?" if near else f"They are {_some(places)}.")
            )
    return {name: places[name] for name in wanted}


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
    """Return the trainable parameters that some pattern names and none excludes; every pattern must name one."""
    if not patterns:
        raise TaskError("parameters= is an empty list; pass None for all trainable parameters.")
    every = list(model.named_parameters(remove_duplicate=False))
    wanted: set[int] = set()
    excluded: set[int] = set()
    for pattern in patterns:
        if not isinstance(pattern, str):
            raise TaskError(
                "parameters= takes names, patterns or a callable (name, parameter) -> bool; "
                f"got an entry of type {type(pattern).__name__}."
            )
        hits = _hits(model, every, pattern.removeprefix("!"))
        if pattern.startswith("!"):
            excluded.update(id(p) for _, p in hits)
            continue
        if not any(p.requires_grad for _, p in hits):
            raise TaskError(
                f"{pattern!r} matches only frozen parameters ({_some(dict(hits))}: requires_grad=False); "
                "curvature acts on trainable ones."
            )
        wanted.update(id(p) for _, p in hits)
    if all(pattern.startswith("!") for pattern in patterns):
        wanted = {id(p) for p in trainable.values()}
    kept = {name: p for name, p in trainable.items() if id(p) in wanted - excluded}
    if not kept:
        raise TaskError(
            f"parameters={patterns} excludes every trainable parameter it names ({_some(trainable)} are trainable); "
            "narrow the patterns that begin with '!'."
        )
    return kept


def _hits(model: nn.Module, every: list[tuple[str, nn.Parameter]], pattern: str) -> list[tuple[str, nn.Parameter]]:
    """Return the parameters under the names that a pattern matches, of which there must be one."""
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
    return hits


def _require_one_kind(parameters: dict[str, nn.Parameter], *, allow_half: bool) -> None:
    """Raise unless all parameters share one supported dtype (up to half precision, if allowed) and one device."""
    first_name, first = next(iter(parameters.items()))
    for name, p in parameters.items():
        if p.dtype not in (torch.float32, torch.float64) and not (allow_half and p.dtype in _HALF):
            raise BackendError(
                f"curvature needs float32 or float64 parameters; {name!r} is {p.dtype}."
                + (
                    " Products in half precision are noise below about 3e-3 of the largest eigenvalue: measure "
                    "model.float() instead."
                    if p.dtype in _HALF
                    else " Convert or freeze it."
                )
            )
        if _computed(p.dtype, allow_half) != _computed(first.dtype, allow_half) or p.device != first.device:
            raise BackendError(
                f"all measured parameters must have one dtype and device; {first_name!r} is {first.dtype} on "
                f"{first.device}, {name!r} is {p.dtype} on {p.device}."
            )


def _computed(dtype: torch.dtype, allow_half: bool) -> torch.dtype:
    """Return the precision of the copy that products are computed on."""
    return torch.float32 if allow_half and dtype in _HALF else dtype


def _some(names: Iterable[str], limit: int = 5) -> str:
    """Join the first few names."""
    names = list(names)
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")
