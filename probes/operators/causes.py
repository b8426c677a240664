"""Why a model cannot be measured: known causes, looked for in the model itself so that errors can name them."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._python_dispatch import TorchDispatchMode

from probes.batch import tensors_in
from probes.state import differentiable, preserved
from spectra.errors import NonDeterministicError, TaskError

__all__ = [
    "custom_functions",
    "derivative_hint",
    "forward_downcasts",
    "randomness",
    "refuse_unsuitable",
    "second_order_cause",
    "stop_gradient_cause",
    "uses_batch_statistics",
]

_HINTS = (
    (
        "_embedding_bag",
        "nn.EmbeddingBag with mode='max' has no second derivative in PyTorch: use nn.Embedding and amax.",
    ),
    (
        "cdist",
        "torch.cdist has no second derivative in PyTorch: take the root of the sum of squares yourself.",
    ),
    ("ctc_loss", "CTC loss has no second derivative in PyTorch."),
    ("multi_margin", "multi_margin_loss has no second derivative in PyTorch."),
    ("parse", "Sparse gradients cannot be differentiated twice: build nn.Embedding with sparse=False."),
    (
        "torch.func transforms don't yet support",
        "torch.func cannot run a custom autograd.Function or checkpointing: use the strategy 'kept_graph'.",
    ),
    (
        "requires_grad_() inside",
        "The loss differentiates by its inputs, which torch.func forbids: use the strategy 'kept_graph'.",
    ),
    ("donated", "A compiled part cannot be differentiated twice: pass the model without torch.compile."),
    ("aot_autograd", "A compiled part cannot be differentiated twice: pass the model without torch.compile."),
    (
        "once_differentiable",
        "An autograd.Function forbids a second derivative: make its backward differentiable.",
    ),
    ("not have been used in the graph", "Activation checkpointing needs use_reentrant=False."),
    ("checkpoint", "Activation checkpointing needs use_reentrant=False."),
    (
        "flash_attention",
        "Use attention through torch's scaled_dot_product_attention, or an eager implementation.",
    ),
    (
        "efficient_attention",
        "Use attention through torch's scaled_dot_product_attention, or an eager implementation.",
    ),
    ("does not require grad", "A parameter was frozen after the operator was built: build a new operator."),
    (
        "inplace operation",
        "An in-place operation overwrites what a derivative needs: use the out-of-place form.",
    ),
)


def derivative_hint(message: str) -> str:
    """Return one sentence of advice for an error message of PyTorch, or an empty string."""
    for fragment, hint in _HINTS:
        if fragment in message:
            return hint
    if "is not implemented" in message:
        return "This operation has no second derivative in PyTorch: write it with simpler ones."
    return ""


def refuse_unsuitable(model: nn.Module, *, num_batches: int, dropout_seed: int | None = None) -> None:
    """Raise for models whose loss is known not to be a fixed function of the parameters; costs no evaluation.

    Parameters
    ----------
    model : torch.nn.Module
        As it will be evaluated.
    num_batches : int
        In how many batches the data come.
    dropout_seed : int, optional
        Seed under which every batch is evaluated (see :func:`probes.state.frozen_randomness`); it makes layers that
        draw random numbers acceptable.

    Raises
    ------
    NonDeterministicError
        A layer draws random numbers in train mode, and there is no seed.
    TaskError
        Batch normalization in train mode with several batches, an embedding that rewrites its weight, or a parameter
        or buffer without values.
    """
    _refuse_without_values(model)
    for name, module in model.named_modules():
        if dropout_seed is None and _draws(module):
            raise NonDeterministicError(
                f"dropout, or another layer that draws random numbers, is active ({name or 'model'}: "
                f"{type(module).__name__} in {'train' if module.training else 'eval'} mode), so every product would be "
                "of another operator. Call model.eval() first, or fix what is drawn with dropout_seed=."
            )
        if isinstance(module, nn.Embedding | nn.EmbeddingBag) and module.max_norm is not None:
            raise TaskError(
                f"{name or 'model'}: {module} rescales its weight in the forward pass (max_norm), so measuring would "
                "change the model. Rescale once by hand and set max_norm=None."
            )
    coupled = uses_batch_statistics(model)
    if coupled and num_batches > 1:
        raise TaskError(
            f"batch normalization uses batch statistics ({coupled[0]}"
            + (f" and {len(coupled) - 1} more" if len(coupled) > 1 else "")
            + f"), so the loss of {num_batches} batches depends on how the data are cut. Call model.eval() first (the "
            "usual choice: running statistics), or pass the data as one single batch."
        )


def _refuse_without_values(model: nn.Module) -> None:
    """Raise for tensors on the meta device."""
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if tensor.is_meta:
            raise TaskError(
                f"{name!r} of {type(model).__name__} has a shape but no values (meta device). Give it some: "
                "model.to_empty(device=...), then load_state_dict or the model's own initialization."
            )


def _draws(module: nn.Module) -> bool:
    """Whether a layer of PyTorch's own draws random numbers in the mode it is in."""
    if isinstance(module, nn.FractionalMaxPool2d | nn.FractionalMaxPool3d):
        return module._random_samples is None
    if not module.training:
        return False
    if isinstance(module, nn.modules.dropout._DropoutNd):
        return module.p > 0
    if isinstance(module, nn.MultiheadAttention):
        return module.dropout > 0
    if isinstance(module, nn.RNNBase):
        return module.dropout > 0 and module.num_layers > 1
    return isinstance(module, nn.RReLU)


def uses_batch_statistics(model: nn.Module) -> list[str]:
    """Name the batch-normalization layers that couple the samples of a batch."""
    return [
        f"{name or 'model'}: {type(module).__name__}" + (" in train mode" if module.training else " without statistics")
        for name, module in model.named_modules()
        if isinstance(module, _BatchNorm) and (module.training or module.running_mean is None)
    ]


def randomness(model: nn.Module) -> str:
    """Say what in a model is likely to draw random numbers, in one sentence."""
    suspects = []
    for name, module in model.named_modules():
        rates = [getattr(module, key, None) for key in ("p", "dropout", "drop_prob", "attn_dropout")]
        if module.training and any(isinstance(rate, int | float) and 0 < rate <= 1 for rate in rates):
            suspects.append(f"{name or 'model'}: {type(module).__name__} in train mode")
    if suspects:
        return f"Likely dropout: {', '.join(suspects[:3])}. Call model.eval() first, or fix the masks by a seed."
    if model.training:
        return "The model is in train mode: something like dropout or noise may be active. Call model.eval() first."
    return "The forward pass or the loss draws random numbers or keeps a state from call to call. Fix it by a seed."


def stop_gradient_cause(model: nn.Module, custom: Sequence[str]) -> str:
    """Say why a gradient may not be the derivative of its loss, in one or two sentences."""
    causes = _spectral_norm_cause(model)
    if custom:
        causes.append(f"The hand-written autograd.Function {', '.join(custom)} may have a wrong backward.")
    causes.append(
        "Part of the graph is cut (detach(), torch.no_grad(), .data, a straight-through estimator, reentrant "
        "checkpointing). If that is meant, check=False treats the cut part as constant."
    )
    return " ".join(causes)


def second_order_cause(model: nn.Module, custom: Sequence[str]) -> str:
    """Say why a second derivative may be wrong although the first is right, in one or two sentences."""
    normalized = [
        name.partition(".parametrizations")[0]
        for name, module in model.named_modules()
        if type(module).__name__ == "_WeightNorm"
    ] + _hooked(model, "WeightNorm")
    if normalized:
        return (
            f"Cause: weight_norm on {', '.join(normalized[:3])}, whose second derivative is wrong in PyTorch. Write "
            "g * v / v.norm() as your own parametrization, or remove it (torch.nn.utils.parametrize."
            "remove_parametrizations) before measuring."
        )
    spectral = _spectral_norm_cause(model)
    if spectral:
        return spectral[0]
    if custom:
        return (
            f"Likely cause: the hand-written autograd.Function {', '.join(custom)}, whose backward is not itself "
            "differentiable (once_differentiable, detach or NumPy inside backward)."
        )
    return (
        "Some layer has a backward that is not differentiable, or a gradient cut inside it (detach(), "
        "torch.no_grad()). Find it by measuring parts of the model, with parameters=."
    )


def _spectral_norm_cause(model: nn.Module) -> list[str]:
    """Say that spectral normalization is active in train mode, if it is."""
    spectral = [
        name.partition(".parametrizations")[0]
        for name, module in model.named_modules()
        if type(module).__name__ == "_SpectralNorm" and module.training
    ]
    spectral += _hooked(model, "SpectralNorm", training=True)
    if not spectral:
        return []
    return [
        f"spectral_norm in train mode ({', '.join(spectral[:3])}) treats its power iteration as constant: call "
        "model.eval()."
    ]


def custom_functions(model: nn.Module, evaluate: Callable[[], Tensor]) -> list[str]:
    """Name the hand-written ``autograd.Function`` in the graph of what ``evaluate`` returns."""
    with preserved(model), differentiable(model):
        stack = [evaluate().grad_fn]
    found: set[str] = set()
    seen = set()
    while stack:
        node = stack.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if isinstance(node, torch.autograd.function.BackwardCFunction):
            found.add(type(node).__name__.removesuffix("Backward"))
        stack.extend(parent for parent, _ in node.next_functions)
    return sorted(found)


def forward_downcasts(evaluate: Callable[[], object]) -> str:
    """Return the dtype to which a float64 evaluation rounds on the way, or an empty string."""
    watch = _Downcasts()
    with watch:
        evaluate()
    return watch.lowest


class _Downcasts(TorchDispatchMode):
    """Notice operations that take float64 and give something coarser."""

    def __init__(self) -> None:
        super().__init__()
        self.lowest = ""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        taken = any(tensor.dtype == torch.float64 for tensor in tensors_in(args))
        for tensor in tensors_in(result):
            if taken and tensor.is_floating_point() and tensor.dtype != torch.float64:
                self.lowest = str(tensor.dtype).removeprefix("torch.")
        return result


def _hooked(model: nn.Module, kind: str, *, training: bool = False) -> list[str]:
    """Name the modules with a forward pre-hook of a class, as the old ``torch.nn.utils`` norms install."""
    return [
        name or "model"
        for name, module in model.named_modules()
        if any(type(hook).__name__ == kind for hook in module._forward_pre_hooks.values())
        and (module.training or not training)
    ]
