r"""Next batch size from the norm test: large enough that the noise of a batch stays below its gradient.

The test asks for ``E ||g_b - G||^2 <= theta^2 ||G||^2`` (Byrd, Chin, Nocedal and Wu 2012). On ``N`` samples drawn
without replacement the left side is ``tr Sigma (1/b - 1/N)``, so that the smallest batch that passes is::

    b = 1 / (theta^2/B_simple + 1/N)          ( = B_simple/theta^2 for unlimited data),   B_simple = tr Sigma/||G||^2

Adaptive methods repeat it in training and only ever increase the batch (Lau, Liu and Kolar 2024, arXiv 2402.11215).

*Why not the norm of the batch gradient?* What is cheap in training is ``||g_b||^2``, whose mean is
``||G||^2 + tr Sigma/b``. With it in the denominator the test asks for ``tr Sigma/(theta^2 (||G||^2 + tr Sigma/b))``:
never more than ``b/theta^2``, and at its fixed point for ``1 - theta^2`` of the right batch. The estimates used here
are unbiased in both parts, and say when ``||G||^2`` is not resolved.
"""

import math

from spectra.errors import ArgumentError
from spectra.recommend.noise_scale import GradientStatistics, ratio
from spectra.recommend.recommendation import Check, Recommendation, Verdict, verdict_of

__all__ = ["next_batch_size"]

#: Root mean square noise over gradient that is allowed; the test needs it in (0, 1), the value is a design choice.
THETA = 0.5


def next_batch_size(
    gradient: GradientStatistics,
    *,
    batch_size: int,
    theta: float = THETA,
    num_samples: int | None = None,
    max_batch_size: int | None = None,
    level: float = 0.95,
) -> Recommendation:
    """Return the batch size to go on with: the one of the norm test, never smaller than the present one.

    Parameters
    ----------
    gradient : GradientStatistics
        Squared gradient norm and covariance trace with jackknife errors, from disjoint micro-batches.
    batch_size : int
        Effective batch size in use.
    theta : float
        Root mean square noise allowed, over the norm of the gradient; in (0, 1).
    num_samples : int, optional
        Size of the data, if batches are drawn without replacement.
    max_batch_size : int, optional
        Largest batch that the machine carries; a larger request is cut, and the verdict lowered.
    level : float
        Level of the jackknife interval.

    Returns
    -------
    Recommendation
        ``quantity="next_batch_size"`` in samples. Withheld if ``||G||^2`` is not resolved: the data then bound the
        batch from below only, by the ``low`` in the evidence. The evidence also holds the request before it was
        clipped, the biased one, and the noise over gradient of the present batch.

    Raises
    ------
    ArgumentError
        If an argument is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from spectra.recommend import gradient_statistics
    >>> rows = np.eye(8) / 4 + 1.0
    >>> statistics = gradient_statistics(rows @ rows.T, rows @ rows.T, batch_size=64)
    >>> advice = next_batch_size(statistics, batch_size=1)
    >>> advice.value, advice.verdict
    (2.0, <Verdict.SUPPORTED: 'SUPPORTED'>)
    """
    _require(batch_size, theta, num_samples, max_batch_size, level)
    # the reciprocal of the noise scale is nearly normal, as the noise is known better than the gradient
    inverse = ratio(gradient.squared_gradient, gradient.trace_covariance)
    ends = inverse.interval(level)
    low, high = (_passing_size(end, theta, num_samples) for end in reversed(ends))
    value = _passing_size(inverse.value, theta, num_samples)
    squared, trace = gradient.squared_gradient, gradient.trace_covariance
    checks = [
        Check(
            claim="the noise is positive",
            observed=f"tr Sigma {trace.value:.3g} +- {trace.stderr:.2g}",
            required="positive by more than two standard errors",
            passed=trace.is_resolved,
            source="jackknife over micro-batches",
        ),
        Check(
            claim="||G||^2 is resolved",
            observed=f"{squared.value:.3g} +- {squared.stderr:.2g}",
            required="positive by more than two standard errors",
            passed=squared.is_resolved,
            source="jackknife over micro-batches",
        ),
    ]
    if max_batch_size is not None and max(value, batch_size) > max_batch_size:
        checks.append(
            Check(
                claim="the batch fits",
                observed=f"the norm test asks for {value:.4g} samples",
                required=f"at most {max_batch_size} (accumulate gradients)",
                passed=False,
                consequence=Verdict.TENTATIVE,
            )
        )
    noise_level = math.sqrt(max(_variance_over_gradient(inverse.value, batch_size, num_samples), 0.0))
    reason = (
        f"the noise of a batch is {noise_level:.2g} of the gradient, above {theta:g}: increase"
        if value > batch_size
        else f"the noise of a batch is {noise_level:.2g} of the gradient, within {theta:g}: keep"
    )
    verdict, reason = verdict_of(checks, reason=reason)
    usable = verdict is not Verdict.WITHHELD
    cap = min(math.inf if max_batch_size is None else max_batch_size, math.inf if num_samples is None else num_samples)

    def clipped(size: float) -> float | None:
        size = min(max(size, batch_size), cap)
        return float(math.ceil(size)) if usable and math.isfinite(size) else None

    biased = trace.value / (theta**2 * (squared.value + trace.value / batch_size)) if trace.value > 0 else None
    return Recommendation(
        quantity="next_batch_size",
        value=clipped(value),
        low=clipped(low),
        high=clipped(high),
        unit="samples",
        interval=f"{level:.0%}, jackknife over micro-batches; never below the present batch",
        verdict=verdict,
        reason=reason,
        checks=tuple(checks),
        evidence={
            "theta": theta,
            "noise_over_gradient": noise_level if math.isfinite(noise_level) else None,
            "passing_batch_size": value if math.isfinite(value) else None,
            "low": low if trace.is_resolved and math.isfinite(low) else None,
            "biased_batch_size": biased,
        },
    )


def _passing_size(inverse: float, theta: float, num_samples: int | None) -> float:
    """Return the smallest passing batch for ``||G||^2/tr Sigma``; all the data, or infinity, where that is <= 0."""
    rest = 0.0 if num_samples is None else 1.0 / num_samples
    share = theta**2 * max(inverse, 0.0) + rest
    return 1.0 / share if share > 0 else math.inf


def _variance_over_gradient(inverse: float, batch_size: int, num_samples: int | None) -> float:
    rest = 0.0 if num_samples is None else 1.0 / num_samples
    return (1.0 / batch_size - rest) / inverse if inverse > 0 else math.inf


def _require(batch_size: int, theta: float, num_samples: int | None, max_batch_size: int | None, level: float) -> None:
    for name, number in (("theta", theta), ("level", level)):
        if not 0 < number < 1:
            raise ArgumentError(f"{name} must lie strictly between 0 and 1; got {number}")
    if batch_size < 1 or (num_samples is not None and batch_size > num_samples):
        bound = "" if num_samples is None else f" and at most the {num_samples} samples of the data"
        raise ArgumentError(f"batch_size must be at least 1{bound}; got {batch_size}")
    if max_batch_size is not None and max_batch_size < batch_size:
        raise ArgumentError(
            f"max_batch_size must not be below the batch size in use, {batch_size}; got {max_batch_size}"
        )
