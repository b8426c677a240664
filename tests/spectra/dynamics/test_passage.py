import numpy as np
import pytest

from spectra.dynamics import floor, sgd_curve, stability, steps_to_target
from spectra.errors import ArgumentError
from tests.spectra.dynamics.least_squares import gaussian_problem, one_mode


@pytest.mark.parametrize("momentum", [0.0, 0.8])
@pytest.mark.parametrize("share", [0.9, 0.5, 0.2])
def test_the_first_step_below_a_target_is_the_first(momentum, share):
    problem = gaussian_problem()
    settings = {"closure": "limit", "momentum": momentum, "batch_size": 8}
    settings["learning_rate"] = 0.3 * stability(problem, **settings).closure_learning_rate
    target = problem.floor + share * (problem.loss - problem.floor)
    curve = sgd_curve(problem, num_steps=3000, record=np.arange(3001), solver="recursion", **settings)
    first = int(np.flatnonzero(curve.loss.values <= target)[0])
    assert steps_to_target(problem, target, **settings).num_steps == first


def test_what_can_be_said_of_a_target():
    problem = one_mode(floor=1.0, initial_loss=1.0)
    settings = {"closure": "limit", "learning_rate": 0.5}
    last = floor(problem, **settings)
    assert steps_to_target(problem, 5.0, **settings).num_steps == 0
    assert steps_to_target(problem, last * 1.01, **settings).status == "reached"
    assert steps_to_target(problem, last * 0.99, **settings).status == "unreachable: floor"
    assert steps_to_target(problem, 1.5, closure="limit", learning_rate=3.0).status == "unstable"
    slow = steps_to_target(problem, 1.2, closure="limit", learning_rate=1e-6, max_steps=1000)
    assert slow.status == "too slow"
    assert slow.num_steps is None


def test_a_loss_that_rises_is_passed_at_the_start():
    problem = one_mode(floor=1.0, initial_loss=0.01)
    found = steps_to_target(problem, 1.02, closure="limit", learning_rate=0.9)
    assert found.num_steps == 0
    assert found.status == "passing"
    assert found.floor > 1.02


def test_targets_of_a_million_steps_are_bisected():
    problem = one_mode(initial_loss=1.0)
    found = steps_to_target(problem, 0.5, closure="limit", learning_rate=1e-7)
    factor = (1 - 1e-7) ** 2 + 1e-14
    assert found.num_steps == int(np.ceil(np.log(0.5) / np.log(factor)))


@pytest.mark.parametrize("target", [np.nan, np.inf])
def test_targets_are_finite(target):
    with pytest.raises(ArgumentError, match="target"):
        steps_to_target(one_mode(), target, closure="limit", learning_rate=0.1)


@pytest.mark.parametrize("count", [0, -1, 1.5, None])
def test_ends_of_a_search_that_cannot_be(count):
    with pytest.raises(ArgumentError, match="max_steps"):
        steps_to_target(gaussian_problem(), 0.5, closure="limit", learning_rate=0.01, max_steps=count)


def test_a_floor_that_is_the_target_is_reached():
    found = steps_to_target(
        one_mode(eigenvalue=1.0, num_samples=4), 0.0, closure="limit", learning_rate=1.0, batch_size=4
    )
    assert (found.num_steps, found.status) == (1, "reached")


def test_an_overshoot_is_passing():
    """Full batches with much momentum: the loss dips below the target on its way up the other side."""
    found = steps_to_target(
        one_mode(num_samples=9), 1e-3, closure="limit", learning_rate=0.02, momentum=0.99, batch_size=9
    )
    assert found.status == "passing"
