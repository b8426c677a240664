"""Ctrl-C while a file is written takes effect afterwards."""

import signal
import threading

import pytest

from probes.cli.interrupts import interrupts_held_back


@pytest.fixture
def heard():
    """Have the interrupt raise KeyboardInterrupt, also where tests run in the background and inherit its absence."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heard")
def test_what_is_inside_ends_and_then_the_interrupt_is_raised():
    before, done = signal.getsignal(signal.SIGINT), []

    def write():
        with interrupts_held_back():
            signal.raise_signal(signal.SIGINT)
            done.append("written")

    with pytest.raises(KeyboardInterrupt):
        write()
    assert done == ["written"]
    assert signal.getsignal(signal.SIGINT) is before


def test_without_an_interrupt_nothing_happens_also_after_an_error():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(ValueError, match="disk"), interrupts_held_back():
        raise ValueError("disk")
    assert signal.getsignal(signal.SIGINT) is before


def test_other_threads_leave_the_handler_alone():
    seen = []

    def inside():
        with interrupts_held_back():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGINT)]


def test_a_signal_that_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interrupts_held_back():
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
