"""A number, or an array of numbers, with its error bar, what the error bar covers, and what it cost."""

from dataclasses import dataclass, fields
from typing import Any, Literal, TypeAlias

import numpy as np

__all__ = ["Estimate", "Status"]

Status = Literal["resolved", "unresolved", "exact", "singular"]

Value: TypeAlias = Any
"""A float; for quantities with one value per coordinate a float64 array, NumPy on the host."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Estimate:
    """A measured number with an interval, or an array of numbers with an interval each.

    Attributes
    ----------
    value : float or ndarray
        The point estimate; an array of shape (n,) for quantities with one value per coordinate, such as the diagonal.
    stderr : float, ndarray or None
        Standard error over the random probes, of the shape of ``value``; ``None`` when a single probe leaves it
        unknown.
    low, high : float, ndarray or None
        Ends of the interval, of the shape of ``value``; ``None`` when no honest interval can be given (see
        ``status``). The intervals of an array hold one at a time: each entry is covered with probability ``level``,
        not all of them at once.
    level : float
        Nominal coverage of ``[low, high]``.
    covers : str
        Which randomness and which bias the interval accounts for.
    num_matvecs : int
        Products ``A @ v`` spent, all of them.
    status : {"resolved", "unresolved", "exact", "singular"}
        ``"unresolved"`` means that the quadrature has not converged, so that no interval is given.

    Examples
    --------
    >>> print(Estimate(value=2.0, stderr=0.1, low=1.8, high=2.2, covers="probes", num_matvecs=300))
    2 [1.8, 2.2] at 95% (300 matvecs)
    >>> import numpy as np
    >>> two = np.array([1.0, 2.0])
    >>> print(Estimate(value=two, stderr=0.1 * two, low=0.8 * two, high=1.2 * two, covers="probes", num_matvecs=300))
    2 values from 1 to 2, half-widths up to 0.4 at 95% (300 matvecs)
    """

    value: Value
    stderr: Value | None
    low: Value | None
    high: Value | None
    level: float = 0.95
    covers: str
    num_matvecs: int
    status: Status = "resolved"

    def __eq__(self, other: object) -> bool:
        """Whether all fields agree, arrays entry by entry."""
        if not isinstance(other, Estimate):
            return NotImplemented
        return all(np.array_equal(getattr(self, f.name), getattr(other, f.name)) for f in fields(self))

    def __hash__(self) -> int:
        """Hash the fields; an estimate of an array has none, as the array has none."""
        return hash(tuple(getattr(self, f.name) for f in fields(self)))

    def __str__(self) -> str:
        """Return the value with its interval on one line; of an array, its range and the widest interval."""
        missing = self.low is None or self.high is None
        if isinstance(self.value, np.ndarray):
            text = f"{self.value.size} values from {np.min(self.value):.4g} to {np.max(self.value):.4g}"
            if missing:
                return f"{text} (no intervals: {self.status}) ({self.num_matvecs} matvecs)"
            widest = 0.5 * float(np.max(np.asarray(self.high) - np.asarray(self.low)))
            return f"{text}, half-widths up to {widest:.4g} at {self.level:.0%} ({self.num_matvecs} matvecs)"
        if missing:
            interval = f"(no interval: {self.status})"
        else:
            interval = f"[{self.low:.4g}, {self.high:.4g}] at {self.level:.0%}"
        return f"{self.value:.4g} {interval} ({self.num_matvecs} matvecs)"
