"""Advice from fabricated runs: known values in, rules, verdicts and refusals out."""

import numpy as np
import pytest

from spectra.errors import ArgumentError, SchemaError
from spectra.recommend import OptimizerSpec, Verdict, advise, read_run
from tests.spectra.recommend.fabricated import fabricated_run


def test_limit_of_a_known_problem():
    advice = advise(fabricated_run(optimizer="sgd", noise=64.0, batch_size=32))
    limit = advice.max_stable_learning_rate
    fraction = (1 - 32 / 1024) / 32
    expected = min(2 / (lam + 64.0 * fraction / lam) for lam in np.linspace(4, 0.5, 8)[:3])
    assert limit.low <= expected <= limit.high
    # The jackknife error of s2 at 24 micro-batches in 8 dimensions is about 10%.
    assert limit.value == pytest.approx(expected, rel=0.25)
    assert limit.evidence["deterministic_limit"] == pytest.approx(0.5)


def test_sgd_rule_is_the_directional_step_capped_at_half_the_limit():
    advice = advise(fabricated_run(optimizer="sgd"))
    rate = advice.learning_rate
    step = rate.evidence["directional_step"]
    assert rate.value == pytest.approx(min(step, advice.max_stable_learning_rate.value / 2))
    assert rate.verdict is Verdict.SUPPORTED
    assert rate.low == pytest.approx(rate.value / 4)
    assert rate.high == pytest.approx(advice.max_stable_learning_rate.value)


def test_adamw_rule_is_the_limit_with_a_factor_four_either_way():
    advice = advise(fabricated_run(optimizer="adamw"))
    assert advice.learning_rate.value == pytest.approx(advice.max_stable_learning_rate.value)
    assert advice.learning_rate.high == pytest.approx(4 * advice.learning_rate.value)
    assert advice.verdict is Verdict.SUPPORTED


def test_momentum_is_tentative_at_best_and_a_tenth_of_sgd():
    sgd, momentum = (advise(fabricated_run(optimizer=kind)) for kind in ("sgd", "momentum"))
    assert momentum.learning_rate.value == pytest.approx(0.1 * sgd.learning_rate.value)
    assert momentum.verdict is Verdict.TENTATIVE
    assert "SGD with momentum" in momentum.learning_rate.reason


def test_momentum_advice_sees_the_state_that_the_rate_leads_to():
    calm, noisy = (
        advise(fabricated_run(optimizer="momentum", candidates=((0.01, top, 0.5),), steps=(0, 10), noise=100.0))
        for top in (100.0, 1.0)
    )
    assert calm.momentum.evidence["regime"] == "curvature-limited"
    assert noisy.momentum.evidence["regime"] == "noise-limited"


def test_linear_decay_doubles_the_peak():
    constant = advise(fabricated_run())
    linear = advise(fabricated_run(), schedule="linear")
    assert linear.learning_rate.value == pytest.approx(2 * constant.learning_rate.value)
    assert constant.linear_decay_peak == pytest.approx(linear.linear_decay_peak)


@pytest.mark.parametrize(
    ("changes", "claim"),
    [
        ({"curvature": -4.0}, "the largest curvature is positive"),
        ({"residual": 0.2}, "the top Ritz pair has converged"),
        ({"steps": (0,)}, "measured after real steps or on a trained model"),
        ({"steps": (0, 5)}, "measured after real steps or on a trained model"),
        ({"planned": 4}, "the measurement is complete"),
        ({"optimizer": None, "steps": (0,), "planned": 1}, "an optimizer was named"),
    ],
)
def test_bad_evidence_withholds_the_rate_and_names_the_check(changes, claim):
    advice = advise(fabricated_run(**changes))
    assert advice.verdict is Verdict.WITHHELD
    assert advice.learning_rate.value is None
    failed = [check.claim for check in advice.learning_rate.checks if not check.passed]
    assert claim in failed
    assert advice.next_command.startswith("spectra recommend fabricated:task")


@pytest.mark.parametrize(
    ("changes", "claim"),
    [
        ({"smallest": -5.0}, "positive curvature dominates negative curvature"),
        (
            {"gradient": 0.0},
            "the directional step is defined: curvature along the gradient is positive and resolved",
        ),
        (
            {"notes": "BatchNorm measured with its running statistics"},
            "the measured state is the state that trains",
        ),
    ],
)
def test_weak_evidence_makes_the_rate_tentative(changes, claim):
    advice = advise(fabricated_run(**changes))
    assert advice.verdict is Verdict.TENTATIVE
    assert advice.learning_rate.value > 0
    assert claim in [check.claim for check in advice.learning_rate.checks if not check.passed]


def test_negative_curvature_does_not_downgrade_adamw():
    assert advise(fabricated_run(optimizer="adamw", smallest=-5.0)).verdict is Verdict.SUPPORTED


def test_a_trained_model_needs_no_steps():
    assert advise(fabricated_run(steps=(0,), is_trained=1)).verdict is Verdict.SUPPORTED


def test_unresolved_gradient_withholds_the_noise_scale_but_not_the_rate():
    advice = advise(fabricated_run(gradient=0.0))
    assert advice.gradient_noise_scale.verdict is Verdict.WITHHELD
    assert advice.gradient_noise_scale.value is None
    assert advice.batch_size.verdict is Verdict.WITHHELD


def test_noise_scale_of_a_known_problem_is_inside_its_interval():
    scale = advise(fabricated_run(gradient=3.0)).gradient_noise_scale
    # tr Sigma = 8 (unit variance in 8 dimensions), ||G||^2 = 9.
    assert scale.low <= 8 / 9 <= scale.high


def test_other_batch_sizes_come_from_the_same_run_for_sgd_and_are_withheld_for_adam():
    run = fabricated_run(optimizer="sgd", noise=640.0)
    small, large = advise(run, batch_size=4), advise(run, batch_size=512)
    assert small.max_stable_learning_rate.value < large.max_stable_learning_rate.value
    assert advise(fabricated_run(optimizer="adamw"), batch_size=16).verdict is Verdict.WITHHELD


def test_curve_is_monotone_and_its_exponent_falls():
    curve = advise(fabricated_run(optimizer="sgd", noise=640.0)).curve
    limits = [row.max_stable_learning_rate for row in curve]
    exponents = [row.exponent for row in curve]
    assert limits == sorted(limits)
    assert exponents == sorted(exponents, reverse=True)
    assert [row.batch_size for row in curve][:2] == [4, 8]


def test_scaling_the_loss_scales_every_rate_inversely():
    base, scaled = (advise(fabricated_run(curvature=4 * s, noise=s**2, gradient=3.0)) for s in (1.0, 1e6))
    assert scaled.max_stable_learning_rate.value * 1e6 == pytest.approx(base.max_stable_learning_rate.value, rel=1e-9)


@pytest.mark.parametrize("size", [0, -1, 5000])
def test_batch_size_outside_the_data_is_refused(size):
    with pytest.raises(ArgumentError, match="batch_size"):
        advise(fabricated_run(), batch_size=size)


def test_unknown_schedule_is_refused():
    with pytest.raises(ArgumentError, match="schedule"):
        advise(fabricated_run(), schedule="cosine")


def test_a_run_without_a_stage_withholds_everything_and_says_why():
    advice = advise(fabricated_run(steps=(), planned=3, status="interrupted"))
    assert advice.verdict is Verdict.WITHHELD
    assert all(item.value is None for item in advice.recommendations)
    assert "ran to its end" in advice.learning_rate.checks[0].claim
    assert advice.next_command.startswith("spectra recommend fabricated:task --optimizer sgd")


def test_a_state_without_gradient_noise_withholds_what_needs_it_only():
    run = fabricated_run(steps=(0,), planned=2, status="interrupted")
    run["stages"] = run["stages"].to_dataset().drop_vars(["gradient_gram", "gradient_curvature_gram"])
    advice = advise(run)
    assert advice.gradient_noise_scale.checks[0].claim == "gradient noise was measured"
    assert advice.batch_size.value is None
    assert advice.next_batch_size.value is None
    assert advice.max_stable_learning_rate.value > 0


#: With noise 1 at 32 samples the limits are about 2 / curvature: q is about 0.2, 0.4, 0.8 and 1.6.
TRIED = ((0.1, 4.0, 0.9), (0.2, 4.0, 0.7), (0.4, 4.0, 0.5), (0.8, 4.0, 0.4))


def test_candidates_decide_and_each_says_what_it_breaks():
    advice = advise(fabricated_run(candidates=TRIED, steps=(0, 10)))
    assert [row.learning_rate for row in advice.candidates] == [0.1, 0.2, 0.4, 0.8]
    assert [row.breaks for row in advice.candidates] == ["", "", "", "stability"]
    assert [row.bracket for row in advice.candidates] == ["", "", "low", "high"]
    for row in advice.candidates:
        assert row.consistency == pytest.approx(row.learning_rate / row.max_stable_learning_rate)
    assert 0.4 < advice.learning_rate.value < 0.8
    # at the mark the rate is its own limit
    assert advice.own_stable_limit.value == pytest.approx(advice.learning_rate.value)
    assert advice.alternatives[0].rule == "one-probe rule"


def test_a_candidate_that_diverged_or_gained_less_is_named():
    tried = ((0.1, 4.0, 0.5), (0.2, 4.0, 0.8), (0.4, 4.0, float("nan")))
    advice = advise(fabricated_run(candidates=tried, steps=(0, 10)))
    assert [row.breaks for row in advice.candidates] == ["", "loss", "divergence"]
    assert advice.candidates[0].bracket == "best"
    assert advice.learning_rate.value == pytest.approx(0.1)


def test_rates_at_other_batch_sizes_follow_the_limit_of_the_deciding_state():
    advice = advise(fabricated_run(candidates=TRIED, steps=(0, 10), noise=100.0))
    limits = {row.batch_size: row.max_stable_learning_rate for row in advice.curve}
    rates = {row.batch_size: row.learning_rate for row in advice.curve}
    assert rates[32] == pytest.approx(advice.learning_rate.value)
    assert limits[32] == pytest.approx(advice.own_stable_limit.value)
    for size in (4, 512):
        assert rates[size] / rates[32] == pytest.approx(limits[size] / limits[32])


def test_candidates_of_another_batch_size_are_not_shown():
    """Their limit carries over by its formula, but not with a preconditioner, which depends on the batch size."""
    advice = advise(fabricated_run(candidates=TRIED, steps=(0, 10)), batch_size=64)
    assert advice.candidates == ()
    assert advice.own_stable_limit.value > advise(fabricated_run(candidates=TRIED)).own_stable_limit.value
    advice = advise(fabricated_run(optimizer="adamw", candidates=TRIED, steps=(0, 10)), batch_size=64)
    assert advice.own_stable_limit is None
    assert advice.learning_rate.value is None


def test_momentum_warm_up_and_the_norm_test_are_part_of_it():
    advice = advise(fabricated_run(optimizer="momentum"))
    assert advice.momentum.value == pytest.approx(0.9)
    assert advice.warmup.value == 0.0
    assert advice.next_batch_size.value >= 32
    quantities = [item.quantity for item in advice.recommendations]
    assert {"momentum", "warmup_steps", "next_batch_size"} <= set(quantities)
    assert len(quantities) == len(set(quantities))


def test_foreign_newer_and_damaged_runs_are_refused():
    run = fabricated_run()
    run.attrs["schema"] = "other"
    with pytest.raises(SchemaError, match="schema"):
        read_run(run)
    run = fabricated_run(schema_version=99)
    with pytest.raises(SchemaError, match="newer"):
        read_run(run)
    run = fabricated_run()
    del run.attrs["batch_size"]
    with pytest.raises(SchemaError, match="batch_size"):
        read_run(run)


def test_optimizer_description_round_trips_and_refuses_nonsense():
    spec = OptimizerSpec(kind="momentum", momentum=0.95, weight_decay=1e-4)
    assert OptimizerSpec.from_json(spec.to_json()) == spec
    for arguments in ({"kind": "adma"}, {"kind": "sgd", "momentum": 0.9}, {"kind": "adam", "beta2": 1.0}):
        with pytest.raises(ArgumentError):
            OptimizerSpec(**arguments)
