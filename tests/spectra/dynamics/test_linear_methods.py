import numpy as np
import pytest

from spectra.dynamics import LinearStep, heavy_ball_step, linear_method_curve, nesterov_step, sgd_curve
from spectra.errors import ArgumentError
from tests.spectra.dynamics.least_squares import gaussian_problem


@pytest.mark.parametrize("closure", ["limit", "gaussian", "kurtosis"])
def test_without_momentum_it_is_plain_sgd(closure):
    problem = gaussian_problem()
    curves = [
        linear_method_curve(
            problem,
            lambda k, lam, step=step: step(lam, learning_rate=0.01, momentum=0.0),
            closure=closure,
            batch_size=2,
            num_steps=100,
        )
        for step in (heavy_ball_step, nesterov_step)
    ]
    plain = sgd_curve(problem, closure=closure, learning_rate=0.01, batch_size=2, num_steps=100)
    for curve in curves:
        np.testing.assert_allclose(curve.loss, plain.loss, rtol=1e-12)


def test_a_method_of_ones_own():
    """The same numbers in any basis of the buffer: halve it, and double what leaves it."""

    def scaled(k, lam):
        step = heavy_ball_step(lam, learning_rate=0.05, momentum=0.5)
        (t11, t12), (t21, t22) = step.matrix
        return LinearStep(
            matrix=np.array([[t11, 2 * t12], [t21 / 2, t22]]), noise=np.array([step.noise[0], step.noise[1] / 2])
        )

    problem = gaussian_problem(20, 5)
    own = linear_method_curve(problem, scaled, closure="limit", num_steps=40)
    known = sgd_curve(problem, closure="limit", learning_rate=0.05, momentum=0.5, num_steps=40)
    np.testing.assert_allclose(own.loss, known.loss, rtol=1e-12)


def test_closures_without_modes_are_refused():
    with pytest.raises(ArgumentError, match="over modes"):
        linear_method_curve(gaussian_problem(), lambda k, lam: None, closure="exact", num_steps=1)
