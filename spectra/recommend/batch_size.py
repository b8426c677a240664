"""Batch sizes at which something changes: where the stable limit saturates, and where progress per sample falls.

Two different questions, shown side by side. ``b* = k s2/lam^2`` is where a larger batch stops raising the largest
stable learning rate; ``B_noise = tr(H Sigma)/G'HG`` and ``B_simple = tr Sigma/||G||^2`` are where a step of the best
size makes half the progress of a noise-free one (McCandlish et al. 2018, arXiv 1812.06162, eq. 2.8 and 2.9).
"""

import numpy as np

from spectra.recommend.limit import measured_limit
from spectra.recommend.noise_scale import PairStatistic
from spectra.recommend.optimizer import OptimizerSpec
from spectra.recommend.recommendation import Check, Recommendation, Verdict, verdict_of
from spectra.recommend.run import RunMeasurements, Stage
from spectra.recommend.stability import saturation_batch_size

__all__ = ["critical_batch_size", "noise_scale", "saturation"]


def saturation(run: RunMeasurements, *, stage: Stage | None = None, level: float = 0.95) -> Recommendation:
    """Return ``b*``: the batch size at which the stable limit is half its saturated value.

    Below it the limit is noise-limited, above it curvature-limited. The interval is the jackknife interval of the
    curvature noise at the measured curvature. ``stage`` is the state that is looked at, the last one by default.
    """
    optimizer = run.optimizer or OptimizerSpec(kind="sgd")
    stage = stage or run.stages[-1]
    limit = measured_limit(stage, optimizer=optimizer, batch_size=run.batch_size, num_samples=run.num_samples)
    noise = stage.curvature_noise[limit.direction]
    low, high = (
        float(saturation_batch_size(limit.curvature, max(end, 0.0), optimizer=optimizer))
        for end in noise.interval(level)
    )
    checks = (
        Check(
            claim="the limit exists",
            observed=f"largest curvature {limit.curvature:.4g}",
            required="> 0",
            passed=limit.curvature > 0,
        ),
        Check(
            claim="the curvature noise is resolved",
            observed=f"relative error {noise.relative_error:.0%}",
            required="at most 50%",
            passed=noise.relative_error <= 0.5,
            consequence=Verdict.TENTATIVE,
            source="jackknife over micro-batches",
        ),
    )
    verdict, reason = verdict_of(checks, reason="below it the limit grows with the batch, above it hardly")
    usable = verdict is not Verdict.WITHHELD and np.isfinite(limit.saturation)
    return Recommendation(
        quantity="saturation_batch_size",
        value=limit.saturation if usable else None,
        low=low if usable else None,
        high=high if usable else None,
        unit="samples",
        interval=f"{level:.0%} of the curvature noise",
        verdict=verdict,
        reason=reason,
        checks=checks,
        evidence={"regime": limit.regime, "noise_share": limit.noise_share},
    )


def noise_scale(run: RunMeasurements, *, kind: str = "simple", level: float = 0.95) -> Recommendation:
    """Return a gradient noise scale at the last stage, or withhold it when its denominator is not resolved.

    Parameters
    ----------
    run : RunMeasurements
        A run with at least one stage.
    kind : {"simple", "curvature"}
        ``B_simple = tr Sigma/||G||^2`` or ``B_noise = tr(H Sigma)/G'HG``. For Adam and AdamW all vectors are in the
        space of the preconditioner.
    level : float
        Level of the jackknife interval.
    """
    gradient = run.stages[-1].gradient
    quantity = "gradient_noise_scale" if kind == "simple" else "curvature_weighted_noise_scale"
    if gradient is None:
        missing = Check(
            claim="gradient noise was measured",
            observed=f"none after {run.stages[-1].step} real steps",
            required="gradients of micro-batches at the last stage",
            passed=False,
        )
        verdict, reason = verdict_of((missing,))
        return Recommendation(
            quantity=quantity, value=None, unit="samples", verdict=verdict, reason=reason, checks=(missing,)
        )
    if kind == "simple":
        value, parts = gradient.simple_noise_scale, (gradient.squared_gradient, gradient.trace_covariance)
        names = ("||G||^2", "tr Sigma")
    else:
        value, parts = gradient.curvature_noise_scale, (gradient.gradient_curvature, gradient.noise_curvature)
        names = ("G'HG", "tr(H Sigma)")
    checks = tuple(_resolved(part, name) for part, name in zip(parts, names, strict=True))
    verdict, reason = verdict_of(
        checks, reason="a step on this many samples makes half the progress of a noise-free one"
    )
    usable = verdict is not Verdict.WITHHELD
    low, high = value.interval(level)
    return Recommendation(
        quantity=quantity,
        value=value.value if usable else None,
        low=max(low, 0.0) if usable else None,
        high=high if usable and np.isfinite(high) else None,
        unit="samples",
        interval=f"{level:.0%}, jackknife over micro-batches",
        verdict=verdict,
        reason=reason,
        checks=checks,
    )


def critical_batch_size(run: RunMeasurements, *, stage: Stage | None = None) -> Recommendation:
    """Return the range of batch sizes worth using: ``min(b*, B)/2`` to ``max(b*, B)``.

    ``B`` is ``B_noise`` where it is resolved, else ``B_simple``; without either the advice is withheld.
    ``stage`` is the state whose ``b*`` counts, the last one by default.
    """
    stable = saturation(run, stage=stage)
    noise = next((r for r in (noise_scale(run, kind="curvature"), noise_scale(run)) if r.value is not None), None)
    if stable.value is None or noise is None or noise.value is None:
        missing = "b*" if stable.value is None else "the gradient noise scale"
        return Recommendation(
            quantity="batch_size",
            value=None,
            unit="samples",
            verdict=Verdict.WITHHELD,
            reason=f"{missing} is not resolved",
            checks=(*stable.checks, *(noise.checks if noise else noise_scale(run).checks)),
        )
    ends = min(stable.value, noise.value) / 2, max(stable.value, noise.value)
    low, high = (float(np.clip(end, 1, run.num_samples)) for end in ends)
    verdict = max(stable.verdict, noise.verdict, key=list(Verdict).index)
    return Recommendation(
        quantity="batch_size",
        value=float(np.sqrt(low * high)),
        low=low,
        high=high,
        unit="samples",
        interval="half the smaller of b* and the noise scale, to the larger; clipped to the data",
        verdict=verdict,
        reason="batches in this range neither waste samples nor forgo the larger stable rate",
        checks=(*stable.checks, *noise.checks),
        evidence={
            "saturation_batch_size": stable.value,
            "noise_scale": noise.value,
            "noise_scale_kind": noise.quantity,
        },
    )


def _resolved(statistic: PairStatistic, name: str) -> Check:
    return Check(
        claim=f"{name} is resolved",
        observed=f"{statistic.value:.3g} +- {statistic.stderr:.2g}",
        required="positive by more than two standard errors",
        passed=statistic.is_resolved,
        source="jackknife over micro-batches",
    )
