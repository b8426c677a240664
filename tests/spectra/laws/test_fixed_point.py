import numpy as np

from spectra.laws.fixed_point import solve_above_axis


def test_quadratic_map_gives_the_semicircle():
    """The fixed point of w = z - 1/w has imaginary part sqrt(4 - z^2) / 2 in the upper half-plane."""
    x = np.linspace(-1.99, 1.99, 101)
    ones = np.ones(x.size)
    w, converged = solve_above_axis(lambda z, w: z - 1.0 / w, x.astype(complex), x + 10j, ones, ones)
    assert np.all(converged)
    np.testing.assert_allclose(w, 0.5 * (x + 1j * np.sqrt(4.0 - x**2)), atol=1e-12)


def test_each_point_has_its_own_mask():
    """At the edge z = 2 the root is double: convergence is slow there and the neighbors do not care."""
    z = np.array([0.0, 2.0, 3.0], dtype=complex)
    ones = np.ones(3)
    w, converged = solve_above_axis(lambda z, w: z - 1.0 / w, z, z + 10j, ones, ones)
    assert converged[[0, 2]].all()
    np.testing.assert_allclose(w[[0, 2]], [1j, 0.5 * (3.0 + np.sqrt(5.0))], rtol=1e-12)
    assert abs(w[1] - 1.0) < 1e-3


def test_a_map_without_fixed_point_is_masked():
    z = np.zeros(1, dtype=complex)
    _, converged = solve_above_axis(lambda z, w: w + 1.0, z, z + 1j, np.ones(1), np.ones(1))
    assert not converged[0]
