import numpy as np
import pytest

from spectra.laws.graded_rule import GradedRule


def semicircle(z):
    return -2.0 / (z + np.sqrt(z - 2.0) * np.sqrt(z + 2.0))


RULE = GradedRule(lambda x: np.sqrt((2.0 - x) * (2.0 + x)) / (2.0 * np.pi), -2.0, 2.0)


def test_moments_of_the_semicircle_are_catalan_numbers():
    moments = [RULE.weights @ RULE.nodes**order for order in range(9)]
    np.testing.assert_allclose(moments, [1, 0, 1, 0, 2, 0, 5, 0, 14], atol=1e-12)


@pytest.mark.parametrize(("exponent", "scale"), [(-0.5, 1.0), (0.5, 1e-14), (-2.0 / 3.0, 1e14), (1.5, 1.0)])
def test_algebraic_edges_at_zero_keep_their_mass(exponent, scale):
    density = lambda x: (exponent + 1.0) / scale * (x / scale) ** exponent  # noqa: E731
    rule = GradedRule(density, 0.0, scale)
    assert abs(rule.mass - 1.0) < 1e-9
    x = scale * np.linspace(0.0, 1.0, 101)
    np.testing.assert_allclose(rule.mass_below(rule.angle(x)), (x / scale) ** (exponent + 1.0), atol=1e-9)


@pytest.mark.parametrize("center", [0.0, 2.0, -1e6])
def test_inverse_roots_at_edges_away_from_zero_keep_their_mass(center):
    rule = GradedRule(
        lambda x: 1.0 / (np.pi * np.sqrt((x - center + 1.0) * (center + 1.0 - x))), center - 1, center + 1
    )
    # a density of 1/sqrt(edge) loses sqrt(rounding of x) at such an edge, whatever the rule
    assert abs(rule.mass - 1.0) < (1e-9 if abs(center) < 10 else 1e-4)


@pytest.mark.parametrize("height", [0.0, 1e-12, 1e-8, 1e-4, 1e-2, 1.0, 100.0, -1e-6])
def test_transform_is_accurate_at_every_distance_from_the_interval(height):
    x = np.linspace(-2.5, 2.5, 1237)
    np.testing.assert_allclose(RULE.stieltjes(x + 1j * height), semicircle(x + 1j * height), atol=1e-10)


def test_transform_at_nodes_and_breaks_and_edges():
    for x in (RULE.nodes, RULE._marks):
        np.testing.assert_allclose(RULE.stieltjes(x + 0j), semicircle(x + 0j), atol=1e-7)
    np.testing.assert_allclose(RULE.stieltjes(np.array([-2.0, 2.0]) + 0j), [1.0, -1.0], atol=1e-7)


def test_long_arrays_are_computed_in_blocks():
    z = np.linspace(-3.0, 3.0, 5000) + 0.1j
    np.testing.assert_allclose(RULE.stieltjes(z), semicircle(z), atol=1e-12)


@pytest.mark.parametrize("far", [1e20, 1e40, 1e150])
@pytest.mark.parametrize("direction", [1.0, -1.0, 1j, 1.0 + 1j, -1.0 + 1e-3j])
def test_transform_far_away_is_that_of_a_point_mass(far, direction):
    z = np.array([far * direction], dtype=np.complex128)
    np.testing.assert_allclose(RULE.stieltjes(z) * z, -1.0, rtol=1e-12)
