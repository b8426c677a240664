r"""The recording of a training run: what it holds, and how it is read while the run goes on.

A recording is a Zarr store (format 2) with the attributes ``schema`` = ``"spectra/recording"`` and ``schema_version``,
and one array for each variable. Two axes:

* ``step``: training steps at which curvature and noise were measured;
* ``training_step``: training steps at which cheap scalars were noted (every step where the overhead budget allows).

Rows are written with their coordinate last. So rows that a killed run left unfinished have no coordinate, and
:func:`read_recording` leaves them out.
"""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from spectra.errors import SchemaError, SpectraError

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "ADDED_LATER",
    "MEASURED",
    "RECORDING_SCHEMA",
    "RECORDING_SCHEMA_VERSION",
    "VARIABLES",
    "is_recording",
    "is_resolved",
    "read_recording",
]

RECORDING_SCHEMA = "spectra/recording"
RECORDING_SCHEMA_VERSION = 1

#: What the numbers of ``..._status`` mean.
STATUS = {0: "not measured", 1: "measured", 2: "failed"}

#: Quantities that are measured one by one, each with a ``..._status``.
MEASURED = ("sharpness", "preconditioned_sharpness", "noise_scale", "curvature_noise")

#: Variables that recordings of earlier releases lack; they are read as NaN.
ADDED_LATER = ("momentum",)

#: By axis: name of each variable and what it is.
VARIABLES: dict[str, dict[str, str]] = {
    "step": {
        "seconds": "time since the first step",
        "learning_rate": "of the first parameter group at the step just taken",
        "momentum": "beta of the first parameter group, beta1 of Adam, at the step just taken",
        "training_loss": "as the training loop reported it (NaN where it did not)",
        "reference_loss": "on the reference set, model in evaluation mode",
        "sharpness": "largest eigenvalue of the Hessian on the reference set (Ritz value)",
        "sharpness_residual": "norm of H y - sharpness y",
        "preconditioned_sharpness": "the same of P^-1/2 H P^-1/2, P the denominator of the optimizer",
        "preconditioned_sharpness_residual": "its residual",
        "noise_scale": "tr Sigma / ||G||^2, in samples (McCandlish et al. 2018)",
        "noise_scale_stderr": "jackknife over micro-batches",
        "squared_gradient": "||G||^2, unbiased; may be negative where it is not resolved",
        "squared_gradient_stderr": "jackknife over micro-batches",
        "trace_covariance": "tr Sigma, the variance of the gradient of one sample",
        "trace_covariance_stderr": "jackknife over micro-batches",
        "curvature_noise": "s2(y) = E ||(H_i - H) y||^2 for one sample, y the top direction of the optimizer's space",
        "curvature_noise_stderr": "jackknife over micro-batches",
        "max_stable_learning_rate": "mean-square-stable limit along y at the batch size of training",
        "learning_rate_margin": "max_stable_learning_rate / learning_rate: below 1 the step is too large",
        "num_products": "Hessian products on the reference set",
        "cost_seconds": "time this measurement took",
        **{f"{name}_status": "0 not measured, 1 measured, 2 failed" for name in MEASURED},
    },
    "training_step": {
        "step_learning_rate": "of the first parameter group",
        "step_loss": "as the training loop reported it",
        "gradient_norm": "||g||_2 of the gradient that the optimizer got, clipped where training clips",
        "gradient_l1_norm": "||g||_1 of the same, for Adam and its kin",
    },
}


def is_recording(path: str | os.PathLike[str]) -> bool:
    """Whether a folder is the recording of a training run."""
    try:
        return json.loads(Path(path, ".zattrs").read_text()).get("schema") == RECORDING_SCHEMA
    except (OSError, ValueError, AttributeError):
        return False


def read_recording(path: str | os.PathLike[str]) -> "xr.Dataset":
    """Read what has been recorded so far, also while the run goes on or after it was killed.

    Parameters
    ----------
    path : str or path-like
        The Zarr store that a :class:`probes.Recorder` writes.

    Returns
    -------
    xarray.Dataset
        In memory, with the coordinates ``step`` and ``training_step``; for the variables see :data:`VARIABLES`, each
        with its meaning as ``long_name``. Attributes: schema, provenance, ``optimizer``, ``batch_size``, sizes,
        ``overhead`` (time of the recorder over time of training, since training was last resumed), ``num_postponed``,
        ``failures`` (JSON) and ``status`` ("recording" or "closed").

    Raises
    ------
    SpectraError
        If there is no such store.
    SchemaError
        If it is no recording, damaged, or of a newer release.
    """
    import xarray as xr
    import zarr

    name = os.fspath(path)
    if not os.path.exists(path):
        raise SpectraError(f"there is no file {name!r}; check the name and the current folder")
    try:
        group = zarr.open_group(name, mode="r", zarr_format=2, use_consolidated=False)
        attrs = dict(group.attrs)
        _check(attrs, name)
        coordinates, content = {}, {}
        for axis, variables in VARIABLES.items():
            marks = np.asarray(group[axis][:])  # type: ignore[index]
            # Coordinates are written last, so that as many rows of everything else are there.
            kept = np.flatnonzero(marks >= 0)
            coordinates[axis] = marks[kept]
            for variable, meaning in variables.items():
                if variable in ADDED_LATER and variable not in group:
                    values = np.full(len(kept), np.nan)
                else:
                    values = np.asarray(group[variable][: len(marks)])[kept]  # type: ignore[index]
                content[variable] = (axis, values, {"long_name": meaning})
    except SpectraError:
        raise
    except Exception as error:
        raise SchemaError(f"{name!r} is damaged: {type(error).__name__}: {error}") from error
    return xr.Dataset(content, coords=coordinates, attrs=attrs)


def is_resolved(recording: "xr.Dataset") -> np.ndarray:
    """Return at which steps the noise scale is a number: where ``||G||^2`` exceeds two of its standard errors.

    Elsewhere the ratio of two estimates is arbitrary, and may be negative.
    """
    squared, error = recording["squared_gradient"].values, recording["squared_gradient_stderr"].values
    value, stderr = recording["noise_scale"].values, recording["noise_scale_stderr"].values
    return (squared > 2 * error) & (value > 0) & np.isfinite(stderr)


def _check(attrs: dict[str, Any], name: str) -> None:
    schema, version = attrs.get("schema"), attrs.get("schema_version")
    if schema != RECORDING_SCHEMA:
        raise SchemaError(f"{name!r} has the schema {schema!r}, not {RECORDING_SCHEMA!r}; spectra.load reads others")
    if not isinstance(version, int) or version < 1:
        raise SchemaError(f"{name!r} must have a whole number from 1 as 'schema_version'; got {version!r}")
    if version > RECORDING_SCHEMA_VERSION:
        raise SchemaError(
            f"{name!r} has version {version} of the schema {schema!r}, and this release reads up to version "
            f"{RECORDING_SCHEMA_VERSION}. Upgrade with pip install -U spectra-probes"
        )
