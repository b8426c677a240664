r"""What an adaptive optimizer divides its steps by, read from its live state as PyTorch forms it.

With v the accumulated squares of gradients, t the number of steps, and all operations entry by entry:

============== =========================================================================================
Adam, AdamW    :math:`\sqrt{v / (1 - \beta_2^t)} + \epsilon`; with amsgrad the largest v so far
NAdam          :math:`\sqrt{v / (1 - \beta_2^t)} + \epsilon`
Adamax         the decayed maximum of :math:`|g| + \epsilon`
RMSprop        :math:`\sqrt{v} + \epsilon`; centered: :math:`\sqrt{v - \bar g^2} + \epsilon` (no bias correction)
Adagrad        :math:`\sqrt{v} + \epsilon`, v a sum, so that it grows
SGD            1
============== =========================================================================================

Read in the functions ``_single_tensor_*`` of ``torch.optim`` 2.13. Kingma and Ba 2015 (algorithm 1), Reddi et al. 2018,
Dozat 2016, Tieleman and Hinton 2012, Duchi et al. 2011.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn, optim

from probes.operators.preconditioned import DiagonalPreconditioner
from probes.parameters import flatten
from spectra.arrays import finite_number
from spectra.errors import ArgumentError, NonFiniteError, ShapeError, TaskError

__all__ = ["preconditioner_of"]

_HALF = (torch.float16, torch.bfloat16)

State = Mapping[str, Any]
Group = Mapping[str, Any]


def preconditioner_of(
    optimizer: optim.Optimizer,
    parameters: Mapping[str, nn.Parameter],
    *,
    second_moment: Tensor | None = None,
    relative_to: float | None = None,
) -> DiagonalPreconditioner:
    r"""Return P, by which the optimizer divides: its last step was :math:`-\eta P^{-1} m`, m its average of gradients.

    The learning rate, momentum and its bias correction are *not* in P; nor is decoupled weight decay.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        Adam, AdamW, NAdam, Adamax, RMSprop, Adagrad or SGD; live, as it is after its last step.
    parameters : mapping of str to torch.nn.Parameter
        The coordinates in order, as ``operator.parameters`` or ``dict(model.named_parameters())``.
    second_moment : torch.Tensor, shape (n,), optional
        A lower bound of what stands under the root, such as :math:`\mathbb{E} g^2` of the gradients of batches of the
        size used in training. Young averages are near zero in many coordinates, where :math:`P^{-1}` explodes; and a
        parameter that was never stepped has none, so that it needs this.
    relative_to : float, optional
        A learning rate. Each parameter's part of P is multiplied by ``relative_to`` over the learning rate of its
        group (for Adagrad with ``lr_decay``, the decayed one), so that one learning rate, this one, holds for all.

    Returns
    -------
    DiagonalPreconditioner
        A copy: later steps do not change it. In float32 where parameters or moments are in half precision.

    Raises
    ------
    TaskError
        The optimizer is of another kind, or does not train some of the parameters; the message names them.
    ArgumentError
        Some parameters were never stepped, and ``second_moment`` is missing; or a learning rate is not positive.
    NonFiniteError
        The optimizer's own denominator is NaN or infinite.
    ShapeError
        ``second_moment`` does not have shape (n,).

    Examples
    --------
    After one step Adam divides by the modulus of the gradient:

    >>> import torch
    >>> w = torch.nn.Parameter(torch.zeros(2))
    >>> optimizer = torch.optim.Adam([w], eps=0.5)
    >>> w.grad = torch.tensor([3.0, -4.0])
    >>> optimizer.step()
    >>> preconditioner_of(optimizer, {"w": w}).diagonal
    tensor([3.5000, 4.5000])
    """
    kind = _kind(optimizer)
    groups = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    strangers = [name for name, p in parameters.items() if id(p) not in groups]
    if strangers:
        raise TaskError(
            f"the optimizer {type(optimizer).__name__} does not train {len(strangers)} of the {len(parameters)} "
            f"parameters: {_some(strangers)}. Pass the optimizer of this very model, or select the parameters it "
            "trains with parameters=."
        )
    floors = _floors(parameters, second_moment)
    denominator = _DENOMINATORS[kind]
    untouched = [
        name
        for name, p in parameters.items()
        if denominator is not None and floors[name] is None and not _was_stepped(optimizer.state.get(p, {}))
    ]
    if untouched:
        raise ArgumentError(
            f"{len(untouched)} of {len(parameters)} parameters were never stepped by this "
            f"{type(optimizer).__name__} and have no second moment yet: {_some(untouched)}. Take a step first, or pass "
            "second_moment=, the mean square of batch gradients."
        )
    pieces = []
    for name, p in parameters.items():
        state, group = optimizer.state.get(p, {}), groups[id(p)]
        with torch.no_grad():
            piece = _single(torch.ones_like(p)) if denominator is None else denominator(p, state, group, floors[name])
            if relative_to is not None:
                piece = piece * _ratio(relative_to, state, group, name)
        if not bool(torch.isfinite(piece).all()):
            raise NonFiniteError(
                f"the denominator of {type(optimizer).__name__} for {name!r} has "
                f"{int((~torch.isfinite(piece)).sum())} entries that are NaN or infinite; its next step would destroy "
                "the model (a centered RMSprop can subtract to a negative number: pass second_moment=)."
            )
        pieces.append(piece.detach())
    return DiagonalPreconditioner(flatten(pieces), name=kind.__name__)


def _bias_corrected(p: Tensor, state: State, group: Group, floor: Tensor | None) -> Tensor:
    if not _was_stepped(state):
        return _root_plus_eps(_single(torch.zeros_like(p)), group, floor)
    squares = state["max_exp_avg_sq"] if group.get("amsgrad") else state["exp_avg_sq"]
    beta2 = float(group["betas"][1])
    return _root_plus_eps(_single(squares) / (1 - beta2 ** float(state["step"])), group, floor)


def _rmsprop(p: Tensor, state: State, group: Group, floor: Tensor | None) -> Tensor:
    squares = _single(state["square_avg"] if _was_stepped(state) else torch.zeros_like(p))
    if group["centered"] and _was_stepped(state):
        mean = _single(state["grad_avg"])
        squares = squares.addcmul(mean, mean, value=-1)
    return _root_plus_eps(squares, group, floor)


def _adagrad(p: Tensor, state: State, group: Group, floor: Tensor | None) -> Tensor:
    return _root_plus_eps(_single(state["sum"]), group, floor)


def _adamax(p: Tensor, state: State, group: Group, floor: Tensor | None) -> Tensor:
    largest = _single(state["exp_inf"] if _was_stepped(state) else torch.zeros_like(p))
    return largest if floor is None else torch.maximum(largest, floor.sqrt() + float(group["eps"]))


def _root_plus_eps(squares: Tensor, group: Group, floor: Tensor | None) -> Tensor:
    return (squares if floor is None else torch.maximum(squares, floor)).sqrt() + float(group["eps"])


_DENOMINATORS: dict[type, Callable[[Tensor, State, Group, Tensor | None], Tensor] | None] = {
    optim.Adam: _bias_corrected,
    optim.AdamW: _bias_corrected,
    optim.NAdam: _bias_corrected,
    optim.Adamax: _adamax,
    optim.RMSprop: _rmsprop,
    optim.Adagrad: _adagrad,
    optim.SGD: None,
}


def _kind(optimizer: Any) -> type:
    """Return the class of ``torch.optim`` whose step the optimizer takes."""
    kind = next((k for k in type(optimizer).__mro__ if k in _DENOMINATORS), None)
    # PyTorch wraps the step of every class whose objects it makes, so the functions inside are compared.
    if kind is None or inspect.unwrap(type(optimizer).step) is not inspect.unwrap(kind.step):  # type: ignore[attr-defined]
        known = ", ".join(k.__name__ for k in _DENOMINATORS)
        raise TaskError(
            f"the preconditioner of {type(optimizer).__name__} is not known; known are the steps of {known}. For "
            "another diagonal one pass DiagonalPreconditioner(what the step divides by)."
        )
    return kind


def _single(values: Tensor) -> Tensor:
    """Return values in half precision as float32."""
    return values.float() if values.dtype in _HALF else values


def _was_stepped(state: State) -> bool:
    return bool(state) and float(state["step"]) > 0


def _ratio(relative_to: float, state: State, group: Group, name: str) -> float:
    """Return the wanted learning rate over that of the parameter's last step."""
    wanted = finite_number(relative_to, name="relative_to")
    rate = float(group["lr"])
    if group.get("lr_decay"):
        rate /= 1 + max(float(state["step"]) - 1, 0) * float(group["lr_decay"])
    if wanted <= 0 or rate <= 0:
        raise ArgumentError(
            f"relative_to and the learning rate of every group must be positive; got {wanted:g} and, for {name!r}, "
            f"{rate:g}. Leave parameters that stand still out of the operator."
        )
    return wanted / rate


def _floors(parameters: Mapping[str, Tensor], second_moment: Tensor | None) -> dict[str, Tensor | None]:
    """Cut the lower bound into the shapes of the parameters."""
    if second_moment is None:
        return dict.fromkeys(parameters)
    sizes = [p.numel() for p in parameters.values()]
    if second_moment.shape != (sum(sizes),):
        raise ShapeError(f"second_moment must have shape ({sum(sizes)},); got {tuple(second_moment.shape)}.")
    if not bool(torch.isfinite(second_moment).all()) or bool((second_moment < 0).any()):
        raise ArgumentError("second_moment must be finite and not negative: it is a mean of squares.")
    pieces = second_moment.detach().split(sizes)
    return {
        name: piece.reshape(p.shape).to(p.device, torch.float32 if p.dtype in _HALF else p.dtype)
        for (name, p), piece in zip(parameters.items(), pieces, strict=True)
    }


def _some(names: Iterable[str], limit: int = 5) -> str:
    """Join the first few names."""
    names = list(names)
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")
