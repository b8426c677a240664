"""Rows on their way to the store: kept until a write is due, and kept on where it fails."""

import contextlib
import json
import os
from collections.abc import Mapping
from typing import Any

from probes.hooks.budget import Budget
from probes.hooks.failures import FailureLog
from probes.hooks.store import RecordingStore
from probes.hooks.training_log import TrainingLog, as_number

__all__ = ["Journal"]

#: Part of training time that writing may take, and seconds between two writes at least. Both well below the budget of a
#: recorder (3 %); a killed run loses what was recorded since the last write.
WRITE_PART, WRITE_EVERY = 0.001, 1.0


class Journal:
    """Pending rows of both axes of a recording.

    Parameters
    ----------
    store : RecordingStore
        Where they go.
    budget : Budget
        Pays for it.
    failures : FailureLog
        Told when the store cannot be written.

    Attributes
    ----------
    log : TrainingLog
        Rows of every training step.
    rows : list of dict
        Measurements.
    num_steps : int
        Steps so far.
    """

    def __init__(self, store: RecordingStore, budget: Budget, failures: FailureLog) -> None:
        self.store, self._budget, self._failures = store, budget, failures
        self.log = TrainingLog(wants_l1=False)
        self.rows: list[dict[str, float]] = []
        self._next = budget.clock() + WRITE_EVERY
        self.num_steps = store.last_step
        self._process = os.getpid()

    def add_loss(self, step: int, loss: Any) -> None:
        """Add the loss of a step that was recorded without it, as long as it waits to be written."""
        self.log.add_loss(step, loss)
        if self.rows and self.rows[-1]["step"] == step:
            self.rows[-1].setdefault("training_loss", as_number(loss))

    def is_due(self, now: float) -> bool:
        """Whether something waits and enough time has passed since the last write."""
        return now >= self._next and bool(self.rows or len(self.log))

    def write(self, step: int, attrs: Mapping[str, Any]) -> None:
        """Append what waits, and update attributes of the store; a failure is noted, and the rows wait on."""
        with self._budget.spending("writing"):
            self._failures.guard("store", step, lambda: self._write(attrs))
        self._next = self._budget.clock() + max(WRITE_EVERY, self._budget.expected("writing") / WRITE_PART)

    def rescue(self) -> None:
        """Write what waits where nobody closed the recorder, unless the store has another writer by now."""
        with contextlib.suppress(Exception):
            if os.getpid() == self._process and self.store.is_ours:
                failures = json.dumps(self._failures.entries)
                measured = self.store.num_measured + len(self.rows)
                self._write({"num_steps": self.num_steps, "num_measured": measured, "failures": failures})

    def _write(self, attrs: Mapping[str, Any]) -> None:
        self.store.append("step", self.rows)
        self.rows = []
        log = self.log.take()
        try:
            self.store.append("training_step", log)
        except BaseException:
            self.log.put_back(log)
            raise
        self.store.update(attrs)
