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
#: by the third, which eigenvalues in wide steps cause. Measured on two sets of kernels of the validation script, other
#: seeds: of 24 Gaussian kernels of each that stayed below the first and 0.04, the others leave 12 and 14.
TEMPERED, RISING, UNEVEN = 0.12, 0.03, 0.4
#: Overfitting is catastrophic if the slope exceeds the first, and this share of the slope of an exponential law where
#: the exponent is not above the third. Measured on the same two sets: power laws that have not begun reach a share of
#: 0.54, and the exponential designs that exceed the first, 0.94 and more; above an exponent of 4.6 slopes of power laws
#: less two standard errors stay below 0.06.
CATASTROPHIC, EXPONENTIAL, STEEP = 0.12, 0.6, 5.0
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
    *catastrophic* if :math:`s - 2e > 0.12` and either :math:`s - 2e > 0.6\,s_{\exp}` or :math:`\hat\alpha > 5`;
    otherwise *undecided*.

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
    >>> trend = ExponentTrend(exponent=2.3, slope=0.25, stderr=0.01, bend=0.0)
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
        if abs(trend.bend) >= UNEVEN:
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
    if exponent > STEEP:
        return RegimeVerdict(regime="catastrophic", why=f"that is growth, of an exponent above {STEEP:g} already")
    why = (
        f"that is growth, but less than {EXPONENTIAL:g} of that of exponential decay ({whole:.3f}): power laws that have "
        "not begun grow so too"
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
