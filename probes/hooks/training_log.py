"""Cheap scalars of every training step, kept on their device until they are written."""

from typing import Any

import torch
from torch import Tensor, optim

from spectra.errors import ShapeError

__all__ = ["TrainingLog", "as_number", "kept_loss"]

#: Rows kept at most while they cannot be written; then the oldest are dropped.
MAX_PENDING = 100_000


class TrainingLog:
    """Loss, learning rate and gradient norms by step, waiting to be written.

    Nothing is read from an accelerator until :meth:`take`, so that training does not wait for it.

    Parameters
    ----------
    wants_l1 : bool
        Whether to note ``||g||_1`` too, the weight of a step in schedules for Adam (Defazio et al. 2023).

    Examples
    --------
    >>> w = torch.nn.Parameter(torch.zeros(2))
    >>> w.grad = torch.tensor([3.0, -4.0])
    >>> log = TrainingLog(wants_l1=True)
    >>> log.note(7, optimizer=torch.optim.Adam([w], lr=0.1), learning_rate=0.1, loss=None)
    >>> row = log.take()[0]
    >>> row["gradient_norm"], row["gradient_l1_norm"], row["training_step"]
    (5.0, 7.0, 7.0)
    """

    def __init__(self, *, wants_l1: bool) -> None:
        self.wants_l1 = wants_l1
        self._rows: list[dict[str, Any]] = []

    def __len__(self) -> int:
        """Return the number of rows that wait."""
        return len(self._rows)

    @torch.no_grad()
    def note(self, step: int, *, optimizer: optim.Optimizer | None, learning_rate: float, loss: Any) -> None:
        """Note one step; the gradients are read where the optimizer's parameters hold them."""
        row: dict[str, Any] = {"training_step": step, "step_learning_rate": learning_rate}
        if loss is not None:
            row["step_loss"] = loss
        if optimizer is not None:
            gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
            if gradients:
                row["gradient_norm"] = _norm(gradients, 2)
                if self.wants_l1:
                    row["gradient_l1_norm"] = _norm(gradients, 1)
        self._rows.append(row)
        if len(self._rows) > MAX_PENDING:
            del self._rows[: MAX_PENDING // 10]

    def take(self) -> list[dict[str, float]]:
        """Return the rows as plain numbers and forget them; what is no number becomes NaN."""
        rows = [{name: as_number(value) for name, value in row.items()} for row in self._rows]
        self._rows = []
        return rows

    def add_loss(self, step: int, loss: Any) -> None:
        """Add the loss to the latest row, if it is that of this step and has none."""
        if self._rows and self._rows[-1]["training_step"] == step:
            self._rows[-1].setdefault("step_loss", loss)

    def put_back(self, rows: list[dict[str, float]]) -> None:
        """Keep rows that could not be written, in front of those that came since."""
        self._rows = [*rows, *self._rows][-MAX_PENDING:]


def kept_loss(loss: Any) -> Tensor | float:
    """Return a loss as it is now: a copy of a tensor, which is not read, or a number.

    Raises
    ------
    ShapeError
        A tensor of several numbers.
    TypeError, ValueError
        Something else that is no number.

    Examples
    --------
    >>> static = torch.ones(())
    >>> kept = kept_loss(static)
    >>> static.zero_(), kept
    (tensor(0.), tensor(1.))
    """
    if not isinstance(loss, Tensor):
        return float(loss)
    if loss.numel() != 1:
        raise ShapeError(f"the loss of a step must be one number; got a tensor of shape {tuple(loss.shape)}")
    return loss.detach().clone()


def as_number(value: Any) -> float:
    """Return a value as a float, NaN where it is none."""
    try:
        return float(value)
    except Exception:
        return float("nan")


def _norm(tensors: list[Tensor], order: int) -> Tensor:
    """Return the norm of all entries together, on the device of the first."""
    dense = [tensor.coalesce().values() if tensor.is_sparse else tensor for tensor in tensors]
    norms = torch._foreach_norm(dense, order)
    home = norms[0].device
    stacked = torch.stack([norm.to(home, torch.float32) for norm in norms])
    return torch.linalg.vector_norm(stacked, order)
