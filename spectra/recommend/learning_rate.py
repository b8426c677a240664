r"""Learning-rate rules: the largest stable rate at a batch size, and the rate to train with.

The limit is the smallest :func:`spectra.recommend.stable_limit` over the measured top directions. It is a *limit* of
the linearized iteration, not the best rate; the recommended rate is, for a constant schedule,

=================  =====================================  =============================
optimizer          value                                  interval
=================  =====================================  =============================
Adam, AdamW        the limit                              value/4 .. 4 value
SGD                ``min(eta_dir, limit/2)``              value/4 .. limit
SGD with momentum  ``(1 - beta)`` x the SGD value         value .. max(value, limit/8)
=================  =====================================  =============================

``eta_dir`` is the step that lowers the expected second-order loss most (McCandlish et al. 2018, eq. 2.6 and 2.7);
where it is undefined ``1/(2 lam)`` takes its place.
Linear decay to zero allows twice the peak. Factors and intervals are empirical; ``docs/validation.md`` shows how they
fare on the built-in tasks, with the command that measures it.
"""

from dataclasses import dataclass

import numpy as np

from spectra.recommend.checks import learning_rate_checks, limit_checks
from spectra.recommend.optimizer import OptimizerSpec
from spectra.recommend.recommendation import Recommendation, Verdict, verdict_of
from spectra.recommend.run import RunMeasurements, Stage
from spectra.recommend.stability import effective_noise_fraction, saturation_batch_size, stable_limit

__all__ = ["LINEAR_DECAY_FACTOR", "Limit", "learning_rate", "max_stable_learning_rate", "measured_limit"]

#: Best peak rate under linear decay to zero over best constant rate: median of 18 cells, see docs/validation.md.
LINEAR_DECAY_FACTOR = 2.0


@dataclass(frozen=True, kw_only=True)
class Limit:
    """The mean-square-stable limit at one state and one batch size.

    Attributes
    ----------
    value, low, high : float
        Limit and its interval: residual of the Ritz pair, spread over start vectors, jackknife of the noise.
        ``inf`` when no measured direction has positive curvature.
    direction : int
        Index of the measured direction that sets the limit.
    curvature, curvature_noise : float
        ``lam`` and ``s2`` of that direction.
    noise_share : float
        Share of the noise term in the denominator, in [0, 1]; above one half the limit is noise-limited.
    saturation : float
        ``b*`` of that direction, in samples.
    """

    value: float
    low: float
    high: float
    direction: int
    curvature: float
    curvature_noise: float
    noise_share: float
    saturation: float

    @property
    def regime(self) -> str:
        """``"noise-limited"`` or ``"curvature-limited"``."""
        return "noise-limited" if self.noise_share > 0.5 else "curvature-limited"


def measured_limit(
    stage: Stage,
    *,
    optimizer: OptimizerSpec,
    batch_size: float,
    num_samples: float | None = None,
    level: float = 0.95,
) -> Limit:
    """Return the smallest limit over the measured directions of one stage, with its interval.

    Parameters
    ----------
    stage : Stage
        Curvature and noise of one state.
    optimizer : OptimizerSpec
        Kind and momentum.
    batch_size : float
        Effective batch size at which the limit is wanted.
    num_samples : float, optional
        Size of the data, if batches are drawn without replacement.
    level : float
        Level of the jackknife interval of the noise.
    """
    setting = {"batch_size": batch_size, "optimizer": optimizer, "num_samples": num_samples}
    noise = np.array([max(statistic.value, 0.0) for statistic in stage.curvature_noise])
    limits = stable_limit(stage.curvature, noise, **setting)  # type: ignore[arg-type]
    lows, highs = np.empty_like(limits), np.empty_like(limits)
    for index, statistic in enumerate(stage.curvature_noise):
        curvatures = [stage.curvature[index], stage.curvature[index] + stage.residual[index]]
        if index == 0:
            curvatures += [value for value in stage.start_curvature if np.isfinite(value)]
        corners = [
            float(stable_limit(lam, max(s2, 0.0), **setting))  # type: ignore[arg-type]
            for lam in curvatures
            for s2 in (statistic.value, *statistic.interval(level))
            if lam > 0 and np.isfinite(s2)
        ]
        lows[index], highs[index] = (min(corners), max(corners)) if corners else (np.nan, np.nan)
    direction = int(np.argmin(limits))
    lam, s2 = float(stage.curvature[direction]), float(noise[direction])
    noise_term = optimizer.gain * s2 * effective_noise_fraction(batch_size, num_samples)
    return Limit(
        value=float(limits[direction]),
        low=float(np.nanmin(lows)) if np.any(np.isfinite(lows)) else np.nan,
        high=float(np.nanmin(highs)) if np.any(np.isfinite(highs)) else np.nan,
        direction=direction,
        curvature=lam,
        curvature_noise=s2,
        noise_share=noise_term / (noise_term + lam**2) if lam > 0 else float("nan"),
        saturation=float(saturation_batch_size(lam, s2, optimizer=optimizer)),
    )


def max_stable_learning_rate(
    run: RunMeasurements, *, batch_size: int | None = None, level: float = 0.95
) -> Recommendation:
    """Return the mean-square-stable learning-rate limit at the last measured stage.

    Parameters
    ----------
    run : RunMeasurements
        A run with at least one stage and an optimizer.
    batch_size : int, optional
        Another batch size than that of the run. For Adam and AdamW the preconditioner depends on the batch size, so
        that the value is then withheld.
    level : float
        Level of the noise interval.

    Returns
    -------
    Recommendation
        ``quantity="max_stable_learning_rate"``; the evidence names curvature, noise, regime and ``b*``.
    """
    optimizer, batch = _setting(run, batch_size)
    stage = run.stages[-1]
    limit = measured_limit(stage, optimizer=optimizer, batch_size=batch, num_samples=run.num_samples, level=level)
    checks = limit_checks(run, batch_size=batch)
    verdict, reason = verdict_of(checks, reason=f"{limit.regime}; valid for the linearized iteration at this state")
    finite = np.isfinite(limit.value)
    return Recommendation(
        quantity="max_stable_learning_rate",
        value=limit.value if finite else None,
        low=limit.low if finite else None,
        high=limit.high if finite else None,
        interval=f"{level:.0%} of the curvature noise, Ritz residual and spread over start vectors",
        verdict=verdict if finite else Verdict.WITHHELD,
        reason=reason,
        checks=checks,
        evidence={
            "curvature": limit.curvature,
            "curvature_residual": float(stage.residual[limit.direction]),
            "curvature_noise": limit.curvature_noise,
            "curvature_noise_stderr": stage.curvature_noise[limit.direction].stderr,
            "direction": float(limit.direction + 1),
            "noise_share": limit.noise_share,
            "regime": limit.regime,
            "saturation_batch_size": limit.saturation,
            "deterministic_limit": float(stable_limit(stage.curvature[0], 0.0, batch_size=batch, optimizer=optimizer)),
        },
    )


def learning_rate(run: RunMeasurements, *, batch_size: int | None = None, schedule: str = "constant") -> Recommendation:
    """Return the learning rate to train with.

    Parameters
    ----------
    run : RunMeasurements
        A run with at least one stage and an optimizer.
    batch_size : int, optional
        Another batch size than that of the run (SGD and SGD with momentum only).
    schedule : {"constant", "linear"}
        ``"linear"`` is linear decay to zero; the value is then the peak rate, twice the constant one.

    Returns
    -------
    Recommendation
        ``quantity="learning_rate"``.
    """
    optimizer, batch = _setting(run, batch_size)
    stage = run.stages[-1]
    limit = measured_limit(stage, optimizer=optimizer, batch_size=batch, num_samples=run.num_samples)
    plain = measured_limit(stage, optimizer=OptimizerSpec(kind="sgd"), batch_size=batch, num_samples=run.num_samples)
    step = stage.gradient.directional_step(effective_noise_fraction(batch, run.num_samples))
    checks = learning_rate_checks(run, batch_size=batch, directional_step=step, plain_limit=plain.value)
    step_defined = all(check.passed for check in checks if check.claim.startswith("the directional step is defined"))
    lam = float(stage.curvature[0]) if len(stage.curvature) else float("nan")

    if optimizer.is_adaptive:
        value, rule = limit.value, "the stable limit in the space of the preconditioner"
        low, high = value / 4, 4 * value
        at_best = Verdict.SUPPORTED
    else:
        candidate = step.value if step_defined else 1 / (2 * lam)
        name = "the directional step" if step_defined else "1/(2 curvature), the directional step being undefined,"
        value = min(candidate, plain.value / 2)
        rule = f"{name} capped at half the stable limit"
        if candidate > plain.value / 2:
            rule = f"half the stable limit, which caps {name.rstrip(',')}"
        if optimizer.kind == "momentum":
            value *= 1 - optimizer.beta
            rule = f"(1 - momentum) x ({rule})"
            low, high = value, max(value, limit.value / 8)
            at_best = Verdict.TENTATIVE
        else:
            low, high = value / 4, limit.value
            at_best = Verdict.SUPPORTED
    factor = LINEAR_DECAY_FACTOR if schedule == "linear" else 1.0
    reason = "every check passed"
    if at_best is Verdict.TENTATIVE:
        reason = "no rule known for SGD with momentum is both safe and tight; this one is safe and low"
    verdict, reason = verdict_of(checks, at_best=at_best, reason=reason)
    usable = bool(np.isfinite(value) and value > 0)
    shown = usable and verdict is not Verdict.WITHHELD
    return Recommendation(
        quantity="learning_rate",
        value=value * factor if shown else None,
        low=low * factor if shown else None,
        high=high * factor if shown else None,
        interval="range in which the best rate of small tasks was found; not a confidence interval",
        verdict=verdict if usable else Verdict.WITHHELD,
        reason=reason,
        checks=checks,
        evidence={
            "rule": rule,
            "schedule": schedule,
            "unwithheld_value": value * factor if usable else None,
            "directional_step": step.value if step_defined else None,
            "inverse_curvature": 1 / lam if lam > 0 else None,
            "max_stable_learning_rate": limit.value if np.isfinite(limit.value) else None,
        },
    )


def _setting(run: RunMeasurements, batch_size: int | None) -> tuple[OptimizerSpec, int]:
    """Return the optimizer (plain SGD where none was chosen) and the batch size asked for."""
    return run.optimizer or OptimizerSpec(kind="sgd"), run.batch_size if batch_size is None else batch_size
