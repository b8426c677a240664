"""The stable limits against the exact spectral radius of the second-moment operator, and against scalar recursions."""

from dataclasses import replace

import numpy as np
import pytest

from spectra.errors import ArgumentError
from spectra.recommend.optimizer import OptimizerSpec
from spectra.recommend.second_moment import recursion_limit
from spectra.recommend.stability import (
    effective_noise_fraction,
    limit_exponent,
    local_exponent,
    noise_share,
    saturation_batch_size,
    stable_limit,
)

SPECS = {
    "sgd": OptimizerSpec(kind="sgd"),
    "momentum": OptimizerSpec(kind="momentum"),
    "dampened": OptimizerSpec(kind="momentum", momentum=0.8, dampening=0.3),
    "nesterov": OptimizerSpec(kind="nesterov"),
    "nesterov, little": OptimizerSpec(kind="nesterov", momentum=0.2),
    "nesterov, much": OptimizerSpec(kind="nesterov", momentum=0.99),
    "adam": OptimizerSpec(kind="adam"),
    "adamw": OptimizerSpec(kind="adamw"),
    "adamw, decayed": OptimizerSpec(kind="adamw", weight_decay=0.05),
    "adamw, decayed most": OptimizerSpec(kind="adamw", weight_decay=40.0),
    "rmsprop": OptimizerSpec(kind="rmsprop"),
    "rmsprop, momentum": OptimizerSpec(kind="rmsprop", momentum=0.7),
}
EVERY_SPEC = pytest.mark.parametrize("optimizer", SPECS.values(), ids=SPECS.keys())


@EVERY_SPEC
@pytest.mark.parametrize("batch_size", [1, 7, 64, 4096])
def test_closed_forms_equal_the_scalar_second_moment_recursion(optimizer, batch_size):
    curvature, noise = 1.7, 23.0
    exact = recursion_limit(curvature, noise, batch_size=batch_size, optimizer=optimizer)
    limit = stable_limit(curvature, noise, batch_size=batch_size, optimizer=optimizer)
    # Along one mode every form is exact; a spectral radius is known to rounding only, hence the eight digits.
    np.testing.assert_allclose(limit, exact, rtol=1e-8)


@pytest.mark.parametrize(
    ("optimizer", "expected"),
    [
        (OptimizerSpec(kind="sgd"), 2 / 3),
        (OptimizerSpec(kind="momentum"), 2 * 1.9 / 3),
        (OptimizerSpec(kind="momentum", dampening=0.9), 38 / 3),
        (OptimizerSpec(kind="nesterov"), 2 * 1.9 / 2.8 / 3),
        (OptimizerSpec(kind="adam"), 38 / 3),
        (OptimizerSpec(kind="adamw"), 38 / 3),
        (OptimizerSpec(kind="rmsprop"), 2 / 3),
        (OptimizerSpec(kind="rmsprop", momentum=0.5), 1.0),
    ],
    ids=lambda value: value.label if isinstance(value, OptimizerSpec) else "",
)
def test_without_noise_the_limits_are_the_deterministic_ones(optimizer, expected):
    np.testing.assert_allclose(stable_limit(3.0, 0.0, batch_size=5, optimizer=optimizer), expected, rtol=1e-12)


@pytest.mark.parametrize("kind", ["momentum", "nesterov", "rmsprop"])
def test_without_momentum_nothing_is_left_but_plain_sgd(kind):
    tiny = {"momentum": 1e-12} if kind == "nesterov" else {"momentum": 0.0}
    limit = stable_limit(1.3, 9.0, batch_size=3, optimizer=OptimizerSpec(kind=kind, **tiny))
    plain = stable_limit(1.3, 9.0, batch_size=3, optimizer=OptimizerSpec(kind="sgd"))
    np.testing.assert_allclose(limit, plain, rtol=1e-10)


@pytest.mark.parametrize("kind", ["momentum", "nesterov"])
def test_where_noise_limits_momentum_buys_no_stability(kind):
    limit = stable_limit(1.0, 1e9, batch_size=1, optimizer=OptimizerSpec(kind=kind, momentum=0.9))
    plain = stable_limit(1.0, 1e9, batch_size=1, optimizer=OptimizerSpec(kind="sgd"))
    np.testing.assert_allclose(limit / (1 - 0.9), plain, rtol=1e-6)


@pytest.mark.parametrize("factor", [0.98, 1.02])
@pytest.mark.parametrize(
    "kwargs",
    [{"momentum": 0.9, "nesterov": True}, {"momentum": 0.8, "dampening": 0.3}, {"momentum": 0.9}],
    ids=["nesterov", "dampened", "heavy ball"],
)
def test_torch_itself_crosses_from_decay_to_growth_at_the_limit(kwargs, factor):
    torch = pytest.importorskip("torch")
    kind = "nesterov" if kwargs.get("nesterov") else "momentum"
    spec = OptimizerSpec(kind=kind, momentum=kwargs["momentum"], dampening=kwargs.get("dampening", 0.0))
    curvature = 2.5
    weight = torch.nn.Parameter(torch.ones(1, dtype=torch.float64))
    rate = factor * float(stable_limit(curvature, 0.0, batch_size=1, optimizer=spec))
    optimizer = torch.optim.SGD([weight], lr=rate, **kwargs)
    for _ in range(1000):
        weight.grad = curvature * weight.detach()
        optimizer.step()
    assert (abs(weight.item()) < 1) == (factor < 1)


@pytest.mark.parametrize("factor", [0.98, 1.02])
def test_torch_crosses_at_the_limit_of_averaged_momentum_with_decoupled_decay(factor):
    torch = pytest.importorskip("torch")
    # Gradients far below eps leave the denominator at eps = 1, so that the space is that of the parameters.
    spec = OptimizerSpec(kind="adamw", weight_decay=0.5)
    rate = factor * float(stable_limit(1.5, 0.0, batch_size=1, optimizer=spec))
    start = 1e-9
    weight = torch.nn.Parameter(torch.full((1,), start, dtype=torch.float64))
    optimizer = torch.optim.AdamW([weight], lr=rate, eps=1.0, weight_decay=0.5)
    for _ in range(1000):
        weight.grad = 1.5 * weight.detach()
        optimizer.step()
    assert (abs(weight.item()) < start) == (factor < 1)


def sample_hessians(seed: int, heavy: bool) -> np.ndarray:
    rng = np.random.default_rng(seed)
    scale = np.array([2.0, 1.0, 0.5, 0.25])
    rows = rng.standard_t(3, (300, 4)) if heavy else rng.standard_normal((300, 4))
    rows = rows * scale
    return rows[:, :, None] * rows[:, None, :]


def exact_limit(hessians: np.ndarray, batch_size: int, optimizer: OptimizerSpec) -> float:
    """Largest stable rate from the full second-moment operator of (w, m), independent batches of ``batch_size``."""
    mean = hessians.mean(0)
    size = len(mean)
    covariance = np.einsum("nij,nkl->ikjl", hessians, hessians).reshape(size**2, size**2) / len(hessians)
    covariance = (covariance - np.kron(mean, mean)).reshape([size] * 4) / batch_size
    identity = np.eye(size)
    beta = optimizer.beta
    direct, from_buffer = (1 + beta, beta**2) if optimizer.kind == "nesterov" else (1 - optimizer.dampening, beta)

    def radius(rate: float) -> float:
        entering = 1 - optimizer.dampening
        step = np.block(
            [[identity - rate * direct * mean, -rate * from_buffer * identity], [entering * mean, beta * identity]]
        )
        second = np.kron(step, step).reshape([2 * size] * 4)
        for row, left in ((0, -rate * direct), (1, entering)):
            for column, right in ((0, -rate * direct), (1, entering)):
                rows = slice(row * size, (row + 1) * size)
                columns = slice(column * size, (column + 1) * size)
                second[rows, columns, :size, :size] += left * right * covariance
        return float(np.abs(np.linalg.eigvals(second.reshape((2 * size) ** 2, -1))).max())

    low, high = 0.0, 10.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if radius(middle) < 1 else (low, middle)
    return low


@pytest.mark.parametrize("heavy", [False, True])
@pytest.mark.parametrize("name", ["sgd", "momentum", "dampened", "nesterov"])
@pytest.mark.parametrize("batch_size", [1, 4, 16, 64, 1024])
def test_limit_against_the_exact_second_moment_operator(heavy, name, batch_size):
    hessians = sample_hessians(3, heavy)
    optimizer = SPECS[name]
    mean = hessians.mean(0)
    curvatures, vectors = np.linalg.eigh(mean)
    spread = hessians - mean
    noise = np.array([np.mean(np.sum((spread @ v) ** 2, axis=1)) for v in vectors.T])
    limit = stable_limit(curvatures, noise, batch_size=batch_size, optimizer=optimizer).min()
    ratio = limit / exact_limit(hessians, batch_size, optimizer)
    # Approximate: noise scattered out of v is counted as if it stayed. The ratios of these cases lie in 0.92 .. 1.00.
    assert 0.9 <= ratio <= 1 + 1e-6


@pytest.mark.parametrize("batch_size", [1, 4, 16, 64])
def test_limit_of_nesterov_with_much_momentum_errs_on_the_safe_side_only(batch_size):
    hessians = sample_hessians(3, heavy=False)
    curvatures, vectors = np.linalg.eigh(hessians.mean(0))
    spread = hessians - hessians.mean(0)
    noise = np.array([np.mean(np.sum((spread @ v) ** 2, axis=1)) for v in vectors.T])
    optimizer = SPECS["nesterov, much"]
    limits = stable_limit(curvatures, noise, batch_size=batch_size, optimizer=optimizer)
    exact = exact_limit(hessians, batch_size, optimizer)
    assert limits.min() <= exact * (1 + 1e-6)
    # Flat directions are what makes it low where noise limits: the steepest one alone gives 0.98 of it or more.
    assert limits[-1] >= 0.98 * exact


def test_one_rare_sample_along_a_weaker_direction_is_seen_by_the_minimum_only():
    hessians = np.zeros((1000, 2, 2))
    hessians[:, 0, 0] = 1.0
    hessians[0, 1, 1] = 900.0
    mean = hessians.mean(0)
    noise = np.array([np.mean((hessians[:, i, i] - mean[i, i]) ** 2) for i in range(2)])
    limits = stable_limit(np.diag(mean), noise, batch_size=1, optimizer=OptimizerSpec(kind="sgd"))
    assert limits[0] == pytest.approx(2.0)
    assert limits.min() < 0.01
    assert limits.min() == pytest.approx(exact_limit(hessians, 1, OptimizerSpec(kind="sgd")), rel=1e-6)


@EVERY_SPEC
def test_saturation_batch_is_where_the_limit_is_half_its_saturated_value(optimizer):
    saturation = float(saturation_batch_size(2.0, 50.0, optimizer=optimizer))
    half = stable_limit(2.0, 50.0 / saturation, batch_size=1, optimizer=optimizer)
    np.testing.assert_allclose(half, stable_limit(2.0, 0.0, batch_size=1, optimizer=optimizer) / 2, rtol=1e-12)
    share = noise_share(2.0, 50.0 / saturation, batch_size=1, optimizer=optimizer)
    np.testing.assert_allclose(share, 0.5, rtol=1e-12)


def test_saturation_batch_of_nesterov_is_its_closed_form():
    saturation = saturation_batch_size(2.0, 50.0, optimizer=OptimizerSpec(kind="nesterov"))
    np.testing.assert_allclose(saturation, 1.9**2 / (1 + 1.8 - 0.81) * 50.0 / 4, rtol=1e-12)


@EVERY_SPEC
@pytest.mark.parametrize("num_samples", [None, 100])
def test_local_exponent_is_the_slope_in_logarithms(optimizer, num_samples):
    setting = {"optimizer": optimizer, "num_samples": num_samples}
    step = 1e-5
    up, down = (np.log(stable_limit(2.0, 50.0, batch_size=40 * np.exp(s), **setting)) for s in (step, -step))
    exponent = local_exponent(2.0, 50.0, batch_size=40, **setting)
    # A central difference errs by step^2 = 1e-10 relatively, and by eps/step = 2e-11 absolutely, from rounding.
    np.testing.assert_allclose((up - down) / (2 * step), exponent, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", ["sgd", "momentum", "dampened", "adam", "rmsprop, momentum"])
def test_local_exponent_is_a_function_of_the_saturation_batch_for_heavy_balls(name):
    optimizer = SPECS[name]
    saturation = saturation_batch_size(2.0, 50.0, optimizer=optimizer)
    exponent = local_exponent(2.0, 50.0, batch_size=40, optimizer=optimizer)
    np.testing.assert_allclose(exponent, limit_exponent(40, saturation), rtol=1e-12)


@EVERY_SPEC
@pytest.mark.parametrize("scale", [1e-14, 1e14])
def test_scaling_the_loss_scales_the_limit_inversely(optimizer, scale):
    decay = optimizer.weight_decay
    scaled_optimizer = replace(optimizer, weight_decay=decay * scale)
    base = stable_limit(2.0, 50.0, batch_size=16, optimizer=optimizer)
    scaled = stable_limit(2.0 * scale, 50.0 * scale**2, batch_size=16, optimizer=scaled_optimizer)
    np.testing.assert_allclose(scaled * scale, base, rtol=1e-12)


def test_negative_curvature_sets_no_limit():
    assert stable_limit(-1.0, 2.0, batch_size=4, optimizer=OptimizerSpec(kind="sgd")) == np.inf


def test_decoupled_weight_decay_counts_with_the_gain_of_momentum_and_alone_is_two_over_decay():
    decayed = OptimizerSpec(kind="adamw", weight_decay=1.0)
    assert stable_limit(1.0, 0.0, batch_size=1, optimizer=decayed) == pytest.approx(38 / 20)
    assert stable_limit(1e-12, 0.0, batch_size=1, optimizer=decayed) == pytest.approx(2.0)


def test_optimizers_without_a_limit_are_refused_with_their_reason():
    lion = OptimizerSpec(kind="lion")
    for rule in (stable_limit, noise_share, local_exponent):
        with pytest.raises(ArgumentError, match="signs of averaged gradients"):
            rule(1.0, 1.0, batch_size=1, optimizer=lion)
    with pytest.raises(ArgumentError, match="signs of averaged gradients"):
        saturation_batch_size(1.0, 1.0, optimizer=lion)


def test_directions_without_positive_curvature_have_no_saturation_share_or_exponent():
    optimizer = OptimizerSpec(kind="nesterov")
    assert np.isnan(saturation_batch_size([-1.0, 0.0], 1.0, optimizer=optimizer)).all()
    assert np.isnan(noise_share([-1.0, 0.0], 1.0, batch_size=2, optimizer=optimizer)).all()
    assert np.isnan(local_exponent([-1.0, 0.0], 1.0, batch_size=2, optimizer=optimizer)).all()


def test_full_batch_without_replacement_has_no_noise():
    assert effective_noise_fraction(100, 100) == 0
    rng = np.random.default_rng(0)
    values = rng.standard_normal(40)
    means = [rng.choice(values, 10, replace=False).mean() for _ in range(20000)]
    expected = values.var(ddof=1) * effective_noise_fraction(10, 40)
    # Standard error of a sample variance of 20000 nearly normal means: sqrt(2/20000) = 1%.
    assert abs(np.var(means) / expected - 1) < 4 * 0.01


@pytest.mark.parametrize("arguments", [(0, None), (101, 100)])
def test_batch_sizes_outside_the_data_are_refused(arguments):
    with pytest.raises(ArgumentError, match="batch_size"):
        effective_noise_fraction(*arguments)


def test_negative_noise_is_refused():
    with pytest.raises(ArgumentError, match="must not be negative"):
        stable_limit(1.0, -1.0, batch_size=1, optimizer=OptimizerSpec(kind="sgd"))
