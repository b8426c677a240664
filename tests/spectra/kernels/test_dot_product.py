import math

import numpy as np
import pytest
from numpy.polynomial.legendre import leggauss, legval
from scipy.integrate import quad

from spectra.errors import ArgumentError
from spectra.kernels.dot_product import ArcCosine, Linear, NeuralTangent, Polynomial
from tests.spectra.kernels.kernel_cases import points

ANGLES = np.array([0.0, 1e-9, 1e-3, 0.3, 1.0, np.pi / 2, 2.0, 3.0, np.pi])


def at_angles(kernel, theta, lengths=(1.0, 1.0)):
    """Return the kernel between a point on the first axis and points at given angles to it."""
    theta = np.asarray(theta)
    there = lengths[1] * np.column_stack([np.cos(theta), np.sin(theta)])
    return kernel(np.array([[lengths[0], 0.0]]), there)[0]


@pytest.mark.parametrize("order", [0, 1, 2])
def test_arc_cosine_is_a_mean_over_random_neurons(order):
    """Twice the mean of relu^n relu^n in polar coordinates, where the radius integrates to 2^n n!."""
    for theta, found in zip(ANGLES, at_angles(ArcCosine(order), ANGLES, (2.0, 3.0)), strict=True):
        angular, _ = quad(
            lambda phi, t=theta: (math.cos(phi) * math.cos(phi - t)) ** order,
            theta - math.pi / 2,
            math.pi / 2,
            epsabs=1e-14,
        )
        expected = 2 * 2**order * math.factorial(order) * angular / (2 * math.pi) * 6.0**order
        assert found == pytest.approx(expected, abs=1e-14 * 6**order * 3) or theta > 3.1


def test_arc_cosine_of_opposite_points_is_zero():
    """There the angle errs by the square root of eps: the price of its accuracy for neighbors."""
    for order, tolerance in ((0, 1e-8), (1, 1e-14), (2, 1e-14)):
        assert abs(at_angles(ArcCosine(order), [np.pi])[0]) < tolerance


def test_the_bias_is_a_further_feature():
    X, b = points(), 0.7
    more = np.column_stack([X, np.full(len(X), b)])
    for order in (0, 1, 2):
        np.testing.assert_allclose(ArcCosine(order, bias=b)(X), ArcCosine(order)(more), rtol=1e-12)


def test_tangent_kernel_of_one_layer_in_terms_of_arc_cosine_kernels():
    X, b = points(), 0.6
    S = X @ X.T + b * b
    expected = S * ArcCosine(0, bias=b)(X) + ArcCosine(1, bias=b)(X) + b * b
    np.testing.assert_allclose(NeuralTangent(1, bias=b)(X), expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("bias", [0.0, 0.4])
@pytest.mark.parametrize("num_hidden", [1, 2, 3, 5])
def test_the_recursion_with_cosines(num_hidden, bias):
    """As it is usually written, for points that are not close."""
    X = points()[:-2]
    S = X @ X.T + bias**2
    T, q = S.copy(), np.diag(S).copy()
    for _ in range(num_hidden):
        size = np.sqrt(np.outer(q, q))
        u = np.clip(S / size, -1, 1)
        theta = np.arccos(u)
        S = size * (u * (np.pi - theta) + np.sqrt(1 - u * u)) / np.pi + bias**2
        T, q = T * (np.pi - theta) / np.pi + S, q + bias**2
    off = ~np.eye(len(X), dtype=bool)
    found = NeuralTangent(num_hidden, bias=bias)(X)
    np.testing.assert_allclose(found[off], T[off], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(np.diag(found), T[~off], rtol=1e-6)


def test_a_deep_tangent_kernel_of_copies():
    """Deep recursions with cosines lose half of the digits at each layer for copies; this one none."""
    X = points()
    for bias in (0.0, 0.5):
        kernel = NeuralTangent(30, bias=bias)
        assert kernel(X, X.copy())[0, -1] == pytest.approx(kernel.diagonal(X)[0], rel=1e-13)


def test_scales_of_the_input():
    X = points()
    np.testing.assert_allclose(
        NeuralTangent(2, bias=0.2, input_scale=0.5)(X), NeuralTangent(2, bias=0.2)(X / 2), rtol=1e-13, atol=1e-14
    )
    np.testing.assert_allclose(NeuralTangent(2, input_scale=0.5)(X), NeuralTangent(2)(X) / 4, rtol=1e-12, atol=1e-14)


def test_zero_points():
    X = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    np.testing.assert_allclose(ArcCosine(0)(X), [[1, 0.5, 1], [0.5, 1, 0.5], [1, 0.5, 1]], atol=1e-15)
    for kernel in (ArcCosine(1), ArcCosine(2), NeuralTangent(1), NeuralTangent(4)):
        K = kernel(X)
        assert K[0, 1] == K[0, 0] == K[0, 2] == 0.0


@pytest.mark.parametrize("degree", [1, 2, 3, 4, 5, 7, 8])
def test_polynomial_is_its_formula(degree):
    X = points()
    np.testing.assert_allclose(
        Polynomial(degree, offset=0.5, scale=0.3)(X), (0.3 * X @ X.T + 0.5) ** degree, rtol=1e-11, atol=1e-13
    )
    np.testing.assert_allclose(Polynomial(degree)(X), (X @ X.T / 4 + 1) ** degree, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_rank_of_a_polynomial(degree):
    K = Polynomial(degree)(points(80, 3))
    assert np.linalg.matrix_rank(K, tol=1e-12 * np.linalg.norm(K, 2)) == math.comb(3 + degree, degree)


@pytest.mark.parametrize(
    "kernel",
    [
        *(ArcCosine(order, bias=bias) for order in (0, 1, 2) for bias in (0.0, 1.0)),
        *(NeuralTangent(depth, bias=bias) for depth in (1, 2, 3) for bias in (0.0, 1.0)),
    ],
    ids=repr,
)
def test_decay_on_the_sphere(kernel):
    """On S^2 the eigenvalues are integrals against Legendre polynomials, each 2k + 1 times: k ~ sqrt(i).

    Degrees 40 and 80 with the parity that does not vanish; the correction to the power is of order 1/k at most, and the
    quadrature is in the angle, in which the kernels are smooth.
    """
    node, weight = leggauss(800)
    theta = np.pi * (node + 1) / 2
    values = np.column_stack([np.cos(theta), np.sin(theta), 0 * theta])
    profile = kernel(np.array([[1.0, 0.0, 0.0]]), values)[0]
    weight = weight * np.pi / 2 * np.sin(theta) * profile

    def eigenvalue(k):
        return abs(np.sum(weight * legval(np.cos(theta), np.eye(k + 1)[k])))

    odd = max((0, 1), key=lambda parity: eigenvalue(80 + parity))
    slope = math.log(eigenvalue(40 + odd) / eigenvalue(80 + odd)) / math.log((80.5 + odd) / (40.5 + odd))
    assert slope / 2 == pytest.approx(kernel.decay_exponent(3), rel=0.02)


def test_parities_vanish_without_bias():
    """Derived from the even and odd parts of a ReLU; the exponents are those of the other parity."""
    node, weight = leggauss(400)
    theta = np.pi * (node + 1) / 2
    there = np.column_stack([np.cos(theta), np.sin(theta)])
    for kernel, parity in ((ArcCosine(0), 0), (ArcCosine(1), 1), (ArcCosine(2), 0), (NeuralTangent(1), 1)):
        profile = kernel(np.array([[1.0, 0.0]]), there)[0] * weight * np.sin(theta)
        for k in (12 + parity, 20 + parity):
            assert abs(np.sum(profile * legval(np.cos(theta), np.eye(k + 1)[k]))) < 1e-9


def test_exponents():
    assert ArcCosine(1, bias=1.0).decay_exponent(3) == 2.5
    assert NeuralTangent(3).decay_exponent(4) == 4 / 3
    assert Linear().decay_exponent(1) == Polynomial().decay_exponent(1) == math.inf
    with pytest.raises(ArgumentError, match="dimension"):
        NeuralTangent().decay_exponent(1)


@pytest.mark.parametrize("unit", [1e-150, 1e150])
@pytest.mark.parametrize("order", [0, 1])
def test_arc_cosine_kernels_in_extreme_units(order, unit):
    X = points(8, 3)
    np.testing.assert_allclose(ArcCosine(order)(unit * X) / unit**order / unit**order, ArcCosine(order)(X), rtol=1e-13)
