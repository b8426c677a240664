import math

import numpy as np
import pytest

from spectra.errors import ArgumentError, NonFiniteError
from spectra.laws.population import PopulationLaw
from spectra.laws.silverstein import companion_stieltjes

THREE = PopulationLaw(values=[1.0, 3.0, 10.0], weights=[0.2, 0.4, 0.4])
RATIOS = [0.05, 0.5, 1.0, 3.0]


def polynomial_root(law, ratio, z):
    """The root of largest imaginary part of the equation, cleared of its denominators."""
    v, one = np.poly1d([1.0, 0.0]), np.poly1d([1.0])
    factors = [np.poly1d([t, 1.0]) for t in law.values]
    product = math.prod(factors, start=one)
    total = np.poly1d([0.0])
    for k, (t, w) in enumerate(zip(law.values, law.weights, strict=True)):
        total = total + w * t * math.prod((f for j, f in enumerate(factors) if j != k), start=one)
    roots = (v * product * complex(z) + product - v * total * float(ratio)).roots
    return roots[np.argmax(roots.imag)]


@pytest.mark.parametrize("ratio", RATIOS)
def test_transform_solves_its_equation(ratio):
    z = np.concatenate([np.linspace(-5.0, 60.0, 131), np.linspace(-5.0, 60.0, 50) + 0.3j, [1e-6j, 1e6j, 50.0 + 1e-12j]])
    found = companion_stieltjes(THREE, z[z != 0], aspect_ratio=ratio)
    assert np.all(found.converged)
    assert np.all(found.companion.imag >= 0)
    v = found.companion[:, None]
    terms = THREE.values / (1.0 + THREE.values * v)
    rest = -1.0 / v[:, 0] + ratio * terms @ THREE.weights - found.z
    size = np.abs(found.z) + np.abs(1.0 / v[:, 0]) + ratio * np.abs(terms) @ THREE.weights
    assert np.max(np.abs(rest) / size) < 1e-11
    relation = -(1.0 - ratio) / found.z + ratio * found.stieltjes
    assert np.max(np.abs(relation - found.companion) / (np.abs((1.0 - ratio) / found.z) + np.abs(v[:, 0]))) < 1e-12


@pytest.mark.parametrize("ratio", RATIOS)
def test_transform_is_the_root_of_the_polynomial(ratio):
    x = np.linspace(0.3, 60.0, 400)
    found = companion_stieltjes(THREE, x, aspect_ratio=ratio)
    reference = np.array([polynomial_root(THREE, ratio, z) for z in x])
    assert np.all(found.converged)
    inside = reference.imag > 1e-4
    np.testing.assert_allclose(found.companion[inside], reference[inside], rtol=1e-9)
    assert np.max(found.companion.imag[~inside], initial=0.0) < 1e-4


@pytest.mark.parametrize("ratio", RATIOS)
def test_one_place_is_marchenko_pastur(ratio):
    z = np.array([0.7, 2.0, 20.0, -1.0, 1.0 + 0.2j, 1e-3j])
    low, high = (1.0 - np.sqrt(ratio)) ** 2, (1.0 + np.sqrt(ratio)) ** 2
    root = np.sqrt(z - low) * np.sqrt(z - high)
    reference = (1.0 - ratio - z + root) / (2.0 * ratio * z)
    found = companion_stieltjes([1.0], z, aspect_ratio=ratio)
    np.testing.assert_allclose(found.stieltjes, reference, rtol=1e-10)


@pytest.mark.parametrize("unit", [1e-14, 1e14])
def test_units_change_nothing_else(unit):
    x = np.linspace(0.1, 25.0, 97)
    plain = companion_stieltjes(THREE, x, aspect_ratio=0.4)
    scaled = companion_stieltjes(
        PopulationLaw(values=THREE.values * unit, weights=THREE.weights), x * unit, aspect_ratio=0.4
    )
    np.testing.assert_allclose(scaled.stieltjes * unit, plain.stieltjes, rtol=1e-9)
    assert np.array_equal(scaled.converged, plain.converged)


def test_small_ratio_is_the_population():
    z = np.array([2.0 + 1j, 5.0 + 0.5j])
    found = companion_stieltjes(THREE, z, aspect_ratio=1e-12)
    np.testing.assert_allclose(found.stieltjes, THREE.stieltjes(z), rtol=1e-10)


def test_population_over_many_scales():
    wide = PopulationLaw(values=[1e-12, 1e-6, 1.0])
    x = np.geomspace(1e-14, 10.0, 500)
    found = companion_stieltjes(wide, x, aspect_ratio=0.3)
    assert np.all(found.converged)


def test_population_at_zero():
    found = companion_stieltjes([0.0, 0.0], [0.0, 1.0, 1j], aspect_ratio=0.5)
    np.testing.assert_allclose(found.stieltjes[1:], [-1.0, 1j])
    assert found.converged.tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("population", "z", "ratio", "error"),
    [
        ([-1.0, 1.0], [1.0], 0.5, ArgumentError),
        ([1.0], [1.0 - 1j], 0.5, ArgumentError),
        ([1.0], [np.nan], 0.5, NonFiniteError),
        ([1.0], [1.0], 0.0, ArgumentError),
        ([1.0], [1.0], np.inf, NonFiniteError),
    ],
)
def test_bad_calls_are_refused(population, z, ratio, error):
    with pytest.raises((error, ArgumentError)):
        companion_stieltjes(population, z, aspect_ratio=ratio)


def test_transform_at_zero_is_the_mean_inverse():
    """Below the support, m(0) is the mean of 1/x: that of a sample covariance is (mean of 1/t) / (1 - y)."""
    found = companion_stieltjes(THREE, [0.0], aspect_ratio=0.3)
    assert found.converged[0]
    np.testing.assert_allclose(found.stieltjes[0], -THREE.stieltjes(0.0) / -0.7, rtol=1e-13)


def test_close_to_an_atom_at_zero():
    z = np.array([1e-9j, -1e-9, 1e-6 + 1e-9j])
    found = companion_stieltjes(THREE, z, aspect_ratio=3.0)
    np.testing.assert_allclose(-z * found.stieltjes, 2.0 / 3.0, rtol=1e-5)
