import math

import numpy as np
import pytest

from spectra.errors import ArgumentError
from spectra.kernels.composed import Constant, Product, Scaled, Sum
from spectra.kernels.dot_product import Linear, NeuralTangent
from spectra.kernels.stationary import RBF, Laplace, Matern
from tests.spectra.kernels.kernel_cases import points


def test_values_are_those_of_the_parts():
    X, Y = points(), points(rng=1)[:20]
    a, b = RBF(2.0), Laplace(3.0)
    np.testing.assert_array_equal((a + b)(X, Y), a(X, Y) + b(X, Y))
    np.testing.assert_array_equal((a * b)(X, Y), a(X, Y) * b(X, Y))
    np.testing.assert_array_equal((3.0 * a)(X, Y), 3.0 * a(X, Y))
    np.testing.assert_array_equal((a + 0.5)(X, Y), a(X, Y) + 0.5)
    np.testing.assert_allclose((a * (b + 2))(X), a(X) * b(X) + 2 * a(X), rtol=1e-15)


def test_kinds():
    assert isinstance(RBF() + Laplace(), Sum)
    assert isinstance(RBF() * Laplace(), Product)
    assert isinstance(np.float64(2.0) * RBF(), Scaled)
    assert 1 + RBF() == RBF() + Constant(1.0)


def test_the_product_of_gaussian_kernels_is_gaussian():
    X = points()
    np.testing.assert_allclose((RBF(3.0) * RBF(4.0))(X), RBF(12.0 / 5.0)(X), atol=1e-14)


def test_the_rougher_kernel_decides_the_exponent():
    assert (RBF() + Laplace()).decay_exponent(2) == 1.5
    assert (Matern(nu=2.5) * Laplace() * Linear()).decay_exponent(2) == 1.5
    assert (RBF() * 2.0 + 1.0).decay_exponent(3) == math.inf
    assert (RBF() + NeuralTangent()).decay_exponent(3) == 1.5
    assert (3 * Matern()).decay_exponent(3) == Matern().decay_exponent(3)
    assert (3 * Matern() + 1.0).input_law == "region"


def test_laws_that_do_not_fit():
    with pytest.raises(ArgumentError, match="sphere"):
        (Laplace() + NeuralTangent()).decay_exponent(3)


def test_a_constant_is_one_for_inputs_of_any_size():
    X = np.full((2, 1), 1e308)
    np.testing.assert_array_equal(Constant(2.0)(X, -X), 2.0)
