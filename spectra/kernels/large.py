r"""Effective dimensions of a kernel on data of any size: the route is chosen, and named in the result.

Up to a few thousand samples all eigenvalues are found. Beyond that columns of K are enough where its spectrum decays
fast; else random probes and products with K take over.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from spectra.arrays import as_array, eps, namespace
from spectra.errors import ArgumentError, ShapeError
from spectra.frozen import Vector
from spectra.kernels.dimension_table import dimension_of_spectrum
from spectra.kernels.gram import gram_spectrum
from spectra.kernels.low_rank import LowRank
from spectra.kernels.operator import kernel_diagonal, kernel_operator
from spectra.kernels.pairwise import as_points
from spectra.kernels.resolvent_traces import PROBES, STEPS, checked_ridges, resolvent_traces
from spectra.kernels.rp_cholesky import rp_cholesky
from spectra.protocols import Array
from spectra.start_vectors import as_count, as_seed
from spectra.stochastic_trace import as_level

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["kernel_dimension"]

#: Samples up to which all eigenvalues are found: 4000 take 128 MB and about half a minute (measured).
DENSE = 4000
#: Columns of K at most: with n = 20000 they are a tenth of the entries that one product with K evaluates, and take
#: 8 n bytes each.
COLUMNS = 1000
#: Columns are enough where what they leave can move df1 by at most this share.
ENOUGH = 0.01
#: Columns end where what is left can move df1 by this much, absolutely.
NEGLIGIBLE = 1e-3
#: Blocks of products for the leading eigenvectors, which start from those of the columns: as good as four from random
#: vectors (measured, n = 1500).
DEPTH = 2


def kernel_dimension(
    kernel: Callable[..., Array],
    X: Any,
    ridges: npt.ArrayLike,
    *,
    dense_up_to: int = DENSE,
    num_columns: int = COLUMNS,
    num_probes: int = PROBES,
    num_steps: int = STEPS,
    rng: int | np.random.Generator = 0,
    level: float = 0.95,
) -> "xr.Dataset":
    r"""Return the signal capture threshold, effective dimensions and overfitting coefficient of a kernel on data.

    Parameters
    ----------
    kernel : Kernel or callable
        ``kernel(X, Y)`` returns the matrix of k(x_i, y_j).
    X : array of any library, shape (n, d)
        Samples.
    ridges : float or array_like, shape (m,)
        :math:`\delta`, not divided by n, at least 0.
    dense_up_to : int
        Samples up to which all eigenvalues are found.
    num_columns : int
        Columns of K to try beyond that.
    num_probes, num_steps : int
        For products, see :func:`spectra.kernels.resolvent_traces`.
    rng : int or numpy.random.Generator
        Seed.
    level : float
        Nominal coverage of each interval.

    Returns
    -------
    xarray.Dataset
        As :func:`spectra.kernels.dimension_table.dimension_table` describes it. The attribute ``method`` is

        * ``"eigenvalues"``: all of them. The intervals have no width;
        * ``"columns"``: randomly pivoted Cholesky. With :math:`\rho` the trace that it leaves, :math:`S_1` is too large
          by at most :math:`\rho/\delta`, and :math:`S_2` by twice that: the intervals are certain, beyond rounding;
        * ``"products"``: see :func:`spectra.kernels.resolvent_traces`.

        ``num_columns``, ``num_products`` and ``num_blocks`` say what it cost, and ``dtype`` in which dtype products
        were formed: that of X, or float64 where a ridge is below what float32 can tell.

    Raises
    ------
    ArgumentError, ShapeError, NonFiniteError, BackendError, NotSymmetricError
        For a wrong call.

    Notes
    -----
    Bounds of the columns: see :func:`spectra.kernels.dimension_table.dimension_of_spectrum`.

    Examples
    --------
    >>> from spectra.kernels.stationary import RBF
    >>> X = np.random.default_rng(0).standard_normal((300, 2))
    >>> exact = kernel_dimension(RBF(1.0), X, 0.3)
    >>> fast = kernel_dimension(RBF(1.0), X, 0.3, dense_up_to=100)
    >>> exact.attrs["method"], fast.attrs["method"], round(exact["df1"].item(), 2), round(fast["df1"].item(), 2)
    ('eigenvalues', 'columns', 25.33, 25.33)
    """
    delta, nominal, seed = checked_ridges(ridges), as_level(level), as_seed(rng)
    limit, columns = as_count(dense_up_to, name="dense_up_to", least=0), as_count(num_columns, name="num_columns")
    if not callable(kernel):
        raise ArgumentError(f"kernel must be a function of two arrays of points; got {kernel!r}")
    samples = as_points(as_array(X, name="X"))
    xp = namespace(samples)
    double = xp.astype(samples, xp.float64, copy=False)
    n = int(samples.shape[0])
    if n <= limit:
        block = kernel(double, double)
        if tuple(getattr(block, "shape", (n, n))) != (n, n):
            raise ShapeError(f"kernel(X, X) must have shape {(n, n)}; got {tuple(block.shape)}")
        spectrum = gram_spectrum(block, name="the Gram matrix of the kernel")
        return dimension_of_spectrum(spectrum, delta, level=nominal)
    trace = float(xp.sum(kernel_diagonal(kernel, double)))
    if not trace > 0:
        raise ArgumentError(f"a Gram matrix needs a positive trace; got {trace:.6g}")
    smallest = max(float(np.min(delta)), eps(double) * trace)
    found = rp_cholesky(
        kernel, double, num_columns=columns, tolerance=min(NEGLIGIBLE * smallest / trace, 0.5), rng=seed
    )
    by_columns = _by_columns(found, delta, nominal)
    if by_columns is not None:
        return by_columns
    largest = float(found.eigenvalue[0])
    # errors of float32 products: see resolvent_traces
    single = float(np.sqrt(n)) * eps(samples) * largest if samples.dtype == xp.float32 else 0.0
    operator = kernel_operator(kernel, double if np.min(delta) < single else samples)
    table = resolvent_traces(
        operator,
        delta,
        num_probes=num_probes,
        num_steps=num_steps,
        depth=DEPTH,
        approximation=found if found.is_trustworthy else None,
        rng=seed,
        level=nominal,
    )
    return table.assign_attrs(num_columns=found.num_columns, dtype=str(operator.dtype).rsplit(".", maxsplit=1)[-1])


def _by_columns(found: LowRank, delta: Vector, level: float) -> "xr.Dataset | None":
    """Return what the columns say, if they are enough."""
    if not found.is_trustworthy:
        return None
    table = dimension_of_spectrum(found.spectrum(), delta, level=level)
    gap = found.residual_trace / table["effective_ridge"].values
    if np.any(gap > ENOUGH * table["df1"].values) or not np.all(table["is_trustworthy"].values):
        return None
    return table.assign_attrs(method="columns", num_columns=found.num_columns)
