import numpy as np
import pytest
from scipy.special import airy

from spectra.errors import ArgumentError, NonFiniteError
from spectra.laws.tracy_widom import TracyWidom

BETAS = [1, 2]
SHARES = [0.01, 0.05, 0.10, 0.25, 0.50, 0.75, 0.90, 0.95, 0.99, 0.999, 0.9999]
QUANTILES = {
    1: [
        -3.8954326731,
        -3.1803799769,
        -2.7824279057,
        -2.0881483362,
        -1.2685746166,
        -0.3919943318,
        0.4501432891,
        0.9793160535,
        2.0234492814,
        3.2721960590,
        4.3594203439,
    ],
    2: [
        -3.7244459464,
        -3.1941667322,
        -2.9013509385,
        -2.3948986778,
        -1.8049124089,
        -1.1838728964,
        -0.5968512971,
        -0.2324744698,
        0.4776360474,
        1.3144194801,
        2.0346917546,
    ],
}
SURVIVAL = {
    1: [1.040243e-2, 2.203445e-4, 1.940814e-6, 8.045425e-9, 1.708216e-11],
    2: [1.124463e-4, 4.957912e-8, 3.817233e-12, 6.533563e-17, 2.938427e-22],
}


def log_cdf(s, beta, num_nodes):
    """Logarithm of the Fredholm determinant (Bornemann 2010), in float64."""
    length = max(30.0 - 2.0 * min(s, 0.0), 16.0) if beta == 1 else max(16.0 - s, 8.0)
    t, w = np.polynomial.legendre.leggauss(num_nodes)
    x, root = s + 0.5 * length * (1.0 + t), np.sqrt(0.5 * length * w)
    if beta == 1:
        kernel = 0.5 * airy(0.5 * (x[:, None] + x))[0]
    else:
        value, slope, _, _ = airy(x)
        kernel = (value[:, None] * slope - slope[:, None] * value) / (x[:, None] - x + np.eye(num_nodes))
        np.fill_diagonal(kernel, slope**2 - x * value**2)
    return np.sum(np.log1p(-np.linalg.eigvalsh(root[:, None] * kernel * root)))


@pytest.mark.parametrize("beta", BETAS)
def test_both_sides_of_a_point_hold_all_the_mass(beta):
    law, s = TracyWidom(beta=beta), np.linspace(-20.0, 20.0, 401)
    np.testing.assert_allclose(law.cdf(s) + law.sf(s), 1.0, atol=1e-15)
    np.testing.assert_allclose(law.log_sf(s[s > -5]), np.log(law.sf(s[s > -5])), rtol=1e-12)


@pytest.mark.parametrize("beta", BETAS)
def test_quantiles_invert_both_tails(beta):
    law, p = TracyWidom(beta=beta), np.geomspace(1e-300, 1.0, 301)[:-1]
    np.testing.assert_allclose(law.sf(law.isf(p)), p, rtol=1e-11)
    np.testing.assert_allclose(law.cdf(law.quantile(p)), p, rtol=1e-11)
    np.testing.assert_array_equal(law.quantile([0.0, 1.0]), [-np.inf, np.inf])
    np.testing.assert_array_equal(law.isf([0.0, 1.0]), [np.inf, -np.inf])


@pytest.mark.parametrize("beta", BETAS)
def test_pieces_meet(beta):
    law = TracyWidom(beta=beta)
    for joint in (-10.0, -1.0, 60.0):
        below, above = joint - 1e-12, joint + 1e-12
        assert law.log_sf(below) == pytest.approx(law.log_sf(above), rel=1e-11)
        assert law.cdf(below) == pytest.approx(law.cdf(above), rel=1e-9)
        assert law.pdf(below) == pytest.approx(law.pdf(above), rel=1e-6)


@pytest.mark.parametrize("beta", BETAS)
def test_density_is_the_derivative(beta):
    law, s, h = TracyWidom(beta=beta), np.linspace(-8.0, 12.0, 97), 1e-4
    np.testing.assert_allclose((law.cdf(s + h) - law.cdf(s - h)) / (2.0 * h), law.pdf(s), atol=1e-8)
    s = np.linspace(10.0, 90.0, 33)
    slope = (law.log_sf(s + h) - law.log_sf(s - h)) / (2.0 * h)
    finite = law.sf(s) > 1e-300
    np.testing.assert_allclose(-law.pdf(s[finite]) / law.sf(s[finite]), slope[finite], rtol=1e-6)


@pytest.mark.parametrize("beta", BETAS)
def test_distribution_function_is_the_determinant(beta):
    law, s = TracyWidom(beta=beta), np.linspace(-6.0, 30.0, 73)
    reference = np.array([log_cdf(point, beta, 80) for point in s])
    np.testing.assert_allclose(law.cdf(s), np.exp(reference), atol=2e-12)
    np.testing.assert_allclose(law.sf(s), -np.expm1(reference), rtol=2e-11)


@pytest.mark.parametrize("beta", BETAS)
def test_survival_function_keeps_its_relative_accuracy(beta):
    law, s = TracyWidom(beta=beta), np.array([3.0, 9.5, 20.0, 41.0, 59.0])
    reference = [np.log(-np.expm1(log_cdf(point, beta, 80))) for point in s]
    np.testing.assert_allclose(law.log_sf(s), reference, atol=2e-11)


def test_right_tail_beyond_the_table_is_the_determinant():
    for s in (65.0, 80.0):
        assert TracyWidom(beta=1).log_sf(s) == pytest.approx(np.log(-np.expm1(log_cdf(s, 1, 80))), abs=1e-5)


@pytest.mark.parametrize("beta", BETAS)
def test_left_tail_has_its_asymptotic_constant(beta):
    # Baik, Buckingham and DiFranco (2008); zeta'(-1) = -0.16542114370045092
    u, constant = 30.0, -0.16542114370045092
    expected = {
        1: -(u**3) / 24 - u**1.5 / 3 / np.sqrt(2) - np.log(u) / 16 - 11 / 48 * np.log(2) + constant / 2,
        2: -(u**3) / 12 - np.log(u) / 8 + np.log(2) / 24 + constant,
    }
    law = TracyWidom(beta=beta)
    found, _ = law._left(np.array([-u]))
    assert found[0] == pytest.approx(expected[beta], abs=1e-3)


@pytest.mark.parametrize("beta", BETAS)
def test_recorded_numbers(beta):
    law = TracyWidom(beta=beta)
    np.testing.assert_allclose(law.quantile(SHARES), QUANTILES[beta], atol=1e-9)
    np.testing.assert_allclose(law.sf([2.0, 4.0, 6.0, 8.0, 10.0]), SURVIVAL[beta], rtol=3e-7)
    at_zero, mean, variance = {
        1: (0.831908066203, -1.2065335746, 1.6077810345),
        2: (0.969372828355, -1.7710868074, 0.8131947928),
    }[beta]
    assert law.cdf(0.0) == pytest.approx(at_zero, abs=1e-12)
    assert law.moment(1) == pytest.approx(mean, abs=1e-9)
    assert law.moment(2) - law.moment(1) ** 2 == pytest.approx(variance, abs=1e-9)


@pytest.mark.parametrize("beta", BETAS)
def test_far_points(beta):
    law = TracyWidom(beta=beta)
    np.testing.assert_array_equal(law.cdf([-np.inf, -1e300, 1e300, np.inf]), [0.0, 0.0, 1.0, 1.0])
    np.testing.assert_array_equal(law.pdf([-np.inf, -1e300, 1e300, np.inf]), 0.0)
    np.testing.assert_array_equal(law.sf([-np.inf, -1e300, 1e300, np.inf]), [1.0, 1.0, 0.0, 0.0])
    far = law.log_sf([1e3, 1e6])
    np.testing.assert_allclose(far, -2.0 * beta / 3.0 * np.array([1e4 * np.sqrt(10.0), 1e9]), rtol=1e-3)
    assert law.log_sf(np.inf) == -np.inf
    assert law.log_sf(-np.inf) == 0.0


def test_wrong_calls():
    for beta in (0, 3, 4, True, "1"):
        with pytest.raises(ArgumentError, match="beta"):
            TracyWidom(beta=beta)
    law = TracyWidom()
    for call in (law.quantile, law.isf):
        with pytest.raises(ArgumentError, match=r"\[0, 1\]"):
            call(1.5)
    for call in (law.pdf, law.cdf, law.sf, law.log_sf, law.quantile, law.isf):
        with pytest.raises(NonFiniteError):
            call([0.5, np.nan])
