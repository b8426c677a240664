"""The steps of a training as they pass: counted, noted, and measured where that is due and can be afforded."""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from torch import optim

from probes.hooks.budget import Budget
from probes.hooks.failures import FailureLog, reason_of
from probes.hooks.journal import Journal
from probes.hooks.observer import Observer
from probes.hooks.schedule import Schedule
from probes.hooks.sinks import Sink, scalars_of
from probes.hooks.training_log import as_number, kept_loss

__all__ = ["Course"]

#: Part of the budget that is set aside for gradient norms and other scalars of every step.
LOG_PART = 1 / 10


class Course:
    """Counts steps and measurements of one training; of a recording that is continued, from where it ended.

    Parameters
    ----------
    observer : Observer
        Measures.
    schedule : Schedule
        Says when.
    budget : Budget
        Says whether it can be afforded.
    journal : Journal
        Takes the rows.
    failures : FailureLog
        Takes what went wrong.
    sinks : sequence of Sink
        Get the measured numbers too.

    Attributes
    ----------
    count : int
        Steps so far.
    num_measured, num_postponed : int
        Measurements taken, and how often one had to wait for the budget.
    """

    def __init__(
        self,
        observer: Observer,
        schedule: Schedule,
        *,
        budget: Budget,
        journal: Journal,
        failures: FailureLog,
        sinks: Sequence[Sink],
    ) -> None:
        self._observer, self._schedule, self._budget = observer, schedule, budget
        self._journal, self._failures, self._sinks = journal, failures, sinks
        store = journal.store
        self.count, self.num_measured = store.last_step, store.num_measured
        self.num_postponed = int(store.attrs.get("num_postponed", 0))
        earlier = json.loads(store.attrs.get("failures", "[]"))
        failures.entries = [entry for entry in earlier if entry["step"] <= self.count]
        self._due = schedule.after(self.count)
        self._loss: Any = None
        self._started_at: float | None = None
        self._has_tried = self._is_waiting = False

    def adopt(self, optimizer: optim.Optimizer) -> None:
        """Read this optimizer from now on, and say in the store what it is."""
        self._observer.adopt(optimizer, step=self.count)
        spec = self._observer.spec
        self._journal.log.wants_l1 = spec is not None and spec.is_adaptive
        described = {"optimizer": "" if spec is None else spec.to_json()}
        self._failures.guard("store", self.count, lambda: self._journal.store.update(described))

    def take_loss(self, loss: Any, *, is_late: bool = False) -> None:
        """Take the loss of the step that comes next, or where it is late of the step just taken."""
        begin = self._budget.clock()
        kept: Any = None
        try:
            kept = kept_loss(loss)
        except Exception as error:
            if all(entry["quantity"] != "step_loss" for entry in self._failures.entries):
                self._failures.note("step_loss", self.count + (not is_late), reason_of(error))
        if not is_late:
            self._loss = kept
        elif kept is not None:
            self._journal.add_loss(self.count, kept)
        self._budget.charge(self._budget.clock() - begin)

    def step(self) -> None:
        """Count a step, and record what is due."""
        begin = self._budget.clock()
        if self._started_at is None:
            self._budget.start()
            begin = self._started_at = self._budget.clock()
        paid = self._budget.spent
        self.count += 1
        self._journal.num_steps = self.count
        if self._budget.allows("log", part=LOG_PART, now=begin):
            with self._budget.spending("log"):
                self._failures.guard("gradient_norm", self.count, self._note)
        if self.count >= self._due:
            self._measure_if_affordable()
        self._loss = None
        if self._journal.is_due(begin):
            self._journal.write(self.count, self._report("recording"))
        # What is not charged yet: the bookkeeping itself.
        self._budget.charge(self._budget.clock() - begin - (self._budget.spent - paid))

    def _note(self) -> None:
        rate, optimizer = self._observer.learning_rate, self._observer.optimizer
        self._journal.log.note(self.count, optimizer=optimizer, learning_rate=rate, loss=self._loss)

    def _measure_if_affordable(self) -> None:
        if not self._has_tried or self._budget.allows("measurement"):
            # First, so that a measurement that fails is not tried again at the very next step.
            self._is_waiting, self._due = False, self._schedule.after(self.count)
            self.measure()
        elif not self._is_waiting:
            self._is_waiting = True
            self.num_postponed += 1

    def measure(self) -> None:
        """Measure the present state."""
        # The first search starts from nothing and takes longer: its cost predicts no other.
        kind = "measurement" if self._has_tried else "first measurement"
        self._has_tried = True
        self._failures.guard("recorder", self.count, self._observer.synchronize)
        begin = self._budget.clock()
        with self._budget.spending(kind):
            row = self._observer.observe(self.count)
            row["seconds"] = 0.0 if self._started_at is None else begin - self._started_at
            if self._loss is not None:
                row["training_loss"] = as_number(self._loss)
            row["cost_seconds"] = self._budget.clock() - begin
        self._journal.rows.append(row)
        self.num_measured += 1
        with self._budget.spending("sinks"):
            scalars = scalars_of(row)
            for sink in self._sinks:
                self._failures.guard("sink", self.count, partial(sink.log_scalars, self.count, scalars))

    def finish(self) -> None:
        """Close sinks, and write what is pending."""
        self._budget.stop()
        with self._budget.spending("sinks"):
            for sink in self._sinks:
                self._failures.guard("sink", self.count, sink.close)
        self._journal.write(self.count, self._report("closed"))
        # The last word on the overhead includes the writing itself.
        last = {"overhead": self._budget.overhead}
        self._failures.guard("store", self.count, lambda: self._journal.store.update(last))

    def _report(self, status: str) -> Mapping[str, Any]:
        return {
            "status": status,
            "overhead": self._budget.overhead,
            "setup_seconds": self._budget.before,
            "num_steps": self.count,
            "num_measured": self.num_measured,
            "num_postponed": self.num_postponed,
            "failures": json.dumps(self._failures.entries),
        }
