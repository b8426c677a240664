import numpy as np
import pytest

from spectra.kernels.versine import angle, norms_with_bias, relu_mean, relu_mean_complement, sine, sizes_and_versines

THETA = np.array([0.0, 1e-12, 1e-9, 1e-5, 1e-2, 0.5, 1.5, 2.5, 3.1])
VERSINE = 2 * np.sin(THETA / 2) ** 2


def test_angles():
    np.testing.assert_allclose(angle(VERSINE), THETA, rtol=1e-13)
    np.testing.assert_allclose(sine(VERSINE), np.sin(THETA), rtol=1e-12)


def test_relu_mean_and_what_it_lacks_of_one():
    expected = (np.sin(THETA) + (np.pi - THETA) * np.cos(THETA)) / np.pi
    np.testing.assert_allclose(relu_mean(VERSINE), expected, atol=2e-15)
    np.testing.assert_allclose(relu_mean_complement(VERSINE)[4:], 1 - expected[4:], rtol=1e-11)
    small = THETA[:4]
    np.testing.assert_allclose(relu_mean_complement(VERSINE[:4]), small**2 / 2 - small**3 / (3 * np.pi), rtol=1e-9)


@pytest.mark.parametrize("bias", [0.0, 0.5])
def test_versines_of_neighbors_are_accurate(bias):
    step = 1e-7
    X = np.array([[3.0, 4.0, 0.0]])
    Y = X + step * np.array([[-0.8, 0.6, 0.0]])
    size, versine = sizes_and_versines(X, Y, bias)
    assert size[0, 0] == pytest.approx(25 + bias**2)
    assert versine[0, 0] == pytest.approx(step**2 / (2 * (25 + bias**2)), rel=1e-7)


def test_zero_points_are_orthogonal_to_others():
    X = np.array([[0.0, 0.0], [1.0, 0.0]])
    assert norms_with_bias(X, 0.0).tolist() == [0.0, 1.0]
    assert sizes_and_versines(X, X, 0.0)[1].round(15).tolist() == [[0.0, 1.0], [1.0, 0.0]]


@pytest.mark.parametrize("d", [1, 2, 3, 30, 300])
def test_opposite_directions_are(d):
    X = np.random.default_rng(0).standard_normal((20, d))
    versine = np.diag(sizes_and_versines(X, -2.5 * X, 0.0)[1])
    np.testing.assert_array_equal(versine, 2.0)
    np.testing.assert_array_equal(angle(versine), np.pi)
