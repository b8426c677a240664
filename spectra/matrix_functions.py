"""Traces of functions of an implicit symmetric operator: ``tr f(A)`` and the log-determinant."""

from typing import Literal

import numpy as np

from spectra.arrays import finite_number
from spectra.errors import ArgumentError
from spectra.estimates import Estimate
from spectra.gauss_radau import gauss_radau
from spectra.integrals import integrate
from spectra.krylov_aware import krylov_aware_trace
from spectra.measure_schema import probes_of
from spectra.protocols import Array, SupportsMatmul
from spectra.spectral_sums import SpectralSums, all_eigenvalues, spectral_sums
from spectra.spectral_values import SpectralFunction
from spectra.start_vectors import as_count
from spectra.stochastic_trace import as_level, student

__all__ = ["log_determinant", "trace_function"]


def trace_function(
    A: SupportsMatmul | Array,
    f: SpectralFunction,
    *,
    method: Literal["slq", "krylov_aware"] = "slq",
    num_probes: int = 10,
    num_steps: int | None = None,
    rng: int | np.random.Generator = 0,
    level: float = 0.95,
) -> Estimate:
    """Estimate ``tr f(A)``, the sum of f over the eigenvalues.

    Parameters
    ----------
    A : Operator or anything `as_operator` accepts, shape (n, n)
        Real symmetric.
    f : callable
        Maps a float64 vector of Ritz values to real values of its shape.
    method : {"slq", "krylov_aware"}
        ``"slq"``: ``n`` times `spectra.expectation` against the measure of `spectra.slq`. ``"krylov_aware"``: see
        `spectra.krylov_aware.krylov_aware_trace`; better where f is carried by eigenvalues that a Krylov space finds,
        and f is resolved in ``num_steps`` steps. Both compute all eigenvalues if n is at most 1000 and at most the
        products they would spend otherwise.
    num_probes : int
        Random probes. Ten is where Student's t covers near its nominal level.
    num_steps : int, optional
        Lanczos steps; by default 30 for ``"slq"`` and 20 for ``"krylov_aware"``, about 300 products each.
    rng : int or numpy.random.Generator
        Seed.
    level : float
        Nominal coverage, in (0, 1).

    Returns
    -------
    Estimate
        In the units of f; ``status`` as for `spectra.expectation`, ``"exact"`` also where all eigenvalues are known.

    Raises
    ------
    ArgumentError
        For a wrong call, or if f is not defined at a Ritz value.
    NotSymmetricError, NonDeterministicError, NonFiniteError
        As `spectra.slq`.

    Notes
    -----
    Costs ``num_probes num_steps`` products and one,
    Krylov-aware ``2 (30 + num_steps)`` more.

    Source: Bai, Fahey and Golub (1996); Ubaru, Chen and Saad (2017); Chen and Hallman (2023).

    Examples
    --------
    >>> import numpy as np
    >>> values = np.linspace(1.0, 2.0, 400)
    >>> estimate = trace_function(np.diag(values), np.sqrt)
    >>> bool(estimate.low <= np.sum(np.sqrt(values)) <= estimate.high), estimate.num_matvecs
    (True, 301)
    """
    if method not in ("slq", "krylov_aware"):
        raise ArgumentError(f"method must be 'slq' or 'krylov_aware', got {method!r}")
    if not callable(f):
        raise ArgumentError(f"f must be a function of an array, got {type(f).__name__}")
    level = as_level(level)
    steps = {"slq": 30, "krylov_aware": 20}[method] if num_steps is None else num_steps
    if method == "slq":
        return spectral_sums(A, num_probes=num_probes, num_steps=steps, rng=rng).estimate(f, level=level)
    counts = as_count(num_probes, name="num_probes"), as_count(steps, name="num_steps")
    found = all_eigenvalues(A, budget=counts[0] * counts[1] + 2 * (30 + counts[1]))
    if found is not None:
        return found.estimate(f, level=level)
    return krylov_aware_trace(A, f, num_probes=num_probes, num_steps=steps, rng=rng, level=level)


def log_determinant(
    A: SupportsMatmul | Array,
    *,
    lower_bound: float | None = None,
    num_probes: int = 10,
    num_steps: int = 30,
    rng: int | np.random.Generator = 0,
    level: float = 0.95,
) -> Estimate:
    """Estimate ``log det A = tr log A`` of a positive definite operator.

    Parameters
    ----------
    A : Operator or anything `as_operator` accepts, shape (n, n)
        Real symmetric, positive definite.
    lower_bound : float, optional
        A number z > 0 that no eigenvalue is below, such as the ridge of ``K + z I``. Quadrature is then bracketed,
        Gauss-Radau <= exact <= Gauss, with certainty for each probe; else its error is estimated by halving the steps.
    num_probes, num_steps : int
        Random probes, and Lanczos steps of each.
    rng : int or numpy.random.Generator
        Seed.
    level : float
        Nominal coverage, in (0, 1).

    Returns
    -------
    Estimate
        Natural logarithm. ``status`` is

        * ``"exact"`` if n is at most ``num_probes num_steps`` and 1000: all eigenvalues are computed;
        * ``"singular"``, with the value -inf: there is an eigenvalue within ``64 eps ||A||`` of zero;
        * ``"unresolved"``: no lower bound is known, and halving the steps changes more than 5%;
        * ``"resolved"`` otherwise: Student's t over probes, quadrature, rounding.

    Raises
    ------
    ArgumentError
        For a wrong call; if a Ritz value is negative, "not positive definite"; if it is below ``lower_bound``. Ritz
        values never leave the range of the spectrum, so that both are proofs.
    NotSymmetricError, NonDeterministicError, NonFiniteError
        As `spectra.slq`.

    Notes
    -----
    Costs ``num_probes num_steps`` products and one for the repetition, or n and one. There is no sign and no logarithm
    of the modulus of an indefinite determinant: `trace_function` with ``log(abs(x))`` gives the latter.

    Source: Bai, Fahey and Golub (1996); Ubaru, Chen and Saad (2017); Golub and Meurant (2010) for the bracket.

    Examples
    --------
    >>> import numpy as np
    >>> values = np.linspace(1.0, 5.0, 500)
    >>> estimate = log_determinant(np.diag(values), lower_bound=1.0)
    >>> bool(estimate.low <= np.sum(np.log(values)) <= estimate.high), estimate.num_matvecs
    (True, 301)
    >>> log_determinant(np.diag([1.0, 0.0])).status
    'singular'
    """
    level = as_level(level)
    if lower_bound is not None:
        lower_bound = finite_number(lower_bound, name="lower_bound")
        if lower_bound <= 0.0:
            raise ArgumentError(f"lower_bound must be positive, got {lower_bound!r}; leave it out if none is known")
    found = spectral_sums(A, num_probes=num_probes, num_steps=num_steps, rng=rng)
    found.require_positive("positive definite")
    smallest = float(np.min(found.values))
    if lower_bound is not None and smallest < lower_bound - found.band:
        raise ArgumentError(f"lower_bound={lower_bound:.6g} is none: there is a Ritz value of {smallest:.6g}")
    if lower_bound is None or found.measure is None or smallest <= found.band:
        return found.estimate(np.log, level=level)
    return _bracketed(found, min(lower_bound, smallest - found.band), level)


def _bracketed(found: SpectralSums, bound: float, level: float) -> Estimate:
    """Return the estimate with the quadrature error between Radau and Gauss, instead of halving the steps."""
    measure, n = found.measure, found.dimension
    assert measure is not None
    gauss = integrate(measure, np.log)
    gaps = []
    for probe in probes_of(measure):
        assert probe.diagonal is not None
        assert probe.off_diagonal is not None
        other = gauss_radau(probe.diagonal, probe.off_diagonal, node=bound)
        gaps.append(float(probe.raw_weights @ np.log(probe.values) - other.weights @ np.log(other.values)))
    gap = max(float(np.mean(gaps)), 0.0)
    value, half_width = gauss.value - 0.5 * gap, None
    if gauss.stderr is not None:
        half_width = student(level, gauss.num_probes) * gauss.stderr + 0.5 * gap + gauss.rounding
    covers = "random probes (Student t), quadrature (between Gauss-Radau and Gauss), and rounding"
    return Estimate(
        value=n * value,
        stderr=None if gauss.stderr is None else n * gauss.stderr,
        low=None if half_width is None else n * (value - half_width),
        high=None if half_width is None else n * (value + half_width),
        level=level,
        covers="nothing: no interval is given" if half_width is None else covers,
        num_matvecs=found.num_matvecs,
        status="exact" if gauss.is_exact else "resolved",
    )
