"""At which training steps a recorder measures: every so many, or evenly in the logarithm of the step."""

import bisect
import math
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from spectra.arrays import finite_number
from spectra.errors import ArgumentError
from spectra.start_vectors import as_count

__all__ = ["EveryN", "LogSpaced", "Schedule", "as_schedule"]


class Schedule(Protocol):
    """Anything that knows the next step at which to measure."""

    def after(self, step: int) -> int:
        """Return the first planned step beyond ``step``; steps are counted from 1."""


@dataclass(frozen=True)
class EveryN:
    """The first step, and then every ``interval`` steps: 1, N, 2 N, 3 N, ...

    Parameters
    ----------
    interval : int
        N.

    Raises
    ------
    ArgumentError
        N is no whole number from 1.

    Examples
    --------
    >>> plan = EveryN(100)
    >>> plan.after(0), plan.after(1), plan.after(250)
    (1, 100, 300)
    """

    interval: int

    def __post_init__(self) -> None:
        """Look at the interval."""
        object.__setattr__(self, "interval", as_count(self.interval, name="the interval between recordings"))

    def after(self, step: int) -> int:
        """Return the first planned step beyond ``step``."""
        return 1 if step < 1 else (step // self.interval + 1) * self.interval


@dataclass(frozen=True)
class LogSpaced:
    """Steps that grow by a constant factor: many early, when curvature changes fast, few late.

    Parameters
    ----------
    per_decade : int
        Recordings for each factor of 10 in the step; where steps are too few to tell them apart, every step is taken.
    first : int
        The first step.
    max_interval : int, optional
        Steps between recordings at most.

    Raises
    ------
    ArgumentError
        A number is not whole or below 1.

    Examples
    --------
    >>> plan, step, steps = LogSpaced(per_decade=4), 0, []
    >>> while step < 1000:
    ...     step = plan.after(step)
    ...     steps.append(step)
    >>> steps
    [1, 2, 3, 6, 10, 18, 32, 56, 100, 178, 316, 562, 1000]
    """

    per_decade: int = 10
    first: int = 1
    max_interval: int | None = None
    _steps: list[int] = field(default_factory=list, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Look at the numbers."""
        for name in ("per_decade", "first", "max_interval"):
            if (value := getattr(self, name)) is not None or name != "max_interval":
                object.__setattr__(self, name, as_count(value, name=name))

    def after(self, step: int) -> int:
        """Return the first planned step beyond ``step``."""
        if not self._steps:
            self._steps.append(self.first)
        while self._steps[-1] <= step:
            self._steps.append(self._next(self._steps[-1]))
        return self._steps[bisect.bisect_right(self._steps, step)]

    def _next(self, last: int) -> int:
        # Rounding first makes powers of ten exact: log10(1000) is a little less than 3 in floating point.
        position = round(self.per_decade * math.log10(last / self.first), 9)
        number = math.floor(position) + 1
        while (grown := round(self.first * 10 ** (number / self.per_decade))) <= last:
            number += 1
        return grown if self.max_interval is None else min(grown, last + self.max_interval)


def as_schedule(every: int | Schedule) -> Schedule:
    """Return a schedule as it is, and a number of steps as :class:`EveryN`.

    Raises
    ------
    ArgumentError
        Neither of them.
    """
    if isinstance(every, int | np.integer) and not isinstance(every, bool):
        return EveryN(int(every))
    if callable(getattr(every, "after", None)):
        return every  # type: ignore[return-value]
    if isinstance(every, float):
        finite_number(every, name="every")
    raise ArgumentError(
        f"every must be a whole number of steps from 1 or a schedule such as LogSpaced(per_decade=10); got {every!r}"
    )
