"""A prediction as one tree: it holds what the functions of ``spectra.dynamics`` give, and survives a file."""

import numpy as np
import pytest
import xarray as xr

import spectra
from spectra.dynamics import Quadratic, best_learning_rate, sgd_curve
from spectra.dynamics.checks import checks_dataset
from spectra.dynamics_tree import predict, problem_of, problem_tree
from spectra.errors import ArgumentError, NonFiniteError, SchemaError
from tests.spectra.dynamics_problems import check_of, gaussian, prediction, unequal

ONE = np.ones(1)


@pytest.fixture(scope="module")
def tree():
    return prediction()


def test_curves_are_those_of_sgd_curve(tree):
    """Identity: each curve of the grid, computed alone."""
    curves = tree["curves"].to_dataset()
    for rate in curves["learning_rate"].values:
        for size in (16, 4):
            alone = sgd_curve(gaussian(), closure="limit", learning_rate=rate, batch_size=size, num_steps=60)
            found = curves.sel(learning_rate=rate, batch_size=size)
            np.testing.assert_array_equal(found["loss"].values, alone["loss"].values)
            np.testing.assert_array_equal(found["noise_free_loss"].values, alone["noise_free_loss"].values)


@pytest.mark.parametrize("settings", [{}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}])
def test_best_is_that_of_best_learning_rate(settings):
    tree = prediction(num_steps=20, **settings)
    for size in (16, 4):
        best = best_learning_rate(gaussian(), closure="limit", num_steps=20, batch_size=size, **settings)
        row = tree["best"].to_dataset().sel(batch_size=size)
        assert float(row["learning_rate"]) == best.value
        assert float(row["loss"]) == best.loss
        assert float(row["critical_learning_rate"]) == best.stability.learning_rate


def test_a_single_mode_is_solved_in_one_step():
    """Closed form: without noise one step of 1 / eigenvalue reaches the floor; a tenth of it leaves 0.9^2."""
    problem = Quadratic(eigenvalue=4 * ONE, multiplicity=ONE, initial_loss=ONE, floor=0.5, num_samples=8)
    tree = predict(problem, closure="limit", batch_sizes=[8], num_steps=1)
    # The search stops at a relative 1e-3 of the rate, which leaves the square of that.
    assert float(tree["best"]["learning_rate"].values[0]) == pytest.approx(0.25, rel=1e-3)
    assert tree["curves"]["learning_rate"].values.tolist() == [0.0075, 0.025, 0.075, 0.25, 0.4]
    np.testing.assert_allclose(tree["curves"]["loss"].values[:, 0, 1], [1.4409, 1.31, 0.99, 0.5, 0.86], rtol=1e-12)


def test_landscape_has_its_lowest_point_at_the_best(tree):
    landscape, best = tree["landscape"].to_dataset(), tree["best"].to_dataset()
    for i in range(2):
        rates, losses = landscape["learning_rate"].values[i], landscape["loss"].values[i]
        below_cap = rates <= 0.8 * float(best["usable_learning_rate"].values[i])
        assert losses[below_cap].min() >= float(best["loss"].values[i]) * (1 - 1e-9)
        place = np.argmin(losses[below_cap])
        assert rates[max(place - 1, 0)] <= float(best["learning_rate"].values[i]) <= rates[place + 1]


def test_units_scale_and_nothing_else():
    """A loss in other units, 1e-14 times as large: rates are 1e14 times as large, the shape is the same."""
    plain, scaled = prediction(), prediction(gaussian().scaled(1e-14))
    np.testing.assert_allclose(scaled["best"]["learning_rate"], 1e14 * plain["best"]["learning_rate"], rtol=1e-5)
    np.testing.assert_allclose(scaled["best"]["loss"], 1e-14 * plain["best"]["loss"], rtol=1e-9)
    np.testing.assert_allclose(scaled["curves"]["loss"], 1e-14 * plain["curves"]["loss"], rtol=1e-6)
    np.testing.assert_array_equal(scaled["saturation"]["num_steps"], plain["saturation"]["num_steps"])


def test_refused_critical_rate_is_replaced_by_the_row_safe_one():
    best = prediction(unequal(), batch_sizes=[1])["best"].to_dataset().isel(batch_size=0)
    assert np.isnan(float(best["critical_learning_rate"]))
    assert float(best["usable_learning_rate"]) == float(best["row_safe_learning_rate"])
    assert float(best["learning_rate"]) <= 0.8 * float(best["row_safe_learning_rate"]) * (1 + 1e-12)
    assert str(best["reason"].values).startswith("refused")


@pytest.mark.parametrize("closure", ["limit", "gaussian", "kurtosis", "row_resolved", "exact", "continuous"])
def test_every_closure(closure):
    tree = prediction(closure=closure, num_steps=10, batch_sizes=[16])
    assert tree.attrs["closure"] == closure
    assert ("saturation" in tree.children) == (closure in ("limit", "gaussian", "kurtosis"))
    assert np.all(np.isfinite(tree["best"]["loss"].values))
    assert np.all(np.isnan(tree["best"]["floor"].values)) == (closure in ("row_resolved", "exact"))


def test_streams_and_problems_with_nothing_to_lose():
    stream = Quadratic(eigenvalue=ONE, multiplicity=ONE, initial_loss=ONE, floor=0.1)
    assert "samples" in predict(stream, closure="gaussian", batch_sizes=[2], num_steps=300)["curves"].coords
    done = Quadratic(eigenvalue=ONE, multiplicity=ONE, initial_loss=0 * ONE, floor=0.1, num_samples=9)
    tree = predict(done, closure="limit", batch_sizes=[2], num_steps=5)
    assert float(tree["best"]["loss"].values[0]) == pytest.approx(0.1, rel=1e-3)
    assert np.isnan(tree["saturation"].attrs["knee"]) or tree["saturation"].attrs["knee"] == 9


@pytest.mark.parametrize("name", ["a.nc", "a.zarr"])
def test_files_keep_everything_and_predict_anew(tree, tmp_path, name):
    whole = tree.copy()
    whole["check"] = xr.DataTree(check_of(tree))
    again = spectra.load(spectra.save(whole, tmp_path / name))
    assert set(again.children) == {"problem", "curves", "best", "landscape", "saturation", "check"}
    for node in ("curves", "best", "landscape", "saturation", "check"):
        assert again[node].to_dataset(inherit=False).equals(whole[node].to_dataset(inherit=False))
    anew = predict(problem_of(again), closure="limit", batch_sizes=[16, 4], num_steps=60)
    np.testing.assert_array_equal(anew["curves"]["loss"].values, tree["curves"]["loss"].values)


def test_problem_of():
    problem = gaussian()
    for data in (problem.to_dataset(), problem_tree(problem), prediction()):
        assert problem_of(data).loss == problem.loss
    for data in (xr.Dataset(attrs={"schema": "spectra/run"}), xr.DataTree()):
        with pytest.raises(SchemaError, match="spectra dynamics TASK"):
            problem_of(data)


def test_checks_of_several_rates_are_one_dataset(tree):
    rates = tree["curves"]["learning_rate"].values[[2, 0]].tolist()
    found = check_of(tree, rates=rates, trusted=7)
    assert found["learning_rate"].values.tolist() == sorted(rates)
    assert dict(found.sizes) == {"learning_rate": 2, "run": 2, "step": 61}
    assert found["trusted_steps"].values.tolist() == [7, 7]
    assert found.attrs["batch_size"] == 16
    np.testing.assert_array_equal(found["predicted_loss"].values[1], tree["curves"]["loss"].values[2, 0])
    with pytest.raises(ArgumentError, match="at least one"):
        checks_dataset([])


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"num_steps": 0}, ArgumentError, "at least 1"),
        ({"num_steps": 2.5}, ArgumentError, "num_steps"),
        ({"batch_sizes": []}, ArgumentError, "at least one"),
        ({"batch_sizes": 16}, ArgumentError, "sequence"),
        ({"batch_sizes": [0]}, ArgumentError, "batch_sizes"),
        ({"batch_sizes": [2.5]}, ArgumentError, "batch_sizes"),
        ({"batch_sizes": [16, 201]}, ArgumentError, "201 does not fit into 200"),
        ({"learning_rates": []}, ArgumentError, "at least one"),
        ({"learning_rates": 0.1}, ArgumentError, "sequence"),
        ({"learning_rates": [-0.1]}, ArgumentError, "positive"),
        ({"learning_rates": [1e300]}, ArgumentError, "overflows"),
        ({"learning_rates": [float("nan")]}, NonFiniteError, "finite"),
        ({"closure": "best"}, ArgumentError, "closure"),
        ({"momentum": 1.0}, ArgumentError, "momentum"),
        ({"nesterov": True}, ArgumentError, "momentum"),
        ({"sampling": "reshuffled"}, ArgumentError, "reshuffled"),
        ({"closure": "exact", "momentum": 0.9}, ArgumentError, "plain SGD"),
    ],
)
def test_refusals(changes, error, words):
    with pytest.raises(error, match=words):
        prediction(**changes)


def test_numpy_numbers_and_repeated_batch_sizes():
    tree = prediction(batch_sizes=np.array([16, 4, 16]), learning_rates=np.float32([0.5, 0.25]), num_steps=np.int64(5))
    assert tree["best"]["batch_size"].values.tolist() == [16, 4]
    assert tree["curves"]["learning_rate"].values.tolist() == [0.25, 0.5]
    assert type(tree.attrs["num_steps"]) is int
