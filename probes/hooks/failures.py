"""What went wrong in a recorder: kept with step and reason, said once as a warning, never raised."""

import warnings
from collections.abc import Callable
from typing import Any

__all__ = ["FailureLog", "reason_of"]

#: Failures kept, the latest.
KEPT = 100


class FailureLog:
    """A list of failures of the recorder that owns it.

    Attributes
    ----------
    entries : list of dict
        ``step``, ``quantity`` and ``reason``, at most a hundred, the latest.

    Examples
    --------
    >>> import warnings
    >>> log = FailureLog()
    >>> with warnings.catch_warnings(record=True) as seen:
    ...     warnings.simplefilter("always")
    ...     for step in (1, 2):
    ...         log.guard("sharpness", step, lambda: 1 / 0)
    >>> len(seen), log.entries[1]
    (1, {'step': 2, 'quantity': 'sharpness', 'reason': 'ZeroDivisionError: division by zero'})
    """

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []
        self._warned: set[str] = set()

    def note(self, quantity: str, step: int, reason: str) -> None:
        """Keep a failure, and warn if it is the first of this quantity."""
        self.entries = [*self.entries, {"step": step, "quantity": quantity, "reason": reason}][-KEPT:]
        self.warn(quantity, f"{quantity} could not be recorded at step {step}: {reason}")

    def guard(self, quantity: str, step: int, act: Callable[[], object]) -> None:
        """Act, and keep what it raises."""
        try:
            act()
        except Exception as error:
            self.note(quantity, step, reason_of(error))

    def warn(self, key: str, message: str) -> None:
        """Warn once for each key; where warnings are errors, not at all."""
        if key in self._warned:
            return
        self._warned.add(key)
        try:
            warnings.warn(f"{message} (said once; training goes on)", UserWarning, stacklevel=4)
        except UserWarning:
            return  # none may reach the training loop


def reason_of(error: BaseException) -> str:
    r"""Return class and first line of an exception, at most 300 characters.

    Examples
    --------
    >>> reason_of(ValueError("too small\nby far"))
    'ValueError: too small'
    """
    lines = str(error).strip().splitlines()
    text = f"{type(error).__name__}: {lines[0] if lines else 'no message'}"
    return text if len(text) <= 300 else text[:297] + "..."
