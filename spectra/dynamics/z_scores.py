"""Whether a predicted curve agrees with a simulation, in units of the simulation's own standard errors."""

from typing import TYPE_CHECKING

import numpy as np

from spectra.dynamics.simulation_dataset import SIMULATION_SCHEMA
from spectra.errors import ArgumentError, SchemaError
from spectra.provenance import provenance

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Z_SCORES_SCHEMA", "z_scores"]

Z_SCORES_SCHEMA = "spectra/z-scores"
_VERSION = 1

#: Standard errors below this many eps of the mean are rounding, not chance (as in `spectra.lanczos.BREAKDOWN`).
_ROUNDING = 64.0
_STDERR = {"loss": "stderr", "risk": "risk_stderr"}


def z_scores(
    simulation: "xr.Dataset", predicted_loss: "xr.Dataset | xr.DataArray", *, variable: str = "loss"
) -> "xr.Dataset":
    """Compare a simulated mean with a prediction, ``z = (mean - predicted)/stderr`` at each record.

    Parameters
    ----------
    simulation : xarray.Dataset
        From `spectra.dynamics.simulate_sgd` or `spectra.dynamics.simulate_streaming`.
    predicted_loss : xarray.Dataset or xarray.DataArray
        A curve over ``step``; of a Dataset, its variable of the same name is taken. It must hold every recorded step,
        as nothing is interpolated, and may hold more. NaN counts as infinite.
    variable : {"loss", "risk"}
        What is compared.

    Returns
    -------
    xarray.Dataset
        Over ``step``: ``z``; ``relative_deviation``, ``mean/predicted - 1``; and both curves, ``simulated`` and
        ``predicted``. Attributes: ``schema``, ``schema_version`` and ``variable``; ``rms_z``, root mean square of z;
        ``max_relative_deviation``, the largest size of the relative deviation, infinite where only one of the curves
        is; ``num_compared``, the number of records with a z; ``num_unresolved``, those of them at which the mean loss
        rests on few runs (``mean_resolved``); and the provenance.
        z is NaN where chance had no part (all runs equal up to rounding, as at step 0), where a single run has no
        standard error, and where the simulated mean is infinite; there only ``relative_deviation`` tells.

    Raises
    ------
    SchemaError
        If ``simulation`` is none.
    ArgumentError
        If the prediction has no such variable or no dimension ``step`` alone, or misses recorded steps.

    Notes
    -----
    A correct prediction has z of unit variance. The records of a curve share their runs and are correlated: ``rms_z``
    is no sum of independent squares, and of a correct prediction it may well be 2 if all its records are off together.
    Source: derived.

    O(records) operations.

    Examples
    --------
    >>> import xarray as xr
    >>> from spectra.dynamics.simulation import simulate_sgd
    >>> A = np.eye(2)
    >>> run = simulate_sgd(A, np.zeros(2), start=np.ones(2), learning_rate=1.0, num_steps=1, num_runs=8)
    >>> prediction = xr.DataArray([0.5, 0.25, 0.125], dims="step", coords={"step": [0, 1, 2]})
    >>> z_scores(run, prediction).attrs["max_relative_deviation"]
    0.0
    """
    import xarray as xr

    if getattr(simulation, "attrs", {}).get("schema") != SIMULATION_SCHEMA:
        raise SchemaError(
            f"simulation must be a dataset of schema {SIMULATION_SCHEMA!r}, got {type(simulation).__name__}"
        )
    if variable not in _STDERR or variable not in simulation:
        raise ArgumentError(f"variable must be 'loss', or 'risk' if it was simulated, got {variable!r}")
    curve = _curve(predicted_loss, variable)
    steps, known = simulation["step"].values, curve["step"].values
    missing = steps[~np.isin(steps, known)]
    if len(missing):
        first = ", ".join(str(step) for step in missing[:10].tolist())
        raise ArgumentError(
            f"the prediction must hold all {len(steps)} recorded steps, but {len(missing)} are missing: {first}"
            f"{', ...' if len(missing) > 10 else ''}; predict them, or simulate with record=prediction['step']"
        )
    predicted = np.asarray(curve.sel(step=steps).values, dtype=np.float64)
    mean, stderr = simulation[variable].values, simulation[_STDERR[variable]].values
    rounding = _ROUNDING * np.finfo(simulation.attrs["dtype"]).eps * np.abs(mean)
    random = np.isfinite(mean) & (stderr > rounding)
    # a prediction that is NaN is as far off as an infinite one
    predicted = np.where(np.isnan(predicted), np.inf, predicted)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        z = np.divide(mean - predicted, stderr, out=np.full(len(steps), np.nan), where=random)
        same = mean == predicted
        deviation = np.where(same, 0.0, mean / np.where(same, 1.0, predicted) - 1.0)
        deviation = np.where(np.isinf(predicted) & ~same, np.inf, deviation)
    result = xr.Dataset(
        {
            "z": ("step", z),
            "relative_deviation": ("step", deviation),
            "simulated": ("step", mean),
            "predicted": ("step", predicted),
        },
        coords={"step": steps},
    )
    result.attrs = provenance(
        schema=Z_SCORES_SCHEMA,
        schema_version=_VERSION,
        variable=variable,
        rms_z=float(np.sqrt(np.mean(z[random] ** 2))) if np.any(random) else np.nan,
        max_relative_deviation=float(np.max(np.abs(deviation))),
        num_compared=int(np.sum(random)),
        num_unresolved=int(np.sum(random & ~simulation["mean_resolved"].values)),
    )
    return result


def _curve(predicted: "xr.Dataset | xr.DataArray", variable: str) -> "xr.DataArray":
    """Return the predicted curve as an array over the coordinate ``step``."""
    import xarray as xr

    curve = predicted
    if isinstance(predicted, xr.Dataset):
        if variable not in predicted:
            raise ArgumentError(f"the prediction must hold {variable!r}; it holds {', '.join(map(str, predicted))}")
        curve = predicted[variable]
    if not isinstance(curve, xr.DataArray) or curve.dims != ("step",) or "step" not in curve.coords:
        raise ArgumentError(
            "the prediction must be a curve over the dimension and coordinate 'step' alone, got "
            + (f"dimensions {curve.dims}" if isinstance(curve, xr.DataArray) else type(curve).__name__)
        )
    if not curve.indexes["step"].is_unique:
        raise ArgumentError("the steps of the prediction must be unique")
    return curve
