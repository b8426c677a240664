import numpy as np
import pytest

from spectra.errors import ArgumentError
from spectra.laws.population import PopulationLaw
from spectra.laws.silverstein import companion_stieltjes
from spectra.laws.silverstein_support import support_edges

THREE = PopulationLaw(values=[1.0, 3.0, 10.0], weights=[0.2, 0.4, 0.4])


@pytest.mark.parametrize("ratio", [1e-8, 0.1, 0.9, 1.0, 1.1, 50.0])
@pytest.mark.parametrize("unit", [1e-14, 1.0, 1e14])
def test_one_place_has_the_edges_of_marchenko_pastur(ratio, unit):
    edges = support_edges([unit], aspect_ratio=ratio) / unit
    root = np.sqrt(ratio)
    np.testing.assert_allclose(edges, [[(1.0 - root) ** 2, (1.0 + root) ** 2]], rtol=1e-13, atol=1e-15)


def test_three_places_recorded():
    edges = support_edges(THREE, aspect_ratio=0.1)
    np.testing.assert_allclose(edges, [[0.65208, 1.17667], [1.82896, 4.12108], [6.61497, 14.58181]], atol=1e-5)


@pytest.mark.parametrize("ratio", [0.02, 0.1, 0.38, 0.42, 1.0, 2.0])
def test_density_is_positive_inside_and_zero_outside(ratio):
    edges = support_edges(THREE, aspect_ratio=ratio)
    width = edges[:, 1] - edges[:, 0]
    inside = np.concatenate([edges[:, 0] + 1e-4 * width, edges[:, 1] - 1e-4 * width])
    outside = np.concatenate([edges[:, 0] - 1e-6 * width, edges[:, 1] + 1e-6 * width])
    assert np.all(companion_stieltjes(THREE, inside, aspect_ratio=ratio).stieltjes.imag > 1e-6)
    outside = outside[outside > 0]
    assert np.all(companion_stieltjes(THREE, outside, aspect_ratio=ratio).stieltjes.imag == 0)


def test_gaps_close_as_samples_get_fewer():
    counts = [len(support_edges(THREE, aspect_ratio=ratio)) for ratio in (0.01, 0.1, 0.3, 0.42, 1.0)]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] == 3
    assert counts[-1] == 1


def test_fine_discretization_has_one_interval():
    assert support_edges(np.linspace(1.0, 2.0, 1000), aspect_ratio=0.1).shape == (1, 2)


def test_light_places_have_their_own_interval():
    """A spike of weight 1e-12 sits where the theory of spiked models puts it."""
    law = PopulationLaw(values=[1.0, 6.0], weights=[1.0 - 1e-12, 1e-12])
    low, high = support_edges(law, aspect_ratio=0.5)[1]
    assert low < 6.0 * (1.0 + 0.5 / 5.0) < high
    assert high - low < 1e-4


def test_zeros_of_the_population():
    half = PopulationLaw(values=[0.0, 1.0])
    np.testing.assert_allclose(
        support_edges(half, aspect_ratio=0.5), 1.0 * support_edges([1.0], aspect_ratio=0.25), rtol=1e-13
    )
    assert support_edges([0.0], aspect_ratio=0.5).shape == (0, 2)


def test_negative_population_is_refused():
    with pytest.raises(ArgumentError, match="negative"):
        support_edges([-1.0, 1.0], aspect_ratio=0.5)
