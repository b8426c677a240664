import math

import numpy as np
import pytest

from spectra.errors import ArgumentError
from spectra.kernels.decay_rates import decay_rates, exponential_decay_rates
from spectra.kernels.eigenlearning import eigenlearning

#: Measured spread of slopes of the population theory between n = 1000 and 30000 around their limits.
TOLERANCE = 0.03
SAMPLES = np.array([1000.0, 3000.0, 10000.0, 30000.0])


def power_modes(alpha, source, *, last=10**9):
    """Return eigenvalues, multiplicities and squared coefficients up to mode ``last``: single ones, then blocks."""
    single = np.arange(1, 3001)
    edges = np.unique(np.round(np.geomspace(3000, last, 8000)).astype(np.int64))
    low, high = edges[:-1] + 0.5, edges[1:] + 0.5

    def total(power):
        return (low ** (1 - power) - high ** (1 - power)) / (power - 1)

    counts = np.concatenate([np.ones(single.size), high - low])
    values = np.concatenate([single**-alpha, total(alpha) / (high - low)])
    squares = np.concatenate([single ** -(1 + 2 * alpha * source), total(1 + 2 * alpha * source)])
    return values, counts, squares


def slopes(alpha, source, ridge_exponent, samples=SAMPLES):
    """Return the slopes of threshold, bias and variance in log n."""
    values, counts, squares = power_modes(alpha, source)
    rows = []
    for n in samples:
        ridge = 0.0 if math.isinf(ridge_exponent) else n * n**-ridge_exponent
        found = eigenlearning(values, num_samples=n, ridge=ridge, signal=squares, noise=1.0, multiplicity=counts)
        rows.append([found.kappa, found.bias, found.variance, found.excess])
    return np.polyfit(np.log(samples), np.log(rows), 1)[0]


CASES = [(1.5, 0.3, 0.7), (1.5, 0.3, 3.0), (2.0, 0.5, 1.0), (2.0, 1.5, 1.0), (2.0, 0.5, 4.0), (2.0, 1.5, math.inf)]


@pytest.mark.parametrize(("alpha", "source", "ridge_exponent"), CASES)
def test_rates_are_those_of_the_population_theory(alpha, source, ridge_exponent):
    kappa, bias, variance, _ = slopes(alpha, source, ridge_exponent)
    found = decay_rates(alpha, source_exponent=source, ridge_exponent=ridge_exponent)
    assert kappa == pytest.approx(found.kappa, abs=TOLERANCE)
    assert bias == pytest.approx(found.bias, abs=TOLERANCE)
    assert variance == pytest.approx(found.variance, abs=TOLERANCE)


@pytest.mark.parametrize(("alpha", "source"), [(1.5, 0.3), (2.0, 0.5), (2.0, 1.5), (3.0, 0.25)])
def test_rate_at_the_optimal_ridge(alpha, source):
    best = decay_rates(alpha, source_exponent=source)
    # A sum of two powers is slow to reach its limit: at r = 1.5, the slope is 0.03 short around n = 5000.
    excess = slopes(alpha, source, best.optimal_ridge_exponent, 30 * SAMPLES)[3]
    assert excess == pytest.approx(best.optimal_excess, abs=TOLERANCE)


@pytest.mark.parametrize(("alpha", "source"), [(1.5, 0.3), (2.0, 0.5), (2.0, 1.5)])
def test_no_ridge_exponent_has_a_better_rate(alpha, source):
    best = decay_rates(alpha, source_exponent=source)
    rates = [
        decay_rates(alpha, source_exponent=source, ridge_exponent=exponent).excess
        for exponent in np.linspace(0, alpha + 1, 301)
    ]
    assert min(rates) >= best.optimal_excess - 1e-12
    at_best = decay_rates(alpha, source_exponent=source, ridge_exponent=best.optimal_ridge_exponent)
    assert at_best.bias == pytest.approx(at_best.variance)
    assert at_best.excess == pytest.approx(best.optimal_excess)


def test_smoother_targets_do_not_help_beyond_saturation():
    one, two = (decay_rates(2.0, source_exponent=r, ridge_exponent=1.0) for r in (1.0, 5.0))
    assert one.bias == two.bias
    assert (one.is_saturated, two.is_saturated) == (False, True)


def test_rates_are_continuous_at_the_crossover():
    below, above = (decay_rates(2.0, source_exponent=0.4, ridge_exponent=x) for x in (2.0 - 1e-12, 2.0))
    assert (below.regime, above.regime) == ("strong ridge", "weak ridge")
    assert below.bias == pytest.approx(above.bias)
    assert below.variance == pytest.approx(above.variance, abs=1e-11)
    assert "dependent features too" in below.caveat
    assert "Gaussian features only" in above.caveat


def test_without_noise_the_bias_decides():
    found = decay_rates(2.0, source_exponent=0.5, noise=0.0)
    assert found.excess == found.bias == -2.0
    assert found.optimal_excess == -2.0


@pytest.mark.parametrize(
    "settings",
    [
        {"decay_exponent": 1.0, "source_exponent": 1.0},
        {"decay_exponent": float("nan"), "source_exponent": 1.0},
        {"decay_exponent": 2.0, "source_exponent": 0.0},
        {"decay_exponent": 2.0, "source_exponent": 1.0, "ridge_exponent": -0.1},
        {"decay_exponent": 2.0, "source_exponent": 1.0, "ridge_exponent": float("nan")},
        {"decay_exponent": 2.0, "source_exponent": 1.0, "noise": -1.0},
        {"decay_exponent": "two", "source_exponent": 1.0},
    ],
)
def test_bad_exponents(settings):
    with pytest.raises(ArgumentError):
        decay_rates(settings.pop("decay_exponent"), **settings)


def exponential_modes(rate, n):
    return np.exp(-rate * np.arange(1, int((60 + rate * n) / rate) + 1))


@pytest.mark.parametrize("rate", [0.02, 0.05, 0.2, 0.5, 1.0])
@pytest.mark.parametrize("n", [5, 40, 150])
@pytest.mark.parametrize("exponent", [0.0, 0.7, 1.0, 2.0, math.inf])
def test_exponential_decay_agrees_with_the_sums(rate, n, exponent):
    ridge = 0.0 if math.isinf(exponent) else n * float(n) ** -exponent
    expected = eigenlearning(exponential_modes(rate, n), num_samples=n, ridge=ridge, noise=0.7)
    found = exponential_decay_rates(rate, num_samples=n, ridge_exponent=exponent, noise=0.7)
    # Growth of the error with the rate as measured, at most 2.1e-3.
    tolerance = 1e-5 + 2.5e-3 * rate**4
    assert found.variance == pytest.approx(expected.variance, rel=tolerance)
    assert found.df2 == pytest.approx(expected.df2, rel=tolerance)
    assert found.df1 == pytest.approx(expected.df1, rel=tolerance)
    assert found.log_kappa == pytest.approx(math.log(expected.kappa), abs=tolerance)


@pytest.mark.parametrize(("rate", "n"), [(0.02, 200), (0.05, 40), (0.1, 100), (0.5, 20)])
def test_growth_of_the_overfitting_coefficient_without_ridge(rate, n):
    growth = rate * n / -math.expm1(-rate * n)
    assert exponential_decay_rates(rate, num_samples=n).overfitting_coefficient == pytest.approx(growth, rel=1e-4)


def test_a_strong_ridge_ends_the_growth_slowly():
    found = [exponential_decay_rates(0.5, num_samples=n, ridge_exponent=1.0) for n in (10**3, 10**6, 10**9)]
    ratios = [one.leading_order / one.variance for one in found]
    assert ratios[0] > ratios[1] > ratios[2] > 1.0
    assert ratios[2] < 1.07
    assert {one.regime for one in found} == {"strong ridge"}


def test_thresholds_below_the_range_of_floats():
    found = exponential_decay_rates(1.0, num_samples=5000)
    assert found.kappa == 0.0
    assert found.log_kappa == pytest.approx(-5000.5, abs=0.1)
    assert found.overfitting_coefficient == pytest.approx(5000, rel=1e-3)
    assert found.regime == "weak ridge"


def test_one_sample():
    found = exponential_decay_rates(0.1, num_samples=1, ridge_exponent=2.0)
    assert 0 < found.df1 < 1
    assert math.isfinite(found.variance)


@pytest.mark.parametrize(
    "settings",
    [
        {"rate": 0.0, "num_samples": 5},
        {"rate": 1.5, "num_samples": 5},
        {"rate": float("nan"), "num_samples": 5},
        {"rate": 0.5, "num_samples": 0},
        {"rate": 0.5, "num_samples": 5, "noise": -1.0},
        {"rate": 0.5, "num_samples": 5, "ridge_exponent": -1.0},
    ],
)
def test_bad_exponential_input(settings):
    with pytest.raises(ArgumentError):
        exponential_decay_rates(settings.pop("rate"), **settings)
