"""The optimizer that a saved state belongs to."""

import copy
import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn, optim

from probes.optimizers.files import is_optimizer_state
from probes.optimizers.rebuilding import SCHEDULER_KEYS
from spectra.errors import ArgumentError, CheckpointError

__all__ = ["optimizer_from_state"]

#: Parameters that transformers.Trainer puts into its second group, besides those of nn.LayerNorm
#: (``Trainer.get_decay_parameter_names``).
UNDECAYED = re.compile(r"bias|layernorm|rmsnorm|(?:^|\.|_)norm(?:$|\.)")

_CLASSES: dict[str, type[Any]] = {"sgd": optim.SGD, "adam": optim.Adam, "adamw": optim.AdamW, "rmsprop": optim.RMSprop}


def optimizer_from_state(
    state: Mapping[str, Any], *, model: nn.Module, kind: str | None = None, names: Sequence[str] | None = None
) -> optim.Optimizer:
    """Return a live optimizer of a model in a saved state, as if it had trained the model.

    Schedules stay behind. Where one stands at zero, at its end or before a warm-up, the rates are those it began with.

    Parameters
    ----------
    state : mapping
        As from :func:`load_optimizer_state`; copied. States of SGD, Adam, AdamW and RMSprop.
    model : torch.nn.Module
        Whose parameters the optimizer gets; they are not changed.
    kind : {"sgd", "adam", "adamw", "rmsprop"}, optional
        The class, where the constants in the groups leave it open: older releases of PyTorch do not say whether weight
        decay is decoupled. ``"momentum"`` and ``"nesterov"`` are classes of ``"sgd"``.
    names : sequence of str, optional
        Names of the parameters in the order in which the optimizer was given them. Without it: the names that the
        state holds (an optimizer made from ``model.named_parameters()`` stores them); of a single group, the order of
        the model; of two groups whose sizes and shapes fit it, the order of Hugging Face Trainer: what is decayed,
        then biases and norms.

    Raises
    ------
    CheckpointError
        Another class; or the state does not fit the parameters, by number or by shape.
    ArgumentError
        The class or the order of the parameters is open, or ``kind`` contradicts the state.

    Examples
    --------
    >>> import torch
    >>> model = torch.nn.Linear(2, 1)
    >>> saved = torch.optim.RMSprop(model.parameters(), lr=0.01, momentum=0.5).state_dict()
    >>> type(optimizer_from_state(saved, model=model)).__name__
    'RMSprop'
    """
    if not is_optimizer_state(state):
        raise CheckpointError(
            "the state of an optimizer must be a mapping with 'state' and 'param_groups'; got "
            + (
                f"one with {sorted(map(str, state))[:8]}."
                if isinstance(state, Mapping)
                else f"a {type(state).__name__}."
            )
        )
    groups = state["param_groups"]
    made = _class(groups, kind)
    order = _names(state, model, names)
    parameters = dict(model.named_parameters(remove_duplicate=False))
    unknown = [name for name in order if name not in parameters]
    if unknown:
        raise CheckpointError(
            f"the optimizer state is for parameters that {type(model).__name__} does not have, such as {unknown[0]!r}; "
            f"it has {list(parameters)[:5]}."
        )
    identities = [identity for group in groups for identity in group["params"]]
    _require_fit(state["state"], identities, order, parameters)
    named = iter([(name, parameters[name]) for name in order])
    optimizer = made([{"params": list(itertools.islice(named, len(group["params"])))} for group in groups])
    # A copy: load_state_dict keeps tensors that need no conversion, and steps would change the caller's.
    saved = copy.deepcopy({"state": state["state"], "param_groups": groups})
    _leave_schedule(saved["param_groups"])
    optimizer.load_state_dict(saved)
    return optimizer


def _leave_schedule(groups: Sequence[dict[str, Any]]) -> None:
    """Remove what a scheduler left in the groups; rates that it brought to zero are those it began with."""
    if float(groups[0].get("lr") or 0.0) == 0.0 and all(group.get("initial_lr") is not None for group in groups):
        for group in groups:
            group["lr"] = group["initial_lr"]
    for group in groups:
        for name in SCHEDULER_KEYS:
            group.pop(name, None)


def _class(groups: Sequence[Mapping[str, Any]], kind: str | None) -> type[Any]:
    """Return the class that the constants of the groups belong to."""
    keys = set(groups[0])
    wanted = {"momentum": "sgd", "nesterov": "sgd"}.get(kind or "", kind)
    if wanted is not None and wanted not in _CLASSES:
        raise ArgumentError(f"kind must be one of {', '.join(_CLASSES)}; got {kind!r}.")
    if {"betas", "amsgrad"} <= keys:
        flags = {group.get("decoupled_weight_decay") for group in groups}
        fitting = ["adam", "adamw"] if flags == {None} else ["adamw" if True in flags else "adam"]
        if len(fitting) > 1 and wanted is None and not any(float(group["weight_decay"]) for group in groups):
            fitting = ["adam"]
    elif {"alpha", "centered"} <= keys:
        fitting = ["rmsprop"]
    elif {"momentum", "dampening", "nesterov"} <= keys:
        fitting = ["sgd"]
    else:
        raise CheckpointError(
            f"the optimizer state has constants {sorted(keys - {'params', *SCHEDULER_KEYS})}, which are not those of "
            "SGD, Adam, AdamW or RMSprop of torch.optim. Make the optimizer yourself, load the state into it and pass "
            "the optimizer."
        )
    if wanted is None and len(fitting) > 1:
        raise ArgumentError(
            f"the optimizer state is one of Adam or of AdamW, with weight decay {float(groups[0]['weight_decay']):g}; "
            "it does not say which. Pass kind='adam' or kind='adamw'."
        )
    if wanted is not None and wanted not in fitting:
        raise ArgumentError(f"the optimizer state is one of {fitting[0]}, not of {kind}.")
    return _CLASSES[wanted or fitting[0]]


def _names(state: Mapping[str, Any], model: nn.Module, names: Sequence[str] | None) -> list[str]:
    """Return the names of the parameters in the order of the groups."""
    groups = state["param_groups"]
    identities = [identity for group in groups for identity in group["params"]]
    if names is not None:
        order = list(names)
    elif all(isinstance(identity, str) for identity in identities):
        order = [str(identity) for identity in identities]
    elif all("param_names" in group for group in groups):
        order = [str(name) for group in groups for name in group["param_names"]]
    elif len(groups) == 1:
        trainable = [name for name, p in model.named_parameters() if p.requires_grad]
        every = [name for name, _ in model.named_parameters()]
        order = every if len(every) == len(identities) else trainable
    elif order_of_trainer := _order_of_trainer(state, model):
        order = order_of_trainer
    else:
        raise ArgumentError(
            f"the optimizer state has {len(groups)} parameter groups without names, so that nothing says which "
            "parameter is which. Make the optimizer from (name, parameter) pairs, such as those of "
            "model.named_parameters(), before the next run: then its states hold the names. In Python, pass names= in "
            "the order in which the optimizer got them, or make the optimizer as in training, load the state into it "
            "and pass the optimizer."
        )
    if len(order) != len(identities):
        raise CheckpointError(
            f"the optimizer state is for {len(identities)} parameters, but {len(order)} were found in "
            f"{type(model).__name__ if names is None else 'names='}. It belongs to another model, or some parameters "
            "were frozen: pass names=."
        )
    return order


def _order_of_trainer(state: Mapping[str, Any], model: nn.Module) -> list[str]:
    """Return the order in which Hugging Face Trainer gives the parameters; empty if the groups are not like its own."""
    in_norms = {id(p) for module in model.modules() if isinstance(module, nn.LayerNorm) for p in module.parameters()}
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    undecayed = [name for name, p in trainable.items() if id(p) in in_norms or UNDECAYED.search(name.lower())]
    decayed = [name for name in trainable if name not in undecayed]
    groups = state["param_groups"]
    if [len(group["params"]) for group in groups] != [len(decayed), len(undecayed)]:
        return []
    if groups[1].get("weight_decay") != 0.0 or groups[0].get("lr") != groups[1].get("lr"):
        return []
    order = [*decayed, *undecayed]
    try:
        _require_fit(state["state"], [identity for group in groups for identity in group["params"]], order, trainable)
    except CheckpointError:
        return []
    return order


def _require_fit(
    states: Mapping[Any, Any], identities: Sequence[Any], order: Sequence[str], parameters: Mapping[str, Tensor]
) -> None:
    """Raise unless every entry that is as large as a parameter has the shape of its own."""
    for identity, name in zip(identities, order, strict=True):
        for key, entry in states.get(identity, {}).items():
            if isinstance(entry, Tensor) and key != "step" and entry.shape != parameters[name].shape:
                raise CheckpointError(
                    f"the optimizer state does not fit the model: {key} of {name!r} has shape {tuple(entry.shape)}, "
                    f"the parameter {tuple(parameters[name].shape)}. It belongs to another model, or its parameters "
                    "came in another order: pass names=."
                )
