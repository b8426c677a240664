import numpy as np
import pytest

from spectra.dynamics import Population, from_data, sgd_curve
from spectra.errors import ArgumentError, NonFiniteError, ShapeError
from tests.spectra.dynamics.least_squares import gaussian_data


def test_shapes_and_numbers_are_checked():
    with pytest.raises(ShapeError, match=r"\(d, d\)"):
        Population(hessian=np.eye(3), minimizer=np.ones(2))
    with pytest.raises(NonFiniteError, match="finite"):
        Population(hessian=np.eye(2), minimizer=np.array([1.0, np.nan]))
    with pytest.raises(ArgumentError, match="symmetric"):
        Population(hessian=np.array([[1.0, 2.0], [0.0, 1.0]]), minimizer=np.ones(2))
    with pytest.raises(ShapeError, match="parameters"):
        sgd_curve(
            from_data(*gaussian_data(9, 4)),
            closure="limit",
            learning_rate=0.1,
            num_steps=1,
            population=Population(hessian=np.eye(3), minimizer=np.ones(3)),
        )


def test_the_training_loss_as_a_population_is_the_training_loss():
    A, b = gaussian_data(30, 8)
    problem = from_data(A, b)
    x = np.linalg.lstsq(A, b, rcond=None)[0]
    population = Population(hessian=A.T @ A / 30, minimizer=x, floor=problem.floor)
    for settings in ({}, {"momentum": 0.5}, {"weight_decay": 0.1}):
        curve = sgd_curve(
            problem, closure="gaussian", learning_rate=0.02, num_steps=80, population=population, **settings
        )
        np.testing.assert_allclose(curve.risk, curve.loss, rtol=1e-11)
