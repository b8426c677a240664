import numpy as np
import pytest

from spectra.kernels.decay_interval import half_fits, interval
from spectra.kernels.source import as_source

K = np.exp(-np.abs(np.subtract.outer(*2 * [np.random.default_rng(0).random(120)])))


def test_halves_are_drawn_anew_and_again():
    first = half_fits(as_source(K), num=3, lowest=1e-12, rng=1)
    assert len(first) == 3
    assert len({fit.decay_exponent for fit in first}) == 3
    # More halves never change earlier ones.
    more = half_fits(as_source(K), num=4, lowest=1e-12, rng=1)
    assert [fit.decay_exponent for fit in more[:3]] == [fit.decay_exponent for fit in first]
    assert half_fits(as_source(K), num=1, lowest=1e-12, rng=2)[0].decay_exponent != first[0].decay_exponent


def test_nothing_to_halve():
    assert half_fits(as_source([3.0, 1.0]), num=3, lowest=0.1, rng=0) == []
    assert half_fits(as_source(np.eye(1)), num=3, lowest=0.1, rng=0) == []
    assert half_fits(as_source(np.ones((20, 20))), num=3, lowest=0.1, rng=0) == []
    assert half_fits(as_source(K), num=0, lowest=0.1, rng=0) == []


def test_the_interval_adds_spread_and_shift():
    assert interval(2.0, np.empty(0)) == pytest.approx((1.75, 2.25))
    assert interval(2.0, np.array([1.9, 1.9])) == pytest.approx((2 - np.hypot(0.2, 0.2), 2 + np.hypot(0.2, 0.2)))
    low, high = interval(2.0, np.array([1.8, 2.2]))
    assert high - low == pytest.approx(2 * np.hypot(0.2, 2 * np.std([1.8, 2.2], ddof=1)))
    assert interval(1.02, np.empty(0))[0] == 1.0
