"""Second moments as a live optimizer keeps them."""

from collections.abc import Iterable

import torch
from torch import Tensor, optim

__all__ = ["second_moment"]


def second_moment(optimizer: optim.Optimizer, parameters: Iterable[Tensor]) -> Tensor:
    r"""Return the squares whose root the next step of the optimizer divides by, flat; without its ``eps``.

    Adam and AdamW: :math:`v / (1 - \beta_2^t)`, with amsgrad the largest v so far; RMSprop: v, centered
    :math:`v - \bar g^2`. Zero where a parameter has no state yet, or the optimizer has no second moments.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        Only read.
    parameters : iterable of torch.nn.Parameter
        In the order of the result.
    """
    groups = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    parts = []
    for p in parameters:
        state, group = optimizer.state.get(p, {}), groups.get(id(p), {})
        if "exp_avg_sq" in state:
            squares = state["max_exp_avg_sq"] if group["amsgrad"] else state["exp_avg_sq"]
            squares = squares / (1 - float(group["betas"][1]) ** float(state["step"]))
        elif "square_avg" in state and "alpha" in group:
            squares = state["square_avg"]
            if group["centered"]:
                squares = (squares - state["grad_avg"] ** 2).clamp(min=0)
        else:
            squares = torch.zeros_like(p)
        parts.append(squares.detach().flatten())
    return torch.cat(parts)
