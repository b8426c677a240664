"""Analyses of kernels as text and JSON: the answer first, with its verdict."""

import json

import numpy as np
import pytest
import xarray as xr

from spectra.errors import ArgumentError
from spectra.kernel_report import render_kernel
from spectra.kernel_summary import readable, summarize_kernel
from spectra.kernels import RBF, Laplace, Polynomial, analyze
from spectra.report import number
from tests.spectra.kernels.ridge_problems import noisy_plane

X, Y = noisy_plane(160, np.random.default_rng(5))


@pytest.fixture(scope="module")
def tree():
    return analyze(X, Y, kernel=Laplace(1.5), name="plane", remarks=["made up"])


def test_first_line_is_the_answer(tree):
    text = render_kernel(tree)
    best, risk = tree["best"].attrs, tree["risk"].attrs
    first = text.splitlines()[0]
    assert first.startswith(f"RIDGE {best['ridge']:.3g}")
    assert f"predicted test error {risk['risk']:.3f} [{risk['low']:.3f}, {risk['high']:.3f}]" in first
    for word in (
        "SUPPORTED",
        "LAW polynomial",
        "REGIME",
        "Under Gaussian equivalence",
        "EFFECTIVE DIMENSION of 160 samples",
        "LEARNING CURVE",
        "leave-one-out",
        "CONDITION NUMBER",
        "ABOUT plane: 160 samples, kernel Laplace(length_scale=1.5)",
        "Made up.",
    ):
        assert word in text
    assert max(map(len, text.splitlines())) <= 100
    assert len(text.splitlines()) < 60


def test_the_curve_at_hand_is_the_answer(tree):
    """Not the mean of the two extrapolations there."""
    row = next(line for line in render_kernel(tree).splitlines() if line.startswith("  160 "))
    risk = tree["risk"].attrs
    assert row.split()[1:4] == [f"{risk['risk']:.3f}", f"[{risk['low']:.3f},", f"{risk['high']:.3f}]"]


def test_json_is_strict_and_holds_the_same(tree):
    found = json.loads(render_kernel(tree, format="json"), parse_constant=pytest.fail)
    assert (found["schema"], found["schema_version"]) == ("spectra/kernel-report", 1)
    assert found["answer"]["ridge"] == tree["best"].attrs["ridge"]
    assert found["answer"]["verdict"] == "supported"
    assert found["decay"]["law"] == tree["decay"].attrs["law"]
    assert len(found["dimension"]) == tree["dimension"].sizes["ridge"]
    assert len(found["extrapolation"]) == tree["extrapolation"].sizes["num_samples"]
    assert found["risk"]["held_out_error"] is None
    assert found["remarks"] == ["made up"]


def test_withheld_where_the_kernel_predicts_worse_than_the_mean():
    noise = np.random.default_rng(1).standard_normal((160, 1))
    found = analyze(X, noise, kernel=Polynomial(9))
    answer = summarize_kernel(found)["answer"]
    assert answer["verdict"] == "withheld"
    assert answer["ridge"] is None
    assert answer["best_ridge"] > 0
    assert render_kernel(found).startswith("WITHHELD: ")


def test_equal_targets_have_nothing_to_learn():
    found = analyze(X, np.ones(160), kernel=Laplace(1.5))
    answer = summarize_kernel(found)["answer"]
    assert answer["verdict"] == "withheld"
    assert "all targets are equal" in answer["why"]


def test_a_warning_makes_an_answer_tentative_where_much_is_learned_in_any_case():
    """A float32 Gram matrix resolves half as many digits, and few samples decide the error of smooth targets."""
    K = Laplace(1.5)(X).astype(np.float32)
    quiet = np.sin(X[:, 0])
    found = analyze(K, quiet)
    answer = summarize_kernel(found)["answer"]
    assert found["risk"].attrs["condition_number"] > 1 / np.sqrt(found.attrs["eps"])
    assert answer["verdict"] == "tentative"
    assert "condition number" in answer["why"]
    assert "a few samples decide it" in answer["why"]
    assert answer["test_error_high"] < 0.1 * found.attrs["label_variance"]


def test_targets_that_are_equal_up_to_rounding_are_equal():
    found = analyze(X, np.full(160, 0.1), kernel=Laplace(1.5))
    assert "all targets are equal" in summarize_kernel(found)["answer"]["why"]
    assert "What was found: test error" in render_kernel(found)
    assert ", ." not in render_kernel(found)


def test_smooth_targets_without_noise_are_learned_though_their_error_is_unsteady():
    """An error of 1e-12 with a standard error of several times that is no reason to say that nothing is learned."""
    for seed in range(4):
        points = np.random.default_rng(seed).uniform(size=(80, 2))
        quiet = np.sin(3 * points[:, 0]) + points[:, 1] ** 2
        answer = summarize_kernel(analyze(points, quiet - quiet.mean(), kernel=RBF(0.6)))["answer"]
        assert answer["verdict"] == "tentative"
        assert not answer["why"].startswith("Do not rely")


def test_a_kernel_that_few_samples_carry_is_never_supported():
    """Cubes of inputs with three moments: leave-one-out promises an error that new samples far out do not keep."""
    for seed in range(6):
        rng = np.random.default_rng(seed)
        points = rng.standard_t(3, size=(80, 3))
        labels = points[:, 0] + 0.5 * rng.standard_normal(80)
        found = analyze(points, labels - labels.mean(), kernel=Polynomial(3))
        assert found.attrs["diagonal_spread"] > 0.3
        assert summarize_kernel(found)["answer"]["verdict"] != "supported"
    assert analyze(X, Y, kernel=Polynomial(2)).attrs["diagonal_spread"] < 0.3


def test_what_a_missing_intercept_costs_is_on_the_page():
    text = " ".join(render_kernel(analyze(X, Y + 100, kernel=Laplace(1.5))).split())
    assert "There is no intercept, and a mean square of" in text
    assert "no intercept" not in render_kernel(analyze(X, Y - Y.mean(), kernel=Laplace(1.5)))


def test_notes_stand_below_their_table():
    found = analyze(X, Y, kernel=Laplace(1.5), ridges=[1e-20, 0.1])
    text = render_kernel(found)
    assert "[1] Bounds of the sums over 160 eigenvalues agree" in text
    assert "was raised to" in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 130


def test_without_targets_the_law_comes_first():
    text = render_kernel(analyze(X, kernel=Laplace(1.5)))
    assert text.startswith("LAW ")
    assert "RIDGE" not in text
    assert "LEARNING CURVE" not in text


def test_an_interrupted_analysis_shows_what_there_is():
    seen = []
    analyze(X, Y, kernel=Laplace(1.5), on_stage=lambda tree: seen.append(tree.copy()))
    text = render_kernel(seen[0])
    assert text.startswith("LAW polynomial")
    assert "INTERRUPTED" in text
    assert "REGIME" not in text


def test_long_decimals_are_cut():
    assert readable("RBF(length_scale=0.19771325768774423)") == "RBF(length_scale=0.1977)"
    assert readable("RBF(length_scale=1.977132576877e-07)") == "RBF(length_scale=1.977e-07)"
    assert readable("Matern(nu=2.5)") == "Matern(nu=2.5)"


def test_wrong_calls(tree):
    with pytest.raises(ArgumentError, match="text"):
        render_kernel(tree, format="html")
    with pytest.raises(ArgumentError, match="analyze"):
        render_kernel(xr.DataTree(xr.Dataset(attrs={"schema": "spectra/run"})))


def test_where_no_ridge_is_needed_the_page_says_how_large_a_harmless_one_is():
    points = np.random.default_rng(2).uniform(size=(200, 1))
    found = analyze(points, np.sin(3 * points[:, 0]), kernel=Laplace(1.0))
    assert found["best"].attrs["place"] == "none needed"
    harmless = summarize_kernel(found)["answer"]["harmless_ridge"]
    best = found["best"].to_dataset()
    beyond = best["grid"].values > harmless
    assert np.all(best["grid_risk"].values[beyond] > 1.01 * found["risk"].attrs["risk"])
    assert harmless > found["best"].attrs["ridge"]
    assert f"less than 1% of it up to {number(harmless)}" in " ".join(render_kernel(found).split())
