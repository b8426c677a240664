"""Polyak-type steps: exact cases, the projection against a numerical solver, and convergence on a known problem."""

import math

import numpy as np
import pytest
from scipy.optimize import minimize

from spectra.errors import ArgumentError
from spectra.recommend import (
    decreasing_polyak_step,
    nonnegative_gauss_newton_momentum_update,
    nonnegative_gauss_newton_step,
    polyak_step,
    slack_polyak_step,
)


def test_polyak_step_reaches_the_minimum_of_a_line():
    """Along a quadratic ``h w^2/2 + l*``, ``c = 1/2`` is the Newton step whatever the state."""
    for w in (0.1, 3.0):
        assert math.isclose(polyak_step(2 * w**2 + 7, (4 * w) ** 2, max_step_size=9.0, lower_bound=7.0), 0.25)
    assert polyak_step(1.0, 0.0, max_step_size=9.0) == 9.0
    assert polyak_step(1.0, 1e-9, max_step_size=9.0) == 9.0
    assert polyak_step(0.0, 1.0, max_step_size=9.0) == 0.0


@pytest.mark.parametrize("seed", range(40))
def test_slack_step_solves_its_projection(seed):
    rng = np.random.default_rng(seed)
    gradient = rng.standard_normal(3) * rng.choice([0.1, 1.0, 5.0])
    loss, slack, delta = rng.uniform(0, 3), rng.choice([0.0, rng.uniform(0, 4)]), rng.uniform(0, 2)

    def objective(z):
        return z[:3] @ z[:3] / 2 + (z[3] - slack) ** 2 / 2 + delta * z[3]

    start = np.r_[np.zeros(3), max(loss, slack)]
    found = minimize(
        objective,
        start,
        jac=lambda z: np.r_[z[:3], z[3] - slack + delta],
        method="SLSQP",
        bounds=[(None, None)] * 3 + [(0, None)],
        constraints={
            "type": "ineq",
            "fun": lambda z: z[3] - loss - gradient @ z[:3],
            "jac": lambda z: np.r_[-gradient, 1.0],
        },
        options={"ftol": 1e-14, "maxiter": 500},
    )
    assert found.success
    step = slack_polyak_step(loss, float(gradient @ gradient), slack=slack, delta=delta)
    exact = np.r_[-step.step_size * gradient, step.slack]
    # the objective is 1-strongly convex: an excess of 1e-12 in it allows 1.5e-6 in the point
    np.testing.assert_allclose(exact, found.x, atol=2e-6)
    assert objective(exact) <= found.fun + 1e-9
    assert loss + gradient @ exact[:3] <= exact[3] + 1e-12


def test_decreasing_steps_never_increase_and_start_capped():
    rng = np.random.default_rng(0)
    state = decreasing_polyak_step(1e6, 1.0, max_step_size=0.7)
    assert state.step_size == 0.7
    steps = [state.step_size]
    for _ in range(200):
        state = decreasing_polyak_step(rng.uniform(0.01, 5), rng.uniform(0.1, 5), previous=state, max_step_size=0.7)
        steps.append(state.step_size)
    assert np.all(np.diff(steps) < 0)
    assert state.index == 200
    assert math.isclose(state.scale, math.sqrt(201))


def test_decreasing_steps_converge_where_the_loss_has_a_floor():
    """Two quadratics with different minima: no step below a floor is zero, but DecSPS goes to the mean minimum."""
    w, state, rng = 3.0, None, np.random.default_rng(1)
    for _ in range(20000):
        center = rng.choice([-1.0, 1.0])
        state = decreasing_polyak_step((w - center) ** 2 / 2, (w - center) ** 2, previous=state, max_step_size=1.0)
        w -= state.step_size * (w - center)
    # noise of variance 1 and step 0.5/sqrt(t) leave a standard deviation of sqrt(step/2) = 0.042
    assert abs(w) < 4 * 0.042


def test_gauss_newton_step_is_harmonic_and_solves_its_model():
    loss, squared, sigma = 1.7, 2.3, 0.9
    step = nonnegative_gauss_newton_step(loss, squared, sigma=sigma)
    assert math.isclose(1 / step, 1 / sigma + squared / (2 * loss))
    # minimize (r + r'd)^2 + d^2/(2 sigma) for r = sqrt(f), r' = g/(2 r), d = -step g
    grid = np.linspace(0, 2, 200001)
    root = math.sqrt(loss)
    model = (root - grid * squared / (2 * root)) ** 2 + grid**2 * squared / (2 * sigma)
    assert abs(grid[model.argmin()] - step) < 1e-5
    assert nonnegative_gauss_newton_step(0.0, 0.0, sigma=2.0) == 2.0
    assert nonnegative_gauss_newton_step(0.0, 1.0, sigma=2.0) == 0.0


def test_gauss_newton_momentum_is_a_step_of_the_average_form():
    rng = np.random.default_rng(2)
    w, previous, gradient = rng.standard_normal((3, 4))
    step = nonnegative_gauss_newton_step(2.0, float(gradient @ gradient), sigma=0.3)
    new = nonnegative_gauss_newton_momentum_update(w, previous, gradient, loss=2.0, sigma=0.3, momentum=0.9)
    np.testing.assert_allclose(new, w - 0.1 * step * gradient + 0.9 * (w - previous))
    plain = nonnegative_gauss_newton_momentum_update(w, previous, gradient, loss=2.0, sigma=0.3, momentum=0.0)
    np.testing.assert_allclose(plain, w - step * gradient)


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: polyak_step(-1.0, 1.0, max_step_size=1.0), "lower bound"),
        (lambda: polyak_step(math.nan, 1.0, max_step_size=1.0), "loss must be finite"),
        (lambda: polyak_step(1.0, -1.0, max_step_size=1.0), "squared_gradient_norm"),
        (lambda: polyak_step(1.0, 1.0, max_step_size=0.0), "max_step_size must be positive"),
        (lambda: slack_polyak_step(1.0, 1.0, slack=-1.0, delta=0.0), "slack"),
        (lambda: decreasing_polyak_step(1.0, 1.0, max_step_size=1.0, first_scale=0.0), "scale"),
        (lambda: nonnegative_gauss_newton_step(1.0, 1.0, sigma=0.0), "sigma"),
        (
            lambda: nonnegative_gauss_newton_momentum_update([1.0], [1.0], [1.0], loss=1.0, sigma=1.0, momentum=1.0),
            "momentum",
        ),
    ],
)
def test_bad_calls_are_refused(call, word):
    with pytest.raises(ArgumentError, match=word):
        call()
