"""The stable limit at one measured state: the smallest over the measured directions, with its interval."""

from dataclasses import dataclass

import numpy as np

from spectra.recommend.optimizer import OptimizerSpec
from spectra.recommend.run import Stage
from spectra.recommend.stability import noise_share, saturation_batch_size, stable_limit

__all__ = ["Limit", "measured_limit"]


@dataclass(frozen=True, kw_only=True)
class Limit:
    """The mean-square-stable limit at one state and one batch size.

    Attributes
    ----------
    value, low, high : float
        Limit and its interval: residual of the Ritz pair, spread over start vectors, jackknife of the noise.
        ``inf`` when no measured direction has positive curvature, NaN where none was measured.
    direction : int
        Index of the measured direction that sets the limit.
    curvature, curvature_noise : float
        ``lam`` and ``s2`` of that direction.
    noise_share : float
        By how much the noise lowers the limit, in [0, 1]; above one half the limit is noise-limited.
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

    A weaker direction whose residual exceeds its curvature is no eigenvector, even roughly: it has no limit of its own.

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
    limits[1:] = np.where(stage.residual[1:] > stage.curvature[1:], np.inf, limits[1:])
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
        is_known = bool(corners) and not (index and np.isinf(limits[index]))
        lows[index], highs[index] = (min(corners), max(corners)) if is_known else (np.nan, np.nan)
    if not len(limits):
        nothing = float("nan")
        return Limit(
            value=nothing,
            low=nothing,
            high=nothing,
            direction=0,
            curvature=nothing,
            curvature_noise=nothing,
            noise_share=nothing,
            saturation=nothing,
        )
    direction = int(np.argmin(limits))
    lam, s2 = float(stage.curvature[direction]), float(noise[direction])
    return Limit(
        value=float(limits[direction]),
        low=float(np.nanmin(lows)) if np.any(np.isfinite(lows)) else np.nan,
        high=float(np.nanmin(highs)) if np.any(np.isfinite(highs)) else np.nan,
        direction=direction,
        curvature=lam,
        curvature_noise=s2,
        noise_share=float(noise_share(lam, s2, **setting)) if lam > 0 else float("nan"),  # type: ignore[arg-type]
        saturation=float(saturation_batch_size(lam, s2, optimizer=optimizer)),
    )
