"""The mean loss of a model on a batch, as one callable thing: model, loss and how the output is read."""

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from probes.batch import Batch
from probes.losses import Loss, LossLike
from probes.model_loss import ModelLoss, read_any_loss
from probes.out_of_memory import naming_out_of_memory
from probes.state import frozen_randomness
from probes.unwrapping import unwrapped
from spectra.errors import ArgumentError, DerivativeError, SpectraError, TaskError

__all__ = ["ModelLoss", "Objective", "Quantity", "forward", "read_objective", "unwrapped"]

#: What can be asked of a batch: its loss, the outputs of the model, or what each sample contributes to the loss.
Quantity = Literal["loss", "outputs", "sample_values"]

_CASTS = {torch.float64: "double", torch.float32: "float", torch.bfloat16: "bfloat16", torch.float16: "half"}


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
        with naming_out_of_memory():
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


@dataclass(frozen=True)
class Objective:
    """``L_j``, the mean loss on one batch as a function of the model's live parameters.

    Attributes
    ----------
    model : torch.nn.Module
        The live model, in whatever mode it is.
    loss : probes.losses.Loss
        From :func:`probes.model_loss.read_any_loss`.
    output : callable or None
        See :func:`forward`.
    seed : int or None
        With it every single evaluation draws the same random numbers, so that the masks of active dropout are fixed.
    """

    model: nn.Module
    loss: Loss
    output: Callable[[Any], Tensor] | None = None
    seed: int | None = None

    @property
    def reduction(self) -> Literal["mean", "sum"]:
        """What the loss does over the samples of a batch."""
        return self.loss.reduction

    @property
    def needs_target(self) -> bool:
        """Whether the loss compares outputs with a target, so that batches must have one."""
        return not isinstance(self.loss, ModelLoss)

    def outputs(self, batch: Batch) -> Tensor:
        """Return the model's outputs, connected to its parameters.

        Raises
        ------
        TaskError
            The model cannot be run on the batch, or the loss is a :class:`ModelLoss`, which has no outputs.
        """
        if isinstance(self.loss, ModelLoss):
            return self.loss.outputs()
        with self._drawing():
            return forward(self.model, batch, self.output)

    def evaluate(self, batch: Batch) -> Tensor:
        """Return the loss of the batch, a scalar, whether or not it depends on the parameters."""
        if isinstance(self.loss, ModelLoss):
            with self._drawing():
                return self.loss.evaluate(self.model, batch)
        return self.loss.value(self.outputs(batch), batch.target)

    def value(self, batch: Batch) -> Tensor:
        """Return the loss of the batch, a scalar connected to the parameters.

        Raises
        ------
        DerivativeError
            The model's own parameters are trainable and gradients recorded, but the loss depends on none of them.
        """
        value = self.evaluate(batch)
        # Under torch.func the parameters are plain tensors, and only PyTorch knows what is being differentiated.
        live = torch.is_grad_enabled() and any(p.requires_grad for p in self.model.parameters())
        if live and not value.requires_grad:
            hint = " Does the loss use the model that it is given?" if isinstance(self.loss, ModelLoss) else ""
            raise DerivativeError(
                f"the loss of {type(self.model).__name__} does not depend on any trainable parameter: the graph is "
                "cut. Look for detach(), torch.no_grad(), .data, .item() or NumPy in forward, output= or the loss."
                + hint
            )
        return value

    def quantity(self, batch: Batch, name: Quantity) -> Tensor:
        """Return the loss, the outputs, or what each sample contributes to the loss, by name."""
        if name == "outputs":
            return self.outputs(batch)
        if name == "loss":
            return self.evaluate(batch)
        if isinstance(self.loss, ModelLoss):
            raise TaskError(
                f"the loss {self.loss.name} takes the model and a batch as a whole, so there are no losses of single "
                "samples. Pass a loss(output, target), or batches of one sample each and batch_gradients()."
            )
        return self.loss.sample_values(self.outputs(batch), batch.target)

    def weight(self, batch: Batch) -> float:
        """Return :math:`D_j`, the denominator of the mean over the batch, by which it counts (1 for sums)."""
        if isinstance(self.loss, ModelLoss):
            return self.loss.batch_weight(batch)
        return self.loss.weight(None, batch.target, batch.size)

    def functional(
        self, names: Sequence[str], *, value: Quantity = "loss"
    ) -> Callable[[Sequence[Tensor], Batch], Tensor]:
        """Return what :meth:`quantity` returns as a pure function of some parameters, for ``torch.func``.

        Parameters
        ----------
        names : sequence of str
            Of parameters of the model. Parameters tied to them follow; all others are constants.
        value : {"loss", "outputs", "sample_values"}
            What is returned.

        Returns
        -------
        callable
            ``(tensors, batch) -> tensor``, tensors in the order of ``names``. Every call works on clones of the
            buffers, so that running statistics may be written to under ``jvp`` and ``vmap``, and the model's own do
            not move.

        Raises
        ------
        ArgumentError
            The model has no such parameter.

        Notes
        -----
        ``torch.func`` refuses what only the live model allows: activation checkpointing, ``requires_grad_`` inside the
        loss (derivatives by inputs), an ``autograd.Function`` without ``setup_context``. Double backward through
        :meth:`value` serves those.
        """
        known = dict(self.model.named_parameters(remove_duplicate=False))
        unknown = [name for name in names if name not in known]
        if unknown:
            raise ArgumentError(
                f"{type(self.model).__name__} has no parameter {unknown[0]!r}; it has {list(known)[:8]}."
            )
        wrapper = _Evaluation(self, value)

        def function(tensors: Sequence[Tensor], batch: Batch) -> Tensor:
            state = {name: p.detach() for name, p in self.model.named_parameters()}
            state.update((name, buffer.detach().clone()) for name, buffer in self.model.named_buffers())
            own = {id(known[name]): tensor for name, tensor in zip(names, tensors, strict=True)}
            state.update((name, own[id(p)]) for name, p in self.model.named_parameters() if id(p) in own)
            return functional_call(wrapper, {f"model.{name}": t for name, t in state.items()}, (batch,))

        return function

    def to(self, dtype: torch.dtype) -> "Objective":
        """Return an independent copy whose real floating-point parameters and buffers have another dtype.

        May raise whatever copying the model raises. Half-precision models are measured on a float32 copy.

        Raises
        ------
        ArgumentError
            Not a real floating-point dtype.
        """
        if dtype not in _CASTS:
            raise ArgumentError(f"a model can be cast to {', '.join(map(str, _CASTS))}; got {dtype}.")
        output = copy.deepcopy(self.output) if isinstance(self.output, nn.Module) else self.output
        # Results of an earlier forward pass kept as attributes (by weight_norm's hook, say) refuse to be copied.
        kept = [
            value
            for module in self.model.modules()
            for value in vars(module).values()
            if isinstance(value, Tensor) and not value.is_leaf
        ]
        memo = {id(value): value.detach().to(dtype) for value in kept}
        # Not .to(dtype), which would drop the imaginary parts of complex parameters.
        model = getattr(copy.deepcopy(self.model, memo), _CASTS[dtype])()
        return Objective(model, self.loss.to(dtype), output, self.seed)

    def seeded(self, seed: int | None) -> "Objective":
        """Return the same objective with random numbers from ``seed``; batches should have different ones."""
        return replace(self, seed=seed)

    def double(self) -> "Objective":
        """Return an independent copy in float64; see :meth:`to`."""
        return self.to(torch.float64)

    def _drawing(self) -> AbstractContextManager[None]:
        if self.seed is None:
            return nullcontext()
        return frozen_randomness(self.seed, *{p.device for p in self.model.parameters()})


def read_objective(
    model: nn.Module, loss: LossLike | Callable[..., Tensor], *, output: Callable[[Any], Tensor] | None = None
) -> Objective:
    """Read model and loss as the user gives them: wrappers off, the loss of either kind.

    Raises
    ------
    TaskError
        The model is scripted or sharded, the loss cannot be read, or ``output`` comes with a loss that runs the model
        itself.
    """
    read = read_any_loss(loss)
    if isinstance(read, ModelLoss) and output is not None:
        raise TaskError(
            f"the loss {read.name} takes the model and the batch, so output= is never called. Leave it out, or pass a "
            "loss(output, target)."
        )
    return Objective(unwrapped(model), read, output)


class _Evaluation(nn.Module):
    """Evaluates an objective, so that parameters of the model can be replaced whatever the loss does with it."""

    def __init__(self, objective: Objective, value: Quantity) -> None:
        super().__init__()
        self.model = objective.model
        self._objective, self._value = objective, value

    def forward(self, batch: Batch) -> Tensor:
        return self._objective.quantity(batch, self._value)


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
