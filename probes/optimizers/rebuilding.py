"""The same optimizer again, in the same state, for a copy of the model."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn, optim

from probes.optimizers.groups import group_ratios, set_rates
from probes.optimizers.reading import inner, kind_of
from probes.unwrapping import unwrapped
from spectra.errors import TaskError

__all__ = ["SCHEDULER_KEYS", "rebuild"]

#: Left in the groups by learning-rate schedulers: a scheduler of another optimizer must not start from them.
SCHEDULER_KEYS = ("initial_lr", "max_lr", "min_lr", "base_momentum", "max_momentum", "swa_lr")


def rebuild(
    optimizer: optim.Optimizer,
    *,
    model: nn.Module,
    onto: nn.Module,
    learning_rate: float | None = None,
    reference: int = 0,
) -> optim.Optimizer:
    """Return a fresh optimizer of the same kind and in the same state that trains a copy of the model.

    Its steps on the copy are those that the given one would take on the model, bit by bit. The given one is only read:
    its parameters, state, hooks and schedulers stay as they are and are not shared.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        One of ``torch.optim`` (not ``LBFGS``), or a class derived from it that leaves ``step`` alone; in any state.
    model : torch.nn.Module
        Whose parameters it trains.
    onto : torch.nn.Module
        A copy of ``model``, such as ``copy.deepcopy(model)``.
    learning_rate : float, optional
        What the reference group gets; the others keep their ratios to it (:func:`group_ratios`). By default the rates
        stay.
    reference : int
        The reference group.

    Returns
    -------
    torch.optim.Optimizer
        Moments, momentum buffers, step counts and the constants of every group are copies. A parameter without state
        has none in the copy either. Rates that schedulers keep in the groups are left out.

    Raises
    ------
    TaskError
        The optimizer cannot be rebuilt, trains something that is not in ``model``, or ``onto`` is no copy of it.
    ArgumentError
        The learning rate is not positive, or the groups have no ratios.

    Examples
    --------
    >>> import copy, torch
    >>> model = torch.nn.Linear(2, 1)
    >>> twin = copy.deepcopy(model)
    >>> rebuilt = rebuild(torch.optim.AdamW(model.parameters(), lr=0.1), model=model, onto=twin, learning_rate=0.01)
    >>> rebuilt.param_groups[0]["params"][0] is twin.weight, rebuilt.param_groups[0]["lr"]
    (True, 0.01)
    """
    optimizer = inner(optimizer)
    kind = kind_of(optimizer)
    if kind is None:
        hint = (
            " It evaluates a closure several times in each step."
            if isinstance(optimizer, optim.LBFGS)
            else " Its own step may keep more than groups and state, so that a copy could not be trusted."
        )
        raise TaskError(
            f"{type(optimizer).__name__} ({type(optimizer).__module__}) cannot be rebuilt for a copy of the model: it "
            f"must be of torch.optim, or leave the step of its base class alone.{hint}"
        )
    twins = _twins(unwrapped(model), unwrapped(onto))
    trained = [p for group in optimizer.param_groups for p in group["params"]]
    strangers = [tuple(p.shape) for p in trained if id(p) not in twins]
    if strangers:
        raise TaskError(
            f"{len(strangers)} of the {len(trained)} tensors that {type(optimizer).__name__} trains are no parameters "
            f"of the {type(model).__name__} (the first has shape {strangers[0]}). Pass the optimizer that was made for "
            "this very model, not for another copy of it."
        )
    ratios = () if learning_rate is None else group_ratios(optimizer, reference=reference)
    groups = []
    for group in optimizer.param_groups:
        constants = {key: _copied(value) for key, value in group.items() if key not in ("params", *SCHEDULER_KEYS)}
        names = constants.pop("param_names", None)
        members: list[Any] = [twins[id(p)] for p in group["params"]]
        if names is not None:
            members = list(zip(names, members, strict=True))
        if "differentiable" in constants:
            constants["differentiable"] = False
        groups.append({**constants, "params": members})
    rebuilt = kind(groups)
    for p in trained:
        entries = optimizer.state.get(p, {})
        if entries:
            rebuilt.state[twins[id(p)]] = {key: _moved(key, entry, p, twins[id(p)]) for key, entry in entries.items()}
    if learning_rate is not None:
        set_rates(rebuilt, learning_rate, ratios)
    return rebuilt


def _twins(model: nn.Module, onto: nn.Module) -> dict[int, nn.Parameter]:
    """Map the identity of every parameter to its counterpart in the copy."""
    ours = dict(model.named_parameters(remove_duplicate=False))
    theirs = dict(onto.named_parameters(remove_duplicate=False))
    differing = [
        name
        for name in {**ours, **theirs}
        if name not in ours or name not in theirs or ours[name].shape != theirs[name].shape
    ]
    if differing:
        raise TaskError(
            f"onto must be a copy of the model; {len(differing)} parameters are in one only or have other shapes, such "
            f"as {differing[0]!r}. Pass copy.deepcopy(model)."
        )
    if any(ours[name] is theirs[name] for name in ours):
        raise TaskError(
            "onto shares parameters with the model, which training it would change. Pass copy.deepcopy(model)."
        )
    return {id(p): theirs[name] for name, p in ours.items()}


def _copied(value: Any) -> Any:
    """Return an independent copy of a constant or an entry of the state, detached."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, Mapping):
        return {key: _copied(entry) for key, entry in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(_copied(entry) for entry in value)
    return value


def _moved(key: str, entry: Any, parameter: Tensor, twin: Tensor) -> Any:
    """Copy an entry of the state to where and what the counterpart of its parameter is."""
    entry = _copied(entry)
    if isinstance(entry, Tensor):
        if entry.device == parameter.device:
            entry = entry.to(twin.device)
        if key != "step" and entry.dtype == parameter.dtype:
            entry = entry.to(twin.dtype)
    return entry
