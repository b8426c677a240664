"""Condition numbers of implicit matrices, between bounds that hold with known confidence."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from spectra.arrays import finite_number
from spectra.certificates import as_level
from spectra.errors import ArgumentError
from spectra.estimates import Estimate
from spectra.modulus_bounds import Definiteness, RectangularRun, SymmetricRun, grow
from spectra.pencils import Metric
from spectra.protocols import Array, Progress, SupportsMatmul
from spectra.rectangular import RectangularOperator
from spectra.start_vectors import as_count, as_seed

__all__ = ["ConditionNumber", "ConditionStatus", "condition_number"]

ConditionStatus = Literal["certified", "not certified", "singular", "exact", "lower bound only"]

_COVERS = "random start vectors, uniform on the sphere, and rounding"


@dataclass(frozen=True, kw_only=True)
class ConditionNumber:
    """A condition number in the 2-norm, ``s_max / s_min``, with an interval.

    Attributes
    ----------
    value : float
        Best estimate, from Ritz values: a lower bound but for rounding. Infinite if ``status`` is ``"singular"``.
    low : float
        Lower bound, certain but for rounding, for which it allows (on a definite matrix, as sure as ``high``).
    high : float
        Upper bound; infinite, never a guess, where none could be certified.
    level : float
        Probability with which ``[low, high]`` holds the condition number, over the start vectors.
    status : {"certified", "not certified", "singular", "exact", "lower bound only"}
        * ``"certified"``: the interval is two-sided;
        * ``"not certified"``: more steps, or float64, are needed for an upper bound;
        * ``"singular"``: the smallest singular value cannot be told from zero, it is at most 128 eps times the largest;
        * ``"exact"``: the whole spectrum is known, the interval allows for rounding only;
        * ``"lower bound only"``: of a pseudo-condition number, see `pseudo_condition_number`.
    definiteness : {"positive definite", "negative definite", "indefinite", "undecided", "not symmetric"}
        The first two with probability ``level``, the third without doubt.
    smallest, largest : tuple of float
        Intervals for the smallest and the largest singular value (modulus of an eigenvalue), in the units of A.
    covers : str
        Which randomness and errors the interval accounts for.
    num_matvecs, num_steps, num_starts : int
        What it cost.
    threshold : float
        Of a pseudo-condition number: moduli up to here count as zero. Otherwise 0.
    nullity : Estimate or None
        Of a pseudo-condition number: how many eigenvalues count as zero.
    """

    value: float
    low: float
    high: float
    level: float
    status: ConditionStatus
    definiteness: Definiteness
    smallest: tuple[float, float]
    largest: tuple[float, float]
    covers: str
    num_matvecs: int
    num_steps: int
    num_starts: int
    threshold: float = 0.0
    nullity: Estimate | None = None

    def __str__(self) -> str:
        """Return value, interval, status and cost on one line."""
        interval = f"[{self.low:.4g}, {self.high:.4g}] at {self.level:.0%}"
        return f"{self.value:.4g} {interval}, {self.status} ({self.num_matvecs} matvecs)"


def condition_number(
    A: SupportsMatmul | Array | RectangularOperator,
    *,
    metric: Metric | None = None,
    ridge: float | None = None,
    level: float = 0.95,
    tolerance: float = 0.1,
    num_starts: int = 1,
    max_steps: int | None = None,
    rng: int | np.random.Generator = 0,
    progress: Progress | None = None,
) -> ConditionNumber:
    """Measure the condition number of an implicit matrix, of any shape and definiteness, or of a pencil.

    Lanczos steps (Golub-Kahan steps if A is rectangular) from random vectors, until the interval is as narrow as asked
    for. After k steps an eigenvalue x has at most the weight ``1 / K(x)`` in the start vector, ``K = sum_{j<=k}
    pi_j**2``. With probability ``1 - (1 - level)/2`` an eigenvector has the weight q or more, so that its eigenvalue
    lies where ``K <= 1 / q``. The points of that set furthest from and nearest to zero bound the condition number from
    above, Ritz values from below.

    Parameters
    ----------
    A : Operator or anything `as_operator` accepts, shape (n, n), or RectangularOperator or a matrix of shape (m, n)
        A square A must be symmetric; one that is not goes in as ``as_rectangular(A)``.
    metric : array of shape (n,), or pair of callables, optional
        For the generalized problem ``A x = lambda B x`` with B positive definite: the diagonal of B, or the block
        products ``V -> F V`` and ``V -> F' V`` with ``F F' = B**-1`` (solves with the Cholesky factors of B). With a
        preconditioner ``B = F**-T F**-1``, this is the condition number of the preconditioned matrix. Everything
        certified is about ``F' A F``; errors of F itself are not covered.
    ridge : float, optional
        States that no eigenvalue (of the pencil) is smaller than this, such as z for ``K + z I`` with K positive
        semidefinite; 0 states that A is. With ``ridge > 0`` the upper bound ``lambda_max / ridge`` is at hand after a
        few steps (see ``max_steps``).
    level : float
        Probability that the interval holds, half of the risk for each of the two ends of the spectrum.
    tolerance : float
        Stop when ``high <= (1 + tolerance) low``.
    num_starts : int
        Start vectors. One needs the fewest products: on seven spectra with n = 2000, two start vectors took 1.4 to 1.9
        times, and ten took 5 to 9 times as many (``scripts/benchmarks/conditioning_coverage.py``).
    max_steps : int, optional
        Steps at most, by default ``min(n, 300)``. About ``sqrt(kappa)/2 log(2 / sqrt(q))`` steps are needed at worst
        for a finite upper bound if A is definite, ``log(2 / sqrt(q)) ~ 9`` for n = 10000; of the order of kappa if A
        is indefinite or rectangular.
    rng : int or numpy.random.Generator
        Seed of the start vectors.
    progress : callable, optional
        Called with ``(steps done, max_steps)`` after each step.

    Returns
    -------
    ConditionNumber
        At the step limit the interval reached, with status ``"not certified"`` if it is one-sided.

    Raises
    ------
    NotSymmetricError
        If ``u'(Av)`` and ``v'(Au)`` differ by more than sqrt(eps) relative (u'(Av) and v'(A'u) if A is rectangular).
    NonDeterministicError
        If repeating a product changes it by more than sqrt(eps) relative.
    NonFiniteError
        If a product contains NaN or infinity.
    ArgumentError
        If a Ritz value proves that ``ridge`` is wrong; and, before any product, for other wrong arguments.
    ShapeError, BackendError
        For a wrong call, before any product.

    Notes
    -----
    Costs ``num_starts`` products a step and one to test that A is deterministic; rectangular: twice that. Holds
    ``num_starts num_steps n`` numbers on the device of the operator, rectangular ``num_starts num_steps (m + n)``.

    The statement fails only if the start vectors are too nearly orthogonal to an eigenvector, which does not depend on
    the number of steps: stopping when the interval looks good costs no confidence. An indefinite A needs one product
    a step, and no product with ``A**2``, whose condition number is the square.

    ``high`` allows 64 eps times the norm for rounding: no condition number above 1e5 is certified in float32, none
    above 7e13 in float64.

    Source: van Dorsselaer, Hochstenbach and van der Vorst (2000) for the outer ends of the spectrum, with the term of
    highest degree of K alone: K needs 3 to 30% fewer steps. The gap around zero is bounded here by the same argument.

    Examples
    --------
    >>> import numpy as np
    >>> A = np.diag(np.linspace(1.0, 50.0, 400))
    >>> result = condition_number(A)
    >>> print(result.status, result.low <= 50.0 <= result.high, result.high / result.low < 1.1)
    certified True True
    >>> condition_number(A - 20.03 * np.eye(400)).definiteness
    'indefinite'
    >>> condition_number(A, ridge=1.0, max_steps=15).high < 55.0
    True
    >>> condition_number(A, metric=np.linspace(1.0, 50.0, 400)).high < 1.001
    True
    """
    level, tolerance = as_level(level), finite_number(tolerance, name="tolerance")
    if not tolerance > 0.0:
        raise ArgumentError(f"tolerance must be positive, got {tolerance!r}")
    if ridge is not None and not (ridge := finite_number(ridge, name="ridge")) >= 0.0:
        raise ArgumentError(f"ridge must be at least 0, got {ridge!r}")
    max_steps = None if max_steps is None else as_count(max_steps, name="max_steps")
    num_starts, seed, delta = as_count(num_starts, name="num_starts"), as_seed(rng), 0.5 * (1.0 - level)
    run: SymmetricRun | RectangularRun
    if isinstance(A, RectangularOperator) or _is_rectangular(tuple(getattr(A, "shape", ()))):
        if metric is not None or ridge is not None:
            raise ArgumentError("metric and ridge are for symmetric operators only, got a rectangular one")
        run = RectangularRun(A, num_starts=num_starts, seed=seed, delta=delta)
    else:
        run = SymmetricRun(A, metric=metric, ridge=ridge, num_starts=num_starts, seed=seed, delta=delta)
    found = grow(
        run,
        max_steps=max_steps,
        done=lambda bounds: bounds.is_singular or bounds.high <= (1.0 + tolerance) * bounds.low,
        progress=progress,
    )
    status: ConditionStatus = "certified" if found.smallest[0] > 0.0 else "not certified"
    if found.is_singular:
        status = "singular"
    elif status == "certified" and found.is_complete:
        status = "exact"
    return ConditionNumber(
        value=found.value,
        low=found.low,
        high=math.inf if status == "singular" else found.high,
        level=level,
        status=status,
        definiteness=found.definiteness,
        smallest=found.unscaled(found.smallest),
        largest=found.unscaled(found.largest),
        covers=_COVERS,
        num_matvecs=run.iteration.num_matvecs,
        num_steps=run.iteration.num_done,
        num_starts=num_starts,
    )


def _is_rectangular(shape: tuple[int, ...]) -> bool:
    """Whether a shape is that of a matrix that is not square."""
    return len(shape) == 2 and shape[0] != shape[1]
