"""Bounds of the smallest and the largest modulus of a spectrum, which tighten as an iteration proceeds."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, final

import numpy as np

from spectra.arrays import dtype_name
from spectra.certificates import Certificate, relative_slack
from spectra.errors import ArgumentError
from spectra.golub_kahan import Bidiagonalization
from spectra.lanczos import Iteration
from spectra.operators import as_operator
from spectra.pencils import Metric, reduce_pencil
from spectra.protocols import Progress
from spectra.rectangular import as_rectangular
from spectra.singular_certificates import SingularCertificate
from spectra.start_vectors import start_vectors

__all__ = ["Definiteness", "ModulusBounds", "RectangularRun", "SymmetricRun", "grow"]

Definiteness = Literal["positive definite", "negative definite", "indefinite", "undecided", "not symmetric"]

_MAX_STEPS = 300
_STORE = 32
_FIRST_LOOK = 8


@final
@dataclass(frozen=True, kw_only=True)
class ModulusBounds:
    """Intervals for the extreme moduli of eigenvalues (singular values), in units of ``2**exponent``.

    Attributes
    ----------
    smallest, largest : tuple of float
        In each, one end is certain but for rounding, and the other holds with known confidence.
    slack : float
        Rounding that has been allowed for at each end.
    exponent : int
    is_complete : bool
        Whether the whole spectrum is known.
    definiteness : str
    """

    smallest: tuple[float, float]
    largest: tuple[float, float]
    slack: float
    exponent: int
    is_complete: bool
    definiteness: Definiteness

    @property
    def is_singular(self) -> bool:
        """Whether the smallest modulus cannot be told from zero."""
        return self.smallest[1] <= 2.0 * self.slack

    @property
    def low(self) -> float:
        """Lower bound of the ratio."""
        return max(1.0, self.largest[0] / self.smallest[1]) if self.smallest[1] > 0.0 else math.inf

    @property
    def high(self) -> float:
        """Upper bound of the ratio."""
        return self.largest[1] / self.smallest[0] if self.smallest[0] > 0.0 else math.inf

    @property
    def value(self) -> float:
        """Ratio of the Ritz values themselves, no rounding allowed for."""
        if self.is_singular:
            return math.inf
        ratio = (self.largest[0] + self.slack) / (self.smallest[1] - self.slack)
        return min(max(ratio, self.low), self.high)

    def unscaled(self, ends: tuple[float, float]) -> tuple[float, float]:
        """Return an interval in units of the operator; overflow becomes infinity."""
        with np.errstate(over="ignore", under="ignore"):
            low, high = np.ldexp(ends, self.exponent)
        return float(low), float(high)


@final
class SymmetricRun:
    """Lanczos on a symmetric operator or pencil.

    Parameters
    ----------
    A : Operator or anything `as_operator` accepts
    metric : array or pair of callables, optional
        See `spectra.pencils.reduce_pencil`.
    ridge : float, optional
        Stated lower bound of the spectrum, not negative.
    num_starts, seed : int
        Start vectors.
    delta : float
        Probability with which the statement about each end may fail.
    rank_tolerance : float
        Smaller moduli, relative to the norm, are left out.
    """

    def __init__(
        self,
        A: Any,
        *,
        metric: Metric | None = None,
        ridge: float | None = None,
        num_starts: int,
        seed: int,
        delta: float,
        rank_tolerance: float = 0.0,
    ) -> None:
        operator, self._shift = as_operator(A), 0
        if metric is not None:
            operator, self._shift = reduce_pencil(operator, metric)
        self.limit = operator.shape[0]
        self._ridge, self._delta, self._rank_tolerance = ridge, delta, rank_tolerance
        start = start_vectors(operator.like, num=num_starts, rng=seed)
        self.iteration = Iteration(operator, start, store=min(_STORE, self.limit))
        self._slack: float | None = None

    def advance(self, num_steps: int, *, progress: Progress | None, total: int) -> None:
        """Do further steps; the first time, look whether the operator is symmetric and deterministic."""
        before = self.iteration.num_done
        if self._slack is None:
            eps = float(np.finfo(dtype_name(self.iteration.operator.dtype)).eps)
            self._slack = relative_slack(eps, self.iteration.repeat_defect(), self.iteration.symmetry_defect())
        self.iteration.advance(num_steps - (self.iteration.num_done - before), progress=progress, total=total)

    def certificate(self) -> Certificate:
        """Return what the steps so far say about the ends."""
        return Certificate(
            self.iteration.tridiagonal(), dimension=self.limit, delta=self._delta, slack=self._slack or 0.0
        )

    def bounds(self) -> ModulusBounds:
        """Return what the steps so far say about the moduli.

        Raises
        ------
        ArgumentError
            If a Ritz value lies below the ridge.
        """
        found = self.certificate()
        if self._rank_tolerance > 0.0:
            smallest = found.smallest_modulus_above(*self.threshold(found))
        elif self._ridge is not None:
            smallest = self._above_ridge(found, self._ridge)
        else:
            smallest = found.smallest_modulus()
        definiteness: Definiteness = "undecided"
        if found.low > 0.0 or (self._ridge or 0.0) > 0.0:
            definiteness = "positive definite"
        elif found.high < 0.0:
            definiteness = "negative definite"
        elif found.low_certain < 0.0 < found.high_certain:
            definiteness = "indefinite"
        return ModulusBounds(
            smallest=smallest,
            largest=(max(found.norm - found.slack, 0.0), found.largest_modulus),
            slack=found.slack,
            exponent=found.exponent + self._shift,
            is_complete=found.is_complete,
            definiteness=definiteness,
        )

    def threshold(self, found: Certificate) -> tuple[float, float]:
        """Return two numbers between which the rank tolerance times the norm lies."""
        return self._rank_tolerance * found.norm, self._rank_tolerance * found.largest_modulus

    def _above_ridge(self, found: Certificate, ridge: float) -> tuple[float, float]:
        """Return bounds of the smallest eigenvalue, given that none is smaller than the ridge."""
        exponent = found.exponent + self._shift
        scaled = float(np.ldexp(ridge, -exponent))
        if found.low_certain < scaled:
            raise ArgumentError(
                f"ridge must be a lower bound of the spectrum, but {self.iteration.operator.name!r} has an eigenvalue "
                f"of at most {np.ldexp(found.low_certain, exponent):.6g}, below the ridge {ridge:.6g}"
            )
        return max(found.low, scaled), found.low_certain


@final
class RectangularRun:
    """Golub-Kahan steps on a matrix of any shape, from start vectors on its shorter side.

    Parameters
    ----------
    A : RectangularOperator or anything `as_rectangular` accepts
    num_starts, seed, delta
        As for `SymmetricRun`.
    """

    def __init__(self, A: Any, *, num_starts: int, seed: int, delta: float) -> None:
        operator = as_rectangular(A)
        operator = operator.transpose() if operator.shape[1] > operator.shape[0] else operator
        self.limit = operator.shape[1]
        self._delta = delta
        start = start_vectors(operator.like, num=num_starts, rng=seed)
        self.iteration = Bidiagonalization(operator, start, store=min(_STORE, self.limit))
        self._slack: float | None = None

    def advance(self, num_steps: int, *, progress: Progress | None, total: int) -> None:
        """Do further steps; the first time, look whether both products belong to one matrix, and repeat."""
        if self._slack is None:
            eps = float(np.finfo(dtype_name(self.iteration.operator.like.dtype)).eps)
            self._slack = relative_slack(eps, self.iteration.defect())
        self.iteration.advance(num_steps, progress=progress, total=total)

    def bounds(self) -> ModulusBounds:
        """Return what the steps so far say about the singular values."""
        found = SingularCertificate(
            self.iteration.bidiagonal(scaled=True), dimension=self.limit, delta=self._delta, slack=self._slack or 0.0
        )
        return ModulusBounds(
            smallest=(found.low, found.low_certain),
            largest=(max(found.high_certain, 0.0), found.high),
            slack=found.slack,
            exponent=found.exponent + self.iteration.exponent,
            is_complete=found.is_complete,
            definiteness="not symmetric",
        )


def grow(
    run: SymmetricRun | RectangularRun,
    *,
    max_steps: int | None,
    done: Callable[[ModulusBounds], bool],
    progress: Progress | None,
) -> ModulusBounds:
    """Advance a run, an eighth further each time, until its bounds are good, or nothing is left to do.

    The default limit of 300 steps certifies condition numbers up to ``(2 300 / 9)**2 ~ 4000`` at worst, see
    `spectra.condition_number`.
    """
    limit = min(run.limit, _MAX_STEPS if max_steps is None else max_steps)
    step = _FIRST_LOOK
    while True:
        run.advance(min(step, limit - run.iteration.num_done), progress=progress, total=limit)
        bounds = run.bounds()
        if run.iteration.num_done >= limit or run.iteration.exhausted or done(bounds):
            return bounds
        step = max(4, run.iteration.num_done // 8)
