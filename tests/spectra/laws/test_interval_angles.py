import numpy as np
import pytest

from spectra.laws.interval_angles import angle_of, point_at


@pytest.mark.parametrize("unit", [1e-14, 1.0, 1e14])
def test_angles_and_points_invert_one_another(unit):
    angle = np.linspace(0.0, np.pi, 41)
    x = point_at(angle, low=-1.0 * unit, high=2.0 * unit)
    np.testing.assert_allclose(x, unit * (0.5 - 1.5 * np.cos(angle)), atol=1e-15 * unit)
    np.testing.assert_allclose(angle_of(x, low=-1.0 * unit, high=2.0 * unit), angle, atol=1e-7)


def test_points_next_to_an_end_at_zero_keep_their_digits():
    angle = np.array([1e-12, 1e-6])
    np.testing.assert_allclose(point_at(angle, low=0.0, high=4.0), angle**2, rtol=1e-11)
    np.testing.assert_allclose(-point_at(np.pi - angle, low=-4.0, high=0.0), angle**2, rtol=1e-3)
    np.testing.assert_allclose(angle_of(angle**2, low=0.0, high=4.0), angle, rtol=1e-11)


def test_points_outside_have_the_angle_of_the_nearer_end():
    np.testing.assert_array_equal(
        angle_of(np.array([-np.inf, 0.5, 3.5, np.inf]), low=1.0, high=3.0), [0, 0, np.pi, np.pi]
    )
