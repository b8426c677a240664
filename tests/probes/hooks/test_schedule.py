"""Steps at which a recorder measures."""

import itertools

import numpy as np
import pytest

from probes.hooks.schedule import EveryN, LogSpaced, as_schedule
from spectra.errors import ArgumentError


def steps(schedule, last):
    found, step = [], 0
    while (step := schedule.after(step)) <= last:
        found.append(step)
    return found


def test_every_n_starts_at_the_first_step():
    assert steps(EveryN(3), 10) == [1, 3, 6, 9]
    assert steps(EveryN(1), 4) == [1, 2, 3, 4]


def test_log_spaced_steps_are_distinct_and_grow_by_a_factor():
    found = steps(LogSpaced(per_decade=10), 100_000)
    assert found == sorted(set(found))
    late = [step for step in found if step >= 1000]
    assert late[::10] == [1000, 10_000, 100_000]
    assert all(b / a == pytest.approx(10**0.1, rel=1e-3) for a, b in itertools.pairwise(late))


def test_a_largest_interval_bounds_the_growth():
    found = steps(LogSpaced(per_decade=2, first=10, max_interval=50), 400)
    assert found[:6] == [10, 32, 82, 100, 150, 200]
    assert max(b - a for a, b in itertools.pairwise(found)) == 50


def test_after_looks_back_as_well():
    schedule = LogSpaced(per_decade=1)
    assert [schedule.after(500), schedule.after(3), schedule.after(0)] == [1000, 10, 1]


def test_what_is_no_schedule():
    assert as_schedule(7) == EveryN(7)
    own = LogSpaced()
    assert as_schedule(own) is own
    assert as_schedule(np.int64(7)) == EveryN(np.int64(7)) == EveryN(7)
    assert type(EveryN(np.int64(7)).after(9)) is int
    assert LogSpaced(per_decade=np.int64(4)) == LogSpaced(per_decade=4)
    for wrong in (0, -1, True, np.True_, 2.5, "often", None):
        with pytest.raises(ArgumentError):
            as_schedule(wrong)
