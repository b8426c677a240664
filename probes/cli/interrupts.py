"""Ctrl-C while a file is written."""

import contextlib
import signal
import threading
from collections.abc import Iterator

__all__ = ["interrupts_held_back"]


@contextlib.contextmanager
def interrupts_held_back() -> Iterator[None]:
    """Let what is inside end before a Ctrl-C takes effect; in other threads than the main one, which get none, nothing.

    Examples
    --------
    >>> done = []
    >>> try:
    ...     with interrupts_held_back():
    ...         signal.raise_signal(signal.SIGINT)
    ...         done.append("written")
    ... except KeyboardInterrupt:
    ...     done.append("interrupted")
    >>> done
    ['written', 'interrupted']
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    came: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if came:
            signal.raise_signal(signal.SIGINT)
