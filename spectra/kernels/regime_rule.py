r"""The rule that tells benign, tempered and catastrophic overfitting apart by the growth of a local exponent."""

import math
from dataclasses import dataclass
from typing import Literal

from scipy.optimize import brentq

from spectra.kernels.local_exponent import ExponentTrend

__all__ = ["Regime", "RegimeVerdict", "exponential_slope", "regime_verdict"]

Regime = Literal["benign", "tempered", "catastrophic", "undecided"]

#: Standard errors of the slope that a verdict must keep away from a threshold; its standard error stems from few draws.
CERTAIN = 2.0
#: Exponent below which overfitting is benign if it falls; and below which decay has hardly begun (design choices).
BENIGN, BEGUN = 1.1, 1.2
#: Slopes: |s| below which overfitting is tempered, unless it surely rises by more than the second, or doublings differ
#: by the third, which eigenvalues in wide steps cause. Measured on two sets of the kernels of the validation script,
#: other seeds: of 45 Gaussian kernels that are tempered by the first and 0.04 alone they leave 20, all but 2 of which
#: have hardly begun, and of 1278 power laws 1229.
TEMPERED, RISING, UNEVEN = 0.12, 0.03, 0.4
#: Overfitting is catastrophic if the slope surely exceeds the first, and this share of the slope of exponential decay,
#: or where the exponent is above the third and the slope of the last doubling exceeds the fourth of that before.
#: Measured on the same sets, and on 1200 stationary kernels with length scales of 0.08 to 1.5 median distances: power
#: laws called catastrophic by the first alone 86 of 1802 and 137 of 960, by all 0 and 2; Gaussian kernels 277 of 518
#: and 158 of 240, by all 157 and 93. Exponential designs have a share of 0.84 and more.
CATASTROPHIC, EXPONENTIAL, STEEP, FALLING = 0.12, 0.7, 5.0, 0.75
#: Ratio of the largest size to the smallest.
RATIO = 4.0


@dataclass(frozen=True, kw_only=True)
class RegimeVerdict:
    """What a trend says.

    Attributes
    ----------
    regime : {"benign", "tempered", "catastrophic", "undecided"}
        The verdict.
    why : str
        What it rests on, as the end of a sentence.
    """

    regime: Regime
    why: str


def regime_verdict(trend: ExponentTrend) -> RegimeVerdict:
    r"""Return what the growth of the local exponent over three sizes says.

    With s its slope in :math:`\log n`, e the standard error, and :math:`s_{\exp}` the slope of exponential decay with
    the same exponent: *benign* if :math:`\hat\alpha < 1.1` and :math:`s + 2e < 0`; *tempered* if
    :math:`|s| + 2e < 0.12`, :math:`s - 2e < 0.03` and the slopes of the two doublings differ by less than 0.4;
    *catastrophic* if :math:`s - 2e > 0.12` and either :math:`s - 2e > 0.7\,s_{\exp}`, or :math:`\hat\alpha > 5` and
    the slope of the last doubling exceeds 0.75 of that before; otherwise *undecided*.

    Parameters
    ----------
    trend : ExponentTrend
        Of three sizes; NaN is undecided.

    Returns
    -------
    RegimeVerdict

    Notes
    -----
    Exponents of smooth kernels with power laws rise until the law has begun, and rise like those of Gaussian kernels:
    Matérn kernels of order 5/2 in three dimensions and Gaussian ones in four have exponents of 2.1 and slopes of 0.25
    and 0.29 at n = 200. What rises so is undecided. Source: a construction of this project.

    Examples
    --------
    >>> trend = ExponentTrend(exponent=2.3, slope=0.25, stderr=0.01, last=0.25, before=0.25)
    >>> regime_verdict(trend).regime
    'undecided'
    """
    slope, exponent = trend.slope, trend.exponent
    if math.isnan(slope):
        return RegimeVerdict(regime="undecided", why="fewer than three sizes are known")
    room = CERTAIN * trend.stderr
    least = slope - room
    if exponent < BENIGN and slope + room < 0:
        return RegimeVerdict(regime="benign", why="it surely falls towards 1")
    if abs(slope) + room < TEMPERED and least < RISING:
        if abs(trend.last - trend.before) >= UNEVEN:
            why = "the first doubling and the second differ too much: eigenvalues fall in steps"
            return RegimeVerdict(regime="undecided", why=why)
        if exponent < BEGUN:
            why = "that is constant, but so near to 1 decay has hardly begun, and exponential decay would look alike"
            return RegimeVerdict(regime="tempered", why=why)
        return RegimeVerdict(regime="tempered", why="that is constant")
    if least <= CATASTROPHIC:
        why = (
            f"that is neither surely constant (less than {TEMPERED:g} either way) nor surely growing (more than "
            f"{CATASTROPHIC:g})"
        )
        return RegimeVerdict(regime="undecided", why=why)
    whole = exponential_slope(exponent)
    if least > EXPONENTIAL * whole:
        return RegimeVerdict(regime="catastrophic", why=f"that is growth as of exponential decay ({whole:.3f})")
    if exponent > STEEP and trend.last > FALLING * trend.before:
        why = f"that is growth, of an exponent above {STEEP:g} already, which does not slow down"
        return RegimeVerdict(regime="catastrophic", why=why)
    why = (
        f"that is growth, but not surely {EXPONENTIAL:g} of that of exponential decay ({whole:.3f}): power laws that "
        "have not begun grow so too"
    )
    return RegimeVerdict(regime="undecided", why=why)


def exponential_slope(exponent: float) -> float:
    r"""Return the slope over three sizes of exponential decay with this local exponent at the largest.

    Exponential decay by c at each eigenvalue has :math:`\hat\alpha = x/(1 - e^{-x})`, :math:`x = c\,\mathrm{df}_1`.

    Parameters
    ----------
    exponent : float
        At least 1; less counts as 1.

    Returns
    -------
    float
        Between 0 and 1.

    Notes
    -----
    Derived here, from integrals in place of the sums over :math:`\lambda_i = e^{-ci}`.

    Examples
    --------
    >>> round(exponential_slope(1 / (1 - math.exp(-1))), 3), round(exponential_slope(100.0), 3)
    (0.243, 1.0)
    """
    if not exponent > 1:
        return 0.0
    lengths = float(brentq(lambda x: _exponential(x) - exponent, 0.0, exponent))
    return math.log(exponent / _exponential(lengths / RATIO)) / math.log(RATIO)


def _exponential(lengths: float) -> float:
    """Return the local exponent of exponential decay at so many decay lengths."""
    return lengths / -math.expm1(-lengths) if lengths > 0 else 1.0
