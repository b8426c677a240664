r"""Layers replaced, for the time of a product, by equal ones whose second derivatives are right, exist, or cost less.

PyTorch's second derivative of ``weight_norm`` is wrong, ``EmbeddingBag`` and ``cdist`` have none, and that of
convolutions runs convolutions with the output as a filter. Written with simpler operations, or with derivatives of
their own, the same functions can be differentiated twice. The model is not touched: calls of these functions are caught
while it runs.

The self-check compares products of the replaced functions with differences of the model as it is.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from probes.operators.convolution import convolution

__all__ = ["Rewriting", "is_recorded_for_later", "rewritten"]


#: Nothing; what PyTorch gets wrong or cannot do; also what costs less where the live graph is differentiated twice
#: (convolutions, and batch normalization in eval mode: forward mode and ``vmap`` are faster with PyTorch's own).
Rewriting = Literal["none", "necessary", "all"]


def rewritten(rewriting: Rewriting = "necessary") -> AbstractContextManager[object]:
    """Replace layers for the duration of the block, in which the model is to be run forward."""
    if rewriting == "none":
        return nullcontext()
    return _Rewriting(_ALL if rewriting == "all" else _NECESSARY)


class _Rewriting(TorchFunctionMode):
    """Catches calls of some functions; a replacement may decline by returning ``NotImplemented``."""

    def __init__(self, table: dict[Any, Callable[..., Any]]) -> None:
        super().__init__()
        self._table = table

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        replacement = self._table.get(func)
        # Checkpointing runs the model again in the backward pass, where nothing is caught, and wants the same calls.
        if replacement is not None and not is_recorded_for_later():
            result = replacement(*args, **(kwargs or {}))
            if result is not NotImplemented:
                return result
        return func(*args, **(kwargs or {}))


def is_recorded_for_later() -> bool:
    """Whether somebody, such as checkpointing, handles the tensors that autograd saves here."""
    hooks = getattr(torch._C._autograd, "_top_saved_tensors_default_hooks", None)
    return hooks is not None and hooks(True) is not None


def _weight_norm(v: Tensor, g: Tensor, dim: int = 0) -> Tensor:
    """Return ``g v / ||v||``, the norm over all axes but ``dim`` (Salimans and Kingma 2016, equation 2)."""
    if dim == -1:
        return v * (g / torch.linalg.vector_norm(v))
    axes = [axis for axis in range(v.ndim) if axis != dim % v.ndim]
    return v * (g / v.square().sum(axes, keepdim=True).sqrt())


def _embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Any:
    """Return sums or means of embeddings, bag by bag."""
    if mode not in ("sum", "mean") or max_norm is not None or scale_grad_by_freq:
        return NotImplemented
    codes = input.reshape(-1)
    if input.ndim == 2:
        bags = torch.arange(len(input), device=input.device).repeat_interleave(input.shape[1])
        count = len(input)
    elif offsets is None:
        return NotImplemented
    else:
        count = len(offsets) - int(include_last_offset)
        ends = torch.cat([offsets[1:count], offsets.new_tensor([len(codes)])])
        bags = torch.arange(count, device=input.device).repeat_interleave(ends - offsets[:count])
    rows = functional.embedding(codes, weight)
    if per_sample_weights is not None:
        rows = rows * per_sample_weights.reshape(-1, 1)
    kept = torch.ones_like(codes, dtype=weight.dtype)
    if padding_idx is not None:
        kept = (codes != padding_idx % len(weight)).to(weight.dtype)
        rows = rows * kept[:, None]
    total = torch.zeros(count, weight.shape[1], dtype=rows.dtype, device=rows.device).index_add(0, bags, rows)
    if mode == "sum":
        return total
    sizes = torch.zeros(count, dtype=weight.dtype, device=rows.device).index_add(0, bags, kept)
    return total / sizes.clamp(min=1)[:, None]


def _cdist(x1: Tensor, x2: Tensor, p: float = 2.0, compute_mode: str | None = None) -> Tensor:
    """Return distances of all pairs; their derivative at distance 0 is 0, as that of ``torch.cdist``."""
    return torch.linalg.vector_norm(x1.unsqueeze(-2) - x2.unsqueeze(-3), ord=p, dim=-1)


def _batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    """Return ``a x + b`` for each channel: batch normalization with running statistics."""
    if training or running_mean is None or running_var is None:
        return NotImplemented
    factor = torch.rsqrt(running_var + eps)
    factor = factor if weight is None else weight * factor
    shift = -running_mean * factor if bias is None else bias - running_mean * factor
    shape = (1, -1) + (1,) * (input.ndim - 2)
    return input * factor.reshape(shape) + shift.reshape(shape)


_NECESSARY: dict[Any, Callable[..., Any]] = {
    torch._weight_norm: _weight_norm,
    functional.embedding_bag: _embedding_bag,
    torch.cdist: _cdist,
}
_ALL: dict[Any, Callable[..., Any]] = {
    **_NECESSARY,
    functional.batch_norm: _batch_norm,
    torch.conv1d: convolution,
    torch.conv2d: convolution,
    torch.conv3d: convolution,
}
