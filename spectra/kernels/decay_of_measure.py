"""The decay law of a kernel that is known through a spectral measure only."""

from typing import TYPE_CHECKING, Any

import numpy as np

from spectra.kernels.decay_fit import LEVELS, POWER, DecayFit, fit_decay, resolved
from spectra.kernels.decay_result import EigenDecay, Law
from spectra.kernels.decay_steps import EQUAL
from spectra.kernels.dimension_curve import DimensionCurve
from spectra.kernels.measure_curve import LOWEST, halves_of_probes, measure_curve
from spectra.measure import cdf, quantile
from spectra.measure_schema import eps_of

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["decay_of_measure"]

#: Shape from which a law is exponential: more than of a whole spectrum, for quadrature sees the largest eigenvalues
#: only, and there power laws of smooth kernels bend (measured on 83 kernels, n = 400 to 1500, 10 probes of 50 steps:
#: shapes of power laws up to 0.30, of Gaussian kernels from 0.31 to 1.6).
EXPONENTIAL = 0.35
#: Half-width of the interval of the exponent relative to it, and factor of the standard error over halves of the
#: probes, added in squares (measured on the same kernels: deviations of 57 power laws of up to 14 %, once 19 %).
SHARE, SPREAD = 0.2, 2.0
#: A rank is finite where the effective dimension grows by less than GROWTH over DECADES of the ridge, below 0.8 n.
GROWTH, DECADES, MOST = 0.01, 3.0, 0.8

COVERS = (
    "deviations from the exponent of the limit, as measured for Laplace and Matern kernels on points in 1 to 4 "
    "dimensions, and the scatter of probes; no guarantee for another kind of kernel"
)


def decay_of_measure(measure: "xr.Dataset") -> EigenDecay:
    """Return the law by which the eigenvalues of a kernel fall, from :func:`spectra.slq` of its Gram matrix.

    Parameters
    ----------
    measure : xarray.Dataset
        Of a Gram matrix or :func:`spectra.kernels.kernel_operator`, at least two probes; four give a spread.

    Returns
    -------
    EigenDecay
        Without eigenvalues. The mean of the kernel is not removed.

    Raises
    ------
    ArgumentError, SchemaError
        See :func:`spectra.kernels.measure_curve.measure_curve`.

    Notes
    -----
    No products. The law is that of the eigenvalues that quadrature resolves: for fast decay the largest few dozen.

    Examples
    --------
    >>> import spectra
    >>> measure = spectra.slq(np.diag(1 / np.arange(1.0, 501.0) ** 2), num_steps=40)
    >>> decay_of_measure(measure).law
    'polynomial'
    """
    curve = measure_curve(measure)
    n = curve.num_samples
    common: dict[str, Any] = {
        "curve": curve,
        "eigenvalue": np.empty(0),
        "num_samples": n,
        "covers": COVERS,
        "is_trustworthy": True,
        "subsample_exponent": np.empty(0),
    }
    rank = _rank(curve)
    if rank is not None:
        why = f"the effective dimension stays at {rank} while the ridge falls by {DECADES:.0f} decades and more"
        return EigenDecay(law="finite_rank", rank=rank, why=why, **common)
    level, above = _plateau(measure)
    if above is not None:
        why = f"half of the eigenvalues are equal, and about {above} are larger"
        return EigenDecay(law="plateau", rank=above, plateau=level, why=why, **common)
    part = resolved(curve)
    if part.df1.size == 0:
        why = (
            f"effective dimensions between 4 and 0.8 n, n = {n}, that the quadrature resolves are too few or too "
            "close: more probes or steps may tell"
        )
        return EigenDecay(law="undetermined", why=why, **(common | {"is_trustworthy": False}))
    fit = fit_decay(part)
    law = _law(fit)
    exponents = np.array(
        [
            fit_decay(part).decay_exponent
            for half in halves_of_probes(measure)
            if (part := resolved(measure_curve(half))).df1.size
        ]
    )
    spread = SPREAD * float(np.std(exponents)) if exponents.size == 2 else 0.0
    width = float(np.hypot(SHARE * fit.decay_exponent, spread))
    is_power = law == "polynomial"
    return EigenDecay(
        law=law,
        decay_exponent=np.nan if law == "exponential" else fit.decay_exponent,
        low=max(fit.decay_exponent - width, 1.0) if is_power else np.nan,
        high=fit.decay_exponent + width if is_power else np.nan,
        rate=fit.rate if law == "exponential" else np.nan,
        shape=fit.shape,
        delta_bic=fit.delta_bic,
        fitted_exponent=fit.fitted_exponent,
        rms=fit.rms,
        r_squared=fit.r_squared,
        why=_why(fit, law, curve),
        **(common | {"subsample_exponent": exponents, "is_trustworthy": law != "ambiguous"}),
    )


def _law(fit: DecayFit) -> Law:
    """Return the law by shape."""
    if LEVELS < fit.shape < POWER:
        return "polynomial"
    return "exponential" if fit.law == "exponential" and fit.shape > EXPONENTIAL else "ambiguous"


def _rank(curve: DimensionCurve) -> int | None:
    """Return the rank where the effective dimension has stopped to grow."""
    if curve.df1.size == 0:
        return None
    before = curve.ridge >= curve.ridge[0] * 10**DECADES
    if not np.any(before) or curve.df1[0] >= MOST * curve.num_samples:
        return None
    rank = float(curve.df1[0])
    grown = rank / float(curve.df1[before][0]) - 1
    return round(rank) if grown < GROWTH else None


def _plateau(measure: "xr.Dataset") -> tuple[float, int | None]:
    """Return the level of a rest of equal eigenvalues, and about how many are larger; None without one."""
    level, half = float(quantile(measure, 0.1)), float(quantile(measure, 0.5))
    n = int(measure.attrs["dimension"])
    if level <= LOWEST * n * eps_of(measure) * float(np.nanmax(measure["ritz_value"].values)) or half > EQUAL * level:
        return np.nan, None
    return level, round(n * (1 - float(cdf(measure, EQUAL * level))))


def _why(fit: DecayFit, law: str, curve: DimensionCurve) -> str:
    """Say what speaks for the law, and how far down the quadrature sees."""
    seen = f"the quadrature resolves effective dimensions up to {np.max(curve.df1):.0f} of {curve.num_samples}"
    if law == "ambiguous" and fit.shape <= LEVELS:
        return f"the shape {fit.shape:.2f} is that of a spectrum that levels off onto a plateau; {seen}"
    if law == "ambiguous":
        return f"the shape {fit.shape:.2f} lies between those of power laws and of exponential ones; {seen}"
    return f"the shape {fit.shape:.2f} is that of this law; {seen}"
