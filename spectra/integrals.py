"""Integrals against a spectral measure, with error bars that cover probes, quadrature and rounding."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from spectra.errors import ArgumentError, NonFiniteError
from spectra.estimates import Estimate, Status
from spectra.lanczos import BREAKDOWN
from spectra.measure_schema import Probe, eps_of, probes_of
from spectra.spectral_values import SpectralFunction, rounding_of_sum, weighted_sum
from spectra.start_vectors import as_count
from spectra.tridiagonal import ritz

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Integral", "expectation", "integrate", "moment"]

_LARGEST_GAP = 0.05
_COVERS = "random probes (Student t), unresolved quadrature (gap between all steps and half of them), and rounding"


def expectation(measure: "xr.Dataset", f: SpectralFunction, *, level: float = 0.95) -> Estimate:
    """Integrate f against the spectral measure: an estimate of ``tr f(A) / n``.

    With the samples ``s_i = sum_k w_ik f(theta_ik)`` of the probes, the interval is

    ``mean(s) +- (t_{p-1} sd(s) / sqrt(p) + Delta + rounding)``,  ``Delta = |mean_i (G_m - G_{m//2})|``,

    where ``G_k`` is the Gauss value from the leading k x k block of the same tridiagonal matrix.

    Parameters
    ----------
    measure : xarray.Dataset
        From `spectra.slq`. The mass is 1: multiply by ``measure.attrs["dimension"]`` for a trace.
    f : callable
        Maps a one-dimensional float64 array to values of the same shape (or to one number).
    level : float
        Nominal coverage, in (0, 1).

    Returns
    -------
    Estimate
        In the units of f. ``status`` is

        * ``"resolved"``: Delta is at most 5% of the mean of abs(f);
        * ``"unresolved"``: it is more, the steps are too few and there is no interval;
        * ``"exact"``: nothing is left to chance: a multiple of the identity, or every eigenvalue resolved;
        * ``"singular"``: f is infinite at zero, and there is a Ritz value within ``64 eps ||A||`` of it.

        A single probe gives neither standard error nor interval.

    Raises
    ------
    ArgumentError
        If f is not defined at a Ritz value. Ritz values lie within the range of the spectrum: for ``numpy.log`` this
        proves that the operator has a negative eigenvalue.
    NonFiniteError
        If f is infinite at a Ritz value away from zero (overflow).
    SchemaError
        If ``measure`` is not a spectral measure.

    Notes
    -----
    No products. Delta covered the quadrature error in 99.8% of the resolved cases of a study over 18 spectra and six
    functions. Eigenvalues that every probe has resolved are summed, with their multiplicities, and only the others
    are sampled. A function carried by a handful of eigenvalues that are *not* resolved needs more probes than its
    standard error says. Delta compares two rules; where f changes only below the smallest Ritz value of both, it is
    blind, as for ``x / (x + ridge)`` with a ridge far below: `spectra.effective_dimension` has certain bounds instead.

    Source: Bai, Fahey and Golub (1996) for the estimate; Delta is a construction of this project.

    Examples
    --------
    >>> import numpy as np
    >>> import spectra
    >>> measure = spectra.slq(3.0 * np.eye(50), num_probes=4)
    >>> estimate = expectation(measure, np.log)
    >>> estimate.status, bool(abs(estimate.value - np.log(3.0)) < 1e-12)
    ('exact', True)
    """
    return _estimate(measure, f, level=level, degree=None)


def moment(measure: "xr.Dataset", order: int, *, level: float = 0.95) -> Estimate:
    """Return the moment ``tr(A**order) / n``.

    Without quadrature error up to order ``2 num_nodes - 1``, hence with the probes' error alone.

    Parameters
    ----------
    measure : xarray.Dataset
        From `spectra.slq`.
    order : int
        Not negative.
    level : float
        Nominal coverage, in (0, 1).

    Raises
    ------
    ArgumentError
        If ``order`` is not a non-negative integer.
    NonFiniteError
        If a power overflows.

    Notes
    -----
    No products. Source: Golub and Meurant (2010).

    Examples
    --------
    >>> import numpy as np
    >>> import spectra
    >>> measure = spectra.slq(np.diag([1.0, -1.0, 1.0, -1.0]), num_probes=8)
    >>> moment(measure, 0).value, round(moment(measure, 2).value, 12)
    (1.0, 1.0)
    """
    order = as_count(order, name="order", least=0)
    with np.errstate(over="ignore", under="ignore"):
        return _estimate(measure, lambda x: x**order, level=level, degree=order)


@dataclass(frozen=True, kw_only=True)
class Integral:
    """An integral against a measure in parts: what the interval is made of.

    Attributes
    ----------
    value : float
        Mean over probes; infinite where f is, at zero.
    stderr : float or None
        Over probes.
    gap : float
        Delta, the quadrature part.
    size : float
        Mean of the integral of ``abs(f)``.
    rounding : float
    num_probes : int
    is_exact : bool
        Whether nothing random is left.
    """

    value: float
    stderr: float | None
    gap: float
    size: float
    rounding: float
    num_probes: int
    is_exact: bool

    @property
    def is_resolved(self) -> bool:
        """Whether the quadrature part is at most 5% of the size."""
        return self.gap <= _LARGEST_GAP * self.size


def integrate(measure: "xr.Dataset", f: SpectralFunction, *, degree: int | None = None) -> Integral:
    """Integrate f, a polynomial of the given degree if one is given; see `expectation`."""
    probes = probes_of(measure)
    norm = max(float(np.max(np.abs(probe.values))) for probe in probes)
    eps = eps_of(measure)
    band = BREAKDOWN * eps * norm
    try:
        samples = np.array([weighted_sum(f, probe.values, probe.weights, band=band) for probe in probes])
    except (ArgumentError, NonFiniteError) as error:
        if measure.attrs.get("method", "slq") != "kpm":
            raise
        raise ArgumentError(
            f"f must be defined on all nodes of a kernel polynomial measure, which fill the interval "
            f"{list(measure.attrs['interval'])} and lie beyond the spectrum; use spectra.slq, or pass interval= to "
            "spectra.kernel_polynomial"
        ) from error
    p = len(probes)
    if not np.all(np.isfinite(samples)):
        value = float(np.sum(samples))
        return Integral(value=value, stderr=None, gap=0.0, size=0.0, rounding=0.0, num_probes=p, is_exact=False)
    size = float(np.mean([weighted_sum(lambda x: np.abs(f(x)), q.values, q.weights, band=band) for q in probes]))
    gap = abs(float(np.mean([_gap(f, q, band=band, degree=degree) for q in probes])))
    return Integral(
        value=float(np.mean(samples)),
        stderr=_standard_error(samples),
        gap=gap,
        size=size,
        rounding=BREAKDOWN * eps * size
        + float(np.mean([rounding_of_sum(f, q.values, q.weights, band=band) for q in probes])),
        num_probes=p,
        is_exact=all(q.is_complete or (q.is_exact and len(q.values) == 1) for q in probes),
    )


def _estimate(measure: "xr.Dataset", f: SpectralFunction, *, level: float, degree: int | None) -> Estimate:
    """Integrate f and form the interval."""
    if not 0.0 < level < 1.0:
        raise ArgumentError(f"level must lie strictly between 0 and 1, got {level!r}")
    found = integrate(measure, f, degree=degree)
    num_matvecs = int(measure.attrs["num_matvecs"])
    if np.isinf(found.value):
        return _plain(found.value, level, num_matvecs, "singular", stderr=None)
    if not found.is_resolved:
        return _plain(found.value, level, num_matvecs, "unresolved", stderr=found.stderr)
    status: Status = "exact" if found.is_exact else "resolved"
    if found.stderr is None:
        return _plain(found.value, level, num_matvecs, status, stderr=None)
    from scipy.special import stdtrit

    quantile = float(stdtrit(found.num_probes - 1, 0.5 + 0.5 * level))
    half_width = quantile * found.stderr + found.gap + found.rounding
    return Estimate(
        value=found.value,
        stderr=found.stderr,
        low=found.value - half_width,
        high=found.value + half_width,
        level=level,
        covers=_COVERS,
        num_matvecs=num_matvecs,
        status=status,
    )


def _plain(value: float, level: float, num_matvecs: int, status: Status, *, stderr: float | None) -> Estimate:
    """Return an estimate without an interval."""
    return Estimate(
        value=value,
        stderr=stderr,
        low=None,
        high=None,
        level=level,
        covers="nothing: no interval is given",
        num_matvecs=num_matvecs,
        status=status,
    )


def _standard_error(samples: np.ndarray) -> float | None:
    """Return the standard error of the mean of the samples, also at scales whose squares overflow."""
    largest = float(np.max(np.abs(samples)))
    if len(samples) == 1:
        return None
    return largest * float(np.std(samples / largest, ddof=1) / np.sqrt(len(samples))) if largest > 0 else 0.0


def _gap(f: SpectralFunction, probe: Probe, *, band: float, degree: int | None) -> float:
    """Return how far a rule of half the size differs; 0 where the quadrature is known to be exact."""
    k = len(probe.values)
    if probe.coarse_weights is not None:
        return weighted_sum(f, probe.values, probe.raw_weights - probe.coarse_weights, band=band)
    if probe.is_exact or (degree is not None and degree <= 2 * k - 1):
        return 0.0
    if k < 2 or probe.diagonal is None or probe.off_diagonal is None:
        return np.inf
    half = ritz(probe.diagonal, probe.off_diagonal, k // 2)
    full = weighted_sum(f, probe.values, probe.raw_weights, band=band)
    return full - weighted_sum(f, half.values, half.weights, band=band)
