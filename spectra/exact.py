"""The spectral measure of a matrix all of whose eigenvalues are known."""

from typing import TYPE_CHECKING

import numpy as np

from spectra.errors import ArgumentError
from spectra.measure_schema import MEASURE_SCHEMA, MEASURE_SCHEMA_VERSION

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["exact_measure"]


def exact_measure(
    eigenvalues: np.ndarray,
    *,
    operator: str = "matrix",
    num_matvecs: int = 0,
    dtype: str = "float64",
    error: float | None = None,
) -> "xr.Dataset":
    r"""Return the spectral measure :math:`\frac1n \sum_i \delta(x - \lambda_i)` of known eigenvalues.

    Parameters
    ----------
    eigenvalues : array-like, shape (n,)
        All of them, with repetitions, in any order.
    operator, num_matvecs, dtype
        Recorded as attributes.
    error : float, optional
        Of the eigenvalues; those closer than this are one node. ``n eps max |lambda|`` by default.

    Returns
    -------
    xarray.Dataset
        As from `spectra.slq`, with one probe whose nodes are the distinct eigenvalues, all resolved with their
        multiplicities: integrals against it have neither sampling nor quadrature error. The attribute ``method`` is
        "exact".

    Raises
    ------
    ArgumentError
        If there are no eigenvalues or some are not finite.

    Examples
    --------
    >>> import spectra
    >>> measure = exact_measure([1.0, 1.0, 4.0])
    >>> estimate = spectra.expectation(measure, lambda x: x)
    >>> float(estimate.value), estimate.status
    (2.0, 'exact')
    """
    import xarray as xr

    from spectra.provenance import provenance

    values = np.sort(np.asarray(eigenvalues, dtype=np.float64).reshape(-1))
    if values.size == 0 or not np.all(np.isfinite(values)):
        raise ArgumentError("eigenvalues must be finite, and at least one")
    n = values.size
    if error is None:
        error = n * float(np.finfo(np.float64).eps) * float(np.max(np.abs(values)))
    begins = np.concatenate([[0], np.flatnonzero(np.diff(values) > error) + 1])
    multiplicity = np.diff(np.concatenate([begins, [n]])).astype(np.int64)
    nodes = np.add.reduceat(values, begins) / multiplicity
    count = len(nodes)
    return xr.Dataset(
        {
            "ritz_value": (("probe", "node"), nodes[None], {"long_name": "eigenvalue"}),
            "weight": (("probe", "node"), multiplicity[None] / n, {"long_name": "share of the eigenvalues"}),
            "residual": (("probe", "node"), np.full((1, count), error), {"long_name": "error of the eigenvalue"}),
            "diagonal": (("probe", "step"), nodes[None], {"long_name": "diagonal of T"}),
            "off_diagonal": (("probe", "step"), np.zeros((1, count)), {"long_name": "coupling to the next step"}),
            "num_nodes": (("probe",), np.array([count], dtype=np.int64), {"long_name": "nodes of the probe"}),
            "resolved_index": (("probe", "node"), np.arange(count, dtype=np.int64)[None]),
            "multiplicity": (("resolved",), multiplicity, {"long_name": "multiplicity"}),
        },
        attrs=provenance(
            schema=MEASURE_SCHEMA,
            schema_version=MEASURE_SCHEMA_VERSION,
            method="exact",
            dimension=n,
            operator=operator,
            num_matvecs=num_matvecs,
            num_steps=count,
            seed=-1,
            distribution="none",
            reorthogonalized=1,
            dtype=dtype,
        ),
    )
