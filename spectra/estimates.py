"""A number with its error bar, what the error bar covers, and what it cost."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["Estimate", "Status"]

Status = Literal["resolved", "unresolved", "exact", "singular"]


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A measured number with an interval.

    Attributes
    ----------
    value : float
        The point estimate.
    stderr : float or None
        Standard error over the random probes; ``None`` when a single probe leaves it unknown.
    low, high : float or None
        Ends of the interval; ``None`` when no honest interval can be given (see ``status``).
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
    """

    value: float
    stderr: float | None
    low: float | None
    high: float | None
    level: float = 0.95
    covers: str
    num_matvecs: int
    status: Status = "resolved"

    def __str__(self) -> str:
        """Return the value with its interval on one line."""
        if self.low is None or self.high is None:
            interval = f"(no interval: {self.status})"
        else:
            interval = f"[{self.low:.4g}, {self.high:.4g}] at {self.level:.0%}"
        return f"{self.value:.4g} {interval} ({self.num_matvecs} matvecs)"
