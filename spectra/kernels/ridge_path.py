r"""Risk of kernel ridge regression along ridges, from one eigendecomposition."""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from spectra.kernels.leave_one_out import leave_one_out_of
from spectra.kernels.ridge_fit import RidgeFit, checked_ridges, ridge_fit
from spectra.provenance import provenance

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["RIDGE_PATH_SCHEMA", "RIDGE_PATH_SCHEMA_VERSION", "ridge_path", "ridge_path_of"]

RIDGE_PATH_SCHEMA = "spectra/ridge-path"
RIDGE_PATH_SCHEMA_VERSION = 1


def ridge_path(K: Any, y: Any, ridges: npt.ArrayLike) -> "xr.Dataset":
    r"""Return errors and effective dimensions of kernel ridge regression for several ridges.

    Parameters
    ----------
    K : array of any library, shape (n, n)
        Gram matrix, without a factor 1/n.
    y : array, shape (n,) or (n, C)
        Targets; there is no intercept.
    ridges : array_like, shape (R,)
        Unnormalized, in any order.

    Returns
    -------
    xarray.Dataset
        Dimension ``ridge``, as given: ``effective_ridge``, ``leave_one_out``, ``gcv``, ``train_error`` (squared errors
        summed over outputs), ``leave_one_out_stderr``, ``low``, ``high`` (its 95 % interval), ``df1``, ``df2``,
        ``kappa``, ``overfitting_coefficient``, ``condition_number``, ``is_trustworthy`` and ``why`` (of leave-one-out).
        Attributes: ``num_samples``, ``num_outputs``, ``label_variance``, ``ridge_floor`` and the provenance.

    Raises
    ------
    ArgumentError, ShapeError, NonFiniteError, NotSymmetricError, BackendError
        As :func:`spectra.kernels.leave_one_out.leave_one_out`.

    Notes
    -----
    One eigendecomposition, then a product of order n for each ridge, for the interval. ``df2``, ``kappa`` and
    ``overfitting_coefficient`` are estimates for the population under Gaussian equivalence.

    Examples
    --------
    >>> path = ridge_path(np.eye(4), [1.0, -1.0, 1.0, -1.0], [0.0, 1.0, 3.0])
    >>> path["df1"].values.round(12).tolist()
    [4.0, 2.0, 1.0]
    """
    asked = checked_ridges(ridges)
    return ridge_path_of(ridge_fit(K, y), asked)


def ridge_path_of(fit: RidgeFit, ridges: npt.ArrayLike) -> "xr.Dataset":
    """Return the path of a problem that is decomposed already; see :func:`ridge_path`.

    Parameters
    ----------
    fit : RidgeFit
        From :func:`spectra.kernels.ridge_fit.ridge_fit`.
    ridges : array_like, shape (R,)
        Unnormalized.

    Returns
    -------
    xarray.Dataset

    Notes
    -----
    O(n^3) for each ridge, about a tenth of the decomposition.

    Examples
    --------
    >>> ridge_path_of(ridge_fit(np.eye(2), [1.0, 2.0]), [1.0])["leave_one_out"].values.round(12).tolist()
    [2.5]
    """
    import xarray as xr

    found = fit.statistics(ridges)
    judged = [leave_one_out_of(fit, ridge=ridge) for ridge in found.ridge]
    names = (
        "effective_ridge",
        "leave_one_out",
        "gcv",
        "train_error",
        "df1",
        "df2",
        "kappa",
        "overfitting_coefficient",
        "condition_number",
    )
    columns: dict[str, Any] = {name: ("ridge", getattr(found, name)) for name in names}
    columns["leave_one_out_stderr"] = ("ridge", np.array([one.stderr for one in judged]))
    for name in ("low", "high", "is_trustworthy", "why"):
        columns[name] = ("ridge", np.array([getattr(one, name) for one in judged]))
    return xr.Dataset(
        columns,
        coords={"ridge": found.ridge},
        attrs=provenance(
            schema=RIDGE_PATH_SCHEMA,
            schema_version=RIDGE_PATH_SCHEMA_VERSION,
            num_samples=fit.num_samples,
            num_outputs=fit.target.shape[1],
            label_variance=fit.label_variance,
            ridge_floor=fit.spectrum.ridge_floor,
            remarks=" ".join(fit.spectrum.remarks),
        ),
    )
