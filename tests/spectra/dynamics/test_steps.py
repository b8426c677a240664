import numpy as np
import pytest

from spectra.dynamics.steps import per_step, recorded_steps
from spectra.errors import ArgumentError, NonFiniteError, ShapeError


@pytest.mark.parametrize("count", [0, 1, 2, 199, 200, 201, 10**6, 10**12])
def test_both_ends_are_kept_and_steps_ascend(count):
    steps = recorded_steps(count)
    assert steps[0] == 0
    assert steps[-1] == count
    assert np.all(np.diff(steps) > 0)
    assert len(steps) <= 201


@pytest.mark.parametrize("record", [[], [-1], [11], [0.5], [np.nan]])
def test_records_that_cannot_be(record):
    with pytest.raises(ArgumentError, match="record"):
        recorded_steps(10, record)


@pytest.mark.parametrize("count", [-1, 2.5, "many", None, True])
def test_counts_that_cannot_be(count):
    with pytest.raises(ArgumentError, match="num_steps"):
        recorded_steps(count)


def test_settings_are_one_number_or_one_per_step():
    assert per_step(0.5, name="x", num_steps=3).shape == ()
    assert per_step([1, 2, 3], name="x", num_steps=3).shape == (3,)
    with pytest.raises(ShapeError, match="one for each of 3"):
        per_step([1, 2], name="x", num_steps=3)
    with pytest.raises(NonFiniteError, match="finite"):
        per_step([1, 2, np.inf], name="x", num_steps=3)
    with pytest.raises(ArgumentError, match="at least 0"):
        per_step(-1.0, name="x", num_steps=3)
