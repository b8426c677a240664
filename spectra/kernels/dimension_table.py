"""Effective dimensions over ridges with their intervals, from sums over eigenvalues that are known between bounds."""

from typing import TYPE_CHECKING, Any

import numpy as np

from spectra.frozen import Vector
from spectra.kernels.gram import GramSpectrum
from spectra.provenance import provenance
from spectra.stochastic_trace import student

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["DIMENSION_SCHEMA", "DIMENSION_SCHEMA_VERSION", "QUANTITIES", "dimension_of_spectrum", "dimension_table"]

DIMENSION_SCHEMA = "spectra/effective-dimension"
DIMENSION_SCHEMA_VERSION = 1

#: What is tabulated, in this order; each with ``_low``, ``_high`` and ``_stderr``.
QUANTITIES = ("kappa", "df1", "df2", "overfitting_coefficient")
#: Bounds are settled where half of their distance is at most this share of the value (as in `spectra.slq`).
GAP = 0.05


def dimension_table(
    *,
    requested: Vector,
    ridge: Vector,
    low: Vector,
    high: Vector,
    num_samples: int,
    level: float,
    **attrs: Any,
) -> "xr.Dataset":
    r"""Return estimates from :math:`S_q = \sum_i (\delta/(w_i + \delta))^q`, q = 1, 2.

    .. math::

        \hat\kappa = \delta/S_1, \quad \mathrm{df}_1 = n - S_1, \quad \mathrm{df}_2 = n - S_1^2/S_2, \quad
        E_0 = n S_2/S_1^2

    Parameters
    ----------
    requested, ridge : ndarray, shape (m,)
        Ridges as asked for, and as they count.
    low, high : ndarray, shape (2, m, p)
        Bounds of S_1 and S_2, p independent estimates of each; with p = 1 nothing is random.
    num_samples : int
        n.
    level : float
        Of the intervals.
    **attrs
        How the sums were found.

    Returns
    -------
    xarray.Dataset
        Dimension ``ridge`` (as asked for): the four quantities with ``_low``, ``_high`` and ``_stderr``,
        ``effective_ridge``, ``is_trustworthy`` and ``why``.

    Notes
    -----
    Standard errors by leaving out one estimate at a time (jackknife); intervals are Student's t beyond the values at
    the bounds. Source of the formulas: see :func:`spectra.kernels.dimension_curve.dimension_curve`.

    Examples
    --------
    >>> sums = np.array([[[1.0]], [[0.5]]])
    >>> one = np.array([1.0])
    >>> table = dimension_table(requested=one, ridge=one, low=sums, high=sums, num_samples=2, level=0.95)
    >>> table["df1"].item(), table["overfitting_coefficient"].item()
    (1.0, 1.0)
    """
    import xarray as xr

    n, p = num_samples, low.shape[2]
    middle = 0.5 * (low + high)
    value = _quantities(np.mean(middle, axis=2), ridge, n)
    stderr = np.zeros_like(value)
    half = np.zeros_like(value)
    if p > 1:
        others = (np.sum(middle, axis=2, keepdims=True) - middle) / (p - 1)
        left_out = np.stack([_quantities(others[:, :, j], ridge, n) for j in range(p)])
        spread = left_out - np.mean(left_out, axis=0)
        stderr = np.sqrt((p - 1) / p * np.sum(spread**2, axis=0))
        half = student(level, p) * stderr
    least, most = _corners(np.mean(low, axis=2), np.mean(high, axis=2), ridge, n)
    settled = np.all((most - least)[[0, 1, 3]] <= 2 * GAP * np.maximum(value[[0, 1, 3]], np.finfo(float).tiny), axis=0)
    # n - S_1 is rounded like n
    told = n * np.finfo(float).eps <= GAP * value[1]
    floor, ceiling = np.array([0.0, 0.0, 0.0, 1.0])[:, None], np.array([np.inf, n, n, np.inf])[:, None]
    bounds = np.clip(least - half, floor, ceiling), np.clip(most + half, floor, ceiling)
    content: dict[str, Any] = {}
    for i, name in enumerate(QUANTITIES):
        content[name] = ("ridge", value[i])
        content[f"{name}_stderr"] = ("ridge", stderr[i])
        content[f"{name}_low"] = ("ridge", bounds[0][i])
        content[f"{name}_high"] = ("ridge", bounds[1][i])
    content["effective_ridge"] = ("ridge", ridge)
    content["is_trustworthy"] = ("ridge", settled & told)
    content["why"] = ("ridge", np.array([_why(*row, n) for row in zip(requested, ridge, settled, told, strict=True)]))
    known = {
        "schema": DIMENSION_SCHEMA,
        "schema_version": DIMENSION_SCHEMA_VERSION,
        "num_samples": n,
        "level": level,
        "assumes": "Gaussian equivalence, where read as population quantities; df1 of the sample without",
    }
    return xr.Dataset(content, coords={"ridge": requested}, attrs=provenance(**known, **attrs))


def dimension_of_spectrum(spectrum: GramSpectrum, ridges: Vector, *, level: float) -> "xr.Dataset":
    r"""Return the table of a Gram matrix from its eigenvalues; nothing is random.

    Parameters
    ----------
    spectrum : GramSpectrum
        If complete, intervals have no width. If what is not listed is a positive semidefinite matrix of trace
        :math:`\rho`, as beside a low-rank approximation, :math:`S_1` is too large by at most :math:`\rho/\delta` and
        :math:`S_2` by at most twice that.
    ridges : ndarray, shape (m,)
        Not divided by n; raised to the floor of rounding where they are below.
    level : float
        Stored with the table.

    Returns
    -------
    xarray.Dataset
        See :func:`dimension_table`; the attribute ``method`` is ``"eigenvalues"``.

    Notes
    -----
    O(n m). The derivative of :math:`\operatorname{tr}(A + tR + \delta)^{-q}` in t lies between
    :math:`-q \operatorname{tr} R\,\delta^{-q-1}` and 0 for positive semidefinite A and R (derived here).

    Examples
    --------
    >>> from spectra.kernels.gram import gram_spectrum
    >>> table = dimension_of_spectrum(gram_spectrum(np.eye(4)), np.array([1.0]), level=0.95)
    >>> table["df1"].item(), table["df1_low"].item()
    (2.0, 2.0)
    """
    ridge = np.maximum(ridges, spectrum.ridge_floor)
    left = ridge[:, None] / (spectrum.eigenvalue + ridge[:, None])
    n = spectrum.num_samples
    high = n - spectrum.eigenvalue.size + np.stack([np.sum(left, axis=1), np.sum(left**2, axis=1)])
    gap = spectrum.residual_trace / ridge
    largest = ridge / (spectrum.trace + ridge)  # no eigenvalue exceeds the trace
    low = np.minimum(high, np.maximum(high - np.stack([gap, 2 * gap]), n * np.stack([largest, largest**2])))
    return dimension_table(
        requested=ridges,
        ridge=ridge,
        low=low[:, :, None],
        high=high[:, :, None],
        num_samples=n,
        level=level,
        method="eigenvalues",
        num_columns=n,
        num_products=0,
        num_blocks=0,
        dtype="float64",
    )


def _quantities(sums: np.ndarray, ridge: Vector, n: int) -> np.ndarray:
    """Return the four quantities, shape (4, m), from S_1 and S_2, shape (2, m)."""
    first, second = sums
    ratio = n * second / first**2
    return np.stack([ridge / first, n - first, n - n / ratio, ratio])


def _corners(low: Vector, high: Vector, ridge: Vector, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the smallest and the largest values with both sums between their bounds."""
    down = _quantities(np.stack([high[0], low[1]]), ridge, n)
    up = _quantities(np.stack([low[0], high[1]]), ridge, n)
    # df2 and E0 grow with S_2 and fall with S_1, kappa and df1 fall with S_1
    return down, up


def _why(requested: float, ridge: float, settled: bool, told: bool, n: int) -> str:
    """Return a sentence about one ridge."""
    if not told:
        return f"the ridge {ridge:.3g} is so large that rounding hides df1 in sums over {n} eigenvalues"
    raised = ""
    if ridge > requested:
        raised = f"; the ridge {requested:.3g} was raised to {ridge:.3g}, below which rounding decides"
    if settled:
        return f"bounds of the sums over {n} eigenvalues agree within {GAP:.0%}{raised}"
    return f"bounds of the sums over {n} eigenvalues differ by more than {GAP:.0%}: take more steps{raised}"
