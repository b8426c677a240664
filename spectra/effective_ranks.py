"""How many eigenvalues matter: smooth substitutes for the rank."""

from dataclasses import replace
from typing import Literal

import numpy as np

from spectra.errors import ArgumentError
from spectra.estimates import Estimate
from spectra.protocols import Array, SupportsMatmul
from spectra.spectral_sums import SpectralSums, spectral_sums
from spectra.stochastic_trace import as_level

__all__ = ["effective_rank"]

_LARGEST_RESIDUAL = 0.05


def effective_rank(
    A: SupportsMatmul | Array,
    *,
    kind: Literal["entropy", "stable", "participation"] = "entropy",
    num_probes: int = 10,
    num_steps: int = 30,
    rng: int | np.random.Generator = 0,
    level: float = 0.95,
) -> Estimate:
    """Estimate how many eigenvalues matter.

    Each kind is between 1 and the rank of A, equal to the rank if all nonzero eigenvalues agree (in modulus), and
    unchanged when A is multiplied by a number.

    Parameters
    ----------
    A : Operator or anything `as_operator` accepts, shape (n, n)
        Real symmetric.
    kind : {"entropy", "stable", "participation"}
        * ``"entropy"``: ``exp(- sum_i p_i log p_i)`` with ``p_i = lambda_i / tr A``; A positive semidefinite;
        * ``"participation"``: ``(tr A)**2 / tr A**2``; A positive semidefinite;
        * ``"stable"``: ``||A||_F**2 / ||A||_2**2``.
    num_probes, num_steps : int
        Random probes, and Lanczos steps of each.
    rng : int or numpy.random.Generator
        Seed.
    level : float
        Nominal coverage, in (0, 1).

    Returns
    -------
    Estimate
        Dimensionless. Numerator and denominator come from the same probes: the interval of the logarithm is that of the
        trace of the linearized function (delta method), with quadrature and rounding. ``"stable"``: the interval of
        ``||A||_F**2`` over those of ``||A||_2``, the largest Ritz value and its residual; it presumes that a probe has
        seen the largest eigenvalue. ``"unresolved"``, without interval, as for `spectra.expectation`, or where that
        residual exceeds 5%. The zero operator has rank 0, ``"exact"``.

    Raises
    ------
    ArgumentError
        For a wrong call; or "not positive semidefinite", naming a negative Ritz value and its residual.
    NotSymmetricError, NonDeterministicError, NonFiniteError
        As `spectra.slq`.

    Notes
    -----
    Costs ``num_probes num_steps`` products and one for the repetition; if n is at most that and 1000, ``n + 1``, and
    the result is exact.

    Source: Roy and Vetterli (2007) for the entropy; Rudelson and Vershynin (2007) for the stable rank; Bell and Dean
    (1970) for the participation ratio.

    Examples
    --------
    >>> import numpy as np
    >>> A = np.diag([2.0, 2.0, 2.0, 0.0])
    >>> [round(effective_rank(A, kind=kind).value, 10) for kind in ("entropy", "stable", "participation")]
    [3.0, 3.0, 3.0]
    """
    if kind not in ("entropy", "stable", "participation"):
        raise ArgumentError(f"kind must be 'entropy', 'stable' or 'participation', got {kind!r}")
    level = as_level(level)
    found = spectral_sums(A, num_probes=num_probes, num_steps=num_steps, rng=rng)
    if kind != "stable":
        found.require_positive("positive semidefinite")
    if found.norm == 0.0:
        exact = found.estimate(np.zeros_like, level=level)
        return replace(exact, status="exact", stderr=0.0, low=0.0, high=0.0)
    if kind == "stable":
        return _stable(found, level)
    return _entropy(found, level) if kind == "entropy" else _participation(found, level)


def _participation(found: SpectralSums, level: float) -> Estimate:
    """Return ``T**2 / F``; the logarithm changes by ``2 dT / T - dF / F``."""
    norm = found.norm
    total = found.estimate(lambda x: x / norm, level=level).value
    square = found.estimate(lambda x: (x / norm) ** 2, level=level).value
    linear = found.estimate(lambda x: 2.0 * (x / norm) / total - (x / norm) ** 2 / square, level=level)
    return _exponential(linear, np.log(total**2 / square))


def _entropy(found: SpectralSums, level: float) -> Estimate:
    """Return ``exp(log T - E / T)`` with ``E = tr A log A``; relative change ``(1 + E/T) dT/T - dE/T``."""
    norm = found.norm

    def xlogx(x: np.ndarray) -> np.ndarray:
        x = np.maximum(x / norm, 0.0)
        return x * np.log(np.where(x > 0.0, x, 1.0))

    total = found.estimate(lambda x: x / norm, level=level).value
    mean = found.estimate(xlogx, level=level).value / total
    linear = found.estimate(lambda x: ((1.0 + mean) * (x / norm) - xlogx(x)) / total, level=level)
    return _exponential(linear, np.log(total) - mean)


def _exponential(linear: Estimate, exponent: float) -> Estimate:
    """Return the estimate of exp, from the exponent and its linearization."""
    value = float(np.exp(exponent))
    missing = linear.low is None or linear.high is None
    return replace(
        linear,
        value=value,
        stderr=None if linear.stderr is None else value * linear.stderr,
        low=None if missing else value * float(np.exp(linear.low - linear.value)),
        high=None if missing else value * float(np.exp(linear.high - linear.value)),
    )


def _stable(found: SpectralSums, level: float) -> Estimate:
    """Return ``||A||_F**2 / ||A||_2**2``."""
    norm = found.norm
    largest = np.abs(found.values) >= norm * (1.0 - 1e-12)
    residual = float(np.min(found.residuals[largest])) / norm
    square = found.estimate(lambda x: (x / norm) ** 2, level=level)
    if square.low is None or square.high is None:
        return square
    if residual > _LARGEST_RESIDUAL:
        return replace(square, low=None, high=None, covers="nothing: no interval is given", status="unresolved")
    return replace(square, low=max(square.low, 0.0) / (1.0 + residual) ** 2)
