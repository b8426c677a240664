"""z scores: definition, what has none, and predictions that do not fit."""

import numpy as np
import pytest
import xarray as xr

from spectra.dynamics.simulation import simulate_sgd
from spectra.dynamics.z_scores import z_scores
from spectra.errors import ArgumentError, SchemaError


def simulated(**changes):
    rng = np.random.default_rng(0)
    settings = {"learning_rate": 0.1, "num_steps": 12, "num_runs": 16} | changes
    return simulate_sgd(rng.standard_normal((20, 4)), rng.standard_normal(20), **settings)


def curve(values, steps=range(13)):
    return xr.DataArray(values, dims="step", coords={"step": list(steps)})


def test_definition():
    run = simulated()
    predicted = run["loss"].values + np.linspace(0.0, 0.01, 13)
    for prediction in (curve(predicted), xr.Dataset({"loss": curve(predicted)})):
        found = z_scores(run, prediction)
        z = (run["loss"].values - predicted)[1:] / run["stderr"].values[1:]
        np.testing.assert_allclose(found["z"].values[1:], z, rtol=1e-10)
        assert np.isnan(found["z"].values[0])
        assert found.attrs["num_compared"] == 12
        assert found.attrs["rms_z"] == pytest.approx(np.sqrt(np.mean(z**2)))
        deviation = np.abs(run["loss"].values / predicted - 1)
        assert found.attrs["max_relative_deviation"] == pytest.approx(np.max(deviation))
        assert found.attrs["num_unresolved"] == np.sum(~run["mean_resolved"].values[1:])


def test_steps_are_matched_by_their_names():
    run = simulated(record=[12, 3])
    found = z_scores(run, curve(np.arange(20.0), range(20))[::-1])
    assert found["predicted"].values.tolist() == [3.0, 12.0]
    with pytest.raises(ArgumentError, match=r"2 recorded steps, but 1 are missing: 12; "):
        z_scores(run, curve(np.ones(12), range(12)))
    with pytest.raises(ArgumentError, match=r"missing: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, \.\.\."):
        z_scores(simulated(), curve(np.ones(1), [99]))


def test_risk():
    run = simulated(population=(np.eye(4), np.ones(4), 1.0))
    found = z_scores(run, xr.Dataset({"risk": curve(run["risk"].values * 1.01)}), variable="risk")
    np.testing.assert_allclose(found["z"][1:], -0.01 * (run["risk"] / run["risk_stderr"])[1:], rtol=1e-8)
    with pytest.raises(ArgumentError, match="variable must be"):
        z_scores(simulated(), curve(np.ones(13)), variable="risk")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_runs_without_chance_have_no_z(dtype):
    A, b = (x.astype(dtype) for x in (np.random.default_rng(0).standard_normal((20, 4)), np.ones(20)))
    run = simulate_sgd(A, b, learning_rate=0.1, batch_size=20, num_steps=12)
    found = z_scores(run, curve(run["loss"].values * 1.25))
    assert found.attrs["num_compared"] == 0
    assert np.isnan(found.attrs["rms_z"])
    assert found.attrs["max_relative_deviation"] == pytest.approx(0.2)
    found = z_scores(simulated(num_runs=1), curve(np.ones(13)))
    assert found.attrs["num_compared"] == 0


def test_diverged_and_zero_curves():
    run = simulated(learning_rate=1e80)
    assert run["loss"].values[-1] == np.inf
    found = z_scores(run, curve(np.ones(13)))
    assert np.isnan(found["z"].values[-1])
    assert found.attrs["max_relative_deviation"] == np.inf
    same = z_scores(run, curve(run["loss"].values))
    assert same.attrs["max_relative_deviation"] == 0.0
    # a prediction that is not finite deviates infinitely where the simulation is finite
    for bad in (np.nan, np.inf, 0.0):
        found = z_scores(simulated(), curve(np.full(13, bad)))
        assert found.attrs["max_relative_deviation"] == np.inf
        assert np.isinf(found.attrs["rms_z"]) == (bad != 0.0)


def test_wrong_predictions():
    run = simulated()
    with pytest.raises(SchemaError, match="spectra/simulation"):
        z_scores(xr.Dataset(), curve(np.ones(13)))
    for bad in (np.ones(13), xr.DataArray(np.ones(13), dims="step"), xr.Dataset({"risk": curve(np.ones(13))})):
        with pytest.raises(ArgumentError, match="the prediction must"):
            z_scores(run, bad)
    with pytest.raises(ArgumentError, match="the prediction must"):
        z_scores(run, curve(np.ones(13)).expand_dims(run=2))
    with pytest.raises(ArgumentError, match="unique"):
        z_scores(run, curve(np.ones(14), [*range(13), 0]))
