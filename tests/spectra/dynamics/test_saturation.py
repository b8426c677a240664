import numpy as np
import pytest

from spectra.dynamics import Quadratic, batch_saturation, implicit_conditioning_ratio, kernel_norm
from spectra.errors import ArgumentError
from tests.spectra.dynamics.least_squares import gaussian_problem


def ladder(condition=100.0, count=60):
    lam = np.geomspace(1 / condition, 1.0, count)
    return Quadratic(eigenvalue=lam, multiplicity=np.ones(count), initial_loss=lam / 2, num_samples=10**7)


def test_small_batches_share_samples_and_large_ones_share_steps():
    table = batch_saturation(ladder(), closure="limit", batch_sizes=[1, 2, 1000, 2000])
    steps, samples = table["num_steps"].values, table["num_samples"].values
    assert samples[1] == pytest.approx(samples[0], rel=0.05)
    assert steps[3] == pytest.approx(steps[2], rel=0.1)
    assert np.all(np.diff(steps) <= 0)
    assert np.all(np.diff(samples) >= -0.01 * samples[0])


def test_the_knee_is_where_samples_have_doubled():
    sizes = 4 ** np.arange(6)
    table = batch_saturation(ladder(), closure="limit", batch_sizes=sizes)
    samples = dict(zip(sizes.tolist(), table["num_samples"].values, strict=True))
    knee = table.attrs["knee"]
    assert samples[knee] <= 2 * min(samples.values())
    assert samples[4 * knee] > 2 * min(samples.values())


def test_momentum_needs_large_batches_to_be_faster():
    """At batch size 1 the heavy ball is SGD at lr / (1 - momentum); beyond the conditioning ratio it is faster."""
    problem = ladder(50.0, 10)
    ratio = implicit_conditioning_ratio(problem)
    sizes = [1, 16 * round(ratio)]
    plain, heavy = (
        batch_saturation(problem, closure="limit", batch_sizes=sizes, momentum=momentum, target=1e-4)[
            "num_steps"
        ].values
        for momentum in (0.0, 0.6)
    )
    assert heavy[0] == pytest.approx(plain[0], rel=0.1)
    assert heavy[1] < 0.5 * plain[1]


@pytest.mark.parametrize("condition", [30.0, 1000.0, 1e5])
def test_the_ratio_is_where_an_accelerated_heavy_ball_becomes_stable(condition):
    """The kernel norm is 1/B times a sum that is the batch size from which on it is below 1."""
    problem = ladder(condition)
    root = np.sqrt(condition)
    beta = ((root - 1) / (root + 1)) ** 2
    rate = 0.5 * (1 + np.sqrt(beta)) ** 2 / problem.largest
    needed = kernel_norm(problem, closure="limit", learning_rate=rate, noise=1.0, momentum=beta)
    assert 1 / 4 < needed / implicit_conditioning_ratio(problem) < 1 / 2


def test_targets_out_of_reach_are_missing_numbers():
    table = batch_saturation(gaussian_problem(), closure="limit", batch_sizes=[1, 2], target=1e-9)
    assert np.all(np.isnan(table["num_steps"]))
    assert np.isnan(table.attrs["knee"])
    assert np.all(table["critical_learning_rate"] > 0)


def test_sizes_that_cannot_be():
    with pytest.raises(ArgumentError, match="at least one"):
        batch_saturation(gaussian_problem(), closure="limit", batch_sizes=[])
    with pytest.raises(ArgumentError, match="does not fit"):
        batch_saturation(gaussian_problem(), closure="limit", batch_sizes=[61])
