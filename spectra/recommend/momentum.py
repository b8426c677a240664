r"""Momentum: where it buys a larger stable rate, and where it is neutral.

At momentum ``beta`` the largest stable *effective* rate (``learning_rate/(1 - beta)`` in torch's sum form, the
learning rate itself where the first moment is an average, as in Adam) exceeds that without momentum by the factor::

    gain = k (1 + x) / (1 + k x),      x = s2/(b lam^2) = b*(0)/b,      k = (1+beta)/(1-beta)

(from :func:`spectra.recommend.stable_limit`): 1 when noise-limited, ``k`` when curvature-limited. Below the saturation
batch ``b*(beta) = k s2/lam^2`` a change of ``beta`` at a fixed effective rate leaves stability nearly as it was.

The constants of the optimal heavy ball (:func:`spectra.recommend.optimal_heavy_ball`) are advised only for a state
that is converged, quadratic-like and curvature-limited; otherwise the momentum in use is kept.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from spectra.dynamics.heavy_ball import HeavyBall, optimal_heavy_ball
from spectra.errors import ArgumentError
from spectra.recommend.limit import measured_limit
from spectra.recommend.optimizer import OptimizerSpec
from spectra.recommend.recommendation import Check, Recommendation, Verdict, verdict_of
from spectra.recommend.run import RunMeasurements, Stage
from spectra.recommend.stability import effective_noise_fraction, stable_limit

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["momentum_advice", "momentum_gain", "momentum_gain_curve"]

#: Change of the loss and of the curvature between the last two stages below which a state counts as converged and
#: quadratic-like; design choices.
MAX_LOSS_CHANGE = 0.02
MAX_CURVATURE_CHANGE = 0.10
#: Relative change of the stable effective rate that counts as neutral; design choice.
NEUTRAL_GAIN = 1.5


def momentum_gain(momentum: npt.ArrayLike, noise_ratio: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return by how much momentum raises the largest stable effective rate over that of plain SGD.

    Parameters
    ----------
    momentum : array_like
        ``beta`` in [0, 1).
    noise_ratio : array_like
        ``x = s2/(b lam^2)``, not negative.

    Raises
    ------
    ArgumentError
        If an argument is out of range.

    Examples
    --------
    >>> momentum_gain(0.9, [0.0, 1 / 19, 100.0]).round(2).tolist()
    [19.0, 10.0, 1.01]
    """
    beta, ratio = np.asarray(momentum, dtype=np.float64), np.asarray(noise_ratio, dtype=np.float64)
    if not np.all((beta >= 0) & (beta < 1)):
        raise ArgumentError(f"momentum must lie in [0, 1); got {momentum!r}")
    if not np.all(ratio >= 0):
        raise ArgumentError(f"noise_ratio must not be negative; got {noise_ratio!r}")
    gain = (1 + beta) / (1 - beta)
    return gain * (1 + ratio) / (1 + gain * ratio)


def momentum_gain_curve(
    momenta: npt.ArrayLike,
    *,
    curvature: float,
    curvature_noise: float,
    batch_size: float,
    num_samples: float | None = None,
) -> "xr.Dataset":
    """Return gain, stable limit and saturation batch against the momentum, for torch's sum form.

    Parameters
    ----------
    momenta : array_like of shape (momenta,)
        Values of ``beta`` in [0, 1).
    curvature, curvature_noise : float
        ``lam > 0`` and ``s2 >= 0`` of the direction that sets the limit.
    batch_size : float
        Effective batch size.
    num_samples : float, optional
        Size of the data when batches are drawn without replacement.

    Returns
    -------
    xarray.Dataset
        Coordinate ``momentum``; variables ``gain``, ``max_stable_learning_rate`` and ``saturation_batch_size``.

    Raises
    ------
    ArgumentError
        If an argument is out of range.

    Examples
    --------
    >>> curve = momentum_gain_curve([0.0, 0.9], curvature=2.0, curvature_noise=0.0, batch_size=8)
    >>> curve["max_stable_learning_rate"].values.round(3).tolist()
    [1.0, 1.9]
    """
    import xarray as xr

    if not (curvature > 0 and curvature_noise >= 0):
        raise ArgumentError(
            f"curvature must be positive and curvature_noise not negative; got {curvature} and {curvature_noise}"
        )
    beta = np.atleast_1d(np.asarray(momenta, dtype=np.float64))
    ratio = curvature_noise * effective_noise_fraction(batch_size, num_samples) / curvature**2
    gain = momentum_gain(beta, ratio)
    plain = 2.0 / (curvature * (1 + ratio))
    saturation = (1 + beta) / (1 - beta) * curvature_noise / curvature**2
    return xr.Dataset(
        {
            "gain": ("momentum", gain, {"long_name": "stable effective rate over that of plain SGD"}),
            "max_stable_learning_rate": ("momentum", (1 - beta) * gain * plain, {"long_name": "limit in sum form"}),
            "saturation_batch_size": ("momentum", saturation, {"units": "samples"}),
        },
        coords={"momentum": beta},
    )


def momentum_advice(run: RunMeasurements, *, batch_size: int | None = None, level: float = 0.95) -> Recommendation:
    """Return the momentum to use: that of the optimizer, or the optimal heavy ball where its conditions hold.

    Parameters
    ----------
    run : RunMeasurements
        A run with at least one stage.
    batch_size : int, optional
        Effective batch size; that of the run by default.
    level : float
        Level of the interval of the curvature noise.

    Returns
    -------
    Recommendation
        ``quantity="momentum"``. The evidence holds the regime, the gain with its interval, ``b*``, and the constants
        of the optimal heavy ball where the measured spectrum is positive. Withheld if curvature or noise are not
        resolved.

    Raises
    ------
    ArgumentError
        If the run has no stage.
    """
    if not run.stages:
        raise ArgumentError("momentum advice needs at least one measured stage; the run has none")
    optimizer = run.optimizer or OptimizerSpec(kind="sgd")
    batch = run.batch_size if batch_size is None else batch_size
    stage = run.stages[-1]
    limit = measured_limit(stage, optimizer=optimizer, batch_size=batch, num_samples=run.num_samples, level=level)
    noise = stage.curvature_noise[limit.direction]
    residual = float(stage.residual[limit.direction]) / limit.curvature if limit.curvature > 0 else float("inf")
    checks = (
        Check(
            claim="the largest curvature is positive and has converged",
            observed=f"{limit.curvature:.4g} with residual {residual:.1%}",
            required="> 0 with residual at most 10%",
            passed=limit.curvature > 0 and residual <= 0.10,
        ),
        Check(
            claim="the curvature noise is resolved",
            observed=f"relative error {noise.relative_error:.0%}",
            required="at most 50%",
            passed=noise.relative_error <= 0.5,
            consequence=Verdict.WITHHELD if noise.relative_error > 1 else Verdict.TENTATIVE,
            source="jackknife over micro-batches",
        ),
    )
    verdict, reason = verdict_of(checks)
    if verdict is Verdict.WITHHELD:
        return Recommendation(quantity="momentum", value=None, verdict=verdict, reason=reason, checks=checks)
    fraction = effective_noise_fraction(batch, run.num_samples)
    low, high = noise.interval(level)
    noises = np.maximum([noise.value, high, low], 0.0)
    # what momentum could buy: the gain of the usual 0.9 where none is in use
    reference = optimizer.beta or 0.9
    setting = {"batch_size": batch, "num_samples": run.num_samples}
    gain, gain_low, gain_high = (_gain(optimizer, reference, limit.curvature, s2, **setting) for s2 in noises)
    evidence: dict[str, float | str | None] = {
        "regime": limit.regime,
        "saturation_batch_size": limit.saturation,
        "reference_momentum": reference,
        "gain": gain,
        "gain_low": gain_low,
        "gain_high": gain_high,
    }
    value, advice = optimizer.beta, _advice(gain, reference)
    ideal = _ideal(run, optimizer, float(noises[0]) * fraction / limit.curvature**2)
    failed = next((check for check in ideal if not check.passed), None)
    ball = _ball(stage)
    if ball is not None:
        evidence |= {"optimal_momentum": ball.momentum, "optimal_learning_rate": ball.learning_rate}
        evidence["optimal_rate"] = ball.rate
        if failed is None:
            value = ball.momentum
            advice = f"optimal heavy ball of a quadratic, with learning rate {ball.learning_rate:.3g}"
    if failed is not None:
        evidence["optimal_heavy_ball_refused"] = f"{failed.claim}: observed {failed.observed}"
    verdict, reason = verdict_of(checks, at_best=Verdict.TENTATIVE if failed is None else verdict, reason=advice)
    return Recommendation(
        quantity="momentum", value=value, verdict=verdict, reason=reason, checks=checks, evidence=evidence
    )


def _advice(gain: float, reference: float) -> str:
    if gain <= NEUTRAL_GAIN:
        return (
            f"keep the momentum: at this batch size noise limits the rate, and momentum {reference:g} at a fixed "
            f"effective rate changes the stable limit by a factor {gain:.2g} only"
        )
    return (
        f"keep the momentum, or raise it for a larger rate: momentum {reference:g} makes the stable effective rate "
        f"{gain:.2g} times that of plain SGD at this batch size"
    )


def _gain(
    optimizer: OptimizerSpec, reference: float, curvature: float, noise: float, *, batch_size: float, num_samples: int
) -> float:
    """Return by which factor momentum raises the largest stable effective rate of this very optimizer."""
    setting = {"batch_size": batch_size, "num_samples": num_samples}
    if optimizer.is_adaptive:
        used, plain = replace(optimizer, momentum=reference), replace(optimizer, momentum=0.0)
    else:
        used = optimizer if optimizer.beta else OptimizerSpec(kind="momentum", momentum=reference)
        plain = OptimizerSpec(kind="sgd", weight_decay=optimizer.weight_decay)
    # Adam averages gradients; the others sum them.
    effective = 1.0 if optimizer.kind in ("adam", "adamw") else (1 - used.dampening) / (1 - reference)
    limits = [float(stable_limit(curvature, noise, optimizer=spec, **setting)) for spec in (used, plain)]  # type: ignore[arg-type]
    return effective * limits[0] / limits[1]


def _ball(stage: Stage) -> HeavyBall | None:
    """Return the optimal heavy ball of the measured spectrum; None unless it is positive beyond rounding."""
    top = float(stage.curvature[0])
    smallest = min(stage.smallest_curvature, top)
    if not smallest > np.finfo(np.float32).eps * top:
        return None
    return optimal_heavy_ball(smallest, top)


def _ideal(run: RunMeasurements, optimizer: OptimizerSpec, noise_ratio: float) -> tuple[Check, ...]:
    """Return the conditions of the optimal heavy ball; a failure keeps the user's momentum."""
    stage = run.stages[-1]
    top, smallest = float(stage.curvature[0]), stage.smallest_curvature
    previous = run.stages[-2] if len(run.stages) > 1 else None
    loss_change = curvature_change = float("inf")
    if previous is not None:
        scale = max(abs(previous.loss), np.finfo(float).tiny)
        loss_change = abs(stage.loss - previous.loss) / scale
        curvature_change = abs(top / float(previous.curvature[0]) - 1) if previous.curvature[0] else float("inf")
    ratio, ball = float("inf"), _ball(stage)
    if ball is not None:
        ratio = OptimizerSpec(kind="momentum", momentum=ball.momentum).gain * noise_ratio
    conditions = (
        (
            "the optimizer is SGD",
            optimizer.label,
            "SGD with or without momentum, neither Nesterov's nor dampened",
            optimizer.kind in ("sgd", "momentum") and not optimizer.dampening,
        ),
        (
            "the state has converged",
            "a single stage" if previous is None else f"the loss changed by {loss_change:.2%}",
            f"a change of at most {MAX_LOSS_CHANGE:.0%} between the last two stages",
            loss_change <= MAX_LOSS_CHANGE,
        ),
        (
            "the loss is like a quadratic: its curvature is positive",
            f"smallest curvature {smallest:.4g}",
            "> 0, and not below rounding",
            ball is not None,
        ),
        (
            "the loss is like a quadratic: its curvature is constant",
            "a single stage" if previous is None else f"the largest curvature changed by {curvature_change:.1%}",
            f"at most {MAX_CURVATURE_CHANGE:.0%} between the last two stages",
            curvature_change <= MAX_CURVATURE_CHANGE,
        ),
        (
            "the limit is set by curvature at the optimal momentum too",
            f"b*/b = {ratio:.3g}",
            "below 1",
            ratio < 1,
        ),
    )
    return tuple(
        Check(claim=claim, observed=observed, required=required, passed=bool(passed), consequence=Verdict.TENTATIVE)
        for claim, observed, required, passed in conditions
    )
