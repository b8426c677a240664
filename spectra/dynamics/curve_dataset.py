"""A predicted curve as a dataset: steps, epochs, settings along the way."""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from spectra.dynamics.quadratic import Quadratic
from spectra.dynamics.recursion import Curve
from spectra.frozen import Vector

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["CURVE_SCHEMA", "CURVE_SCHEMA_VERSION", "curve_dataset"]

CURVE_SCHEMA = "spectra/curve"
CURVE_SCHEMA_VERSION = 1


def curve_dataset(
    found: Curve,
    problem: Quadratic,
    steps: npt.NDArray[np.int64],
    *,
    gamma: Vector | None,
    size: Vector,
    attrs: dict[str, object],
) -> "xr.Dataset":
    """Return losses with their coordinates, those of :func:`spectra.dynamics.sgd_curve`.

    Parameters
    ----------
    found : Curve
        Losses without the problem's offset.
    problem : Quadratic
    steps : ndarray of int, shape (k,)
        Recorded steps.
    gamma : ndarray or None
        Learning rate, single or per step; None for methods that have several.
    size : ndarray
        Batch size, single or per step.
    attrs : dict
    """
    import xarray as xr

    last = int(steps[-1])
    seen = steps * float(size) if size.ndim == 0 else np.concatenate([[0.0], np.cumsum(size)])[steps]
    coords: dict[str, Any] = {"step": steps}
    if problem.num_samples is None:
        coords["samples"] = ("step", seen)
    else:
        coords["epoch"] = ("step", seen / problem.num_samples)

    def along(value: Vector) -> Any:
        if value.size == 0:  # the schedule of no steps
            return float("nan")
        return float(value) if value.ndim == 0 else ("step", value[np.minimum(steps, last - 1)])

    if gamma is not None:
        coords["learning_rate"] = along(gamma)
    coords["batch_size"] = int(size) if size.ndim == 0 else along(size)
    variables: dict[str, Any] = {
        "loss": ("step", problem.offset + found.loss, {"long_name": "expected loss"}),
        "noise_free_loss": ("step", problem.offset + found.noise_free, {"long_name": "loss without gradient noise"}),
    }
    if found.risk is not None:
        variables["risk"] = ("step", found.risk, {"long_name": "expected loss on the population"})
    return xr.Dataset(variables, coords=coords, attrs=attrs)
