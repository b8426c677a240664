"""One micro-batch of an objective, as a function of the measured parameters: live, or as a pure function."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from probes.batch import Batch
from probes.objective import Objective, Quantity
from probes.operators.leaves import Leaves, Lookups
from probes.operators.rewriting import Rewriting, rewritten
from spectra.errors import DerivativeError

__all__ = ["Piece"]


@dataclass(frozen=True, eq=False)
class Piece:
    """A micro-batch, the objective, and the parameters that are differentiated.

    Attributes
    ----------
    objective : Objective
        Model, loss and output reader; the model is live.
    names : tuple of str
        Names of the measured parameters in the model.
    tensors : tuple of torch.Tensor
        The measured parameters, live, in the same order.
    batch : Batch
        The samples.
    index : int
        The number of the micro-batch, from which random draws are seeded.
    """

    objective: Objective
    names: tuple[str, ...]
    tensors: tuple[Tensor, ...]
    batch: Batch
    index: int = 0

    def evaluate(self, quantity: Quantity, *, connected: bool = True, rewriting: Rewriting = "necessary") -> Tensor:
        """Return the loss, the outputs or the losses of the samples, connected to the live parameters if need be.

        Parameters
        ----------
        quantity : {"loss", "outputs", "sample_values"}
            What is evaluated.
        connected : bool
            Whether a result that depends on no parameter is an error.
        rewriting : {"none", "necessary", "all"}
            Which layers are replaced by equal ones, see :mod:`probes.operators.rewriting`.

        Raises
        ------
        DerivativeError
            The result does not depend on any trainable parameter.
        """
        with rewritten(rewriting):
            value = self.objective.quantity(self.batch, quantity)
        if connected and not value.requires_grad:
            raise DerivativeError(
                f"the {_NAMES[quantity]} of {type(self.objective.model).__name__} do not depend on any trainable "
                "parameter: the graph is cut. Look for detach(), torch.no_grad(), .data, .item() or NumPy in forward, "
                "output= or the loss."
            )
        return value

    def evaluate_at_leaves(self, quantity: Quantity) -> tuple[Tensor, Leaves]:
        """Return the same for double backward through the live model, and what it is to be differentiated by.

        Layers are replaced by equal ones where that costs less, and large embeddings are cut off at the rows read, see
        :mod:`probes.operators.leaves`.
        """
        lookups = Lookups(self.tensors)
        try:
            with lookups:
                value = self.evaluate(quantity, rewriting="all")
        except Exception:
            if not (lookups.found and lookups.is_void):
                raise
        if lookups.found and lookups.is_void:
            return self.evaluate(quantity, rewriting="all"), Leaves(self.tensors)
        return value, Leaves(self.tensors, tuple(lookups.found))

    def function(self, quantity: Quantity) -> tuple[Callable[..., Tensor], tuple[Tensor, ...]]:
        """Return the same as a pure function of the parameters, and the values at which it is to be taken.

        Parameters that are not measured, and copies of the buffers, are held fixed. Tied parameters stay tied.
        """
        pure = self.objective.functional(self.names, value=quantity)

        def function(*tensors: Tensor) -> Tensor:
            with rewritten("necessary"):
                return pure(tensors, self.batch)

        return function, tuple(tensor.detach() for tensor in self.tensors)

    @contextmanager
    def at(self, point: Sequence[Tensor]) -> Iterator[None]:
        """Move the live parameters for the duration of the block; for copies of a model only."""
        origin = [tensor.detach().clone() for tensor in self.tensors]
        try:
            with torch.no_grad():
                for tensor, value in zip(self.tensors, point, strict=True):
                    tensor.copy_(value)
            yield
        finally:
            with torch.no_grad():
                for tensor, value in zip(self.tensors, origin, strict=True):
                    tensor.copy_(value)


_NAMES: dict[Quantity, str] = {
    "loss": "values of the loss",
    "outputs": "outputs",
    "sample_values": "losses of the samples",
}
