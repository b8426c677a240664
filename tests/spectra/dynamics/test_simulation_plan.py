"""Settings of a simulation: spread over the steps, or refused."""

import numpy as np
import pytest

from spectra.dynamics.simulation_plan import distinct, simulation_plan
from spectra.dynamics.steps import recorded_steps
from spectra.errors import ArgumentError, NonFiniteError, OutOfMemoryError, ShapeError

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


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"momentum": 1.0}, "momentum must lie in"),
        ({"momentum": [0.5, 1.5, 0.0, 0.0]}, "momentum must lie in"),
        ({"nesterov": True}, "nesterov=True needs a momentum"),
        ({"batch_size": 1e18}, "batch_size"),
    ],
)
def test_settings_that_no_predicted_curve_has(changed, words):
    with pytest.raises(ArgumentError, match=words):
        simulation_plan(**GOOD | changed)


def test_constant_settings_take_no_memory_and_schedules_are_copies():
    plan = simulation_plan(**GOOD | {"num_steps": 10**7})
    for setting in (plan.learning_rate, plan.momentum, plan.batch_size):
        assert setting.shape == (10**7,)
        assert setting.strides == (0,)
        assert distinct(setting).shape == (1,)
    rates = np.full(4, 0.1)
    plan = simulation_plan(**GOOD | {"learning_rate": rates})
    rates[:] = 7.0
    assert distinct(plan.learning_rate).tolist() == [0.1] * 4


def test_more_steps_than_memory_are_refused_before_anything_is_allocated():
    with pytest.raises(OutOfMemoryError, match=r"num_steps=1000000000000000 must fit into 256 MiB.*fewer steps"):
        simulation_plan(**GOOD | {"num_steps": 10**15})
    assert simulation_plan(**GOOD | {"num_steps": 2**24, "max_bytes": 2**29}).num_steps == 2**24


def test_memory_of_runs_and_batches():
    plan = simulation_plan(**GOOD)
    plan.require_memory(8, batch_bytes=2**28)
    with pytest.raises(OutOfMemoryError, match=r"batches of up to 2 samples must fit into 256 MiB.*smaller batches"):
        plan.require_memory(8, batch_bytes=2**28 + 1)
    plan.require_memory(8, batch_bytes=2**28 + 1, data_bytes=1)
    with pytest.raises(OutOfMemoryError, match=r"num_runs=3 .*fewer runs"):
        plan.require_memory(2**28, batch_bytes=1)
