r"""Fit of the annealing law (:mod:`spectra.recommend.annealing`) to a loss log.

The fit minimizes a Huber loss of the residuals of ``log L`` by L-BFGS-B from several starts, and once more with the
threshold set by the scale of the residuals, as a fixed one wastes data where the noise is larger. Intervals come from
the curvature of the fit and the long-run variance of the residuals over blocks of consecutive steps, so that residuals
may be correlated.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.stats import t as student_t

from spectra.errors import ArgumentError, ShapeError
from spectra.recommend.annealing import DECAY, PARAMETERS, AnnealingFit, annealing_areas, law_of
from spectra.recommend.recommendation import Check, Verdict, verdict_of

__all__ = ["fit_annealing_law"]

FloatArray = npt.NDArray[np.float64]

#: Memories that a log must cover; several thousand steps at the default decay (design choice).
MIN_MEMORIES = 4
#: Of log L, for the search among starts (the value of Hoffmann et al. 2022, who fit laws of this kind).
FIRST_HUBER_DELTA = 1e-3
#: Of the final fit, over the robust standard deviation of the residuals: 95% efficiency at normal noise (Huber 1964).
HUBER_FACTOR = 1.345
NUM_BLOCKS = 24
MIN_POINTS = 100


def fit_annealing_law(
    losses: npt.ArrayLike,
    learning_rates: npt.ArrayLike,
    *,
    steps: npt.ArrayLike | None = None,
    decay: float = DECAY,
    level: float = 0.95,
) -> AnnealingFit:
    """Fit the annealing law to a loss log.

    Parameters
    ----------
    losses : array_like of shape (points,)
        Logged losses, positive; validation losses or smoothed training losses.
    learning_rates : array_like of shape (steps,)
        Rate of *every* step of the run, warm-up left out (then step 1 is the first one after it).
    steps : array_like of int, shape (points,), optional
        Step, counted from 1, of each loss; increasing. By default one loss for each step.
    decay : float
        Memory of the annealing term.
    level : float
        Level of the intervals.

    Returns
    -------
    AnnealingFit
        Withheld if the log is shorter than several memories, the rate hardly falls (``C`` is then unknown), a loss is
        not positive and finite, or a parameter is not resolved. ``TENTATIVE`` at best, as a single run cannot show
        that the law carries over to another schedule.

    Raises
    ------
    ShapeError
        If there is not one step for each loss.
    ArgumentError
        If steps do not increase, lie outside the schedule, or there are fewer than 100 points.

    Examples
    --------
    >>> rates = 1e-3 * np.linspace(1.0, 0.1, 6000)
    >>> areas = annealing_areas(rates)
    >>> fit = fit_annealing_law(2.0 + 0.5 * areas.forward**-0.4 - 0.2 * areas.annealing, rates)
    >>> round(fit.floor, 2), round(fit.exponent, 2), round(fit.annealing, 2), str(fit.verdict)
    (2.0, 0.4, 0.2, 'TENTATIVE')
    """
    rates = np.asarray(learning_rates, dtype=np.float64)
    areas = annealing_areas(rates, decay=decay)
    loss = np.asarray(losses, dtype=np.float64)
    at = np.arange(1, len(rates) + 1) if steps is None else np.asarray(steps)
    if loss.ndim != 1 or at.shape != loss.shape:
        raise ShapeError(f"one step for each loss is needed; got shapes {at.shape} and {loss.shape}")
    if len(loss) < MIN_POINTS:
        raise ArgumentError(f"at least {MIN_POINTS} logged losses are needed; got {len(loss)}")
    if np.any(np.diff(at) <= 0) or at[0] < 1 or at[-1] > len(rates):
        raise ArgumentError(f"steps must increase and lie in 1..{len(rates)}; got {at[0]}..{at[-1]}")
    if not 0 < level < 1:
        raise ArgumentError(f"level must lie strictly between 0 and 1; got {level}")
    index = at.astype(np.int64) - 1
    s1, s2 = areas.forward[index], areas.annealing[index]
    needed = MIN_MEMORIES / (1.0 - decay)
    usable = bool(np.all(np.isfinite(loss)) and np.all(loss > 0))
    checks = [
        Check(
            claim="the log covers several memories of the annealing term",
            observed=f"{at[-1]} steps",
            required=f"at least {needed:.0f}",
            passed=bool(at[-1] >= needed),
        ),
        Check(
            claim="all losses are positive and finite",
            observed=f"{int(np.sum(~(np.isfinite(loss) & (loss > 0))))} are not",
            required="none",
            passed=usable,
        ),
        Check(
            claim="the learning rate falls within the log",
            observed=f"to {rates[index[-1]] / rates.max():.0%} of its largest value",
            required="at most 90%",
            passed=bool(rates[index[-1]] <= 0.9 * rates.max()),
        ),
    ]
    if all(check.passed for check in checks):
        return _fitted(loss, s1, s2, checks, decay=decay, level=level)
    verdict, reason = verdict_of(checks)
    nan = float("nan")
    return AnnealingFit(
        floor=nan,
        amplitude=nan,
        exponent=nan,
        annealing=nan,
        intervals={name: (nan, nan) for name in PARAMETERS},
        level=level,
        decay=decay,
        log_covariance=np.full((4, 4), nan),
        degrees_of_freedom=0,
        residual_scale=nan,
        verdict=verdict,
        reason=reason,
        checks=tuple(checks),
    )


def _fitted(
    loss: FloatArray, s1: FloatArray, s2: FloatArray, checks: list[Check], *, decay: float, level: float
) -> AnnealingFit:
    # units in which the first distance is about 1, so that all parameters are of order 1
    unit = float(np.exp(np.mean(np.log(s1))))
    scale = float(np.max(np.abs(s2))) or 1.0
    x1, x2, target = s1 / unit, s2 / scale, np.log(loss)

    def objective(logs: FloatArray, delta: float) -> tuple[float, FloatArray]:
        value, jacobian = law_of(logs, x1, x2)
        if not np.all(np.isfinite(value)) or value.min() <= 0:
            return 1e10, np.zeros(4)
        residual = np.log(value) - target
        size = np.abs(residual)
        huber = np.where(size <= delta, residual**2 / 2, delta * (size - delta / 2)) / delta**2
        return float(huber.mean()), (np.clip(residual, -delta, delta) / delta**2 / value) @ jacobian / len(target)

    low = float(loss.min())
    starts = [
        np.log([share * low, max(float(loss[0]) - low, 1e-3 * low), exponent, annealing * low])
        for share in (0.5, 0.9)
        for exponent in (0.2, 0.6)
        for annealing in (0.01, 0.1)
    ]
    bounds = [
        (np.log(low) - 12, np.log(low) + 2),
        (np.log(low) - 14, np.log(low) + 12),
        (-5, 2),
        (np.log(low) - 16, np.log(low) + 5),
    ]
    options = {"maxiter": 5000, "maxfun": 20000, "ftol": 1e-15, "gtol": 1e-10}
    setting: dict[str, Any] = {"jac": True, "method": "L-BFGS-B", "bounds": bounds, "options": options}
    runs = [minimize(objective, start, args=(FIRST_HUBER_DELTA,), **setting) for start in starts]
    best = min(runs, key=lambda run: run.fun)
    agree = sum(run.fun <= best.fun * (1 + 1e-3) + 1e-12 for run in runs)
    first = np.log(law_of(best.x, x1, x2)[0]) - target
    # 1.4826 times the median absolute residual is the standard deviation of normal noise
    delta = HUBER_FACTOR * max(1.4826 * float(np.median(np.abs(first))), 1e-9)
    best = minimize(objective, best.x, args=(delta,), **setting)
    logs = best.x
    value, jacobian = law_of(logs, x1, x2)
    residual = np.log(value) - target
    covariance, freedom = _covariance(residual, jacobian / value[:, None], delta)
    # back from the units of the fit: A = A' unit^alpha, C = C'/scale
    change = np.eye(4)
    change[1, 2] = np.exp(logs[2]) * np.log(unit)
    covariance = change @ covariance @ change.T
    logs = logs + np.array([0.0, np.exp(logs[2]) * np.log(unit), 0.0, -np.log(scale)])
    stderr = np.sqrt(np.diag(covariance))
    half = student_t.ppf(0.5 + level / 2, freedom) * stderr
    at_bound = bool(np.any([min(x - a, b - x) < 1e-6 for x, (a, b) in zip(best.x, bounds, strict=True)]))
    checks += [
        Check(
            claim="several starts find the same minimum",
            observed=f"{agree} of {len(runs)}, none at a bound" if not at_bound else "a parameter at its bound",
            required="at least 2, none at a bound",
            passed=agree >= 2 and not at_bound,
        ),
        Check(
            claim="exponent and annealing coefficient are resolved",
            observed=f"relative errors {stderr[2]:.0%} and {stderr[3]:.0%}",
            required="at most 50%",
            passed=bool(stderr[2] <= 0.5 and stderr[3] <= 0.5),
        ),
    ]
    verdict, reason = verdict_of(
        checks, at_best=Verdict.TENTATIVE, reason="describes this run; another schedule has not been compared"
    )
    return AnnealingFit(
        **{name: float(np.exp(x)) for name, x in zip(PARAMETERS, logs, strict=True)},
        intervals={
            name: (float(np.exp(x - h)), float(np.exp(x + h)))
            for name, x, h in zip(PARAMETERS, logs, half, strict=True)
        },
        level=level,
        decay=decay,
        log_covariance=covariance,
        degrees_of_freedom=freedom,
        residual_scale=float(np.median(np.abs(residual))),
        verdict=verdict,
        reason=reason,
        checks=tuple(checks),
    )


def _covariance(residual: FloatArray, jacobian: FloatArray, delta: float) -> tuple[FloatArray, int]:
    """Return the covariance of the Huber fit at stationary noise, and the degrees of freedom of its scale.

    The long-run variance of the scores takes the place of their variance. Sums of scores times derivatives (a full
    sandwich) would rest on the first block alone, where the power law has all its leverage.
    """
    share = float(np.mean(np.abs(residual) <= delta))
    blocks = np.array([part.sum() for part in np.array_split(np.clip(residual, -delta, delta), NUM_BLOCKS)])
    freedom = NUM_BLOCKS - jacobian.shape[1]
    long_run = float(blocks @ blocks) / len(residual) * NUM_BLOCKS / freedom
    return long_run / share**2 * np.linalg.pinv(jacobian.T @ jacobian, hermitian=True), freedom
