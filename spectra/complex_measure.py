"""The spectral measure of a normal operator that is not symmetric: a measure in the complex plane."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from spectra.arnoldi import Hessenberg, arnoldi, normality_defect, ritz_points
from spectra.arrays import dtype_name
from spectra.complex_measure_schema import (
    COMPLEX_MEASURE_SCHEMA,
    COMPLEX_MEASURE_SCHEMA_VERSION,
    hessenberg_matrices,
    validate_complex_measure,
)
from spectra.errors import ArgumentError, NonFiniteError
from spectra.estimates import Estimate
from spectra.operators import as_operator
from spectra.protocols import Array, SupportsMatmul
from spectra.provenance import provenance
from spectra.start_vectors import as_count, as_seed, start_vectors

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "COMPLEX_MEASURE_SCHEMA",
    "complex_expectation",
    "hessenberg_matrices",
    "normal_spectrum",
    "validate_complex_measure",
]

_LARGEST_GAP = 0.05
"""Share of the mean of abs(f) that the quadrature may miss, as for `spectra.expectation`."""


def normal_spectrum(
    A: SupportsMatmul | Array, *, num_probes: int = 10, num_steps: int = 30, rng: int | np.random.Generator = 0
) -> "xr.Dataset":
    r"""Measure the spectrum of a normal operator, ``A A' = A'A``, in the complex plane by Arnoldi's method.

    For a random unit vector v the measure is ``sum_i |u_i^* v|^2 delta(lambda_i)``, with mean
    ``(1/n) sum_i delta(lambda_i)``. From the Hessenberg matrix H of m steps are exact, for each probe::

        v' p(A) v = e1' p(H) e1 = sum_k weight_k p(ritz_value_k),    polynomials p of degree at most m
        (p(A) v)' (r(A) v) = (p(H) e1)' (r(H) e1),                   p and r of degree less than m

    and the second one is the integral of ``conj(p) r`` because A is normal.

    Parameters
    ----------
    A : array, scipy.sparse array, scipy LinearOperator, RectangularOperator, Operator or any object with ``like``
        Real, shape (n, n).
    num_probes : int
        Number of random start vectors, uniform on the sphere.
    num_steps : int
        Arnoldi steps m per probe; at most n are made.
    rng : int or numpy.random.Generator
        Seed of the probes; probe i depends on (seed, i) only.

    Returns
    -------
    xarray.Dataset
        Dimensions ``probe``, ``node``, ``row`` and ``step``; NumPy on the host. Variables:

        * ``ritz_value (probe, node)``: complex128, NaN beyond ``num_nodes``; by real, then imaginary part;
        * ``weight (probe, node)``: complex128, with sum 1 per probe, 0 beyond ``num_nodes``;
        * ``residual (probe, node)``: an eigenvalue of a normal A lies this close to the Ritz value;
        * ``num_nodes (probe)``;
        * ``hessenberg (probe, row, step)``: the matrices with their last row, zero beyond;
        * ``condition (probe)``: of the Ritz values; the rounding of the weights is eps times this.

        Attributes: ``schema``, ``schema_version``, ``method`` ("arnoldi"), ``dimension`` n, ``operator``,
        ``num_matvecs`` (all products, four of them for the defect), ``seed``, ``distribution``, ``dtype``,
        ``num_steps``, ``normality_defect`` (see `spectra.arnoldi.normality_defect`), ``is_normal`` (1; 0 if the defect
        exceeds sqrt(eps): then no number here but ``e1' p(H) e1`` has a meaning; -1 if A has no transpose to test it
        with), and the provenance.

    Raises
    ------
    NonFiniteError
        If a product contains NaN or infinity.
    ArgumentError, ShapeError, BackendError
        For a wrong call, before any product.

    Notes
    -----
    Costs ``num_probes min(num_steps, n)`` products, and four for the defect where A has a transpose. Holds
    ``num_steps n`` numbers on the device.

    *Ritz values are no picture of the measure.* H is the compression of the multiplication by z to polynomials in z,
    and need not be normal where A is: for the uniform measure on a disk it would be a shift, whose eigenvalues all lie
    at the center. The randomness of a probe moves them to a ring. They lie within the convex hull of the spectrum, but
    their density is not its density, and their weights are complex. Weights are positive, and exact up to degree
    ``2 m - 1``, for eigenvalues on a line (symmetric matrices, skew-symmetric ones and their shifts), where H is
    tridiagonal. In the plane use integrals: `complex_expectation` for holomorphic functions, and `spectra.dynamics`
    for disks.

    Source: Arnoldi (1951); derived for the measure.

    Examples
    --------
    >>> rotation = np.kron(np.diag([1.0, 2.0, 3.0]), np.array([[0.0, -1.0], [1.0, 0.0]]))
    >>> measure = normal_spectrum(rotation, num_probes=4)
    >>> sorted(measure["ritz_value"].values[0].imag.round(9).tolist())
    [-3.0, -2.0, -1.0, 1.0, 2.0, 3.0]
    >>> measure.attrs["is_normal"], bool(measure["weight"].values.real.min() > 0)
    (1, True)
    """
    import xarray as xr

    operator = as_operator(A)
    num_probes, seed = as_count(num_probes, name="num_probes"), as_seed(rng)
    m = min(as_count(num_steps, name="num_steps"), operator.shape[0])
    defect, num_matvecs = normality_defect(A, start_vectors(operator.like, num=1, rng=seed)[:, 0])
    found: list[Hessenberg] = []
    for i in range(num_probes):
        start = start_vectors(operator.like, num=1, rng=seed, first=i)[:, 0]
        found.append(arnoldi(operator, start, num_steps=m))
    num_matvecs += sum(one.num_matvecs for one in found)
    k = max(one.num_steps for one in found)
    values = np.full((num_probes, k), complex(np.nan, np.nan))
    weights, residuals = np.zeros((num_probes, k), dtype=complex), np.full((num_probes, k), np.nan)
    matrices, condition = np.zeros((num_probes, k + 1, k)), np.zeros(num_probes)
    for i, one in enumerate(found):
        used, points = one.num_steps, one.ritz()
        values[i, :used], weights[i, :used], residuals[i, :used] = points.values, points.weights, points.residuals
        matrices[i, : used + 1, :used], condition[i] = one.matrix, points.condition
    is_normal = -1 if math.isnan(defect) else int(defect <= math.sqrt(np.finfo(dtype_name(operator.dtype)).eps))
    return xr.Dataset(
        {
            "ritz_value": (("probe", "node"), values),
            "weight": (("probe", "node"), weights),
            "residual": (("probe", "node"), residuals),
            "num_nodes": (("probe",), np.array([one.num_steps for one in found])),
            "hessenberg": (("probe", "row", "step"), matrices),
            "condition": (("probe",), condition),
        },
        coords={"probe": np.arange(num_probes)},
        attrs=provenance(
            schema=COMPLEX_MEASURE_SCHEMA,
            schema_version=COMPLEX_MEASURE_SCHEMA_VERSION,
            method="arnoldi",
            dimension=operator.shape[0],
            operator=operator.name,
            num_matvecs=num_matvecs,
            seed=seed,
            distribution="sphere",
            dtype=dtype_name(operator.dtype),
            num_steps=m,
            normality_defect=defect,
            is_normal=is_normal,
        ),
    )


def complex_expectation(measure: "xr.Dataset", f: Callable[[np.ndarray], Any], *, level: float = 0.95) -> Estimate:
    """Estimate ``tr f(A) / n`` for a holomorphic f: the mean over probes of ``e1' f(H) e1``.

    The interval is ``mean +- (t_{p-1} stderr + Delta)``, where Delta is the change from half of the steps to all of
    them.

    Parameters
    ----------
    measure : xarray.Dataset
        From `normal_spectrum`. As ``e1' f(H) e1`` needs no eigenvectors of A, the operator may be any, normal or not.
    f : callable
        Maps a one-dimensional complex128 array to values of the same shape. It must be holomorphic on the convex hull
        of the spectrum, with ``f(conj z) = conj f(z)``: polynomials, ``exp``, ``1 / z`` away from zero; not ``abs``.
    level : float
        Nominal coverage, in (0, 1).

    Returns
    -------
    Estimate
        ``"unresolved"``, without interval, if Delta exceeds 5% of the mean of abs(f) over the nodes. A single probe
        gives neither standard error nor interval.

    Raises
    ------
    ArgumentError
        If f gives values of another shape, or its sum is not real.
    NonFiniteError
        If f is not finite at a Ritz value, or a Hessenberg matrix has no basis of eigenvectors.
    SchemaError
        If ``measure`` is not a complex measure.

    Notes
    -----
    No products. Exact for polynomials of degree up to the number of steps, but for the randomness of the probes.
    Derived; Delta is that of `spectra.expectation`.

    Examples
    --------
    >>> rotation = np.kron(np.eye(20), np.array([[1.0, -1.0], [1.0, 1.0]]))
    >>> estimate = complex_expectation(normal_spectrum(rotation, num_probes=4), lambda z: z**2 + z)
    >>> round(estimate.value, 9)
    1.0
    """
    from scipy.stats import t as student

    if not 0 < level < 1:
        raise ArgumentError(f"level must lie between 0 and 1, got {level}")
    matrices = hessenberg_matrices(measure)
    full = np.array([_integral(matrix, f) for matrix in matrices])
    half = np.array([_integral(matrix[: k + 1, :k], f) for matrix in matrices for k in [max(matrix.shape[1] // 2, 1)]])
    exhausted = [matrix[-1, -1] == 0.0 for matrix in matrices]
    value, size, p = float(np.mean(full[:, 0])), float(np.mean(full[:, 1])), len(matrices)
    gap = 0.0 if all(exhausted) else abs(value - float(np.mean(half[:, 0])))
    stderr = float(np.std(full[:, 0], ddof=1) / math.sqrt(p)) if p > 1 else None
    resolved = gap <= _LARGEST_GAP * size
    width = None
    if stderr is not None and resolved:
        width = float(student.ppf(0.5 + level / 2, p - 1)) * stderr + gap
    return Estimate(
        value=value,
        stderr=stderr,
        low=None if width is None else value - width,
        high=None if width is None else value + width,
        level=level,
        covers="random probes (Student t) and unresolved quadrature (gap between all steps and half of them)",
        num_matvecs=int(measure.attrs["num_matvecs"]),
        status="resolved" if resolved else "unresolved",
    )


def _integral(matrix: np.ndarray, f: Callable[[np.ndarray], Any]) -> tuple[float, float]:
    """Return ``e1' f(H) e1``, and the sum of the absolute terms."""
    points = ritz_points(matrix)
    with np.errstate(all="ignore"):
        values = np.asarray(f(points.values))
    if values.shape not in (points.values.shape, ()):
        raise ArgumentError(f"f must return values of shape {points.values.shape}, got {values.shape}")
    terms = points.weights * values
    if not np.all(np.isfinite(terms)):
        raise NonFiniteError("f must be finite at all Ritz values, and the Hessenberg matrix have eigenvectors")
    total, size = complex(np.sum(terms)), float(np.sum(np.abs(terms)))
    # conjugate terms cancel but for the rounding of the weights
    if abs(total.imag) > 1e-6 * size:
        raise ArgumentError(f"f must satisfy f(conj z) = conj f(z), so that the trace is real; got the sum {total:.6g}")
    return total.real, size
