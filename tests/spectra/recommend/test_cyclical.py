"""Advice on two-step cycles: gaps found and refused."""

import numpy as np
import pytest

import spectra
from spectra.errors import ArgumentError, NonFiniteError
from spectra.recommend import Verdict, cyclical_heavy_ball, cyclical_learning_rates

SPLIT = np.r_[np.linspace(1.0, 11.0, 60), np.linspace(90.0, 100.0, 60)]


def test_gap_of_eigenvalues_is_found():
    advice = cyclical_learning_rates(SPLIT)
    assert advice.verdict is Verdict.SUPPORTED
    np.testing.assert_allclose(advice.value, cyclical_heavy_ball((1.0, 11.0), (90.0, 100.0)).learning_rates[0])
    assert advice.evidence["speedup"] > 1.3


def test_gap_of_a_measure_is_found():
    measure = spectra.slq(np.diag(SPLIT), num_probes=4, num_steps=60)
    advice = cyclical_learning_rates(measure)
    assert advice.verdict is Verdict.SUPPORTED
    np.testing.assert_allclose(advice.evidence["rate"], cyclical_heavy_ball((1.0, 11.0), (90.0, 100.0)).rate, rtol=0.01)


@pytest.mark.parametrize(
    ("values", "noise_share", "claim"),
    [
        (np.linspace(1.0, 100.0, 200), 0.0, "gap wide enough"),
        (np.full(5, 3.0), 0.0, "gap wide enough"),
        (np.r_[-1.0, SPLIT], 0.0, "all curvature is positive"),
        (np.r_[0.0, SPLIT], 0.0, "all curvature is positive"),
        (SPLIT, 0.5, "free of noise"),
    ],
)
def test_refusals_name_the_reason(values, noise_share, claim):
    advice = cyclical_learning_rates(values, noise_share=noise_share)
    assert advice.verdict is Verdict.WITHHELD
    assert advice.value is None
    assert claim in advice.reason


def test_scaling_the_spectrum_scales_only_the_rates():
    small, plain = cyclical_learning_rates(1e-14 * SPLIT), cyclical_learning_rates(SPLIT)
    np.testing.assert_allclose(small.value * 1e-14, plain.value, rtol=1e-9)
    np.testing.assert_allclose(small.evidence["momentum"], plain.evidence["momentum"], rtol=1e-9)


def test_bad_calls_are_refused():
    with pytest.raises(ArgumentError, match="at least one eigenvalue"):
        cyclical_learning_rates([])
    with pytest.raises(NonFiniteError, match="finite"):
        cyclical_learning_rates([1.0, np.nan])
    with pytest.raises(ArgumentError, match="noise_share"):
        cyclical_learning_rates(SPLIT, noise_share=2.0)
