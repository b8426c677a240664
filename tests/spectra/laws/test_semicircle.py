import numpy as np
import pytest

from spectra.errors import ArgumentError, NonFiniteError
from spectra.laws.base import Law
from spectra.laws.semicircle import Semicircle


def test_closed_forms_equal_quadrature():
    law = Semicircle(variance=2.0)
    x = np.linspace(-3.0, 3.0, 101)
    np.testing.assert_allclose(law.cdf(x), Law._continuous_cdf(law, x), atol=1e-13)
    z = x + 0.1j
    np.testing.assert_allclose(law.stieltjes(z), Law._continuous_stieltjes(law, z), atol=1e-12)
    for order in range(9):
        assert law.moment(order) == pytest.approx(Law.moment(law, order), abs=1e-11)


def test_transform_satisfies_its_equation():
    law = Semicircle(variance=3.0)
    z = np.array([1j, -1j, 1.0, 5.0, -5.0, 1e8 * (1 + 1j), 1e-9j])
    m = law.stieltjes(z)
    assert np.all(np.abs(3.0 * m**2 + z * m + 1.0) < 1e-13)
    assert np.all((m.imag * z.imag >= 0.0) & (np.abs(m) <= 1.0 / np.sqrt(3.0) + 1e-12))


def test_catalan_numbers():
    assert [Semicircle().moment(order) for order in range(0, 12, 2)] == [1, 1, 2, 5, 14, 42]
    assert Semicircle(variance=4.0).moment(3) == 0.0


def test_density_is_zero_outside():
    np.testing.assert_array_equal(Semicircle().pdf([-np.inf, -2.0, 2.0, 3.0]), 0.0)


@pytest.mark.parametrize("unit", [1e-14, 1.0, 1e14])
def test_fit_withstands_outliers(unit):
    values = unit * np.sqrt(2.0) * Semicircle().quantile((np.arange(400) + 0.5) / 400)
    assert Semicircle.fit(values).variance / unit**2 == pytest.approx(2.0, rel=1e-2)
    assert Semicircle.fit(np.append(values, unit * 1e5)).variance / unit**2 == pytest.approx(2.0, rel=2e-2)


def test_wigner_matrix_follows_the_law():
    a = np.random.default_rng(0).standard_normal((600, 600))
    values = np.linalg.eigvalsh((a + a.T) / np.sqrt(1200.0))
    assert np.max(np.abs(Semicircle().cdf(values) - (np.arange(600) + 0.5) / 600)) < 2.0 * np.log(600) / 600


def test_wrong_calls():
    for variance in (0.0, -1.0, np.nan, "1"):
        with pytest.raises(ArgumentError):
            Semicircle(variance=variance)
    for values in ([], [0.0, 0.0, 1.0]):
        with pytest.raises(ArgumentError, match="not 0"):
            Semicircle.fit(values)
    with pytest.raises(NonFiniteError):
        Semicircle.fit([np.inf])


def test_a_variance_beyond_float64_is_refused():
    with pytest.raises(ArgumentError, match="variance"):
        Semicircle.fit([1e200, -1e200])


def test_moments_beyond_float64_are_infinite_and_no_sooner():
    assert Semicircle(variance=1e200).moment(4) == np.inf
    assert Semicircle().moment(1100) == np.inf
    # 4^-n C_n is n^(-3/2) / sqrt(pi) (1 - 9/(8 n) + ...)
    assert Semicircle(variance=0.25).moment(4000) == pytest.approx(2000**-1.5 / np.sqrt(np.pi), rel=1e-3)
