import numpy as np
import pytest

from spectra.laws.marchenko_pastur import MarchenkoPastur
from spectra.laws.population import PopulationLaw
from spectra.laws.reciprocal_charts import chart_of
from spectra.laws.semicircle import Semicircle
from spectra.laws.subordination import solve_product, solve_sum

COIN = PopulationLaw(values=[-1.0, 1.0])


def solved(solve, law1, law2, x):
    largest = float(np.max(np.abs(x)))
    return solve(chart_of(law1, largest=largest), chart_of(law2, largest=largest), x)


def test_sum_keeps_its_equations():
    x = np.linspace(-5.0, 5.0, 200)
    found = solved(solve_sum, Semicircle(variance=0.3), COIN, x)
    assert np.all(found.converged)
    np.testing.assert_allclose(found.first + found.second - x, found.reciprocal, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(-1.0 / COIN.stieltjes(found.second), found.reciprocal, rtol=1e-9, atol=1e-12)
    assert np.all(found.first.imag >= 0.0)


def test_product_keeps_its_equations():
    x = np.linspace(0.05, 12.0, 200)
    law1, law2 = MarchenkoPastur(aspect_ratio=2.0), PopulationLaw(values=[0.0, 1.0, 3.0])
    found = solved(solve_product, law1, law2, x)
    assert np.all(found.converged)
    np.testing.assert_allclose((found.first - found.reciprocal) * found.second, x, rtol=1e-11)
    np.testing.assert_allclose(-1.0 / law1.stieltjes(found.first), found.reciprocal, rtol=1e-9)


@pytest.mark.parametrize("unit", [1e-14, 1e14])
def test_units_change_nothing_else(unit):
    x = np.linspace(-3.0, 3.0, 50)
    plain = solved(solve_sum, Semicircle(), COIN, x)
    scaled = solved(solve_sum, Semicircle(variance=unit**2), PopulationLaw(values=COIN.values * unit), x * unit)
    np.testing.assert_array_equal(scaled.converged, plain.converged)
    np.testing.assert_allclose(scaled.first / unit, plain.first, rtol=1e-8, atol=1e-9)


def test_a_cusp_is_told_from_a_lost_point():
    """Semicircle and coin of variance 1 have a cube root at 0: the equations hold there, but are singular."""
    found = solved(solve_sum, Semicircle(), COIN, np.array([-0.5, 1e-18, 0.5]))
    assert found.converged.tolist() == [True, False, True]
    assert abs(1.0 / found.reciprocal[1]) < 1e-2


def test_points_off_the_support_have_real_solutions():
    found = solved(solve_sum, Semicircle(), Semicircle(), np.array([3.0, 10.0, 1e6]))
    assert np.all(found.converged)
    assert np.all(found.reciprocal.imag == 0.0)
    np.testing.assert_allclose(found.reciprocal[0].real, 2.0, rtol=1e-12)
