"""What a matrix is measured on: a model, a loss, parameters and data in a fixed order, evaluated batch by batch."""

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from probes.autocast import Precision
from probes.batches import Batch, Batches
from probes.losses import LossLike
from probes.objective import Quantity, read_objective
from probes.operators.causes import refuse_unsuitable
from probes.operators.explanations import explained, require_finite, require_finite_loss
from probes.operators.pieces import Piece
from probes.operators.rows import joined
from probes.out_of_memory import naming_out_of_memory
from probes.parameters import ParameterSpec, select
from probes.state import differentiable, preserved
from spectra.errors import BackendError, OutOfMemoryError, TaskError

__all__ = ["Workload"]


class Workload:
    """The loss of a model over batches, with everything that evaluating it safely takes.

    Parameters
    ----------
    model, loss, data, parameters, output, micro_batch, dtype, dropout_seed
        As for :class:`probes.operators.base.CurvatureOperator`.

    Attributes
    ----------
    objective : Objective
        Of the live model, or of a copy in another precision that follows it.
    parameters : dict of str to torch.nn.Parameter
        Those measured, in order.
    batches : Batches
        Micro-batches.
    weights : list of float
        What the mean loss of each batch divides by; 0 where all targets are ignored.
    dtype, device
        Of the parameters.
    remarks : list of str
        What a reader of results should know about precision.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: LossLike,
        data: Any,
        *,
        parameters: ParameterSpec = None,
        output: Callable[[Any], Tensor] | None = None,
        micro_batch: int | None = None,
        dtype: torch.dtype | None = None,
        dropout_seed: int | None = None,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise TaskError(f"model must be a torch.nn.Module; got {type(model).__name__}.")
        self.remarks: list[str] = []
        self.objective = read_objective(model, loss, output=output).seeded(dropout_seed)
        self.source = self.objective.model
        self.parameters = select(self.source, parameters, allow_half=True)
        own = next(iter(self.parameters.values())).dtype
        self._adopt(own, dtype)
        first = next(iter(self.parameters.values()))
        self.dtype, self.device = first.dtype, first.device
        self.batches = Batches(
            data,
            device=self.device,
            dtype=None if self.dtype == own else self.dtype,
            paired=self.objective.needs_target,
        )
        if micro_batch is not None:
            self.batches = self.batches.split(micro_batch)
        self.dropout_seed = dropout_seed
        refuse_unsuitable(self.model, num_batches=len(self.batches), dropout_seed=dropout_seed)
        self.weights: list[float] = []
        self._weigh()
        self._used: set[str] = set()
        self._seen: set[int] = set()
        self._warned = False

    @property
    def model(self) -> nn.Module:
        """The model that is evaluated."""
        return self.objective.model

    @property
    def size(self) -> int:
        """Number of coordinates n."""
        return sum(p.numel() for p in self.parameters.values())

    def counted(self) -> Iterator[tuple[int, Batch]]:
        """Yield number and content of every batch that has a sample that counts."""
        for index, batch in enumerate(self.batches):
            if self.weights[index]:
                yield index, batch

    def share(self, index: int) -> float:
        """Return the factor of a batch's own mean in the mean over all data; 1 for sums."""
        if self.objective.reduction == "sum":
            return 1.0
        return self.weights[index] / math.fsum(self.weights)

    def piece(self, batch: Batch, index: int = 0) -> Piece:
        """Return a micro-batch, and its number, as a function of the parameters."""
        objective = self.objective
        if self.dropout_seed is not None:
            objective = objective.seeded(self.dropout_seed + index)
        return Piece(objective, tuple(self.parameters), tuple(self.parameters.values()), batch, index)

    @contextmanager
    def evaluating(self, index: int, batch: Batch) -> Iterator[None]:
        """Evaluate one batch: model preserved, double backward possible, PyTorch's errors explained."""
        with ExitStack() as stack:
            stack.enter_context(preserved(self.model))
            precision = stack.enter_context(differentiable(self.model))
            stack.callback(self._remark_on, precision)
            stack.enter_context(explained(self.objective, batch, f"batch {index}"))
            stack.enter_context(naming_out_of_memory())
            yield

    def loss(self) -> Tensor:
        """Return the loss over all data, without axes; summed in float64."""
        self.follow()
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        for index, batch in self.counted():
            with self.evaluating(index, batch), torch.no_grad():
                value = self.piece(batch, index).evaluate("loss", connected=False)
                total += self.share(index) * require_finite_loss(value, f"of batch {index}", batch).double()
        return total.to(self.dtype)

    def batch_gradients(self) -> Iterator[Tensor]:
        """Yield the gradient of each batch's own mean loss, flat, shape (n,); zero where all targets are ignored."""
        self.follow()
        tensors = tuple(self.parameters.values())
        for index, batch in enumerate(self.batches):
            if not self.weights[index]:
                yield torch.zeros(self.size, dtype=self.dtype, device=self.device)
                continue
            with self.evaluating(index, batch):
                value = require_finite_loss(self.piece(batch, index).evaluate("loss"), f"of batch {index}", batch)
                pieces = torch.autograd.grad(value, tensors, allow_unused=True)
                self._note_used(index, [piece is not None for piece in pieces])
                gradient = joined(pieces, tensors)
            require_finite(gradient, f"the gradient of batch {index}")
            yield gradient

    def follow(self) -> None:
        """Bring a copy in another precision to the present state of the model."""
        if self.model is self.source:
            return
        with torch.no_grad():
            for mine, theirs in (
                (dict(self.model.named_parameters()), self.source.named_parameters()),
                (dict(self.model.named_buffers()), self.source.named_buffers()),
            ):
                for name, tensor in theirs:
                    mine[name].copy_(tensor)

    def require_unmoved(self) -> None:
        """Raise unless the parameters have dtype and device as at the beginning.

        Raises
        ------
        BackendError
            If the model was moved.
        """
        parameter = next(iter(self.parameters.values()))
        if parameter.dtype != self.dtype or parameter.device != self.device:
            raise BackendError(
                f"the model has moved to {parameter.dtype} on {parameter.device} since the operator was built for "
                f"{self.dtype} on {self.device}; build a new operator."
            )

    def split(self, size: int, *, because: str) -> None:
        """Cut batches to at most ``size`` samples.

        Raises
        ------
        OutOfMemoryError
            If that would change the loss.
        """
        batches = self.batches.split(size)
        problem = "dropout masks depend on how the data are cut" if self.dropout_seed is not None else ""
        try:
            refuse_unsuitable(self.model, num_batches=len(batches), dropout_seed=self.dropout_seed)
        except TaskError as error:
            problem = str(error)
        if problem:
            raise OutOfMemoryError(f"{because}, and batches cannot be made smaller: {problem}")
        self.batches, self._seen = batches, set()
        self._weigh()

    def restricted(self, names: Sequence[str]) -> "Workload":
        """Return the same on some of the parameters.

        Raises
        ------
        TaskError
            A name that is not among those measured.
        """
        missing = [name for name in names if name not in self.parameters]
        if missing or not names:
            raise TaskError(f"some of the operator's parameters must be named; got {', '.join(missing) or 'none'}.")
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other.parameters = {name: p for name, p in self.parameters.items() if name in set(names)}
        other._used, other._seen, other._warned = set(), set(), False
        return other

    def look_for_unused(self, index: int, piece: Piece, used: list[bool] | None, quantity: Quantity) -> None:
        """Note once for each batch which parameters it uses; costs a gradient where that is not known."""
        if index in self._seen:
            return
        if used is None:
            value = piece.evaluate(quantity)
            found = torch.autograd.grad(value, piece.tensors, torch.ones_like(value), allow_unused=True)
            used = [gradient is not None for gradient in found]
        self._note_used(index, used)

    def warn_unused(self) -> None:
        """Warn once, after a complete pass, of parameters that no batch's loss depends on."""
        unused = [name for name in self.parameters if name not in self._used]
        if unused and not self._warned:
            self._warned = True
            warnings.warn(
                f"the loss does not depend on {len(unused)} of {len(self.parameters)} parameters: {', '.join(unused)}. "
                "Their rows and columns of the operator are zero.",
                UserWarning,
                stacklevel=5,
            )

    def _note_used(self, index: int, used: Sequence[bool]) -> None:
        self._seen.add(index)
        self._used.update(name for name, flag in zip(self.parameters, used, strict=True) if flag)

    def _adopt(self, own: torch.dtype, asked: torch.dtype | None) -> None:
        """Turn to a copy of the model where another precision is asked for, or the model's is too coarse."""
        if asked not in (None, torch.float32, torch.float64):
            raise BackendError(f"dtype must be torch.float32 or torch.float64; got {asked}.")
        wanted = asked or (own if own in (torch.float32, torch.float64) else torch.float32)
        if wanted == own:
            return
        self.remarks.append(
            f"products in {str(wanted).removeprefix('torch.')}, on a copy of a model in "
            f"{str(own).removeprefix('torch.')}"
        )
        self.objective = self.objective.to(wanted)
        named = dict(self.objective.model.named_parameters())
        self.parameters = {name: named[name] for name in self.parameters}

    def _remark_on(self, precision: Precision) -> None:
        remark = f"autocast regions of the model ran in {str(self.dtype).removeprefix('torch.')}"
        if precision.num_regions and remark not in self.remarks:
            self.remarks.append(remark)

    def _weigh(self) -> None:
        self.weights = [self.objective.weight(batch) for batch in self.batches]
        if math.fsum(self.weights) <= 0:
            raise TaskError("no sample counts: every target is ignored by the loss or has class weight 0.")
