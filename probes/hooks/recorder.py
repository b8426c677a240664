"""The recorder: curvature and noise of a model while it trains, on a schedule, within a stated overhead."""

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import optim

from probes.hooks.budget import Budget
from probes.hooks.failures import FailureLog, reason_of
from probes.hooks.journal import Journal
from probes.hooks.measurement import Measurement, Probe
from probes.hooks.recording_plan import RecordingPlan
from probes.hooks.schedule import Schedule, as_schedule
from probes.hooks.sinks import Sink, scalars_of
from probes.hooks.store import IfExists, RecordingStore
from probes.optimizers import describe_optimizer
from probes.optimizers.reading import inner
from probes.task import Task
from spectra.errors import SpectraError
from spectra.provenance import provenance
from spectra.recommend import OptimizerSpec

__all__ = ["Recorder"]

#: Part of the budget that is set aside for gradient norms and other scalars of every step.
LOG_PART = 1 / 10


class Recorder:
    r"""Records sharpness, gradient noise and the largest stable learning rate of a model while it trains.

    Training is not changed: weights, random numbers, buffers, modes, gradients and hooks are bit by bit what they would
    be without it. Nothing is raised into the training loop: what cannot be measured is recorded as failed, with the
    reason, and there is one warning. Time is kept to a share of the training time: a measurement that does not fit is
    postponed until it does. (The first takes place as planned; what it took is paid back before the second.)

    Parameters
    ----------
    task : Task
        The model that is trained, its loss, and data to draw a reference set from: batches or a ``DataLoader``, which
        may shuffle; see :func:`probes.hooks.reference.draw_reference`.
    path : str or path-like
        The Zarr store to write, ``*.zarr``; see :mod:`spectra.recording`.
    optimizer : torch.optim.Optimizer, optional
        Whose learning rate, kind and second moments are read. :meth:`attach` names it as well.
    batch_size : int
        Effective batch of a step: samples x accumulation x workers.
    every : int or Schedule
        Steps between measurements, or a schedule such as :class:`probes.hooks.LogSpaced`.
    overhead : float
        Time for everything here, as a share of the time of training without it.
    quantities : sequence of str, optional
        Of :data:`spectra.recording.MEASURED`; by default all that apply.
    reference_size : int, optional
        Samples on which curvature is measured. By default a quarter of ``batch_size``, at least 64: a measurement takes
        the time of a few training steps for each batch of samples. The largest eigenvalue of so few samples exceeds
        that of all data by about ``curvature_noise / (reference_size * sharpness)``.
    num_micro_batches : int
        Into which the reference set is cut for noise; at least 4. More resolve the noise better and take longer.
    samples_in_memory : int, optional
        Samples of which products may hold the graph at a time, by default a quarter of ``batch_size``: a graph that is
        differentiated twice takes up to five times the memory of one that is differentiated once. Give less if the
        batch is accumulated or spread over workers.
    tolerance, max_products : float, int
        The search for the largest eigenvalue ends at this relative residual, or after so many products.
    sinks : sequence of Sink
        Get the same scalars, see :mod:`probes.hooks.sinks`.
    if_exists : {"refuse", "append", "replace"}
        What to do with a recording at ``path``; ``"append"`` counts steps on, for resumed training.
    check : bool
        Compare Hessian products with differences of gradients once, before the first measurement (about ten gradients).
    rng : int
        Seed of everything random; generators of others are not touched.
    clock : callable
        Returns seconds.

    Attributes
    ----------
    overhead : float
        Time spent here over the time of training so far.
    num_measured, num_postponed : int
        Measurements taken, and how often one had to wait for the budget.

    Raises
    ------
    ArgumentError, TaskError, SpectraError
        On construction only: wrong arguments, data without samples, a loss that sums, a store that cannot be written.

    Notes
    -----
    Memory beyond model, gradients and optimizer: the graph of ``samples_in_memory`` samples and six vectors of n
    numbers, or ``num_micro_batches + 2`` of them for noise; twice that with the curvature noise of a preconditioned
    space. Between measurements: one vector for each kind of sharpness, on the host,
    and the reference set. Measured by ``scripts/benchmarks/recorder_overhead.py``.

    Of several data-parallel processes let one record; it measures its own replica.

    Examples
    --------
    >>> import tempfile
    >>> from probes import Task
    >>> from spectra.recording import read_recording
    >>> model = torch.nn.Linear(3, 1)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> x = torch.randn(64, 3)
    >>> y = x.sum(1, keepdim=True)
    >>> folder = tempfile.TemporaryDirectory()
    >>> task = Task(model, torch.nn.MSELoss(), [(x, y)])
    >>> recorder = Recorder(task, f"{folder.name}/run.zarr", optimizer=optimizer, batch_size=64, every=5)
    >>> for _ in range(10):
    ...     optimizer.zero_grad()
    ...     loss = torch.nn.functional.mse_loss(model(x), y)
    ...     loss.backward()
    ...     optimizer.step()
    ...     recorder.step(loss)
    >>> recorder.close()
    >>> recording = read_recording(f"{folder.name}/run.zarr")
    >>> recording["step"].values[:1].tolist(), bool(recording["sharpness"][0] > 0)
    ([1], True)
    >>> folder.cleanup()
    """

    def __init__(
        self,
        task: Task,
        path: str | os.PathLike[str],
        *,
        batch_size: int,
        optimizer: optim.Optimizer | None = None,
        every: int | Schedule = 100,
        overhead: float = 0.03,
        quantities: Sequence[str] | None = None,
        reference_size: int | None = None,
        num_micro_batches: int = 8,
        samples_in_memory: int | None = None,
        tolerance: float = 0.1,
        max_products: int = 10,
        sinks: Sequence[Sink] = (),
        if_exists: IfExists = "refuse",
        check: bool = True,
        rng: int = 0,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._budget = Budget(overhead, clock=clock)
        with self._budget.spending("set-up"):
            self._plan = RecordingPlan(
                task=task,
                batch_size=batch_size,
                quantities=quantities,
                reference_size=reference_size,
                num_micro_batches=num_micro_batches,
                samples_in_memory=samples_in_memory,
                tolerance=tolerance,
                max_products=max_products,
                check=check,
                rng=rng,
            )
            self._schedule = as_schedule(every)
            self._reference = self._plan.draw()
            self.sinks = list(sinks)
            attrs = {
                "task": task.name or "",
                "batch_size": batch_size,
                "reference_size": self._reference.size,
                "num_micro_batches": num_micro_batches,
                "overhead_budget": float(overhead),
                "seed": rng,
                **provenance(),
            }
            store = RecordingStore(path, attrs, if_exists=if_exists)
            self._count = store.last_step
            self._due = self._schedule.after(self._count)
        self.optimizer: optim.Optimizer | None = None
        self.spec: OptimizerSpec | None = None
        self.num_measured = self.num_postponed = 0
        self._failures = FailureLog()
        self._journal = Journal(store, self._budget, self._failures)
        self._loss: Any = None
        self._probe: Probe | None = None
        self._handle: Any = None
        self._started_at: float | None = None
        self._waiting = self._is_closed = False
        if optimizer is not None:
            self._adopt(optimizer)

    # What a training loop calls.

    def step(self, loss: Any = None) -> None:
        """Say that the optimizer has taken a step; call it after ``optimizer.step()``, before ``zero_grad()``.

        Parameters
        ----------
        loss : torch.Tensor or float, optional
            Of this step's batch. A tensor is not read before it is written.
        """
        begin = self._budget.clock()
        if loss is not None:
            self.log_loss(loss)
        if self._is_closed:
            self._failures.warn("closed", "the recorder is closed; steps are no longer recorded")
            return
        if self._started_at is None:
            self._budget.start()
            begin = self._started_at = self._budget.clock()
        try:
            self._after_step(begin)
        except Exception as error:
            self._failures.note("recorder", self._count, reason_of(error))

    def log_loss(self, loss: Any) -> None:
        """Hand in the loss of the step that comes next, where :meth:`step` is called by the optimizer."""
        self._loss = loss.detach() if isinstance(loss, torch.Tensor) else loss

    def attach(self, optimizer: optim.Optimizer) -> "Recorder":
        """Have the optimizer call :meth:`step` after each of its steps, until :meth:`close`; return the recorder.

        Raises
        ------
        TaskError
            It is no optimizer.
        """
        self._adopt(optimizer)
        if self._handle is not None:
            self._handle.remove()
        self._handle = inner(optimizer).register_step_post_hook(lambda *_: self.step())
        return self

    def measure(self) -> None:
        """Measure the present state now, whatever schedule and budget say; at step 0 before training has begun."""
        if self._is_closed:
            self._failures.warn("closed", "the recorder is closed; nothing is recorded")
            return
        self._failures.guard("recorder", self._count, self._measure)

    def close(self) -> None:
        """Write what is pending, detach from the optimizer and close sinks; further calls do nothing."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._handle is not None:
            self._handle.remove()
        self._budget.stop()
        with self._budget.spending("sinks"):
            for sink in self.sinks:
                self._failures.guard("sink", self._count, sink.close)
        self._journal.write(self._count, self._report("closed"))
        # The last word on the overhead includes the writing itself.
        self._failures.guard("store", self._count, lambda: self._journal.store.update({"overhead": self.overhead}))

    def __enter__(self) -> "Recorder":
        """Return the recorder."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close."""
        self.close()

    @property
    def overhead(self) -> float:
        """Time spent here since the first step, over the time of training without it."""
        return self._budget.overhead

    @property
    def failures(self) -> list[dict[str, Any]]:
        """What could not be measured or written: ``step``, ``quantity``, ``reason``; the latest hundred."""
        return list(self._failures.entries)

    @property
    def step_count(self) -> int:
        """Steps so far, those of a recording that was continued included."""
        return self._count

    # How it is done.

    def _adopt(self, optimizer: optim.Optimizer) -> None:
        self.optimizer = inner(optimizer)
        self.spec, self._probe = None, None
        try:
            self.spec = describe_optimizer(self.optimizer)
        except SpectraError as error:
            self._failures.note("optimizer", self._count, reason_of(error))
        self._journal.log.wants_l1 = self.spec is not None and self.spec.is_adaptive
        described = {"optimizer": "" if self.spec is None else self.spec.to_json()}
        self._failures.guard("store", self._count, lambda: self._journal.store.update(described))

    @property
    def _learning_rate(self) -> float:
        return float("nan") if self.optimizer is None else float(self.optimizer.param_groups[0]["lr"])

    def _after_step(self, begin: float) -> None:
        paid = self._budget.spent
        self._count += 1
        if self._budget.allows("log", part=LOG_PART, now=begin):
            with self._budget.spending("log"):
                self._failures.guard("gradient_norm", self._count, self._note_step)
        if self._count >= self._due:
            if not self.num_measured or self._budget.allows("measurement"):
                self._measure()
                self._waiting, self._due = False, self._schedule.after(self._count)
            elif not self._waiting:
                self._waiting = True
                self.num_postponed += 1
        self._loss = None
        if self._journal.is_due(begin):
            self._journal.write(self._count, self._report("recording"))
        # What is not charged yet: the bookkeeping itself.
        self._budget.charge(self._budget.clock() - begin - (self._budget.spent - paid))

    def _note_step(self) -> None:
        self._journal.log.note(
            self._count, optimizer=self.optimizer, learning_rate=self._learning_rate, loss=self._loss
        )

    def _measure(self) -> None:
        if torch.cuda.is_available():
            self._failures.guard("recorder", self._count, self._synchronize)
        begin, rate = self._budget.clock(), self._learning_rate
        # The first search starts from nothing and takes longer: its cost predicts no other.
        kind = "measurement" if self.num_measured else "first measurement"
        with self._budget.spending(kind):
            try:
                if self._probe is None:
                    self._probe = self._plan.probe(self._reference, self.optimizer, self.spec)
                found = self._probe.measure(learning_rate=rate)
            except Exception as error:
                names = self._plan.names
                found = Measurement({f"{name}_status": 2 for name in names}, dict.fromkeys(names, reason_of(error)))
        for quantity, reason in found.failures.items():
            self._failures.note(quantity, self._count, reason)
        row = {"step": float(self._count), "learning_rate": rate, **found.values}
        row["seconds"] = 0.0 if self._started_at is None else begin - self._started_at
        if self._loss is not None:
            row["training_loss"] = float(self._loss)
        row["cost_seconds"] = self._budget.clock() - begin
        self._journal.rows.append(row)
        self.num_measured += 1
        with self._budget.spending("sinks"):
            scalars = scalars_of(row)
            for sink in self.sinks:
                self._failures.guard("sink", self._count, partial(sink.log_scalars, self._count, scalars))

    def _synchronize(self) -> None:
        """Wait for kernels of the training step, which are not charged to the measurement."""
        if next(self._plan.task.model.parameters()).is_cuda:
            torch.cuda.synchronize()

    def _report(self, status: str) -> Mapping[str, Any]:
        return {
            "status": status,
            "overhead": self.overhead,
            "setup_seconds": self._budget.before,
            "num_steps": self._count,
            "num_measured": self.num_measured,
            "num_postponed": self.num_postponed,
            "failures": json.dumps(self.failures),
        }
