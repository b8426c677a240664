"""What a live torch optimizer is: the class whose step it takes, and the constants of a group."""

import inspect
from collections.abc import Mapping
from typing import Any

from torch import optim

from spectra.errors import ArgumentError, TaskError
from spectra.recommend.optimizer import OptimizerSpec
from spectra.recommend.unsupported import recognized_kind

__all__ = ["describe_optimizer", "group_of", "inner", "kind_of"]

#: Thin wrappers whose ``optimizer`` takes the very same steps (accelerate, Lightning).
TRANSPARENT_WRAPPERS = ("AcceleratedOptimizer", "LightningOptimizer")

#: Classes whose step needs gradients only.
_STEPPABLE: tuple[type[Any], ...] = tuple(
    getattr(optim, name)
    for name in optim.__all__
    if isinstance(getattr(optim, name), type) and name not in ("Optimizer", "LBFGS")
)


def describe_optimizer(optimizer: optim.Optimizer, *, reference: int = 0) -> OptimizerSpec:
    """Return the kind and the constants of a live torch optimizer.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        Only read. Wrappers of accelerate and Lightning are looked through.
    reference : int
        The parameter group that is described; :func:`group_differences` says what the others have otherwise.

    Returns
    -------
    OptimizerSpec
        With ``why_unsupported`` where the kind is known but has no stable limit (Adagrad, Muon, Lion by its name, ...).

    Raises
    ------
    TaskError
        It is no optimizer, an optimizer whose step is not known, or one that maximizes.
    ArgumentError
        There is no such group, or a constant is outside its range.

    Examples
    --------
    >>> import torch
    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(2))], lr=0.1, momentum=0.9, nesterov=True)
    >>> describe_optimizer(optimizer).label
    'SGD with Nesterov momentum 0.9'
    """
    optimizer = inner(optimizer)
    group = group_of(optimizer, reference)
    if group.get("maximize"):
        raise TaskError(
            f"{type(optimizer).__name__} maximizes (maximize=True); rates are for a loss that falls. Negate the loss "
            "and leave maximize out."
        )
    kind = kind_of(optimizer)
    decay = float(group.get("weight_decay", 0.0))
    if kind is optim.SGD:
        momentum = float(group["momentum"])
        if not momentum:
            return OptimizerSpec(kind="sgd", weight_decay=decay)
        if group["nesterov"]:
            return OptimizerSpec(kind="nesterov", momentum=momentum, weight_decay=decay)
        return OptimizerSpec(
            kind="momentum", momentum=momentum, weight_decay=decay, dampening=float(group["dampening"])
        )
    if kind in (optim.Adam, optim.AdamW):
        beta1, beta2 = (float(beta) for beta in group["betas"])
        return OptimizerSpec(
            kind="adamw" if kind is optim.AdamW or group.get("decoupled_weight_decay") else "adam",
            momentum=beta1,
            beta2=beta2,
            eps=float(group["eps"]),
            weight_decay=decay,
            amsgrad=bool(group["amsgrad"]),
        )
    if kind is optim.RMSprop:
        return OptimizerSpec(
            kind="rmsprop",
            momentum=float(group["momentum"]),
            eps=float(group["eps"]),
            weight_decay=decay,
            alpha=float(group["alpha"]),
            centered=bool(group["centered"]),
        )
    recognized = recognized_kind((kind or type(optimizer)).__name__)
    if recognized is None:
        raise TaskError(
            f"the step of {type(optimizer).__name__} ({type(optimizer).__module__}) is not known; known are SGD, Adam, "
            "AdamW and RMSprop of torch.optim. If it takes the steps of one of them, describe it: "
            'OptimizerSpec(kind="adamw", ...).'
        )
    return OptimizerSpec(kind=recognized, weight_decay=decay)


def inner(optimizer: Any) -> optim.Optimizer:
    """Return the optimizer under thin wrappers, or raise TaskError if there is none."""
    while any(base.__name__ in TRANSPARENT_WRAPPERS for base in type(optimizer).__mro__):
        optimizer = optimizer.optimizer
    if not isinstance(optimizer, optim.Optimizer):
        what = f"the class {optimizer.__name__}" if isinstance(optimizer, type) else f"a {type(optimizer).__name__}"
        raise TaskError(f"an optimizer must be an instance of torch.optim.Optimizer; got {what}.")
    return optimizer


def group_of(optimizer: optim.Optimizer, index: int) -> Mapping[str, Any]:
    """Return one parameter group, or raise ArgumentError if there is no such one."""
    count = len(optimizer.param_groups)
    if not 0 <= index < count:
        raise ArgumentError(
            f"the reference group must be one of the {count} parameter groups, 0 .. {count - 1}; got {index}"
        )
    return optimizer.param_groups[index]


def kind_of(optimizer: optim.Optimizer) -> type[Any] | None:
    """Return the class of ``torch.optim`` whose step the optimizer takes, or None."""
    kind = next((k for k in type(optimizer).__mro__ if k in _STEPPABLE), None)
    # PyTorch wraps the step of every class whose objects it makes, so the functions inside are compared.
    if kind is None or inspect.unwrap(type(optimizer).step) is not inspect.unwrap(kind.step):
        return None
    return kind
