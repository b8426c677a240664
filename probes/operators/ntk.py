r"""The empirical tangent kernel :math:`J J^T`, known by its products."""

from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from probes.losses import LossLike
from probes.operators.jacobian import JacobianOperator
from probes.operators.operands import require_operand
from spectra.errors import ArgumentError, TaskError

__all__ = ["NTKOperator", "Outputs"]

#: What becomes of the outputs of a sample: all pairs of them are kept, or they are averaged or added up.
Outputs = Literal["full", "trace", "sum"]


class NTKOperator:
    r"""Empirical tangent kernel :math:`\Theta = J J^T` on all data, multiplied without ever being formed.

    With :math:`J_i` the derivative of the o outputs of sample i by the parameters (Jacot, Gabriel and Hongler 2018):

    ===========  ====================================================================================  ==============
    ``outputs``  entry                                                                                 order
    ===========  ====================================================================================  ==============
    ``"full"``   :math:`(J_i J_j^T)_{kl}` at row ``i o + k`` and column ``j o + l``                    n o
    ``"trace"``  :math:`\frac1o \operatorname{tr} J_i J_j^T`                                           n
    ``"sum"``    :math:`\frac1o 1^T J_i J_j^T 1`, of the one output :math:`o^{-1/2} \sum_k f_k`        n
    ===========  ====================================================================================  ==============

    Each is symmetric and positive semidefinite. The full kernel has the nonzero eigenvalues of :math:`J^T J`. See
    :func:`probes.tangent_kernel.empirical_ntk` for what the other two are good for, and for the whole matrix.

    Parameters
    ----------
    model, loss, data, **options
        As for :class:`probes.operators.jacobian.JacobianOperator`. Samples must not influence each other for
        ``"trace"`` and ``"sum"``.
    outputs : {"full", "trace", "sum"}
        See above.

    Attributes
    ----------
    shape : tuple of int
        ``(R, R)``; R counts all outputs of all samples for ``"full"``, samples otherwise.
    like : torch.Tensor, shape (R,)
        A template.
    num_products : int
        Columns multiplied so far.
    jacobian : JacobianOperator
        Its ``num_products`` counts what the products cost.

    Raises
    ------
    ArgumentError
        Unknown ``outputs``.
    TaskError
        ``"trace"`` or ``"sum"`` of outputs that do not have one row, of one size, for each sample.

    Notes
    -----
    A column costs one product with the transposed Jacobian and one with the Jacobian, the data gone through twice; with
    ``"trace"`` it costs *o* of each, for the sum over k runs over kernels of their own, :math:`J_k J_k^T`.
    Where R is small, :meth:`dense` is cheaper than many products.

    Examples
    --------
    >>> import torch
    >>> x = torch.tensor([[1.0], [2.0]])
    >>> kernel = NTKOperator(torch.nn.Linear(1, 1, bias=False), torch.nn.MSELoss(), (x, x))
    >>> kernel.dense().tolist()
    [[1.0, 2.0], [2.0, 4.0]]
    """

    name = "ntk"

    def __init__(
        self, model: nn.Module, loss: LossLike, data: Any, *, outputs: Outputs = "full", **options: Any
    ) -> None:
        if outputs not in get_args(Outputs):
            raise ArgumentError(f"outputs must be one of {', '.join(get_args(Outputs))}; got {outputs!r}.")
        self.outputs = outputs
        self.jacobian = JacobianOperator(model, loss, data, **options)
        self.num_outputs = 1 if outputs == "full" else self._outputs_of_a_sample()
        rows = self.jacobian.shape[0] // self.num_outputs
        self.shape = (rows, rows)
        self.like = self.jacobian.like.new_zeros(rows)
        self.num_products = 0

    @property
    def product_strategy(self) -> str:
        """How products are formed."""
        return self.jacobian.product_strategy

    def __repr__(self) -> str:
        """Return class, model, shape, and what becomes of the outputs."""
        model = type(self.jacobian.workload.model).__name__
        return f"{type(self).__name__}({model}, shape={self.shape}, outputs={self.outputs!r})"

    def __matmul__(self, vectors: Tensor) -> Tensor:
        """Return the product with (R,) or (R, k), of the same shape."""
        columns = require_operand(vectors, rows=self.shape[0], like=self.like, owner=self)
        self.num_products += columns.shape[1]
        if self.outputs == "full":
            found = self._product(columns)
        elif self.outputs == "sum":
            spread = columns.repeat_interleave(self.num_outputs, dim=0)
            found = self._by_sample(self._product(spread)).sum(1) / self.num_outputs
        else:
            found = self._trace_product(columns)
        return found.reshape(vectors.shape)

    def dense(self) -> Tensor:
        """Return the whole matrix, (R, R), from products with the transposed Jacobian; holds J.

        R products for ``"full"`` and ``"sum"``, R o for ``"trace"``, and as many times n numbers.
        """
        o, count = self.num_outputs, self.shape[0] if self.outputs == "sum" else self.jacobian.shape[0]
        cotangents = torch.eye(count, dtype=self.like.dtype, device=self.like.device)
        if self.outputs == "sum":
            cotangents = cotangents.repeat_interleave(o, dim=0) / o**0.5
        rows = self.jacobian.rmatmat(cotangents).T
        if self.outputs == "trace":
            rows = rows.reshape(self.shape[0], -1) / o**0.5
        return rows @ rows.T

    def _product(self, columns: Tensor) -> Tensor:
        return self.jacobian.matmat(self.jacobian.rmatmat(columns))

    def _trace_product(self, columns: Tensor) -> Tensor:
        """Return the mean of the products with the kernels of the single outputs."""
        total = torch.zeros_like(columns)
        for k in range(self.num_outputs):
            spread = columns.new_zeros(self.shape[0], self.num_outputs, columns.shape[1])
            spread[:, k] = columns
            total += self._by_sample(self._product(spread.flatten(0, 1)))[:, k]
        return total / self.num_outputs

    def _by_sample(self, columns: Tensor) -> Tensor:
        """Return columns (R o, k) as (R, o, k)."""
        return columns.reshape(-1, self.num_outputs, columns.shape[1])

    def _outputs_of_a_sample(self) -> int:
        """Return o, or raise where outputs do not belong to single samples."""
        sizes = self.jacobian.workload.batches.sizes
        shapes = self.jacobian.output_shapes
        found = {shape.numel() / size for shape, size in zip(shapes, sizes, strict=True)}
        rows = all(len(shape) > 0 and shape[0] == size for shape, size in zip(shapes, sizes, strict=True))
        if not rows or len(found) != 1:
            raise TaskError(
                f"outputs={self.outputs!r} needs one row of outputs for each sample, all of one size; got shapes "
                f"{sorted({tuple(shape) for shape in shapes})} for batches of {sorted(set(sizes))} samples."
            )
        return int(found.pop())
