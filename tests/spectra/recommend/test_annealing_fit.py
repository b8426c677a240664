"""Fit of the annealing law: exact recovery, z-tests of the intervals, predictions."""

import numpy as np
import pytest
from scipy.signal import lfilter

from spectra.errors import ArgumentError, ShapeError
from spectra.recommend import Verdict, annealing_areas, fit_annealing_law
from spectra.recommend.annealing import PARAMETERS

COUNT = 12000
COSINE = 1e-3 * (0.05 + 0.475 * (1 + np.cos(np.pi * np.arange(1, COUNT + 1) / COUNT)))
TRUTH = {"floor": 2.6, "amplitude": 0.4, "exponent": 0.5, "annealing": 0.3}
LOGGED = np.arange(100, COUNT + 1, 20)


def law(rates):
    areas = annealing_areas(rates)
    power = TRUTH["amplitude"] * areas.forward ** -TRUTH["exponent"]
    return TRUTH["floor"] + power - TRUTH["annealing"] * areas.annealing


def noisy(seed, correlation=0.0, scale=0.004):
    noise = lfilter([scale], [1.0, -correlation], np.random.default_rng(seed).standard_normal(len(LOGGED)))
    return law(COSINE)[LOGGED - 1] * np.exp(noise)


def test_law_without_noise_is_recovered():
    fit = fit_annealing_law(law(COSINE)[LOGGED - 1], COSINE, steps=LOGGED)
    for name in PARAMETERS:
        np.testing.assert_allclose(getattr(fit, name), TRUTH[name], rtol=1e-3)
    assert fit.verdict is Verdict.TENTATIVE


@pytest.mark.slow
@pytest.mark.parametrize("correlation", [0.0, 0.7])
def test_intervals_cover(correlation):
    repeats = 80
    scores = np.empty((repeats, 4))
    for seed in range(repeats):
        fit = fit_annealing_law(noisy(seed, correlation), COSINE, steps=LOGGED)
        errors = [np.log(getattr(fit, name) / TRUTH[name]) for name in PARAMETERS]
        scores[seed] = errors / np.sqrt(np.diag(fit.log_covariance))
    # Student's t with 20 degrees of freedom: standard deviation 1.054, and of its mean over n 1.054/sqrt(n)
    assert np.abs(scores.mean(0)).max() < 4 * 1.054 / np.sqrt(repeats)
    inside = np.mean(np.abs(scores) < 2.086, axis=0)
    assert inside.min() > 0.95 - 4 * np.sqrt(0.95 * 0.05 / repeats)


def test_intervals_are_those_of_the_logarithms():
    fit = fit_annealing_law(noisy(0), COSINE, steps=LOGGED)
    for index, name in enumerate(PARAMETERS):
        low, high = fit.intervals[name]
        np.testing.assert_allclose(low * high, getattr(fit, name) ** 2, rtol=1e-9)
        np.testing.assert_allclose(np.log(high / low), 2 * 2.086 * np.sqrt(fit.log_covariance[index, index]), rtol=1e-3)


def test_another_schedule_is_predicted():
    """Fitted to a cosine, the law gives the loss of a constant rate with a late linear decay."""
    other = 8e-4 * np.minimum(1.0, (COUNT - np.arange(COUNT)) / (0.2 * COUNT))
    predicted = fit_annealing_law(noisy(0), COSINE, steps=LOGGED).predict(other)
    truth = law(other)
    assert predicted["step"].values[[0, -1]].tolist() == [1, COUNT]
    later = slice(2000, None)
    error = np.abs(predicted["loss"].values - truth)[later]
    half = (predicted["high"] - predicted["loss"]).values[later]
    # one draw: errors of all steps move together, so the bound is four half-widths over two at every step
    assert np.all(error < 2 * half)
    assert error.max() < 0.01 * truth.min()


def test_outliers_hardly_move_the_fit():
    losses = noisy(1)
    clean = fit_annealing_law(losses, COSINE, steps=LOGGED)
    losses[::29] *= 1.5
    spiked = fit_annealing_law(losses, COSINE, steps=LOGGED)
    for name in PARAMETERS:
        low, high = clean.intervals[name]
        assert abs(np.log(getattr(spiked, name) / getattr(clean, name))) < np.log(high / low)


@pytest.mark.parametrize(
    ("rates", "change", "claim"),
    [
        (COSINE[:3000], 1.0, "several memories"),
        (np.full(COUNT, 1e-3), 1.0, "learning rate falls"),
        (COSINE, np.nan, "positive and finite"),
        (COSINE, -1.0, "positive and finite"),
    ],
)
def test_logs_that_do_not_carry_the_law_are_withheld(rates, change, claim):
    losses = law(rates)
    losses[500] *= change
    fit = fit_annealing_law(losses, rates)
    assert fit.verdict is Verdict.WITHHELD
    assert claim in fit.reason
    with pytest.raises(ArgumentError, match="withheld"):
        fit.predict(rates)


def test_loss_without_annealing_effect_is_withheld():
    areas = annealing_areas(COSINE)
    losses = (2.6 + 0.4 * areas.forward**-0.5)[LOGGED - 1]
    losses = losses * np.exp(0.004 * np.random.default_rng(0).standard_normal(len(LOGGED)))
    assert fit_annealing_law(losses, COSINE, steps=LOGGED).verdict is Verdict.WITHHELD


def test_bad_calls_are_refused():
    with pytest.raises(ShapeError, match="one step for each loss"):
        fit_annealing_law(np.ones(200), COSINE)
    with pytest.raises(ArgumentError, match="at least 100"):
        fit_annealing_law(np.ones(50), COSINE, steps=np.arange(1, 51))
    with pytest.raises(ArgumentError, match="steps must increase"):
        fit_annealing_law(np.ones(200), COSINE, steps=np.arange(200))
    with pytest.raises(ArgumentError, match="level"):
        fit_annealing_law(np.ones(COUNT), COSINE, level=1.0)
