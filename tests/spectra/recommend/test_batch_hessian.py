"""Batch Hessians: exact limits, the two branches against random matrices, and the size of the measuring set."""

import numpy as np
import pytest

from spectra.errors import ArgumentError
from spectra.recommend import PairStatistic, Verdict, batch_curvature, batch_hessian_curve, measurement_set_size


def statistic(value, error=0.1):
    return PairStatistic(value=value, leave_one_out=np.full(24, value), stderr=error * abs(value))


@pytest.mark.parametrize("spike", [3.0, 1.5, 0.8, 0.0])
def test_branches_against_random_matrices(spike):
    """A spike in white symmetric noise of total variance 0.6, order 600."""
    dimension, variance, repeats = 600, 0.6, 6
    rng = np.random.default_rng(0)
    largest = []
    for _ in range(repeats):
        draw = rng.standard_normal((dimension, dimension)) * np.sqrt(variance / dimension)
        matrix = (draw + draw.T) / np.sqrt(2)
        matrix[0, 0] += spike
        largest.append(np.linalg.eigvalsh(matrix)[-1])
    predicted = float(batch_curvature(spike, variance, noise_fraction=1.0))
    # an outlier fluctuates like sqrt(2 variance/600) = 0.045, so 4 standard errors of the mean are 0.073
    assert abs(np.mean(largest) - predicted) < 4 * np.sqrt(2 * variance / dimension / repeats)


def test_branches_meet_with_equal_slopes():
    below, at, above = batch_curvature([1 - 1e-6, 1.0, 1 + 1e-6], 1.0, noise_fraction=1.0)
    assert below == at == 2.0
    np.testing.assert_allclose(above, 2.0, atol=1e-11)


def test_all_samples_are_exact_and_large_batches_follow_the_shift():
    curve = batch_hessian_curve(
        [10, 1000, 5000], curvature=4.0, direction_noise=50.0, isotropic_noise=0.5, num_samples=5000
    )
    assert curve["measured_direction"].dims == ("batch_size",)
    assert float(curve["measured_direction"].sel(batch_size=5000)) == 4.0
    expected = 4.0 + 50.0 * (1 / 1000 - 1 / 5000) / 4.0
    np.testing.assert_allclose(curve["measured_direction"].sel(batch_size=1000), expected)
    assert bool((curve["isotropic"] <= curve["measured_direction"]).all())


def test_threshold_separates_the_branches():
    curve = batch_hessian_curve([1], curvature=2.0, direction_noise=64.0, isotropic_noise=0.1, num_samples=1000)
    size = curve["measured_direction"].attrs["threshold_batch_size"]
    np.testing.assert_allclose(64.0 * (1 / size - 1 / 1000), 4.0)
    assert curve["isotropic"].attrs["threshold_batch_size"] == 1.0


@pytest.mark.parametrize("num_samples", [None, 500])
def test_measuring_set_meets_its_tolerance(num_samples):
    advice = measurement_set_size(
        curvature=3.0, curvature_noise=statistic(90.0), tolerance=0.02, num_samples=num_samples
    )
    rest = 1 / num_samples if num_samples else 0.0

    def bias(size):
        return 90.0 * (1 / size - rest) / 9.0

    assert bias(advice.value) <= 0.02 < bias(advice.value - 1)
    assert advice.verdict is Verdict.SUPPORTED
    assert advice.low < advice.value < advice.high
    assert num_samples is None or advice.high <= num_samples


def test_bias_of_a_subset_is_that_of_sampled_hessians():
    """Least squares with one strong feature: mean over subsets of the size recommended."""
    rng = np.random.default_rng(1)
    rows = rng.standard_normal((4000, 200)) * np.sqrt(np.r_[20.0, np.full(199, 0.2)])
    values, vectors = np.linalg.eigh(rows.T @ rows / len(rows))
    top = vectors[:, -1]
    noise = np.mean(np.sum(((rows @ top)[:, None] * rows - values[-1] * top) ** 2, axis=1))
    # the part along the direction itself moves the eigenvalue up or down, without bias
    along = np.mean(((rows @ top) ** 2 - values[-1]) ** 2)
    size, subsets = 60, []
    for _ in range(300):
        chosen = rows[rng.permutation(len(rows))[:size]]
        subsets.append(np.linalg.eigvalsh(chosen.T @ chosen / size)[-1])
    fraction = 1 / size - 1 / len(rows)
    measured, error = np.mean(subsets), np.std(subsets, ddof=1) / np.sqrt(len(subsets))
    leak = values[-1] + fraction * (noise - along) / values[-1]
    total = float(batch_curvature(values[-1], noise, noise_fraction=fraction))
    assert abs(measured - leak) < 4 * error
    assert total > leak


@pytest.mark.parametrize(
    ("curvature", "noise", "verdict", "claim"),
    [
        (-1.0, statistic(1.0), Verdict.WITHHELD, "largest curvature is positive"),
        (1.0, statistic(-1.0), Verdict.WITHHELD, "noise is positive"),
        (1.0, statistic(1.0, 1.5), Verdict.WITHHELD, "noise is resolved"),
        (1.0, statistic(1.0, 0.7), Verdict.TENTATIVE, "noise is resolved"),
    ],
)
def test_bad_evidence_lowers_the_verdict(curvature, noise, verdict, claim):
    advice = measurement_set_size(curvature=curvature, curvature_noise=noise)
    assert advice.verdict is verdict
    assert claim in advice.reason
    assert (advice.value is None) == (verdict is Verdict.WITHHELD)


def test_bad_calls_are_refused():
    with pytest.raises(ArgumentError, match="not negative"):
        batch_curvature(1.0, -1.0, noise_fraction=1.0)
    with pytest.raises(ArgumentError, match="curvature must be positive"):
        batch_hessian_curve([4], curvature=0.0, direction_noise=1.0, isotropic_noise=1.0)
    with pytest.raises(ArgumentError, match="batch_size"):
        batch_hessian_curve([0], curvature=1.0, direction_noise=1.0, isotropic_noise=1.0)
    with pytest.raises(ArgumentError, match="tolerance"):
        measurement_set_size(curvature=1.0, curvature_noise=statistic(1.0), tolerance=0.0)
