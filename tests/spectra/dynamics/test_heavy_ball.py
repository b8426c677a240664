"""Optimal heavy ball: its rate is exact, and no neighbor is better."""

import numpy as np
import pytest

from spectra.dynamics.heavy_ball import optimal_heavy_ball
from spectra.errors import ArgumentError


@pytest.mark.parametrize("condition", [1.5, 10.0, 1e4])
def test_optimal_heavy_ball_has_the_exact_rate_and_no_neighbor_is_better(condition):
    ball = optimal_heavy_ball(2.0, 2.0 * condition)

    def worst(step, beta):
        radii = [
            np.abs(np.linalg.eigvals([[1 + beta - step * x, -beta], [1.0, 0.0]])).max()
            for x in np.linspace(2.0, 2.0 * condition, 101)
        ]
        return max(radii)

    attained = worst(ball.learning_rate, ball.momentum)
    # the double roots at the ends turn rounding 1e-16 into 1e-8
    np.testing.assert_allclose(attained, ball.rate, atol=1e-7)
    for factor in (0.97, 1.03):
        assert worst(ball.learning_rate * factor, ball.momentum) > attained
        assert worst(ball.learning_rate, min(ball.momentum * factor, 0.999999)) > attained


@pytest.mark.parametrize("ends", [(0.0, 1.0), (2.0, 1.0), (1.0, np.inf), (np.nan, 1.0)])
def test_bad_ends_are_refused(ends):
    with pytest.raises(ArgumentError, match="0 < smallest"):
        optimal_heavy_ball(*ends)
