import math

import numpy as np
import pytest

from spectra.errors import ArgumentError
from spectra.kernels.finite_rank import finite_rank_risk

RANK = 10


def fits(n, *, rank=RANK, noise=0.5, tail=0.2, draws=400, seed=5):
    """Return test errors of least squares on Gaussian features, one for each training set."""
    rng = np.random.default_rng(seed)
    errors = []
    for _ in range(draws):
        Z = rng.standard_normal((n, rank))
        residual = math.sqrt(noise) * rng.standard_normal(n) + math.sqrt(tail) * rng.standard_normal(n)
        shift = np.linalg.lstsq(Z, residual, rcond=None)[0]
        errors.append(noise + tail + shift @ shift)
    return np.array(errors)


def test_mean_is_noise_and_excess():
    found = finite_rank_risk(RANK, num_samples=50, noise=0.5, tail_signal=0.2)
    assert found.test_error == pytest.approx(found.effective_noise + found.excess)
    assert found.variance == pytest.approx(0.5 * RANK / (50 - RANK - 1))


def test_rank_one_is_the_mean_of_an_inverse_chi_square():
    assert finite_rank_risk(1, num_samples=7, noise=1.0).excess == pytest.approx(1 / (7 - 2))


def test_many_samples_leave_the_noise():
    assert finite_rank_risk(3, num_samples=10**7, noise=2.0).test_error == pytest.approx(2.0, rel=1e-6)


def test_units_are_those_of_the_noise():
    one = finite_rank_risk(RANK, num_samples=30, noise=0.5, tail_signal=0.2)
    for unit in (1e-14, 1e14):
        other = finite_rank_risk(RANK, num_samples=30, noise=0.5 * unit, tail_signal=0.2 * unit)
        for name in ("test_error", "spread", "eigenlearning", "variance", "variance_bound", "excess"):
            assert getattr(other, name) == pytest.approx(getattr(one, name) * unit, rel=1e-12)


@pytest.mark.parametrize("n", [15, 20, 40, 100, 200])
def test_simulated_mean(n):
    found = finite_rank_risk(RANK, num_samples=n, noise=0.5, tail_signal=0.2)
    errors = fits(n)
    assert abs(errors.mean() - found.test_error) < 3.5 * found.spread / math.sqrt(errors.size)


@pytest.mark.parametrize("n", [40, 100, 200])
def test_simulated_spread(n):
    found = finite_rank_risk(RANK, num_samples=n, noise=0.5, tail_signal=0.2)
    errors = fits(n, draws=4000, seed=1)
    squares = (errors - found.test_error) ** 2
    assert abs(squares.mean() - found.spread**2) < 3.5 * squares.std() / math.sqrt(squares.size)


@pytest.mark.parametrize("rank", [1, 2, 5, 10, 33])
def test_bound_is_offered_exactly_where_it_exceeds_the_mean(rank):
    for n in range(rank, 4 * rank + 8):
        found = finite_rank_risk(rank, num_samples=n, noise=1.0)
        holds = n > rank + 1 and rank / (n - rank - 1) <= 2 * rank / n
        assert (found.variance_bound is not None) == holds
        assert found.is_near_interpolation != holds
        assert (found.why == "") == (holds and found.is_trustworthy)
        if holds:
            assert found.variance <= found.variance_bound


@pytest.mark.parametrize("n", [40, 100, 200])
def test_bound_holds_for_nearly_all_training_sets(n):
    """Of the variance over labels, for 95 % of the features, as measured; the source's probability is not checked."""
    bound = finite_rank_risk(RANK, num_samples=n, noise=1.0).variance_bound
    rng = np.random.default_rng(8)
    features = rng.standard_normal((1000, n, RANK))
    variance = np.trace(np.linalg.inv(np.swapaxes(features, 1, 2) @ features), axis1=1, axis2=2)
    assert variance.mean() < bound
    assert np.quantile(variance, 0.95) < bound


def test_bound_would_be_wrong_near_interpolation():
    excess = fits(15, noise=0.5, tail=0.0, draws=4000) - 0.5
    assert excess.mean() - 3.5 * excess.std() / math.sqrt(excess.size) > 2 * 0.5 * RANK / 15


@pytest.mark.parametrize("n", [RANK, RANK + 1])
def test_interpolation_peak(n):
    found = finite_rank_risk(RANK, num_samples=n, noise=1.0)
    assert math.isinf(found.test_error)
    assert math.isinf(found.spread)
    assert not found.is_trustworthy
    assert "infinite" in found.why


@pytest.mark.parametrize("n", [RANK + 2, RANK + 3])
def test_mean_without_spread(n):
    found = finite_rank_risk(RANK, num_samples=n, noise=1.0)
    assert math.isfinite(found.test_error)
    assert math.isinf(found.spread)
    assert not found.is_trustworthy


def test_without_noise_there_is_no_error_even_at_the_peak():
    found = finite_rank_risk(RANK, num_samples=RANK, noise=0.0)
    assert (found.test_error, found.spread, found.excess, found.eigenlearning) == (0.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    "settings",
    [
        {"rank": 0, "num_samples": 5, "noise": 1.0},
        {"rank": 2.5, "num_samples": 5, "noise": 1.0},
        {"rank": 5, "num_samples": 4, "noise": 1.0},
        {"rank": 5, "num_samples": 0, "noise": 1.0},
        {"rank": 5, "num_samples": 9, "noise": -1.0},
        {"rank": 5, "num_samples": 9, "noise": float("nan")},
        {"rank": 5, "num_samples": 9, "noise": 1.0, "tail_signal": -0.1},
        {"rank": 5, "num_samples": 9, "noise": 1.0, "tail_signal": float("inf")},
    ],
)
def test_bad_input(settings):
    with pytest.raises(ArgumentError):
        finite_rank_risk(settings.pop("rank"), **settings)
