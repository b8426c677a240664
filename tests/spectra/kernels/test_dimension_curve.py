import numpy as np
import pytest

from spectra.errors import ArgumentError, NonFiniteError
from spectra.kernels.dimension_curve import dimension_curve, ridge_grid
from spectra.kernels.eigenlearning import eigenlearning
from spectra.kernels.gram import GramSpectrum, gram_spectrum

POWER = np.arange(1, 2001.0) ** -1.5


def gaussian_design(n, eigenvalue, seed):
    features = np.random.default_rng(seed).standard_normal((n, eigenvalue.size)) * np.sqrt(eigenvalue)
    return features @ features.T


def test_identities_with_the_inverse():
    K = gaussian_design(40, POWER[:80], 0)
    spectrum = gram_spectrum(K)
    ridges = np.array([1e-3, 0.1, 3.0])
    curve = dimension_curve(spectrum, ridges)
    for i, ridge in enumerate(ridges):
        inverse = np.linalg.inv(K + ridge * np.eye(40))
        assert curve.kappa[i] == pytest.approx(1 / np.trace(inverse), rel=1e-9)
        assert curve.df1[i] == pytest.approx(np.trace(K @ inverse), rel=1e-9)
        coefficient = 40 * np.trace(inverse @ inverse) / np.trace(inverse) ** 2
        assert curve.overfitting_coefficient[i] == pytest.approx(coefficient, rel=1e-9)
        assert curve.df2[i] == pytest.approx(40 - 40 / coefficient, rel=1e-9)


def test_the_coefficient_is_a_derivative_of_the_threshold():
    spectrum = gram_spectrum(gaussian_design(40, POWER[:80], 1))
    ridge, h = 0.1, 1e-4
    low, middle, high = (dimension_curve(spectrum, [ridge * (1 + sign * h)]) for sign in (-1, 0, 1))
    slope = (high.kappa[0] - low.kappa[0]) / (2 * h * ridge)
    assert middle.overfitting_coefficient[0] == pytest.approx(40 * slope, rel=1e-7)


def test_small_dimensions_do_not_cancel():
    values = GramSpectrum.of_eigenvalues([1.0, 0.5], num_samples=1000)
    curve = dimension_curve(values, [1e9])
    # df2 of n = 1000 points is that of the spectrum, plus terms of order df1^2 / n.
    assert curve.df1[0] == pytest.approx(1.5e-9, rel=1e-8)
    assert curve.df2[0] == pytest.approx((1.0 + 0.25) * 1e-18 - 1.5e-9**2 / 1000, rel=1e-6)


@pytest.mark.parametrize("ridge", [0.5, 0.05])
def test_the_curve_is_that_of_the_population_for_gaussian_features(ridge):
    n, num_draws = 200, 24
    truth = eigenlearning(POWER, num_samples=n, ridge=ridge)
    found = np.empty((num_draws, 2))
    for draw in range(num_draws):
        curve = dimension_curve(gram_spectrum(gaussian_design(n, POWER, draw)), [ridge])
        # Population dimensions at the estimated threshold, not at the expected one.
        learned = POWER / (POWER + curve.kappa[0])
        found[draw] = curve.df1[0] - learned.sum(), curve.df2[0] - np.sum(learned**2)
    z = found.mean(axis=0) / (found.std(axis=0, ddof=1) / np.sqrt(num_draws))
    # Three standard errors, or a bias below 0.3 % of the dimension.
    bias = np.abs(found.mean(axis=0)) / [truth.df1, truth.df2]
    assert np.all((np.abs(z) < 3) | (bias < 3e-3))


@pytest.mark.parametrize("unit", [1e-200, 1e-14, 1e14, 1e200])
def test_units_change_nothing(unit):
    one = dimension_curve(GramSpectrum.of_eigenvalues(POWER[:100]))
    scaled = dimension_curve(GramSpectrum.of_eigenvalues(unit * POWER[:100]))
    np.testing.assert_allclose(scaled.df2, one.df2, rtol=1e-12)
    np.testing.assert_allclose(scaled.kappa / unit, one.kappa, rtol=1e-9)


def test_ridges_are_sorted_and_raised_to_the_floor():
    spectrum = GramSpectrum.of_eigenvalues(POWER[:50])
    curve = dimension_curve(spectrum, [1.0, 0.0])
    assert curve.ridge.tolist() == [spectrum.ridge_floor, 1.0]
    assert ridge_grid(spectrum, lowest=1e-3, num=5)[0] == pytest.approx(1e-3)
    assert np.all(np.diff(dimension_curve(spectrum).df1) < 0)


def test_unlisted_eigenvalues_share_what_is_left():
    listed = GramSpectrum.of_eigenvalues([3.0, 2.0], num_samples=5, residual_trace=1.5)
    full = GramSpectrum.of_eigenvalues([3.0, 2.0, 0.5, 0.5, 0.5])
    for name in ("kappa", "df1", "df2"):
        np.testing.assert_allclose(
            getattr(dimension_curve(listed, [0.1, 1.0]), name), getattr(dimension_curve(full, [0.1, 1.0]), name)
        )


@pytest.mark.parametrize("n", [1, 2])
def test_one_and_two_samples(n):
    curve = dimension_curve(GramSpectrum.of_eigenvalues(np.ones(n)), [1.0])
    assert (curve.df1[0], curve.df2[0]) == (n / 2, 0.0)


@pytest.mark.parametrize(("ridge", "error"), [([], ArgumentError), ([-1.0], ArgumentError), ([np.nan], NonFiniteError)])
def test_bad_ridges(ridge, error):
    with pytest.raises(error):
        dimension_curve(GramSpectrum.of_eigenvalues([1.0]), ridge)
