"""Advice on two alternating learning rates, for a spectrum with a gap.

The cycle itself, and what it is optimal for, is :func:`spectra.dynamics.cyclical.cyclical_heavy_ball`. It holds for
noise-free quadratics, hence the checks.
"""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from spectra.bulk import spectral_gaps
from spectra.dynamics.cyclical import CyclicalHeavyBall, Interval, cyclical_heavy_ball
from spectra.dynamics.heavy_ball import optimal_heavy_ball
from spectra.errors import ArgumentError, NonFiniteError
from spectra.recommend.recommendation import Check, Recommendation, Verdict, verdict_of

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["CyclicalHeavyBall", "cyclical_heavy_ball", "cyclical_learning_rates"]

#: Fewer steps than an ordinary heavy ball that make two step sizes worth their trouble (design choice).
MIN_SPEEDUP = 1.1
MAX_NOISE_SHARE = 0.05


def cyclical_learning_rates(
    spectrum: "npt.ArrayLike | xr.Dataset", *, noise_share: float = 0.0, level: float = 0.95
) -> Recommendation:
    """Return two alternating learning rates if the spectrum has a gap that makes them worthwhile.

    Of all gaps, the one with the best rate is taken.

    Parameters
    ----------
    spectrum : array_like of shape (eigenvalues,) or xarray.Dataset
        All eigenvalues, or a spectral measure from :func:`spectra.slq`, whose gaps are those of
        :func:`spectra.bulk.spectral_gaps`.
    noise_share : float
        Share of the noise term in the stable limit at the batch size in use
        (:attr:`spectra.recommend.Limit.noise_share`); 0 for full batches.
    level : float
        Confidence of the gaps of a measure.

    Returns
    -------
    Recommendation
        ``quantity="cyclical_learning_rate"``, the larger of the two. The evidence holds ``second_learning_rate``,
        ``momentum``, ``rate``, the intervals, and the rate of the ordinary heavy ball. Withheld without a gap, with
        negative or zero curvature, or with noise.

    Raises
    ------
    ArgumentError
        If there are no eigenvalues or ``noise_share`` is outside [0, 1].
    NonFiniteError
        If an eigenvalue is not finite.

    Examples
    --------
    >>> advice = cyclical_learning_rates(np.r_[np.linspace(1, 2, 50), np.linspace(9, 10, 50)])
    >>> round(advice.evidence["rate"], 3), round(advice.evidence["heavy_ball_rate"], 3), str(advice.verdict)
    (0.382, 0.519, 'SUPPORTED')
    >>> cyclical_learning_rates(np.linspace(1, 10, 100)).reason
    'the spectrum has a gap wide enough: observed 1x fewer steps than one step size, required at least 1.1x'
    """
    if not 0 <= noise_share <= 1:
        raise ArgumentError(f"noise_share must lie in [0, 1]; got {noise_share}")
    smallest, largest, gaps = _gaps(spectrum, level)
    checks = [
        Check(
            claim="all curvature is positive",
            observed=f"smallest {smallest:.4g}",
            required="> 0 (a damping or weight decay that is in use counts)",
            passed=smallest > 0,
        ),
        Check(
            claim="gradients are nearly free of noise",
            observed=f"noise makes {noise_share:.0%} of the stable limit",
            required=f"at most {MAX_NOISE_SHARE:.0%}",
            passed=noise_share <= MAX_NOISE_SHARE,
        ),
    ]
    cycle, speedup = None, 1.0
    evidence: dict[str, float | str | None] = {"num_gaps": float(len(gaps))}
    if smallest > 0:
        ordinary = optimal_heavy_ball(smallest, largest)
        cycles = [cyclical_heavy_ball((smallest, low), (high, largest)) for low, high in gaps]
        cycle = min(cycles, key=lambda found: found.rate, default=None)
        evidence["heavy_ball_rate"] = ordinary.rate
        if cycle is not None and cycle.rate > 0 and ordinary.rate > 0:
            speedup = float(np.log(cycle.rate) / np.log(ordinary.rate))
        elif cycle is not None and ordinary.rate > 0:
            speedup = float("inf")
        checks.append(
            Check(
                claim="the spectrum has a gap wide enough",
                observed=f"{speedup:.3g}x fewer steps than one step size" if cycle else "no gap",
                required=f"at least {MIN_SPEEDUP:g}x",
                passed=speedup >= MIN_SPEEDUP,
            )
        )
    if cycle is not None:
        evidence |= {
            "second_learning_rate": cycle.learning_rates[1],
            "momentum": cycle.momentum,
            "first_sum_form_momentum": cycle.sum_form_momenta[0],
            "second_sum_form_momentum": cycle.sum_form_momenta[1],
            "rate": cycle.rate,
            "speedup": speedup,
            "intervals": " and ".join(f"[{low:.4g}, {high:.4g}]" for low, high in cycle.intervals),
        }
    verdict, reason = verdict_of(checks, reason="exact for quadratics without noise whose spectrum keeps the gap")
    return Recommendation(
        quantity="cyclical_learning_rate",
        value=cycle.learning_rates[0] if cycle and verdict is not Verdict.WITHHELD else None,
        verdict=verdict,
        reason=reason,
        checks=tuple(checks),
        evidence=evidence,
    )


def _gaps(spectrum: "npt.ArrayLike | xr.Dataset", level: float) -> tuple[float, float, list[Interval]]:
    """Return the ends of the spectrum and its gaps."""
    import xarray as xr

    if isinstance(spectrum, xr.Dataset):
        found = spectral_gaps(spectrum, level=level)
        ritz = spectrum["ritz_value"].values
        pairs = zip(found["low"].values.tolist(), found["high"].values.tolist(), strict=True)
        return float(np.nanmin(ritz)), float(np.nanmax(ritz)), list(pairs)
    values = np.sort(np.asarray(spectrum, dtype=np.float64).ravel())
    if values.size == 0:
        raise ArgumentError("at least one eigenvalue is needed; got none")
    if not np.all(np.isfinite(values)):
        raise NonFiniteError("eigenvalues must be finite; got NaN or infinity")
    between = zip(values[:-1].tolist(), values[1:].tolist(), strict=True)
    return float(values[0]), float(values[-1]), [(low, high) for low, high in between if low < high]
