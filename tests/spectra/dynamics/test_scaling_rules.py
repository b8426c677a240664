import numpy as np
import pytest

from spectra.dynamics.scaling_checks import MAX_STEP_ERROR
from spectra.dynamics.scaling_rules import scale_settings
from spectra.errors import ArgumentError, NonFiniteError

ADAM = {"learning_rate": 1e-3, "betas": (0.9, 0.999)}


def sgd_losses(batch_size, rate, *, momentum, floor, num_steps, every):
    """Return exact losses of one mode of curvature 1 from loss 1, without random numbers, each ``every`` steps."""
    step = np.array([[1 - rate, -rate * momentum], [1.0, momentum]])
    kick = np.array([-rate, 1.0])
    covariance, losses = np.diag([1.0, 0.0]), []
    for k in range(num_steps + 1):
        if k % every == 0:
            losses.append(covariance[0, 0])
        covariance = step @ covariance @ step.T + np.outer(kick, kick) * floor / batch_size
    return np.array(losses)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("factor", [2, 8, 32])
def test_linear_rule_keeps_the_loss_of_sgd_up_to_its_precondition(momentum, factor):
    share = MAX_STEP_ERROR / (factor - 1 + MAX_STEP_ERROR * factor)
    rate = 0.999 * share * (1 - momentum) ** 2
    found = scale_settings("sgd", factor=factor, learning_rate=rate, momentum=momentum, max_curvature=1.0)
    assert found.verdict == "SUPPORTED"
    np.testing.assert_allclose(found.largest_factor, factor, rtol=2e-3)
    effective = rate / (1 - momentum)
    num_steps = int(4 / effective) // factor * factor
    for floor in (0.5, 0.01):
        noise = 2 * floor / effective
        before = sgd_losses(1, rate, momentum=momentum, floor=noise, num_steps=num_steps, every=factor)
        after = sgd_losses(
            factor,
            found.settings.learning_rate,
            momentum=found.settings.momentum,
            floor=noise,
            num_steps=num_steps // factor,
            every=1,
        )
        change = np.max(np.abs(np.log(after / before)))
        assert change < 0.15
        wrong = sgd_losses(
            factor, rate * factor**0.5, momentum=momentum, floor=noise, num_steps=num_steps // factor, every=1
        )
        assert np.max(np.abs(np.log(wrong / before))) > 0.3


def test_linear_rule_is_refused_where_a_step_is_too_long():
    settings = {"learning_rate": 0.05, "max_curvature": 1.0}
    assert scale_settings("sgd", factor=2.5, **settings).verdict == "SUPPORTED"
    found = scale_settings("sgd", factor=8, **settings)
    assert (found.verdict, found.settings) == ("WITHHELD", None)
    assert found.reason.startswith("one step is short for the steepest mode: observed 0.583, required")
    assert scale_settings("sgd", factor=1000, **settings).preconditions[0].observed == np.inf
    # Decay and momentum lengthen the step.
    assert scale_settings("sgd", factor=2.5, weight_decay=0.5, **settings).verdict == "WITHHELD"
    assert scale_settings("sgd", factor=2.5, momentum=0.5, **settings).verdict == "WITHHELD"


def test_settings_of_sgd():
    found = scale_settings(
        "sgd", factor=8, learning_rate=0.01, momentum=0.9, weight_decay=1e-4, num_steps=1001, max_curvature=1e-3
    )
    assert (found.rule, found.verdict, found.reason) == ("linear", "SUPPORTED", "every precondition holds")
    assert found.settings.learning_rate == 0.08
    assert (found.settings.momentum, found.settings.weight_decay) == (0.9, 1e-4)
    assert (found.settings.betas, found.settings.epsilon, found.settings.num_steps) == (None, None, 125)


def test_settings_of_adam_and_adamw():
    settings = {"factor": 4, "weight_decay": 0.1, "epsilon": 1e-8, "num_steps": 10, "signal_to_noise": 0.1} | ADAM
    for method, decay in {"adam": 0.1, "adamw": 0.2}.items():
        found = scale_settings(method, **settings)
        assert (found.rule, found.verdict) == ("square_root", "SUPPORTED")
        scaled = found.settings
        np.testing.assert_allclose(
            [scaled.learning_rate, *scaled.betas, scaled.epsilon, scaled.weight_decay],
            [2e-3, 0.6, 0.996, 5e-9, decay],
            rtol=1e-12,
        )
        assert scaled.num_steps == 2


@pytest.mark.parametrize("method", ["adam", "adamw"])
def test_two_changes_are_one_and_the_way_back_is_the_inverse(method):
    settings = {"weight_decay": 0.1, "epsilon": 1e-8}

    def follow(*factors):
        now = {**ADAM, **settings}
        for factor in factors:
            scaled = scale_settings(method, factor=factor, signal_to_noise=0.0, **now).settings
            now = {name: getattr(scaled, name) for name in ("learning_rate", "betas", "weight_decay", "epsilon")}
        return np.hstack([*now.values()])

    np.testing.assert_allclose(follow(2, 3), follow(6), rtol=1e-12)
    np.testing.assert_allclose(follow(6, 1 / 6), follow(1), rtol=1e-12)
    np.testing.assert_array_equal(follow(1), [1e-3, 0.9, 0.999, 0.1, 1e-8])


@pytest.mark.parametrize(("factor", "ratio"), [(4, 0.5), (4, 5.0), (16, 0.1), (0.25, 2.0)])
def test_adam_is_refused_where_the_gradient_dominates(factor, ratio):
    found = scale_settings("adam", factor=factor, signal_to_noise=ratio, learning_rate=1e-3, betas=(0.99, 0.999))
    assert found.verdict == "WITHHELD"
    assert found.settings is None
    assert found.reason.startswith("noise dominates the gradient: observed ")
    # The change of the motion per sample, from the second moments themselves.
    before, after = 1 / np.sqrt(1 + ratio**2), np.sqrt(1 / factor) / np.sqrt(ratio**2 + 1 / factor)
    np.testing.assert_allclose(found.preconditions[1].observed, abs(before / after - 1), rtol=1e-12)


def test_adam_is_refused_where_the_memory_would_be_shorter_than_a_step():
    found = scale_settings("adam", factor=12, signal_to_noise=0.0, learning_rate=1e-3, betas=(0.9, 0.999))
    assert found.verdict == "WITHHELD"
    assert found.reason.startswith("the memory is longer than one scaled step: observed 1.2, ")
    np.testing.assert_allclose(found.largest_factor, 10.0, rtol=1e-12)
    assert scale_settings("adam", factor=9.99, signal_to_noise=0.0, **ADAM).verdict == "SUPPORTED"


def test_a_beta_of_zero_stays_zero():
    found = scale_settings("adam", factor=16, signal_to_noise=0.0, learning_rate=1e-3, betas=(0.0, 0.99))
    assert found.verdict == "SUPPORTED"
    assert found.settings.betas[0] == 0.0
    np.testing.assert_allclose(found.settings.betas[1], 0.84, rtol=1e-12)
    assert (
        scale_settings("adam", factor=16, signal_to_noise=0.0, learning_rate=1.0, betas=(0, 0)).largest_factor == np.inf
    )


def test_fast_decay_refuses_adamw_only():
    settings = {"factor": 4, "learning_rate": 0.1, "betas": (0.99, 0.999), "weight_decay": 1.0, "signal_to_noise": 0.0}
    found = scale_settings("adamw", **settings)
    assert found.reason.startswith("one step is short for decay: observed 0.5, required")
    np.testing.assert_allclose(found.largest_factor, 0.2 / 0.11, rtol=1e-12)
    assert scale_settings("adam", **settings).verdict == "SUPPORTED"


@pytest.mark.parametrize("ratio", [0.02, 0.1, 0.3])
def test_rule_is_supported_up_to_its_largest_factor_and_no_further(ratio):
    settings = {"signal_to_noise": ratio, "learning_rate": 1e-3, "betas": (0.9, 0.999), "weight_decay": 0.1}
    largest = scale_settings("adamw", factor=1, **settings).largest_factor
    assert scale_settings("adamw", factor=largest * (1 - 1e-9), **settings).verdict == "SUPPORTED"
    assert scale_settings("adamw", factor=largest * (1 + 1e-9), **settings).verdict == "WITHHELD"


def test_what_was_not_given_is_not_checked_and_named():
    for method, missing, settings in [
        ("sgd", "max_curvature", {"learning_rate": 0.1}),
        ("adamw", "signal_to_noise", ADAM),
    ]:
        found = scale_settings(method, factor=2, **settings)
        assert found.verdict == "TENTATIVE"
        assert found.reason.endswith(f"not checked, {missing} was not given")
        assert found.settings is not None
    # What is known to fail decides.
    assert scale_settings("adam", factor=20, **ADAM).verdict == "WITHHELD"


@pytest.mark.parametrize("factor", [1, 1.0, np.float32(1)])
def test_a_factor_of_one_changes_nothing_and_is_supported(factor):
    for settings in ({"momentum": 0.9, "max_curvature": 3.0}, {"max_curvature": 500.0}):
        found = scale_settings("sgd", factor=factor, learning_rate=0.1, **settings)
        assert (found.verdict, found.settings.learning_rate, found.largest_factor) == ("SUPPORTED", 0.1, 1.0)
    found = scale_settings("adam", factor=factor, signal_to_noise=100.0, **ADAM)
    assert found.verdict == "SUPPORTED"
    np.testing.assert_allclose(found.settings.betas, ADAM["betas"], rtol=1e-14)


@pytest.mark.parametrize(
    ("method", "changed", "error", "match"),
    [
        ("lion", {}, ArgumentError, "method must be one of"),
        ("sgd", {"factor": 0}, ArgumentError, "factor"),
        ("sgd", {"factor": -2}, ArgumentError, "factor"),
        ("sgd", {"factor": np.nan}, NonFiniteError, "factor"),
        ("sgd", {"factor": np.ones(1)}, ArgumentError, "one number"),
        ("sgd", {"learning_rate": 0.0}, ArgumentError, "learning_rate"),
        ("sgd", {"momentum": 1.0}, ArgumentError, "momentum"),
        ("sgd", {"weight_decay": -1.0}, ArgumentError, "weight_decay"),
        ("sgd", {"num_steps": 2.5}, ArgumentError, "num_steps"),
        ("sgd", {"num_steps": 0}, ArgumentError, "num_steps"),
        ("sgd", {"max_curvature": -1.0}, ArgumentError, "max_curvature"),
        ("sgd", {"betas": (0.9, 0.99)}, ArgumentError, "belong to Adam"),
        ("sgd", {"signal_to_noise": 0.1}, ArgumentError, "belong to Adam"),
        ("adam", {}, ArgumentError, "betas must be the two numbers"),
        ("adam", {"betas": 0.9}, ArgumentError, "betas must be the two numbers"),
        ("adam", {"betas": (0.9, 1.0)}, ArgumentError, "below 1"),
        ("adam", {"betas": (0.9, 0.99), "epsilon": -1e-8}, ArgumentError, "epsilon"),
        ("adam", {"betas": (0.9, 0.99), "signal_to_noise": -0.1}, ArgumentError, "signal_to_noise"),
        ("adam", {"betas": (0.9, 0.99), "signal_to_noise": np.nan}, NonFiniteError, "signal_to_noise"),
        ("adam", {"betas": (0.9, 0.99), "momentum": 0.9}, ArgumentError, "belong to SGD"),
        ("adamw", {"betas": (0.9, 0.99), "max_curvature": 1.0}, ArgumentError, "belong to SGD"),
    ],
)
def test_wrong_calls_are_refused(method, changed, error, match):
    with pytest.raises(error, match=match):
        scale_settings(method, **({"factor": 2, "learning_rate": 0.1} | changed))
