"""The samples on one side of a kernel: checked, and cut into blocks of any size."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from probes.batch import Batch, tensors_in
from probes.batches import Batches, Samples
from probes.operators.causes import refuse_unsuitable
from probes.operators.ladder import AGREEMENT
from probes.operators.workload import Workload
from probes.parameters import ParameterSpec
from spectra.errors import NonFiniteError, TaskError

__all__ = ["Blocks", "Side"]

#: Samples whose outputs in company are compared with those alone.
COMPANY = 8
#: They differ by rounding up to so many times as much as products do (measured: 1e-4 in float32 for 30 layers with
#: layer norms in a row, each of which amplifies the rounding of those before).
COMPANY_MATTERS = 10


@dataclass(frozen=True, eq=False)
class Blocks:
    """Blocks of samples.

    Attributes
    ----------
    sizes : list of int
        Samples of each.
    take : callable
        Takes the number of a block, returns its samples.
    """

    sizes: list[int]
    take: Callable[[int], Batch]


class Side:
    """Samples, and the model that is evaluated on them.

    Parameters
    ----------
    model : torch.nn.Module
        In eval mode, as far as that matters.
    data : Tensor, array, or what :class:`probes.batches.Batches` takes
        A tensor or array alone holds inputs.
    parameters, output, dtype, micro_batch
        As for :class:`probes.operators.workload.Workload`.
    name : str
        Of the argument, for messages.

    Attributes
    ----------
    workload : Workload
        Model, parameters and batches. Its loss is none of the task's and is never evaluated.
    num_samples, num_outputs : int
        n, and o.

    Raises
    ------
    TaskError
        No data, outputs that do not have one row for each sample, samples that influence each other, or a model that
        cannot be run on the data.
    NonDeterministicError
        Active dropout.
    NonFiniteError
        Data or outputs are not finite.
    """

    def __init__(
        self,
        model: nn.Module,
        data: Any,
        *,
        parameters: ParameterSpec,
        output: Callable[[Any], Tensor] | None,
        dtype: torch.dtype | None,
        micro_batch: int | None = None,
        name: str = "data",
    ) -> None:
        if isinstance(data, Tensor | np.ndarray):
            if data.ndim == 0 or len(data) == 0:
                raise TaskError(f"{name} must hold at least one sample; got an array of shape {tuple(data.shape)}.")
            data = [Batch(torch.as_tensor(data), None, len(data))]
        if micro_batch is not None and not all(batch.is_divisible for batch in Batches(data)):
            micro_batch = None
        self.workload = Workload(
            model, nn.MSELoss(), data, parameters=parameters, output=output, dtype=dtype, micro_batch=micro_batch
        )
        # As for several batches: a kernel of samples that influence each other is none of samples.
        refuse_unsuitable(self.workload.model, num_batches=2)
        self.batches: Batches = self.workload.batches
        self.num_samples = self.batches.num_samples
        self.is_divisible = all(batch.is_divisible for batch in self.batches)
        self._name = name
        self._store = self._joined()
        self.output_shape = self._looked_at()
        self.num_outputs = self.output_shape.numel()

    def sample(self, index: int) -> Batch:
        """Return one sample as a batch."""
        if self._store is not None:
            return self._store.take([index])
        for batch in self.batches:
            if index < batch.size:
                return batch.take(slice(index, index + 1))
            index -= batch.size
        raise IndexError(index)

    def few(self, count: int) -> Batch:
        """Return the first samples, of the first batch."""
        first: Batch = self.batches[0]
        return first.take(slice(0, min(count, first.size))) if self.is_divisible else first

    def blocks(self, size: int) -> Blocks:
        """Return the samples in blocks of at most this many, across batches where their tensors have equal shapes."""
        if self._store is None:
            split = self.batches.split(size) if self.is_divisible else self.batches
            return Blocks(split.sizes, lambda index: split[index])
        store, total = self._store, self.num_samples
        begins = range(0, total, size)
        sizes = [min(size, total - begin) for begin in begins]
        return Blocks(sizes, lambda index: store.take(np.arange(begins[index], begins[index] + sizes[index])))

    def outputs(self, batch: Batch) -> Tensor:
        """Return the outputs of a batch without a graph."""
        with self.workload.evaluating(0, batch), torch.no_grad():
            return self.workload.piece(batch).evaluate("outputs", connected=False)

    def graph_bytes(self) -> int:
        """Return what the graph of one sample keeps, parameters apart; 0 where samples cannot be cut out."""
        if not self.is_divisible:
            return 0
        model = self.workload.model
        known = {tensor.data_ptr() for tensor in (*model.parameters(), *model.buffers())}
        sizes: dict[int, int] = {}

        def counted(tensor: Tensor) -> Tensor:
            if tensor.data_ptr() not in known:
                sizes[tensor.data_ptr()] = max(sizes.get(tensor.data_ptr(), 0), tensor.numel() * tensor.element_size())
            return tensor

        one = self.few(1)
        with self.workload.evaluating(0, one), saved_tensors_hooks(counted, lambda tensor: tensor):
            self.workload.piece(one).evaluate("outputs", connected=False)
        return sum(sizes.values())

    def _joined(self) -> Samples | None:
        if not self.is_divisible:
            return None
        try:
            return Samples(self.batches)
        except TaskError:
            # Batches padded to lengths of their own.
            return None

    def _looked_at(self) -> torch.Size:
        """Check the data, and the outputs of a few samples; return the shape of a sample's outputs."""
        for index, batch in enumerate(self.batches):
            for leaf in tensors_in(batch.inputs):
                if leaf.is_floating_point() and not bool(torch.isfinite(leaf).all()):
                    bad = int((~torch.isfinite(leaf)).sum())
                    raise NonFiniteError(
                        f"the inputs of batch {index} of {self._name} hold {bad} values that are NaN or infinite. "
                        "Clean the data."
                    )
        some = self.few(COMPANY)
        found = self.outputs(some)
        if found.ndim == 0 or found.shape[0] != some.size:
            raise TaskError(
                f"a tangent kernel needs outputs with one row for each sample; {some.size} samples of {self._name} "
                f"gave outputs of shape {tuple(found.shape)}. Pass output= to read them."
            )
        if found.numel() == 0:
            raise TaskError(f"the outputs of {self._name} are empty: shape {tuple(found.shape)}.")
        if not bool(torch.isfinite(found).all()):
            raise NonFiniteError(
                f"the outputs of {type(self.workload.model).__name__} on {self._name} are not finite although the "
                "inputs are. Look at the parameters, or measure in float64."
            )
        if self.is_divisible and some.size > 1:
            self._require_own_samples(some, found)
        if self._store is None:
            self._require_one_shape(found.shape[1:])
        return found.shape[1:]

    def _require_own_samples(self, some: Batch, together: Tensor) -> None:
        """Raise where outputs of a sample change with its company."""
        scale = float(together.abs().max()) or 1.0
        for i in sorted({0, some.size - 1}):
            alone = self.outputs(some.take(slice(i, i + 1)))
            apart = float((alone - together[i : i + 1]).abs().max()) / scale
            if apart > COMPANY_MATTERS * AGREEMENT[together.dtype]:
                raise TaskError(
                    f"the outputs of a sample of {self._name} change by {apart:.2g} (relative) when other samples join "
                    "the batch, so a kernel of pairs of samples does not exist. Look for statistics over the batch "
                    "(axis 0) in the model, and call model.eval(); should it be rounding, take dtype=torch.float64."
                )

    def _require_one_shape(self, expected: torch.Size) -> None:
        """Raise where batches whose tensors have shapes of their own give outputs of different shapes."""
        for index, batch in enumerate(self.batches):
            found = self.outputs(batch.take(slice(0, 1)) if self.is_divisible else batch)
            if found.shape[1:] != expected or (not self.is_divisible and found.shape[0] != batch.size):
                raise TaskError(
                    f"a tangent kernel needs outputs of one shape for all samples; batch {index} of {self._name} gave "
                    f"{tuple(found.shape)}, where {tuple(expected)} for each sample is required. Pool over positions, "
                    "or pad the batches to one length."
                )
