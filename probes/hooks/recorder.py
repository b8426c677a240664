"""The recorder: curvature and noise of a model while it trains, on a schedule, within a stated overhead."""

import os
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from torch import optim

from probes.hooks.budget import Budget
from probes.hooks.course import Course
from probes.hooks.failures import FailureLog
from probes.hooks.journal import Journal
from probes.hooks.observer import Observer
from probes.hooks.recording_plan import RecordingPlan
from probes.hooks.schedule import Schedule, as_schedule
from probes.hooks.sinks import Sink
from probes.hooks.store import IfExists, RecordingStore
from probes.optimizers.reading import inner
from probes.task import Task
from spectra.recommend import OptimizerSpec
from spectra.start_vectors import as_count, as_seed

__all__ = ["Recorder"]


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
        What to do with a recording at ``path``; ``"append"`` counts steps on, for resumed training. Nothing else than a
        recording is ever replaced.
    start_step : int, optional
        The step of the checkpoint from which training is resumed, by default the last one that was recorded. Rows of
        later steps are dropped.
    check : bool
        Compare Hessian products with differences of gradients once, before the first measurement (about ten gradients).
    rng : int or numpy.random.Generator
        Seed of everything random; a Generator is asked for one number, others are not touched.
    clock : callable
        Returns seconds.

    Attributes
    ----------
    overhead : float
        Time spent here over the time of training so far.
    num_measured, num_postponed : int
        Measurements taken, and how often one had to wait for the budget; in the whole of a continued recording.

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
    >>> import torch
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
        start_step: int | None = None,
        check: bool = True,
        rng: int | np.random.Generator = 0,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._budget = Budget(overhead, clock=clock)
        self._failures = FailureLog()
        self.sinks = list(sinks)
        optimizer = None if optimizer is None else inner(optimizer)
        with self._budget.spending("set-up"):
            schedule = as_schedule(every)
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
                rng=as_seed(rng),
            )
            self._observer = Observer(self._plan, self._failures)
            store = RecordingStore(
                path,
                {**self._observer.attributes, "overhead_budget": self._budget.share, "status": "recording"},
                if_exists=if_exists,
                start_step=None if start_step is None else as_count(start_step, name="start_step", least=0),
            )
        self._journal = Journal(store, self._budget, self._failures)
        # Without close(), after an error of the training: what waits is written when the recorder goes.
        self._rescue = weakref.finalize(self, self._journal.rescue)
        self._course = Course(
            self._observer,
            schedule,
            budget=self._budget,
            journal=self._journal,
            failures=self._failures,
            sinks=self.sinks,
        )
        self._handle: Any = None
        self._is_closed = False
        if optimizer is not None:
            self._course.adopt(optimizer)

    # What a training loop calls.

    def step(self, loss: Any = None) -> None:
        """Say that the optimizer has taken a step; call it after ``optimizer.step()``, before ``zero_grad()``.

        Parameters
        ----------
        loss : torch.Tensor or float, optional
            Of this step's batch. A tensor is not read before it is written.
        """
        if self._handle is not None:  # the optimizer has called already
            if loss is not None:
                self._course.take_loss(loss, is_late=True)
            return
        if loss is not None:
            self.log_loss(loss)
        self._step()

    def log_loss(self, loss: Any) -> None:
        """Hand in the loss of the step that comes next, where :meth:`step` is called by the optimizer."""
        self._course.take_loss(loss)

    def attach(self, optimizer: optim.Optimizer) -> "Recorder":
        """Have the optimizer call :meth:`step` after each of its steps, until :meth:`close`; return the recorder.

        Losses are handed in with :meth:`log_loss` before the step. A call of :meth:`step` counts none then: it adds the
        loss to the step just taken, if that has not been written yet.

        Raises
        ------
        TaskError
            It is no optimizer.
        """
        if self._is_closed:
            self._failures.warn("closed", "the recorder is closed; nothing is attached")
            return self
        self._course.adopt(optimizer)
        self._detach()
        self._handle = inner(optimizer).register_step_post_hook(lambda *_: self._step())
        return self

    def measure(self) -> None:
        """Measure the present state now, whatever schedule and budget say; at step 0 before training has begun."""
        if self._is_closed:
            self._failures.warn("closed", "the recorder is closed; nothing is recorded")
            return
        self._failures.guard("recorder", self._course.count, self._course.measure)

    def close(self) -> None:
        """Write what is pending, detach from the optimizer and close sinks; further calls do nothing."""
        if self._is_closed:
            return
        self._is_closed = True
        self._detach()
        self._rescue.detach()
        self._course.finish()

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
    def optimizer(self) -> optim.Optimizer | None:
        """The optimizer that is read."""
        return self._observer.optimizer

    @property
    def spec(self) -> OptimizerSpec | None:
        """What the optimizer was when it was last looked at."""
        return self._observer.spec

    @property
    def num_measured(self) -> int:
        """Measurements taken."""
        return self._course.num_measured

    @property
    def num_postponed(self) -> int:
        """How often a measurement had to wait for the budget."""
        return self._course.num_postponed

    @property
    def step_count(self) -> int:
        """Steps so far, those of a recording that was continued included."""
        return self._course.count

    def _step(self) -> None:
        if self._is_closed:
            self._failures.warn("closed", "the recorder is closed; steps are no longer recorded")
        else:
            self._failures.guard("recorder", self._course.count, self._course.step)

    def _detach(self) -> None:
        if self._handle is not None:
            self._handle.remove()
        self._handle = None
