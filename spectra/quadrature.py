"""Stochastic Lanczos quadrature: the spectral measure of an operator. Named dimensions begin here."""

from typing import TYPE_CHECKING, Any

import numpy as np

from spectra.arrays import dtype_name, finite_number
from spectra.errors import ArgumentError
from spectra.integrals import integrate
from spectra.measure_schema import MEASURE_SCHEMA, MEASURE_SCHEMA_VERSION, validate_measure
from spectra.operators import Operator, as_operator
from spectra.probe_run import ProbeRun
from spectra.protocols import Array, Progress, SupportsMatmul
from spectra.spectral_values import SpectralFunction
from spectra.start_vectors import Distribution, as_count, as_seed

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["extend", "slq"]

_GROW_PROBES = 10
_GROW_STEPS = 10
_QUADRATURE_SHARE = 0.2


def slq(
    A: SupportsMatmul | Array,
    *,
    num_probes: int = 10,
    num_steps: int = 30,
    rng: int | np.random.Generator = 0,
    distribution: Distribution = "sphere",
    target_stderr: float | None = None,
    f: SpectralFunction | None = None,
    max_matvecs: int | None = None,
    reorthogonalize: bool = True,
    max_basis_bytes: int = 2**32,
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
    target_stderr : float, optional
        Go on, with ten more probes or ten more steps at a time, until the standard error of ``tr f(A) / n`` is at most
        this, and the quadrature gap at most a quarter of it; both relative to ``tr |f(A)| / n``. Each time the part
        that exceeds its share more grows. ``num_probes`` and ``num_steps`` are then where it starts.
    f : callable, optional
        The function of the target, as for `spectra.expectation`; by default the eigenvalue itself, for the trace.
    max_matvecs : int, optional
        Budget of the growth, never exceeded by it; by default 20 times ``num_probes num_steps``.
    reorthogonalize : bool
        Whether to orthogonalize each Lanczos vector twice against all before it. Without it no basis is stored, only
        four vectors per probe: integrals hardly change, but Ritz values return as copies, and eigenvalues are not
        resolved (see below).
    max_basis_bytes : int
        Memory for Lanczos vectors, 4 GiB by default. Probes that do not fit together are run one group after the
        other, with narrower blocks.
    check_symmetry : bool
        Whether to test that the operator is symmetric (free) and deterministic (one product).
    progress : callable, optional
        Called with ``(steps done, num_steps)`` after each step; when growing towards a target, with ``(products done,
        max_matvecs)``.

    Returns
    -------
    xarray.Dataset
        Dimensions ``probe``, ``node`` and ``step``; NumPy float64 on the host. Variables:

        * ``ritz_value (probe, node)``: ascending, NaN beyond ``num_nodes``;
        * ``weight (probe, node)``: sums to 1 per probe, 0 beyond ``num_nodes``;
        * ``residual (probe, node)``: an eigenvalue lies this close to the Ritz value; NaN beyond ``num_nodes``;
        * ``diagonal``, ``off_diagonal (probe, step)``: the tridiagonal matrices; the off-diagonal entry of the last
          step is the coupling to the next vector, 0 where the Krylov space was exhausted and the probe is exact;
        * ``num_nodes (probe)``;
        * ``multiplicity (resolved)``: of the eigenvalues which every probe has resolved, 0 where the probes are too few
          to tell; ``resolved_index (probe, node)``: which of them a node stands for, -1 for none; and
          ``resolved_overlap (resolved, probe, reference)``: what multiplicities are read from, see `spectra.deflation`.

        Attributes: ``schema``, ``schema_version``, ``method`` ("slq"), ``dimension`` n, ``operator``, ``num_matvecs``
        (all of them), ``seed``, ``distribution``, ``dtype``, the defects found by the checks, and the provenance. With
        a target also ``target_stderr`` and ``target_reached`` (1 or 0: the budget ended first).

    Raises
    ------
    NotSymmetricError
        If ``u'(Av)`` and ``v'(Au)`` differ by more than sqrt(eps) relative.
    NonDeterministicError
        If repeating a product changes it by more than sqrt(eps) relative.
    NonFiniteError
        If a product contains NaN or infinity, at whatever step.
    ArgumentError, ShapeError, BackendError
        For a wrong call, before any product; also if not even the basis of one probe fits ``max_basis_bytes``.

    Notes
    -----
    Costs ``num_probes min(num_steps, n)`` products and one for the repetition. Holds ``num_probes num_steps n``
    numbers on the device of the operator while it runs.

    What is known about resolved eigenvalues is used by all functions of the measure: they are summed with their
    multiplicities, and only the rest of the spectrum is sampled. For a bulk with ten outliers this made the error of
    ``tr exp(A)`` more than ten times smaller.

    A target met by looking repeatedly is met a little too early: nominal 95% intervals then covered 96% (log, power
    law, 200 seeds), 92% (log, two clusters), 90% (exp, a bulk with ten spikes) and 90% (exp, a tenfold spike; 100 seeds
    each, n = 300). For a level that holds, fix the probes beforehand.

    Source: Bai, Fahey and Golub (1996); Ubaru, Chen and Saad (2017).

    Examples
    --------
    >>> import numpy as np
    >>> import spectra
    >>> A = np.diag(np.arange(1.0, 101.0))
    >>> measure = slq(A, num_probes=4, num_steps=20)
    >>> measure.sizes["probe"], measure.sizes["node"], measure.attrs["num_matvecs"]
    (4, 20, 81)
    >>> estimate = spectra.expectation(measure, np.sqrt)
    >>> bool(estimate.low <= np.mean(np.sqrt(np.arange(1, 101))) <= estimate.high)
    True
    >>> measure = slq(A, target_stderr=0.01, f=np.log)
    >>> bool(spectra.expectation(measure, np.log).stderr <= 0.01 * np.mean(np.log(np.arange(1, 101))) * 1.1)
    True
    """
    operator = as_operator(A)
    num_probes = as_count(num_probes, name="num_probes")
    num_steps = min(as_count(num_steps, name="num_steps"), operator.shape[0])
    run = ProbeRun(
        operator,
        seed=as_seed(rng),
        distribution=distribution,
        num_steps=num_steps,
        reorthogonalize=reorthogonalize,
        max_basis_bytes=as_count(max_basis_bytes, name="max_basis_bytes"),
    )
    if target_stderr is None:
        if f is not None or max_matvecs is not None:
            raise ArgumentError("f and max_matvecs belong to target_stderr, which is missing")
        run.add_probes(num_probes, check_symmetry=check_symmetry, progress=progress)
        return _dataset(run, {})
    if f is not None and not callable(f):
        raise ArgumentError(f"f must be a function of eigenvalues, such as numpy.log; got {f!r}")
    target = finite_number(target_stderr, name="target_stderr")
    if not target > 0:
        raise ArgumentError(f"target_stderr must be positive, got {target_stderr!r}")
    first_cost = num_probes * num_steps + check_symmetry
    budget = 20 * num_probes * num_steps if max_matvecs is None else as_count(max_matvecs, name="max_matvecs")
    if budget < first_cost:
        raise ArgumentError(
            f"max_matvecs must allow the first {num_probes} probes, {first_cost} products; got {budget}"
        )
    run.keep = True
    run.add_probes(num_probes, check_symmetry=check_symmetry, progress=None)
    return _grow(run, target, f if f is not None else _identity, budget=budget, progress=progress)


def _identity(x: np.ndarray) -> np.ndarray:
    return x


def _grow(run: ProbeRun, target: float, f: SpectralFunction, *, budget: int, progress: Progress | None) -> "xr.Dataset":
    """Add probes or steps, whichever error exceeds its share more, until both are met or the budget is spent."""
    while True:
        if progress is not None:
            progress(run.num_matvecs, budget)
        measure = _dataset(run, {"target_stderr": target, "target_reached": 1})
        found = integrate(measure, f)
        if not np.isfinite(found.value):
            measure.attrs["target_reached"] = 0
            return measure
        tolerance = target * found.size + found.rounding
        stderr = np.inf if found.stderr is None else found.stderr
        probes_lack = 0.0 if stderr == 0.0 else stderr / tolerance
        steps_lack = (
            0.0 if found.gap == 0.0 else found.gap / (_QUADRATURE_SHARE / (1.0 - _QUADRATURE_SHARE) * tolerance)
        )
        if max(probes_lack, steps_lack) <= 1.0:
            return measure
        can_deepen = run.can_add_steps(_GROW_STEPS)
        deepen = can_deepen and steps_lack >= probes_lack
        room = budget - run.num_matvecs
        # What 1 / sqrt(p) predicts, but at most a doubling, for the prediction is as uncertain as the standard error.
        wanted = int(np.ceil(run.num_probes * min(2.0, probes_lack**2))) - run.num_probes
        more = min(max(_GROW_PROBES, wanted), room // run.num_steps)
        more_steps = min(_GROW_STEPS, room // run.num_probes)
        if deepen and more_steps > 0:
            run.add_steps(more_steps)
        elif probes_lack > 1.0 and more > 0 and run.can_add_probes(more):
            run.add_probes(more, check_symmetry=False, progress=None)
        else:
            measure.attrs["target_reached"] = 0
            return measure


def extend(
    measure: "xr.Dataset", A: SupportsMatmul | Array, *, num_probes: int, progress: Progress | None = None
) -> "xr.Dataset":
    """Add probes to a measure, which may come from a file.

    Parameters
    ----------
    measure : xarray.Dataset
        From `spectra.slq`, with all its probes.
    A : Operator or anything `as_operator` accepts, shape (n, n)
        The same operator.
    num_probes : int
        How many to add.
    progress : callable, optional
        Called with ``(steps done, steps per probe)`` after each step.

    Returns
    -------
    xarray.Dataset
        A new measure with the same variables as if all probes had been asked for at once, up to the rounding inside an
        operator whose products depend on the width of the block. The attribute ``num_matvecs`` counts all products.

    Raises
    ------
    ArgumentError
        If the operator is not the one measured: order, dtype, or the first product of the first probe differ.
    SchemaError
        If ``measure`` is not a spectral measure of `spectra.slq`.

    Notes
    -----
    Costs ``num_probes`` times the steps of the measure, and one product to recognize the operator.

    Examples
    --------
    >>> import numpy as np
    >>> A = np.diag(np.arange(1.0, 101.0))
    >>> extended = extend(slq(A, num_probes=4), A, num_probes=6)
    >>> bool(np.allclose(extended["ritz_value"], slq(A, num_probes=10)["ritz_value"]))
    True
    """
    validate_measure(measure)
    operator = as_operator(A)
    run = ProbeRun.resume(operator, measure)
    run.add_probes(as_count(num_probes, name="num_probes"), check_symmetry=False, progress=progress)
    kept = {name: measure.attrs[name] for name in ("repeat_defect", "symmetry_defect") if name in measure.attrs}
    extended = _dataset(run, kept)
    extended.attrs["num_matvecs"] = int(measure.attrs["num_matvecs"]) + run.num_matvecs
    return extended


def _dataset(run: ProbeRun, attrs: dict[str, Any]) -> "xr.Dataset":
    """Turn what a run holds into a spectral measure."""
    import xarray as xr

    from spectra.provenance import provenance

    operator: Operator = run.operator
    return xr.Dataset(
        run.variables(),
        attrs=provenance(
            schema=MEASURE_SCHEMA,
            schema_version=MEASURE_SCHEMA_VERSION,
            method="slq",
            dimension=operator.shape[0],
            operator=operator.name,
            num_matvecs=run.num_matvecs,
            num_steps=run.num_steps,
            seed=run.seed,
            distribution=run.distribution,
            reorthogonalized=int(run.reorthogonalize),
            dtype=dtype_name(operator.dtype),
            **operator.facts,
            **run.defects,
            **attrs,
        ),
    )
