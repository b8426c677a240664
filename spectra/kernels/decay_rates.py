r"""Rates in the number of samples: how error falls for eigenvalues that decay like a power, or exponentially."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit

from spectra.arrays import finite_number
from spectra.errors import ArgumentError
from spectra.start_vectors import as_count

__all__ = ["DecayRates", "ExponentialRates", "RidgeRegime", "decay_rates", "exponential_decay_rates"]

RidgeRegime = Literal["strong ridge", "weak ridge"]

#: Source exponent from which ridge regression cannot use more smoothness of the target.
SATURATION = 1.0
#: Largest decay rate for which the sums over an exponential spectrum are integrals: E0 - 1 was measured within 2e-3 of
#: the sums at this rate and within 8e-5 at half of it, n = 2 to 10000 and ridge exponents from 0 to infinity.
SMOOTH = 1.0

_STRONG = "strong ridge: the rates are those of Gaussian features, and are stated for dependent features too"
_WEAK = (
    "weak ridge: the rates hold for Gaussian features only; features of real kernels depend on each other, and may do "
    "worse"
)


@dataclass(frozen=True, kw_only=True)
class DecayRates:
    r"""Exponents of n, for a kernel and a target of power laws.

    Attributes
    ----------
    kappa : float
        Exponent of the signal capture threshold: :math:`\kappa \sim n^{\tt kappa}`, as for all that follows.
    bias, variance : float
        Of the parts of the excess that stem from the target and from label noise.
    excess : float
        The larger of both: the rate with label noise, at large n.
    regime : {"strong ridge", "weak ridge"}
        Whether the ridge, or the decay itself, sets the threshold.
    optimal_ridge_exponent, optimal_excess : float
        The ridge exponent for which bias and variance fall alike, and the rate of the excess there.
    is_saturated : bool
        Whether the target is smoother than ridge regression can use, so that the bias falls no faster.
    decay_exponent, source_exponent, ridge_exponent : float
        What was asked.
    caveat : str
        Under which assumption the rates hold.
    """

    kappa: float
    bias: float
    variance: float
    excess: float
    regime: RidgeRegime
    optimal_ridge_exponent: float
    optimal_excess: float
    is_saturated: bool
    decay_exponent: float
    source_exponent: float
    ridge_exponent: float
    caveat: str


def decay_rates(
    decay_exponent: float, *, source_exponent: float, ridge_exponent: float = math.inf, noise: float = 1.0
) -> DecayRates:
    r"""Return the exponents of n with which error falls, for power laws.

    For eigenvalues :math:`\lambda_i \sim i^{-\alpha}`, squared coefficients :math:`v_i^2 \sim i^{-(1 + 2 \alpha r)}`
    and a ridge per sample :math:`\delta/n \sim n^{-\ell}`, with :math:`m = \min(r, 1)`:

    ==============  ====================================  ============================
    quantity        :math:`\ell < \alpha`                 :math:`\ell \ge \alpha`
    ==============  ====================================  ============================
    threshold       :math:`n^{-\ell}`                     :math:`n^{-\alpha}`
    bias            :math:`n^{-2 \ell m}`                 :math:`n^{-2 \alpha m}`
    variance        :math:`n^{\ell/\alpha - 1}`           :math:`n^0`
    ==============  ====================================  ============================

    Parameters
    ----------
    decay_exponent : float
        :math:`\alpha > 1`, of the eigenvalues of the integral operator.
    source_exponent : float
        :math:`r > 0`, smoothness of the target relative to the kernel; at 1/2 it begins to be in its Hilbert space.
    ridge_exponent : float
        :math:`\ell \ge 0` of the ridge *per sample*; infinite (the default) without ridge. A constant ``ridge`` has 1.
    noise : float
        Variance of the label noise; only whether it is 0 matters.

    Returns
    -------
    DecayRates

    Raises
    ------
    ArgumentError
        If an exponent is out of its range.

    Notes
    -----
    Rates without constants, of large n: near the crossover :math:`\ell = \alpha` they set in late. At r = 1 the bias
    has a factor :math:`\log n` in addition. Source: Cui, Loureiro, Krzakala and Zdeborová (2021), arXiv 2105.15004;
    Cheng, Lucchi, Kratsios and Belius (2024), arXiv 2410.17796; derived again from the population equations, whose
    slopes between n = 1000 and 30000 agree to 0.03 (measured); at the optimal ridge, where bias and variance fall
    alike, r = 1.5 needs 30 times more samples for that.

    Examples
    --------
    >>> found = decay_rates(2.0, source_exponent=0.5, ridge_exponent=1.0)
    >>> found.bias, found.variance, found.excess, found.regime
    (-1.0, -0.5, -0.5, 'strong ridge')
    >>> round(found.optimal_ridge_exponent, 3), round(found.optimal_excess, 3)
    (0.667, -0.667)
    """
    alpha = finite_number(decay_exponent, name="decay_exponent")
    source = finite_number(source_exponent, name="source_exponent")
    ridge, sigma2 = _ridge_exponent(ridge_exponent), finite_number(noise, name="noise")
    if not alpha > 1:
        raise ArgumentError(f"decay_exponent must exceed 1, or the eigenvalues have no sum; got {decay_exponent!r}")
    if not source > 0:
        raise ArgumentError(f"source_exponent must exceed 0, or the target has no norm; got {source_exponent!r}")
    if sigma2 < 0:
        raise ArgumentError(f"noise is a variance, at least 0; got {noise!r}")
    used = min(source, SATURATION)
    strong = ridge < alpha
    threshold = min(ridge, alpha)
    bias, variance = -2 * threshold * used, threshold / alpha - 1
    best = alpha / (1 + 2 * alpha * used)
    if sigma2 == 0:
        best = alpha
    return DecayRates(
        kappa=-threshold,
        bias=bias,
        variance=variance,
        excess=max(bias, variance) if sigma2 > 0 else bias,
        regime="strong ridge" if strong else "weak ridge",
        optimal_ridge_exponent=best,
        optimal_excess=-2 * best * used,
        is_saturated=source > SATURATION,
        decay_exponent=alpha,
        source_exponent=source,
        ridge_exponent=ridge,
        caveat=_STRONG if strong else _WEAK,
    )


@dataclass(frozen=True, kw_only=True)
class ExponentialRates:
    r"""What label noise does to a kernel whose eigenvalues are :math:`e^{-ci}`, at n samples.

    Attributes
    ----------
    kappa : float
        Signal capture threshold, relative to the eigenvalue that i = 0 would have. 0 where it underflows; see
        ``log_kappa``.
    log_kappa : float
        Its logarithm.
    df1, df2 : float
        Sums of :math:`L_i` and :math:`L_i^2`.
    overfitting_coefficient : float
        :math:`E_0 = n/(n - \mathrm{df}_2)`.
    variance : float
        :math:`\sigma^2 (E_0 - 1)`, the excess that label noise brings.
    leading_order : float
        :math:`\sigma^2 \ell \ln n / (cn)`, what it tends to for a strong ridge; it is slow to. NaN without ridge.
    regime : {"strong ridge", "weak ridge"}
        Whether the ridge more than doubles the threshold.
    caveat : str
        Under which assumption this holds.
    """

    kappa: float
    log_kappa: float
    df1: float
    df2: float
    overfitting_coefficient: float
    variance: float
    leading_order: float
    regime: RidgeRegime
    caveat: str


def exponential_decay_rates(
    rate: float, *, num_samples: int, noise: float = 1.0, ridge_exponent: float = math.inf
) -> ExponentialRates:
    r"""Return threshold, degrees of freedom and variance for eigenvalues :math:`\lambda_i = e^{-ci}`, i = 1, 2, ...

    There is no exponent to return: with a ridge the variance falls like :math:`\ln n/n`, and without, it *grows*,
    :math:`E_0 = cn/(1 - e^{-cn})`.

    Parameters
    ----------
    rate : float
        c, in (0, 1]: beyond, sums over the modes are no integrals.
    num_samples : int
        n.
    noise : float
        Variance of the label noise.
    ridge_exponent : float
        :math:`\ell \ge 0`, for a ridge per sample of :math:`n^{-\ell}`; infinite (the default) without ridge.

    Returns
    -------
    ExponentialRates

    Raises
    ------
    ArgumentError
        If the rate or another number is out of its range.

    Notes
    -----
    Sums by the Euler-Maclaurin formula to its second correction (derived here), the threshold by root finding. In
    arithmetic with rounding a fit without ridge is one with the ridge ``n eps`` times the largest eigenvalue: the
    growth ends there. Population theory; not compared with simulations.

    Examples
    --------
    >>> found = exponential_decay_rates(0.05, num_samples=80)
    >>> round(found.overfitting_coefficient, 3), found.regime
    (4.075, 'weak ridge')
    """
    c, sigma2 = finite_number(rate, name="rate"), finite_number(noise, name="noise")
    n, exponent = as_count(num_samples, name="num_samples"), _ridge_exponent(ridge_exponent)
    if not 0 < c <= SMOOTH:
        raise ArgumentError(f"rate must be in (0, {SMOOTH:g}]; got {rate!r}. Use eigenlearning on the eigenvalues")
    if sigma2 < 0:
        raise ArgumentError(f"noise is a variance, at least 0; got {noise!r}")
    free = _log_threshold(c, n, -math.inf)
    log_ridge = math.log(n) * (1 - exponent) if n > 1 else (0.0 if math.isfinite(exponent) else -math.inf)
    log_kappa = _log_threshold(c, n, log_ridge) if math.isfinite(exponent) else free
    df1, df2 = _sums(c, log_kappa)
    coefficient = n / (n - df2)
    strong = log_kappa > free + math.log(2)
    return ExponentialRates(
        kappa=math.exp(log_kappa),
        log_kappa=log_kappa,
        df1=df1,
        df2=df2,
        overfitting_coefficient=coefficient,
        variance=sigma2 * (coefficient - 1),
        leading_order=sigma2 * exponent * math.log(n) / (c * n) if math.isfinite(exponent) else math.nan,
        regime="strong ridge" if strong else "weak ridge",
        caveat=_STRONG if strong else _WEAK,
    )


def _ridge_exponent(value: float) -> float:
    """Return an exponent of at least 0 that may be infinite."""
    number = math.inf if np.ndim(value) == 0 and value == math.inf else finite_number(value, name="ridge_exponent")
    if number < 0:
        raise ArgumentError(f"ridge_exponent must be at least 0, or infinite without ridge; got {value!r}")
    return number


def _sums(c: float, log_kappa: float) -> tuple[float, float]:
    """Return df1 and df2: integrals over the modes, with the two corrections of Euler and Maclaurin at i = 0."""
    share, missed = float(expit(-log_kappa)), float(expit(log_kappa))
    # log(1 + 1/kappa), without overflow.
    total = max(-log_kappa, 0.0) + math.log1p(math.exp(-abs(log_kappa)))
    df1 = total / c - share / 2 + c * share * missed / 12
    df2 = (total - share) / c - share**2 / 2 + c * share**2 * missed / 6
    return df1, df2


def _log_threshold(c: float, n: int, log_ridge: float) -> float:
    """Return log kappa with ``df1 + ridge / kappa = n``."""

    def excess(log_kappa: float) -> float:
        return _sums(c, log_kappa)[0] + math.exp(min(log_ridge - log_kappa, 700.0)) - n

    highest = max(math.log(2 / c), log_ridge + math.log(2))
    return float(brentq(excess, -c * (n + 2) - 2, highest + 1, xtol=1e-13))
