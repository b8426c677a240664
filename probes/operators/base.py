"""What all curvature operators share: data in a fixed order, an exact sum over batches, an untouched model."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from probes.batches import Batch, Batches
from probes.losses import LossLike
from probes.objective import Objective, Quantity, forward
from probes.operators.explanations import require_finite, require_finite_loss
from probes.operators.kept_graphs import KeptGraphs
from probes.operators.ladder import Built, Ladder
from probes.operators.memory import GRAPH_SHARE, fit, graph_bytes, with_less_memory
from probes.operators.operands import require_operand
from probes.operators.pieces import Piece
from probes.operators.rows import side_by_side
from probes.operators.workload import Workload
from probes.parameters import ParameterSpec
from spectra import Operator, as_operator
from spectra.errors import TaskError

__all__ = ["WIDTH", "CurvatureOperator", "forward"]

#: Columns that go through a graph at once, by type of device. On CPUs the gain ends at 4 to 16 columns.
WIDTH = {"cpu": 8, "cuda": 32}


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
        ``(output, target) -> scalar mean over samples``, or ``(model, batch) -> scalar``, see
        :class:`probes.model_loss.ModelLoss`.
    data : iterable of batches, DataLoader, or one batch
        See :class:`probes.batches.Batches`; read once and kept.
    parameters : None, str, iterable of str or callable
        See :func:`probes.parameters.select`.
    output : callable, optional
        Reads the model's output; see :func:`probes.objective.forward`.
    check : bool
        Run the self-check of :mod:`probes.operators.checks` (about ten gradients on at most 32 samples).
    rng : int
        Seed of the vectors of the self-check, and of whatever the operator draws.
    micro_batch : int, optional
        Cut batches to at most this many samples: less memory, the same result.
    memory_budget : int, optional
        Bytes that a product may take beyond model, data and block; micro-batches and blocks are made to fit, by what
        autograd saves for a few samples. Without it both shrink only when memory runs out.
    strategy : str
        How products are formed: ``"auto"`` or a name, see :mod:`probes.operators.ladder`.
    dtype : torch.float32 or torch.float64, optional
        Multiply in this precision, on a copy of the model that follows the model's parameters. Models in half precision
        are measured in float32 in any case.
    kept_graph_bytes : int
        Where the graphs of all batches take at most so many bytes, they are kept from product to product for as long as
        the model does not change (that of a single batch whatever its size); else each is freed after use. 0 keeps
        none.
    dropout_seed : int, optional
        Measure a model in train mode with the dropout masks that this seed gives, the same at every product.

    Attributes
    ----------
    shape : tuple of int
        ``(n, n)``.
    like : torch.Tensor, shape (n,)
        A template: dtype, device and length of a vector. Its values are zero.
    name : str
        "hessian", "gauss_newton", ...
    parameters : dict of str to torch.nn.Parameter
        The coordinates, in order.
    batches : Batches
        The data, as micro-batches.
    num_products : int
        Columns multiplied so far.
    checks : dict
        What the self-check compared and the figures it found; empty with ``check=False``.
    ladder : probes.operators.ladder.Ladder
        Which strategies were tried, how long they took, and why others are out.
    remarks : list of str
        What a reader of the results should know: precision, modes, layers that were rewritten.
    """

    name: ClassVar[str]
    #: Ways to a product, the safest first; see :mod:`probes.operators.ladder`.
    strategies: ClassVar[tuple[str, ...]]
    #: What the matrix is made of; differences of this map are compared with its derivative.
    quantity: ClassVar[Quantity]

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
        memory_budget: int | None = None,
        strategy: str = "auto",
        dtype: torch.dtype | None = None,
        kept_graph_bytes: int = 1 << 30,
        dropout_seed: int | None = None,
    ) -> None:
        self.ladder = Ladder(self.strategies, strategy)
        # Within a budget, half of it: a product needs room beside what is kept.
        most = kept_graph_bytes if memory_budget is None else memory_budget // 2
        self.kept_graph_bytes = min(kept_graph_bytes, most)
        self.workload = Workload(
            model,
            loss,
            data,
            parameters=parameters,
            output=output,
            micro_batch=micro_batch,
            dtype=dtype,
            dropout_seed=dropout_seed,
        )
        self._adopt(self.workload)
        self.block_width = WIDTH.get(self.device.type, WIDTH["cpu"])
        self.checks: dict[str, Any] = {}
        if memory_budget is not None:
            fit(self, memory_budget)
        if check:
            self.checks = self.self_check(rng=rng)

    def _adopt(self, workload: Workload) -> None:
        """Take shape and template from what is measured."""
        self.workload = workload
        self.shape = (workload.size, workload.size)
        self.like = torch.zeros(workload.size, dtype=workload.dtype, device=workload.device)
        self.num_products = 0
        self._kept = KeptGraphs(self.kept_graph_bytes)

    def self_check(self, *, rng: int = 0) -> dict[str, Any]:
        """Compare products with differences on a few samples; see :mod:`probes.operators.checks`."""
        from probes.operators.checks import self_check

        return self_check(self, rng=rng)

    def sibling(self, kind: "type[CurvatureOperator]", *, strategy: str = "auto") -> "CurvatureOperator":
        """Return another matrix of the same model, loss, parameters and data, unchecked."""
        other = object.__new__(kind)
        other.__dict__.update(self.__dict__)
        other.ladder = Ladder(kind.strategies, strategy)
        other._adopt(self.workload)
        return other

    # What is measured.

    @property
    def model(self) -> nn.Module:
        """The model that is evaluated: the live one, or the copy in another precision that follows it."""
        return self.workload.model

    @property
    def objective(self) -> Objective:
        """Model, loss and output reader."""
        return self.workload.objective

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """The coordinates, in order."""
        return self.workload.parameters

    @property
    def batches(self) -> Batches:
        """The data, as micro-batches."""
        return self.workload.batches

    @property
    def dtype(self) -> torch.dtype:
        """Of the products."""
        return self.like.dtype

    @property
    def device(self) -> torch.device:
        """Of the products."""
        return self.like.device

    @property
    def num_samples(self) -> int:
        """Number of samples of the data."""
        return self.batches.num_samples

    @property
    def remarks(self) -> list[str]:
        """What a reader of results should know."""
        return self.workload.remarks

    @property
    def product_strategy(self) -> str:
        """How blocks are multiplied, or single vectors as long as there was no block."""
        return self.ladder.block or self.ladder.single

    @property
    def facts(self) -> dict[str, str]:
        """What `spectra` stores with results: the strategy, and remarks if there are any."""
        remarks = {"remarks": "\n".join(self.remarks)} if self.remarks else {}
        return {"product_strategy": self.product_strategy, **remarks}

    def __repr__(self) -> str:
        """Return class, size, and amount of data."""
        return (
            f"{type(self).__name__}({type(self.model).__name__}, n={self.shape[0]}, dtype={self.dtype}, "
            f"num_samples={self.num_samples}, num_batches={len(self.batches)})"
        )

    def loss(self) -> Tensor:
        """Return the loss over all data, a tensor without axes (cost: one forward pass)."""
        return self.workload.loss()

    def gradient(self) -> Tensor:
        """Return the gradient over all data, flat, shape (n,)."""
        total = torch.zeros_like(self.like)
        for index, gradient in enumerate(self.batch_gradients()):
            total += self.workload.share(index) * gradient
        self.workload.warn_unused()
        return total

    def batch_gradients(self) -> Iterator[Tensor]:
        """Yield the gradient of each batch's own mean loss, flat, shape (n,); zero where all targets are ignored."""
        return self.workload.batch_gradients()

    # Products.

    def __matmul__(self, vectors: Tensor) -> Tensor:
        """Return the product with one vector (n,) or with k columns (n, k), of the same shape.

        The graph of each batch is built once and used for all columns. Where memory does not suffice, blocks are made
        narrower and then batches smaller, for this product and for later ones.

        Raises
        ------
        ShapeError, BackendError
            Wrong shape, dtype, device or array library.
        NonFiniteError
            A loss or the product is NaN or infinite; the message names the batch.
        OutOfMemoryError
            One column and one sample at a time are still too much.
        """
        columns = self._columns(vectors)
        result = with_less_memory(self, lambda: self._total(columns))
        self.num_products += columns.shape[1]
        require_finite(result, f"the product of {self.name} and a vector")
        return result.reshape(vectors.shape)

    def per_batch(self, vectors: Tensor) -> Iterator[tuple[float, Tensor]]:
        """Yield for each batch its denominator ``D_j`` and the product with the matrix of its own mean loss, (n, k).

        A batch all of whose targets are ignored has weight 0 and product 0. Counts as k products altogether.
        """
        columns = self._columns(vectors)
        self.num_products += columns.shape[1]
        self.refresh()
        for index, batch in enumerate(self.batches):
            weight = self.workload.weights[index]
            product = self._product(index, batch, columns) if weight else torch.zeros_like(columns)
            require_finite(product, f"the product of {self.name} and a vector on batch {index}")
            yield weight, product

    def restricted(self, names: Sequence[str]) -> "CurvatureOperator":
        """Return the principal submatrix of some parameters, by name: the same operator on fewer coordinates.

        Raises
        ------
        TaskError
            A name that is not among those of the operator.
        """
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._adopt(self.workload.restricted(names))
        other.ladder = Ladder(self.strategies, self.ladder.requested, dict(self.ladder.excluded))
        return other

    @abstractmethod
    def build(self, piece: Piece, strategy: str) -> Built:
        """Make one micro-batch ready for products with the matrix of its own mean loss."""

    def refresh(self) -> None:
        """Look at the model before a product: a copy follows it, and graphs of another state are given up."""
        self.workload.follow()
        self._kept.look_at(
            self.model,
            sizes=self.batches.sizes,
            predict=lambda: GRAPH_SHARE * graph_bytes(self)[0] * self.num_samples,
        )

    def release(self) -> None:
        """Free graphs kept for later products."""
        self._kept.clear()

    def share(self, index: int) -> float:
        """Return the factor of a batch's own matrix in the matrix of all data."""
        return self.workload.share(index)

    def _total(self, columns: Tensor) -> Tensor:
        result: Tensor | None = None
        for index, batch in self.workload.counted():
            product, share = self._product(index, batch, columns), self.share(index)
            if result is None:
                result = product if share == 1.0 else product.mul_(share)
            else:
                result.add_(product, alpha=share)
            del product
        self.workload.warn_unused()
        assert result is not None  # some sample counts
        return result

    def _product(self, index: int, batch: Batch, columns: Tensor) -> Tensor:
        with self.workload.evaluating(index, batch):
            built, products = self._built(index, batch, columns)
            blocks = columns.split(self.block_width, dim=1)
            products += [built.multiply(block) for block in blocks[len(products) :]]
        return side_by_side(products, tuple(self.parameters.values()))

    def _built(self, index: int, batch: Batch, columns: Tensor) -> tuple[Built, list[Tensor]]:
        """Make a batch ready; where the strategy was measured on it, the product with the first block comes along."""
        piece = self.workload.piece(batch, index)
        first = columns[:, : self.block_width]
        strategy, products = self.ladder.strategy(first.shape[1]), []
        kept = self._kept.get(index, strategy)
        if kept is not None:
            return kept, []
        if not strategy:
            warm_up = self._warm_up(batch, columns[:, :2]) if batch.is_divisible else None
            built, product = self.ladder.measure(
                lambda name: self.build(piece, name), first, warm_up=warm_up, is_kept=self._kept.is_on
            )
            products = [product]
        else:
            built = self.build_or_step_down(piece, strategy)
        require_finite_loss(built.loss, f"of batch {index}", batch)
        self.workload.look_for_unused(index, piece, built.used, self.quantity)
        self._kept.put(index, self.ladder.strategy(first.shape[1]), built)
        return built, products

    def build_or_step_down(self, piece: Piece, strategy: str) -> Built:
        """Make a batch ready; a strategy that worked on the first batch but not on this one is given up."""
        try:
            return self.build(piece, strategy)
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, NotImplementedError, TaskError) as error:
            if self.ladder.requested != "auto" or strategy == self.ladder.single:
                raise
            self.ladder.exclude(strategy, error)
            return self.build(piece, self.ladder.single)

    def _warm_up(self, batch: Batch, columns: Tensor) -> Callable[[str], object]:
        small = self.workload.piece(batch.take(slice(0, 2)))

        def act(name: str) -> None:
            with suppress(Exception):  # whatever fails here fails again, and counts then
                self.build(small, name).multiply(columns)

        return act

    def _columns(self, vectors: Tensor) -> Tensor:
        """Check the operand and return it as (n, k)."""
        self.workload.require_unmoved()
        return require_operand(vectors, rows=self.shape[0], like=self.like, owner=self)

    # Algebra. What comes out is an Operator of spectra.

    def __add__(self, other: Any) -> Operator:
        """Return the sum of two matrices."""
        return as_operator(self) + as_operator(other)

    def __radd__(self, other: Any) -> Operator:
        """Return the sum of two matrices."""
        return as_operator(other) + as_operator(self)

    def __sub__(self, other: Any) -> Operator:
        """Return the difference of two matrices."""
        return as_operator(self) - as_operator(other)

    def __rsub__(self, other: Any) -> Operator:
        """Return the difference of two matrices."""
        return as_operator(other) - as_operator(self)

    def __mul__(self, factor: float) -> Operator:
        """Return a multiple of the matrix."""
        return as_operator(self) * factor

    __rmul__ = __mul__

    def __truediv__(self, divisor: float) -> Operator:
        """Return a multiple of the matrix."""
        return as_operator(self) / divisor

    def __neg__(self) -> Operator:
        """Return the negative of the matrix."""
        return -as_operator(self)

    def shift(self, sigma: float) -> Operator:
        """Return ``A + sigma I``."""
        return as_operator(self).shift(sigma)

    def submatrix(self, index: Any) -> Operator:
        """Return the principal submatrix of some coordinates; :meth:`restricted` is cheaper for whole parameters."""
        return as_operator(self).submatrix(index)
