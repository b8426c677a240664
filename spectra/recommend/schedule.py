r"""Learning-rate schedules: linear decay, and its refinement from the gradient norms of a finished run.

For steps ``t = 1..T`` and weights ``w_t`` the schedule with the best worst-case bound on the last iterate is::

    eta_t proportional to  w_t sum_(p = t+1..T) w_p,        eta_T = 0

(Defazio, Cutkosky, Mehta and Mishchenko 2023, arXiv 2310.07831). Equal weights give linear decay to zero, the default.
Weights from the gradient norms that a run has logged, ``||g_t||^-2`` for SGD and ``1/||g_t||_1`` for Adam, give warm-up
where gradients start large, and a faster decay where they grow at the end. The norms must be smoothed first: a running
median over a tenth of the run.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from spectra.errors import ArgumentError
from spectra.recommend.recommendation import Check, Verdict, verdict_of

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Schedule", "linear_decay", "refined_schedule", "running_median"]

#: Width of the running median over the length of the run, and the least number of logged steps (design choice).
SMOOTHING = 0.1
MIN_LOGGED_STEPS = 50

#: Power of the norm in the weights.
_POWERS = {"sgd": 2.0, "adam": 1.0}


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A learning-rate schedule with its verdict.

    Attributes
    ----------
    multiplier : xarray.DataArray
        Factor of the peak rate, dimension and coordinate ``step`` = 1..T, maximum 1. Linear decay if the refinement
        is withheld.
    kind : {"linear", "refined"}
        What ``multiplier`` is.
    verdict, reason, checks
        Trust in the refinement, as in :class:`spectra.recommend.Recommendation`.
    """

    multiplier: "xr.DataArray"
    kind: Literal["linear", "refined"]
    verdict: Verdict
    reason: str
    checks: tuple[Check, ...]


def linear_decay(num_steps: int) -> "xr.DataArray":
    """Return ``(T - t)/(T - 1)`` for ``t = 1..T``: from 1 at the first step to 0 at the last.

    Raises
    ------
    ArgumentError
        If ``num_steps`` is below 2.

    Examples
    --------
    >>> linear_decay(5).values.tolist()
    [1.0, 0.75, 0.5, 0.25, 0.0]
    """
    return _schedule(np.ones(_num_steps(num_steps)), "linear decay to zero")


def running_median(values: npt.ArrayLike, *, width: int) -> npt.NDArray[np.float64]:
    """Return the median over ``width`` neighbors of each value.

    The series is extended by its first value on the left, so that a large start is kept (a spike in the very first
    step too), and by reflection on the right.

    Parameters
    ----------
    values : array_like of shape (steps,)
        The series.
    width : int
        Odd number of neighbors, from 1 to the length of the series.

    Raises
    ------
    ArgumentError
        If ``width`` is even or out of range.

    Examples
    --------
    >>> running_median([1.0, 9.0, 2.0, 3.0, 4.0], width=3).tolist()
    [1.0, 2.0, 3.0, 3.0, 4.0]
    """
    series = np.asarray(values, dtype=np.float64)
    if width % 2 == 0 or not 1 <= width <= len(series):
        raise ArgumentError(f"width must be odd, from 1 to the {len(series)} values; got {width}")
    half = width // 2
    left = np.full(half, series[0])
    right = series[::-1][:half]
    padded = np.concatenate([left, series, right])
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, width), axis=1)


def refined_schedule(
    gradient_norms: npt.ArrayLike,
    *,
    optimizer: Literal["sgd", "adam"] = "sgd",
    num_planned_steps: int | None = None,
    smoothing: float = SMOOTHING,
) -> Schedule:
    """Return the schedule refined by the gradient norms of a finished run, or linear decay where they do not carry it.

    Parameters
    ----------
    gradient_norms : array_like of shape (steps,)
        Norm of the batch gradient of every step: Euclidean for ``"sgd"`` (with or without momentum), sum of absolute
        values for ``"adam"`` (and AdamW). Steps must be logged in order, one value each.
    optimizer : {"sgd", "adam"}
        Which weights.
    num_planned_steps : int, optional
        Length the run was planned for; a log that is shorter comes from an unfinished run and is refused.
    smoothing : float
        Width of the running median over the length of the run, in [0, 1]; 0 smooths nothing.

    Returns
    -------
    Schedule
        For a second run of as many steps. ``TENTATIVE`` at best: the refinement presumes that the next run has the
        gradient norms of the last.

    Raises
    ------
    ArgumentError
        If there are fewer than two norms, the optimizer is unknown, or ``smoothing`` is out of range.

    Examples
    --------
    >>> refined = refined_schedule(np.full(100, 3.0), num_planned_steps=100)
    >>> refined.kind, bool(np.array_equal(refined.multiplier, linear_decay(100)))
    ('refined', True)
    """
    norms = np.asarray(gradient_norms, dtype=np.float64)
    if norms.ndim != 1:
        raise ArgumentError(f"gradient_norms must be one-dimensional; got shape {norms.shape}")
    count = _num_steps(len(norms))
    if optimizer not in _POWERS:
        raise ArgumentError(f"optimizer must be one of {', '.join(_POWERS)}; got {optimizer!r}")
    if not 0 <= smoothing <= 1:
        raise ArgumentError(f"smoothing must lie in [0, 1]; got {smoothing}")
    if num_planned_steps is not None and num_planned_steps < 1:
        raise ArgumentError(f"num_planned_steps must be at least 1; got {num_planned_steps}")
    usable = np.isfinite(norms) & (norms > 0)
    planned = count if num_planned_steps is None else num_planned_steps
    checks = (
        Check(
            claim="the run was complete",
            observed=f"{count} logged steps",
            required=f"all {planned} planned steps",
            passed=count >= planned,
            source="Defazio et al. 2023: norms of a finished run",
        ),
        Check(
            claim="all gradient norms are positive and finite",
            observed=f"{int((~usable).sum())} are not",
            required="none",
            passed=bool(usable.all()),
        ),
        Check(
            claim="the log is long enough for a running median",
            observed=f"{count} steps",
            required=f"at least {MIN_LOGGED_STEPS}",
            passed=count >= MIN_LOGGED_STEPS,
        ),
    )
    verdict, reason = verdict_of(
        checks, at_best=Verdict.TENTATIVE, reason="holds if the next run has the gradient norms of this one"
    )
    if verdict is Verdict.WITHHELD:
        return Schedule(multiplier=linear_decay(count), kind="linear", verdict=verdict, reason=reason, checks=checks)
    width = min(2 * (int(smoothing * count) // 2) + 1, count - 1 + count % 2)
    smooth = running_median(norms, width=width)
    # scaled by the smallest norm, so that no power overflows
    weights = (smooth.min() / smooth) ** _POWERS[optimizer]
    return Schedule(
        multiplier=_schedule(weights, f"linear decay refined by gradient norms ({optimizer})"),
        kind="refined",
        verdict=verdict,
        reason=reason,
        checks=checks,
    )


def _schedule(weights: npt.NDArray[np.float64], name: str) -> "xr.DataArray":
    """Return ``w_t sum_(p > t) w_p`` over its maximum."""
    import xarray as xr

    remaining = np.append(np.cumsum(weights[:0:-1])[::-1], 0.0)
    rate = weights * remaining
    return xr.DataArray(
        rate / rate.max(),
        dims="step",
        coords={"step": np.arange(1, len(weights) + 1)},
        name="multiplier",
        attrs={"long_name": name},
    )


def _num_steps(count: int) -> int:
    if count < 2:
        raise ArgumentError(f"a schedule needs at least 2 steps; got {count}")
    return count
