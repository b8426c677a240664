"""Polyak-type step sizes measured at a checkpoint, over several batches."""

from typing import Literal

import numpy as np
import numpy.typing as npt

from spectra.errors import ArgumentError, ShapeError
from spectra.recommend.polyak import nonnegative_gauss_newton_step, polyak_step, slack_polyak_step
from spectra.recommend.recommendation import Check, Recommendation, Verdict, verdict_of

__all__ = ["measured_polyak_step"]

MIN_BATCHES = 8
#: Share of batches at the cap above which the number is the cap and not a measurement; design choice.
MAX_CAPPED = 0.5

Rule = Literal["sps_max", "spsl1", "ngn"]


def measured_polyak_step(
    losses: npt.ArrayLike,
    squared_gradient_norms: npt.ArrayLike,
    *,
    rule: Rule = "sps_max",
    max_step_size: float,
    lower_bound: float = 0.0,
    slack: float = 0.0,
    delta: float = 0.1,
) -> Recommendation:
    """Return the median over batches of the step that a Polyak-type rule takes at a checkpoint.

    Parameters
    ----------
    losses, squared_gradient_norms : array_like of shape (batches,)
        ``f`` and ``||g||^2`` of batches of the size that is trained with, at the same parameters; at least 8.
    rule : {"sps_max", "spsl1", "ngn"}
        Which of :func:`spectra.recommend.polyak_step`, :func:`spectra.recommend.slack_polyak_step` and
        :func:`spectra.recommend.nonnegative_gauss_newton_step`. DecSPS depends on all earlier steps; its first one is
        that of ``"sps_max"`` with ``scale=1``.
    max_step_size : float
        Cap of ``"sps_max"``, ``sigma`` of ``"ngn"``; not used by ``"spsl1"``. Positive.
    lower_bound : float
        ``l*`` of the batch loss, for ``"sps_max"``; the other rules take it as 0.
    slack, delta : float
        State and price of slack for ``"spsl1"``.

    Returns
    -------
    Recommendation
        ``quantity="polyak_learning_rate"`` with the 5% and 95% quantiles of single batches. ``TENTATIVE`` at best, as
        no measurement at one state shows that the loss can reach its lower bound. Withheld if a loss is not finite or
        below its bound, or if most batches sit at the cap.

    Raises
    ------
    ShapeError
        If the arrays differ in length or hold fewer than 8 batches.
    ArgumentError
        For an unknown rule or a cap that is not positive and finite.

    Examples
    --------
    >>> measured_polyak_step(np.full(8, 2.0), np.full(8, 16.0), max_step_size=10.0).value
    0.25
    """
    loss, squared = (np.asarray(part, dtype=np.float64) for part in (losses, squared_gradient_norms))
    if loss.ndim != 1 or loss.shape != squared.shape or len(loss) < MIN_BATCHES:
        raise ShapeError(
            f"losses and squared norms of at least {MIN_BATCHES} batches are needed, one each; "
            f"got shapes {loss.shape} and {squared.shape}"
        )
    if rule not in ("sps_max", "spsl1", "ngn"):
        raise ArgumentError(f"rule must be sps_max, spsl1 or ngn; got {rule!r}")
    if not 0 < max_step_size < float("inf"):
        raise ArgumentError(f"max_step_size must be positive and finite; got {max_step_size}")
    bound = lower_bound if rule == "sps_max" else 0.0
    usable = np.isfinite(loss) & np.isfinite(squared) & (squared >= 0) & (loss >= bound)
    checks = [
        Check(
            claim="losses are finite and not below their bound",
            observed=f"{int((~usable).sum())} of {len(loss)} batches are",
            required=f"none; bound {bound:g}",
            passed=bool(usable.all()),
        )
    ]
    steps = np.array([])
    if usable.all():
        steps = np.array(
            [_step(f, g2, rule, max_step_size, bound, slack, delta) for f, g2 in zip(loss, squared, strict=True)]
        )
        capped = float(np.mean(steps >= max_step_size * (1 - 1e-9))) if rule == "sps_max" else 0.0
        checks.append(
            Check(
                claim="the step is set by the data",
                observed=f"{capped:.0%} of the batches take the largest step allowed",
                required=f"at most {MAX_CAPPED:.0%}",
                passed=capped <= MAX_CAPPED,
            )
        )
    verdict, reason = verdict_of(
        checks, at_best=Verdict.TENTATIVE, reason="right only if training can bring the loss to its lower bound"
    )
    shown = verdict is not Verdict.WITHHELD
    low, value, high = (float(q) for q in np.quantile(steps, [0.05, 0.5, 0.95])) if shown else (None, None, None)
    return Recommendation(
        quantity="polyak_learning_rate",
        value=value,
        low=low,
        high=high,
        interval="5% and 95% quantiles of single batches",
        verdict=verdict,
        reason=reason,
        checks=tuple(checks),
        evidence={"rule": rule, "num_batches": float(len(loss)), "lower_bound": bound},
    )


def _step(
    loss: float, squared: float, rule: Rule, max_step_size: float, lower_bound: float, slack: float, delta: float
) -> float:
    if rule == "sps_max":
        return polyak_step(loss, squared, max_step_size=max_step_size, lower_bound=lower_bound)
    if rule == "spsl1":
        return slack_polyak_step(loss, squared, slack=slack, delta=delta).step_size
    return nonnegative_gauss_newton_step(loss, squared, sigma=max_step_size)
