r"""The exponent of the power law that a decay looks like at half of the samples, from few samples to all of them."""

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

__all__ = ["LEAST", "SIZES", "ExponentTrend", "SizeLevel", "exponent_trend", "exponents_by_size", "log_exponent"]

#: Fewest samples whose exponent is looked at (design choice).
LEAST = 16
#: Sizes that are compared, with ratios of 2.
SIZES = 3
#: Share of the samples at which the effective dimension is held. Near 1 the closest pairs of samples decide, and not
#: the kernel: the Laplace kernel in one dimension has exponents of 2.2 here, and from 9 to 91 there, over 12 draws of
#: 400 points (scripts/validate_overfitting_regime.py).
SHARE = 0.5
#: The ridge that holds it must exceed the floor of rounding by this factor (design choice).
RESOLVED = 100.0


@dataclass(frozen=True, kw_only=True, eq=False)
class SizeLevel:
    """Draws of one size.

    Attributes
    ----------
    size : int
        Number of samples.
    logs : ndarray
        Logarithm of the local exponent of each draw; NaN where rounding hides it.
    """

    size: int
    logs: np.ndarray

    @property
    def is_resolved(self) -> bool:
        """Whether all draws have an exponent."""
        return bool(np.all(np.isfinite(self.logs)))

    @property
    def mean(self) -> float:
        """Mean of the logarithms."""
        return float(np.mean(self.logs))


def exponents_by_size(
    matrix: np.ndarray, eps: float, eigenvalue: np.ndarray, *, draws: int, seed: int, num_resolved: int
) -> list[SizeLevel]:
    """Return local exponents of all samples and of halves of them, until enough sizes are resolved.

    Parameters
    ----------
    matrix : ndarray, shape (n, n)
        Checked Gram matrix, on the host.
    eps : float
        Machine epsilon of the dtype in which it was computed.
    eigenvalue : ndarray, shape (n,)
        Its eigenvalues, ascending.
    draws, seed : int
        Random draws of each smaller size, and their seed.
    num_resolved : int
        How many resolved sizes are enough.

    Returns
    -------
    list of SizeLevel
        Descending sizes, at least 16 but for n itself.
    """
    n = size = len(matrix)
    levels = [SizeLevel(size=n, logs=np.array([log_exponent(eigenvalue, eps)]))]
    while size // 2 >= LEAST and sum(level.is_resolved for level in levels) < num_resolved:
        size //= 2
        logs = []
        for draw in range(draws):
            rows = np.random.default_rng([seed, 1, size, draw]).permutation(n)[:size]
            logs.append(log_exponent(np.linalg.eigvalsh(matrix[np.ix_(rows, rows)]), eps))
        levels.append(SizeLevel(size=size, logs=np.array(logs)))
    return levels


def log_exponent(eigenvalue: np.ndarray, eps: float) -> float:
    r"""Return the log of :math:`1/(1 - \mathrm{df}_2/\mathrm{df}_1)` where df1 is half of the samples.

    Parameters
    ----------
    eigenvalue : ndarray, shape (n,)
        Of a Gram matrix, ascending.
    eps : float
        Machine epsilon of the dtype in which it was computed.

    Returns
    -------
    float
        NaN if rounding hides it.

    Notes
    -----
    Estimates under Gaussian equivalence, derived here: with :math:`T = \operatorname{tr} P`,
    :math:`\mathrm{df}_1 = n - \delta T` and :math:`\mathrm{df}_2 = n - T^2/\operatorname{tr} P^2`. For eigenvalues
    :math:`i^{-\alpha}` of the integral operator it is :math:`\log \alpha` at every df1; for :math:`e^{-ci}` it grows
    like :math:`\log \mathrm{df}_1`.

    Examples
    --------
    All eigenvalues alike are a ridge: nothing is overfitted.

    >>> round(log_exponent(np.ones(100), 2.2e-16), 12)
    0.0
    """
    n, top = len(eigenvalue), float(eigenvalue[-1])
    if not top > 0:
        return math.nan
    relative = np.maximum(eigenvalue / top, 0.0)
    lowest = RESOLVED * max(n * eps, -float(eigenvalue[0]) / top)
    held = SHARE * n

    def missing(log_ridge: float) -> float:
        return float(np.sum(relative / (relative + math.exp(log_ridge)))) - held

    if not missing(math.log(lowest)) > 0:
        return math.nan
    delta = math.exp(float(brentq(missing, math.log(lowest), math.log(2 * n), xtol=1e-9)))
    inverse = 1 / (relative + delta)
    total = float(np.sum(inverse))
    # df1 - df2, without the n of both.
    rest = total**2 / float(inverse @ inverse) - delta * total
    return math.log(held / rest) if rest > 0 else math.nan


@dataclass(frozen=True, kw_only=True)
class ExponentTrend:
    r"""How the local exponent goes with the number of samples.

    Attributes
    ----------
    exponent : float
        At the largest size, geometric mean over draws.
    slope : float
        :math:`d \log(\text{local exponent}) / d \log n`.
    stderr : float
        Its standard error over draws.
    last, before : float
        Slopes of the last doubling, and of the doubling before.
    """

    exponent: float
    slope: float
    stderr: float
    last: float
    before: float


def exponent_trend(levels: list[SizeLevel], num_samples: int) -> ExponentTrend:
    """Return the exponent at the largest resolved size, and its growth over the three largest.

    Parameters
    ----------
    levels : list of SizeLevel
        Descending, one of the resolved with several draws; each half of the one before.
    num_samples : int
        n, of which the draws were taken.

    Returns
    -------
    ExponentTrend
        With a slope of NaN where fewer than three sizes are resolved, and an exponent of NaN where none is.

    Notes
    -----
    Measured under Gaussian design, n = 100 to 400, 10 and 20 draws (``scripts/validate_overfitting_regime.py``): the
    standard error is 0.8 to 2.3 times the spread of slopes, in the middle 1.4 times.

    Examples
    --------
    >>> levels = [SizeLevel(size=m, logs=np.log([m, m])) for m in (400, 200, 100)]
    >>> trend = exponent_trend(levels, 800)
    >>> round(trend.slope, 9), round(trend.last, 9), round(trend.before, 9)
    (1.0, 1.0, 1.0)
    """
    used = [level for level in levels if level.is_resolved][:SIZES]
    exponent = math.exp(used[0].mean) if used else math.nan
    if len(used) < SIZES:
        return ExponentTrend(exponent=exponent, slope=math.nan, stderr=math.nan, last=math.nan, before=math.nan)
    x = np.log([level.size for level in used])
    weight = (x - np.mean(x)) / np.sum((x - np.mean(x)) ** 2)
    # Draws of a share of the samples overlap, which hides that share of their variance.
    spreads = [np.var(level.logs, ddof=1) / (1 - level.size / num_samples) for level in used if level.logs.size > 1]
    variance = float(np.mean(spreads)) * np.array([1 / level.logs.size for level in used])
    means = np.array([level.mean for level in used])
    doublings = np.diff(means) / np.diff(x)
    return ExponentTrend(
        exponent=exponent,
        slope=float(weight @ means),
        stderr=math.sqrt(float(weight**2 @ variance)),
        last=float(doublings[0]),
        before=float(doublings[1]),
    )
