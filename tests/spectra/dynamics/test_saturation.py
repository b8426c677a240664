import numpy as np
import pytest

from spectra.dynamics import (
    Quadratic,
    batch_saturation,
    implicit_conditioning_ratio,
    kernel_norm,
    sgd_curve,
    stability,
    steps_to_target,
)
from spectra.dynamics.saturation import LOWEST, NUM_RATES, batch_sizes_around
from spectra.errors import ArgumentError
from tests.spectra.dynamics.least_squares import gaussian_problem, one_mode


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
    with pytest.raises(ArgumentError, match="target"):
        batch_saturation(gaussian_problem(), closure="limit", batch_sizes=[6], target=np.nan)
    for function in (implicit_conditioning_ratio, lambda p: batch_saturation(p, closure="limit", batch_sizes=[1])):
        with pytest.raises(ArgumentError, match="Quadratic"):
            function(None)


@pytest.mark.parametrize("closure", ["limit", "kurtosis"])
@pytest.mark.parametrize("momentum", [0.0, 0.8])
def test_fewest_steps_are_the_fewest_until_the_loss_stays_below(closure, momentum):
    """Over all rates tried, from long curves: one step after the last one above the target."""
    problem = gaussian_problem(200, 20)
    target = problem.floor + 0.2 * (problem.loss - problem.floor)
    settings = {"closure": closure, "momentum": momentum}
    found = batch_saturation(problem, batch_sizes=[4, 64, 200], target=target, max_steps=960, **settings)
    for i, size in enumerate(found["batch_size"].values.tolist()):
        limits = stability(problem, batch_size=size, **settings)
        cap = 0.8 * min(limits.usable, limits.noise_free_learning_rate)
        stays = []
        for rate in cap * np.geomspace(1, LOWEST, NUM_RATES):
            curve = sgd_curve(
                problem, learning_rate=rate, batch_size=size, num_steps=3000, record=np.arange(3001), **settings
            )
            above = np.flatnonzero(curve.loss.values > target)
            if above[-1] < 3000:
                stays.append(above[-1] + 1)
        assert found["num_steps"].values[i] == min(stays)
        assert found["num_samples"].values[i] == min(stays) * size


def test_larger_batches_never_take_more_steps():
    """A heavy ball settles late at most rates that are tried with large batches, but not at one of a smaller batch."""
    problem = gaussian_problem(400, 50, seed=8)
    sizes = [64, 128, 256, 400]
    found = batch_saturation(problem, closure="limit", batch_sizes=sizes, momentum=0.9)
    steps, rates = found["num_steps"].values, found["learning_rate"].values
    assert np.all(np.diff(steps) <= 0)
    assert np.any(np.diff(rates) == 0)
    curve = sgd_curve(
        problem, closure="limit", learning_rate=rates[2], batch_size=256, momentum=0.9, num_steps=500, record=range(501)
    )
    assert np.flatnonzero(curve.loss.values > found.attrs["target"])[-1] + 1 == steps[2]


def test_a_size_that_reaches_nothing_leaves_larger_ones_alone():
    problem = gaussian_problem(200, 20)
    target = problem.floor + 0.1 * (problem.loss - problem.floor)
    found = batch_saturation(problem, closure="limit", batch_sizes=[1, 200], target=target, max_steps=30)
    assert np.isnan(found["num_steps"].values[0])
    assert found["num_steps"].values[1] <= 30


def test_a_dip_below_the_target_is_not_enough():
    """A heavy ball with full batches overshoots: two steps are below the target, and the loss comes back."""
    problem = Quadratic(
        eigenvalue=np.array([1.0, 0.9]), multiplicity=np.ones(2), initial_loss=np.array([1.0, 0.5]), num_samples=1000
    )
    found = batch_saturation(problem, closure="limit", batch_sizes=[1000], target=0.02, momentum=0.95)
    assert found["num_steps"].values[0] > 50
    dip = steps_to_target(
        problem,
        0.02,
        closure="limit",
        learning_rate=float(found["learning_rate"][0]),
        batch_size=1000,
        momentum=0.95,
    )
    assert dip.status == "passing"
    assert dip.num_steps < 50


def test_one_mode_without_noise():
    """Closed form: (1 - rate x eigenvalue)^2 of the loss is left by a step, least at 0.588, the second rate tried."""
    found = batch_saturation(
        one_mode(eigenvalue=2.0, num_samples=8), closure="limit", batch_sizes=[8], target=1e-6, max_steps=100
    )
    rate = found["learning_rate"].values[0]
    assert rate == pytest.approx(0.8 * LOWEST ** (1 / (NUM_RATES - 1)))
    assert found["num_steps"].values[0] == np.ceil(np.log(1e-6) / np.log((1 - 2 * rate) ** 2)) == 4


def test_a_target_that_takes_too_long_is_missing():
    problem = gaussian_problem()
    target = problem.floor + 0.01 * (problem.loss - problem.floor)
    short, long = (
        batch_saturation(problem, closure="limit", batch_sizes=[60], target=target, max_steps=steps)["num_steps"].values
        for steps in (5, 5000)
    )
    assert np.isnan(short[0])
    assert long[0] > 5


def test_a_target_that_is_met_at_the_start_takes_no_step():
    problem = gaussian_problem()
    found = batch_saturation(problem, closure="limit", batch_sizes=[4], target=problem.loss)
    assert found["num_steps"].values.tolist() == [0.0]


def test_batch_sizes_fit_the_data():
    assert batch_sizes_around(one_mode(), 1) == [1, 4, 16, 64]
    assert batch_sizes_around(gaussian_problem(200, 5), 200) == [12, 50, 200]
    assert batch_sizes_around(gaussian_problem(200, 5), 1) == [1, 4, 16, 64, 200]


@pytest.mark.parametrize("closure", ["row_resolved", "exact", "continuous"])
def test_closures_without_modes_are_refused(closure):
    with pytest.raises(ArgumentError, match="times are found for"):
        batch_saturation(gaussian_problem(), closure=closure, batch_sizes=[1])
