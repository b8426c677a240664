"""Effective dimensions over ridges from a spectral measure: what quadrature has resolved of them."""

from typing import TYPE_CHECKING

import numpy as np

from spectra.errors import ArgumentError
from spectra.integrals import expectation
from spectra.kernels.dimension_curve import DimensionCurve
from spectra.measure_schema import eps_of, validate_measure

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["halves_of_probes", "measure_curve"]

#: Ridges that are tried, and the width of the interval of df1, relative to it, up to which one is kept (design choices;
#: with 10 probes of 60 steps and n = 1500 that reaches df1 = 40 for a Gaussian kernel, and n for a Laplace kernel).
NUM_RIDGES, WIDTH = 80, 0.1
#: The smallest ridge in units of ``n eps w_1``: below, rounding counts for eigenvalues that are 0 (measured: a rank of
#: 10 reads as 10.0002 there, and 10.3 at 1 of these units).
LOWEST = 1e3
#: Interval of the level that is compared with this width.
LEVEL = 0.95


def measure_curve(measure: "xr.Dataset") -> DimensionCurve:
    r"""Return the effective dimensions at ridges at which a spectral measure resolves them.

    With :math:`S_q = n \int (\delta/(x + \delta))^q\,d\mu`, :math:`\hat\kappa = \delta/S_1`,
    :math:`\mathrm{df}_1 = n - S_1` and :math:`\mathrm{df}_2 = n - S_1^2/S_2`.

    Parameters
    ----------
    measure : xarray.Dataset
        Of a Gram matrix, from :func:`spectra.slq`, with at least two probes.

    Returns
    -------
    DimensionCurve
        Of ridges at which the 95 % interval of df1 is narrower than a tenth of it; there may be none.

    Raises
    ------
    ArgumentError
        If there is one probe, or a negative eigenvalue.
    SchemaError
        If it is no measure.

    Notes
    -----
    No products. Formulas: see :func:`spectra.kernels.dimension_curve.dimension_curve`.

    Examples
    --------
    >>> import spectra
    >>> curve = measure_curve(spectra.slq(np.diag([8.0, 4.0, 2.0, 1.0]), num_steps=4))
    >>> ridge = curve.ridge[40]
    >>> bool(abs(curve.df1[40] - sum(w / (w + ridge) for w in (8.0, 4.0, 2.0, 1.0))) < 1e-9)
    True
    """
    validate_measure(measure)
    n = int(measure.attrs["dimension"])
    values = measure["ritz_value"].values
    largest, smallest = float(np.nanmax(values)), float(np.nanmin(values))
    if not largest > 0 or smallest < -np.sqrt(eps_of(measure)) * largest:
        raise ArgumentError(
            f"the measure of a positive semidefinite matrix is required; Ritz values go from {smallest:.6g} to "
            f"{largest:.6g}"
        )
    if measure.sizes["probe"] < 2:
        raise ArgumentError("a decay law needs the scatter of at least two probes; got one")
    rows = []
    for ridge in np.geomspace(LOWEST * n * eps_of(measure) * largest, n * largest, NUM_RIDGES):
        first = expectation(measure, lambda x, d=ridge: d / (np.maximum(x, 0.0) + d), level=LEVEL)  # type: ignore[misc]
        second = expectation(measure, lambda x, d=ridge: (d / (np.maximum(x, 0.0) + d)) ** 2)  # type: ignore[misc]
        if first.low is None or first.high is None:
            continue
        sums = n * first.value, n * second.value
        df1 = n - sums[0]
        if df1 > 0 and n * (first.high - first.low) < WIDTH * df1:
            rows.append((ridge, ridge / sums[0], df1, n - sums[0] ** 2 / sums[1], n * sums[1] / sums[0] ** 2))
    columns = np.array(rows).reshape(-1, 5).T
    return DimensionCurve(
        ridge=columns[0],
        kappa=columns[1],
        df1=columns[2],
        df2=columns[3],
        overfitting_coefficient=columns[4],
        num_samples=n,
    )


def halves_of_probes(measure: "xr.Dataset") -> "list[xr.Dataset]":
    """Return the measures of the first and the second half of the probes; none of fewer than four."""
    num = measure.sizes["probe"]
    if num < 4:
        return []
    return [measure.isel(probe=slice(0, num // 2)), measure.isel(probe=slice(num // 2, None))]
