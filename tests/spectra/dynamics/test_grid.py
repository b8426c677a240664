import numpy as np
import pytest

from spectra.dynamics import sgd_curve, sgd_curves, streaming
from spectra.errors import ArgumentError
from tests.spectra.dynamics.least_squares import gaussian_problem


@pytest.mark.parametrize("closure", ["limit", "gaussian", "kurtosis", "row_resolved", "exact", "continuous"])
def test_a_grid_holds_the_single_curves(closure):
    problem = gaussian_problem(20, 5)
    grid = sgd_curves(
        problem, closure=closure, learning_rates=[0.02, 0.05], batch_sizes=[1, 4], num_steps=30, record=[0, 10, 30]
    )
    assert grid["loss"].dims == ("learning_rate", "batch_size", "step")
    one = sgd_curve(problem, closure=closure, learning_rate=0.05, batch_size=4, num_steps=30, record=[0, 10, 30])
    picked = grid.sel(learning_rate=0.05, batch_size=4)
    np.testing.assert_array_equal(picked["loss"], one["loss"])
    np.testing.assert_array_equal(picked["epoch"], one["epoch"])
    assert float(picked["critical_learning_rate"]) == one.attrs["critical_learning_rate"]
    assert grid.attrs["closure"] == closure
    for name in ("floor", "kernel_norm"):
        assert float(picked[name]) == one.attrs.get(name, pytest.approx(np.nan, nan_ok=True))


def test_a_grid_of_a_stream_counts_samples():
    problem = streaming([1.0, 0.5], [1.0, 1.0], noise=0.1)
    grid = sgd_curves(problem, closure="gaussian", learning_rates=[0.1], batch_sizes=[2, 8], num_steps=5)
    np.testing.assert_array_equal(grid["samples"].sel(batch_size=8), 8 * np.arange(6))


@pytest.mark.parametrize("empty", [{"learning_rates": []}, {"batch_sizes": []}])
def test_empty_grids(empty):
    with pytest.raises(ArgumentError, match="at least one"):
        sgd_curves(gaussian_problem(), **({"closure": "limit", "learning_rates": [0.1], "num_steps": 1} | empty))


def test_cautions_belong_to_their_settings():
    problem = gaussian_problem()
    critical = sgd_curve(problem, closure="limit", learning_rate=0.01, num_steps=1).attrs["critical_learning_rate"]
    grid = sgd_curves(problem, closure="limit", learning_rates=critical * np.array([0.1, 0.9, 1.1]), num_steps=3)
    assert "caution" not in grid.attrs
    assert "is_stable" not in grid.attrs
    assert grid["is_stable"].values.ravel().tolist() == [True, True, False]
    cautions = grid["caution"].values.ravel().tolist()
    assert cautions[0] == ""
    assert "rare runs" in cautions[1]
    assert "unstable" in cautions[2]


@pytest.mark.parametrize("sizes", [[2.7], [0], "a", [61]])
def test_batch_sizes_that_cannot_be(sizes):
    with pytest.raises(ArgumentError):
        sgd_curves(gaussian_problem(), closure="limit", learning_rates=0.1, batch_sizes=sizes, num_steps=2)
