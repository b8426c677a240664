"""Predicted curves for several learning rates and batch sizes at once."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from spectra.dynamics.closures import Closure
from spectra.dynamics.quadratic import Quadratic
from spectra.dynamics.sgd import sgd_curve
from spectra.errors import ArgumentError

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["sgd_curves"]


def sgd_curves(
    problem: Quadratic,
    *,
    closure: Closure,
    learning_rates: Sequence[float],
    batch_sizes: Sequence[int] = (1,),
    num_steps: int,
    record: npt.ArrayLike | None = None,
    **settings: Any,
) -> "xr.Dataset":
    """Predict curves on a grid of learning rates and batch sizes.

    Parameters
    ----------
    problem, closure, num_steps, record
        As for :func:`sgd_curve`.
    learning_rates, batch_sizes : sequence
        Constant settings, all combinations.
    **settings
        Further constant settings of :func:`sgd_curve`.

    Returns
    -------
    xarray.Dataset
        Dimensions ``learning_rate``, ``batch_size`` and ``step``. Variables ``loss``, ``noise_free_loss``, ``epoch``
        ``(batch_size, step)`` unless the data is a stream, and ``critical_learning_rate``, ``kernel_norm`` and
        ``floor`` per setting (NaN where the closure has none).

    Examples
    --------
    >>> import numpy as np
    >>> one = np.ones(1)
    >>> problem = Quadratic(eigenvalue=one, multiplicity=one, initial_loss=one, num_samples=10)
    >>> grid = sgd_curves(problem, closure="limit", learning_rates=[0.1, 0.2], batch_sizes=[1, 5], num_steps=50)
    >>> dict(grid.sizes)
    {'learning_rate': 2, 'batch_size': 2, 'step': 51}
    """
    import xarray as xr

    if len(learning_rates) == 0 or len(batch_sizes) == 0:
        raise ArgumentError("at least one learning rate and one batch size are needed")
    rows = []
    for rate in learning_rates:
        row = []
        for size in batch_sizes:
            curve = sgd_curve(
                problem,
                closure=closure,
                learning_rate=float(rate),
                batch_size=int(size),
                num_steps=num_steps,
                record=record,
                **settings,
            )
            for name in ("critical_learning_rate", "kernel_norm", "floor"):
                curve[name] = curve.attrs.get(name, np.nan)
            row.append(curve)
        rows.append(
            xr.concat(row, dim="batch_size", coords="different", compat="equals", combine_attrs="drop_conflicts")
        )
    return xr.concat(rows, dim="learning_rate", coords="different", compat="equals", combine_attrs="drop_conflicts")
