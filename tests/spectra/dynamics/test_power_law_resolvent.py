"""The deterministic equivalent of the resolvent of random features."""

import numpy as np
import pytest

from spectra.dynamics.power_law_resolvent import FeatureResolvent
from spectra.errors import ArgumentError, NonFiniteError, ShapeError

V, D = 800, 200
VALUES = np.arange(1, V + 1.0) ** -2.0
#: From far inside the spectrum, close to the axis, to the negative axis.
POINTS = np.geomspace(1e-6, 3, 40) * np.exp(1j * np.geomspace(1e-4, 3.1, 40))


def resolvent(values=VALUES, d=D):
    return FeatureResolvent(values=values, counts=np.ones(np.size(values)), num_parameters=d)


def test_solves_the_equation_of_the_paper():
    m = resolvent().multiplier(POINTS)
    right = 1 / (1 + np.sum(VALUES / (VALUES * m[:, None] - POINTS[:, None]), axis=1) / D)
    np.testing.assert_allclose(m, right, rtol=1e-10)


def test_is_the_solution_that_is_the_transform_of_a_measure():
    found = resolvent()
    assert np.all(found.trace(POINTS).imag > 0)
    assert np.all(found.diagonal(POINTS).imag > 0)
    # Far away the resolvent is -1/z, so that the measure has mass d.
    far = np.array([1e8j, -1e8])
    np.testing.assert_allclose(found.trace(far), -D / far, rtol=1e-6)


@pytest.mark.parametrize("ratio", [0.25, 1.0, 4.0])
def test_equal_entries_give_the_law_of_marchenko_and_pastur(ratio):
    d, value = 100, 3.0
    equal = FeatureResolvent(values=[value], counts=[ratio * d], num_parameters=d)
    z = np.array([-1.0, -1e-3, 0.5j, 2 + 1e-3j, 30 + 1j, -4 - 2j])
    # The trace s over d solves z s^2 value + s (z + value (1 - ratio)) + 1 = 0; its root in the half-plane of z.
    trace = equal.trace(z) / d
    left = z * value * trace**2 + (z + value * (1 - ratio)) * trace + 1
    assert np.max(np.abs(left)) < 1e-10
    low, high = equal.support
    assert high == pytest.approx(value * (1 + np.sqrt(ratio)) ** 2, rel=1e-9)
    assert low == pytest.approx(value * (1 - np.sqrt(ratio)) ** 2, rel=1e-9, abs=1e-15)


def test_is_close_to_the_resolvent_of_a_draw():
    # Errors are 1/d at a unit distance from the spectrum; two draws, so that luck is small.
    z = np.array([-1e-4, -1e-2, -1.0, 0.5 + 0.5j, 0.01 + 0.01j])
    found = resolvent()
    for seed in (0, 1):
        weights = np.random.default_rng(seed).standard_normal((V, D)) / np.sqrt(D)
        half = np.sqrt(VALUES)[:, None] * weights
        eigenvalue = np.linalg.eigvalsh(half.T @ half)
        np.testing.assert_allclose(found.trace(z), np.sum(1 / (eigenvalue - z[:, None]), axis=1), rtol=4 / D)
        low, high = found.support
        assert low == pytest.approx(eigenvalue[0], rel=0.1)
        # The largest eigenvalue is the first entry times the squared norm of a row of W, of standard deviation 10 %.
        assert high == pytest.approx(eigenvalue[-1], rel=0.5)
        inverse = np.diag(np.linalg.inv(half @ half.T - z[2] * np.eye(V)))
        np.testing.assert_allclose(found.diagonal(z[2]).real, inverse, rtol=0.1)


def test_ridge_at_zero_is_the_limit_on_the_negative_axis():
    found = resolvent()
    assert found.ridge(-1e-14).real == pytest.approx(found.ridge_at_zero, rel=1e-6)
    assert np.sum(VALUES / (VALUES + found.ridge_at_zero)) == pytest.approx(D, rel=1e-12)
    assert resolvent(d=V).ridge_at_zero == 0.0
    assert resolvent(d=2 * V).ridge_at_zero == 0.0


@pytest.mark.parametrize("factor", [1e-10, 1e10])
def test_units_are_units(factor):
    one, other = resolvent(), resolvent(VALUES * factor)
    np.testing.assert_allclose(other.ridge(POINTS * factor), one.ridge(POINTS) * factor, rtol=1e-12)
    np.testing.assert_allclose(other.support, np.array(one.support) * factor, rtol=1e-12)
    assert other.ridge_at_zero == pytest.approx(one.ridge_at_zero * factor, rel=1e-12)


def test_counts_are_repeated_entries_in_any_order():
    single = resolvent([3.0, 1.0, 1.0, 2.0, 3.0], 3)
    counted = FeatureResolvent(values=[1, 2, 3], counts=[2, 1, 2], num_parameters=3)
    np.testing.assert_allclose(counted.ridge(POINTS), single.ridge(POINTS), rtol=1e-11)


def test_shapes_and_the_other_half_plane():
    found = resolvent()
    assert found.ridge(-1.0).shape == ()
    assert found.ridge([]).shape == (0,)
    grid = POINTS.reshape(5, 8)
    assert found.diagonal(grid).shape == (5, 8, V)
    np.testing.assert_array_equal(found.ridge(grid.conj()), found.ridge(grid).conj())


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"values": []}, ShapeError),
        ({"values": 1.0}, ShapeError),
        ({"values": [1.0, 2.0]}, ShapeError),
        ({"values": [np.nan]}, NonFiniteError),
        ({"counts": [np.inf]}, NonFiniteError),
        ({"values": [0.0]}, ArgumentError),
        ({"counts": [-1.0]}, ArgumentError),
        ({"num_parameters": 0}, ArgumentError),
        ({"num_parameters": 2.0}, ArgumentError),
    ],
)
def test_wrong_entries(settings, error):
    with pytest.raises(error):
        FeatureResolvent(**({"values": [1.0], "counts": [4.0], "num_parameters": 2} | settings))


@pytest.mark.parametrize(("z", "error"), [(0.0, ArgumentError), ([1.0], ArgumentError), (np.nan, NonFiniteError)])
def test_wrong_points(z, error):
    with pytest.raises(error, match="z must"):
        resolvent().ridge(z)
