r"""Prediction of errors at more samples from a Gram matrix: its effective dimension with a power law for the tail."""

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from spectra.frozen import Vector, frozen_array
from spectra.kernels.nonnegative_power import NonnegativePower, fit_nonnegative_power
from spectra.kernels.ridge_fit import RidgeFit

__all__ = ["EigenTail", "bare_error", "eigen_tail"]

#: Share of n up to which the measured effective dimension is used; the power law continues from there.
MATCH = 0.6
#: Exponents of the tail: a trace must be finite, and beyond 50 the tail is empty to rounding (design choices).
FLATTEST, STEEPEST = 1.01, 50.0
#: Ridges of the curve, per factor of ten (design choice).
PER_DECADE = 8
#: Thresholds, relative to the one at the ridge, whose errors are fitted, and exponents that are tried: bias falls at
#: most like the square of the threshold (spectra.kernels.decay_rates).
REACH = 20.0
EXPONENTS = np.linspace(0.05, 2.0, 40)


@dataclass(frozen=True, kw_only=True, eq=False)
class EigenTail:
    r"""The effective dimension as a function of the threshold, and the error without amplification.

    Attributes
    ----------
    log_kappa, df1 : ndarray, shape (m,)
        Measured curve, ascending in the threshold, down to where the tail begins.
    decay_exponent : float
        Of the eigenvalues in the tail.
    """

    log_kappa: Vector
    df1: Vector
    decay_exponent: float

    def __post_init__(self) -> None:
        for name in ("log_kappa", "df1"):
            object.__setattr__(self, name, frozen_array(getattr(self, name), name=name))

    def dimension(self, log_kappa: float) -> float:
        """Return the effective dimension: measured, a power law below, and proportional to 1/kappa above."""
        if log_kappa <= self.log_kappa[0]:
            growth = math.exp((self.log_kappa[0] - log_kappa) / self.decay_exponent)
            return (float(self.df1[0]) + 0.5) * growth - 0.5
        if log_kappa >= self.log_kappa[-1]:
            return float(self.df1[-1]) * math.exp(self.log_kappa[-1] - log_kappa)
        return float(np.exp(np.interp(log_kappa, self.log_kappa, np.log(self.df1))))

    def threshold(self, num_samples: float, ridge: float) -> tuple[float, float]:
        """Return log kappa of n samples with a positive ridge, and the overfitting coefficient E0."""

        def missing(x: float) -> float:
            return self.dimension(x) + ridge * math.exp(-x) - num_samples

        low = math.log(ridge / num_samples)
        high = max(low, float(self.log_kappa[-1])) + 1.0
        while missing(high) > 0:
            high += 1.0
        x = low if missing(low) <= 0 else float(brentq(missing, low, high, xtol=1e-12))
        step = 0.05
        slope = (self.dimension(x + step) - self.dimension(x - step)) / (2 * step)
        # n - df2 = ridge / kappa - d df1 / d log kappa
        return x, num_samples / (ridge * math.exp(-x) - slope)


def eigen_tail(fit: RidgeFit) -> EigenTail:
    r"""Return the effective dimension that a Gram matrix shows, with a power law where it shows none.

    Parameters
    ----------
    fit : RidgeFit
        From :func:`spectra.kernels.ridge_fit.ridge_fit`.

    Returns
    -------
    EigenTail

    Notes
    -----
    O(n) for each of about 150 ridges. The curve :math:`(\hat\kappa, \text{df}_1)` over ridges is used up to 0.6 n, with
    the exponent :math:`(\text{df}_1 + 1/2) / (\text{df}_1 - \text{df}_2)` of the last point; derived here, measured.

    Examples
    --------
    >>> from spectra.kernels.ridge_fit import ridge_fit
    >>> eigen_tail(ridge_fit(np.diag(np.arange(1.0, 101) ** -2), np.ones(100))).decay_exponent > 1
    True
    """
    value, floor = fit.spectrum.eigenvalue, fit.spectrum.ridge_floor
    n, top = fit.num_samples, 10 * float(np.sum(fit.spectrum.eigenvalue))
    delta = np.geomspace(floor, top, max(math.ceil(PER_DECADE * math.log10(top / floor)), 2))
    inverse = 1 / (value[:, None] + delta)
    trace = np.sum(inverse, axis=0)
    df1 = np.sum(value[:, None] * inverse, axis=0)
    df2 = n - 1 / np.sum((inverse / trace) ** 2, axis=0)
    used = np.flatnonzero(df1 <= MATCH * n)
    first = int(used[0])
    # Of a finite rank df1 - df2 vanishes: no tail.
    gap = max(float(df1[first] - df2[first]), float(df1[first]) / STEEPEST)
    exponent = float(np.clip((df1[first] + 0.5) / gap, FLATTEST, STEEPEST))
    return EigenTail(log_kappa=-np.log(trace[first:]), df1=df1[first:], decay_exponent=exponent)


def bare_error(fit: RidgeFit, ridge: float) -> NonnegativePower:
    r"""Return the fit of :math:`\text{LOO} / \hat E_0` as a function of the threshold, from larger ridges.

    Parameters
    ----------
    fit : RidgeFit
        The decomposed problem.
    ridge : float
        The smallest ridge, unnormalized.

    Returns
    -------
    NonnegativePower
        Of kappa.

    Notes
    -----
    120 leave-one-out errors, O(n^2 C) each. Thresholds up to 20 times that of the ridge are fitted: measured to be
    better than 100 times.

    Examples
    --------
    >>> from spectra.kernels.ridge_fit import ridge_fit
    >>> round(float(bare_error(ridge_fit(np.eye(50), np.ones(50)), 0.1)(1.0)), 6)
    1.0
    """
    delta = fit.spectrum.effective_ridge(ridge)
    ridges = np.geomspace(delta, max(10 * float(np.sum(fit.spectrum.eigenvalue)), 10 * delta), 120)
    found = fit.statistics(ridges)
    near = (found.kappa <= REACH * found.kappa[0]) & (found.leave_one_out > 0)
    if not np.any(near):
        return NonnegativePower(constant=0.0, factor=0.0, exponent=1.0, unit=1.0)
    # Equal weight for equal steps of log kappa, not of the ridge.
    steps = np.gradient(np.log(found.kappa[near])) if np.sum(near) > 1 else np.ones(1)
    return fit_nonnegative_power(
        found.kappa[near],
        found.leave_one_out[near] / found.overfitting_coefficient[near],
        exponents=EXPONENTS,
        weight=np.maximum(steps, 1e-12),
    )
