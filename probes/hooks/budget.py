"""How much time a recorder may take: a share of the training time, measured with a clock that can be replaced."""

import statistics
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from spectra.arrays import finite_number
from spectra.errors import ArgumentError

__all__ = ["Budget"]

#: The cost of the next act is predicted by the median of so many acts of its kind, so that one slow one does not count.
REMEMBERED = 5


class Budget:
    r"""An account of time: what was spent must stay below a share of the time that training itself took.

    .. math:: \text{spent} + \text{predicted cost} \le \text{share} \cdot (\text{elapsed} - \text{spent})

    An act of a kind that was never done has no predicted cost: it is allowed while nothing is owed, and what it took is
    paid back before the next one.

    Parameters
    ----------
    share : float
        Allowed overhead, such as 0.03.
    clock : callable
        Returns seconds.

    Attributes
    ----------
    spent : float
        Seconds spent since the start.
    before : float
        Seconds spent before it, which do not count: training has not begun.

    Raises
    ------
    ArgumentError
        The share is not positive.

    Examples
    --------
    >>> time = [0.0]
    >>> budget = Budget(0.1, clock=lambda: time[0])
    >>> budget.start()
    >>> with budget.spending("measurement"):
    ...     time[0] += 1.0
    >>> budget.allows("measurement")
    False
    >>> time[0] += 25.0
    >>> budget.allows("measurement"), round(budget.overhead, 3)
    (True, 0.04)
    """

    def __init__(self, share: float, *, clock: Callable[[], float]) -> None:
        self.share = finite_number(share, name="overhead")
        if self.share <= 0:
            raise ArgumentError(f"overhead must be a positive share of training time, such as 0.03; got {share!r}")
        self.clock = clock
        self.spent = self.before = 0.0
        self._started: float | None = None
        self._stopped: float | None = None
        self._by_kind: dict[str, float] = {}
        self._recent: dict[str, deque[float]] = {}
        self._expected: dict[str, float] = {}
        self._is_nested = False

    def start(self) -> None:
        """Start to count training time, once."""
        if self._started is None:
            self._started = self.clock()

    def stop(self) -> None:
        """Stop to count training time; what is spent afterwards still counts."""
        if self._stopped is None and self._started is not None:
            self._stopped = self.training

    @property
    def training(self) -> float:
        """Seconds of training so far, without what was spent here."""
        return self._training_at(None)

    def _training_at(self, now: float | None) -> float:
        if self._stopped is not None:
            return self._stopped
        if self._started is None:
            return 0.0
        return max(0.0, (self.clock() if now is None else now) - self._started - self.spent)

    @property
    def overhead(self) -> float:
        """Seconds spent over seconds of training; 0 before training took any time."""
        training = self.training
        return self.spent / training if training > 0 else 0.0

    def expected(self, kind: str) -> float:
        """Return what an act of this kind is predicted to take; 0 where none is known."""
        return self._expected.get(kind, 0.0)

    def allows(self, kind: str, *, part: float | None = None, now: float | None = None) -> bool:
        """Whether an act of this kind fits.

        Parameters
        ----------
        kind : str
            By which its cost is predicted.
        part : float, optional
            For cheap acts: the part of the budget that is set aside for this kind, whatever else was spent.
        now : float, optional
            What the clock says, where it was just read.
        """
        allowed = self.share * self._training_at(now)
        expected = self._expected.get(kind, 0.0)
        if part is None:
            return self.spent + expected <= allowed
        return self._by_kind.get(kind, 0.0) + expected <= part * allowed

    @contextmanager
    def spending(self, kind: str) -> Iterator[None]:
        """Charge what the block takes; a block within another is charged with that, and remembered by its kind."""
        outermost, self._is_nested = not self._is_nested, True
        begin = self.clock()
        try:
            yield
        finally:
            took = self.clock() - begin
            self._by_kind[kind] = self._by_kind.get(kind, 0.0) + took
            recent = self._recent.setdefault(kind, deque(maxlen=REMEMBERED))
            recent.append(took)
            self._expected[kind] = statistics.median(recent)
            if outermost:
                self.charge(took)
                self._is_nested = False

    def charge(self, seconds: float) -> None:
        """Charge seconds that were measured elsewhere."""
        if self._started is None:
            self.before += seconds
        else:
            self.spent += seconds
