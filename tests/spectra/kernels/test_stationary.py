import math

import numpy as np
import pytest
from numpy.polynomial.hermite_e import hermegauss

from spectra.errors import ArgumentError
from spectra.kernels.stationary import RBF, Laplace, Matern, Periodic, matern_bessel
from tests.spectra.kernels.kernel_cases import points

R = np.concatenate([[1e-12, 1e-8, 1e-4], np.linspace(0.01, 6.0, 300)])


def of_distance(kernel, r):
    """Return the kernel as a function of the distance."""
    return kernel(np.zeros((1, 1)), np.asarray(r, dtype=float)[:, None])[0]


@pytest.mark.parametrize("nu", [0.5, 1.5, 2.5])
def test_half_integer_matern_is_the_bessel_form(nu):
    """Measured for 0 < r <= 6: 5e-16."""
    closed = of_distance(Matern(nu=nu), R)
    np.testing.assert_allclose(closed, matern_bessel(math.sqrt(2 * nu) * R, nu), rtol=3e-15, atol=1e-15)


def test_matern_7_2():
    t = math.sqrt(7) * R
    np.testing.assert_allclose(
        of_distance(Matern(nu=3.5), R), (1 + t + 2 * t**2 / 5 + t**3 / 15) * np.exp(-t), rtol=1e-14, atol=1e-15
    )


def test_laplace_is_matern_one_half_and_rbf_matern_infinity():
    X = points()
    np.testing.assert_array_equal(Laplace(0.7)(X), Matern(0.7, nu=0.5)(X))
    np.testing.assert_array_equal(RBF(0.7)(X), Matern(0.7, nu=math.inf)(X))


@pytest.mark.parametrize("nu", [0.05, 0.3, 1.0, 1.01, 7.3, 20.0, 50.0])
def test_the_bessel_form_next_to_zero_and_far_away(nu):
    """It falls from 1 to 0 without a jump, where Bessel functions overflow and underflow too."""
    t = np.concatenate([[0.0, 5e-324], np.geomspace(1e-300, 2e3, 2000)])
    values = matern_bessel(t, nu)
    assert values[0] == 1.0
    assert np.all(np.isfinite(values))
    assert np.all(np.diff(values) <= 4e-14)
    assert np.all((values >= 0) & (values <= 1 + 2e-14))


def test_large_orders_tend_to_the_gaussian_kernel():
    gap = [np.max(np.abs(of_distance(Matern(nu=nu), R) - of_distance(RBF(), R))) for nu in (10.0, 20.0, 40.0)]
    np.testing.assert_allclose(np.array(gap[1:]) / gap[:-1], 0.5, atol=0.05)


def test_a_length_scale_for_each_feature_scales_the_features():
    X, scale = points(), np.array([1.0, 2.0, 0.5, 3.0])
    for kind in (RBF, Laplace, Matern):
        np.testing.assert_allclose(kind(scale)(X), kind(1.0)(X / scale), atol=1e-13)


def test_periodic_is_its_formula():
    X, Y, scale = points(), points(rng=1), np.array([1.0, 2.0, 0.5, 3.0])
    sine = np.sin(np.pi * (X[:, None, :] - Y[None, :, :]) / 1.7)
    expected = np.exp(-2.0 * np.sum(sine**2 / scale**2, axis=-1))
    np.testing.assert_allclose(Periodic(scale, period=1.7)(X, Y), expected, atol=1e-14)
    np.testing.assert_allclose(Periodic(scale, period=1.7)(X + 17.0, Y), expected, atol=1e-13)


@pytest.mark.parametrize(("ratio", "tolerance"), [(1.0, 1e-12), (0.75, 1e-12), (0.3, 1e-4)])
def test_eigenvalues_of_rbf_under_normal_inputs(ratio, tolerance):
    """Rasmussen and Williams (2006), section 4.3.1, against Nystrom with 160 Gauss-Hermite nodes."""
    s = 2.0
    x, weight = hermegauss(160)
    weight = np.sqrt(weight / np.sum(weight))
    found = np.linalg.eigvalsh(weight[:, None] * RBF(ratio * s)(s * x[:, None]) * weight)[::-1][:10]
    a, b = 1 / (4 * s**2), 1 / (2 * (ratio * s) ** 2)
    c = math.sqrt(a * a + 2 * a * b)
    expected = math.sqrt(2 * a / (a + b + c)) * (b / (a + b + c)) ** np.arange(10)
    np.testing.assert_allclose(found, expected, rtol=tolerance)


@pytest.mark.parametrize("nu", [0.5, 1.0, 1.5, 2.5])
def test_decay_on_the_circle(nu):
    """Uniform points on a circle, a manifold of dimension 1: the Gram matrix is circulant; each value occurs twice.

    Aliases of 2^14 points add less than 1e-2 to the eigenvalues up to 2^9, the tail of (1/32)^alpha; and the exponent
    is that of a power with a correction of relative order k^-2.
    """
    n = 2**14
    turn = 2 * np.pi * np.arange(n) / n
    circle = np.column_stack([np.cos(turn), np.sin(turn)])
    kernel = Matern(0.3, nu=nu)
    values = np.abs(np.fft.rfft(kernel(circle[:1], circle)[0])) / n
    slope = math.log(values[100] / values[200]) / math.log(2.0)
    assert slope == pytest.approx(kernel.decay_exponent(1), rel=0.01)


def test_exponents():
    assert Laplace().decay_exponent(5) == 1.2
    assert Matern(nu=2.5).decay_exponent(5) == 2.0
    assert Matern(nu=math.inf).decay_exponent(5) == RBF().decay_exponent(5) == Periodic().decay_exponent(5) == math.inf


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("nu", [0.5, 0.7, 1.5, 2.5, 2.6, 40.0, 50.0, math.inf])
def test_far_points_have_nothing_in_common(nu, dtype):
    X = np.array([[0.0], [1e6], [1e10], [1e30]], dtype=dtype)
    np.testing.assert_array_equal(Matern(nu=nu)(X), np.eye(4))
    np.testing.assert_array_equal(Matern(nu=nu)(np.hstack([X, X, X])), np.eye(4))


@pytest.mark.parametrize("scale", ["1", "a", [1.0, [2.0]], ["a"], 1j, np.complex128(1.0), np.array([1j]), 10**400, {}])
def test_length_scales_that_are_no_numbers(scale):
    with pytest.raises(ArgumentError):
        RBF(scale)


def test_orders_that_are_no_number():
    with pytest.raises(ArgumentError, match="nu"):
        Matern(nu=np.array([1.0, 2.0]))
