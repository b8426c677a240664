"""Predicted curves for several learning rates and batch sizes at once."""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from spectra.dynamics.closures import Closure
from spectra.dynamics.quadratic import Quadratic
from spectra.dynamics.sgd import sgd_curve
from spectra.dynamics.steps import per_step
from spectra.errors import ArgumentError

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["sgd_curves"]


def sgd_curves(
    problem: Quadratic,
    *,
    closure: Closure,
    learning_rates: npt.ArrayLike,
    batch_sizes: npt.ArrayLike = 1,
    num_steps: int,
    record: npt.ArrayLike | None = None,
    **settings: Any,
) -> "xr.Dataset":
    """Predict curves on a grid of learning rates and batch sizes.

    Parameters
    ----------
    problem, closure, num_steps, record
        As for :func:`sgd_curve`.
    learning_rates, batch_sizes : array_like
        Constant settings, all combinations.
    **settings
        Further constant settings of :func:`sgd_curve`.

    Returns
    -------
    xarray.Dataset
        Dimensions ``learning_rate``, ``batch_size`` and ``step``. Variables ``loss``, ``noise_free_loss``, ``epoch``
        ``(batch_size, step)`` unless the data is a stream, and per setting ``critical_learning_rate``,
        ``row_safe_learning_rate``, ``kernel_norm`` and ``floor`` (NaN where there is none), ``is_stable`` and
        ``caution`` (empty, or a sentence).

    Raises
    ------
    ArgumentError, ShapeError, NonFiniteError
        As of :func:`sgd_curve`, and without a learning rate or batch size.

    Notes
    -----
    One curve per setting.

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

    rates = per_step(np.atleast_1d(learning_rates), name="learning_rates", num_steps=np.size(learning_rates))
    sizes = per_step(
        np.atleast_1d(batch_sizes), name="batch_sizes", num_steps=np.size(batch_sizes), least=1, whole=True
    )
    if rates.size == 0 or sizes.size == 0:
        raise ArgumentError("at least one learning rate and one batch size are needed")
    rows = []
    for rate in rates.tolist():
        row = []
        for size in sizes.tolist():
            curve = sgd_curve(
                problem,
                closure=closure,
                learning_rate=rate,
                batch_size=int(size),
                num_steps=num_steps,
                record=record,
                **settings,
            )
            for name in ("critical_learning_rate", "row_safe_learning_rate", "kernel_norm", "floor"):
                curve[name] = curve.attrs.pop(name, np.nan)
            curve["is_stable"] = bool(curve.attrs.pop("is_stable", False))
            curve["caution"] = curve.attrs.pop("caution", "")
            row.append(curve)
        rows.append(
            xr.concat(row, dim="batch_size", coords="different", compat="equals", combine_attrs="drop_conflicts")
        )
    return xr.concat(rows, dim="learning_rate", coords="different", compat="equals", combine_attrs="drop_conflicts")
