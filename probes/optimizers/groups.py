"""How the parameter groups of an optimizer relate: their rates as multiples of one, and what else differs."""

from typing import Any

import torch
from torch import Tensor, optim

from probes.optimizers.reading import group_of, inner
from spectra.arrays import finite_number
from spectra.errors import ArgumentError

__all__ = ["group_differences", "group_ratios", "set_learning_rate", "set_rates"]

#: What a group says about how a step is carried out, not what it is.
EXECUTION_KEYS = ("foreach", "fused", "capturable", "differentiable")


def group_ratios(optimizer: optim.Optimizer, *, reference: int = 0) -> tuple[float, ...]:
    """Return the learning rate of every parameter group over that of the reference group.

    Where the reference stands at zero, as in the first step of a warm-up, the rates that the scheduler keeps as
    ``initial_lr`` are compared. A group that stands still has ratio 0.

    Raises
    ------
    TaskError
        It is no optimizer.
    ArgumentError
        There is no such group, its rate is zero now and was from the start, or a rate is negative or not finite.

    Examples
    --------
    >>> import torch
    >>> layers = [torch.nn.Parameter(torch.zeros(2)) for _ in range(2)]
    >>> optimizer = torch.optim.AdamW([{"params": layers[:1]}, {"params": layers[1:], "lr": 5e-4}], lr=1e-3)
    >>> group_ratios(optimizer)
    (1.0, 0.5)
    """
    optimizer = inner(optimizer)
    group_of(optimizer, reference)
    for key in ("lr", "initial_lr"):
        if any(key not in group for group in optimizer.param_groups):
            continue
        rates = [
            finite_number(float(group[key]), name=f"{key} of a parameter group") for group in optimizer.param_groups
        ]
        if min(rates) < 0:
            raise ArgumentError(f"learning rates must not be negative; the groups have {rates}.")
        if rates[reference] > 0:
            return tuple(rate / rates[reference] for rate in rates)
    raise ArgumentError(
        f"the learning rate of parameter group {reference} is 0, so that no other can be compared with it; the groups "
        f"have {[float(group['lr']) for group in optimizer.param_groups]}. Choose a group that moves as the reference."
    )


def group_differences(optimizer: optim.Optimizer) -> dict[str, tuple[Any, ...]]:
    """Return the constants in which parameter groups differ, learning rates aside, with the value of every group.

    Examples
    --------
    >>> import torch
    >>> layers = [torch.nn.Parameter(torch.zeros(2)) for _ in range(2)]
    >>> optimizer = torch.optim.AdamW([{"params": layers[:1]}, {"params": layers[1:], "weight_decay": 0.0}])
    >>> group_differences(optimizer)
    {'weight_decay': (0.01, 0.0)}
    """
    optimizer = inner(optimizer)
    differences = {}
    for key in optimizer.defaults:
        if key in ("lr", *EXECUTION_KEYS):
            continue
        values = tuple(_plain(group.get(key)) for group in optimizer.param_groups)
        if any(value != values[0] for value in values):
            differences[key] = values
    return differences


def set_learning_rate(optimizer: optim.Optimizer, learning_rate: float, *, reference: int = 0) -> None:
    """Give the reference group a learning rate, in place; the others keep their ratios to it.

    Raises
    ------
    ArgumentError
        The learning rate is not positive, or the groups have no ratios.
    """
    set_rates(optimizer, learning_rate, group_ratios(optimizer, reference=reference))


def set_rates(optimizer: optim.Optimizer, learning_rate: float, ratios: tuple[float, ...]) -> None:
    """Set the rate of every group to its multiple of ``learning_rate``, in place."""
    rate = finite_number(learning_rate, name="learning_rate")
    if rate <= 0:
        raise ArgumentError(f"learning_rate must be positive; got {rate:g}.")
    for group, ratio in zip(optimizer.param_groups, ratios, strict=True):
        wanted = rate * ratio
        group["lr"] = torch.full_like(group["lr"], wanted) if isinstance(group["lr"], Tensor) else wanted


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.item() if value.numel() == 1 else value.tolist()
    return tuple(_plain(entry) for entry in value) if isinstance(value, tuple | list) else value
