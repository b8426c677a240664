"""On which samples, and how accurately, a recorder measures: chosen before training, carried out at the first step."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from torch import optim

from probes.batches import Batch
from probes.hooks.coordinates import trained_parameters
from probes.hooks.measurement import Probe
from probes.hooks.quantities import applicable
from probes.hooks.reference import cut, draw_reference
from probes.hooks.workbench import Workbench
from probes.model_loss import ModelLoss, read_any_loss
from probes.optimizers.reading import inner
from probes.task import Task
from spectra.arrays import finite_number
from spectra.errors import ArgumentError, SpectraError, TaskError
from spectra.recommend import OptimizerSpec
from spectra.recording import MEASURED
from spectra.start_vectors import as_count

__all__ = ["RecordingPlan"]

#: Samples of a reference set at least, and part of the batch: see ``scripts/benchmarks/recorder_overhead.py``.
LEAST_SAMPLES, BATCH_SHARE = 64, 4


@dataclass(frozen=True, kw_only=True)
class RecordingPlan:
    """What :class:`probes.Recorder` measures; for its arguments see there.

    Raises
    ------
    ArgumentError, TaskError
        An argument is out of range, an unknown quantity, or a loss that sums over the batch.
    """

    task: Task
    batch_size: int
    quantities: Sequence[str] | None = None
    reference_size: int | None = None
    num_micro_batches: int = 8
    samples_in_memory: int | None = None
    tolerance: float = 0.1
    max_products: int = 10
    check: bool = True
    rng: int = 0

    def __post_init__(self) -> None:
        """Look at the arguments; neither model nor data are touched."""
        least = {"num_micro_batches": 4, "max_products": 2, "rng": 0}
        for name in ("batch_size", "reference_size", "samples_in_memory", *least):
            if (value := getattr(self, name)) is not None or name in ("batch_size", *least):
                object.__setattr__(self, name, as_count(value, name=name, least=least.get(name, 1)))
        if not finite_number(self.tolerance, name="tolerance") > 0:
            raise ArgumentError(f"tolerance must be positive; got {self.tolerance}")
        if self.quantities is not None:
            names = (self.quantities,) if isinstance(self.quantities, str) else tuple(self.quantities)
            unknown = [name for name in names if name not in MEASURED]
            if unknown or not names:
                raise ArgumentError(
                    f"quantities must be some of {', '.join(MEASURED)}; got {', '.join(unknown) or 'none'}"
                )
            object.__setattr__(self, "quantities", names)
        if read_any_loss(self.task.loss).reduction == "sum":
            raise TaskError("the loss sums over the batch (reduction='sum'); record one that is a mean over samples.")

    @property
    def names(self) -> tuple[str, ...]:
        """The quantities asked for, or those that always apply."""
        return applicable(self.quantities, scaled=False)

    def draw(self) -> Batch:
        """Return the reference set: as many samples as wanted, or as there are, in equal parts."""
        size = self.reference_size or max(LEAST_SAMPLES, self.batch_size // BATCH_SHARE)
        drawn = draw_reference(
            self.task.data,
            size=max(size, self.num_micro_batches),
            paired=not isinstance(read_any_loss(self.task.loss), ModelLoss),
            rng=np.random.default_rng([self.rng, 5]),
        )
        left_over = drawn.size % self.num_micro_batches
        return drawn.take(slice(0, drawn.size - left_over)) if 0 < left_over < drawn.size else drawn

    def probe(self, reference: Batch, optimizer: optim.Optimizer | None, spec: OptimizerSpec | None) -> Probe:
        """Return what measures, on a reference set; the model is run by its first measurement only.

        Raises
        ------
        SpectraError
            Too few samples.
        """
        if reference.size < self.num_micro_batches:
            raise SpectraError(
                f"the reference set has {reference.size} samples, too few for {self.num_micro_batches} micro-batches; "
                "give data with more samples, or a smaller num_micro_batches"
            )
        return Probe(
            self.task.model,
            partial(self._bench, reference, optimizer),
            optimizer=optimizer,
            spec=spec,
            batch_size=self.batch_size,
            quantities=tuple(self.quantities) if self.quantities else None,
            check=self.check,
            tolerance=self.tolerance,
            max_products=self.max_products,
            rng=self.rng,
        )

    def _bench(self, reference: Batch, optimizer: optim.Optimizer | None) -> Workbench:
        held = self.samples_in_memory or max(1, self.batch_size // BATCH_SHARE)
        return Workbench(
            self.task,
            cut(reference, reference.size // self.num_micro_batches),
            cut(reference, held),
            parameters=trained_parameters(
                self.task.model, self.task.parameters, None if optimizer is None else inner(optimizer)
            ),
        )
