import numpy as np
import pytest

from spectra.errors import ArgumentError, NonFiniteError, ShapeError
from spectra.laws.free_convolution import free_additive_convolution, free_multiplicative_convolution
from spectra.laws.generalized_marchenko_pastur import GeneralizedMarchenkoPastur
from spectra.laws.population import PopulationLaw
from spectra.laws.semicircle import Semicircle as SemicircleLaw
from spectra.laws.tracy_widom import TracyWidom

COIN = PopulationLaw(values=[-1.0, 1.0])
THREE = PopulationLaw(values=[1.0, 3.0, 10.0], weights=[0.2, 0.4, 0.4])


class Semicircle:
    """Of variance 1, written down here so that the tests depend on nothing else."""

    def stieltjes(self, z):
        return 0.5 * (np.sqrt(z - 2.0 + 0j) * np.sqrt(z + 2.0 + 0j) - z)


class Wishart:
    """The law of Marchenko and Pastur of variance 1."""

    def __init__(self, ratio):
        self.ratio = ratio

    def stieltjes(self, z):
        low, high = (1.0 - np.sqrt(self.ratio)) ** 2, (1.0 + np.sqrt(self.ratio)) ** 2
        root = np.sqrt(z - low + 0j) * np.sqrt(z - high + 0j)
        return (1.0 - self.ratio - z + root) / (2.0 * self.ratio * z)


class Plain:
    """A law of which only the transform is given."""

    def __init__(self, law):
        self.stieltjes = law.stieltjes


class Uniform:
    """On (0, 1)."""

    def stieltjes(self, z):
        return np.log(z - 1.0) - np.log(z)


THREE_SAMPLED = GeneralizedMarchenkoPastur(population=THREE, aspect_ratio=0.1)


def test_adding_a_constant_shifts():
    x = np.linspace(1.2, 4.8, 50)
    found = free_additive_convolution(Semicircle(), PopulationLaw(values=[3.0]), x)
    assert np.all(found.converged)
    np.testing.assert_allclose(found.pdf, np.sqrt(4.0 - (x - 3.0) ** 2) / (2.0 * np.pi), rtol=1e-11)


def test_variances_of_semicircles_add():
    x = np.linspace(-2.8, 2.8, 101)
    found = free_additive_convolution(Semicircle(), Semicircle(), x)
    assert np.all(found.converged)
    np.testing.assert_allclose(found.pdf, np.sqrt(8.0 - x**2) / (4.0 * np.pi), rtol=1e-11)


def test_order_does_not_matter():
    x = np.linspace(-2.9, 2.9, 60)
    one, two = free_additive_convolution(COIN, Semicircle(), x), free_additive_convolution(Semicircle(), COIN, x)
    np.testing.assert_allclose(one.pdf, two.pdf, atol=1e-11)
    x = np.linspace(0.3, 20.0, 60)
    one = free_multiplicative_convolution(THREE, Wishart(0.5), x)
    np.testing.assert_allclose(one.pdf, free_multiplicative_convolution(Wishart(0.5), THREE, x).pdf, atol=1e-11)


@pytest.mark.parametrize("unit", [1e-14, 1.0, 1e14])
@pytest.mark.parametrize("shift", [0.0, 30.0])
def test_two_coins_give_the_arcsine_law(unit, shift):
    """At its center every point is a fixed point, which rounding hides; the limit from above is the value there."""
    x = np.linspace(-1.9, 1.9, 39)
    moved = PopulationLaw(values=(COIN.values + shift) * unit)
    found = free_additive_convolution(moved, PopulationLaw(values=COIN.values * unit), (x + shift) * unit)
    assert np.all(found.converged[np.abs(x) > 1e-12])
    np.testing.assert_allclose(found.pdf * unit, 1.0 / (np.pi * np.sqrt(4.0 - x**2)), rtol=1e-9)


def test_semicircle_and_two_atoms_solve_their_cubic():
    """G^3 - 2 z G^2 + z^2 G - z = 0; the cusp at 0 is masked and the mass is 1."""
    x = np.linspace(-3.0, 3.0, 1001)
    found = free_additive_convolution(Semicircle(), COIN, x)
    roots = np.array([np.roots([1.0, -2.0 * z, z**2, -z]) for z in x])
    reference = -np.min(roots.imag, axis=1) / np.pi
    assert np.flatnonzero(~found.converged).tolist() == [500]
    assert np.max(np.abs(found.pdf - reference)[found.converged]) < 1e-7
    assert found.mass == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("law", [THREE_SAMPLED, Uniform()], ids=["sums", "transform"])
def test_masked_points_are_near_the_limit(law):
    """At the edge of two free copies the equations are singular: the edge is masked, and its density is small."""
    x = np.linspace(-1.0, 30.0, 1001)
    found = free_additive_convolution(law, law, x)
    inside = np.flatnonzero(found.pdf > 1e-3)
    assert np.all(np.isfinite(found.pdf))
    assert np.all(found.converged[inside])
    assert found.mass == pytest.approx(1.0, abs=5e-3)


@pytest.mark.parametrize("num_places", [3, 100])
def test_laws_of_samples_need_no_equation_to_be_solved(num_places):
    """Sums over the population equal the transform that the law itself solves for."""
    places = np.geomspace(0.5, 20.0, num_places)
    law = GeneralizedMarchenkoPastur(population=PopulationLaw(values=places), aspect_ratio=0.5)
    x = np.linspace(0.2, 60.0, 60)
    for combine in (free_additive_convolution, free_multiplicative_convolution):
        fast, slow = combine(law, Wishart(0.4), x), combine(Plain(law), Wishart(0.4), x)
        assert np.all(fast.converged)
        np.testing.assert_allclose(fast.pdf[slow.converged], slow.pdf[slow.converged], atol=1e-9)
        assert np.mean(slow.converged) > 0.9


def test_atoms_that_meet_are_kept():
    """Two projections of ranks 0.3 and 0.4: kernels of 0.7 and 0.6 share 0.3 of the space, 0.7 and 0.4 share 0.1."""
    one, two = PopulationLaw(values=[0, 1], weights=[0.7, 0.3]), PopulationLaw(values=[0, 1], weights=[0.6, 0.4])
    found = free_additive_convolution(one, two, np.linspace(-0.1, 2.1, 4001))
    np.testing.assert_allclose(found.atoms, [(0.0, 0.3), (1.0, 0.1)], atol=1e-12)
    assert found.mass == pytest.approx(1.0, abs=1e-3)
    product = free_multiplicative_convolution(one, two, np.linspace(1e-4, 1.1, 4001))
    np.testing.assert_allclose(product.atoms, [(0.0, 0.7)], atol=1e-12)
    assert product.mass + 0.7 == pytest.approx(1.0, abs=1e-2)


@pytest.mark.parametrize("ratio", [0.1, 0.5])
@pytest.mark.parametrize("unit", [1e-14, 1.0, 1e14])
def test_wishart_times_atoms_solves_the_equation_of_silverstein(ratio, unit):
    x = np.linspace(0.1, 20.0, 501) * unit
    population = PopulationLaw(values=THREE.values * unit, weights=THREE.weights)
    found = free_multiplicative_convolution(population, Wishart(ratio), x)
    assert np.mean(found.converged) > 0.99
    reference = GeneralizedMarchenkoPastur(population=population, aspect_ratio=ratio).pdf(x)
    assert np.max(np.abs(found.pdf - reference)[found.converged]) * unit < 1e-7


def test_two_square_wisharts_have_their_closed_form():
    """Penson and Zyczkowski (2011)."""
    x = np.linspace(0.05, 6.7, 200)
    q = 3.0 * np.sqrt(81.0 - 12.0 * x)
    top = 2 ** (1 / 3) * (27.0 + q) ** (2 / 3) - 6.0 * x ** (1 / 3)
    reference = 2 ** (1 / 3) * np.sqrt(3.0) / (12.0 * np.pi) * top / (x ** (2 / 3) * (27.0 + q) ** (1 / 3))
    found = free_multiplicative_convolution(Wishart(1.0), Wishart(1.0), x)
    assert np.all(found.converged)
    np.testing.assert_allclose(found.pdf, reference, rtol=1e-10)


def test_eigenvalues_of_sums_follow_the_convolution():
    n = 600
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, 2 * n))
    values = np.linalg.eigvalsh(X @ X.T / (2 * n) + np.diag(np.repeat([0.0, 3.0], n // 2)))
    grid = np.linspace(0.0, 6.5, 3000)
    found = free_additive_convolution(Wishart(0.5), PopulationLaw(values=[0.0, 3.0]), grid)
    x, pdf = grid[found.converged], found.pdf[found.converged]
    below = np.concatenate([[0.0], np.cumsum(0.5 * (pdf[1:] + pdf[:-1]) * np.diff(x))])
    distance = np.max(np.abs(np.arange(1, n + 1) / n - np.interp(values, x, below)))
    assert distance < 0.25 * 1.36 / np.sqrt(n)


def test_single_points_and_all_zeros():
    found = free_additive_convolution(PopulationLaw(values=[0.0]), PopulationLaw(values=[0.0]), [1.0])
    np.testing.assert_allclose(found.stieltjes, [-1.0], rtol=1e-12)
    assert np.all(found.pdf == 0.0)
    assert found.atoms == ((0.0, 1.0),)


@pytest.mark.parametrize(
    ("x", "error"),
    [([], ShapeError), ([[1.0]], ShapeError), ([2.0, 1.0], ArgumentError), ([1.0, np.nan], NonFiniteError)],
)
def test_grids_that_are_none_are_refused(x, error):
    with pytest.raises(error):
        free_additive_convolution(COIN, COIN, x)


def test_laws_that_are_none_are_refused():
    with pytest.raises(ArgumentError, match="law2"):
        free_additive_convolution(COIN, [1.0, 2.0], [0.0])
    with pytest.raises(ArgumentError, match="below 0"):
        free_multiplicative_convolution(THREE, COIN, [1.0])
    with pytest.raises(ArgumentError, match="positive"):
        free_multiplicative_convolution(THREE, THREE, [0.0, 1.0])


def test_a_law_without_ends_is_known_by_its_transform():
    """Wide semicircles leave of any other law its mean and variance; those of Tracy and Widom are -1.20653, 1.60778."""
    wide = SemicircleLaw(variance=1e4)
    x = np.array([-50.0, 0.0, 60.0])
    found = free_additive_convolution(TracyWidom(), wide, x)
    assert np.all(found.converged)
    expected = SemicircleLaw(variance=1e4 + 1.6077810345).pdf(x + 1.2065335746)
    np.testing.assert_allclose(found.pdf, expected, rtol=1e-5)
