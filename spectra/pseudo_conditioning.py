"""Condition number on the range of a singular matrix, and the dimension of its null space."""

import numpy as np

from spectra.arrays import finite_number
from spectra.certificates import as_level
from spectra.conditioning import ConditionNumber, ConditionStatus
from spectra.errors import ArgumentError
from spectra.estimates import Estimate
from spectra.modulus_bounds import SymmetricRun, grow
from spectra.protocols import Array, Progress, SupportsMatmul
from spectra.start_vectors import as_count, as_seed

__all__ = ["pseudo_condition_number"]

_NOTHING = 1e-13
_COVERS = "random start vectors, uniform on the sphere, unresolved quadrature, and rounding"


def pseudo_condition_number(
    A: SupportsMatmul | Array,
    *,
    rank_tolerance: float = 1e-4,
    level: float = 0.95,
    tolerance: float = 0.1,
    num_starts: int = 1,
    max_steps: int | None = None,
    rng: int | np.random.Generator = 0,
    progress: Progress | None = None,
) -> ConditionNumber:
    """Measure ``||A|| / min{|lambda| : |lambda| > rank_tolerance ||A||}``, and how many eigenvalues that leaves out.

    Lanczos as in `spectra.condition_number`. With the same confidence, the smallest modulus above the threshold has a
    weight of q or more in the start vector: it is no smaller than the first point above the threshold where the
    Christoffel kernel K falls to ``1 / q``. From above it is bounded by ``|theta| + r`` of a Ritz value with residual r
    whose whole interval ``|theta| -+ r`` lies above the threshold.

    Parameters
    ----------
    A : Operator or anything `as_operator` accepts, shape (n, n)
        Real symmetric, of any definiteness.
    rank_tolerance : float
        Moduli up to this, relative to the norm, count as zero. The answer depends on it: give the one that your problem
        has. The default is a choice, fit for float32 products, whose rounding is 1e-5 of the norm.
    level : float
        Probability that the interval holds.
    tolerance : float
        Stop when ``high <= (1 + tolerance) low``.
    num_starts : int
        Start vectors.
    max_steps : int, optional
        Steps at most, by default ``min(n, 300)``.
    rng : int or numpy.random.Generator
        Seed of the start vectors.
    progress : callable, optional
        Called with ``(steps done, max_steps)``.

    Returns
    -------
    ConditionNumber
        ``status`` is

        * ``"certified"``: the interval is as narrow as asked for;
        * ``"lower bound only"``: it is not. ``value`` and ``low`` bound the pseudo-condition number from below, and
          ``high`` from above, though often by no more than its definition does, ``1 / rank_tolerance``;
        * ``"exact"``: the whole spectrum is known;
        * ``"singular"``: A is zero.

        ``smallest`` holds the smallest modulus above the threshold, and ``nullity`` the number of eigenvalues up to it:
        the weight there, n times, with an interval from its distribution, ``Beta(r/2, (n - r)/2)`` for r eigenvalues
        and one start vector, and from the bounds of Chebyshev, Markov and Stieltjes on the weight itself.

    Raises
    ------
    NotSymmetricError, NonDeterministicError, NonFiniteError
        As for `spectra.condition_number`.
    ArgumentError, ShapeError, BackendError
        For a wrong call, before any product.

    Notes
    -----
    Costs ``num_starts`` products a step and one to test that A is deterministic.

    The ratio of the largest to the smallest nonzero *Ritz* value is no substitute: rounding, or an unconverged Ritz
    value on its way to zero, makes it anything.

    Source: van Dorsselaer, Hochstenbach and van der Vorst (2000) for the probability; the gap above the threshold is
    bounded here by the same argument.

    Examples
    --------
    >>> import numpy as np
    >>> A = np.diag(np.concatenate([np.zeros(300), np.linspace(1.0, 20.0, 100)]))
    >>> result = pseudo_condition_number(A)
    >>> result.status, result.low <= 20.0 <= result.high
    ('certified', True)
    >>> result.nullity.low <= 300 <= result.nullity.high
    True
    """
    level, tolerance = as_level(level), finite_number(tolerance, name="tolerance")
    rank_tolerance = finite_number(rank_tolerance, name="rank_tolerance")
    if not tolerance > 0.0:
        raise ArgumentError(f"tolerance must be positive, got {tolerance!r}")
    if not 0.0 < rank_tolerance < 1.0:
        raise ArgumentError(f"rank_tolerance must lie strictly between 0 and 1, got {rank_tolerance!r}")
    max_steps = None if max_steps is None else as_count(max_steps, name="max_steps")
    num_starts, seed = as_count(num_starts, name="num_starts"), as_seed(rng)
    run = SymmetricRun(A, rank_tolerance=rank_tolerance, num_starts=num_starts, seed=seed, delta=0.5 * (1.0 - level))
    most_possible = 1.0 / rank_tolerance
    found = grow(
        run,
        max_steps=max_steps,
        done=lambda bounds: (
            bounds.largest[0] <= 0.0 or min(bounds.high, most_possible) <= (1.0 + tolerance) * bounds.low
        ),
        progress=progress,
    )
    certificate = run.certificate()
    is_zero = not found.largest[0] > 0.0
    high = max(min(found.high, most_possible), found.low)
    status: ConditionStatus = "certified" if high <= (1.0 + tolerance) * found.low else "lower bound only"
    if found.is_complete:
        status = "exact"
    if is_zero:
        status = "singular"
    least, most = run.threshold(certificate)
    return ConditionNumber(
        value=np.inf if is_zero else found.low if status == "lower bound only" else min(found.value, high),
        low=np.inf if is_zero else found.low,
        high=np.inf if is_zero else high,
        level=level,
        status=status,
        definiteness=found.definiteness,
        smallest=found.unscaled(found.smallest),
        largest=found.unscaled(found.largest),
        covers=_COVERS,
        num_matvecs=run.iteration.num_matvecs,
        num_steps=run.iteration.num_done,
        num_starts=num_starts,
        threshold=found.unscaled((least, most))[0],
        nullity=_nullity(
            certificate.weight_up_to(least, most) if not is_zero else (1.0, 1.0),
            n=run.limit,
            level=level,
            num_starts=num_starts,
            num_matvecs=run.iteration.num_matvecs,
        ),
    )


def _nullity(weight: tuple[float, float], *, n: int, level: float, num_starts: int, num_matvecs: int) -> Estimate:
    """Turn bounds of the mean weight of the start vectors on a subspace into an estimate of its dimension r.

    The weight of one start vector is ``Beta(c r, c (n - r))``, c = 1/2; the mean over several is taken for the beta
    distribution of the same mean and variance. A dimension is kept unless what was seen is too improbable under it.
    """
    from scipy.special import betainc, betaincc

    low, high = weight
    order = num_starts * (0.5 * n + 1.0) - 1.0
    r = np.arange(1.0, n)
    shape = order * r / n, order * (n - r) / n
    tail = 0.5 * (1.0 - level)
    kept = (betaincc(*shape, low) >= tail) & (betainc(*shape, high) >= tail)
    possible = np.concatenate([[low <= _NOTHING], kept, [high >= 1.0 - _NOTHING]])
    middle = min(max(0.5 * (low + high), 0.0), 1.0)
    if not np.any(possible):  # between two neighboring integers
        possible[round(n * middle)] = True
    ends = np.nonzero(possible)[0]
    return Estimate(
        value=n * middle,
        stderr=float(n * np.sqrt(middle * (1.0 - middle) / (order + 1.0))),
        low=float(min(ends[0], n * middle)),
        high=float(max(ends[-1], n * middle)),
        level=level,
        covers="random start vectors (distribution of their weight) and unresolved quadrature (its sharp bounds)",
        num_matvecs=num_matvecs,
    )
