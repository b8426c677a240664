import numpy as np
import pytest

from spectra.errors import ArgumentError, NonFiniteError, ShapeError
from spectra.laws.marchenko_pastur import MarchenkoPastur
from spectra.laws.population import PopulationLaw, as_population
from spectra.laws.tracy_widom import TracyWidom


def test_places_are_sorted_merged_and_normalized():
    law = PopulationLaw(values=[3.0, 1.0, 3.0, 7.0], weights=[1.0, 2.0, 1.0, 0.0])
    assert law.atoms == ((1.0, 0.5), (3.0, 0.5))
    assert law.support == ()
    assert not law.values.flags.writeable


def test_eigenvalues_have_equal_weights():
    np.testing.assert_allclose(as_population([4.0, 1.0, 1.0]).weights, [2 / 3, 1 / 3])


def test_moments_distribution_and_transform_are_sums():
    law = PopulationLaw(values=[-1.0, 2.0], weights=[0.25, 0.75])
    assert law.moment(0) == 1.0
    assert law.moment(1) == 1.25
    assert law.moment(2) == 3.25
    np.testing.assert_array_equal(law.cdf([-2.0, -1.0, 0.0, 2.0]), [0.0, 0.25, 0.25, 1.0])
    z = np.array([[1j, 2.0 + 1j]])
    np.testing.assert_allclose(law.stieltjes(z), 0.25 / (-1.0 - z) + 0.75 / (2.0 - z), rtol=1e-15)
    assert np.isinf(abs(law.stieltjes(2.0)))
    assert isinstance(law.stieltjes(1j), complex)
    assert isinstance(law.cdf(0.0), float)


def test_draws_have_the_weights():
    law = PopulationLaw(values=[0.0, 1.0], weights=[0.7, 0.3])
    share = np.mean(law.sample(10000, rng=0))
    assert abs(share - 0.3) < 4 * np.sqrt(0.3 * 0.7 / 10000)


@pytest.mark.parametrize("ratio", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("unit", [1e-14, 1.0, 1e14])
def test_quadrature_of_a_continuous_law_keeps_moments(ratio, unit):
    law = as_population(MarchenkoPastur(aspect_ratio=ratio, variance=unit))
    moments = [1.0, 1.0, 1.0 + ratio, 1.0 + 3.0 * ratio + ratio**2]
    np.testing.assert_allclose([law.moment(k) / unit**k for k in range(4)], moments, rtol=1e-12)


def test_laws_without_mass_one_are_refused():
    class Half:
        support, atoms = ((0.0, 1.0),), ()

        def pdf(self, x):
            return np.full(x.shape, 0.5)

    with pytest.raises(ArgumentError, match="mass 1"):
        as_population(Half())


@pytest.mark.parametrize(
    ("values", "weights", "error"),
    [
        ([], None, ShapeError),
        ([[1.0]], None, ShapeError),
        ([1.0, 2.0], [1.0], ShapeError),
        ([1.0, 2.0], [1.0, -1.0], ArgumentError),
        ([1.0, 2.0], [0.0, 0.0], ArgumentError),
        ([1.0, np.nan], None, NonFiniteError),
        ([1.0], [np.inf], NonFiniteError),
        (["a"], None, ArgumentError),
    ],
)
def test_bad_places_and_weights_are_refused(values, weights, error):
    with pytest.raises(error):
        PopulationLaw(values=values, weights=weights)


def test_a_moment_that_does_not_exist_is_refused():
    with pytest.raises(ArgumentError, match="no moment"):
        PopulationLaw(values=[0.0, 1.0]).moment(-1)
    with pytest.raises(ArgumentError, match="no moment"):
        PopulationLaw(values=[-1.0, 1.0]).moment(0.5)
    assert PopulationLaw(values=[-2.0, 1.0]).moment(-1) == 0.25


def test_distribution_function_at_nan_and_at_no_number_is_refused():
    with pytest.raises(NonFiniteError, match="NaN"):
        PopulationLaw(values=[1.0]).cdf(np.nan)
    with pytest.raises(ArgumentError, match="real numbers"):
        PopulationLaw(values=[1.0]).cdf("a")


def test_habits_of_scipy():
    law = PopulationLaw(values=[1.0, 2.0, 4.0], weights=[0.25, 0.25, 0.5])
    assert (law.mean(), law.var(), law.median()) == (2.75, 1.6875, 2.0)
    assert law.std() == pytest.approx(np.sqrt(1.6875))
    np.testing.assert_array_equal(law.quantile([[0.0, 0.25, 0.26, 0.5, 0.51, 1.0]]), [[1.0, 1.0, 2.0, 2.0, 4.0, 4.0]])
    np.testing.assert_array_equal(PopulationLaw(values=np.arange(10.0)).quantile(np.arange(1, 11) / 10), np.arange(10))
    assert isinstance(law.quantile(0.3), float)
    with pytest.raises(ArgumentError, match=r"\[0, 1\]"):
        law.quantile(1.1)


def test_transform_at_a_place_is_the_limit_from_above():
    """As for continuous laws with atoms; not NaN."""
    assert PopulationLaw(values=[1.0, 2.0]).stieltjes(1.0).imag == np.inf
    with pytest.raises(NonFiniteError):
        PopulationLaw(values=[1.0]).stieltjes(np.nan)


def test_laws_without_an_end_are_refused():
    with pytest.raises(ArgumentError, match="end on both sides"):
        PopulationLaw.from_law(TracyWidom())


def test_moments_beyond_float64_are_infinite():
    assert PopulationLaw(values=[1.0, 1e200]).moment(2) == np.inf
