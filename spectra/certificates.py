"""Intervals that contain the whole spectrum, from a few Lanczos steps, with known confidence."""

import math
from dataclasses import dataclass
from typing import final

import numpy as np

from spectra.arrays import dtype_name, finite_number
from spectra.christoffel import hole, outermost, overlap_quantile, weight_below
from spectra.errors import ArgumentError
from spectra.lanczos import BREAKDOWN, Iteration
from spectra.operators import as_operator
from spectra.protocols import Array, Progress, SupportsMatmul
from spectra.start_vectors import as_count, start_vectors
from spectra.tridiagonal import Tridiagonal, ritz

__all__ = ["Certificate", "SpectralBounds", "as_level", "relative_slack", "spectral_bounds"]

_DEFECT_OF_ROUNDING = 5.0


def as_level(level: float) -> float:
    """Return a confidence level as a float strictly between 0 and 1, or raise ArgumentError."""
    level = finite_number(level, name="level")
    if not 0.0 < level < 1.0:
        raise ArgumentError(f"level must lie strictly between 0 and 1, got {level!r}")
    return level


def relative_slack(eps: float, *defects: float) -> float:
    """Return how far, relative to the norm, rounding may move an end of the spectrum.

    64 eps, in proportion more where the operator is less symmetric or less repeatable than rounding makes it (5 eps).
    In float32, without it, bounds from converged Ritz values missed the eigenvalue in more than half of the runs.

    Examples
    --------
    >>> relative_slack(2.0**-52) == 2.0**-46
    True
    """
    return BREAKDOWN * max(eps, max(defects, default=0.0) / _DEFECT_OF_ROUNDING)


@dataclass(frozen=True, kw_only=True)
class SpectralBounds:
    """Where the spectrum lies.

    Attributes
    ----------
    low, high : float
        ``low <= lambda_min`` and ``lambda_max <= high``, both at once with probability ``level`` over the start
        vectors.
    low_certain, high_certain : float
        ``lambda_min <= low_certain`` and ``high_certain <= lambda_max``, without doubt but for rounding, which they
        allow for: the outermost Ritz values.
    level : float
        Nominal coverage; the actual one is higher.
    covers : str
        Which randomness the level refers to.
    num_matvecs, num_steps, num_starts : int
        What it cost.
    """

    low: float
    high: float
    low_certain: float
    high_certain: float
    level: float
    covers: str
    num_matvecs: int
    num_steps: int
    num_starts: int

    def __str__(self) -> str:
        """Return the outer interval on one line."""
        return f"spectrum in [{self.low:.6g}, {self.high:.6g}] at {self.level:.0%} ({self.num_matvecs} matvecs)"


@final
class Certificate:
    """What tridiagonal matrices of random start vectors say about the ends, and the smallest modulus, of a spectrum.

    All numbers are in units of ``2**exponent``, and allow for rounding.

    Parameters
    ----------
    tridiagonal : Tridiagonal
        From start vectors that are uniform on the sphere, in every step count: the statements fail only for start
        vectors too nearly orthogonal to an eigenvector, whatever the number of steps. It may therefore be chosen as the
        results come in, while the number of start vectors may not.
    dimension : int
        Order n of the operator.
    delta : float
        Probability with which each single statement may fail.
    slack : float
        See `relative_slack`.

    Attributes
    ----------
    exponent : int
    norm : float
        Largest modulus of a Ritz value.
    slack : float
        ``norm`` times the parameter.
    low, high, low_certain, high_certain : float
        As in `SpectralBounds`.
    is_complete : bool
        Whether the whole spectrum is known: some start vector was taken n steps.
    """

    def __init__(self, tridiagonal: Tridiagonal, *, dimension: int, delta: float, slack: float) -> None:
        largest = max(np.max(np.abs(tridiagonal.diagonal)), np.max(np.abs(tridiagonal.off_diagonal)))
        self.exponent = math.frexp(float(largest))[1]
        orders = [int(k) for k in tridiagonal.num_steps]
        self.is_complete = dimension in orders
        chosen = [i for i, k in enumerate(orders) if k == dimension or not self.is_complete]
        self._diagonals = [np.ldexp(tridiagonal.diagonal[i, : orders[i]], -self.exponent) for i in chosen]
        couplings = [np.ldexp(tridiagonal.off_diagonal[i, : orders[i]], -self.exponent) for i in chosen]
        values = [_ritz_values(a, b) for a, b in zip(self._diagonals, couplings, strict=True)]
        self.norm = max(float(np.max(np.abs(theta))) for theta in values)
        self.slack = slack * self.norm
        # A coupling that counts as zero is at most this large.
        floor = max(BREAKDOWN, slack / np.finfo(np.float64).eps) * np.finfo(np.float64).eps * max(self.norm, 1e-300)
        self._couplings = [np.where(b > 0.0, b, floor) for b in couplings]
        self._exact_couplings = couplings
        self._q = overlap_quantile(dimension, num_starts=len(chosen), delta=delta)
        low = min(float(theta[0]) for theta in values)
        high = max(float(theta[-1]) for theta in values)
        self.low_certain, self.high_certain = low + self.slack, high - self.slack
        self._values = values
        if not self.is_complete and self.norm > 0.0:
            low, high = min(map(self._outer_low, range(len(values)))), max(map(self._outer_high, range(len(values))))
        self.low, self.high = low - self.slack, high + self.slack

    @property
    def largest_modulus(self) -> float:
        """Upper bound of the norm of the operator."""
        return max(self.high, -self.low)

    def smallest_modulus(self) -> tuple[float, float]:
        """Return bounds of the smallest modulus of an eigenvalue.

        Returns
        -------
        low : float
            Holds with probability ``1 - delta``; 0 if nothing can be excluded.
        high : float
            Certain but for rounding: ``||A y|| = (theta**2 + r**2)**0.5`` for a Ritz vector y with residual r. If all
            eigenvalues have one sign, as far as ``low`` and ``high`` of the spectrum tell, the modulus of a Ritz value.
        """
        if self.low > 0.0 or self.high < 0.0:
            nearest = min(float(np.min(np.abs(theta))) for theta in self._values)
            return max(self.low, -self.high, 0.0), nearest + self.slack
        moduli, residuals = self._pairs()
        limit = float(np.min(np.hypot(moduli, residuals)))
        return max(self._excluded(0.0, limit) - self.slack, 0.0), limit + self.slack

    def smallest_modulus_above(self, least: float, most: float) -> tuple[float, float]:
        """Return bounds of the smallest modulus above a threshold that is known to lie between two numbers.

        Returns
        -------
        low : float
            Holds with probability ``1 - delta``; ``least`` if nothing can be excluded.
        high : float
            Certain but for rounding: ``|theta| + r`` of a Ritz value with ``|theta| - r`` above the threshold; infinite
            if there is none.
        """
        moduli, residuals = self._pairs()
        clear = moduli - residuals > most + self.slack
        limit = float(np.min((moduli + residuals)[clear], initial=np.inf))
        excluded = self._excluded(least, max(min(limit, self.norm), least))
        return max(excluded - self.slack, least), limit + self.slack

    def weight_up_to(self, least: float, most: float) -> tuple[float, float]:
        """Return bounds of the mean weight on moduli up to a threshold that is known to lie between two numbers."""
        low = high = 0.0
        for a, b in zip(self._diagonals, self._couplings, strict=True):
            low += max(0.0, weight_below(a, b, least)[0] - weight_below(a, b, -least)[1])
            high += min(1.0, weight_below(a, b, most)[1] - weight_below(a, b, -most)[0])
        return low / len(self._diagonals), high / len(self._diagonals)

    def _pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the moduli of all Ritz values, and their residuals."""
        pairs = [ritz(a, b, len(a)) for a, b in zip(self._diagonals, self._exact_couplings, strict=True)]
        return np.abs(np.concatenate([p.values for p in pairs])), np.concatenate([p.residuals for p in pairs])

    def _excluded(self, inner: float, limit: float) -> float:
        """Return the modulus up to which, from ``inner`` on, there is no eigenvalue; at most ``limit``."""
        if self.is_complete:
            return limit
        pairs = zip(self._diagonals, self._couplings, strict=True)
        return min(hole(a, b, q=self._q, inner=inner, limit=limit) for a, b in pairs)

    def bounds(self) -> tuple[float, float, float, float]:
        """Return low, high, low_certain, high_certain in units of the operator; overflow becomes infinity."""
        with np.errstate(over="ignore", under="ignore"):
            ends = np.ldexp([self.low, self.high, self.low_certain, self.high_certain], self.exponent)
        return float(ends[0]), float(ends[1]), float(ends[2]), float(ends[3])

    def _outer_high(self, i: int) -> float:
        return outermost(self._diagonals[i], self._couplings[i], float(self._values[i][-1]), q=self._q)

    def _outer_low(self, i: int) -> float:
        return -outermost(-self._diagonals[i], self._couplings[i], -float(self._values[i][0]), q=self._q)


def spectral_bounds(
    A: SupportsMatmul | Array,
    *,
    level: float = 0.95,
    num_starts: int = 1,
    num_steps: int = 30,
    rng: int | np.random.Generator = 0,
    progress: Progress | None = None,
) -> SpectralBounds:
    """Bound both ends of the spectrum of a symmetric operator from outside and from inside.

    After k Lanczos steps an eigenvalue x beyond all Ritz values carries at most the weight ``1 / K(x)`` of the start
    vector, ``K = sum_j pi_j**2``. A start vector uniform on the sphere has weight ``Beta(1/2, (n - 1)/2)`` on the
    outermost eigenvector; with q its quantile at ``((1 - level)/2)**(1/num_starts)``, the outer bounds are the points
    where K reaches ``1 / q``.

    Parameters
    ----------
    A : Operator or anything `as_operator` accepts, shape (n, n)
        Real symmetric.
    level : float
        Probability that both outer bounds hold.
    num_starts : int
        Start vectors. One is the cheapest: ten halve the number of steps at ten times the products of each.
    num_steps : int
        Lanczos steps, n at most. The gap to the Ritz value falls as ``(log(n) / num_steps)**2`` at worst.
    rng : int or numpy.random.Generator
        Seed of the start vectors.
    progress : callable, optional
        Called with ``(steps done, num_steps)``.

    Returns
    -------
    SpectralBounds

    Raises
    ------
    NotSymmetricError, NonDeterministicError, NonFiniteError
        As for `spectra.slq`.
    ArgumentError, ShapeError, BackendError
        For a wrong call, before any product.

    Notes
    -----
    Costs ``num_starts num_steps`` products, and one to test that the operator is deterministic.

    Source: van Dorsselaer, Hochstenbach and van der Vorst (2000), whose bound uses the polynomial of highest degree
    alone; the sum over all of them needs 3 to 30% fewer steps.

    Examples
    --------
    >>> import numpy as np
    >>> bounds = spectral_bounds(np.diag(np.linspace(1.0, 2.0, 500)))
    >>> bounds.low <= 1.0 <= bounds.low_certain, bounds.high_certain <= 2.0 <= bounds.high
    (True, True)
    >>> print(bounds)
    spectrum in [0.994466, 2.00789] at 95% (31 matvecs)
    """
    operator = as_operator(A)
    level = as_level(level)
    num_starts = as_count(num_starts, name="num_starts")
    num_steps = min(as_count(num_steps, name="num_steps"), operator.shape[0])
    start = start_vectors(operator.like, num=num_starts, rng=rng)
    iteration = Iteration(operator, start, store=num_steps)
    defects = iteration.repeat_defect(), iteration.symmetry_defect()
    iteration.advance(num_steps - iteration.num_done, progress=progress, total=num_steps)
    slack = relative_slack(float(np.finfo(dtype_name(operator.dtype)).eps), *defects)
    certificate = Certificate(
        iteration.tridiagonal(), dimension=operator.shape[0], delta=0.5 * (1.0 - level), slack=slack
    )
    low, high, low_certain, high_certain = certificate.bounds()
    return SpectralBounds(
        low=low,
        high=high,
        low_certain=low_certain,
        high_certain=high_certain,
        level=level,
        covers="random start vectors, uniform on the sphere, and rounding",
        num_matvecs=iteration.num_matvecs,
        num_steps=iteration.num_done,
        num_starts=num_starts,
    )


def _ritz_values(diagonal: np.ndarray, off_diagonal: np.ndarray) -> np.ndarray:
    """Return the eigenvalues of a tridiagonal matrix, ascending."""
    from scipy.linalg import eigvalsh_tridiagonal

    return diagonal if len(diagonal) == 1 else eigvalsh_tridiagonal(diagonal, off_diagonal[:-1])
