"""Losses that take the model and the batch, instead of an output and a target."""

import functools
import inspect
import math
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from probes.batch import Batch
from probes.losses import Loss, LossLike, read_loss
from spectra.errors import ArgumentError, SpectraError, TaskError

__all__ = ["ModelLoss", "read_any_loss"]


class ModelLoss(Loss):
    r"""A loss ``function(model, batch) -> scalar`` that runs the model itself.

    For losses that are no function of one output and a target: residuals of differential equations, which
    differentiate the model with respect to its inputs; contrastive losses; models that return their own loss. A plain
    callable whose first parameter is named ``model`` is read as one without being wrapped. Its Hessian can be formed;
    its Gauss-Newton matrix cannot, since nobody says where the outputs end and the loss begins.

    Parameters
    ----------
    function : callable
        ``(model, batch) -> tensor with one number``. It must use the ``model`` that it is given: copies are passed too.
        ``batch`` comes as the data gave it (a tensor, a pair, a mapping, a dataclass), arrays turned into tensors, on
        the model's device.
    weight : callable, optional
        ``batch -> float``: the denominator :math:`D_j` of the mean of a batch, by which batches of unequal size count.
        By default the number of samples: the length of the first tensor, or of the target where there is one under a
        usual key. A mean over tokens needs their number: ``lambda batch: float((batch["labels"] != -100).sum())``.
    reduction : {"mean", "sum"}
        What ``function`` returns of a batch. For ``"sum"`` the operator is of the sum over all batches.
    name : str, optional
        For messages and records; the function's own name by default.

    Raises
    ------
    ArgumentError
        ``reduction`` is something else, or ``function`` or ``weight`` is not callable.

    Examples
    --------
    >>> import torch
    >>> loss = ModelLoss(lambda model, points: model(points).square().mean())
    >>> model = torch.nn.Linear(1, 1, bias=False)
    >>> with torch.no_grad():
    ...     _ = model.weight.fill_(2.0)
    >>> loss.evaluate(model, Batch(torch.tensor([[1.0], [3.0]]), None, 2)).item()
    20.0
    """

    def __init__(
        self,
        function: Callable[[nn.Module, Any], Tensor],
        *,
        weight: Callable[[Any], float] | None = None,
        reduction: Literal["mean", "sum"] = "mean",
        name: str | None = None,
    ) -> None:
        if not callable(function) or not (weight is None or callable(weight)):
            raise ArgumentError(
                "ModelLoss takes a callable (model, batch) -> mean and, as weight=, one batch -> float; got "
                f"{function!r:.60} and {weight!r:.60}."
            )
        if reduction not in ("mean", "sum"):
            raise ArgumentError(f"reduction must be 'mean' or 'sum'; got {reduction!r}.")
        super().__init__(function, name=name or _name(function), reduction=reduction)
        self._weight = weight

    def evaluate(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the loss of a batch, a tensor without axes.

        Gradients are recorded while the function runs, since it may need some itself; the result carries a graph only
        where the caller records gradients too.

        Raises
        ------
        TaskError
            The function cannot be evaluated or does not return one number.
        """
        recorded = torch.is_grad_enabled()
        try:
            with torch.enable_grad():
                value = self.function(model, batch.whole)
        except (SpectraError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            raise TaskError(
                f"the loss {self.name} failed on {type(model).__name__} and a batch of {batch.size} samples, a "
                f"{type(batch.whole).__name__}: {type(error).__name__}: {error}"
            ) from error
        if not isinstance(value, Tensor) or value.numel() != 1:
            came = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            raise TaskError(
                f"the loss {self.name} must return one number as a tensor, the {self.reduction} over the samples of a "
                f"batch; got {came}."
            )
        return value.reshape(()) if recorded else value.detach().reshape(())

    def batch_weight(self, batch: Batch) -> float:
        """Return :math:`D_j`, by which the mean of a batch counts (1 for sums).

        Raises
        ------
        TaskError
            ``weight=`` did not return a finite number that is at least 0.
        """
        if self.reduction == "sum":
            return 1.0
        if self._weight is None:
            return float(batch.size)
        value = float(self._weight(batch.whole))
        if not math.isfinite(value) or value < 0:
            raise TaskError(f"weight= of the loss {self.name} must return a finite number >= 0; got {value}.")
        return value

    def value(self, output: Tensor, target: Any) -> Tensor:
        """Raise :class:`TaskError`: there is no output and no target."""
        raise self._needs_outputs("its value from outputs alone")

    def weight(self, output: Tensor | None, target: Any, size: int) -> float:
        """Return what :meth:`batch_weight` does, where the number of samples is enough to know."""
        if self._weight is not None and self.reduction == "mean":
            raise self._needs_outputs("its weight without the whole batch")
        return super().weight(output, target, size)

    def sample_values(self, output: Tensor, target: Any) -> Tensor:
        """Raise :class:`TaskError`: the function returns one number for a batch, not one for each sample."""
        raise self._needs_outputs("losses of single samples")

    def hessian_product(self, output: Tensor, target: Any, vector: Tensor) -> Tensor:
        """Raise :class:`TaskError`: there is no output Hessian."""
        raise self._needs_outputs("an output Hessian")

    def outputs(self) -> Tensor:
        """Raise :class:`TaskError`: only a loss of outputs and target has outputs."""
        raise self._needs_outputs("outputs")

    def _needs_outputs(self, what: str) -> TaskError:
        return TaskError(
            f"the loss {self.name} takes the model and the batch, so there is no telling {what}: Gauss-Newton and "
            "Fisher matrices need loss(output, target). Measure the Hessian, or split the loss into output= and "
            "loss(output, target)."
        )

    def _no_likelihood(self) -> TaskError:
        return self._needs_outputs("a likelihood of outputs")

    def _no_root(self) -> TaskError:
        return self._needs_outputs("a factor of the output Hessian")


def read_any_loss(loss: LossLike | Callable[..., Tensor]) -> Loss:
    """Read a loss: ``(model, batch)`` if its first parameter is named ``model``, otherwise ``(output, target)``.

    Raises
    ------
    TaskError
        Not callable, or ``reduction="none"``.

    Examples
    --------
    >>> def residual(model, points):
    ...     return model(points).square().mean()
    >>> read_any_loss(residual).name, isinstance(read_any_loss(residual), ModelLoss)
    ('residual', True)
    """
    if isinstance(loss, Loss) or not callable(loss) or _first_parameter(loss) != "model":
        return read_loss(loss)
    keywords = loss.keywords if isinstance(loss, functools.partial) else {}
    reduction = getattr(loss, "reduction", keywords.get("reduction", "mean"))
    if reduction == "none":
        raise TaskError(f"the loss {_name(loss)} has reduction='none'; curvature needs one number: 'mean' or 'sum'.")
    return ModelLoss(loss, reduction="sum" if reduction == "sum" else "mean")


def _first_parameter(loss: Callable[..., Any]) -> str:
    """Name the first parameter that ``loss`` can be given by position, or return an empty string."""
    try:
        signature = inspect.signature(loss.forward if isinstance(loss, nn.Module) else loss)
    except (TypeError, ValueError):
        return ""
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    names = [name for name, parameter in signature.parameters.items() if parameter.kind in positional]
    return names[0] if len(names) > 1 else ""


def _name(function: Any) -> str:
    while isinstance(function, functools.partial):
        function = function.func
    return getattr(function, "__name__", type(function).__name__)
