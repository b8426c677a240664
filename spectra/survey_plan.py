"""Where the products of a survey go: steps, samples of the trace, or nowhere any more."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, final

import numpy as np

from spectra.arrays import eps
from spectra.block_run import BlockRun, ComplementTrace
from spectra.integrals import integrate
from spectra.protocols import Progress
from spectra.survey_extremes import Extremes, extremes
from spectra.survey_tree import measure_of, survey_tree

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["SurveyPlan"]

_FIRST_SAMPLES = 12
_MOST_SAMPLES = 16
_STEPS_BACK = 4


@final
class SurveyPlan:
    """Decides where the next products of a survey go.

    First steps, as many as the density needs; then a dozen samples of the trace; then whatever is missing: steps for
    the ends, and for the trace steps or samples, whichever promise more per product. What the trace will need is set
    aside before steps are spent on the ends.

    Parameters
    ----------
    run : BlockRun
    num, num_smallest, tolerance, trace_rtol, num_steps, budget, definite, level, progress
        As for `spectra.survey`; ``budget`` is its ``max_matvecs``.
    """

    def __init__(
        self,
        run: BlockRun,
        *,
        num: int,
        num_smallest: int,
        tolerance: float,
        trace_rtol: float,
        num_steps: int,
        budget: int,
        definite: bool,
        level: float,
        progress: Progress | None,
    ) -> None:
        self.run, self.num, self.num_smallest = run, num, num_smallest
        self.tolerance, self.trace_rtol = tolerance, trace_rtol
        self.num_steps, self.budget, self.definite, self.level = num_steps, budget, definite, level
        self.progress = progress
        self.eps = eps(run.operator.like)
        self._extremes: Extremes | None = None
        self._extremes_at = -1
        self._norm, self._norm_at = 0.0, (-1, -1)

    @property
    def left(self) -> int:
        """Products that may still be made."""
        return self.budget - self.run.products.num_matvecs

    def work(self) -> str:
        """Spend products until everything is as good as asked for; return why it ended."""
        run = self.run
        # The first samples are paid for whatever the steps find, so that there is a trace at all.
        spare = self.budget - 1 - run.num_starts
        samples = min(_FIRST_SAMPLES, spare, max(2, spare // 3))
        while run.num_steps < self.num_steps and self._can_step(reserve=samples):
            self._do(run.step)
        while True:
            pairs, trace = self.extremes(), run.trace()
            excess = self.excess(trace)
            if not run.is_complete and run.num_samples < samples and excess > 0.0:
                if not self._sample(samples - run.num_samples):
                    return self._limit()
                continue
            if pairs.num_missing and run.is_exhausted and self.left > 0 and run.room > 0:
                run.start_anew(min(pairs.num_missing, self.left, run.room))
                self._do(run.step)
            elif not pairs.is_settled and self._can_step(reserve=self._reserve(excess)):
                self._do(run.step)
            elif excess > 1.0:
                if self._steps_pay(trace) and self._can_step():
                    self._do(run.step)
                elif not self._sample(min(max(2, self._reserve(excess)), _MOST_SAMPLES)):
                    return self._limit()
            elif pairs.is_settled and (run.num_steps >= self.num_steps or run.is_exhausted):
                return "targets reached"
            else:
                return self._limit()

    def extremes(self) -> Extremes:
        """Return both ends as they are known."""
        if self._extremes_at != self.run.num_rows or self._extremes is None:
            self._extremes_at = self.run.num_rows
            self._extremes = extremes(
                self.run,
                num=self.num,
                num_smallest=self.num_smallest,
                tolerance=self.tolerance,
                positive_semidefinite=self.definite,
                eps=self.eps,
            )
        return self._extremes

    def excess(self, trace: ComplementTrace) -> float:
        """Return by which factor the standard error of the trace exceeds what was asked for."""
        if self.run.is_complete:
            return 0.0
        if self.run.num_samples < 2:
            return np.inf
        scale = self.run.products.scaled(self._nuclear_norm())
        target = self.trace_rtol * max(float(scale), abs(trace.value)) + trace.rounding
        return trace.stderr / target if trace.stderr > 0.0 else 0.0

    def tree(self, ended: str, *, keep_vectors: bool) -> "xr.DataTree":
        """Return the answer."""
        pairs, trace = self.extremes(), self.run.trace()
        reached = self.excess(trace) <= 1.0
        return survey_tree(
            self.run,
            pairs,
            trace,
            keep_vectors=keep_vectors,
            positive_semidefinite=self.definite,
            level=self.level,
            attrs={
                "tolerance": self.tolerance,
                "trace_rtol": self.trace_rtol,
                "max_matvecs": self.budget,
                "extremes_reached": int(pairs.is_settled),
                "trace_reached": int(reached),
                "ended": ended,
            },
        )

    def _nuclear_norm(self) -> float:
        steps = (self.run.num_starts, self.run.num_steps)
        if self._norm_at != steps:
            self._norm_at = steps
            self._norm = self.run.operator.shape[0] * integrate(measure_of(self.run), np.abs).value
        return self._norm

    def _reserve(self, excess: float) -> int:
        """Return how many products the trace will need, at the present spread."""
        if not np.isfinite(excess):
            return 0
        return max(0, int(np.ceil(self.run.num_samples * (excess**2 - 1.0))))

    def _steps_pay(self, trace: ComplementTrace) -> bool:
        """Whether steps lower the standard error of the trace more per product than samples do.

        ``d log(stderr)`` per product: ``1 / (2 r)`` for the (r + 1)st sample; for steps what the last ones achieved,
        seen with the same samples.
        """
        run = self.run
        back = min(_STEPS_BACK, run.num_steps - 1) * run.num_starts
        if back <= 0 or not 0.0 < trace.deviation < np.inf:
            return False
        before = run.trace(num_rows=run.num_rows - back)
        return np.log(before.deviation / trace.deviation) / back > 0.5 / run.num_samples

    def _can_step(self, *, reserve: int = 0) -> bool:
        first = int(self.run.num_steps == 0)  # with its repetition
        return self.run.can_step and self.left - reserve >= self.run.step_cost + first

    def _sample(self, num: int) -> bool:
        """Draw samples, as many as the budget and the memory allow; return whether there were any."""
        num = min(num, self.left, self.run.room)
        if num < 1:
            return False
        self._do(lambda: self.run.sample(num))
        return True

    def _do(self, action: Callable[[], Any]) -> None:
        action()
        if self.progress is not None:
            self.progress(self.run.products.num_matvecs, self.budget)

    def _limit(self) -> str:
        """Return what stands in the way of more."""
        if self.left < max(1, self.run.step_cost):
            return "budget"
        return "memory" if self.run.room < max(1, self.run.step_cost) else "budget"
