import numpy as np
import pytest
from scipy.linalg import solve_discrete_lyapunov

from spectra.dynamics.stationary import stationary_loss
from spectra.errors import ArgumentError, NonFiniteError, ShapeError

CURVATURE = np.geomspace(0.01, 1.0, 7)
NOISE = np.linspace(0.5, 3.0, 7)
METHODS = ["sgd", "sam", "signsgd", "adam", "adamw"]


def loss(method, *, rate=0.01, curvature=CURVATURE, noise=NOISE, **settings):
    return stationary_loss(method, curvature=curvature, noise=noise, learning_rate=rate, **settings)


def variance_of(step, kick):
    """Return the stationary variance of x in the process z <- step z + kick xi of the state (x, buffer)."""
    return solve_discrete_lyapunov(step, np.outer(kick, kick), method="direct")[0, 0]


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.95])
@pytest.mark.parametrize(("decay", "radius"), [(0.0, 0.0), (0.3, 0.0), (0.3, 0.7)])
def test_linear_methods_solve_the_equation_of_their_covariance(momentum, decay, radius):
    rate, lam, s, batch = 0.3, np.array([0.1, 2.0]), np.array([1.0, 0.4]), 4
    found = loss("sam", rate=rate, curvature=lam, noise=s, momentum=momentum, weight_decay=decay, radius=radius,
                 batch_size=batch)  # fmt: skip
    for value, curvature, sd in zip(found.mode_losses, lam, s / 2, strict=True):
        slope, kick = curvature * (1 + radius * curvature) + decay, (1 + radius * curvature) * sd
        step = np.array([[1 - rate * slope, -rate * momentum], [slope, momentum]])
        expected = curvature / 2 * variance_of(step, np.array([-rate * kick, kick]))
        np.testing.assert_allclose(value, expected, rtol=1e-9)


@pytest.mark.parametrize("method", ["adam", "adamw"])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("rate", [0.003, 0.3, 30.0])
def test_adam_has_the_covariance_of_the_preconditioner_that_it_implies(method, momentum, rate):
    lam, s, decay = 0.7, 0.5, 0.05
    found = loss(method, rate=rate, curvature=[lam], noise=[s], momentum=momentum, weight_decay=decay)
    variance = 2 * found.value / lam
    coupled, lost = (decay, 0.0) if method == "adam" else (0.0, rate * decay)
    preconditioner = np.sqrt(s**2 + (lam + coupled) ** 2 * variance)
    h, new = rate / preconditioner, 1 - momentum
    step = np.array([[1 - lost - h * new * (lam + coupled), -h * momentum], [new * (lam + coupled), momentum]])
    expected = variance_of(step, np.array([-h * new * s, new * s]))
    # At the largest rate the preconditioner is so close to the stability limit that five digits of it cancel.
    np.testing.assert_allclose(variance, expected, rtol=1e-6)
    np.testing.assert_allclose(found.signal_to_noise, (lam + coupled) * np.sqrt(variance) / s, rtol=1e-12)


def test_signsgd_solves_its_equation_and_ends_at_one_step_without_noise():
    rate, lam, s = 0.4, 0.7, 0.5
    variance = 2 * loss("signsgd", rate=rate, curvature=[lam], noise=[s]).value / lam
    gained = 2 * rate * np.sqrt(2 / np.pi) * lam * variance / np.sqrt(s**2 + lam**2 * variance)
    np.testing.assert_allclose(gained, rate**2, rtol=1e-12)
    quiet = loss("signsgd", rate=rate, curvature=[lam], noise=[1e-9])
    np.testing.assert_allclose(2 * quiet.value / lam, np.pi / 8 * rate**2, rtol=1e-6)
    assert not quiet.preconditions[1].holds


@pytest.mark.parametrize("method", METHODS)
def test_values_meet_in_the_limit_of_small_rates(method):
    settings = {} if method == "signsgd" else {"momentum": 0.9, "weight_decay": 0.1}
    gaps = []
    for rate in (1e-4, 1e-6):
        found = loss(method, rate=rate, **settings)
        gaps.append(abs(found.value / found.small_learning_rate_value - 1))
        assert all(check.holds for check in found.preconditions)
    assert gaps[1] < 0.03 * gaps[0]
    assert gaps[1] < 1e-4


def test_batches_count_as_a_division_of_the_noise_by_their_root():
    for method in METHODS:
        np.testing.assert_allclose(loss(method, batch_size=9).value, loss(method, noise=NOISE / 3).value, rtol=1e-14)


def test_sam_without_radius_is_sgd_and_a_fast_adam_without_decay_ignores_curvature():
    np.testing.assert_array_equal(loss("sam").mode_losses, loss("sgd").mode_losses)
    np.testing.assert_allclose(loss("adam").small_learning_rate_value, 0.01 / 4 * NOISE.sum(), rtol=1e-14)
    np.testing.assert_allclose(loss("adamw").value, loss("adam").value, rtol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_units_of_loss_and_of_parameters_change_nothing_else(method):
    plain = loss(method)
    scale = 1e-10
    # Loss in other units: adaptive methods keep their rate, SGD and SAM divide theirs.
    rate = 0.01 / scale if method in ("sgd", "sam") else 0.01
    units = loss(method, rate=rate, curvature=scale * CURVATURE, noise=scale * NOISE)
    np.testing.assert_allclose(units.mode_losses / scale, plain.mode_losses, rtol=1e-12)
    np.testing.assert_allclose(units.relaxation_steps, plain.relaxation_steps, rtol=1e-12)
    # Parameters in other units.
    rate = 0.01 / scale**2 if method in ("sgd", "sam") else 0.01 / scale
    units = loss(method, rate=rate, curvature=scale**2 * CURVATURE, noise=scale * NOISE)
    np.testing.assert_allclose(units.mode_losses, plain.mode_losses, rtol=1e-12)
    np.testing.assert_allclose(units.signal_to_noise, plain.signal_to_noise, rtol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_lists_and_single_precision_are_fine_and_flat_directions_carry_no_loss(method):
    plain = loss(method)
    np.testing.assert_allclose(loss(method, curvature=CURVATURE.tolist(), noise=NOISE.tolist()).value, plain.value)
    single = loss(method, curvature=CURVATURE.astype(np.float32), noise=NOISE.astype(np.float32))
    np.testing.assert_allclose(single.value, plain.value, rtol=1e-6)
    flat = loss(method, curvature=np.append(CURVATURE, 0.0), noise=np.append(NOISE, 0.0))
    np.testing.assert_allclose(flat.mode_losses, np.append(plain.mode_losses, 0.0), rtol=1e-14)
    assert loss(method, curvature=[0.0, 0.0], noise=1.0).value == 0.0
    rounded = loss(method, curvature=[1.0, 1e-16, -1e-16], noise=1.0)
    np.testing.assert_array_equal(
        rounded.mode_losses, [*loss(method, curvature=[1.0], noise=1.0).mode_losses, 0.0, 0.0]
    )


def test_relaxation_is_that_of_the_slowest_mode():
    found = loss("sgd", rate=1e-3, curvature=[0.1, 1.0], noise=1.0)
    excess = (1 - 1e-3 * 0.1) ** (2 * found.relaxation_steps)
    np.testing.assert_allclose(excess, np.exp(-1), rtol=1e-3)
    np.testing.assert_allclose(loss("sgd", rate=1e-4, momentum=0.9).relaxation_steps,
                               loss("sgd", rate=1e-3).relaxation_steps)  # fmt: skip


def test_relaxation_of_adaptive_methods_is_that_of_their_mean():
    """Noise of s = 2 makes a step of x rate * curvature * x / s on average, for signs times sqrt(2 / pi)."""
    rate, lam, s, decay = 1e-3, 0.5, 2.0, 0.1
    share = {"signsgd": rate * lam / s * np.sqrt(2 / np.pi), "adam": rate * (lam + decay) / s}
    share["adamw"] = rate * (lam / s + decay)
    for method, drift in share.items():
        settings = {} if method == "signsgd" else {"weight_decay": decay, "momentum": 0.9}
        found = loss(method, rate=rate, curvature=[lam], noise=s, **settings)
        np.testing.assert_allclose((1 - drift) ** (2 * found.relaxation_steps), np.exp(-1), rtol=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_curvatures_of_very_different_size_do_not_overflow(method):
    found = loss(method, curvature=[1e-200], noise=1.0)
    np.testing.assert_allclose(found.value, found.small_learning_rate_value, rtol=1e-9)


@pytest.mark.parametrize(
    ("method", "settings", "reason"),
    [
        ("sgd", {"rate": 2.0}, "learning rate times curvature is 2 in the worst mode, the limit is 2"),
        ("sgd", {"rate": 1.9, "weight_decay": 0.1}, "the limit is 2"),
        ("sgd", {"rate": 4.0, "momentum": 0.9}, "the limit is 3.8"),
        ("sam", {"rate": 1.5, "radius": 0.5}, "the limit is 2"),
        ("adamw", {"rate": 10.0, "weight_decay": 0.2}, "learning rate times weight decay is 2"),
        ("adam", {"curvature": [1.0, -1e-9], "noise": 1.0}, "a curvature is negative"),
    ],
)
def test_unstable_methods_have_infinite_losses_and_say_why(method, settings, reason):
    found = loss(method, **settings)
    assert not found.is_stable
    assert found.value == found.small_learning_rate_value == found.relaxation_steps == np.inf
    assert found.reason.startswith("unstable: ")
    assert reason in found.reason
    assert not found.preconditions[0].holds


def test_losses_grow_without_bound_towards_the_stability_limit():
    rates = 2 - np.geomspace(1, 1e-9, 10)
    values = [loss("sgd", rate=rate, curvature=[1.0], noise=1.0).value for rate in rates]
    assert np.all(np.diff(values) > 0)
    np.testing.assert_allclose(values[-1], 1e9, rtol=1e-6)


def test_preconditions_name_what_fails():
    found = loss("adam", rate=1.0, curvature=[1.0], noise=0.1)
    assert [check.holds for check in found.preconditions] == [False, False]
    assert found.preconditions[1].observed == found.signal_to_noise > 0.5
    assert found.is_stable
    assert np.isfinite(found.value)
    assert [len(loss(method).preconditions) for method in METHODS] == [1, 1, 2, 2, 2]


@pytest.mark.parametrize(
    ("changed", "error", "match"),
    [
        ({"method": "lion"}, ArgumentError, "method must be one of sgd, sam"),
        ({"curvature": []}, ArgumentError, "at least one curvature"),
        ({"curvature": 1.0}, ShapeError, "vector"),
        ({"curvature": np.eye(2)}, ShapeError, "vector"),
        ({"noise": [1.0, 2.0]}, ShapeError, "noise"),
        ({"noise": -1.0}, ArgumentError, "at least 0"),
        ({"noise": np.nan}, NonFiniteError, "finite"),
        ({"curvature": [np.inf]}, NonFiniteError, "finite"),
        ({"learning_rate": 0.0}, ArgumentError, "above 0"),
        ({"learning_rate": np.nan}, NonFiniteError, "learning_rate"),
        ({"learning_rate": [0.1]}, ArgumentError, "one number"),
        ({"learning_rate": True}, ArgumentError, "one number"),
        ({"learning_rate": "fast"}, ArgumentError, "one number"),
        ({"learning_rate": None}, ArgumentError, "one number"),
        ({"batch_size": 0}, ArgumentError, "batch_size"),
        ({"momentum": 1.0}, ArgumentError, "below 1"),
        ({"weight_decay": -0.1}, ArgumentError, "weight_decay"),
        ({"method": "sam", "radius": -0.1}, ArgumentError, "radius"),
        ({"radius": 0.1}, ArgumentError, "only 'sam' has a radius"),
        ({"method": "signsgd", "momentum": 0.9}, ArgumentError, "without momentum"),
        ({"method": "adam", "noise": 0.0}, ArgumentError, "noise must be positive"),
    ],
)
def test_wrong_calls_are_refused(changed, error, match):
    settings = {"method": "sgd", "curvature": [1.0, 2.0, 3.0], "noise": 1.0, "learning_rate": 0.1} | changed
    with pytest.raises(error, match=match):
        stationary_loss(settings.pop("method"), **settings)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("exponent", [-900, 900])
def test_extreme_units_change_no_value(method, exponent):
    """The loss in units of a power of two: adaptive methods keep their rate, SGD and SAM divide theirs."""
    settings = {"signsgd": {}, "adamw": {"momentum": 0.9}}.get(method, {"momentum": 0.9, "weight_decay": 0.25})
    plain = loss(method, rate=0.5, **settings)
    scale = 2.0**exponent
    linear = method in ("sgd", "sam")
    if method == "adam" or linear:
        settings = settings | {"weight_decay": 0.25 * scale}
    with np.errstate(all="raise"):
        rate = 0.5 / scale if linear else 0.5
        found = loss(method, rate=rate, curvature=scale * CURVATURE, noise=scale * NOISE, **settings)
    np.testing.assert_allclose(found.mode_losses / scale, plain.mode_losses, rtol=1e-12)
    np.testing.assert_allclose(found.signal_to_noise, plain.signal_to_noise, rtol=1e-12)
    np.testing.assert_allclose(found.relaxation_steps, plain.relaxation_steps, rtol=1e-12)


@pytest.mark.parametrize(("method", "share"), [("adam", 1 / 8), ("adamw", 1 / 8), ("signsgd", np.pi / 16)])
@pytest.mark.parametrize(("rate", "noise"), [(1.0, 1e-300), (1.0, 1e-9), (1e150, 1.0), (1e-100, 1e-250)])
def test_noise_that_is_next_to_nothing_leaves_the_loss_of_the_last_steps(method, share, rate, noise):
    """By hand, for one mode of curvature 1: steps of size rate around the minimum, x^2 = rate^2 / 4 for Adam."""
    with np.errstate(all="raise"):
        found = loss(method, rate=rate, curvature=[1.0], noise=noise)
    np.testing.assert_allclose(found.value / rate, share * rate, rtol=1e-8)


@pytest.mark.parametrize("method", METHODS)
def test_a_learning_rate_beyond_float64_is_refused_or_unstable(method):
    with np.errstate(all="raise"):
        if method in ("sgd", "sam"):
            assert not loss(method, rate=1e300, curvature=1e10 * CURVATURE).is_stable
        else:
            with pytest.raises(NonFiniteError, match="exceeds the largest float64"):
                loss(method, rate=1e300)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("noise", [1e-320, 1e-300, 1e300])
@pytest.mark.parametrize("curvature", [1e-300, 1.0, 1e300])
@pytest.mark.parametrize("rate", [1e-300, 1.0, 1e300])
def test_no_setting_warns_or_gives_a_nan(method, noise, curvature, rate):
    with np.errstate(all="raise"):
        try:
            found = loss(method, rate=rate, curvature=[curvature], noise=noise)
        except NonFiniteError:
            return
    numbers = [found.value, found.small_learning_rate_value, found.signal_to_noise, found.relaxation_steps]
    assert not np.any(np.isnan(numbers))
