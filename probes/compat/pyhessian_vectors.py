"""Vectors as PyHessian has them: lists of tensors of the parameters' shapes."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["get_params_grad", "group_add", "group_product", "hessian_vector_product", "normalization", "orthnormal"]


def group_product(xs: Sequence[Tensor], ys: Sequence[Tensor]) -> Tensor:
    """Return the inner product of two lists, a tensor without axes on their device.

    Examples
    --------
    >>> group_product([torch.ones(2), torch.ones(1)], [torch.full((2,), 3.0), torch.ones(1)])
    tensor(7.)
    """
    return torch.stack([(x * y).sum() for x, y in zip(xs, ys, strict=True)]).sum()


def group_add(params: Sequence[Tensor], update: Sequence[Tensor], alpha: Any = 1) -> Sequence[Tensor]:
    """Add ``alpha * update`` to ``params`` in place, as existing scripts rely on, and return them."""
    with torch.no_grad():
        for p, step in zip(params, update, strict=True):
            p.add_(step * alpha)
    return params


def normalization(v: Sequence[Tensor]) -> list[Tensor]:
    """Return v over its norm, at any scale; a zero vector stays zero.

    Examples
    --------
    >>> normalization([torch.tensor([3e-9]), torch.tensor([4e-9])])
    [tensor([0.6000]), tensor([0.8000])]
    """
    largest = torch.stack([x.abs().max() for x in v]).max()
    if largest == 0:
        return list(v)
    scaled = [x / largest for x in v]
    norm = group_product(scaled, scaled).sqrt()
    return [x / norm for x in scaled]


def orthnormal(w: Sequence[Tensor], v_list: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    """Return w made orthogonal to orthonormal vectors, twice against rounding, and normalized; w is not changed."""
    result = list(w)
    for _ in range(2):
        for v in v_list:
            overlap = group_product(result, v)
            result = [x - overlap * y for x, y in zip(result, v, strict=True)]
    return normalization(result)


def get_params_grad(model: nn.Module) -> tuple[list[nn.Parameter], list[Tensor]]:
    """Return the trainable parameters and copies of their ``grad``, zeros where there is none."""
    params = [p for p in model.parameters() if p.requires_grad]
    return params, [torch.zeros_like(p) if p.grad is None else p.grad + 0.0 for p in params]


def hessian_vector_product(
    gradsH: Sequence[Tensor], params: Sequence[Tensor], v: Sequence[Tensor]
) -> tuple[Tensor, ...]:
    """Differentiate ``gradsH' v``: the product with the Hessian, if ``gradsH`` carries the graph of the gradient.

    Examples
    --------
    >>> x = torch.tensor([1.0, 2.0], requires_grad=True)
    >>> gradient = torch.autograd.grad((x**3).sum(), x, create_graph=True)
    >>> hessian_vector_product(gradient, [x], [torch.ones(2)])
    (tensor([ 6., 12.]),)
    """
    curved = [i for i, g in enumerate(gradsH) if g.requires_grad]
    pieces = torch.autograd.grad(
        [gradsH[i] for i in curved], list(params), [v[i] for i in curved], retain_graph=True, allow_unused=True
    )
    return tuple(torch.zeros_like(p) if h is None else h for h, p in zip(pieces, params, strict=True))
