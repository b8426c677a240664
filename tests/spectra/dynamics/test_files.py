"""Every result of `spectra.dynamics` that is a dataset comes back from a file as it was."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import spectra.dynamics
from spectra import load, save
from spectra.complex_measure import normal_spectrum
from spectra.dynamics import (
    batch_saturation,
    from_data,
    gradient_norm_curve,
    linear_method_curve,
    nesterov_step,
    sgd_curve,
    sgd_curves,
    signsgd_curve,
    simulate_sgd,
    simulate_streaming,
    unrolling_error,
    z_scores,
)
from spectra.errors import SchemaError
from spectra.laws import MarchenkoPastur
from spectra.storage_schemas import SCHEMAS

RNG = np.random.default_rng(0)
A, B = RNG.standard_normal((12, 4)), RNG.standard_normal(12)
PROBLEM = from_data(A, B)
RUN = simulate_sgd(A, B, learning_rate=np.full(5, 0.1), momentum=np.linspace(0, 0.5, 5), num_steps=5, num_runs=3)
CURVE = sgd_curve(PROBLEM, closure="limit", learning_rate=0.1, num_steps=5)

RESULTS = {
    "Quadratic.to_dataset": PROBLEM.to_dataset,
    "sgd_curve": lambda: CURVE,
    "sgd_curves": lambda: sgd_curves(
        PROBLEM, closure="limit", learning_rates=[0.01, 0.1], batch_sizes=[1, 2], num_steps=5
    ),
    "linear_method_curve": lambda: linear_method_curve(
        PROBLEM,
        lambda step, curvature: nesterov_step(curvature, learning_rate=0.1, momentum=0.5),
        closure="limit",
        num_steps=5,
    ),
    "batch_saturation": lambda: batch_saturation(PROBLEM, closure="limit", batch_sizes=[1, 4]),
    "gradient_norm_curve": lambda: gradient_norm_curve(
        MarchenkoPastur(aspect_ratio=0.5), method="nesterov", num_steps=5, noise=0.1
    ),
    "signsgd_curve": lambda: signsgd_curve(np.eye(3), start=np.ones(3), learning_rate=0.1, noise=0.1, num_steps=4),
    "simulate_sgd": lambda: RUN,
    "simulate_streaming": lambda: simulate_streaming(
        np.ones(2), start=np.ones(2), noise=0.1, learning_rate=0.1, num_steps=4, num_runs=3
    ),
    "unrolling_error": lambda: unrolling_error(
        np.eye(2),
        np.ones(2),
        hessian_derivative=np.eye(2),
        linear_derivative=np.ones(2),
        start=np.zeros(2),
        start_derivative=np.zeros(2),
        learning_rate=0.5,
        num_steps=4,
    ),
    "z_scores": lambda: z_scores(RUN, CURVE),
    "normal_spectrum": lambda: normal_spectrum(A[:4] - A[:4].T, num_probes=2),
}


@pytest.fixture(params=[".nc", ".zarr"])
def path(request, tmp_path) -> Path:
    return tmp_path / f"result{request.param}"


@pytest.mark.parametrize("name", RESULTS)
def test_round_trip_is_identical(path, name):
    result = RESULTS[name]()
    assert isinstance(result, xr.Dataset)
    found = load(save(result, path))
    xr.testing.assert_identical(found, result)
    assert {key: array.dtype.kind for key, array in found.variables.items()} == {
        key: array.dtype.kind for key, array in result.variables.items()
    }
    assert set(found.attrs) >= {"schema", "schema_version", "created", "software"}


def test_no_public_function_that_returns_a_dataset_is_left_out():
    returns = set()
    for name in spectra.dynamics.__all__:
        hints = getattr(getattr(spectra.dynamics, name), "__annotations__", {})
        if str(hints.get("return")) == "xr.Dataset":
            returns.add(name)
    assert len(returns) >= 9
    assert returns <= set(RESULTS)


@pytest.mark.parametrize("name", RESULTS)
def test_what_lacks_a_required_variable_is_refused(path, name):
    result = RESULTS[name]()
    for variable in SCHEMAS[result.attrs["schema"]][1]:
        with pytest.raises(SchemaError, match=f"asks for {variable}"):
            save(result.drop_vars(variable), path)


@pytest.mark.parametrize("schema", ["spectra/linearization-checks", "spectra/saturation"])
def test_schemas_of_tables(path, schema):
    variables = {name: ("row", np.ones(2)) for name in SCHEMAS[schema][1]}
    table = xr.Dataset(variables, attrs={"schema": schema, "schema_version": 1})
    xr.testing.assert_identical(load(save(table, path)), table)


def test_a_damaged_complex_measure_is_refused(path):
    measure = normal_spectrum(np.eye(3), num_probes=2)
    save(measure.assign(hessenberg=np.nan * measure["hessenberg"]), path)
    with pytest.raises(SchemaError, match="is damaged"):
        load(path)
