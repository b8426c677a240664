import numpy as np
import pytest

from spectra.dynamics.preconditions import number_within
from spectra.errors import ArgumentError, NonFiniteError


@pytest.mark.parametrize("value", [1, 1.0, np.float32(1), np.array(1.0), np.int64(1)])
def test_numbers_of_every_kind_become_floats(value):
    assert number_within(value, name="rate", least=1.0, below=2.0) == 1.0
    assert type(number_within(value, name="rate")) is float


@pytest.mark.parametrize(
    ("value", "limits", "error", "match"),
    [
        (0.5, {"least": 1}, ArgumentError, "rate must be at least 1; got 0.5"),
        (1.0, {"above": 1}, ArgumentError, "rate must be above 1; got 1"),
        (1.0, {"least": 0, "below": 1}, ArgumentError, "rate must be at least 0 and below 1; got 1"),
        (np.nan, {}, NonFiniteError, "rate must be finite; got nan"),
        (-np.inf, {}, NonFiniteError, "finite"),
        (None, {}, ArgumentError, "rate must be one number; got None"),
        ("1", {}, ArgumentError, "one number"),
        (True, {}, ArgumentError, "one number"),
        (1j, {}, ArgumentError, "one number"),
        ([1.0], {}, ArgumentError, "one number"),
        ({}, {}, ArgumentError, "one number"),
    ],
)
def test_everything_else_is_refused(value, limits, error, match):
    with pytest.raises(error, match=match):
        number_within(value, name="rate", **limits)
