"""The account of time, with a clock that moves when told."""

import pytest

from probes.hooks.budget import Budget
from spectra.errors import ArgumentError
from tests.probes.hooks.loops import Clock


def test_what_is_spent_inside_is_charged_once_and_known_by_its_kind():
    clock = Clock()
    budget = Budget(0.5, clock=clock)
    with budget.spending("set-up"):
        clock.now += 3.0
    budget.start()
    clock.now += 10.0
    with budget.spending("outer"):
        clock.now += 1.0
        with budget.spending("inner"):
            clock.now += 2.0
    assert (budget.before, budget.spent, budget.training) == (3.0, 3.0, 10.0)
    assert (budget.expected("outer"), budget.expected("inner"), budget.expected("other")) == (3.0, 2.0, 0.0)
    assert budget.overhead == 0.3


def test_a_slow_exception_does_not_spoil_the_prediction_and_time_is_charged_after_errors():
    clock = Clock()
    budget = Budget(0.1, clock=clock)
    budget.start()
    for seconds in (1.0, 1.0, 50.0, 1.0):
        with pytest.raises(ZeroDivisionError), budget.spending("act"):  # noqa: PT012
            clock.now += seconds
            _ = 1 / 0
    assert budget.expected("act") == 1.0
    assert budget.spent == 53.0


def test_a_part_is_set_aside_for_cheap_acts():
    clock = Clock()
    budget = Budget(0.1, clock=clock)
    budget.start()
    with budget.spending("measurement"):
        clock.now += 100.0
    clock.now += 100.0
    assert not budget.allows("measurement")
    assert budget.allows("log", part=0.1)
    with budget.spending("log"):
        clock.now += 1.0
    assert not budget.allows("log", part=0.1)
    clock.now += 100.0
    assert budget.allows("log", part=0.1)


def test_training_time_stops_with_the_training():
    clock = Clock()
    budget = Budget(0.1, clock=clock)
    assert budget.overhead == 0.0
    budget.start()
    clock.now += 10.0
    budget.stop()
    clock.now += 5.0
    assert budget.training == 10.0
    with pytest.raises(ArgumentError, match="positive share"):
        Budget(-1.0, clock=clock)
