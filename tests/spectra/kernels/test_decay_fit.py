import numpy as np
import pytest

from spectra.kernels.decay_fit import ResolvedCurve, decay_curve, fit_decay, resolved
from spectra.kernels.dimension_curve import dimension_curve
from spectra.kernels.gram import GramSpectrum

SIZE = np.geomspace(5, 300, 40)


def curve(log_kappa, ratio, num_samples=375):
    return ResolvedCurve(log_kappa=log_kappa, df1=SIZE, df2=ratio * SIZE, num_samples=num_samples)


@pytest.mark.parametrize("exponent", [1.2, 2.0, 5.0])
def test_a_power_law_is_recovered(exponent):
    found = fit_decay(curve(3 - exponent * np.log(SIZE), 1 - 1 / exponent))
    assert found.law == "polynomial"
    assert found.shape == pytest.approx(0, abs=1e-9)
    assert found.decay_exponent == pytest.approx(exponent)
    assert found.early_exponent == pytest.approx(exponent)
    assert found.fitted_exponent == pytest.approx(exponent)
    assert (found.rms, found.r_squared) == (pytest.approx(0, abs=1e-7), pytest.approx(1))
    assert found.delta_bic < -10


@pytest.mark.parametrize("rate", [0.01, 0.5])
def test_an_exponential_law_is_recovered(rate):
    found = fit_decay(curve(-rate * SIZE, 0.9))
    assert (found.law, found.shape) == ("exponential", pytest.approx(1))
    assert found.rate == pytest.approx(rate)
    assert found.delta_bic > 0


@pytest.mark.parametrize(("shape", "law"), [(0.1, "polynomial"), (0.2, "ambiguous"), (0.33, "exponential")])
def test_laws_between_are_told_by_their_shape(shape, law):
    found = fit_decay(curve(-3 * SIZE**shape / shape, 1 - 1 / (3 * SIZE**shape)))
    assert found.early_growth == pytest.approx(shape, rel=0.01)
    assert found.late_growth == pytest.approx(shape, rel=0.01)
    assert found.shape == pytest.approx(shape, abs=0.006)
    assert (found.law, found.is_shape_bound) == (law, False)


def test_few_samples_bend_a_power_law():
    size = np.geomspace(4.1, 32, 40)
    bent = {"log_kappa": -3 * size**0.4 / 0.4, "df1": size, "df2": (1 - 1 / (3 * size**0.4)) * size}
    assert fit_decay(ResolvedCurve(**bent, num_samples=40)).law == "ambiguous"
    steep = {"log_kappa": -3 * size, "df1": size, "df2": (1 - 1 / (3 * size)) * size}
    assert fit_decay(ResolvedCurve(**steep, num_samples=40)).law == "ambiguous"
    assert fit_decay(ResolvedCurve(**steep, num_samples=400)).law == "exponential"
    # Where rounding and not the sample ends the curve, the same shape is a law.
    assert fit_decay(ResolvedCurve(**bent, num_samples=400)).law == "exponential"


def test_a_law_that_has_not_begun_is_not_told():
    """Small exponents grow alike for exponential laws and for power laws of kernels with a short length scale."""
    slow = fit_decay(curve(-0.5 * SIZE**0.33 / 0.33, 1 - 1 / (1 + 0.1 * SIZE**0.33)))
    assert slow.shape == pytest.approx(0.33, abs=0.006)
    assert slow.law == "ambiguous"
    # The growth of an exponent that nears its limit slows down.
    exponent = 6 - 4 * SIZE**-0.5
    bending = fit_decay(curve(-np.cumsum(exponent * np.gradient(np.log(SIZE))), 1 - 1 / exponent))
    assert bending.late_growth < 0.8 * bending.early_growth
    assert bending.law != "exponential"


def test_an_exponent_of_one_is_that_of_a_flat_spectrum():
    found = fit_decay(curve(-1.02 * np.log(SIZE), 1 - 1 / 1.02))
    assert found.decay_exponent == pytest.approx(1.02)
    assert found.law == "ambiguous"


@pytest.mark.parametrize("shape", [-0.4, -2.0])
def test_curves_that_level_off_are_no_power_law(shape):
    found = fit_decay(curve(SIZE**shape, 0.1))
    assert found.law == "ambiguous"
    assert found.is_shape_bound == (shape == -2.0)


def test_only_what_the_sample_tells_is_used():
    spectrum = GramSpectrum.of_eigenvalues(np.arange(1, 301.0) ** -2)
    part = resolved(dimension_curve(spectrum))
    assert part.df1.size == 40
    assert 4 < part.df1[0] < part.df1[-1] < 0.8 * 300
    np.testing.assert_allclose(np.diff(np.log(part.df1), n=2), 0, atol=1e-12)
    assert np.all(np.diff(part.log_kappa) < 0)


@pytest.mark.parametrize("values", [[1.0], [2.0, 1.0], np.arange(1, 6.0) ** -2, np.ones(300) * 1e-14])
def test_too_little_is_empty_or_resolved(values):
    part = resolved(dimension_curve(GramSpectrum.of_eigenvalues(values)))
    assert part.df1.size == (40 if len(values) == 300 else 0)


def test_ridges_below_the_floor_are_allowed_where_rounding_is_known():
    spectrum = GramSpectrum.of_eigenvalues(np.arange(1, 301.0) ** -2, eps=1e-7)
    assert decay_curve(spectrum, 1e-9).ridge[0] == pytest.approx(1e-9)
    assert spectrum.ridge_floor > 1e-9
