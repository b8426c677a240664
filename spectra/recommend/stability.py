r"""Largest learning rate at which the linearized iteration keeps a bounded second moment.

Along a unit vector ``v`` with curvature ``lam = v'Hv`` and per-sample curvature noise
``s2 = E ||(H_i - H) v||^2``, the linearized step of plain SGD on batches of ``b`` samples contracts in mean square
when ``(1 - lr lam)^2 + lr^2 s2/b < 1``. With momentum the mode is an ARMA(2, 1) process; asking that the variance it
makes of its own noise stays below the variance that caused it gives, with ``k = (1+beta)/(1-beta)`` and
``nu = s2/(b lam^2)``,

=====================================  ============================================
plain SGD                              ``2 / (lam + s2/(b lam))``
heavy ball, torch's sum form           ``2 (1+beta) / (lam + k s2/(b lam))``
the same with dampening ``t``          the same over ``1 - t``
Nesterov, torch's form                 ``x/lam``, ``x`` the positive root of ``beta (1+2 beta) (1+nu) x^2
                                       + ((1+beta) nu + 1 - beta - 4 beta^2) x = 2 (1 - beta^2)``
averaged momentum, fixed ``P`` (Adam)  ``2 k / (lam + k s2/(b lam))``, ``lam`` and ``s2`` in the space of ``P``
RMSprop, fixed ``P``                   heavy ball (SGD without momentum), in the space of ``P``
=====================================  ============================================

Decoupled weight decay ``D`` (AdamW) shrinks the weights without momentum; the limit without noise is then
``2 k / (lam + k D)``, and with noise the root of a quadratic as well. The deterministic limits ``2/lam``,
``2 (1+beta)/lam``, ``2 (1+beta)/((1+2 beta) lam)`` and ``2 k/lam`` (38/lam at 0.9) are the case ``s2 = 0`` (Cohen et
al. 2021 and 2022). For one mode all forms are exact (:mod:`spectra.recommend.second_moment`). With many modes noise
that is scattered out of ``v`` is counted as if it stayed, which is never too large; in
``tests/spectra/recommend/test_stability.py`` 0.94 to 1.00 of the exact limit for SGD and heavy balls, 0.92 to 1.00 for
Nesterov at 0.9. Nesterov bears noise in its steepest directions better than in flat ones, so that at momenta near 1 a
flat direction whose noise is scattered into steep ones makes the limit too small, at 0.99 up to eightfold.
"""

from typing import get_args

import numpy as np
import numpy.typing as npt

from spectra.errors import ArgumentError
from spectra.recommend.optimizer import OptimizerKind, OptimizerSpec

__all__ = [
    "effective_noise_fraction",
    "limit_exponent",
    "local_exponent",
    "noise_share",
    "saturation_batch_size",
    "stable_limit",
]

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
        ``lam = v'Hv``, in the space of the preconditioner for Adam, AdamW and RMSprop.
    curvature_noise : array_like of shape (...)
        ``s2 = E ||(H_i - H) v||^2`` of the same ``v`` in the same space, per sample.
    batch_size : float
        Effective batch: micro-batch x accumulation x workers.
    optimizer : OptimizerSpec
        Kind, momentum, dampening and decoupled weight decay; coupled decay belongs into ``curvature``.
    num_samples : float, optional
        Size of the data when batches are drawn without replacement.

    Returns
    -------
    ndarray of shape (...)
        Learning rates; ``inf`` where ``curvature <= 0`` (that direction sets no limit of this kind).

    Raises
    ------
    ArgumentError
        If noise is negative, a batch size is outside the data, or the kind of optimizer has no limit.

    Examples
    --------
    >>> float(stable_limit(2.0, 0.0, batch_size=8, optimizer=OptimizerSpec(kind="sgd")))
    1.0
    >>> float(stable_limit(2.0, 64.0, batch_size=8, optimizer=OptimizerSpec(kind="sgd")))
    0.3333333333333333
    """
    lam = np.asarray(curvature, dtype=np.float64)
    variance = _noise(curvature_noise) * effective_noise_fraction(batch_size, num_samples)
    positive = lam > 0
    limit = np.where(positive, _positive_root(*_quadratic(np.where(positive, lam, 1.0), variance, optimizer)), np.inf)
    return np.where(np.isnan(lam), np.nan, limit)


def saturation_batch_size(
    curvature: FloatLike, curvature_noise: FloatLike, *, optimizer: OptimizerSpec
) -> npt.NDArray[np.float64]:
    """Return ``b*``: the batch size at which the limit is half its saturated value.

    ``k s2 / lam^2`` for SGD, heavy ball, Adam and RMSprop; ``(1+beta)^2 / (1 + 2 beta - beta^2) s2 / lam^2`` for
    Nesterov, whose saturated value is lower and therefore reached sooner. Below ``b*`` the limit grows in proportion
    to the batch (noise-limited), above it the curvature limits alone. NaN
    where ``curvature <= 0``.

    Raises
    ------
    ArgumentError
        If noise is negative or the kind of optimizer has no limit.

    Examples
    --------
    >>> float(saturation_batch_size(2.0, 64.0, optimizer=OptimizerSpec(kind="momentum")))
    304.0
    """
    lam, noise = np.asarray(curvature, dtype=np.float64), _noise(curvature_noise)
    positive = lam > 0
    lam = np.where(positive, lam, 1.0)
    # The noise per unit of s2/b that makes half the deterministic limit just stable; the coefficients are affine in it.
    square, linear, constant = _quadratic(lam, np.zeros_like(lam), optimizer)
    rate = _positive_root(square, linear, constant) / 2
    noisy_square, noisy_linear, _ = _quadratic(lam, lam**2, optimizer)
    spare = constant - square * rate**2 - linear * rate
    per_unit = (noisy_square - square) * rate**2 + (noisy_linear - linear) * rate
    return np.where(positive, noise / lam**2 * per_unit / spare, np.nan)


def noise_share(
    curvature: FloatLike,
    curvature_noise: FloatLike,
    *,
    batch_size: float,
    optimizer: OptimizerSpec,
    num_samples: float | None = None,
) -> npt.NDArray[np.float64]:
    """Return the share of the deterministic limit that the noise of batches takes away, in [0, 1).

    One half at the saturation batch size; where it is above one half the limit is noise-limited. Arguments as for
    :func:`stable_limit`; NaN where ``curvature <= 0``.

    Examples
    --------
    >>> float(noise_share(2.0, 64.0, batch_size=304, optimizer=OptimizerSpec(kind="momentum")))
    0.5
    """
    setting = {"batch_size": batch_size, "optimizer": optimizer, "num_samples": num_samples}
    limit = stable_limit(curvature, curvature_noise, **setting)  # type: ignore[arg-type]
    quiet = stable_limit(curvature, 0.0, **setting)  # type: ignore[arg-type]
    with np.errstate(invalid="ignore"):
        return 1 - limit / quiet


def limit_exponent(batch_size: FloatLike, saturation: FloatLike) -> FloatLike:
    """Return ``d log lr_max / d log b = b*/(b + b*)``: 1 when noise-limited, 0 when saturated.

    For every kind but Nesterov and AdamW with decay, whose exponent is not a function of ``b/b*`` alone or another
    one: :func:`local_exponent` holds for all.

    Examples
    --------
    >>> float(limit_exponent(304, 304))
    0.5
    """
    return np.asarray(saturation) / (np.asarray(batch_size) + np.asarray(saturation))


def local_exponent(
    curvature: FloatLike,
    curvature_noise: FloatLike,
    *,
    batch_size: float,
    optimizer: OptimizerSpec,
    num_samples: float | None = None,
) -> npt.NDArray[np.float64]:
    """Return ``d log lr_max / d log b`` of any supported kind, by the implicit derivative of its closed form.

    Arguments as for :func:`stable_limit`; NaN where ``curvature <= 0``.

    Examples
    --------
    >>> float(local_exponent(2.0, 64.0, batch_size=304, optimizer=OptimizerSpec(kind="momentum")))
    0.5
    """
    lam, noise = np.asarray(curvature, dtype=np.float64), _noise(curvature_noise)
    positive = lam > 0
    lam = np.where(positive, lam, 1.0)
    square, linear, constant = _quadratic(lam, noise * effective_noise_fraction(batch_size, num_samples), optimizer)
    root = _positive_root(square, linear, constant)
    # The coefficients are affine in s2/b, and d(1/b - 1/N) / d log b = -1/b.
    square_change, linear_change = (
        with_noise - without
        for with_noise, without in zip(
            _quadratic(lam, noise / batch_size, optimizer)[:2], _quadratic(lam, 0 * noise, optimizer)[:2], strict=True
        )
    )
    return np.where(positive, (square_change * root + linear_change) / (2 * square * root + linear), np.nan)


def _quadratic(
    lam: npt.NDArray, variance: npt.NDArray, optimizer: OptimizerSpec
) -> tuple[npt.NDArray, npt.NDArray, npt.NDArray]:
    """Return ``a, c, d`` of ``a lr^2 + c lr = d``, whose smallest positive root is the limit for the noise ``s2/b``.

    With decoupled decay ``D`` the mode ``w'' = (1+beta - lr D - lr (1-beta) lam) w' - beta (1 - lr D) w`` is stable
    when ``lr (1-beta) q (1+beta - beta lr D) < (1-beta + beta lr D) (lam + D) (2 (1+beta) - lr S)`` with
    ``S = (1+beta) D + (1-beta) lam`` and ``q = s2/b``; for Nesterov with ``x = lr lam`` when
    ``nu x (1+beta + beta (1+2 beta) x) < (1-beta + beta x) (2 (1+beta) - (1+2 beta) x)``.
    """
    if optimizer.why_unsupported is not None:
        raise ArgumentError(
            f"a stable limit of {optimizer.kind} is not available: {optimizer.why_unsupported}. Ask for one of "
            f"{', '.join(get_args(OptimizerKind))}, or withhold the rule."
        )
    beta, decay = optimizer.beta, optimizer.decoupled_weight_decay
    if optimizer.kind == "nesterov":
        noise = variance / lam**2
        square = beta * (1 + 2 * beta) * (1 + noise) * lam**2
        linear = ((1 + beta) * noise + 1 - beta - 4 * beta**2) * lam
        return square, linear, np.full_like(linear, 2 * (1 - beta**2))
    if decay:
        total, slope = lam + decay, (1 + beta) * decay + (1 - beta) * lam
        return (
            beta * decay * (slope * total - (1 - beta) * variance),
            (1 - beta**2) * variance - total * (2 * beta * (1 + beta) * decay - (1 - beta) * slope),
            2 * (1 - beta**2) * total,
        )
    numerator = 2.0 * (optimizer.gain if optimizer.kind in ("adam", "adamw") else 1.0 + beta)
    linear = lam + optimizer.gain * variance / lam
    return np.zeros_like(linear), linear, np.full_like(linear, numerator / (1 - optimizer.dampening))


def _positive_root(square: npt.NDArray, linear: npt.NDArray, constant: npt.NDArray) -> npt.NDArray:
    """Return the smallest positive root of ``square x^2 + linear x = constant``, without cancellation."""
    root = np.sqrt(linear**2 + 4 * square * constant)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(linear > 0, 2 * constant / (linear + root), (root - linear) / (2 * square))


def _noise(curvature_noise: FloatLike) -> npt.NDArray[np.float64]:
    noise = np.asarray(curvature_noise, dtype=np.float64)
    if np.any(noise < 0):
        raise ArgumentError(f"curvature_noise is a mean square and must not be negative; got {noise.min()}")
    return noise
