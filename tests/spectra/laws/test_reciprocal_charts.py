import numpy as np
import pytest

from spectra.laws.generalized_marchenko_pastur import GeneralizedMarchenkoPastur
from spectra.laws.marchenko_pastur import MarchenkoPastur
from spectra.laws.population import PopulationLaw
from spectra.laws.reciprocal_charts import chart_of
from spectra.laws.semicircle import Semicircle

LAWS = {
    "discrete": PopulationLaw(values=[-1.0, 0.0, 2.0]),
    "sampled": GeneralizedMarchenkoPastur(population=PopulationLaw(values=[0.0, 1.0, 30.0]), aspect_ratio=0.3),
    "sampled, wide": GeneralizedMarchenkoPastur(population=PopulationLaw(values=[1.0, 2.0]), aspect_ratio=5.0),
    "Marchenko-Pastur": MarchenkoPastur(aspect_ratio=1.0, variance=2.0),
    "semicircle": Semicircle(variance=4.0),
}
U = np.array([0.3 + 0.2j, -2.0 + 1.0j, 1e-3 + 1e-3j, 40.0 + 5.0j])


@pytest.mark.parametrize("name", LAWS)
def test_reciprocal_is_that_of_the_law(name):
    values = chart_of(LAWS[name], largest=10.0).at(U)
    up = values.point.imag > 0.0
    assert np.any(up)
    np.testing.assert_allclose(values.reciprocal[up], -1.0 / LAWS[name].stieltjes(values.point[up]), rtol=1e-10)


@pytest.mark.parametrize("name", LAWS)
def test_slopes_are_derivatives(name):
    chart, step = chart_of(LAWS[name], largest=10.0), 1e-6
    high, low = chart.at(U + step), chart.at(U - step)
    values = chart.at(U)
    np.testing.assert_allclose(values.point_slope, (high.point - low.point) / (2 * step), rtol=1e-4)
    np.testing.assert_allclose(values.reciprocal_slope, (high.reciprocal - low.reciprocal) / (2 * step), rtol=1e-4)


@pytest.mark.parametrize("unit", [1e-14, 1.0, 1e14])
def test_moments_are_those_of_the_law(unit):
    """Exact for sums; to a percent from the transform alone, whatever the scale of the law."""
    sampled = GeneralizedMarchenkoPastur(population=PopulationLaw(values=[1.0 * unit, 3.0 * unit]), aspect_ratio=0.5)
    chart = chart_of(sampled, largest=1.0)
    np.testing.assert_allclose([chart.mean / unit, chart.variance / unit**2], [2.0, 1.0 + 0.5 * 4.0], rtol=1e-12)
    chart = chart_of(Semicircle(variance=unit**2), largest=1.0)
    np.testing.assert_allclose([chart.mean / unit, chart.variance / unit**2], [0.0, 1.0], atol=0.02)


def test_far_parameters_lead_to_far_points():
    chart = chart_of(LAWS["sampled, wide"], largest=1.0)
    point = np.array([1e4 + 1e4j])
    np.testing.assert_allclose(chart.at(chart.far(point)).point, point, rtol=1e-3)
