"""Fitting a disk: exact moments, known shapes, error bars, scale, refusals."""

import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from spectra.complex_measure import normal_spectrum
from spectra.dynamics.disk_fit import DiskFit, _radial_distance, fit_disk
from spectra.dynamics.games import disk_method
from spectra.errors import ArgumentError, SchemaError
from spectra.operators import Operator


def blocks(eigenvalues):
    """Return a real normal matrix, block diagonal, with eigenvalues of the upper half-plane and their conjugates."""
    n = 2 * len(eigenvalues)
    a = np.zeros((n, n))
    for i, z in enumerate(eigenvalues):
        a[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = [[z.real, z.imag], [-z.imag, z.real]]
    return a


def polar(radii, num_angles, center=3.0):
    """Return eigenvalues on equally spaced angles of the upper half-plane, for each of the radii."""
    angles = np.pi * (np.arange(num_angles) + 0.5) / num_angles
    return center + np.outer(radii, np.exp(1j * angles)).ravel()


def uniform_disk(radius=1.0, num=16):
    return polar(radius * np.sqrt((np.arange(num) + 0.5) / num), num)


def test_moments_are_those_of_the_eigenvalues_of_each_probe():
    z = uniform_disk(num=5)
    a = blocks(z)
    fit = fit_disk(normal_spectrum(a, num_probes=3, num_steps=4))
    assert fit.num_moments == 4
    assert len(fit.shares) == 2
    v = np.stack([np.random.default_rng([0, i]).standard_normal(50) for i in range(3)])
    weights = np.mean((v / np.linalg.norm(v, axis=1)[:, None]) ** 2, axis=0)
    squared = np.abs(np.repeat(z, 2) - fit.center) ** 2
    for k in range(4):
        np.testing.assert_allclose(fit.shares @ fit.squared_radii**k, weights @ squared**k, rtol=1e-10)
    np.testing.assert_allclose(fit.center, weights @ np.repeat(z.real, 2), rtol=1e-12)
    np.testing.assert_allclose(fit.radius, np.sqrt(2 * weights @ squared), rtol=1e-12)


def test_a_uniform_disk_is_found_within_the_error_bars():
    a, scores = blocks(uniform_disk()), []
    for seed in range(40):
        fit = fit_disk(normal_spectrum(a, num_probes=10, num_steps=14, rng=seed))
        scores.append([(fit.center - 3.0) / fit.center_stderr, (fit.radius - 1.0) / fit.radius_stderr])
        assert fit.radial_distance < 0.06
        assert fit.angular_distance < 0.3
        assert fit.largest_ritz_radius < 1.05
        assert fit.is_right_of_zero
    # Student t with 9 degrees of freedom has the variance 9/7; 40 draws
    assert np.all(np.abs(np.mean(scores, axis=0)) < 3.5 * np.sqrt(9 / 7 / 40))
    assert np.all((np.std(scores, axis=0) > 0.7) & (np.std(scores, axis=0) < 1.7))


@pytest.mark.parametrize(
    "radii", [np.full(16, 0.8), np.linspace(0.05, 1.0, 16), np.repeat([0.2, 1.0], 8)], ids=["circle", "linear", "two"]
)
def test_distance_is_that_of_the_eigenvalues(radii):
    z = polar(radii, 40)
    fit = fit_disk(normal_spectrum(blocks(z), num_probes=10, num_steps=14))
    squared = np.abs(z - 3.0) ** 2
    grid = (np.arange(2000) + 0.5) / 2000
    expected = wasserstein_distance(squared / (2 * squared.mean()), grid)
    # Gauss rules of six nodes: about 1/12 of the range is not resolved, and a quarter of that was seen
    np.testing.assert_allclose(fit.radial_distance, expected, atol=0.03)
    assert fit.radial_distance > 0.1


def test_eigenvalues_on_a_line_are_no_disk():
    skew = np.random.default_rng(0).standard_normal((80, 80))
    fit = fit_disk(normal_spectrum(3 * np.eye(80) + 0.02 * (skew - skew.T)))
    assert fit.angular_distance > 0.95
    np.testing.assert_allclose(fit.center, 3.0, rtol=1e-12)


def test_three_points_of_a_triangle_are_no_disk():
    # their third power is one number: (z - C)^3 is 1/8 for all of them
    third = 3.0 + 0.5 * np.exp(2j * np.pi / 3)
    a = np.kron(np.eye(200), np.diag([3.5, 0.0, 0.0]) + np.pad(blocks([third]), ((1, 0), (1, 0))))
    fit = fit_disk(normal_spectrum(a, num_probes=20))
    # probes with random weights of the three points: about 1/sqrt(20 * 600)
    np.testing.assert_allclose(fit.angular_distance, 1.0, atol=0.05)
    np.testing.assert_allclose(fit.radius, np.sqrt(2) / 2, rtol=0.02)


def test_a_single_point():
    fit = fit_disk(normal_spectrum(2.0 * np.eye(6)))
    assert fit.center == pytest.approx(2.0)
    assert fit.radius < 1e-7
    assert (fit.radial_distance, fit.angular_distance) == (0.0, 0.0)
    zero = fit_disk(normal_spectrum(np.zeros((4, 4))))
    assert (zero.center, zero.radius, zero.is_right_of_zero) == (0.0, 0.0, False)


def test_few_steps_and_one_probe_leave_things_unknown():
    fit = fit_disk(normal_spectrum(blocks(uniform_disk()), num_probes=1, num_steps=1))
    assert np.isnan(fit.radial_distance)
    assert np.isnan(fit.angular_distance)
    assert fit.center_stderr is None
    assert fit.radius_stderr is None
    assert fit.radius > 0.5
    assert np.isfinite(fit_disk(normal_spectrum(blocks(uniform_disk()), num_steps=3)).radial_distance)


@pytest.mark.parametrize("factor", [1e-10, 1e-200, 1e150])
def test_scale_changes_units_only(factor):
    plain, scaled = (fit_disk(normal_spectrum(c * blocks(uniform_disk()), num_steps=12)) for c in (1.0, factor))
    np.testing.assert_allclose([scaled.center / factor, scaled.radius / factor], [plain.center, plain.radius])
    np.testing.assert_allclose(scaled.radius_stderr / factor, plain.radius_stderr)
    np.testing.assert_allclose(scaled.radial_distance, plain.radial_distance, rtol=1e-5)
    np.testing.assert_allclose(scaled.angular_distance, plain.angular_distance, rtol=1e-8)


def test_the_fit_feeds_the_method():
    a = blocks(uniform_disk())
    fit = fit_disk(normal_spectrum(a))
    run = disk_method(lambda x: a @ (x - 1), np.zeros(len(a)), center=fit.center, radius=fit.radius, num_steps=15)
    np.testing.assert_allclose(run.iterate, 1.0, atol=1e-5)


def test_operators_that_are_not_normal_are_refused_and_unknown_ones_are_not():
    a = np.triu(np.ones((20, 20)))
    with pytest.raises(ArgumentError, match="normal operator is required"):
        fit_disk(normal_spectrum(a))
    fit = fit_disk(normal_spectrum(Operator(lambda v: a @ v, like=np.zeros(20))))
    assert np.isnan(fit.normality_defect)
    with pytest.raises(SchemaError):
        fit_disk(np.zeros(3))


@pytest.mark.parametrize(
    ("num_moments", "distance"), [(3, 0.2887), (4, 0.2887), (5, 0.2152), (7, 0.2606), (11, 0.2550)]
)
def test_distance_of_a_circle_depends_on_the_number_of_moments_as_documented(num_moments, distance):
    """All squared distances of a circle are half of R^2; the uniform law is a Gauss rule of as many moments."""
    assert _radial_distance(np.ones(1), np.ones(1), np.sqrt(2.0), num_moments) == pytest.approx(distance, abs=5e-5)
    assert f"{distance:.4f}" in DiskFit.__doc__
    circle = np.kron(np.eye(50), np.array([[0.0, -1.0], [1.0, 0.0]])) + 3.0 * np.eye(100)
    fit = fit_disk(normal_spectrum(circle))
    assert fit.num_moments == 11
    assert fit.radial_distance == pytest.approx(0.2550, abs=5e-5)
