"""What PyTorch says, and what is not finite, in words a user can act on."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from probes.batch import Batch, tensors_in
from probes.objective import Objective
from probes.operators.causes import derivative_hint
from spectra.errors import DerivativeError, NonFiniteError, SpectraError, TaskError

__all__ = ["explained", "require_finite", "require_finite_loss"]


@contextmanager
def explained(objective: Objective, batch: Batch, where: str) -> Iterator[None]:
    """Turn PyTorch's errors about derivatives into a :class:`DerivativeError` that says what to do.

    Also those that were raised while the model or the loss ran, since a loss may differentiate the model itself.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except SpectraError as error:
        cause = error.__cause__
        if not isinstance(error, TaskError) or not isinstance(cause, RuntimeError | NotImplementedError):
            raise
        if not derivative_hint(str(cause)):
            raise
        raise _not_differentiable(objective, batch, where, cause) from error
    except (RuntimeError, NotImplementedError) as error:
        raise _not_differentiable(objective, batch, where, error) from error


def _not_differentiable(objective: Objective, batch: Batch, where: str, error: Exception) -> DerivativeError:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return DerivativeError(
        f"{type(objective.model).__name__} could not be differentiated on {where} ({batch.size} samples): "
        f"{lines[0]} {derivative_hint(str(error))}"
    )


def require_finite_loss(value: Tensor, where: str, batch: Batch) -> Tensor:
    """Return the loss of a batch, or say what is not finite: the data, or what the model makes of them."""
    if bool(torch.isfinite(value)):
        return value
    for part, tree in (("inputs", batch.inputs), ("target", batch.target)):
        for leaf in tensors_in(tree):
            bad = int((~torch.isfinite(leaf)).sum()) if leaf.is_floating_point() else 0
            if bad:
                raise NonFiniteError(
                    f"the loss {where} is {float(value.detach())}: its {part} contain {bad} values that are NaN or "
                    "infinite. Clean the data."
                )
    raise NonFiniteError(
        f"the loss {where} is {float(value.detach())} although its data are finite: the parameters are not finite, or "
        "the forward pass overflows or divides by zero. Look at the parameters, or measure in float64."
    )


def require_finite(values: Tensor, what: str) -> None:
    """Raise unless every entry is finite."""
    # The sum needs no memory; where it overflows or really is not finite, every entry is looked at.
    if not bool(torch.isfinite(values.sum())) and not bool(torch.isfinite(values).all()):
        raise NonFiniteError(
            f"{what} has {int((~torch.isfinite(values)).sum())} entries that are NaN or infinite although the loss is "
            "finite: a derivative is singular (sqrt or norm at 0, log of 0), or float32 overflows. "
            "Add a small constant inside the root, or measure in float64."
        )
