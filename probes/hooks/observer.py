"""States of one training run as rows of numbers: the optimizer as it is now, and what the probe finds."""

from typing import Any

import torch
from torch import optim

from probes.hooks.failures import FailureLog, reason_of
from probes.hooks.measurement import Measurement, Probe
from probes.hooks.recording_plan import RecordingPlan
from probes.hooks.training_log import as_number
from probes.optimizers import describe_optimizer
from probes.optimizers.reading import inner
from spectra.provenance import provenance
from spectra.recommend import OptimizerSpec

__all__ = ["Observer"]


class Observer:
    """Measures the state of a training when told to; what cannot be measured is noted.

    Parameters
    ----------
    plan : RecordingPlan
        What is measured.
    failures : FailureLog
        Told what could not be.

    Attributes
    ----------
    reference : Batch
        The samples on which curvature and noise are measured.
    optimizer : torch.optim.Optimizer or None
        Whose constants and moments are read.
    spec : OptimizerSpec or None
        What the optimizer was when it was last looked at; None where that is not known.
    """

    def __init__(self, plan: RecordingPlan, failures: FailureLog) -> None:
        self._plan, self._failures = plan, failures
        self.reference = plan.draw()
        self.optimizer: optim.Optimizer | None = None
        self.spec: OptimizerSpec | None = None
        self._why_unknown = ""
        self._probe: Probe | None = None

    def adopt(self, optimizer: optim.Optimizer, *, step: int) -> None:
        """Read this optimizer from now on.

        Raises
        ------
        TaskError
            It is none.
        """
        self.optimizer, self._probe = inner(optimizer), None
        self._describe(step)

    @property
    def attributes(self) -> dict[str, Any]:
        """What a recording says of how it was measured."""
        return {
            "task": self._plan.task.name or "",
            "batch_size": self._plan.batch_size,
            "reference_size": self.reference.size,
            "num_micro_batches": self._plan.num_micro_batches,
            "seed": self._plan.rng,
            **provenance(),
        }

    @property
    def learning_rate(self) -> float:
        """Of the first parameter group; NaN where the optimizer has none."""
        return float("nan") if self.optimizer is None else as_number(self.optimizer.param_groups[0].get("lr"))

    @property
    def momentum(self) -> float:
        """Of the first parameter group, as last described; NaN where it is not known."""
        return float("nan") if self.spec is None or self.spec.why_unsupported else self.spec.beta

    def observe(self, step: int) -> dict[str, Any]:
        """Measure the present state, and return its row; never raises but for interrupts."""
        learning_rate = self.learning_rate
        try:
            self._describe(step)
            if self._probe is None:
                self._probe = self._plan.probe(self.reference, self.optimizer, self.spec)
            self._probe.spec = self.spec
            found = self._probe.measure(learning_rate=learning_rate)
        except Exception as error:
            names = self._plan.names
            found = Measurement({f"{name}_status": 2 for name in names}, dict.fromkeys(names, reason_of(error)))
        for quantity, reason in found.failures.items():
            self._failures.note(quantity, step, reason)
        return {"step": float(step), "learning_rate": learning_rate, "momentum": self.momentum, **found.values}

    def synchronize(self) -> None:
        """Wait for kernels of the training step, which are not charged to the measurement."""
        if torch.cuda.is_available() and next(self._plan.task.model.parameters()).is_cuda:
            torch.cuda.synchronize()

    def _describe(self, step: int) -> None:
        """Read the constants anew: schedules change more than the rate."""
        if self.optimizer is None:
            return
        try:
            self.spec, why = describe_optimizer(self.optimizer), ""
        except Exception as error:
            self.spec, why = None, reason_of(error)
        if why and why != self._why_unknown:
            self._failures.note("optimizer", step, why)
        self._why_unknown = why
