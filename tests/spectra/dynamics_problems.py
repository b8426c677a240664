"""Problems and checks for the tests of predictions."""

import numpy as np
import xarray as xr

from spectra.dynamics import Quadratic, from_data
from spectra.dynamics.checks import checks_dataset
from spectra.dynamics_tree import predict


def gaussian(num_samples: int = 200, dimension: int = 20) -> Quadratic:
    """Return regression on Gaussian data with a decaying spectrum and label noise."""
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((num_samples, dimension)) * np.arange(1, dimension + 1) ** -0.5
    target = matrix @ rng.standard_normal(dimension) + 0.5 * rng.standard_normal(num_samples)
    return from_data(matrix, target, name="gaussian")


def unequal() -> Quadratic:
    """Return a problem with one sample that is far larger than the others, for which the closure is refused."""
    rng = np.random.default_rng(1)
    matrix = rng.standard_normal((200, 10)) * 0.1
    matrix[0] = 0.0
    matrix[0, 0] = 30.0
    return from_data(matrix, rng.standard_normal(200), name="unequal")


def check_of(
    tree: xr.DataTree, *, rates: list[float] | None = None, trusted: int | None = None, factor: float = 1.0
) -> xr.Dataset:
    """Return what a check of the linearization gives, with measured losses that are the predicted ones times a factor.

    ``trusted`` steps of the budget count as trusted; all by default. The step after is off.
    """
    curves = tree["curves"].to_dataset().isel(batch_size=0)
    best = float(tree["best"]["learning_rate"].values[0])
    last = int(curves["step"].values[-1])
    checks = []
    for rate in [best] if rates is None else rates:
        place = int(np.argmin(np.abs(curves["learning_rate"].values - rate)))
        loss = curves["loss"].values[place]
        until = last if trusted is None else trusted
        checks.append(
            xr.Dataset(
                {
                    "loss": ("step", factor * loss),
                    "stderr": ("step", 0.001 * loss),
                    "run_loss": (("run", "step"), np.array([0.99 * factor * loss, 1.01 * factor * loss])),
                    "predicted_loss": ("step", loss),
                    "noise_free_loss": ("step", curves["noise_free_loss"].values[place]),
                    "deviation": ("step", np.full_like(loss, 1 / factor - 1)),
                    "noise_free_deviation": ("step", np.full_like(loss, 1 / factor - 1)),
                },
                coords={"step": curves["step"].values, "epoch": ("step", curves["step"].values / 10), "run": [0, 1]},
                attrs={
                    "schema": "spectra/linearization",
                    "schema_version": 1,
                    "closure": str(tree.attrs["closure"]),
                    "momentum": float(tree.attrs["momentum"]),
                    "nesterov": int(tree.attrs["nesterov"]),
                    "learning_rate": rate,
                    "batch_size": int(tree.attrs["batch_size"]),
                    "num_runs": 2,
                    "tolerance": 0.1,
                    "seed": 0,
                    "trusted_steps": until,
                    "trusted_epochs": until / 10,
                    "is_trusted_throughout": int(until == last),
                    "ended": "throughout" if until == last else "off",
                    "off_step": -1 if until == last else until + 1,
                    "closer": "noise_free_loss",
                    "reason": f"the prediction holds up to step {until}",
                },
            )
        )
    return checks_dataset(checks)


def prediction(problem: Quadratic | None = None, **changes: object) -> xr.DataTree:
    """Return a prediction at usual settings."""
    settings = {"closure": "limit", "batch_sizes": [16, 4], "num_steps": 60, **changes}
    return predict(gaussian() if problem is None else problem, **settings)  # type: ignore[arg-type]


def with_check(tree: xr.DataTree, **options: object) -> xr.DataTree:
    """Return the tree with a check."""
    tree["check"] = xr.DataTree(check_of(tree, **options))  # type: ignore[arg-type]
    return tree
