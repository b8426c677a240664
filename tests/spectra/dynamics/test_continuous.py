import numpy as np
import pytest

from spectra.dynamics import from_marchenko_pastur, sgd_curve, stability, volterra_exponential
from spectra.dynamics.closed_form import ContinuousForm
from spectra.errors import ArgumentError, NonFiniteError, ShapeError
from tests.spectra.dynamics.least_squares import gaussian_problem, one_mode


def test_a_kernel_of_one_exponential_has_a_solution_in_closed_form():
    """psi = 1 + int k e^{-a(t-s)} psi ds is (a - k e^{(k-a)t}) / (a - k)."""
    t = np.linspace(0, 5, 4001)
    psi = volterra_exponential(t, np.ones_like(t), coefficients=[0.6], rates=[1.0])
    np.testing.assert_allclose(psi, (1.0 - 0.6 * np.exp(-0.4 * t)) / 0.4, rtol=3e-8)


def test_halving_the_step_quarters_the_error():
    def solve(count):
        t = np.linspace(0, 3, count)
        psi = volterra_exponential(t, np.exp(-t), coefficients=[0.3, 2.0], rates=[0.1, 9.0])
        return psi[-1]

    fine = solve(40_001)
    ratios = (solve(201) - fine) / (solve(401) - fine)
    assert ratios == pytest.approx(4, rel=0.1)


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_units_of_time_do_not_matter(scale):
    t = np.linspace(0, 3, 301)
    one = volterra_exponential(t, np.exp(-t), coefficients=[0.3, 2.0], rates=[0.0, 9.0])
    two = volterra_exponential(
        t * scale, np.exp(-t), coefficients=np.array([0.3, 2.0]) / scale, rates=[0.0, 9.0 / scale]
    )
    np.testing.assert_allclose(one, two, rtol=1e-12)


@pytest.mark.parametrize("share", [0.2, 0.8, 0.95, 1.02])
def test_small_rates_make_it_the_recursion(share):
    """Steps of a rate that is small against the largest eigenvalue: the law with many dimensions, batch size 1."""
    problem = from_marchenko_pastur(0.5, dimension=20_000, noise=0.25)
    rate = share * stability(problem, closure="continuous").closure_learning_rate
    record = [0, 100, 1000, 10_000, 100_000]
    continuous, discrete = (
        sgd_curve(problem, closure=closure, learning_rate=rate, num_steps=100_000, record=record).loss.values
        for closure in ("continuous", "limit")
    )
    # per step of size rate lambda the two differ by (rate lambda)^2; rate = 1e-4, and times of order 1/(1-|K|) add up
    np.testing.assert_allclose(continuous, discrete, rtol=2e-3)


def test_large_rates_make_it_wrong():
    problem = one_mode(eigenvalue=1.0, num_samples=10)
    settings = {"learning_rate": 0.8, "batch_size": 10, "num_steps": 3}
    assert sgd_curve(problem, closure="limit", **settings).loss[1] == pytest.approx(0.04)
    assert sgd_curve(problem, closure="continuous", **settings).loss[1] == pytest.approx(np.exp(-1.6), rel=1e-6)


@pytest.mark.parametrize("split", [False, True])
def test_the_closed_form_is_the_stepper_on_a_fine_grid(split):
    """Also with nodes that only carry loss, at the places of those that make noise."""
    from dataclasses import replace

    problem = gaussian_problem(400, 100)
    rate = 0.7 * stability(problem, closure="limit").learning_rate
    t = np.concatenate([[0.0], np.geomspace(0.1, 10_000, 6000)])
    forcing = problem.floor + np.exp(-2 * rate * np.outer(t, problem.eigenvalue)) @ problem.initial_loss
    fine = volterra_exponential(
        t, forcing, coefficients=rate**2 * problem.eigenvalue**2, rates=2 * rate * problem.eigenvalue
    )
    if split:
        nothing = np.zeros(100)
        problem = replace(
            problem,
            eigenvalue=np.tile(problem.eigenvalue, 2),
            multiplicity=np.append(problem.multiplicity, nothing),
            initial_loss=np.append(nothing, problem.initial_loss),
            kurtosis=None,
            rows=None,
            coordinates=None,
        )
    found = ContinuousForm(problem, learning_rate=rate, noise=1.0).curve(t).loss
    np.testing.assert_allclose(found, fine, rtol=1e-6)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"times": [0.0, 1.0, 1.0]}, ArgumentError),
        ({"times": [0.5, 1.0, 2.0]}, ArgumentError),
        ({"forcing": [1.0, 1.0]}, ShapeError),
        ({"rates": [-1.0]}, ArgumentError),
        ({"rates": [1.0, 2.0]}, ShapeError),
        ({"coefficients": [np.nan]}, NonFiniteError),
        ({"coefficients": [9.0], "rates": [0.0]}, ArgumentError),
        ({"times": [], "forcing": []}, ShapeError),
    ],
)
def test_equations_that_cannot_be_solved(changes, error):
    given = {"times": [0.0, 1.0, 2.0], "forcing": [1.0, 1.0, 1.0], "coefficients": [0.1], "rates": [1.0]} | changes
    with pytest.raises(error):
        volterra_exponential(given["times"], given["forcing"], coefficients=given["coefficients"], rates=given["rates"])


def test_schedules_are_refused():
    with pytest.raises(ArgumentError, match="schedules"):
        sgd_curve(gaussian_problem(), closure="continuous", learning_rate=[0.1, 0.2], num_steps=2)


def test_unbounded_growth_is_infinite():
    curve = sgd_curve(one_mode(multiplicity=50.0), closure="continuous", learning_rate=2.0, num_steps=500)
    assert curve.loss.values[-1] == np.inf
    assert curve.noise_free_loss.values[-1] < 1
