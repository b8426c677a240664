"""Gradients and Hessian products on the reference set, with little beside the passes themselves.

The operators of :mod:`probes.operators` prepare and clean up around every product. In training a measurement has to be
short, so that all its passes share one preparation here: modules in evaluation mode, buffers replaced by copies, hooks
on gradients off, double backward possible, random states kept; afterwards everything is as it was.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from probes.batches import Batch, Batches
from probes.hooks.protection import evaluation_mode, written_parameter
from probes.hooks.reach import reached
from probes.operators import HessianOperator
from probes.operators.explanations import explained, require_finite, require_finite_loss
from probes.operators.pieces import Piece
from probes.operators.rows import joined
from probes.operators.second_order import Quadratic, kept_graph
from probes.operators.workload import Workload
from probes.out_of_memory import naming_out_of_memory
from probes.parameters import ParameterSpec
from probes.state import differentiable
from probes.task import Task
from probes.unwrapping import unwrapped
from spectra.errors import NonFiniteError, SpectraError, TaskError

__all__ = ["Workbench"]


class Workbench:
    """The loss of a model on a reference set, ready to be differentiated in the midst of training.

    Parameters
    ----------
    task : Task
        Model, loss and output reader; its data are not read.
    micro_batches : sequence of Batch
        Disjoint, of equal size: the reference set, as noise is measured on it.
    pieces : sequence of Batch
        The same samples as products are formed on them: more at a time. The graph of a single piece is kept from
        product to product, several are built anew for each.
    parameters : None, str, iterable of str or callable
        The coordinates, see :func:`probes.parameters.select`.

    Attributes
    ----------
    parameters : dict of str to torch.nn.Parameter
        The coordinates, in order.
    like : torch.Tensor, shape (n,)
        A template of a vector.
    modules : list of torch.nn.Module
        What is left as found: the model, and what is reached from the loss and the output reader.

    Raises
    ------
    TaskError
        Running the model writes to parameters, or the loss reaches a module that is scripted or sharded.
    """

    def __init__(
        self, task: Task, micro_batches: Sequence[Batch], pieces: Sequence[Batch], *, parameters: ParameterSpec
    ) -> None:
        self.task, self._options = task, {**task.operator_options(), "parameters": parameters}
        behind = reached([task.loss, task.output], nn.Module)
        for module in behind:
            unwrapped(module)  # those that it refuses cannot be put back either
        self.modules: list[nn.Module] = [task.model, *behind]
        with evaluation_mode(*self.modules):
            self.workload = Workload(task.model, task.loss, list(micro_batches), **self._options)
        device = self.workload.device
        self.micro_batches = list(self.workload.batches)
        self.pieces = list(Batches(list(pieces), device=device, dtype=self.workload.batches.dtype, paired=False))
        self.piece_weights = [self.workload.objective.weight(piece) for piece in self.pieces]
        self.parameters = self.workload.parameters
        self.like = torch.zeros(self.workload.size, dtype=self.workload.dtype, device=device)
        self.num_products = 0
        self.loss = float("nan")
        self._kept: Quadratic | None = None
        self._refuse_writing()

    @contextmanager
    def open(self) -> Iterator[None]:
        """Prepare the model for passes, and leave it as it was found."""
        workload = self.workload
        self.num_products, self.loss, self._kept = 0, float("nan"), None
        workload.require_unmoved()
        with ExitStack() as stack:
            stack.enter_context(evaluation_mode(*self.modules))
            if workload.model is not workload.source:
                workload.follow()
                stack.enter_context(evaluation_mode(workload.model))
            stack.enter_context(differentiable(nn.ModuleList([workload.model, *self.modules[1:]])))
            stack.callback(self.release)
            yield

    def check(self, *, rng: int) -> None:
        """Compare products with differences of gradients on a few samples; outside of :meth:`open`.

        Raises
        ------
        SpectraError
            See :mod:`probes.operators.checks`.
        """
        with evaluation_mode(*self.modules):
            HessianOperator(self.task.model, self.task.loss, self.pieces, **self._options, check=True, rng=rng)

    @contextmanager
    def explaining(self) -> Iterator[None]:
        """Give PyTorch's errors a cause and a name, where one is known."""
        with explained(self.workload.objective, self.micro_batches[0], "the reference set"), naming_out_of_memory():
            yield

    def release(self) -> None:
        """Free the graph kept for products."""
        self._kept = None

    def gradients(self) -> Tensor:
        """Return the gradient of each micro-batch's own mean loss as columns, shape (n, K); within :meth:`open`.

        Raises
        ------
        NonFiniteError
            A loss or a gradient is NaN or infinite.
        SpectraError
            The targets of a micro-batch are all ignored.
        """
        tensors = tuple(self.parameters.values())
        rows = torch.empty(len(self.micro_batches), self.like.shape[0], dtype=self.like.dtype, device=self.like.device)
        total = 0.0
        for index, batch in enumerate(self.micro_batches):
            if not self.workload.weights[index]:
                raise SpectraError(f"all targets of micro-batch {index} are ignored by the loss; take more samples")
            value = self._piece(batch, index).evaluate("loss", rewriting="none")
            rows[index] = joined(torch.autograd.grad(value, tensors, allow_unused=True), tensors)
            total += self.workload.share(index) * float(value.detach())
        self.loss = total
        if not math.isfinite(total):
            raise NonFiniteError(f"the loss on the reference set is {total}")
        require_finite(rows, "a gradient on the reference set")
        return rows.T

    def multiply(self, vector: Tensor) -> Tensor:
        """Return the product of the Hessian of the whole reference set with a vector (n,); within :meth:`open`."""
        weights = self.piece_weights
        result: Tensor | None = None
        loss = 0.0
        for index, piece in enumerate(self.pieces):
            if not weights[index]:
                continue
            built = self._kept
            if built is None:
                built = kept_graph(self._piece(piece, index))
                require_finite_loss(built.loss, "of the reference set", piece)
                if not self.num_products:
                    loss += self._share(index) * float(built.loss)
                if len(self.pieces) == 1:
                    self._kept = built
            product = built.multiply(vector[:, None])[:, 0]
            if (share := self._share(index)) != 1.0:
                product = product.mul_(share)
            result = product if result is None else result.add_(product)
        self.loss = self.loss if self.num_products else loss
        self.num_products += 1
        assert result is not None  # some sample counts
        return result

    def products_of_micro_batches(self, vector: Tensor) -> Tensor:
        """Return products of each micro-batch's own Hessian with a vector as columns, (n, K); within :meth:`open`."""
        rows = torch.empty(len(self.micro_batches), self.like.shape[0], dtype=self.like.dtype, device=self.like.device)
        for index, batch in enumerate(self.micro_batches):
            built = kept_graph(self._piece(batch, index))
            rows[index] = built.multiply(vector[:, None])[:, 0]
            del built
        self.num_products += 1
        require_finite(rows, "a product on the reference set")
        return rows.T

    def _refuse_writing(self) -> None:
        """Run the model once, watched; a copy in another precision may write to itself."""
        with self.open():
            name = written_parameter(
                self.modules, lambda: self._piece(self.micro_batches[0], 0).evaluate("loss", connected=False)
            )
        if name:
            raise TaskError(
                f"running {type(self.workload.source).__name__} in evaluation mode writes to the parameter {name!r}: "
                "measuring would change training. Move what writes to it (the update of an average, a projection) out "
                "of forward and the loss into the training loop, or have it done only if self.training."
            )

    def _piece(self, batch: Batch, index: int) -> Piece:
        return self.workload.piece(batch, index)

    def _share(self, index: int) -> float:
        if self.workload.objective.reduction == "sum":
            return 1.0
        return self.piece_weights[index] / sum(self.piece_weights)
