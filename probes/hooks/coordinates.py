"""Which parameters a recorder measures: those that training moves, as they are at present."""

from typing import Any

from torch import nn, optim

from probes.parameters import ParameterSpec
from spectra.errors import TaskError

__all__ = ["fingerprint", "trained_parameters"]


def trained_parameters(model: nn.Module, spec: ParameterSpec, optimizer: optim.Optimizer | None) -> ParameterSpec:
    """Return what ``parameters=`` of an operator should be: as given, or else those that the optimizer moves.

    An optimizer that holds none of the model's parameters (copies in another precision) says nothing of them.

    Raises
    ------
    TaskError
        The optimizer holds some of the trainable parameters, and others that are not the model's: the model was changed
        since, or trains together with another one.

    Examples
    --------
    >>> import torch
    >>> from probes.parameters import select
    >>> model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    >>> spec = trained_parameters(model, None, torch.optim.SGD(model[1].parameters()))
    >>> list(select(model, spec))
    ['1.weight', '1.bias']
    """
    if spec is not None or optimizer is None:
        return spec
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    trainable = {id(p) for p in model.parameters() if p.requires_grad}
    common = held & trainable
    if not common or common == trainable:
        return None
    strangers = held - {id(p) for p in model.parameters()}
    if strangers:
        raise TaskError(
            f"the optimizer holds {len(strangers)} parameters that are not the model's, and {len(trainable - common)} "
            "of the model's trainable parameters are not the optimizer's. If the model was changed, attach() the "
            "present optimizer; otherwise say with Task(parameters=...) which are to be measured."
        )
    return lambda _, p: id(p) in common


def fingerprint(model: nn.Module, optimizer: optim.Optimizer | None) -> tuple[Any, ...]:
    """Return what changes when parameters are exchanged, frozen or freed, or given to the optimizer."""
    groups = [] if optimizer is None else optimizer.param_groups
    return (
        *((name, id(p), p.requires_grad) for name, p in model.named_parameters()),
        *(id(p) for group in groups for p in group["params"]),
    )
