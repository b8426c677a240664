"""Fabricated recordings of training runs."""

import json

import numpy as np
import xarray as xr

from spectra.recommend import OptimizerSpec
from spectra.recording import MEASURED, RECORDING_SCHEMA, RECORDING_SCHEMA_VERSION, VARIABLES


def recording(num: int = 5, *, optimizer: OptimizerSpec | None = None, failures: tuple = ()) -> xr.Dataset:
    """Return a recording whose numbers follow simple rules: sharpness 2^k at measurement k, noise scale 100 k."""
    steps, k = 100 * np.arange(1, num + 1), np.arange(num)
    content = {
        name: (axis, np.full(size, np.nan), {"long_name": meaning})
        for axis, size in (("step", num), ("training_step", 10))
        for name, meaning in VARIABLES[axis].items()
    }
    found = xr.Dataset(content, coords={"step": steps, "training_step": np.arange(1, 11)})
    for name in MEASURED:
        found[f"{name}_status"] = ("step", np.ones(num, dtype=np.int8))
    found["sharpness"] = ("step", 2.0**k)
    found["sharpness_residual"] = ("step", 0.1 * 2.0**k)
    found["learning_rate"] = ("step", np.full(num, 0.01))
    found["step_learning_rate"] = ("training_step", np.full(10, 0.01))
    found["max_stable_learning_rate"] = ("step", 1.0 / 2.0**k)
    found["noise_scale"], found["noise_scale_stderr"] = ("step", 100.0 * (1 + k)), ("step", np.full(num, 10.0))
    found["squared_gradient"], found["squared_gradient_stderr"] = (
        ("step", np.full(num, 1.0)),
        ("step", np.full(num, 0.1)),
    )
    found["trace_covariance"] = ("step", 100.0 * (1 + k))
    if num:
        found["squared_gradient"][-1] = 0.1
    found.attrs = {
        "schema": RECORDING_SCHEMA,
        "schema_version": RECORDING_SCHEMA_VERSION,
        "task": "fabricated",
        "optimizer": (optimizer or OptimizerSpec(kind="momentum")).to_json(),
        "batch_size": 32,
        "reference_size": 64,
        "num_steps": 100 * num,
        "num_postponed": 2,
        "overhead": 0.021,
        "overhead_budget": 0.03,
        "status": "closed",
        "software": json.dumps({"spectra": "0.1.0"}),
        "failures": json.dumps(list(failures)),
    }
    return found
