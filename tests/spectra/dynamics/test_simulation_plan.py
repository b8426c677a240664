"""Settings of a simulation: spread over the steps, or refused."""

import numpy as np
import pytest

from spectra.dynamics.simulation_plan import simulation_plan
from spectra.dynamics.steps import recorded_steps
from spectra.errors import ArgumentError, NonFiniteError, ShapeError

GOOD = {
    "learning_rate": 0.1,
    "batch_size": 2,
    "num_steps": 4,
    "num_runs": 3,
    "momentum": 0.0,
    "nesterov": False,
    "weight_decay": 0.0,
    "record": None,
    "quantiles": [0.5],
    "rng": 0,
    "max_bytes": 1000,
}


def test_numbers_become_schedules():
    plan = simulation_plan(**GOOD | {"learning_rate": 1, "batch_size": [1, 2, 3, 4], "quantiles": 0.5})
    assert plan.learning_rate.tolist() == [1.0] * 4
    assert plan.batch_size.tolist() == [1, 2, 3, 4]
    assert plan.quantiles.tolist() == [0.5]


def test_the_default_records_are_those_of_predicted_curves():
    assert simulation_plan(**GOOD | {"num_steps": 10**6}).record.tolist() == recorded_steps(10**6).tolist()
    assert simulation_plan(**GOOD | {"record": [4, 0, 4]}).record.tolist() == [0, 4]


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("learning_rate", -0.1, ArgumentError),
        ("learning_rate", "0.1", ArgumentError),
        ("learning_rate", None, ArgumentError),
        ("learning_rate", [0.1, [0.2]], ArgumentError),
        ("learning_rate", [0.1] * 3, ShapeError),
        ("learning_rate", np.ones((4, 1)), ShapeError),
        ("learning_rate", [], ShapeError),
        ("learning_rate", [0.1, 0.1, np.nan, 0.1], NonFiniteError),
        ("momentum", np.inf, NonFiniteError),
        ("momentum", -0.9, ArgumentError),
        ("batch_size", 0, ArgumentError),
        ("batch_size", 2.5, ArgumentError),
        ("batch_size", True, ArgumentError),
        ("batch_size", [1, 2, 3], ShapeError),
        ("num_steps", 0, ArgumentError),
        ("num_steps", 4.0, ArgumentError),
        ("num_runs", 0, ArgumentError),
        ("nesterov", 1, ArgumentError),
        ("weight_decay", -1.0, ArgumentError),
        ("weight_decay", np.nan, ArgumentError),
        ("record", [], ArgumentError),
        ("record", [5], ArgumentError),
        ("record", [-1], ArgumentError),
        ("record", [1.5], ArgumentError),
        ("record", 3, ArgumentError),
        ("quantiles", [], ArgumentError),
        ("quantiles", [1.1], ArgumentError),
        ("quantiles", [np.nan], ArgumentError),
        ("rng", -1, ArgumentError),
        ("max_bytes", 0, ArgumentError),
    ],
)
def test_bad_settings(name, value, error):
    with pytest.raises(error, match=name):
        simulation_plan(**GOOD | {name: value})
