import math

import numpy as np
import pytest
from scipy.linalg import eigh

from spectra.errors import ArgumentError
from spectra.laws.base import Law
from spectra.laws.f_ratio import FRatio
from spectra.laws.marchenko_pastur import MarchenkoPastur
from spectra.testing import check_law

RATIOS = [(0.5, 0.3), (1.0, 0.5), (3.0, 0.5), (0.5, 0.99), (1e-3, 1e-3)]


def test_many_samples_of_the_denominator_leave_marchenko_and_pastur():
    x = np.linspace(0.1, 2.9, 30)
    law = FRatio(first_ratio=0.5, second_ratio=1e-7)
    np.testing.assert_allclose(law.cdf(x), MarchenkoPastur(aspect_ratio=0.5).cdf(x), atol=1e-6)


@pytest.mark.parametrize(("first", "second"), RATIOS)
def test_mean_is_that_of_an_inverse_wishart_matrix(first, second):
    assert FRatio(first_ratio=first, second_ratio=second).moment(1) == pytest.approx(1.0 / (1.0 - second), rel=1e-11)


@pytest.mark.parametrize(("first", "second"), RATIOS)
def test_closed_forms_equal_quadrature(first, second):
    law = FRatio(first_ratio=first, second_ratio=second)
    ((low, high),) = law.support
    x = np.linspace(low, high, 101)
    np.testing.assert_allclose(law._continuous_cdf(x), Law._continuous_cdf(law, x), atol=1e-11)
    z = x + 0.3j * (high - low)
    np.testing.assert_allclose(law._continuous_stieltjes(z), Law._continuous_stieltjes(law, z), rtol=1e-10)


@pytest.mark.parametrize("n1", [600, 200])
def test_eigenvalues_of_matrices_follow_the_law(n1):
    p, n2, rng = 300, 900, np.random.default_rng(0)
    A, B = (X @ X.T / X.shape[1] for X in (rng.standard_normal((p, n)) for n in (n1, n2)))
    values = eigh(A, B, eigvals_only=True)[max(p - n1, 0) :]
    law = FRatio(first_ratio=p / n1, second_ratio=p / n2)
    share = (np.arange(max(p - n1, 0), p) + 0.5) / p
    assert np.max(np.abs(law.cdf(values) - share)) < 2.0 * np.log(p) / p


def test_wrong_calls():
    for first, second in ((0.0, 0.5), (0.5, 0.0), (0.5, 1.0), (np.inf, 0.5)):
        with pytest.raises(ArgumentError):
            FRatio(first_ratio=first, second_ratio=second)


@pytest.mark.parametrize(("first", "second"), [(0.5, 0.3), (3.0, 0.5), (0.2, 0.7)])
def test_variance_that_the_fit_inverts(first, second):
    law = FRatio(first_ratio=first, second_ratio=second)
    variance = (first + second - first * second) / (1 - second) ** 3
    assert law.moment(2) - law.moment(1) ** 2 == pytest.approx(variance, rel=1e-10)


def test_the_fit_of_one_matrix_is_close_to_its_sizes():
    p, n1, n2, rng = 300, 600, 1000, np.random.default_rng(1)
    A, B = (X @ X.T / X.shape[1] for X in (rng.standard_normal((p, n)) for n in (n1, n2)))
    found = FRatio.fit(eigh(A, B, eigvals_only=True))
    assert found.first_ratio == pytest.approx(p / n1, rel=0.05)
    assert found.second_ratio == pytest.approx(p / n2, rel=0.05)


@pytest.mark.parametrize("values", [[], [-0.1, 0.5], [0.5, 0.5], [1.0, 1.0], [1.5, 1.5]])
def test_values_that_no_law_has(values):
    with pytest.raises(ArgumentError):
        FRatio.fit(values)


@pytest.mark.parametrize("unit", [1e-200, 1e200])
def test_units_that_no_f_ratio_has_are_refused(unit):
    with pytest.raises(ArgumentError, match="mean"):
        FRatio.fit(unit * np.arange(1.0, 5.0))


@pytest.mark.parametrize(("first", "second"), [(0.5, 1.0 - 1e-6), (1.0, 1.0 - 1e-6), (0.5, 1.0 - 1e-9), (1e-6, 0.999)])
def test_nearly_singular_denominators_keep_mass_and_transform(first, second):
    """Both poles are close to one another for most of the support, where the sum over them cancels."""
    check_law(FRatio(first_ratio=first, second_ratio=second))


def test_density_far_out_has_its_relative_accuracy():
    law = FRatio(first_ratio=0.5, second_ratio=1.0 - 1e-9)
    (low, high), x = law.support[0], 1e16
    exact = 1e-9 * math.sqrt((high - x) * (x - low)) / (2 * math.pi * x * (0.5 + (1.0 - 1e-9) * x))
    assert law.pdf(x) == pytest.approx(exact, rel=1e-6)


def test_rounding_below_zero_is_allowed_in_a_fit():
    """More dimensions than samples of the numerator leave eigenvalues of 0 up to rounding."""
    rng = np.random.default_rng(3)
    first, second = rng.standard_normal((60, 40)), rng.standard_normal((60, 240))
    root = np.linalg.inv(np.linalg.cholesky(second @ second.T / 240))
    values = np.linalg.eigvalsh(root @ first @ first.T @ root.T / 40)
    assert np.min(values) < 0.0
    assert FRatio.fit(values).first_ratio == pytest.approx(FRatio.fit(np.maximum(values, 0.0)).first_ratio, rel=1e-12)
    with pytest.raises(ArgumentError, match="at least 0"):
        FRatio.fit([-1e-9, 1.0, 3.0])
