import numpy as np
import pytest

from spectra.dynamics import Quadratic, floor, from_data, rate, sgd_curve, stability, steps_to_target
from spectra.errors import ArgumentError, NonFiniteError
from tests.spectra.dynamics.least_squares import gaussian_problem, one_mode


@pytest.mark.parametrize("closure", ["limit", "gaussian", "kurtosis"])
@pytest.mark.parametrize("momentum", [0.0, 0.8])
def test_long_runs_end_at_the_floor_at_the_rate(closure, momentum):
    A = np.array([[3.0, 0.0], [0.5, 1.0], [-2.0, 1.5], [0.1, -1.0], [0.3, 0.4]])
    problem = from_data(A, np.array([1.0, -1.0, 0.5, 2.0, 1.0]))
    settings = {"closure": closure, "momentum": momentum, "batch_size": 2}
    settings["learning_rate"] = 0.4 * stability(problem, **settings).closure_learning_rate
    curve = sgd_curve(problem, num_steps=6000, record=[50, 60, 6000], **settings)
    last = floor(problem, **settings)
    assert curve.loss.values[2] == pytest.approx(last, rel=1e-10)
    above = curve.loss.values[:2] - last
    # with momentum modes oscillate while they decay, which has not faded in the mean over ten steps
    tolerance = 1e-4 if momentum else 1e-6
    assert (above[1] / above[0]) ** (1 / 10) == pytest.approx(rate(problem, **settings), rel=tolerance)


def test_the_noise_takes_over_the_rate_near_the_critical_learning_rate():
    problem = gaussian_problem()
    critical = stability(problem, closure="limit").learning_rate
    found = rate(problem, closure="limit", learning_rate=0.999 * critical)
    slowest = (1 - 0.999 * critical * problem.eigenvalue.min()) ** 2
    assert slowest < found < 1
    assert rate(problem, closure="limit", learning_rate=1.001 * critical) > 1


def test_floors_are_infinite_when_unstable_and_offsets_are_added():
    from dataclasses import replace

    problem = gaussian_problem()
    critical = stability(problem, closure="limit").learning_rate
    assert floor(problem, closure="limit", learning_rate=critical * 1.01) == np.inf
    moved = replace(problem, offset=2.0)
    settings = {"closure": "limit", "learning_rate": 0.5 * critical}
    assert floor(moved, **settings) == pytest.approx(floor(problem, **settings) + 2)


@pytest.mark.parametrize("function", [rate, lambda problem, **s: steps_to_target(problem, 1.0, **s)])
def test_only_closures_over_modes_have_rates_and_times(function):
    with pytest.raises(ArgumentError, match="limit, gaussian, kurtosis"):
        function(gaussian_problem(), closure="exact", learning_rate=0.1)


@pytest.mark.parametrize(
    "changes",
    [
        {"learning_rate": -1.0},
        {"learning_rate": np.nan},
        {"learning_rate": np.inf},
        {"learning_rate": 1e300},
        {"learning_rate": "a"},
        {"learning_rate": [0.1]},
        {"batch_size": 0},
        {"momentum": 1.0},
        {"momentum": [0.1, 0.2]},
        {"learning_rate": 0.0, "momentum": 2.0},
        {"learning_rate": 0.0, "closure": "none"},
        {"learning_rate": 0.0, "closure": "exact"},
        {"problem": None},
        {"problem": None, "learning_rate": 0.0},
    ],
)
@pytest.mark.parametrize("function", [floor, rate, lambda problem, **s: steps_to_target(problem, 1.0, **s)])
def test_settings_that_cannot_be(function, changes):
    with pytest.raises((ArgumentError, NonFiniteError)):
        function(**({"problem": gaussian_problem(), "closure": "limit", "learning_rate": 0.01} | changes))


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_rate_of_zero_goes_nowhere(momentum):
    problem = gaussian_problem()
    settings = {"closure": "limit", "learning_rate": 0.0, "momentum": momentum}
    assert floor(problem, **settings) == problem.loss
    found = steps_to_target(problem, 0.5 * problem.loss, **settings)
    assert (found.num_steps, found.status) == (None, "too slow")


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("closure", ["limit", "gaussian"])
def test_rates_with_momentum_are_those_of_all_moments(nesterov, closure):
    """A spectrum where the slowest mode is a double root, against the matrix of all moments."""
    from spectra.dynamics.method import method_step
    from spectra.dynamics.two_state import moment_matrix, response

    lam = np.array([1.192245, 7.384645, 115.5581454, 1.72955562, 0.57077247])
    weight = np.array([2.0, 1, 3, 1, 2])
    problem = Quadratic(eigenvalue=lam, multiplicity=weight, initial_loss=np.ones(5))
    settings = {"closure": closure, "momentum": 0.99, "nesterov": nesterov}
    critical = stability(problem, **settings).closure_learning_rate
    for share in np.linspace(0.05, 0.98, 12):
        step = method_step(lam, learning_rate=share * critical, momentum=0.99, nesterov=nesterov)
        own, source = moment_matrix(step), response(step)
        chi = 1.0 if closure == "gaussian" else 0.0
        full = np.zeros((15, 15))
        for j in range(5):
            full[3 * j : 3 * j + 3, 3 * j : 3 * j + 3] = own[j]
            full[3 * j : 3 * j + 3, 3 * j] += chi * lam[j] ** 2 * source[j]
            for i in range(5):
                full[3 * j : 3 * j + 3, 3 * i] += weight[j] * lam[j] ** 2 * source[j]
        radius = np.max(np.abs(np.linalg.eigvals(full)))
        assert rate(problem, learning_rate=share * critical, **settings) == pytest.approx(radius, abs=1e-7)


def test_nothing_to_lose_has_no_rate():
    problem = one_mode(initial_loss=0.0, num_samples=4)
    assert rate(problem, closure="limit", learning_rate=0.5, batch_size=4) == 0.0


def test_modes_without_loss_and_noise_do_not_count():
    problem = Quadratic(
        eigenvalue=np.array([1.0, 0.001]), multiplicity=np.ones(2), initial_loss=np.array([1.0, 0.0]), num_samples=9
    )
    plain, heavy = (
        rate(problem, closure="limit", learning_rate=0.5, batch_size=9, momentum=beta) for beta in (0.0, 1e-6)
    )
    assert heavy == pytest.approx(plain, rel=1e-4)
