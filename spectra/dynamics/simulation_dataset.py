"""The dataset of a simulation: losses of all runs, their statistics, and the settings."""

from typing import TYPE_CHECKING, Any

import numpy as np

from spectra.dynamics.run_statistics import quantiles_of, statistics_of
from spectra.dynamics.simulation_plan import SimulationPlan, distinct
from spectra.provenance import provenance

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["SIMULATION_SCHEMA", "simulation_dataset"]

SIMULATION_SCHEMA = "spectra/simulation"
_VERSION = 1
_LONG_NAMES = {
    "loss": "mean over the runs of the full loss",
    "stderr": "standard error of the mean loss",
    "relative_stderr": "standard error over the mean loss",
    "largest_run_share": "part of the sum of the losses that the largest run carries",
    "mean_resolved": "whether leaving out the largest run lowers the mean loss by at most 10 %",
    "loss_quantile": "quantile of the loss over the runs",
    "run_loss": "loss of each run; infinite where it diverged",
    "risk": "mean over the runs of the population risk",
    "risk_stderr": "standard error of the mean population risk",
    "run_risk": "population risk of each run; infinite where it diverged",
}


def simulation_dataset(
    measured: dict[str, np.ndarray], plan: SimulationPlan, *, sizes: np.ndarray, num_samples: int | None, **attrs: Any
) -> "xr.Dataset":
    """Return losses and their statistics as `spectra.dynamics.simulate_sgd` describes them.

    Parameters
    ----------
    measured : dict of ndarray, shape (runs, records)
        ``loss`` and perhaps ``risk``; NaN counts as infinite.
    plan : SimulationPlan
    sizes : ndarray of int, shape (num_steps,)
        Samples in each batch.
    num_samples : int, optional
        For the coordinate ``epoch``; without it there is none.
    **attrs : object
        Further attributes.

    Returns
    -------
    xarray.Dataset
        On the host, schema ``spectra/simulation``.

    Notes
    -----
    O(runs records log(runs)) operations, for the quantiles. Source: see `spectra.dynamics.run_statistics`.

    Examples
    --------
    See `spectra.dynamics.simulate_sgd`.
    """
    import xarray as xr

    measured = {name: np.where(np.isnan(values), np.inf, values) for name, values in measured.items()}
    samples = np.concatenate([[0], np.cumsum(sizes)])[plan.record]
    coordinates: dict[str, Any] = {
        "step": plan.record,
        "run": np.arange(plan.num_runs),
        "quantile": plan.quantiles,
        "samples": ("step", samples),
    }
    if num_samples is not None:
        coordinates["epoch"] = ("step", samples / num_samples)
        attrs["num_samples"] = num_samples
    found = statistics_of(measured["loss"])
    content: dict[str, Any] = {
        "loss": ("step", found.pop("mean")),
        **{name: ("step", values) for name, values in found.items()},
        "loss_quantile": (("quantile", "step"), quantiles_of(measured["loss"], plan.quantiles)),
        "run_loss": (("run", "step"), measured["loss"]),
    }
    if "risk" in measured:
        risk = statistics_of(measured["risk"])
        content |= {"risk": ("step", risk["mean"]), "risk_stderr": ("step", risk["stderr"])}
        content["run_risk"] = (("run", "step"), measured["risk"])
    settings: dict[str, Any] = {"nesterov": int(plan.nesterov), "weight_decay": plan.weight_decay}
    schedules = {"learning_rate": plan.learning_rate, "momentum": plan.momentum, "batch_size": plan.batch_size}
    for name, values in schedules.items():
        if np.all(distinct(values) == values[0]):
            settings[name] = values[0].item()
        else:
            settings[name] = "one per update"
            content[f"{name}_schedule"] = ("update", values)
    result = xr.Dataset(
        content,
        coords=coordinates,
        attrs=provenance(
            schema=SIMULATION_SCHEMA,
            schema_version=_VERSION,
            num_steps=plan.num_steps,
            num_runs=plan.num_runs,
            num_diverged=int(np.sum(~np.all(np.isfinite(measured["loss"]), axis=1))),
            seed=plan.seed,
            **settings,
            **attrs,
        ),
    )
    for name, text in _LONG_NAMES.items():
        if name in result:
            result[name].attrs["long_name"] = text
    return result
