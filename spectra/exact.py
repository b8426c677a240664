"""The spectral measure of a matrix all of whose eigenvalues are known."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from spectra.errors import ArgumentError
from spectra.measure_schema import MEASURE_SCHEMA, MEASURE_SCHEMA_VERSION

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["distinct", "exact_measure"]


def exact_measure(
    eigenvalues: ArrayLike,
    *,
    num_zeros: int = 0,
    operator: str = "matrix",
    num_matvecs: int = 0,
    dtype: str = "float64",
    error: float | None = None,
) -> "xr.Dataset":
    r"""Return the spectral measure :math:`\frac1n \sum_i \delta(x - \lambda_i)` of known eigenvalues.

    Parameters
    ----------
    eigenvalues : array-like
        With repetitions, in any order.
    num_zeros : int
        Further eigenvalues that are 0; n counts them.
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

    nodes, multiplicity, error = distinct(eigenvalues, num_zeros=num_zeros, error=error)
    n, count = int(np.sum(multiplicity)), len(nodes)
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


def distinct(
    eigenvalues: ArrayLike, *, num_zeros: int = 0, error: float | None = None
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return the distinct eigenvalues, ascending, how often each occurs, and the distance that tells them apart."""
    values = np.asarray(eigenvalues, dtype=np.float64).reshape(-1)
    if values.size + num_zeros < 1 or not np.all(np.isfinite(values)):
        raise ArgumentError("eigenvalues must be finite, and at least one")
    if error is None:
        scale = float(np.max(np.abs(values))) if values.size else 0.0
        error = (values.size + num_zeros) * float(np.finfo(np.float64).eps) * scale
    # All zeros, those given and those counted, are one node at 0 exactly.
    is_zero = np.abs(values) <= error if num_zeros else np.zeros(values.shape, dtype=bool)
    rest = np.sort(values[~is_zero])
    begins = np.concatenate([[0], np.flatnonzero(np.diff(rest) > error) + 1]) if rest.size else np.zeros(0, dtype=int)
    times = np.diff(np.concatenate([begins, [rest.size]])).astype(np.int64) if rest.size else np.zeros(0, np.int64)
    nodes = np.add.reduceat(rest, begins) / times if rest.size else np.zeros(0)
    if num_zeros:
        place = int(np.searchsorted(nodes, 0.0))
        nodes = np.insert(nodes, place, 0.0)
        times = np.insert(times, place, num_zeros + int(np.sum(is_zero)))
    return nodes, times, error
