r"""Largest eigenvalue of the Hessian of a batch, as a function of the batch size.

A batch Hessian is ``H_b = H + E``. If the entries of ``E`` were independent with variance ``sigma^2/b``, its largest
eigenvalue would have two branches (Granziol, Zohren and Roberts, JMLR 2022, arXiv 2006.09092), with ``P`` parameters
and ``f = 1/b - 1/N`` on ``N`` samples::

    lam_1(H_b) = lam + f (P sigma^2)/lam      if  lam^2 > f P sigma^2        (an outlier, pushed upwards)
               = 2 sqrt(f P sigma^2)          otherwise                      (lost in the bulk of the noise)

``P sigma^2`` is then the curvature noise ``s2`` of *any* direction. In networks it is not: the noise is concentrated
on the directions that carry curvature. Two forms are given side by side: *isotropic*, with ``s2`` of random
directions, and *measured direction*, with ``s2(v_1)`` of the top eigenvector in its place. The second is no theorem;
``scripts/batch_hessian.py`` compares both with the Hessians of real batches.

Both describe the spectrum of a batch, and size the set on which ``lam_1`` is measured. For a learning rate use
:func:`spectra.recommend.stable_limit`, which knows the optimizer.
"""

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from spectra.errors import ArgumentError
from spectra.recommend.noise_scale import PairStatistic
from spectra.recommend.recommendation import Check, Recommendation, Verdict, verdict_of
from spectra.recommend.stability import effective_noise_fraction

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["batch_curvature", "batch_hessian_curve", "measurement_set_size"]

#: Relative error of the noise above which nothing is said about sizes (as for learning rates).
MAX_NOISE_ERROR = 1.0
TENTATIVE_NOISE_ERROR = 0.5


def batch_curvature(
    curvature: npt.ArrayLike, curvature_noise: npt.ArrayLike, *, noise_fraction: npt.ArrayLike
) -> npt.NDArray[np.float64]:
    """Return the largest eigenvalue of a batch Hessian from the two branches of the spiked model.

    Parameters
    ----------
    curvature : array_like
        ``lam``, the largest eigenvalue of the Hessian of all samples.
    curvature_noise : array_like
        ``P sigma^2`` or ``s2(v_1)``, per sample; not negative.
    noise_fraction : array_like
        ``f``, see :func:`spectra.recommend.effective_noise_fraction`.

    Returns
    -------
    ndarray
        In the units of ``curvature``; broadcast over the arguments.

    Raises
    ------
    ArgumentError
        If noise or fraction is negative, or anything not finite.

    Notes
    -----
    The branches meet: at ``lam^2 = f s2`` both are ``2 lam``.

    Examples
    --------
    >>> batch_curvature([3.0, 0.5], 0.6, noise_fraction=1.0).round(3).tolist()
    [3.2, 1.549]
    """
    lam = np.asarray(curvature, dtype=np.float64)
    variance = np.asarray(curvature_noise, dtype=np.float64) * np.asarray(noise_fraction, dtype=np.float64)
    if not np.all(np.isfinite(lam)):
        raise ArgumentError(f"curvature must be finite; got {lam}")
    if not np.all(np.isfinite(variance)) or np.any(variance < 0):
        raise ArgumentError(
            "curvature_noise and noise_fraction must be finite and not negative; "
            f"their smallest product is {np.min(variance)}"
        )
    is_outlier = lam > np.sqrt(variance)
    return np.where(is_outlier, lam + variance / np.where(is_outlier, lam, 1.0), 2.0 * np.sqrt(variance))


def batch_hessian_curve(
    batch_sizes: npt.ArrayLike,
    *,
    curvature: float,
    direction_noise: float,
    isotropic_noise: float,
    num_samples: float | None = None,
) -> "xr.Dataset":
    """Return both forms of the largest batch eigenvalue against the batch size.

    Parameters
    ----------
    batch_sizes : array_like of shape (sizes,)
        Batch sizes in samples, from 1 to ``num_samples``.
    curvature : float
        ``lam_1`` of all samples; positive.
    direction_noise : float
        ``s2(v_1) = E ||(H_i - H) v_1||^2`` of the top eigenvector, per sample.
    isotropic_noise : float
        The same of a random unit vector, which estimates ``P sigma^2 = E ||H_i - H||_F^2 / P``.
    num_samples : float, optional
        Size ``N`` of the data; batches are then drawn without replacement, and the batch ``b = N`` is exact.

    Returns
    -------
    xarray.Dataset
        Coordinate ``batch_size``; variables ``isotropic`` and ``measured_direction``, in the units of ``curvature``;
        attributes with the arguments and ``threshold_batch_size``, the batch size (per form) below which the
        eigenvalue drowns in the noise.

    Raises
    ------
    ArgumentError
        If ``curvature`` is not positive, a noise is negative, or a batch size is out of range.

    Examples
    --------
    >>> curve = batch_hessian_curve(
    ...     [4, 1024], curvature=2.0, direction_noise=8.0, isotropic_noise=0.1, num_samples=1024
    ... )
    >>> curve["measured_direction"].values.round(3).tolist()
    [2.996, 2.0]
    """
    import xarray as xr

    sizes = np.atleast_1d(np.asarray(batch_sizes, dtype=np.float64))
    if not (np.isfinite(curvature) and curvature > 0):
        raise ArgumentError(f"curvature must be positive and finite; got {curvature}")
    fraction = np.array([effective_noise_fraction(size, num_samples) for size in sizes])
    forms = {"isotropic": isotropic_noise, "measured_direction": direction_noise}
    meaning = {"isotropic": "noise of random directions", "measured_direction": "noise of the top direction"}
    curve = xr.Dataset(
        {
            name: (
                "batch_size",
                batch_curvature(curvature, noise, noise_fraction=fraction),
                {"long_name": f"largest eigenvalue of a batch Hessian, {meaning[name]}"},
            )
            for name, noise in forms.items()
        },
        coords={"batch_size": ("batch_size", sizes, {"units": "samples"})},
        attrs={
            "curvature": float(curvature),
            "direction_noise": float(direction_noise),
            "isotropic_noise": float(isotropic_noise),
            "num_samples": float("inf") if num_samples is None else float(num_samples),
            "source": "Granziol, Zohren and Roberts, JMLR 2022",
        },
    )
    for name, noise in forms.items():
        curve[name].attrs["threshold_batch_size"] = _size_for(noise / curvature**2, num_samples)
    return curve


def measurement_set_size(
    *,
    curvature: float,
    curvature_noise: PairStatistic,
    tolerance: float = 0.05,
    num_samples: int | None = None,
    level: float = 0.95,
) -> Recommendation:
    r"""Return how many samples ``lam_1`` must be measured on for its bias to stay below ``tolerance``.

    A subset of ``m`` samples over-estimates: ``lam_1(H_m) ~ lam_1 + f(m) s2(v_1)/lam_1``, so that
    ``f(m) = 1/m - 1/N = tolerance lam^2/s2`` at the smallest admissible ``m``.

    Parameters
    ----------
    curvature : float
        Measured largest eigenvalue ``lam``. Measured on a subset it is itself too large, and the size a little small.
    curvature_noise : PairStatistic
        ``s2(v_1)`` per sample with its jackknife error.
    tolerance : float
        Relative bias allowed, in (0, 1).
    num_samples : int, optional
        Size of the data; without it the data are taken as unlimited.
    level : float
        Level of the interval of the noise.

    Returns
    -------
    Recommendation
        ``quantity="measurement_set_size"`` in samples; withheld if the curvature is not positive or the noise is not
        resolved.

    Raises
    ------
    ArgumentError
        If ``tolerance`` or ``level`` is outside (0, 1).

    Examples
    --------
    >>> noise = PairStatistic(value=8.0, leave_one_out=np.linspace(7.9, 8.1, 24), stderr=0.2)
    >>> size = measurement_set_size(curvature=2.0, curvature_noise=noise, tolerance=0.05)
    >>> size.value, size.verdict
    (40.0, <Verdict.SUPPORTED: 'SUPPORTED'>)
    """
    for name, value in (("tolerance", tolerance), ("level", level)):
        if not 0 < value < 1:
            raise ArgumentError(f"{name} must lie strictly between 0 and 1; got {value}")
    error = curvature_noise.relative_error
    checks = (
        Check(
            claim="the largest curvature is positive",
            observed=f"{curvature:.4g}",
            required="> 0",
            passed=bool(np.isfinite(curvature) and curvature > 0),
        ),
        Check(
            claim="the curvature noise is positive",
            observed=f"{curvature_noise.value:.4g}",
            required="> 0",
            passed=curvature_noise.value > 0,
        ),
        Check(
            claim="the curvature noise is resolved",
            observed=f"relative error {error:.0%}",
            required=f"at most {TENTATIVE_NOISE_ERROR:.0%}",
            passed=error <= TENTATIVE_NOISE_ERROR,
            consequence=Verdict.WITHHELD if error > MAX_NOISE_ERROR else Verdict.TENTATIVE,
            source="jackknife over micro-batches",
        ),
    )
    verdict, reason = verdict_of(
        checks, reason=f"on this many samples the largest eigenvalue is at most {tolerance:.0%} too large in the mean"
    )
    evidence: dict[str, float | str | None] = {"tolerance": tolerance, "curvature": curvature}
    ends: list[float | None] = [None, None, None]
    if verdict is not Verdict.WITHHELD:
        noises = (curvature_noise.value, *curvature_noise.interval(level))
        sizes = [math.ceil(_size_for(max(s2, 0.0) / (tolerance * curvature**2), num_samples)) for s2 in noises]
        ends = [float(size) for size in sizes]
        evidence["share_of_data"] = sizes[0] / num_samples if num_samples else None
    return Recommendation(
        quantity="measurement_set_size",
        value=ends[0],
        low=ends[1],
        high=ends[2],
        unit="samples",
        interval=f"{level:.0%} of the curvature noise",
        verdict=verdict,
        reason=reason,
        checks=checks,
        evidence=evidence,
    )


def _size_for(size: float, num_samples: float | None) -> float:
    """Return the ``m >= 1`` with ``1/m - 1/N = 1/size``."""
    if num_samples is not None:
        size = size / (1.0 + size / num_samples)
    return max(float(size), 1.0)
