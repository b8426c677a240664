"""Whether an operand fits an operator, with an error that says what would."""

from torch import Tensor

from spectra.errors import BackendError, ShapeError

__all__ = ["require_operand"]


def require_operand(operand: object, *, rows: int, like: Tensor, owner: object) -> Tensor:
    """Return the operand, (rows,) or (rows, k), detached, as columns (rows, k).

    Raises
    ------
    BackendError
        No torch tensor, or another dtype or device than those of ``like``.
    ShapeError
        Another number of rows or axes, or no column.
    """
    name = type(owner).__name__
    if not isinstance(operand, Tensor):
        raise BackendError(
            f"{name} multiplies torch tensors of {like.dtype} on {like.device}; got a {type(operand).__name__}. "
            "Convert with torch.as_tensor(x).to(operator.like)."
        )
    if operand.ndim not in (1, 2) or operand.shape[0] != rows or (operand.ndim == 2 and not operand.shape[1]):
        raise ShapeError(f"the operand must have shape ({rows},) or ({rows}, k), k >= 1; got {tuple(operand.shape)}.")
    if operand.dtype != like.dtype or operand.device != like.device:
        raise BackendError(
            f"the operand must be {like.dtype} on {like.device}; got {operand.dtype} on {operand.device}. Convert with "
            "x.to(operator.like)."
        )
    return operand.detach().reshape(rows, -1)
