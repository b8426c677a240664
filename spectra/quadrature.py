"""Stochastic Lanczos quadrature: the spectral measure of an operator. Named dimensions begin here."""

from typing import TYPE_CHECKING, Any

import numpy as np

from spectra.arrays import dtype_name
from spectra.lanczos import Iteration
from spectra.operators import as_operator
from spectra.protocols import Array, Progress, SupportsMatmul
from spectra.start_vectors import Distribution, as_count, as_seed, start_vectors
from spectra.tridiagonal import Tridiagonal

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["MEASURE_SCHEMA", "MEASURE_SCHEMA_VERSION", "slq"]

MEASURE_SCHEMA = "spectra/measure"
MEASURE_SCHEMA_VERSION = 1


def slq(
    A: SupportsMatmul | Array,
    *,
    num_probes: int = 10,
    num_steps: int = 30,
    rng: int | np.random.Generator = 0,
    distribution: Distribution = "sphere",
    check_symmetry: bool = True,
    progress: Progress | None = None,
) -> "xr.Dataset":
    """Measure the spectrum of a symmetric operator by stochastic Lanczos quadrature.

    For each random probe v of unit norm, ``v' f(A) v ~ sum_k weight_k f(ritz_value_k)``, exact for polynomials of
    degree up to ``2 num_steps - 1``. The mean over probes estimates ``tr f(A) / n``, an integral against the spectral
    measure of mass 1.

    Parameters
    ----------
    A : Operator or anything `as_operator` accepts, shape (n, n)
        Real symmetric.
    num_probes : int
        Number p of random start vectors. Ten is where Student's t covers near its nominal level.
    num_steps : int
        Lanczos steps m per probe, at most n are made. 30 resolve a measure; counts of eigenvalues need about 80.
    rng : int or numpy.random.Generator
        Seed of the probes; probe i depends on (seed, i) only.
    distribution : {"sphere", "rademacher", "gaussian"}
        See `spectra.start_vectors.start_vectors`. Probes are normalized, so that ``"gaussian"`` equals ``"sphere"``.
    check_symmetry : bool
        Whether to test that the operator is symmetric (free) and deterministic (one product).
    progress : callable, optional
        Called with ``(steps done, num_steps)`` after each step.

    Returns
    -------
    xarray.Dataset
        Dimensions ``probe``, ``node`` and ``step``; NumPy float64 on the host. Variables:

        * ``ritz_value (probe, node)``: ascending, NaN beyond ``num_nodes``;
        * ``weight (probe, node)``: sums to 1 per probe, 0 beyond ``num_nodes``;
        * ``residual (probe, node)``: an eigenvalue lies this close to the Ritz value; NaN beyond ``num_nodes``;
        * ``diagonal``, ``off_diagonal (probe, step)``: the tridiagonal matrices; the off-diagonal entry of the last
          step is the coupling to the next vector, 0 where the Krylov space was exhausted and the probe is exact;
        * ``num_nodes (probe)``.

        Attributes: ``schema``, ``schema_version``, ``dimension`` n, ``operator``, ``num_matvecs`` (all of them),
        ``seed``, ``distribution``, ``dtype``, the defects found by the checks, and the provenance.

    Raises
    ------
    NotSymmetricError
        If ``u'(Av)`` and ``v'(Au)`` differ by more than sqrt(eps) relative.
    NonDeterministicError
        If repeating a product changes it by more than sqrt(eps) relative.
    NonFiniteError
        If a product contains NaN or infinity, at whatever step.
    ArgumentError, ShapeError, BackendError
        For a wrong call, before any product.

    Notes
    -----
    Costs ``num_probes min(num_steps, n)`` products and one for the repetition. Holds ``num_probes num_steps n``
    numbers on the device of the operator while it runs.

    Source: Bai, Fahey and Golub (1996); Ubaru, Chen and Saad (2017).

    Examples
    --------
    >>> import numpy as np
    >>> import spectra
    >>> A = np.diag(np.arange(1.0, 101.0))
    >>> measure = slq(A, num_probes=4, num_steps=20)
    >>> dict(measure.sizes)
    {'probe': 4, 'node': 20, 'step': 20}
    >>> measure.attrs["num_matvecs"]
    81
    >>> estimate = spectra.expectation(measure, np.sqrt)
    >>> bool(estimate.low <= np.mean(np.sqrt(np.arange(1, 101))) <= estimate.high)
    True
    """
    operator = as_operator(A)
    num_probes = as_count(num_probes, name="num_probes")
    num_steps = min(as_count(num_steps, name="num_steps"), operator.shape[0])
    seed = as_seed(rng)
    start = start_vectors(operator.like, num=num_probes, rng=seed, distribution=distribution)
    iteration = Iteration(operator, start, store=num_steps)
    del start
    attrs: dict[str, Any] = {}
    if check_symmetry:
        attrs["repeat_defect"] = iteration.repeat_defect()
        attrs["symmetry_defect"] = iteration.symmetry_defect()
    iteration.advance(num_steps - iteration.num_done, progress=progress, total=num_steps)
    return _dataset(
        iteration.tridiagonal(),
        {
            "schema": MEASURE_SCHEMA,
            "schema_version": MEASURE_SCHEMA_VERSION,
            "dimension": operator.shape[0],
            "operator": operator.name,
            "num_matvecs": iteration.num_matvecs,
            "seed": seed,
            "distribution": distribution,
            "dtype": dtype_name(operator.dtype),
            **attrs,
        },
    )


def _dataset(tridiagonal: Tridiagonal, attrs: dict[str, Any]) -> "xr.Dataset":
    """Turn tridiagonal matrices into a spectral measure."""
    import xarray as xr

    from spectra.provenance import provenance

    p, m = tridiagonal.diagonal.shape
    values = np.full((p, m), np.nan)
    weights = np.zeros((p, m))
    residuals = np.full((p, m), np.nan)
    for i in range(p):
        nodes = tridiagonal.ritz(i)
        k = len(nodes.values)
        values[i, :k], weights[i, :k], residuals[i, :k] = nodes
    return xr.Dataset(
        {
            "ritz_value": (("probe", "node"), values, {"long_name": "Ritz value"}),
            "weight": (("probe", "node"), weights, {"long_name": "quadrature weight, sum 1 per probe"}),
            "residual": (("probe", "node"), residuals, {"long_name": "distance to an eigenvalue, at most"}),
            "diagonal": (("probe", "step"), tridiagonal.diagonal, {"long_name": "diagonal of T"}),
            "off_diagonal": (("probe", "step"), tridiagonal.off_diagonal, {"long_name": "coupling to the next step"}),
            "num_nodes": (("probe",), tridiagonal.num_steps.astype(np.int64), {"long_name": "nodes of the probe"}),
        },
        attrs=provenance(**attrs),
    )
