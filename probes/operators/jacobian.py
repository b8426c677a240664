"""The Jacobian of the outputs by the parameters."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from probes.losses import LossLike
from probes.operators.base import WIDTH
from probes.operators.explanations import require_finite
from probes.operators.ladder import Ladder
from probes.operators.linearization import LINEARIZATIONS, Linearization
from probes.operators.operands import require_operand
from probes.operators.workload import Workload
from spectra.errors import TaskError
from spectra.rectangular import RectangularOperator

__all__ = ["JacobianOperator"]


class JacobianOperator:
    r"""Jacobian J of the outputs on all data with respect to the parameters, of shape (R, n).

    Rows: the outputs of all samples, batch after batch, each flattened; R is their number. Columns: the parameters as
    for :class:`probes.operators.base.CurvatureOperator`. Units: output per parameter. A product with J or its transpose
    costs about 2/3 of a gradient for each column.

    Parameters
    ----------
    model, loss, data, parameters, output, micro_batch, dtype, dropout_seed
        As for :class:`probes.operators.base.CurvatureOperator`. The loss is not evaluated.
    strategy : str
        A name of :mod:`probes.operators.linearization`; ``"auto"`` is ``vmap_forward`` where it works for the model, as
        tried on the first batch, else ``kept_graph``.

    Attributes
    ----------
    shape : tuple of int
        ``(R, n)``.
    like : torch.Tensor, shape (n,)
        A template for vectors on the right.
    product_strategy : str
        How products are formed.

    Raises
    ------
    TaskError, DerivativeError, NonFiniteError
        Outputs cannot be read, or depend on no parameter.

    Examples
    --------
    >>> import torch
    >>> x = torch.tensor([[1.0], [2.0], [3.0]])
    >>> J = JacobianOperator(torch.nn.Linear(1, 1, bias=False), torch.nn.MSELoss(), (x, x))
    >>> (J @ torch.ones(1)).tolist(), (J.T @ torch.ones(3)).tolist()
    ([1.0, 2.0, 3.0], [6.0])
    """

    name = "jacobian"

    def __init__(self, model: nn.Module, loss: LossLike, data: Any, *, strategy: str = "auto", **options: Any) -> None:
        self._adopt(Workload(model, loss, data, **options), strategy)

    @classmethod
    def of_workload(cls, workload: Workload, *, strategy: str = "auto") -> "JacobianOperator":
        """Return the Jacobian of what is measured already."""
        found = object.__new__(cls)
        found._adopt(workload, strategy)
        return found

    def _adopt(self, workload: Workload, strategy: str) -> None:
        """Take shape and template from what is measured."""
        self.ladder = Ladder(tuple(LINEARIZATIONS), strategy)
        self.workload = workload
        self.like = torch.zeros(workload.size, dtype=workload.dtype, device=workload.device)
        self.block_width = WIDTH.get(workload.device.type, WIDTH["cpu"])
        self._shapes = [self._on(index, lambda piece: piece.outputs.shape) for index in range(len(workload.batches))]
        self.shape = (sum(shape.numel() for shape in self._shapes), workload.size)
        self.num_products = 0

    @property
    def product_strategy(self) -> str:
        """How products are formed."""
        return self.ladder.block or self.ladder.single

    @property
    def output_shapes(self) -> list[torch.Size]:
        """Shape of the outputs of each batch."""
        return list(self._shapes)

    @property
    def T(self) -> RectangularOperator:
        """The transpose, of shape (n, R)."""
        return self.rectangular().transpose()

    def rectangular(self) -> RectangularOperator:
        """Return this matrix for the functions of :mod:`spectra` that take one of any shape."""
        return RectangularOperator(self.matmat, self.rmatmat, shape=self.shape, like=self.like, name=self.name)

    def __repr__(self) -> str:
        """Return class and shape."""
        return f"{type(self).__name__}({type(self.workload.model).__name__}, shape={self.shape})"

    def __matmul__(self, vectors: Tensor) -> Tensor:
        """Return the product with (n,) or (n, k): shape (R,) or (R, k)."""
        return self.matmat(vectors).reshape(self.shape[0], *vectors.shape[1:])

    def matmat(self, columns: Tensor) -> Tensor:
        """Return ``J V`` for columns (n, k)."""
        columns = require_operand(columns, rows=self.shape[1], like=self.like, owner=self)
        self.num_products += columns.shape[1]
        parts = []
        for index in range(len(self.workload.batches)):
            pushed = self._on(
                index,
                lambda linear: torch.cat([linear.push(block) for block in columns.split(self.block_width, dim=1)]),
            )
            parts.append(pushed.reshape(columns.shape[1], -1).T)
        result = torch.cat(parts)
        require_finite(result, "a product with the Jacobian")
        return result

    def rmatmat(self, cotangents: Tensor) -> Tensor:
        """Return ``J' U`` for columns (R, k)."""
        cotangents = require_operand(cotangents, rows=self.shape[0], like=self.like, owner=self)
        self.num_products += cotangents.shape[1]
        result = torch.zeros(self.shape[1], cotangents.shape[1], dtype=self.like.dtype, device=self.like.device)
        parts = cotangents.split([shape.numel() for shape in self._shapes])
        for index, (part, shape) in enumerate(zip(parts, self._shapes, strict=True)):
            rows = part.T.reshape(-1, *shape)
            result += self._on(
                index,
                lambda linear, rows=rows: torch.cat(  # type: ignore[misc]
                    [linear.pull(block) for block in rows.split(self.block_width)], dim=1
                ),
            )
        require_finite(result, "a product with the Jacobian's transpose")
        return result

    def _on(self, index: int, act: Callable[[Linearization], Any]) -> Any:
        """Linearize the outputs of a batch and do something with it."""
        self.workload.require_unmoved()
        self.workload.follow()
        batch = self.workload.batches[index]
        with self.workload.evaluating(index, batch):
            piece = self.workload.piece(batch, index)
            while True:
                strategy = self.ladder.block or next(
                    name for name in ("vmap_forward", "kept_graph") if name not in self.ladder.excluded
                )
                try:
                    return act(LINEARIZATIONS[strategy](piece, "outputs"))
                except torch.OutOfMemoryError:
                    raise
                except (RuntimeError, NotImplementedError, TaskError) as error:
                    if self.ladder.requested != "auto" or strategy == "kept_graph":
                        raise
                    self.ladder.exclude(strategy, error)
