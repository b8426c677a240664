"""Goujaud, Scieur, Dieuleveut, Taylor and Pedregosa (2022), Super-Acceleration with Cyclical Step-sizes.

The statements: for a spectrum in two intervals of one length, ``[m1, L1]`` and ``[m2, L2]``, heavy ball with two
alternating step sizes has the asymptotic rate ``sqrt(m)``; no other choice of its three constants is better; the
relative gap ``R = (m2 - L1)/(L2 - m1)`` makes it faster than Polyak's by the factor ``1/sqrt(1 - R^2)`` in steps at
large condition numbers, without limit as the intervals shrink; with ``R = 0`` it is Polyak's.
"""

import numpy as np
import pytest

from spectra.dynamics.average_case import average_case_optimal
from spectra.dynamics.cyclical import cyclical_heavy_ball
from spectra.dynamics.heavy_ball import optimal_heavy_ball

SPECTRA = [((1.0, 11.0), (90.0, 100.0)), ((0.01, 3.0), (7.01, 10.0)), ((1.0, 2.0), (1000.0, 1001.0))]


def chebyshev_nodes(low, high, num=400):
    """Return points that are dense at the ends of an interval, ends included."""
    return (low + high) / 2 + (high - low) / 2 * np.cos(np.linspace(0, np.pi, num))


def worst_rate(first, second, momentum, eigenvalues):
    """Return the largest spectral radius of the companion matrix of two steps, per step, for arrays of constants."""
    first, second, momentum = (np.asarray(one, dtype=float)[..., None] for one in (first, second, momentum))

    def step(rate):
        matrix = np.zeros((*np.broadcast_shapes(rate.shape, eigenvalues.shape), 2, 2))
        matrix[..., 0, 0], matrix[..., 0, 1] = 1 + momentum - rate * eigenvalues, -momentum
        matrix[..., 1, 0] = 1.0
        return matrix

    radii = np.abs(np.linalg.eigvals(step(second) @ step(first))).max(axis=-1)
    return np.sqrt(radii.max(axis=-1))


@pytest.mark.parametrize(("lower", "upper"), SPECTRA)
def test_the_asymptotic_rate_is_the_root_of_the_momentum(lower, upper):
    cycle = cyclical_heavy_ball(lower, upper)
    eigenvalues = np.r_[chebyshev_nodes(*lower), chebyshev_nodes(*upper)]
    found = worst_rate(*cycle.learning_rates, cycle.momentum, eigenvalues)
    # double roots at the ends of the intervals: rounding enters with its square root
    np.testing.assert_allclose(found, np.sqrt(cycle.momentum), rtol=1e-6)
    assert cycle.rate == pytest.approx(np.sqrt(cycle.momentum))


@pytest.mark.parametrize(("lower", "upper"), SPECTRA)
def test_iterates_fall_at_this_rate(lower, upper):
    cycle = cyclical_heavy_ball(lower, upper)
    eigenvalues = np.r_[chebyshev_nodes(*lower, 30), chebyshev_nodes(*upper, 30)]
    x = previous = np.ones_like(eigenvalues)
    logs, offset = [], 0.0
    for t in range(801):
        step = cycle.learning_rates[t % 2] / (1 if t else 1 + cycle.momentum)
        x, previous = x - step * eigenvalues * x + cycle.momentum * (x - previous), x
        size = np.abs(x).max()
        offset += np.log(size)
        x, previous = x / size, previous / size
        logs.append(offset)
    found = np.exp((logs[800] - logs[400]) / 400)
    # the double root contributes t rate^t, a factor of 2 over these 400 steps
    assert cycle.rate * (1 - 1e-9) < found < cycle.rate * 2.01 ** (1 / 400)


@pytest.mark.parametrize(("lower", "upper"), SPECTRA)
def test_no_other_constants_are_better(lower, upper):
    cycle = cyclical_heavy_ball(lower, upper)
    eigenvalues = np.r_[chebyshev_nodes(*lower, 60), chebyshev_nodes(*upper, 60)]
    rng = np.random.default_rng(0)
    for size in (1e-3, 1e-2, 0.1, 0.5):
        factors = 1 + size * rng.uniform(-1, 1, (400, 3))
        first, second = cycle.learning_rates[0] * factors[:, 0], cycle.learning_rates[1] * factors[:, 1]
        rates = worst_rate(first, second, cycle.momentum * factors[:, 2], eigenvalues)
        assert rates.min() > cycle.rate


def test_no_polynomial_method_is_faster_on_these_intervals():
    lower, upper = SPECTRA[0]
    cycle = cyclical_heavy_ball(lower, upper)
    eigenvalues = np.r_[chebyshev_nodes(*lower, 500), chebyshev_nodes(*upper, 500)]
    errors = average_case_optimal(eigenvalues, np.ones(1000), num_steps=80).expected_errors
    # the best methods of all degrees, the root of whose errors falls at the rate of the set of eigenvalues
    np.testing.assert_allclose((errors[80] / errors[40]) ** (1 / 80), cycle.rate, rtol=0.01)


@pytest.mark.parametrize("gap", [0.3, 0.8, 0.95])
def test_a_gap_saves_steps_by_the_root_of_one_minus_its_square(gap):
    low, high = 1e-8, 1.0
    length = (1 - gap) / 2 * (high - low)
    cycle, ball = cyclical_heavy_ball((low, low + length), (high - length, high)), optimal_heavy_ball(low, high)
    np.testing.assert_allclose(np.log(cycle.rate) / np.log(ball.rate), 1 / np.sqrt(1 - gap**2), rtol=1e-3)


def test_acceleration_has_no_limit_for_narrow_intervals():
    rates = [cyclical_heavy_ball((1.0, 2.0), (top - 1.0, top)).rate for top in (1e2, 1e4, 1e8)]
    balls = [optimal_heavy_ball(1.0, top).rate for top in (1e2, 1e4, 1e8)]
    assert max(rates) < 0.42  # the limit is sqrt((1 - sqrt(1/2))/(1 + sqrt(1/2))) = 0.414
    assert balls[-1] > 0.9997
    np.testing.assert_allclose(rates[-1], np.sqrt((1 - np.sqrt(0.5)) / (1 + np.sqrt(0.5))), rtol=1e-6)


def test_without_a_gap_it_is_polyaks_method():
    middle = np.nextafter(5.5, 6)
    cycle, ball = cyclical_heavy_ball((1.0, 5.5), (middle, 10.0)), optimal_heavy_ball(1.0, 10.0)
    np.testing.assert_allclose(cycle.learning_rates, ball.learning_rate, rtol=1e-13)
    np.testing.assert_allclose([cycle.momentum, cycle.rate], [ball.momentum, ball.rate], rtol=1e-13)
