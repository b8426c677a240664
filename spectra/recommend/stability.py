r"""Largest learning rate at which the linearized iteration keeps a bounded second moment.

Along a unit vector ``v`` with curvature ``lam = v'Hv`` and per-sample curvature noise
``s2 = E ||(H_i - H) v||^2``, the linearized step of plain SGD on batches of ``b`` samples contracts in mean square
when ``(1 - lr lam)^2 + lr^2 s2/b < 1``. With momentum the mode is an AR(2) process; asking that the variance it
makes of its own noise stays below the variance that caused it gives, with ``k = (1+beta)/(1-beta)``,

=====================================  ============================================
plain SGD                              ``2 / (lam + s2/(b lam))``
heavy ball, torch's sum form           ``2 (1+beta) / (lam + k s2/(b lam))``
averaged momentum, fixed ``P`` (Adam)  ``2 k / (lam + k s2/(b lam))``, ``lam`` and ``s2`` in the space of ``P``
=====================================  ============================================

The deterministic limits ``2/lam``, ``2 (1+beta)/lam`` and ``2 k/lam`` (38/lam at 0.9) are the case ``s2 = 0``
(Cohen et al. 2021 and 2022). The noisy form was compared with the spectral radius of the exact second-moment
operator: 0.94 to 1.00 of it, never above, in ``tests/spectra/recommend/test_stability.py``.
"""

import numpy as np
import numpy.typing as npt

from spectra.errors import ArgumentError
from spectra.recommend.optimizer import OptimizerSpec

__all__ = ["effective_noise_fraction", "limit_exponent", "saturation_batch_size", "stable_limit"]

FloatLike = float | npt.NDArray[np.float64]


def effective_noise_fraction(batch_size: float, num_samples: float | None = None) -> float:
    """Return the factor of a per-sample variance that a batch mean keeps.

    ``1/b`` for independent samples; ``(1/b) (1 - b/N)`` for a batch drawn without replacement from ``N`` samples,
    when the per-sample variance has the divisor ``N - 1`` (which the estimators of this package target).

    Raises
    ------
    ArgumentError
        If ``batch_size`` is below 1 or above ``num_samples``.

    Examples
    --------
    >>> effective_noise_fraction(50, 100)
    0.01
    >>> effective_noise_fraction(100, 100)
    0.0
    """
    if batch_size < 1:
        raise ArgumentError(f"batch_size must be at least 1; got {batch_size}")
    if num_samples is None:
        return 1.0 / batch_size
    if batch_size > num_samples:
        raise ArgumentError(f"batch_size must not exceed the {num_samples:g} samples of the data; got {batch_size}")
    return (1.0 - batch_size / num_samples) / batch_size


def stable_limit(
    curvature: FloatLike,
    curvature_noise: FloatLike,
    *,
    batch_size: float,
    optimizer: OptimizerSpec,
    num_samples: float | None = None,
) -> npt.NDArray[np.float64]:
    """Return the mean-square-stable learning-rate limit of each measured direction.

    Parameters
    ----------
    curvature : array_like of shape (...)
        ``lam = v'Hv``, in the space of the preconditioner for Adam and AdamW.
    curvature_noise : array_like of shape (...)
        ``s2 = E ||(H_i - H) v||^2`` of the same ``v`` in the same space, per sample.
    batch_size : float
        Effective batch: micro-batch x accumulation x workers.
    optimizer : OptimizerSpec
        Kind and momentum. Decoupled weight decay adds itself to ``curvature``.
    num_samples : float, optional
        Size of the data when batches are drawn without replacement.

    Returns
    -------
    ndarray of shape (...)
        Learning rates; ``inf`` where ``curvature <= 0`` (that direction sets no limit of this kind).

    Examples
    --------
    >>> float(stable_limit(2.0, 0.0, batch_size=8, optimizer=OptimizerSpec(kind="sgd")))
    1.0
    >>> float(stable_limit(2.0, 64.0, batch_size=8, optimizer=OptimizerSpec(kind="sgd")))
    0.3333333333333333
    """
    lam = np.asarray(curvature, dtype=np.float64)
    noise = np.asarray(curvature_noise, dtype=np.float64)
    if np.any(noise < 0):
        raise ArgumentError(f"curvature_noise is a mean square and must not be negative; got {noise.min()}")
    if optimizer.kind == "adamw":
        lam = lam + optimizer.weight_decay
    fraction = effective_noise_fraction(batch_size, num_samples)
    numerator = 2.0 * (optimizer.gain if optimizer.is_adaptive else 1.0 + optimizer.beta)
    positive = lam > 0
    safe = np.where(positive, lam, 1.0)
    return np.where(positive, numerator / (safe + optimizer.gain * noise * fraction / safe), np.inf)


def saturation_batch_size(curvature: FloatLike, curvature_noise: FloatLike, *, optimizer: OptimizerSpec) -> FloatLike:
    """Return ``b* = k s2 / lam^2``: the batch size at which the limit is half its saturated value.

    Below ``b*`` the limit grows in proportion to the batch (noise-limited), above it the curvature limits alone.

    Examples
    --------
    >>> float(saturation_batch_size(2.0, 64.0, optimizer=OptimizerSpec(kind="momentum")))
    304.0
    """
    lam = np.asarray(curvature, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return optimizer.gain * np.asarray(curvature_noise, dtype=np.float64) / lam**2


def limit_exponent(batch_size: FloatLike, saturation: FloatLike) -> FloatLike:
    """Return ``d log lr_max / d log b = b*/(b + b*)``: 1 when noise-limited, 0 when saturated."""
    return np.asarray(saturation) / (np.asarray(batch_size) + np.asarray(saturation))
