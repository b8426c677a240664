"""The mean loss of a model on a batch, as one callable thing: model, loss and how the output is read."""

import copy
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from probes.batch import Batch
from probes.losses import Loss
from spectra.errors import DerivativeError, SpectraError, TaskError

__all__ = ["Objective", "forward", "unwrapped"]


def forward(model: nn.Module, batch: Batch, output: Callable[[Any], Tensor] | None = None) -> Tensor:
    """Run the model on a batch and read the output that the loss is given.

    Parameters
    ----------
    model : torch.nn.Module
        Called as ``model(*inputs)`` for a tuple or list of inputs and as ``model(**inputs)`` for a mapping, when its
        ``forward`` accepts that; otherwise as ``model(inputs)``.
    batch : Batch
        On the model's device.
    output : callable, optional
        Takes what the model returns, gives the tensor for the loss. Without it a tensor is taken as it is and
        ``logits`` of a mapping or object is taken by name.

    Raises
    ------
    TaskError
        The model cannot be run on the batch, or its output cannot be read.
    """
    try:
        result = _call(model, batch.inputs)
        result = result if output is None else output(result)
    except (SpectraError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        shapes = _describe(batch.inputs)
        raise TaskError(
            f"{type(model).__name__} could not be run on a batch of {batch.size} samples with inputs {shapes}: "
            f"{type(error).__name__}: {error}"
        ) from error
    if isinstance(result, Tensor):
        return result
    logits = result.get("logits") if isinstance(result, Mapping) else getattr(result, "logits", None)
    if isinstance(logits, Tensor):
        return logits
    keys = f" with keys {list(result)}" if isinstance(result, Mapping) else ""
    raise TaskError(
        f"{type(model).__name__} returned a {type(result).__name__}{keys}, not a tensor and nothing with 'logits'. "
        "Pass output=, a callable that takes it and returns the tensor for the loss."
    )


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the plain module under ``torch.compile``, which cannot be differentiated twice."""
    return getattr(model, "_orig_mod", model)


@dataclass(frozen=True)
class Objective:
    """``L_j``, the mean loss on one batch as a function of the model's live parameters.

    Attributes
    ----------
    model : torch.nn.Module
        The live model, in whatever mode it is.
    loss : probes.losses.Loss
        From :func:`probes.losses.read_loss`.
    output : callable or None
        See :func:`forward`.
    """

    model: nn.Module
    loss: Loss
    output: Callable[[Any], Tensor] | None = None

    def outputs(self, batch: Batch) -> Tensor:
        """Return the model's outputs, connected to its parameters."""
        return forward(self.model, batch, self.output)

    def value(self, batch: Batch) -> Tensor:
        """Return the loss of the batch, a scalar connected to the parameters."""
        value = self.loss.value(self.outputs(batch), batch.target)
        if not value.requires_grad:
            raise DerivativeError(
                f"the loss of {type(self.model).__name__} does not depend on any trainable parameter: the graph is "
                "cut. Look for detach(), torch.no_grad(), .data, .item() or NumPy in forward, output= or the loss."
            )
        return value

    def double(self) -> "Objective":
        """Return an independent copy in float64 (may raise whatever copying the model raises)."""
        output = copy.deepcopy(self.output) if isinstance(self.output, nn.Module) else self.output
        # Results of an earlier forward pass kept as attributes (by weight_norm's hook, say) refuse to be copied.
        kept = [
            value
            for module in self.model.modules()
            for value in vars(module).values()
            if isinstance(value, Tensor) and not value.is_leaf
        ]
        memo = {id(value): value.detach().double() for value in kept}
        return Objective(copy.deepcopy(self.model, memo).double(), self.loss.to(torch.float64), output)


def _call(model: nn.Module, inputs: Any) -> Any:
    if isinstance(inputs, Mapping):
        if _accepts(model, (), {str(key): value for key, value in inputs.items()}):
            return model(**inputs)
        return model(next(iter(inputs.values())) if len(inputs) == 1 else inputs)
    if isinstance(inputs, tuple | list) and _accepts(model, tuple(inputs), {}):
        return model(*inputs)
    return model(inputs)


def _accepts(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether ``forward`` can be called with these arguments, by its signature."""
    try:
        inspect.signature(model.forward).bind(*args, **kwargs)
    except TypeError:
        return False
    except ValueError:
        return True
    return True


def _describe(tree: Any) -> str:
    if isinstance(tree, Tensor):
        return f"{tuple(tree.shape)} {str(tree.dtype).removeprefix('torch.')}"
    if isinstance(tree, Mapping):
        return "{" + ", ".join(f"{key}: {_describe(value)}" for key, value in tree.items()) + "}"
    if isinstance(tree, tuple | list):
        return "(" + ", ".join(_describe(value) for value in tree) + ")"
    return type(tree).__name__
