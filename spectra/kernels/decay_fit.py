r"""Polynomial or exponential: the law of decay behind a curve of effective dimensions, and its exponent.

The family :math:`\log\kappa = c - a\,(N^b - 1)/b`, :math:`N = \mathrm{df}_1`, holds the power law (b = 0, a the
exponent) and the exponential law (b = 1), and stretched exponentials between them.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from spectra.frozen import Vector, frozen_array
from spectra.kernels.dimension_curve import DimensionCurve, dimension_curve, ridge_grid
from spectra.kernels.gram import GramSpectrum

__all__ = ["FLAT", "DecayFit", "ResolvedCurve", "decay_curve", "fit_decay", "resolved"]

#: The curve is used where 4 < df1 < 0.8 n (measured: above, df1 tells the sample and not the kernel).
LEAST, MOST = 4.0, 0.8
#: Fewest ridges of the curve in that range, the least ratio of its ends (design choice), and points at which it is
#: fitted, with equal ratios of df1.
FEWEST, REACH, POINTS = 8, 1.5, 40
#: Points at which laws are fitted: below, length scales and the mean decide, above, the number of samples (measured:
#: of the windows that were tried, this one separates the laws best at n = 150 to 800).
WINDOW = slice(18, 36)
#: Range of the shape parameter; estimates at its ends are bounds.
SHAPES = (-0.6, 1.6)
#: Points that count as one independent point, and mean square of log kappa that is never told from 0, in the comparison
#: of laws (measured: the points are correlated, and plain BIC is sure too soon).
CORRELATED, TOLERATED = 3.0, 1e-4
#: Shapes up to which a law is polynomial, and from which it is exponential (measured on other seeds than those of the
#: validation, n = 150 to 800: at most 0.22 for 500 polynomial kernels, at least 0.18 for 250 exponential ones).
POWER, EXPONENTIAL = 0.16, 0.26
#: A curve that ends at the number of samples bends down there, the sooner the fewer there are: from n = 20 to 150 the
#: shapes of polynomial kernels stayed below this constant plus this number over n (measured on 1000 kernels). One
#: that ends at rounding, below this share of n, does not bend.
BENT, BENT_SAMPLES, CUT = 0.12, 40.0, 0.7
#: An exponential law also has eigenvalues that fall fast by now, exponent times shape above FAST, and local exponents
#: whose growth does not slow down, the later slope above STEADY of the earlier one; both unless the shape exceeds SURE.
#: Power laws of kernels whose length scale the samples hardly resolve have shapes of up to 0.5 (measured on 128 Matern
#: and Gaussian kernels with scales of 0.15 to 3 median distances: products of shape and exponent up to 1.4 for orders
#: 3/2 and 5/2, from 1.7 for Gaussian kernels whose decay has begun).
FAST, STEADY, SURE = 1.5, 0.8, 0.8
#: Exponents up to this one are also those of flat spectra that the sample does not fill, and of kernels whose length
#: scale is far below the distances (measured: 1.00 to 1.07 there, 1.02 and more for Laplace kernels in 16 dimensions).
FLAT = 1.05
#: Points between which the growth of local exponents is compared.
EARLY, LATE = slice(6, 20), slice(20, 34)
#: Below, the curve levels off, which no power law does (design choice; polynomial kernels reached -0.12).
LEVELS = -0.25


@dataclass(frozen=True, kw_only=True, eq=False)
class ResolvedCurve:
    """The part of a curve that says something about the kernel, at points with equal ratios of df1, ascending."""

    log_kappa: Vector
    df1: Vector
    df2: Vector
    num_samples: int

    def __post_init__(self) -> None:
        for name in ("log_kappa", "df1", "df2"):
            object.__setattr__(self, name, frozen_array(getattr(self, name), name=name))


@dataclass(frozen=True, kw_only=True, eq=False)
class DecayFit:
    r"""Laws fitted to a curve.

    Attributes
    ----------
    law : {"polynomial", "exponential", "ambiguous"}
        By shape.
    shape : float
        b: near 0 for a power law, 1 for an exponential one, between them for a Gaussian kernel in several dimensions.
    is_shape_bound : bool
        Whether b lies at an end of its range.
    delta_bic : float
        BIC of the power law less that of the exponential law. Positive speaks for the exponential one of the two; a
        stretched exponential with b < 1/2 is nearer to a power law and still none.
    decay_exponent : float
        Median of :math:`1/(1 - \mathrm{df}_2/\mathrm{df}_1)`.
    early_exponent : float
        The same for the effective dimensions below: how far the exponent has drifted.
    early_growth, late_growth : float
        Slopes of the logarithm of the local exponent against that of df1, in the first and second half of the curve:
        b for a stretched exponential, falling to 0 for a power law.
    fitted_exponent : float
        Slope a of the power law.
    rate : float
        Slope of the exponential law: eigenvalues fall by :math:`e^{-\mathrm{rate}}` each.
    rms : float
        Root mean square deviation of log kappa from the better of the two laws.
    r_squared : float
        Share of the variance of log kappa that it explains.
    """

    law: Literal["polynomial", "exponential", "ambiguous"]
    shape: float
    is_shape_bound: bool
    delta_bic: float
    decay_exponent: float
    early_exponent: float
    early_growth: float
    late_growth: float
    fitted_exponent: float
    rate: float
    rms: float
    r_squared: float


def decay_curve(spectrum: GramSpectrum, lowest: float) -> DimensionCurve:
    """Return the curve from a ridge up, which may lie below the floor of solutions in the same arithmetic.

    That floor bounds errors of every matrix of this size; of this one they may be known to be smaller.
    """
    return dimension_curve(replace(spectrum, ridge_floor=0.0), ridge_grid(spectrum, lowest=lowest))


def resolved(curve: DimensionCurve) -> ResolvedCurve:
    """Return what of a curve is told by neither rounding nor the number of samples; empty where too little is.

    Parameters
    ----------
    curve : DimensionCurve
        On a grid of ridges above rounding.
    """
    n = curve.num_samples
    kept = (curve.df1 > LEAST) & (curve.df1 < MOST * n)
    if np.sum(kept) < FEWEST or np.max(curve.df1[kept]) < REACH * np.min(curve.df1[kept]):
        return ResolvedCurve(log_kappa=np.empty(0), df1=np.empty(0), df2=np.empty(0), num_samples=n)
    # df1 falls with the ridge.
    size, kappa, second = (column[kept][::-1] for column in (curve.df1, curve.kappa, curve.df2))
    at = np.geomspace(size[0], size[-1], POINTS)
    position = np.log(size)
    return ResolvedCurve(
        log_kappa=np.interp(np.log(at), position, np.log(kappa)),
        df1=at,
        df2=at * np.interp(np.log(at), position, second / size),
        num_samples=n,
    )


def fit_decay(curve: ResolvedCurve) -> DecayFit:
    """Return the law of a curve that is not empty.

    Examples
    --------
    >>> from spectra.kernels.dimension_curve import dimension_curve
    >>> from spectra.kernels.gram import GramSpectrum
    >>> values = GramSpectrum.of_eigenvalues(1 / np.arange(1.0, 1001.0) ** 2)
    >>> fit_decay(resolved(dimension_curve(values))).law
    'polynomial'
    """
    size, target = curve.df1[WINDOW], curve.log_kappa[WINDOW]
    shapes = np.linspace(*SHAPES, 221)
    errors = np.array([_line(_box_cox(size, b), target)[1] for b in shapes])
    best = int(np.argmin(errors))
    shape = float(shapes[best])
    power, power_error = _line(_box_cox(size, 0.0), target)
    exponential, exponential_error = _line(_box_cox(size, 1.0), target)
    error = min(power_error, exponential_error)
    local = 1 / (1 - curve.df2 / curve.df1)
    exponent = float(np.median(local[WINDOW]))
    early, late = (_line(np.log(curve.df1[part]), np.log(local[part]))[0] for part in (EARLY, LATE))
    law: Literal["polynomial", "exponential", "ambiguous"] = "ambiguous"
    if LEVELS < shape < POWER:
        law = "polynomial" if exponent > FLAT else "ambiguous"
    elif shape > _least_exponential(curve) and (shape > SURE or (shape * exponent > FAST and late > STEADY * early)):
        law = "exponential"
    return DecayFit(
        law=law,
        shape=shape,
        is_shape_bound=best in (0, shapes.size - 1),
        delta_bic=size.size / CORRELATED * math.log((power_error + TOLERATED) / (exponential_error + TOLERATED)),
        decay_exponent=exponent,
        early_exponent=float(np.median(local[: WINDOW.start])),
        early_growth=early,
        late_growth=late,
        fitted_exponent=-power,
        rate=-exponential,
        rms=math.sqrt(error),
        r_squared=1 - error / max(float(np.var(target)), np.finfo(float).tiny),
    )


def _least_exponential(curve: ResolvedCurve) -> float:
    """Return the shape from which a law is exponential: more where the sample ends the curve, and rounding does not."""
    if curve.df1[-1] < CUT * curve.num_samples:
        return EXPONENTIAL
    return max(EXPONENTIAL, BENT + BENT_SAMPLES / curve.num_samples)


def _box_cox(size: Vector, b: float) -> Vector:
    """Return ``(size^b - 1)/b``, the logarithm for b = 0."""
    log = np.log(size)
    return log if b == 0 else np.expm1(b * log) / b


def _line(x: Vector, y: Vector) -> tuple[float, float]:
    """Return the slope of the least-squares line and the mean square that it leaves."""
    centered, target = x - np.mean(x), y - np.mean(y)
    slope = float(centered @ target / (centered @ centered))
    return slope, float(np.mean((target - slope * centered) ** 2))
