"""What all curvature operators share: data in a fixed order, an exact sum over batches, an untouched model."""

import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from probes.batches import Batch, Batches
from probes.losses import LossLike, read_loss
from probes.objective import Objective, forward, unwrapped
from probes.operators.causes import refuse_unsuitable
from probes.operators.explanations import explained, require_finite, require_finite_loss
from probes.parameters import ParameterSpec, flatten, select
from probes.state import differentiable, preserved
from spectra.errors import BackendError, ShapeError, TaskError

__all__ = ["CurvatureOperator", "forward"]


class CurvatureOperator(ABC):
    r"""A symmetric matrix of shape (n, n), n the number of trainable parameters, known by its products only.

    .. math:: A = \sum_j D_j A_j \Big/ \sum_j D_j

    with :math:`A_j` the matrix of batch j's own mean loss and :math:`D_j` what that mean divides by (number of samples,
    or class weight of the kept targets). So the result does not depend on how the data are cut into batches. For a
    loss with ``reduction="sum"`` it is the plain sum. Coordinates: the trainable parameters, flattened and joined in
    the order of ``model.named_parameters()``; the unit is loss per squared parameter.

    Products read the parameters that the model has *then*: after a training step the operator is that of the new
    parameters. The model is left as it was found: train/eval flags, buffers, gradients and random states.

    Parameters
    ----------
    model : torch.nn.Module
        In the mode in which its curvature is wanted (as a rule ``model.eval()``).
    loss : torch.nn loss or callable
        ``(output, target) -> scalar mean over samples``.
    data : iterable of batches, DataLoader, or one batch
        See :class:`probes.batches.Batches`; read once and kept.
    parameters : None, str, iterable of str or callable
        See :func:`probes.parameters.select`.
    output : callable, optional
        Reads the model's output; see :func:`probes.objective.forward`.
    check : bool
        Run the self-check of :mod:`probes.operators.checks` (about ten gradients on at most 32 samples).
    rng : int
        Seed of the vectors of the self-check.
    micro_batch : int, optional
        Cut batches to at most this many samples: less memory, the same result.

    Attributes
    ----------
    shape : tuple of int
        ``(n, n)``.
    like : torch.Tensor, shape (n,)
        A template: dtype, device and length of a vector. Its values are zero.
    name : str
        "hessian" or "gauss_newton".
    parameters : dict of str to torch.nn.Parameter
        The coordinates, in order.
    batches : Batches
        The data.
    num_products : int
        Columns multiplied so far.
    checks : dict
        What the self-check compared and the figures it found; empty with ``check=False``.
    """

    name: ClassVar[str]

    def __init__(
        self,
        model: nn.Module,
        loss: LossLike,
        data: Any,
        *,
        parameters: ParameterSpec = None,
        output: Callable[[Any], Tensor] | None = None,
        check: bool = True,
        rng: int = 0,
        micro_batch: int | None = None,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise TaskError(f"model must be a torch.nn.Module; got {type(model).__name__}.")
        model = unwrapped(model)
        self.parameters = select(model, parameters)
        first = next(iter(self.parameters.values()))
        self.objective = Objective(model, read_loss(loss), output)
        self.batches = Batches(data, device=first.device)
        if micro_batch is not None:
            self.batches = self.batches.split(micro_batch)
        refuse_unsuitable(model, num_batches=len(self.batches))
        size = sum(p.numel() for p in self.parameters.values())
        self.shape = (size, size)
        self.dtype = first.dtype
        self.device = first.device
        self.like = torch.zeros(size, dtype=first.dtype, device=first.device)
        self.num_products = 0
        self.checks: dict[str, Any] = {}
        self._weights = [self.objective.loss.weight(None, b.target, b.size) for b in self.batches]
        self._used: set[str] = set()
        self._warned = False
        if sum(self._weights) <= 0:
            raise TaskError("no sample counts: every target is ignored by the loss or has class weight 0.")
        if check:
            from probes.operators.checks import self_check

            self.checks = self_check(self, rng=rng)

    @property
    def model(self) -> nn.Module:
        """The live model."""
        return self.objective.model

    @property
    def num_samples(self) -> int:
        """Number of samples of the data."""
        return self.batches.num_samples

    def __repr__(self) -> str:
        """Return class, size, and amount of data."""
        return (
            f"{type(self).__name__}({type(self.model).__name__}, n={self.shape[0]}, dtype={self.dtype}, "
            f"num_samples={self.num_samples}, num_batches={len(self.batches)})"
        )

    def __matmul__(self, vectors: Tensor) -> Tensor:
        """Return the product with one vector (n,) or with k columns (n, k), of the same shape.

        The graph of each batch is built once and used for all columns.

        Raises
        ------
        ShapeError, BackendError
            Wrong shape, dtype, device or array library.
        NonFiniteError
            A loss or the product is NaN or infinite; the message names the batch.
        """
        columns = self._columns(vectors)
        result = torch.zeros_like(columns)
        for weight, product in self._weighted(columns):
            result += weight * product
        self.num_products += columns.shape[1]
        require_finite(result, f"the product of {self.name} and a vector")
        return result.reshape(vectors.shape)

    def per_batch(self, vectors: Tensor) -> Iterator[tuple[float, Tensor]]:
        """Yield for each batch its denominator ``D_j`` and the product with the matrix of its own mean loss, (n, k).

        A batch all of whose targets are ignored has weight 0 and product 0. Counts as k products altogether.
        """
        columns = self._columns(vectors)
        self.num_products += columns.shape[1]
        for index, batch in enumerate(self.batches):
            product = self._product(index, batch, columns) if self._weights[index] else torch.zeros_like(columns)
            require_finite(product, f"the product of {self.name} and a vector on batch {index}")
            yield self._weights[index], product

    def loss(self) -> Tensor:
        """Return the loss over all data, a tensor without axes (cost: one forward pass)."""
        total = self.like.new_zeros(())
        for index, batch in enumerate(self.batches):
            if self._weights[index]:
                with self._evaluating(index, batch), torch.no_grad():
                    value = self.objective.loss.value(self.objective.outputs(batch), batch.target)
                    total += self._share(index) * require_finite_loss(value, f"of batch {index}", batch)
        return total

    def gradient(self) -> Tensor:
        """Return the gradient over all data, flat, shape (n,)."""
        total = torch.zeros_like(self.like)
        for index, gradient in enumerate(self.batch_gradients()):
            total += self._share(index) * gradient
        self._warn_unused()
        return total

    def batch_gradients(self) -> Iterator[Tensor]:
        """Yield the gradient of each batch's own mean loss, flat, shape (n,); zero where all targets are ignored."""
        for index, batch in enumerate(self.batches):
            if not self._weights[index]:
                yield torch.zeros_like(self.like)
                continue
            with self._evaluating(index, batch):
                value = require_finite_loss(self.objective.value(batch), f"of batch {index}", batch)
                pieces = torch.autograd.grad(value, list(self.parameters.values()), allow_unused=True)
                self._note_used(pieces)
                gradient = flatten(
                    [
                        torch.zeros_like(p) if piece is None else piece.detach()
                        for piece, p in zip(pieces, self.parameters.values(), strict=True)
                    ]
                )
            require_finite(gradient, f"the gradient of batch {index}")
            yield gradient

    @staticmethod
    @abstractmethod
    def batch_products(
        objective: Objective, parameters: Sequence[Tensor], batch: Batch, columns: Tensor
    ) -> tuple[Tensor, Tensor, list[bool]]:
        """Return a batch's loss, the product of its own matrix with all columns, and which parameters it uses."""

    def _weighted(self, columns: Tensor) -> Iterator[tuple[float, Tensor]]:
        for index, batch in enumerate(self.batches):
            if self._weights[index]:
                yield self._share(index), self._product(index, batch, columns)
        self._warn_unused()

    def _product(self, index: int, batch: Batch, columns: Tensor) -> Tensor:
        with self._evaluating(index, batch):
            value, product, used = self.batch_products(self.objective, list(self.parameters.values()), batch, columns)
            require_finite_loss(value, f"of batch {index}", batch)
            self._note_used([p if flag else None for p, flag in zip(self.parameters.values(), used, strict=True)])
        return product

    def _share(self, index: int) -> float:
        if self.objective.loss.reduction == "sum":
            return 1.0
        return self._weights[index] / math.fsum(self._weights)

    @contextmanager
    def _evaluating(self, index: int, batch: Batch) -> Iterator[None]:
        """Evaluate one batch: model preserved, double backward possible, PyTorch's errors explained."""
        with (
            preserved(self.model),
            differentiable(self.model),
            explained(self.objective, batch, f"batch {index}"),
        ):
            yield

    def _columns(self, vectors: Tensor) -> Tensor:
        """Check the operand and return it as (n, k)."""
        n = self.shape[0]
        if not isinstance(vectors, Tensor):
            raise BackendError(
                f"{type(self).__name__} multiplies torch tensors of {self.dtype} on {self.device}; got a "
                f"{type(vectors).__name__}. Convert with torch.as_tensor(x).to(operator.like)."
            )
        if vectors.ndim not in (1, 2) or vectors.shape[0] != n or (vectors.ndim == 2 and not vectors.shape[1]):
            raise ShapeError(f"the operand must have shape ({n},) or ({n}, k), k >= 1; got {tuple(vectors.shape)}.")
        parameter = next(iter(self.parameters.values()))
        if parameter.dtype != self.dtype or parameter.device != self.device:
            raise BackendError(
                f"the model has moved to {parameter.dtype} on {parameter.device} since the operator was built for "
                f"{self.dtype} on {self.device}; build a new operator."
            )
        if vectors.dtype != self.dtype or vectors.device != self.device:
            raise BackendError(
                f"the operand must be {self.dtype} on {self.device}; got {vectors.dtype} on {vectors.device}. "
                "Convert with x.to(operator.like)."
            )
        return vectors.detach().reshape(n, -1)

    def _note_used(self, pieces: Sequence[Tensor | None]) -> None:
        self._used.update(name for name, piece in zip(self.parameters, pieces, strict=True) if piece is not None)

    def _warn_unused(self) -> None:
        """Warn once, after a complete pass, of parameters that no batch's loss depends on."""
        unused = [name for name in self.parameters if name not in self._used]
        if unused and not self._warned:
            self._warned = True
            warnings.warn(
                f"the loss does not depend on {len(unused)} of {len(self.parameters)} parameters: {', '.join(unused)}. "
                "Their rows and columns of the operator are zero.",
                UserWarning,
                stacklevel=3,
            )
