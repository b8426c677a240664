import numpy as np
import pytest

from spectra.errors import ArgumentError
from spectra.laws.generalized_marchenko_pastur import GeneralizedMarchenkoPastur
from spectra.laws.marchenko_pastur import MarchenkoPastur
from spectra.laws.population import PopulationLaw
from spectra.testing import check_law

THREE = PopulationLaw(values=[1.0, 3.0, 10.0], weights=[0.2, 0.4, 0.4])


@pytest.mark.parametrize(
    ("values", "ratio"),
    [
        ([1.0, 3.0, 10.0], 0.1),
        ([1.0, 3.0, 10.0], 0.5),
        ([1.0, 3.0, 10.0], 1.0),
        ([1.0, 3.0, 10.0], 3.0),
        ([1e-6, 1.0], 0.5),
        ([1e-12, 1e-6, 1.0], 0.7),
        ([0.0, 1.0, 2.0], 0.5),
        ([0.0, 1.0, 2.0], 1.5),
        ([0.0, 1.0], 4.0),
        ([1e-14, 3e-14], 0.1),
        ([1e14, 3e14], 0.1),
        (np.geomspace(1e-4, 1.0, 100), 0.5),
        ([2.0], 1e-6),
    ],
)
def test_mass_and_moments(values, ratio):
    """Mass 1, and the first moments of a sample covariance: h1, h2 + y h1^2, h3 + 3 y h1 h2 + y^2 h1^3."""
    law = GeneralizedMarchenkoPastur(population=values, aspect_ratio=ratio)
    h = [law.population.moment(k) for k in range(4)]
    expected = [1.0, h[1], h[2] + ratio * h[1] ** 2, h[3] + 3 * ratio * h[1] * h[2] + ratio**2 * h[1] ** 3]
    assert abs(law.moment(0) - 1.0) < 1e-10
    np.testing.assert_allclose([law.moment(k) for k in range(4)], expected, rtol=1e-10)


@pytest.mark.parametrize("ratio", [0.1, 1.0, 3.0])
def test_law_keeps_the_promises_of_laws(ratio):
    check_law(GeneralizedMarchenkoPastur(population=THREE, aspect_ratio=ratio))


@pytest.mark.parametrize("ratio", [0.25, 1.0, 2.5])
def test_one_place_is_marchenko_pastur(ratio):
    law = GeneralizedMarchenkoPastur(population=[2.0], aspect_ratio=ratio)
    plain = MarchenkoPastur(aspect_ratio=ratio, variance=2.0)
    x = np.linspace(0.0, 15.0, 200)[1:]
    low, high = plain.smallest, plain.largest
    inside = np.maximum((high - x) * (x - low), 0.0)
    np.testing.assert_allclose(law.pdf(x), np.sqrt(inside) / (2.0 * np.pi * ratio * 2.0 * x), atol=1e-12)
    assert law.atoms == (((0.0, 1.0 - 1.0 / ratio),) if ratio > 1 else ())


def test_continuous_population_is_discretized():
    """Marchenko-Pastur populations give the product of two Wisharts, whose second moment is 1 + y1 + y2."""
    inner = GeneralizedMarchenkoPastur(population=[1.0], aspect_ratio=0.2)
    law = GeneralizedMarchenkoPastur(population=inner, aspect_ratio=0.3)
    np.testing.assert_allclose([law.moment(1), law.moment(2)], [1.0, 1.5], rtol=1e-10)


def test_density_far_inside_merging_intervals_is_integrated():
    """At y = 0.42 two intervals have just merged; quadrature with many nodes is the reference."""
    law = GeneralizedMarchenkoPastur(population=THREE, aspect_ratio=0.42)
    (low, high) = law.support[0]
    angle = (np.arange(20000) + 0.5) * np.pi / 20000
    x = 0.5 * (low + high) - 0.5 * (high - low) * np.cos(angle)
    below = np.cumsum(law.pdf(x) * np.sin(angle)) * 0.5 * (high - low) * np.pi / 20000
    assert law.cdf(x[9999] + 0.5 * (x[10000] - x[9999])) == pytest.approx(below[9999], abs=1e-8)


@pytest.mark.parametrize(("p", "n"), [(400, 1600), (600, 300)])
def test_eigenvalues_of_matrices_follow_the_law(p, n):
    """Far below the 1.36 / sqrt(p) of independent draws, for eigenvalues repel each other."""
    scale = np.sqrt(np.repeat([1.0, 3.0, 10.0], [p // 5, 2 * p // 5, 2 * p // 5]))
    X = np.random.default_rng(0).standard_normal((p, n)) * scale[:, None]
    x = np.sort(np.maximum(np.linalg.eigvalsh(X @ X.T / n), 0.0))
    law = GeneralizedMarchenkoPastur(population=THREE, aspect_ratio=p / n)
    positive = x > 1e-9
    distance = np.max(np.abs(np.arange(1, p + 1)[positive] / p - law.cdf(x[positive])))
    assert distance < 0.25 * 1.36 / np.sqrt(p)


def test_fit_to_its_own_quantiles_gives_the_law_back():
    law = GeneralizedMarchenkoPastur(population=THREE, aspect_ratio=0.2)
    found = GeneralizedMarchenkoPastur.fit(
        law.quantile((np.arange(1000) + 0.5) / 1000), aspect_ratio=0.2, grid=[1.0, 2.0, 3.0, 10.0]
    )
    x = np.linspace(0.2, 20.0, 100)
    np.testing.assert_allclose(found.cdf(x), law.cdf(x), atol=5e-3)


def test_lower_half_plane_is_the_conjugate():
    law = GeneralizedMarchenkoPastur(population=THREE, aspect_ratio=0.5)
    z = np.array([1.0 + 0.5j, 5.0 + 1e-3j])
    np.testing.assert_array_equal(law.stieltjes(z.conj()), law.stieltjes(z).conj())
    assert isinstance(law.stieltjes(1j), complex)
    assert isinstance(law.pdf(1.0), float)


def test_population_of_zeros_is_an_atom():
    law = GeneralizedMarchenkoPastur(population=[0.0], aspect_ratio=0.5)
    assert law.support == ()
    assert law.atoms == ((0.0, 1.0),)
    assert law.cdf([-1.0, 0.0]).tolist() == [0.0, 1.0]
    assert law.moment(1) == 0.0


@pytest.mark.parametrize(("population", "ratio"), [([-1.0], 0.5), ([1.0], 0.0), ([1.0], -1.0), ("abc", 0.5)])
def test_bad_models_are_refused(population, ratio):
    with pytest.raises(ArgumentError):
        GeneralizedMarchenkoPastur(population=population, aspect_ratio=ratio)


@pytest.mark.parametrize(("values", "ratio"), [([1.0, 2.0], 2.0), ([0.0, 1.0], 0.5)])
def test_transform_on_the_atom_is_infinite_as_for_every_law(values, ratio):
    law = GeneralizedMarchenkoPastur(population=PopulationLaw(values=values), aspect_ratio=ratio)
    assert law.atoms[0][0] == 0.0
    assert law.stieltjes(0.0).imag == np.inf
    assert np.isfinite(law.stieltjes([0.0, 1.0])[1])
