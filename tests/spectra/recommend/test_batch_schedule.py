"""The norm test: exact fixed points, coverage of the interval, and refusals."""

import numpy as np
import pytest

from spectra.errors import ArgumentError
from spectra.recommend import PairStatistic, Verdict, gradient_statistics, next_batch_size
from spectra.recommend.noise_scale import GradientStatistics


def known(squared, trace, error=0.01):
    """Return statistics with the given values and small relative errors."""

    def statistic(value, sign):
        spread = value * (1 + sign * error * np.linspace(-1, 1, 24) / 24)
        return PairStatistic(value=value, leave_one_out=spread, stderr=error * abs(value))

    one = statistic(1.0, 1)
    return GradientStatistics(
        squared_gradient=statistic(squared, 1),
        trace_covariance=statistic(trace, -1),
        gradient_curvature=one,
        noise_curvature=one,
    )


def drawn(rng, mean, scale, *, count=24, size=16):
    gradients = mean + scale * rng.standard_normal((count, len(mean))) / np.sqrt(size)
    gram = gradients @ gradients.T
    return gradient_statistics(gram, gram, batch_size=size)


def test_the_recommended_batch_just_passes_the_test():
    theta, squared, trace = 0.3, 2.0, 500.0
    advice = next_batch_size(known(squared, trace), batch_size=8, theta=theta)
    assert trace / advice.value <= theta**2 * squared < trace / (advice.value - 1)
    assert advice.verdict is Verdict.SUPPORTED
    assert advice.low <= advice.value <= advice.high


def test_finite_data_need_smaller_batches_and_never_more_than_all():
    advice = next_batch_size(known(1.0, 1e6), batch_size=8, num_samples=1000)
    passing = advice.evidence["passing_batch_size"]
    np.testing.assert_allclose(1e6 * (1 / passing - 1 / 1000), 0.25, rtol=1e-9)
    assert advice.value == 1000
    assert advice.high <= 1000


def test_batch_never_shrinks():
    advice = next_batch_size(known(100.0, 1.0), batch_size=64)
    assert (advice.value, advice.low, advice.high) == (64, 64, 64)
    assert "keep" in advice.reason


def test_biased_form_has_the_fixed_point_and_the_bound_that_are_stated():
    theta, squared, trace = 0.5, 2.0, 300.0
    right = trace / (theta**2 * squared)
    at_fixed_point = (1 - theta**2) * right
    advice = next_batch_size(known(squared, trace), batch_size=round(at_fixed_point), theta=theta)
    np.testing.assert_allclose(advice.evidence["biased_batch_size"], at_fixed_point, rtol=1e-12)
    late = next_batch_size(known(1e-6, trace), batch_size=32, theta=theta)
    assert late.evidence["biased_batch_size"] < 32 / theta**2
    assert late.value > 1000 * late.evidence["biased_batch_size"]


def test_interval_covers():
    rng = np.random.default_rng(3)
    mean, scale, repeats = np.full(20, 0.5), 3.0, 400
    truth = 20 * scale**2 / (0.25 * mean @ mean)
    covered = 0
    for _ in range(repeats):
        advice = next_batch_size(drawn(rng, mean, scale), batch_size=1)
        assert advice.verdict is Verdict.SUPPORTED
        covered += advice.low <= np.ceil(truth) and np.floor(truth) <= advice.high
    # 95 % nominal; the binomial standard error at 400 repeats is 1.1 points
    assert covered / repeats > 0.95 - 4 * 0.011


def test_unresolved_gradient_is_withheld_with_a_lower_bound():
    advice = next_batch_size(drawn(np.random.default_rng(0), np.zeros(50), 1.0), batch_size=32)
    assert advice.verdict is Verdict.WITHHELD
    assert (advice.value, advice.low, advice.high) == (None, None, None)
    assert "||G||^2 is resolved" in advice.reason
    assert advice.evidence["low"] > 32


def test_request_beyond_the_machine_is_cut_and_tentative():
    advice = next_batch_size(known(1.0, 1000.0), batch_size=32, max_batch_size=256)
    assert advice.value == 256
    assert advice.verdict is Verdict.TENTATIVE
    assert "accumulate" in advice.reason


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": 9, "num_samples": 8}, "samples of the data"),
        ({"batch_size": 8, "theta": 1.0}, "theta"),
        ({"batch_size": 8, "level": 0.0}, "level"),
        ({"batch_size": 8, "max_batch_size": 4}, "max_batch_size"),
    ],
)
def test_bad_calls_are_refused(arguments, word):
    with pytest.raises(ArgumentError, match=word):
        next_batch_size(known(1.0, 1.0), **arguments)
