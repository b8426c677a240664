import numpy as np
import pytest

from spectra.kernels.eigen_tail import bare_error, eigen_tail
from spectra.kernels.eigenlearning import eigenlearning
from spectra.kernels.ridge_fit import ridge_fit
from tests.spectra.kernels.ridge_problems import laplace

VALUES = np.arange(1.0, 4001) ** -1.5


def gaussian_design(n, seed=0):
    """Return a fit of a power law, with signal i^-2 and noise."""
    rng = np.random.default_rng(seed)
    Z = rng.standard_normal((n, VALUES.size))
    y = Z @ np.arange(1.0, VALUES.size + 1) ** -1.0 + 0.3 * rng.standard_normal(n)
    return ridge_fit(Z * VALUES @ Z.T, y)


def test_the_exponent_and_dimension_of_a_power_law():
    """Measured for one draw of 300 samples: the exponent within 10 %, the dimension within 5 % at four times n."""
    tail = eigen_tail(gaussian_design(300))
    assert tail.decay_exponent == pytest.approx(1.5, rel=0.1)
    for n in (150, 600, 1200):
        ridge = 0.01 * n
        theory = eigenlearning(VALUES, num_samples=n, ridge=ridge)
        x, coefficient = tail.threshold(n, ridge)
        assert np.exp(x) == pytest.approx(theory.kappa, rel=0.05)
        assert coefficient == pytest.approx(theory.overfitting_coefficient, rel=0.05)
        assert tail.dimension(x) == pytest.approx(theory.df1, rel=0.05)


def test_the_dimension_falls_everywhere():
    tail = eigen_tail(gaussian_design(100))
    x = np.linspace(tail.log_kappa[0] - 5, tail.log_kappa[-1] + 5, 400)
    values = np.array([tail.dimension(one) for one in x])
    assert np.all(np.diff(values) < 0)
    assert np.max(np.abs(np.diff(np.log(values)))) < 0.2


def test_a_finite_rank_has_no_tail():
    rng = np.random.default_rng(1)
    Z = rng.standard_normal((200, 5))
    tail = eigen_tail(ridge_fit(Z @ Z.T, rng.standard_normal(200)))
    assert tail.decay_exponent == pytest.approx(50, rel=0.2)
    assert tail.threshold(800, 1.0)[1] == pytest.approx(800 / 795, rel=0.02)


def test_the_bare_error_is_that_of_the_mean_fit():
    """R(kappa) = sum (1 - L)^2 v^2 + noise, within 20 % for one draw."""
    fit = gaussian_design(400, seed=2)
    bare = bare_error(fit, 0.4)
    theory = eigenlearning(
        VALUES, num_samples=400, ridge=0.4, signal=np.arange(1.0, VALUES.size + 1) ** -2.0, noise=0.09
    )
    expected = theory.test_error / theory.overfitting_coefficient
    assert float(bare(theory.kappa)) == pytest.approx(expected, rel=0.2)


@pytest.mark.parametrize("unit", [1e-14, 1e14])
def test_units(unit):
    K, y = laplace(80)
    plain, scaled = eigen_tail(ridge_fit(K, y)), eigen_tail(ridge_fit(unit * K, y))
    assert scaled.decay_exponent == pytest.approx(plain.decay_exponent, rel=1e-6)
    one, other = plain.threshold(160, 0.1), scaled.threshold(160, 0.1 * unit)
    assert (other[0], other[1]) == (pytest.approx(one[0] + np.log(unit)), pytest.approx(one[1]))


def test_targets_of_zero():
    assert float(bare_error(ridge_fit(np.eye(40), np.zeros(40)), 0.1)(1.0)) == 0.0
