"""Predictions as text and JSON: the answer first, with its verdict."""

import json

import numpy as np
import pytest
import xarray as xr

from spectra.dynamics import Quadratic
from spectra.dynamics_report import render_dynamics
from spectra.dynamics_summary import summarize_dynamics
from spectra.dynamics_tree import problem_tree
from spectra.errors import ArgumentError
from tests.spectra.dynamics_problems import check_of, gaussian, prediction, unequal, with_check

ONE = np.ones(1)


def test_first_line_is_the_answer():
    tree = prediction()
    text = render_dynamics(tree)
    best = tree["best"].to_dataset().isel(batch_size=0)
    first = text.splitlines()[0]
    assert first.startswith(
        f"LEARNING RATE {float(best['learning_rate']):.3g} for 60 steps (4.80 epochs) at batch size 16"
    )
    assert f"to {float(best['loss']):.3g}" in first
    for word in (
        "TENTATIVE: not compared with real training",
        "Limited by",
        "BEST LEARNING RATE FOR 60 STEPS",
        "PREDICTED LOSS AT BATCH SIZE 16 (closure 'limit')",
        "FEWEST STEPS",
        "reshuffled epochs, as of a DataLoader",
        "trace",
    ):
        assert word in text
    assert len(text.splitlines()) < 45
    assert max(map(len, text.splitlines())) <= 120


def test_confirmed_where_training_stayed_with_the_prediction():
    tree = with_check(prediction())
    answer = summarize_dynamics(tree)["answer"]
    assert answer["verdict"] == "confirmed"
    assert answer["learning_rate"] == answer["predicted_learning_rate"] > 0
    text = render_dynamics(tree)
    assert "CONFIRMED: the prediction holds up to step 60" in text
    assert "2 runs of SGD at each rate" in text
    assert "60 of 60" in text
    assert "the runs support the linearization at most, not the noise model" in " ".join(text.split())
    assert "120 training steps" in text
    assert len(text.splitlines()) <= 55


def test_withheld_where_training_left_the_prediction():
    tree = with_check(prediction(), trusted=7)
    answer = summarize_dynamics(tree)["answer"]
    assert answer["verdict"] == "withheld"
    assert answer["learning_rate"] is None
    text = render_dynamics(tree)
    assert text.startswith("WITHHELD: no learning rate for 60 steps")
    assert "The prediction holds up to step 7." in text
    assert "7 of 60" in text


@pytest.mark.parametrize(("trusted", "verdict"), [(60, "tentative"), (7, "withheld")])
def test_a_check_at_another_rate_speaks_against_the_answer_but_not_for_it(trusted, verdict):
    tree = prediction()
    other = float(tree["curves"]["learning_rate"].values[0])
    tree = with_check(tree, rates=[other], trusted=trusted)
    answer = summarize_dynamics(tree)["answer"]
    assert answer["verdict"] == verdict
    assert f"with batch size 16, closure limit, at learning rate {other:.3g}, the prediction" in answer["why"]


def checked_beside(*, trusted: int, factor: float, num_steps: int = 60):
    """Return a prediction that holds at the answer, and a smaller rate whose measured losses are others."""
    tree = with_check(prediction(num_steps=num_steps))
    answer = tree["check"].to_dataset()
    smaller = tree["curves"]["learning_rate"].values[2]
    other = check_of(tree, rates=[float(smaller)], trusted=trusted, factor=factor)
    tree["check"] = xr.DataTree(xr.concat([other, answer], dim="learning_rate", combine_attrs="override"))
    return tree


def test_what_fails_at_a_smaller_rate_leaves_the_answer_tentative():
    answer = summarize_dynamics(checked_beside(trusted=60, factor=1.0))["answer"]
    assert answer["verdict"] == "confirmed"
    answer = summarize_dynamics(checked_beside(trusted=7, factor=2.0))["answer"]
    assert answer["verdict"] == "tentative"
    assert "another rate may be better" in answer["why"]


def test_a_rate_that_was_measured_to_be_better_refutes_the_answer():
    tree = checked_beside(trusted=1, factor=0.1, num_steps=2)
    answer = summarize_dynamics(tree)["answer"]
    assert answer["verdict"] == "withheld"
    assert answer["learning_rate"] is None
    assert f"training at learning rate {tree['check']['learning_rate'].values[0]:.3g} reached" in answer["why"]


def test_a_check_of_fewer_steps_does_not_confirm():
    longer, shorter = prediction(num_steps=120), with_check(prediction())
    longer["check"] = shorter["check"].copy()
    longer["check"]["learning_rate"] = longer["best"]["learning_rate"].values[:1]
    assert summarize_dynamics(longer)["answer"]["verdict"] == "tentative"


def test_json_is_an_object_without_nan():
    for tree in (with_check(prediction(unequal(), batch_sizes=[1])), prediction(closure="exact", num_steps=5)):
        data = json.loads(render_dynamics(tree, format="json"), parse_constant=pytest.fail)
        assert data["schema"] == "spectra/dynamics-report"
        assert data["schema_version"] == 1
        assert data["curves"][0]["loss"][0] == pytest.approx(data["problem"]["loss"])
    assert data["best"][0]["floor"] is None
    assert data["saturation"] is None
    assert data["check"] is None


def test_what_limits_the_answer_is_said():
    short, full = prediction(num_steps=2), prediction(batch_sizes=[200], num_steps=1000)
    assert "leave more gradient noise" in summarize_dynamics(prediction(num_steps=2000))["answer"]["limited_by"]
    steep = Quadratic(
        eigenvalue=np.array([10.0, 0.1]), multiplicity=np.ones(2), initial_loss=np.array([0.0, 1.0]), num_samples=1000
    )
    assert "rests on rare runs" in summarize_dynamics(prediction(steep))["answer"]["limited_by"]
    assert "noise-free" in summarize_dynamics(full)["answer"]["limited_by"]
    refused = prediction(unequal(), batch_sizes=[1])
    assert "row-safe" in summarize_dynamics(refused)["answer"]["limited_by"]
    assert "refused" in render_dynamics(refused)
    assert summarize_dynamics(short)["answer"]["num_steps"] == 2


def test_unstable_rates_losses_below_zero_and_weak_evidence_are_marked():
    critical = float(prediction()["best"]["critical_learning_rate"].values[0])
    text = render_dynamics(prediction(learning_rates=[0.5 * critical, 1.5 * critical, 1e3 * critical]))
    assert text.count("UNSTABLE") == 2
    problem = gaussian()
    weak = Quadratic(
        eigenvalue=problem.eigenvalue,
        multiplicity=problem.multiplicity,
        initial_loss=problem.initial_loss,
        floor=problem.floor,
        offset=-0.7 * problem.loss,
        num_samples=200,
        evidence={"forcing_change": 0.5, "trace_correction": 2.0, "unconverged": 3.0, "trace_stderr": 0.1},
    )
    text = render_dynamics(prediction(weak))
    for word in ("goes below zero", "by up to 50.0%", "scaled by 2", "3 of the largest", "is estimated"):
        assert word in text
    assert "`spectra dynamics TASK` does" in text
    assert "The loss is no square: its quadratic model has a constant" in " ".join(text.split())
    assert "FEWEST STEPS" not in text


def test_a_problem_without_a_prediction():
    text = render_dynamics(problem_tree(gaussian()))
    assert text.startswith("NOT PREDICTED")
    assert "200 samples" in text
    assert json.loads(render_dynamics(problem_tree(gaussian()), format="json"))["answer"] is None


def test_momentum_streams_and_single_steps():
    assert "Nesterov momentum 0.9" in render_dynamics(prediction(momentum=0.9, nesterov=True, num_steps=1))
    stream = Quadratic(eigenvalue=ONE, multiplicity=ONE, initial_loss=ONE, floor=0.1)
    text = render_dynamics(prediction(stream))
    assert "for 60 steps at batch size 16" in text
    assert "a stream" in text


def test_reshuffling_is_said_with_the_answer():
    tree = prediction(num_steps=5)
    assert "reshuffled epochs" in json.loads(render_dynamics(tree, format="json"))["answer"]["batches"]
    assert "reshuffled epochs" in render_dynamics(tree).split("BEST LEARNING RATE")[0].replace("\n  ", " ")


def test_saturation_in_json_holds_no_provenance():
    found = json.loads(render_dynamics(prediction(num_steps=5), format="json"))["saturation"]
    assert set(found) == {"target", "knee", "implicit_conditioning_ratio", "rows"}


def test_the_cap_ends_the_flat_region():
    capped = prediction(num_steps=2000, batch_sizes=[200])
    assert " at the cap (within 2% of the gain)" in " ".join(render_dynamics(capped).split())
    inside = prediction(num_steps=5000, batch_sizes=[1])
    assert " at the cap (" not in " ".join(render_dynamics(inside).split())


def test_losses_below_zero_are_no_floors_and_no_targets():
    problem = Quadratic(eigenvalue=ONE, multiplicity=ONE, initial_loss=ONE, offset=-0.9, floor=0.1, num_samples=64)
    tree = prediction(problem)
    assert float(tree["best"]["floor"].values[0]) < 0
    assert tree["saturation"].attrs["target"] < 0
    row = next(line for line in render_dynamics(tree).splitlines() if line.lstrip().startswith("16 "))
    assert row.split()[7] == "-"
    assert "FEWEST STEPS" not in render_dynamics(tree)
    assert json.loads(render_dynamics(tree, format="json"))["saturation"] is None


def test_the_check_is_described_by_its_settings():
    tree = with_check(prediction(momentum=0.9, num_steps=9))
    assert "2 runs of SGD at each rate, batch size 16, closure limit, momentum 0.9\n" in render_dynamics(tree)


def test_a_check_under_other_settings_neither_confirms_nor_is_hidden():
    tree = with_check(prediction())
    for change in ({"closure": "gaussian"}, {"momentum": 0.5}, {"batch_sizes": [17]}):
        other = prediction(**change)
        other["check"] = tree["check"].copy()
        other["check"]["learning_rate"] = other["best"]["learning_rate"].values[:1]
        assert summarize_dynamics(other)["answer"]["verdict"] == "tentative"
        assert "HOW LONG REAL TRAINING FOLLOWS THE PREDICTION: 2 runs" in render_dynamics(other)


def test_batches_without_noise_have_one_curve():
    tree = with_check(prediction(batch_sizes=[200]))
    same = tree["check"].to_dataset().assign(closer=("learning_rate", ["same"]))
    tree["check"] = xr.DataTree(same)
    text = render_dynamics(tree)
    assert "both are the same" in text
    assert "no gradient noise, so that the runs say nothing about the noise model" in " ".join(text.split())


def test_nothing_to_gain():
    done = Quadratic(eigenvalue=ONE, multiplicity=ONE, initial_loss=0 * ONE, floor=0.1, num_samples=64)
    tree = prediction(done)
    assert summarize_dynamics(with_check(tree))["answer"]["verdict"] == "withheld"
    text = render_dynamics(tree)
    assert "at batch size 16: nothing to gain at this state" in text.splitlines()[0]
    assert "FEWEST STEPS" not in text
    assert "CONFIRMED" not in text


def test_refusals():
    with pytest.raises(ArgumentError, match="format"):
        render_dynamics(prediction(num_steps=1), format="html")
    with pytest.raises(ArgumentError, match="schema"):
        summarize_dynamics(prediction(num_steps=1)["problem"])
