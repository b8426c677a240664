"""One call gives what the single functions give, and says what it used."""

import json

import numpy as np
import pytest

import spectra
from spectra.errors import ArgumentError, NonFiniteError, ShapeError
from spectra.kernels import (
    RBF,
    Laplace,
    analyze,
    best_ridge,
    eigendecay,
    kernel_condition,
    kernel_dimension,
    leave_one_out,
    noise_amplification,
)
from tests.spectra.kernels.ridge_problems import noisy_plane

X, Y = noisy_plane(160, np.random.default_rng(5))
KERNEL = Laplace(1.5)


@pytest.fixture(scope="module")
def tree():
    return analyze(X, Y, kernel=KERNEL, name="plane", remarks=["made up"])


def test_every_part_is_that_of_its_function(tree):
    K = KERNEL(X)
    best = best_ridge(K, Y)
    assert tree["best"].attrs["ridge"] == best.ridge
    assert tree["risk"].attrs["risk"] == leave_one_out(K, Y, ridge=best.ridge).risk
    decay = eigendecay(K)
    assert tree["decay"].attrs["law"] == decay.law
    assert tree["decay"].attrs["decay_exponent"] == decay.decay_exponent
    assert tree["regime"].attrs["noise_amplification"] == noise_amplification(K).mean
    assert tree["condition"].attrs["condition_number"] == pytest.approx(kernel_condition(K).condition_number)
    own = kernel_dimension(KERNEL, X, tree["dimension"]["ridge"].values)
    np.testing.assert_allclose(tree["dimension"]["df1"].values, own["df1"].values, rtol=1e-10)


def test_attributes_say_what_it_is_about(tree):
    assert tree.attrs["data"] == "plane"
    assert tree.attrs["kernel"] == "Laplace(length_scale=1.5)"
    assert (tree.attrs["num_samples"], tree.attrs["num_rows"], tree.attrs["num_outputs"]) == (160, 160, 1)
    assert tree.attrs["status"] == "complete"
    assert json.loads(tree.attrs["remarks"])[0] == "made up"


def test_a_gram_matrix_gives_the_same_as_data_with_the_kernel(tree):
    alone = analyze(KERNEL(X), Y)
    assert alone.attrs["kernel"] == "precomputed"
    for part in ("best", "risk", "decay", "regime"):
        for key, value in tree[part].attrs.items():
            if isinstance(value, float):
                assert alone[part].attrs[key] == pytest.approx(value, nan_ok=True), (part, key)


def test_units_of_the_kernel_and_of_the_targets(tree):
    other = analyze(1e-14 * KERNEL(X), 1e7 * Y)
    assert other["best"].attrs["ridge"] == pytest.approx(1e-14 * tree["best"].attrs["ridge"], rel=1e-6)
    assert other["risk"].attrs["risk"] == pytest.approx(1e14 * tree["risk"].attrs["risk"], rel=1e-6)
    assert other["decay"].attrs["decay_exponent"] == pytest.approx(tree["decay"].attrs["decay_exponent"])
    assert other["regime"].attrs["verdict"] == tree["regime"].attrs["verdict"]


def test_without_targets_there_is_no_risk():
    alone = analyze(X, kernel=KERNEL)
    assert list(alone.children) == ["decay", "regime", "condition", "dimension"]
    assert alone.attrs["num_outputs"] == 0


def test_stages_come_in_order_and_the_file_is_complete_after_each(tmp_path):
    seen = []

    def keep(tree):
        spectra.save(tree, tmp_path / "k.nc")
        seen.append((list(spectra.load(tmp_path / "k.nc").children)[-1], tree.attrs["status"]))

    analyze(X, Y, kernel=KERNEL, on_stage=keep)
    assert [name for name, _ in seen] == ["decay", "condition", "path", "extrapolation", "dimension"]
    assert [status for _, status in seen] == ["interrupted"] * 4 + ["complete"]


def test_beyond_the_limit_rows_are_drawn_and_the_others_are_held_out():
    points, targets = noisy_plane(900, np.random.default_rng(6))
    part = analyze(points, targets, kernel=KERNEL, max_dense=300, subsample=250)
    assert (part.attrs["num_samples"], part.attrs["num_rows"]) == (900, 250)
    assert "laws and risks are those of 250 random rows of 900" in json.loads(part.attrs["remarks"])
    risk = part["risk"].attrs
    assert risk["num_held_out"] == 650
    # The leave-one-out error of the drawn rows against fresh samples.
    assert abs(risk["held_out_error"] - risk["risk"]) < 4 * np.hypot(risk["held_out_stderr"], risk["stderr"])
    assert int(part["dimension"].attrs["num_samples"]) == 900
    assert 900 in part["extrapolation"]["num_samples"].values
    whole = analyze(points, targets, kernel=KERNEL)
    beyond = part["extrapolation"].to_dataset().sel(num_samples=900).isel(ridge=0)
    assert float(beyond["low"]) < whole["risk"].attrs["risk"] < float(beyond["high"])
    # Both sides of the switch agree on the effective dimension.
    ridges = part["dimension"]["ridge"].values
    dense = kernel_dimension(KERNEL, points, ridges, dense_up_to=900)
    for row, value in enumerate(dense["df1"].values):
        low, high = (float(part["dimension"][f"df1_{end}"].values[row]) for end in ("low", "high"))
        assert low - 1e-6 * value <= value <= high + 1e-6 * value


def test_float32_data_are_measured_in_float64():
    single = analyze(X.astype(np.float32), Y, kernel=KERNEL)
    assert single.attrs["eps"] == np.finfo(np.float64).eps
    whole = analyze(X, Y, kernel=KERNEL)
    assert single["risk"].attrs["risk"] == pytest.approx(whole["risk"].attrs["risk"], rel=1e-4)


def test_a_memmap_is_read_in_part(tmp_path):
    points, targets = noisy_plane(600, np.random.default_rng(7))
    np.save(tmp_path / "x.npy", points)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    part = analyze(mapped, targets, kernel=RBF(1.0), max_dense=200, subsample=150)
    again = analyze(points, targets, kernel=RBF(1.0), max_dense=200, subsample=150)
    assert part["risk"].attrs["risk"] == again["risk"].attrs["risk"]


def test_constant_and_unequal_features_are_remarked():
    odd = np.column_stack([X, np.ones(160), 1e4 * X[:, 0]])
    remarks = json.loads(analyze(odd, kernel=RBF(1.0)).attrs["remarks"])
    assert "feature 2 is constant (1 in all)" in remarks
    assert any("differ by a factor" in remark for remark in remarks)


def test_copies_are_remarked_and_constant_data_are_rank_one():
    twice = np.concatenate([X[:40], X[:40]])
    assert any(
        "40 of 80 samples are copies" in one for one in json.loads(analyze(twice, kernel=KERNEL).attrs["remarks"])
    )
    same = analyze(np.ones((50, 2)), np.arange(50.0), kernel=KERNEL)
    assert same["decay"].attrs["law"] == "finite_rank"
    assert same["decay"].attrs["rank"] == 1


def test_few_samples_still_give_an_answer():
    for n in (2, 3, 10):
        few = analyze(X[:n], Y[:n], kernel=KERNEL)
        assert few["decay"].attrs["law"] in ({"undetermined"} if n < 10 else {"undetermined", "ambiguous"})
        assert "curve" not in few.children
    one = analyze(X[:1], kernel=KERNEL)
    assert one.attrs["num_samples"] == 1


@pytest.mark.parametrize(
    ("source", "y", "kernel", "error", "match"),
    [
        (X, Y[:-1], KERNEL, ShapeError, "one row for each sample"),
        (X, None, None, ShapeError, "need kernel="),
        (np.ones(3), None, KERNEL, ShapeError, "data of shape"),
        (np.where(X[3, 0] == X, np.nan, X), None, KERNEL, NonFiniteError, "finite"),
        (X, np.where(Y[0] == Y, np.nan, Y), KERNEL, NonFiniteError, "finite"),
        (-np.eye(5), None, None, ArgumentError, "positive"),
        (X[:1], Y[:1], KERNEL, ArgumentError, "at least two samples"),
        (np.zeros((5, 5)), None, None, ArgumentError, "positive"),
    ],
)
def test_wrong_calls(source, y, kernel, error, match):
    with pytest.raises(error, match=match):
        analyze(source, y, kernel=kernel)


def test_training_sets_of_the_curve_are_at_most_a_quarter():
    """150 / 4 rounds to 38, for which the theory was not measured to be good."""
    X, y = noisy_plane(150, np.random.default_rng(2))
    curve = analyze(X, y, kernel=Laplace(1.5))["curve"].to_dataset()
    assert curve["num_samples"].values.tolist() == [9, 18, 37]
    assert np.all(np.isfinite(curve["low"].values))
