import numpy as np
import pytest

from spectra.kernels.local_exponent import SizeLevel, exponent_trend, exponents_by_size, log_exponent

EPS = float(np.finfo(float).eps)


def eigenvalues(values, n, *, seed=0, tail=0.0):
    Z = np.random.default_rng(seed).standard_normal((n, values.size)) * np.sqrt(values)
    return np.linalg.eigvalsh(Z @ Z.T) + tail


@pytest.mark.parametrize("alpha", [1.5, 2.0, 4.0])
def test_exponent_of_a_power_law(alpha):
    found = [
        log_exponent(eigenvalues(np.arange(1, 2001.0) ** -alpha, 100, seed=seed, tail=2000 ** (1 - alpha)), EPS)
        for seed in range(20)
    ]
    # The theory neglects terms of order 1/n.
    assert abs(np.mean(found) - np.log(alpha)) < 3.5 * np.std(found, ddof=1) / np.sqrt(20) + 0.02


@pytest.mark.parametrize("unit", [1e-14, 1e14])
def test_units_do_not_matter(unit):
    values = eigenvalues(np.arange(1, 500.0) ** -2, 50)
    assert log_exponent(unit * values, EPS) == pytest.approx(log_exponent(values, EPS), rel=1e-9)


def test_definition_at_half_of_the_samples():
    values = eigenvalues(np.arange(1, 500.0) ** -2, 50)
    ridges = np.geomspace(1e-6, 1, 20001)
    inverse = 1 / (values[:, None] + ridges)
    df1 = np.sum(values[:, None] * inverse, axis=0)
    df2 = 50 - np.sum(inverse, axis=0) ** 2 / np.sum(inverse**2, axis=0)
    at = np.argmin(np.abs(df1 - 25))
    assert np.exp(log_exponent(values, EPS)) == pytest.approx(1 / (1 - df2[at] / df1[at]), rel=1e-3)


def test_rounding_hides_what_is_below_it():
    values = np.exp(-np.arange(60.0))[::-1]
    assert np.isnan(log_exponent(values, EPS))
    assert np.isfinite(log_exponent(np.exp(-0.5 * np.arange(60.0))[::-1], EPS))
    assert np.isnan(log_exponent(np.exp(-0.5 * np.arange(60.0))[::-1], float(np.finfo(np.float32).eps)))
    assert np.isnan(log_exponent(np.zeros(3), EPS))


def test_sizes_are_halved_until_enough_are_resolved():
    values = np.ones(200)
    levels = exponents_by_size(np.eye(200), EPS, values, draws=2, seed=0, num_resolved=3)
    assert [level.size for level in levels] == [200, 100, 50]
    assert [level.logs.size for level in levels] == [1, 2, 2]
    assert [
        level.size for level in exponents_by_size(np.eye(20), EPS, np.ones(20), draws=2, seed=0, num_resolved=3)
    ] == [20]


def test_trend_of_exact_levels():
    levels = [SizeLevel(size=m, logs=np.full(k, 0.3 * np.log(m))) for m, k in ((400, 1), (200, 4), (100, 4))]
    trend = exponent_trend(levels, 400)
    assert trend.exponent == pytest.approx(400**0.3)
    assert trend.slope == pytest.approx(0.3)
    assert trend.stderr == pytest.approx(0.0, abs=1e-12)
    assert (trend.last, trend.before) == pytest.approx((0.3, 0.3))


def test_doublings_from_the_last():
    levels = [SizeLevel(size=m, logs=np.full(4, log)) for m, log in ((200, 1.0), (100, 0.5), (50, 0.4))]
    trend = exponent_trend(levels, 400)
    assert trend.slope == pytest.approx(0.6 / np.log(4))
    assert (trend.last, trend.before) == pytest.approx((0.5 / np.log(2), 0.1 / np.log(2)))


def test_sizes_that_are_not_resolved_are_left_out_of_the_trend():
    levels = [SizeLevel(size=400, logs=np.array([np.nan]))]
    assert np.isnan(exponent_trend(levels, 400).exponent)
    levels += [SizeLevel(size=m, logs=np.full(4, 0.2 * np.log(m))) for m in (200, 100)]
    assert exponent_trend(levels, 400).exponent == pytest.approx(200**0.2)
    assert np.isnan(exponent_trend(levels, 400).slope)
    levels += [SizeLevel(size=m, logs=np.full(4, 0.2 * np.log(m))) for m in (50, 25)]
    assert exponent_trend(levels, 400).slope == pytest.approx(0.2)
    assert exponent_trend(levels[:-1], 400) == exponent_trend(levels, 400)
