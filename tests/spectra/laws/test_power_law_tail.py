"""Power-law tails: exact values, simulated Pareto samples, and spectra that have none."""

import math

import numpy as np
import pytest

from spectra.errors import ArgumentError, NonFiniteError, ShapeError
from spectra.laws.power_law_tail import fit_power_law_tail


def pareto(exponent, size, seed):
    return np.random.default_rng(seed).pareto(exponent - 1, size=size) + 1


def eigenvalues(matrix):
    return np.linalg.svd(matrix, compute_uv=False) ** 2


@pytest.mark.parametrize("exponent", [2.0, 3.0, 5.0])
def test_exponents_of_pareto_samples_are_within_their_errors(exponent):
    found = [fit_power_law_tail(pareto(exponent, 400, seed), shape=(400, 800), rng=1) for seed in range(40)]
    z = np.array([(tail.fitted_exponent - exponent) / tail.fitted_stderr for tail in found])
    assert abs(z.mean()) < 4 / math.sqrt(len(z))
    # Within 30 %: at 40 samples a variance is known to 22 % (one standard deviation).
    assert 0.6 < z.std() < 1.4
    trusted = [tail for tail in found if tail.is_trustworthy]
    # A tenth of true laws has a p-value below 0.1: binomial, 4 standard deviations.
    assert len(trusted) >= 40 * 0.9 - 4 * math.sqrt(40 * 0.09)
    assert all(tail.exponent == tail.fitted_exponent and tail.num_tail >= 50 for tail in trusted)


@pytest.mark.parametrize("shape", [(100, 300), (300, 64), (128, 128)])
@pytest.mark.parametrize("entries", ["normal", "uniform"])
def test_noise_has_no_exponent(shape, entries):
    for seed in range(10):
        rng = np.random.default_rng(seed)
        matrix = rng.normal(size=shape) if entries == "normal" else rng.uniform(-1, 1, size=shape)
        found = fit_power_law_tail(eigenvalues(matrix), shape=shape)
        assert math.isnan(found.exponent)
        assert math.isnan(found.stderr)
        assert "Gaussian matrix of the same shape" in found.why
        assert math.isfinite(found.fitted_exponent)


def test_noise_with_spikes_has_no_exponent():
    rng = np.random.default_rng(0)
    shape = (120, 240)
    for spikes in ([3.0], [3.0, 4.0, 6.0]):
        left, right = (np.linalg.qr(rng.normal(size=(size, len(spikes))))[0] for size in shape)
        matrix = rng.normal(size=shape) + math.sqrt(shape[1]) * (left * spikes) @ right.T
        found = fit_power_law_tail(eigenvalues(matrix), shape=shape)
        assert not found.is_trustworthy


def test_other_laws_are_ruled_out():
    exponential = np.random.default_rng(0).exponential(size=800) + 1
    assert "p-value" in fit_power_law_tail(exponential, shape=None, min_num_tail=400).why
    uniform = np.random.default_rng(0).uniform(1, 2, size=800)
    assert "p-value" in fit_power_law_tail(uniform, shape=None, min_num_tail=400).why


def test_without_a_shape_noise_is_not_excluded_and_a_remark_says_so():
    found = fit_power_law_tail(pareto(3, 200, 0), shape=None)
    assert found.is_trustworthy
    assert math.isnan(found.noise_ratio)
    assert "noise was not excluded" in found.remarks[0]


@pytest.mark.parametrize("factor", [1e-14, 1e14])
def test_units_change_only_the_ends(factor):
    values = pareto(2.5, 300, 3)
    plain, scaled = (fit_power_law_tail(values * unit, shape=(300, 300)) for unit in (1.0, factor))
    assert scaled.exponent == pytest.approx(plain.exponent, rel=1e-10)
    assert scaled.p_value == plain.p_value
    assert scaled.noise_ratio == pytest.approx(plain.noise_ratio, rel=1e-10)
    assert scaled.smallest == pytest.approx(plain.smallest * factor)


def test_order_zeros_and_rounding_below_zero_do_not_count():
    values = pareto(2.5, 100, 3)
    padded = np.concatenate([values[::-1], np.zeros(20), [-1e-15]])
    plain, found = (fit_power_law_tail(v, shape=(130, 200)) for v in (values, padded))
    assert found.exponent == plain.exponent
    assert found.num_values == 100


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([], "only 0 positive"),
        ([1.0], "only 1 positive"),
        ([2.0, 1.0], "only 2 positive"),
        (np.zeros(100), "only 0 positive"),
        (np.ones(100), "all eigenvalues are equal"),
        (np.r_[np.ones(99) * 2, 1.0], "does not follow a power law"),
    ],
)
def test_what_has_no_tail_says_so(values, reason):
    found = fit_power_law_tail(values, shape=None)
    assert math.isnan(found.exponent)
    assert reason in found.why


def test_wrong_calls():
    values = pareto(3, 60, 0)
    with pytest.raises(NonFiniteError):
        fit_power_law_tail([1.0, math.nan], shape=None)
    with pytest.raises(ShapeError, match="vector"):
        fit_power_law_tail(np.ones((2, 2)), shape=None)
    with pytest.raises(ShapeError, match="at most 50"):
        fit_power_law_tail(values, shape=(50, 100))
    with pytest.raises(ShapeError, match="pair"):
        fit_power_law_tail(values, shape=(60, 60, 3))
    with pytest.raises(ShapeError, match="pair"):
        fit_power_law_tail(values, shape=100)
    for options in (
        {"min_num_tail": 5},
        {"min_p_value": 1.0},
        {"min_p_value": "0.1"},
        {"num_bootstrap": 3},
        {"num_null": 0},
        {"rng": -1},
    ):
        with pytest.raises(ArgumentError):
            fit_power_law_tail(values, shape=None, **options)
