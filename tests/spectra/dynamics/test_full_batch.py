"""Residual polynomials of full-batch methods against gradient steps on a diagonal quadratic."""

import numpy as np
import pytest

from spectra.dynamics.full_batch import full_batch_problem, residual_polynomials
from spectra.errors import ArgumentError
from spectra.laws import MarchenkoPastur

EIGENVALUES = np.array([0.5, 1.0, 4.0])


def problem(method, spectrum=EIGENVALUES):
    return full_batch_problem(spectrum, method=method, signal=1.0, noise=0.0, weights=None, aspect_ratio=None)


@pytest.mark.parametrize("method", ["gradient_descent", "nesterov", "heavy_ball"])
def test_polynomials_are_the_errors_of_the_method(method):
    made = problem(method)
    x, before = np.ones(3), np.ones(3)
    for k, found in zip(range(9), residual_polynomials(made, EIGENVALUES), strict=False):
        np.testing.assert_allclose(found, x, rtol=1e-12, atol=1e-14)
        if method == "nesterov":
            y = x + max(k - 1, 0) / (k + 2) * (x - before)
            before, x = x, y - made.learning_rate * EIGENVALUES * y
        else:
            before, x = x, x - made.learning_rate * EIGENVALUES * x + made.momentum * (x - before)


def test_zeros_count_in_the_shares_and_are_left_out():
    made = problem("gradient_descent", [0.0, 0.0, 1.0, 3.0])
    assert made.eigenvalues.tolist() == [1.0, 3.0]
    assert made.weights.tolist() == [0.25, 0.25]


def test_a_law_that_reaches_zero_has_no_best_heavy_ball():
    with pytest.raises(ArgumentError, match="aspect_ratio=1"):
        problem("heavy_ball", MarchenkoPastur(aspect_ratio=1.0))
