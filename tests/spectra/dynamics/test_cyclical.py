"""Two-step cycles: identity with the published formula, exact rates, intervals covered and refused."""

import numpy as np
import pytest

from spectra.dynamics.cyclical import cyclical_heavy_ball
from spectra.dynamics.heavy_ball import optimal_heavy_ball
from spectra.errors import ArgumentError

SPLIT = np.r_[np.linspace(1.0, 11.0, 60), np.linspace(90.0, 100.0, 60)]


def rate_at(cycle, eigenvalue):
    """Return the rate per step at one eigenvalue: the spectral radius of the two-step matrix."""
    total = np.eye(2)
    for step in cycle.learning_rates:
        total = np.array([[1 + cycle.momentum - step * eigenvalue, -cycle.momentum], [1.0, 0.0]]) @ total
    return np.sqrt(np.abs(np.linalg.eigvals(total)).max())


@pytest.mark.parametrize("ends", [(1, 2, 9, 10), (1, 20, 81, 100), (0.01, 3, 7.01, 10), (1, 1, 5, 5)])
def test_momentum_is_that_of_the_published_formula(ends):
    mu1, l1, mu2, l2 = ends
    r, gap = (l2 + mu1) / (l2 - mu1), (mu2 - l1) / (l2 - mu1)
    expected = 0.0
    if gap < 1:
        expected = ((np.sqrt(r**2 - gap**2) - np.sqrt(r**2 - 1)) / np.sqrt(1 - gap**2)) ** 2
    cycle = cyclical_heavy_ball((mu1, l1), (mu2, l2))
    np.testing.assert_allclose(cycle.momentum, expected, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(cycle.learning_rates, [(1 + expected) / l1, (1 + expected) / mu2], rtol=1e-10)


def test_rate_is_attained_on_both_intervals_and_is_below_the_heavy_ball():
    cycle = cyclical_heavy_ball((1.0, 11.0), (90.0, 100.0))
    rates = [rate_at(cycle, value) for value in SPLIT]
    # double roots at the ends: rounding enters with its square root
    np.testing.assert_allclose(rates, cycle.rate, rtol=1e-6)
    assert cycle.rate < optimal_heavy_ball(1.0, 100.0).rate - 0.09


def test_iterates_of_a_quadratic_shrink_at_the_rate():
    cycle = cyclical_heavy_ball((1.0, 11.0), (90.0, 100.0))
    w, previous, sizes = np.ones_like(SPLIT), np.ones_like(SPLIT), []
    for t in range(400):
        step = cycle.learning_rates[t % 2] / (1 + cycle.momentum if t == 0 else 1)
        w, previous = w - step * SPLIT * w + (cycle.momentum * (w - previous) if t else 0.0), w
        sizes.append(np.linalg.norm(w))
    measured = (sizes[399] / sizes[199]) ** (1 / 200)
    # the double root contributes t rate^t: a factor 2 over 200 steps, 0.35 % per step
    assert cycle.rate * 0.999 < measured < cycle.rate * 2 ** (1 / 200) * 1.001


def test_torch_sum_form_with_its_two_momenta_is_the_same_iteration():
    cycle = cyclical_heavy_ball((1.0, 11.0), (90.0, 100.0))
    w = previous = np.ones_like(SPLIT)
    other, buffer = np.ones_like(SPLIT), np.zeros_like(SPLIT)
    for t in range(20):
        step = cycle.learning_rates[t % 2]
        w, previous = w - step * SPLIT * w + cycle.momentum * (w - previous), w
        buffer = cycle.sum_form_momenta[t % 2] * buffer + SPLIT * other
        other = other - step * buffer
    np.testing.assert_allclose(other, w, rtol=1e-8)


def test_unequal_intervals_are_covered_by_equal_ones():
    cycle = cyclical_heavy_ball((1.0, 3.0), (80.0, 100.0))
    (mu1, l1), (mu2, l2) = cycle.intervals
    assert (mu1, l2) == (1.0, 100.0)
    assert l1 >= 3.0
    assert mu2 <= 80.0
    np.testing.assert_allclose(l1 - mu1, l2 - mu2)
    worst = max(rate_at(cycle, value) for value in np.r_[np.linspace(1, 3, 50), np.linspace(80, 100, 50)])
    assert worst <= cycle.rate * (1 + 1e-6)


def test_without_a_gap_the_cycle_is_the_optimal_heavy_ball():
    cycle, ball = cyclical_heavy_ball((1.0, 2.0), (50.0, 100.0)), optimal_heavy_ball(1.0, 100.0)
    np.testing.assert_allclose([*cycle.learning_rates, cycle.rate], [ball.learning_rate] * 2 + [ball.rate], rtol=1e-12)


def test_scaling_the_spectrum_scales_only_the_learning_rates():
    small = cyclical_heavy_ball((1e-14, 1.1e-13), (9e-13, 1e-12))
    plain = cyclical_heavy_ball((1.0, 11.0), (90.0, 100.0))
    np.testing.assert_allclose(np.multiply(small.learning_rates, 1e-14), plain.learning_rates, rtol=1e-9)
    np.testing.assert_allclose(small.momentum, plain.momentum, rtol=1e-9)


@pytest.mark.parametrize(
    ("lower", "upper"),
    [
        ((1.0, 5.0), (4.0, 6.0)),
        ((0.0, 1.0), (2.0, 3.0)),
        ((-1.0, 1.0), (2.0, 3.0)),
        ((2.0, 1.0), (3.0, 4.0)),
        ((1.0, 2.0), (3.0, np.inf)),
        ((np.nan, 2.0), (3.0, 4.0)),
    ],
)
def test_ends_that_are_not_ordered_positive_and_finite_are_refused(lower, upper):
    with pytest.raises(ArgumentError, match="0 < mu1"):
        cyclical_heavy_ball(lower, upper)
