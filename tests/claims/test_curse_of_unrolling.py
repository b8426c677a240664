"""Scieur, Bertrand, Gidel and Pedregosa (2022), The Curse of Unrolling: Rate of Differentiating Through Optimization.

The statements: iterates of gradient descent on a quadratic approach the minimizer from the first step on, while their
derivative by a parameter first moves *away* from the derivative of the minimizer; this burn-in comes with large step
sizes, lasts about as many steps as the condition number is large, and a small step size avoids it at the price of a
slower rate. Here the Hessian is a multiple of the parameter, and the derivatives are unrolled step by step.
"""

import numpy as np
import pytest

from spectra.dynamics.unrolling import unrolling_burn_in

SMALLEST, LARGEST = 0.01, 1.0
CONDITION = LARGEST / SMALLEST
EIGENVALUES = np.geomspace(SMALLEST, LARGEST, 40)
SMALL_STEP, LARGE_STEP = 1 / LARGEST, 2 / (SMALLEST + LARGEST)


def unrolled(learning_rate, num_steps, *, hessian_derivative=EIGENVALUES, eigenvalues=EIGENVALUES):
    """Return absolute errors of iterates and derivatives per eigenvalue, by the chain rule; both start at known errors.

    The minimizer is 1 in each eigendirection, for every parameter; the derivative starts right.
    """
    x, dx, errors = np.zeros_like(eigenvalues), np.zeros_like(eigenvalues), []
    for _ in range(num_steps + 1):
        errors.append([np.abs(x - 1.0), np.abs(dx)])
        x, dx = (
            x - learning_rate * eigenvalues * (x - 1.0),
            dx - learning_rate * (eigenvalues * dx + hessian_derivative * (x - 1.0)),
        )
    return np.array(errors)


def test_derivatives_move_away_while_iterates_approach():
    errors = np.linalg.norm(unrolled(LARGE_STEP, 400), axis=-1)
    assert np.all(np.diff(errors[:, 0]) < 0)
    peak = int(errors[:, 1].argmax())
    assert 0.4 * CONDITION < peak < 0.6 * CONDITION
    assert errors[peak, 1] > 5 * errors[0, 0]
    # the iterate is long better than at the start when the derivative is at its worst
    assert errors[peak, 0] < 0.5 * errors[0, 0]


@pytest.mark.parametrize("learning_rate", [SMALL_STEP, 1.5, LARGE_STEP])
def test_place_and_height_of_the_peak(learning_rate):
    predicted = unrolling_burn_in(SMALLEST, LARGEST, learning_rate)
    for eigenvalue, step, height in (
        (SMALLEST, predicted.smallest_step, predicted.smallest_height),
        (LARGEST, predicted.largest_step, predicted.largest_height),
    ):
        alone = np.array([eigenvalue])
        found = unrolled(learning_rate, 400, eigenvalues=alone, hessian_derivative=np.ones(1))[:, 1, 0]
        np.testing.assert_allclose(found.max(), height, rtol=1e-10)
        np.testing.assert_allclose(found[int(step)], found.max(), rtol=1e-10)
        contraction = abs(1 - learning_rate * eigenvalue)
        if contraction > 0:
            assert abs(step - -1 / np.log(contraction)) <= 1.0


def test_figures_of_the_condition_number_100():
    found = unrolled(LARGE_STEP, 400, hessian_derivative=np.ones(40))[:, 1]
    assert [int(found[:, i].argmax()) for i in (0, -1)] == [50, 50]
    np.testing.assert_allclose([found[:, 0].max(), found[:, -1].max()], CONDITION / np.e, rtol=0.02)
    slow = unrolled(SMALL_STEP, 400, hessian_derivative=np.ones(40))[:, 1]
    assert int(slow[:, 0].argmax()) in (99, 100)
    np.testing.assert_allclose(slow[:, 0].max(), CONDITION / np.e, rtol=0.02)
    assert slow[:, -1].max() == 1.0  # the largest eigenvalue is done after the first step


def test_a_small_step_size_has_no_burn_in_relative_to_the_start():
    found = unrolled(SMALL_STEP, 1000)[:, 1]
    # k a (1 - a)^(k-1) <= (1 - 1/k)^(k-1) <= 1 for every eigenvalue a <= 1
    assert found.max() <= 1.0
    assert unrolled(LARGE_STEP, 1000)[:, 1].max() > 0.98 * CONDITION / np.e


@pytest.mark.parametrize("condition", [30.0, 300.0, 3000.0])
def test_burn_in_of_a_large_step_size_is_as_long_and_as_high_as_the_condition_number(condition):
    found = unrolling_burn_in(1 / condition, 1.0, 2 / (1 + 1 / condition))
    np.testing.assert_allclose(found.largest_height, condition / np.e, rtol=2 / condition)
    np.testing.assert_allclose(found.largest_step, condition / 2, rtol=2 / condition)


def test_the_large_step_size_is_faster_in_the_end():
    small, large = (np.linalg.norm(unrolled(h, 1000)[:, 1], axis=-1) for h in (SMALL_STEP, LARGE_STEP))
    assert large[50] > 5 * small[50]
    assert large[1000] < 1e-2 * small[1000]
    # k (1 - h a)^(k-1): the rate is that of the iterates, and k grows by a factor of 2 over these 500 steps
    assert 1 - SMALLEST < (small[1000] / small[500]) ** (1 / 500) < (1 - SMALLEST) * 2 ** (1 / 500)
