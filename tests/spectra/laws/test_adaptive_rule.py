import numpy as np
import pytest

from spectra.laws.adaptive_rule import AdaptiveRule


def test_semicircle_has_its_moments_and_distribution():
    rule = AdaptiveRule(lambda x: np.sqrt(4.0 - x**2) / (2.0 * np.pi), -2.0, 2.0)
    np.testing.assert_allclose([rule.weights @ rule.nodes**k for k in range(5)], [1.0, 0.0, 1.0, 0.0, 2.0], atol=1e-14)
    x = np.linspace(-3.0, 3.0, 50)
    u = np.clip(x / 2.0, -1.0, 1.0)
    np.testing.assert_allclose(rule.mass_below(x), 0.5 + (u * np.sqrt(1.0 - u**2) + np.arcsin(u)) / np.pi, atol=1e-14)


@pytest.mark.parametrize("width", [1e-2, 1e-5, 1e-8])
def test_sharp_features_are_found(width):
    """A Lorentzian of any width in the middle of the interval, up to rounding of x."""
    rule = AdaptiveRule(lambda x: width / np.pi / ((x - 0.3) ** 2 + width**2), 0.0, 1.0)
    mass = (np.arctan(0.7 / width) + np.arctan(0.3 / width)) / np.pi
    np.testing.assert_allclose(rule.mass, mass, rtol=1e-13 + 1e-17 / width)


def test_infinite_edges():
    rule = AdaptiveRule(lambda x: x ** (-2.0 / 3.0) / 3.0, 0.0, 1.0)
    np.testing.assert_allclose(rule.mass, 1.0, rtol=1e-7)


def test_points_next_to_both_ends_are_accurate():
    rule = AdaptiveRule(np.ones_like, 1.0, 3.0)
    np.testing.assert_allclose(rule.point(np.array([0.0, np.pi / 2, np.pi])), [1.0, 2.0, 3.0], rtol=1e-15)
    np.testing.assert_allclose(rule.mass_below(np.array([0.0, 1.0, 2.0, 3.0, 4.0])), [0, 0, 1, 2, 2], atol=1e-14)
