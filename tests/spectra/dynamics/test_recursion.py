import numpy as np
import pytest

from spectra.dynamics import from_data, sgd_curve
from tests.spectra.dynamics.least_squares import gaussian_data, gaussian_problem, loss_of, one_mode


def test_schedules_of_rate_and_batch_size_on_full_batches():
    A, b = gaussian_data(10, 4)
    rates = 0.3 * (1 + np.cos(np.arange(15) / 5))
    x, losses = np.zeros(4), []
    for rate in [*rates, 0.0]:
        losses.append(loss_of(A, b, x))
        x = x - rate * A.T @ (A @ x - b) / 10
    curve = sgd_curve(from_data(A, b), closure="limit", learning_rate=rates, num_steps=15, batch_size=10)
    np.testing.assert_allclose(curve.loss, losses, rtol=1e-12)


def test_a_constant_schedule_is_a_constant():
    problem = gaussian_problem()
    one = sgd_curve(problem, closure="gaussian", learning_rate=0.01, batch_size=4, num_steps=40, solver="recursion")
    many = sgd_curve(
        problem, closure="gaussian", learning_rate=np.full(40, 0.01), batch_size=np.full(40, 4), num_steps=40
    )
    np.testing.assert_array_equal(one.loss, many.loss)
    np.testing.assert_allclose(one.epoch, many.epoch)


def test_batches_that_grow_continue_where_the_small_ones_end():
    """The second half of a schedule is a problem of its own that starts at the losses of the first half."""
    problem = gaussian_problem(floor := 60)
    sizes = np.repeat([2, floor], 10)
    curve = sgd_curve(problem, closure="limit", learning_rate=0.02, batch_size=sizes, num_steps=20)
    small = sgd_curve(problem, closure="limit", learning_rate=0.02, batch_size=2, num_steps=10)
    np.testing.assert_allclose(curve.loss[:11], small.loss, rtol=1e-13)
    assert curve.epoch.values[-1] == pytest.approx((2 * 10 + 60 * 10) / 60)
    ratios = np.diff(np.log(curve.loss.values[10:] - problem.floor))
    assert np.all(ratios < 0)
    assert np.all(ratios >= 2 * np.log1p(-0.02 * problem.largest) - 1e-12)


def test_what_diverges_is_infinite_and_nothing_warns():
    for solver in ("recursion", "closed_form"):
        curve = sgd_curve(one_mode(floor=1.0), closure="limit", learning_rate=50.0, num_steps=5000, solver=solver)
        assert curve.loss.values[-1] == np.inf
        assert curve.noise_free_loss.values[-1] == np.inf
        assert not np.any(np.isnan(curve.loss))
        assert not curve.attrs["is_stable"]
        assert "unstable" in curve.attrs["caution"]


def test_zero_steps_and_zero_rate():
    problem = gaussian_problem()
    assert sgd_curve(problem, closure="limit", learning_rate=0.1, num_steps=0).loss.values == pytest.approx(
        problem.loss
    )
    still = sgd_curve(problem, closure="limit", learning_rate=0.0, num_steps=7)
    np.testing.assert_allclose(still.loss, problem.loss)


def test_the_offset_is_added_and_makes_no_noise():
    from dataclasses import replace

    problem = gaussian_problem()
    moved = replace(problem, offset=-3.0)
    first, second = (sgd_curve(p, closure="limit", learning_rate=0.01, num_steps=30) for p in (problem, moved))
    np.testing.assert_allclose(second.loss, first.loss - 3.0)
    assert second.attrs["floor"] == pytest.approx(first.attrs["floor"] - 3.0)
