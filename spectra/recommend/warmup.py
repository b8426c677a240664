r"""Warm-up: its length from the measured stable limit, and a smoothness law that would explain it.

*Length.* Along training from a given state the stable limit ``lr_max(w_t)`` changes. Warm-up ends with the first
measured state from which on the limit stays within a factor of its later values, or, where the limit falls and then
rises again, with its minimum. The step lies between two measured stages; the later one is the value.

*Law.* If ``||H(w)|| <= H0 + H1 (f(w) - f*)``, stable rates behave like ``1/(H0 + H1 (f - f*))`` and rise as the loss
falls (Alimisis, Islamov and Lucchi 2025, arXiv 2510.03164). Regressing the largest curvature on the loss along a run
tells whether it does: often curvature *grows* while the loss falls, the slope is negative, and the law says nothing.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import t as student_t

from spectra.errors import ArgumentError, ShapeError
from spectra.recommend.recommendation import Check, Recommendation, Verdict, verdict_of

__all__ = ["SmoothnessFit", "smoothness_fit", "warmup_length"]

#: Ratio of later limits within which the limit counts as settled; design choice.
SETTLED_RATIO = 1.5
#: Stages that must lie in the settled part, the last one included; design choice.
MIN_SETTLED_STAGES = 2
MIN_STAGES = 3
MIN_R_SQUARED = 0.5


@dataclass(frozen=True, kw_only=True)
class SmoothnessFit:
    """Least-squares fit of ``lam = H0 + H1 (f - f*)``.

    Attributes
    ----------
    intercept, slope : float
        ``H0`` and ``H1``.
    intercept_interval, slope_interval : tuple of float
        Student intervals at the level asked for; they take the residuals of the fit as independent.
    r_squared : float
        Share of the variance of ``lam`` that the line explains; 0 for constant curvature.
    verdict, reason, checks
        ``WITHHELD`` unless the slope is positive and the line explains more than half.
    """

    intercept: float
    slope: float
    intercept_interval: tuple[float, float]
    slope_interval: tuple[float, float]
    r_squared: float
    verdict: Verdict
    reason: str
    checks: tuple[Check, ...]

    def relative_rate(self, loss_gap: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return ``H0/(H0 + H1 (f - f*))``: the rate that the law allows over the one it allows at ``f*``.

        Raises
        ------
        ArgumentError
            If the fit is withheld, or a gap is negative.
        """
        gap = np.asarray(loss_gap, dtype=np.float64)
        if self.verdict is Verdict.WITHHELD:
            raise ArgumentError(f"a withheld fit gives no rates ({self.reason}); use warmup_length on measured limits")
        if np.any(gap < 0):
            raise ArgumentError(f"the loss must not be below its optimal value; got a gap of {gap.min()}")
        return self.intercept / (self.intercept + self.slope * gap)


def warmup_length(
    steps: npt.ArrayLike,
    limits: npt.ArrayLike,
    *,
    learning_rate: float | None = None,
    settled_ratio: float = SETTLED_RATIO,
) -> Recommendation:
    """Return the number of warm-up steps after which the stable limit no longer changes, or has passed its minimum.

    No warm-up is needed to stay stable where the learning rate lies within every limit on the way.

    Parameters
    ----------
    steps : array_like of shape (stages,)
        Real optimizer steps before each measurement, increasing.
    limits : array_like of shape (stages,)
        Largest stable learning rate there (``max_stable_learning_rate`` of each stage); positive.
    learning_rate : float, optional
        The rate that is warmed up to.
    settled_ratio : float
        Largest over smallest limit that counts as settled; above 1.

    Returns
    -------
    Recommendation
        ``quantity="warmup_steps"``: the first measured step that fulfills a condition, with ``low`` the stage before
        it. 0 if the limit is never below ``learning_rate``. Withheld with fewer than three
        stages, a limit that is not positive and finite, or one that still moves at the end. ``TENTATIVE`` at best: the
        rule is plausible, but no measurement shows that this length is the best.

    Raises
    ------
    ShapeError
        If the lengths differ.
    ArgumentError
        If the steps do not increase or ``settled_ratio`` is not above 1.

    Examples
    --------
    >>> rising = warmup_length([0, 10, 20, 40, 80], [0.01, 0.05, 0.2, 0.22, 0.21])
    >>> rising.value, rising.low
    (20.0, 10.0)
    >>> warmup_length([0, 10, 20, 40], [0.8, 0.4, 0.2, 0.1]).verdict
    <Verdict.WITHHELD: 'WITHHELD'>
    """
    at, limit = np.asarray(steps, dtype=np.float64), np.asarray(limits, dtype=np.float64)
    if at.ndim != 1 or at.shape != limit.shape:
        raise ShapeError(f"one limit for each step is needed; got shapes {at.shape} and {limit.shape}")
    if np.any(np.diff(at) <= 0) or np.any(at < 0):
        raise ArgumentError(f"steps must be increasing and not negative; got {at.tolist()}")
    if not 1 < settled_ratio < float("inf"):
        raise ArgumentError(f"settled_ratio must be above 1; got {settled_ratio}")
    usable = np.isfinite(limit) & (limit > 0)
    checks = [
        Check(
            claim="there are enough stages",
            observed=f"{len(at)} stages",
            required=f"at least {MIN_STAGES}",
            passed=len(at) >= MIN_STAGES,
        ),
        Check(
            claim="every limit is positive and finite",
            observed=f"{int((~usable).sum())} are not",
            required="none",
            passed=bool(usable.all()),
        ),
    ]
    index, rule = None, ""
    if all(check.passed for check in checks) and learning_rate is not None and limit.min() >= learning_rate:
        index, rule = 0, f"the learning rate lies within every limit on the way (the smallest is {limit.min():.3g})"
    elif all(check.passed for check in checks):
        index, rule = _end_of_warmup(limit, settled_ratio)
        change = float(limit[-2:].max() / limit[-2:].min())
        checks.append(
            Check(
                claim="the stable limit stops changing, or has passed its minimum",
                observed=f"it changed {change:.2g}x between the last two stages",
                required=f"at most {settled_ratio:g}x, or a minimum before that",
                passed=index is not None,
            )
        )
    verdict, reason = verdict_of(checks, at_best=Verdict.TENTATIVE, reason=rule)
    return Recommendation(
        quantity="warmup_steps",
        value=None if index is None else float(at[index]),
        low=None if index is None else float(at[max(index - 1, 0)]),
        high=None if index is None else float(at[index]),
        unit="steps",
        interval="between two measured stages",
        verdict=verdict,
        reason=reason,
        checks=tuple(checks),
        evidence={"rule": rule or None, "num_stages": float(len(at))},
    )


def _end_of_warmup(limit: npt.NDArray[np.float64], ratio: float) -> tuple[int | None, str]:
    """Return the index of the stage that ends warm-up, and why."""
    later_max = np.maximum.accumulate(limit[::-1])[::-1]
    later_min = np.minimum.accumulate(limit[::-1])[::-1]
    settled = np.flatnonzero(later_max <= ratio * later_min)[0]
    ends = []
    if settled <= len(limit) - MIN_SETTLED_STAGES:
        ends.append((int(settled), f"from there on the stable limit stays within a factor {ratio:g}"))
    lowest = int(np.argmin(limit))
    # a fall and a rise, each by more than the ratio: noise makes smaller ones
    if limit[:lowest].max(initial=0.0) > ratio * limit[lowest] and limit[lowest:].max() > ratio * limit[lowest]:
        ends.append((lowest, "the stable limit has its minimum there and rises afterwards"))
    return min(ends, default=(None, ""), key=lambda end: end[0])


def smoothness_fit(
    losses: npt.ArrayLike, curvatures: npt.ArrayLike, *, optimal_loss: float = 0.0, level: float = 0.95
) -> SmoothnessFit:
    """Fit ``lam = H0 + H1 (f - f*)`` to the stages of a run.

    Parameters
    ----------
    losses, curvatures : array_like of shape (stages,)
        Loss and largest curvature of each stage; at least 4.
    optimal_loss : float
        ``f*``, not above any loss.
    level : float
        Level of the intervals.

    Returns
    -------
    SmoothnessFit
        Reported only if the slope and ``H0`` are positive and ``R^2 > 0.5``; otherwise withheld, numbers included.

    Raises
    ------
    ShapeError
        If the lengths differ or are below 4.
    ArgumentError
        If a number is not finite, a loss is below ``optimal_loss``, or ``level`` is outside (0, 1).

    Examples
    --------
    >>> fit = smoothness_fit([2.0, 1.0, 0.5, 0.25], [5.0, 3.0, 2.0, 1.5])
    >>> round(fit.intercept, 6), round(fit.slope, 6), fit.verdict
    (1.0, 2.0, <Verdict.TENTATIVE: 'TENTATIVE'>)
    >>> fit.relative_rate([0.5]).round(3).tolist()
    [0.5]
    """
    gap, lam = np.asarray(losses, dtype=np.float64) - optimal_loss, np.asarray(curvatures, dtype=np.float64)
    if gap.ndim != 1 or gap.shape != lam.shape or len(gap) < 4:
        raise ShapeError(f"one curvature for each of at least 4 losses is needed; got shapes {gap.shape}, {lam.shape}")
    if not (np.all(np.isfinite(gap)) and np.all(np.isfinite(lam))):
        raise ArgumentError("losses and curvatures must be finite; got NaN or infinity")
    if np.any(gap < 0):
        raise ArgumentError(f"no loss may be below optimal_loss={optimal_loss}; got {gap.min() + optimal_loss}")
    if not 0 < level < 1:
        raise ArgumentError(f"level must lie strictly between 0 and 1; got {level}")
    count, spread = len(gap), gap - gap.mean()
    scatter = float(spread @ spread)
    slope = float(spread @ lam) / scatter if scatter > 0 else 0.0
    intercept = float(lam.mean() - slope * gap.mean())
    residual = lam - intercept - slope * gap
    total = float(np.sum((lam - lam.mean()) ** 2))
    # curvature that is constant up to rounding has no variance to explain
    is_constant = total <= count * (64 * np.finfo(float).eps * float(np.abs(lam).max())) ** 2
    explained = 0.0 if is_constant else 1.0 - float(residual @ residual) / total
    variance = float(residual @ residual) / (count - 2)
    quantile = float(student_t.ppf(0.5 + level / 2, count - 2))
    half_slope = quantile * np.sqrt(variance / scatter) if scatter > 0 else float("inf")
    half_intercept = quantile * np.sqrt(variance * (1 / count + gap.mean() ** 2 / scatter)) if scatter > 0 else np.inf
    checks = (
        Check(
            claim="curvature falls with the loss",
            observed=f"slope {slope:.3g}",
            required="> 0",
            passed=slope > 0,
        ),
        Check(
            claim="the line explains the curvature",
            observed=f"R^2 = {explained:.2f}",
            required=f"above {MIN_R_SQUARED}",
            passed=explained > MIN_R_SQUARED,
        ),
        Check(
            claim="the curvature at the optimal loss is positive",
            observed=f"intercept {intercept:.3g}",
            required="> 0",
            passed=intercept > 0,
        ),
    )
    verdict, reason = verdict_of(
        checks, at_best=Verdict.TENTATIVE, reason="stable rates rise as the loss falls, as the law says"
    )
    return SmoothnessFit(
        intercept=intercept,
        slope=slope,
        intercept_interval=(float(intercept - half_intercept), float(intercept + half_intercept)),
        slope_interval=(float(slope - half_slope), float(slope + half_slope)),
        r_squared=explained,
        verdict=verdict,
        reason=reason,
        checks=checks,
    )
