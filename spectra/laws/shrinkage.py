r"""Singular values of a signal of low rank in white noise: how to shrink those that were observed, and where to cut."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from spectra.errors import ArgumentError, ShapeError
from spectra.frozen import Vector, frozen_array
from spectra.laws.marchenko_pastur import MarchenkoPastur
from spectra.laws.points import as_positive, as_sides
from spectra.laws.spiked import SpikedRectangular

__all__ = ["ShrunkSingularValues", "hard_threshold", "noise_from_median", "shrink_singular_values"]

Loss = Literal["frobenius", "operator", "nuclear"]
_LOSSES = ("frobenius", "operator", "nuclear")


@dataclass(frozen=True, kw_only=True, eq=False)
class ShrunkSingularValues:
    """Singular values of an estimate of the signal.

    Attributes
    ----------
    values : ndarray, shape (k,)
        In the order of those given; 0 where the noise hides the signal.
    rank : int
        How many are not 0.
    noise : float
        Standard deviation of an entry of the noise that was used.
    noise_is_estimated : bool
        Whether it comes from the median singular value.
    loss : str
        For which the shrinkage is optimal.
    """

    values: Vector
    rank: int
    noise: float
    noise_is_estimated: bool
    loss: Loss

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", frozen_array(self.values, name="values"))


def shrink_singular_values(
    singular_values: npt.ArrayLike,
    shape: tuple[int, int],
    *,
    noise: float | None = None,
    loss: Loss = "frobenius",
) -> ShrunkSingularValues:
    r"""Shrink the singular values of signal plus white noise to those of the best estimate of the signal.

    With :math:`s = s_{obs}/(\sqrt n \sigma)`, n the larger dimension, :math:`\beta` the ratio of dimensions and x the
    singular value of the signal behind s, see `SpikedRectangular`: ``"operator"`` gives x, ``"frobenius"``
    :math:`\sqrt{(s^2-\beta-1)^2-4\beta}/s`, ``"nuclear"``
    :math:`\max(0, (x^4-\beta-\sqrt\beta x s)/(x^2 s))`; all give 0 for :math:`s \le 1 + \sqrt\beta`.

    Parameters
    ----------
    singular_values : array_like, shape (k,)
        Of the observed matrix, not negative, in any order. All min(shape) of them where ``noise`` is None.
    shape : tuple of two ints
        Of the matrix.
    noise : float, optional
        Standard deviation of an entry of the noise; by default from the median, see `noise_from_median`.
    loss : {"frobenius", "operator", "nuclear"}
        Norm of the error of the estimate, asymptotically smallest.

    Returns
    -------
    ShrunkSingularValues

    Raises
    ------
    ArgumentError, NonFiniteError, ShapeError
        If an argument cannot be used, or the median singular value, which is to tell the noise, is 0.

    Notes
    -----
    Source: Gavish and Donoho (2017).

    Examples
    --------
    >>> shrink_singular_values([30.0, 5.0], (50, 100), noise=1.0, loss="operator").values.round(3)
    array([27.263,  0.   ])
    """
    values, sides = _checked(singular_values, shape)
    if loss not in _LOSSES:
        raise ArgumentError(f"loss must be one of {', '.join(_LOSSES)}; got {loss!r}")
    sigma = noise_from_median(values, shape) if noise is None else as_positive(noise, name="noise")
    ratio = sides[0] / sides[1]
    unit = np.sqrt(sides[1]) * sigma
    scaled = values / unit
    x = SpikedRectangular(aspect_ratio=ratio).spike(scaled)
    visible = np.isfinite(x)
    s, x = np.where(visible, scaled, 1.0), np.where(visible, x, 1.0)
    if loss == "operator":
        shrunk = x
    elif loss == "frobenius":
        shrunk = _frobenius(x, s, ratio)
    else:
        shrunk = _frobenius(x, s, ratio) - np.sqrt(ratio) / x
    found = np.where(visible, unit * np.maximum(shrunk, 0.0), 0.0)
    return ShrunkSingularValues(
        values=found,
        rank=int(np.count_nonzero(found)),
        noise=sigma,
        noise_is_estimated=noise is None,
        loss=loss,
    )


def _frobenius(x: Vector, s: Vector, ratio: float) -> Vector:
    """Return (x^4 - beta) / (x^2 s), the formula for this norm without its cancellation near the edge."""
    return np.asarray(x * (x / s) * (1.0 - ratio * (1.0 / x) ** 4))


def hard_threshold(
    shape: tuple[int, int], *, noise: float | None = None, singular_values: npt.ArrayLike | None = None
) -> float:
    r"""Return the singular value from which keeping a component unchanged lowers the error, for unknown rank.

    :math:`\lambda(\beta) \sqrt n \sigma` with
    :math:`\lambda^2 = 2(\beta+1) + 8\beta/(\beta+1+\sqrt{\beta^2+14\beta+1})`.

    Parameters
    ----------
    shape : tuple of two ints
        Of the matrix.
    noise : float, optional
        Standard deviation of an entry of the noise.
    singular_values : array_like, shape (min(shape),), optional
        Of the observed matrix, whose median tells the noise. Exactly one of the two is required.

    Returns
    -------
    float

    Raises
    ------
    ArgumentError, NonFiniteError, ShapeError
        If an argument cannot be used.

    Notes
    -----
    Source: Gavish and Donoho (2014). Shrinking has the smaller error.

    Examples
    --------
    >>> round(hard_threshold((100, 100), noise=1.0) / 10, 6)  # 4 / sqrt(3)
    2.309401
    """
    small, large = as_sides(shape)
    if (noise is None) == (singular_values is None):
        raise ArgumentError("exactly one of noise and singular_values is required")
    sigma = as_positive(noise, name="noise") if singular_values is None else noise_from_median(singular_values, shape)
    ratio = small / large
    square = 2.0 * (ratio + 1.0) + 8.0 * ratio / (ratio + 1.0 + np.sqrt(ratio**2 + 14.0 * ratio + 1.0))
    return float(np.sqrt(square * large) * sigma)


def noise_from_median(singular_values: npt.ArrayLike, shape: tuple[int, int]) -> float:
    r"""Return the standard deviation of the noise from the median singular value, :math:`s_{med}/\sqrt{n \mu}`.

    :math:`\mu` is the median of the Marchenko-Pastur law. A signal of rank r biases it upward, by little for r much
    below the smaller dimension.

    Parameters
    ----------
    singular_values : array_like, shape (min(shape),)
        All of them.
    shape : tuple of two ints
        Of the matrix.

    Raises
    ------
    ArgumentError, NonFiniteError, ShapeError
        If an argument cannot be used, or the median is 0.

    Notes
    -----
    Source: Gavish and Donoho (2014), section III.

    Examples
    --------
    >>> noise = np.random.default_rng(0).standard_normal((200, 400))
    >>> round(noise_from_median(np.linalg.svd(noise, compute_uv=False), noise.shape), 1)
    1.0
    """
    values, (small, large) = _checked(singular_values, shape)
    if len(values) != small:
        raise ShapeError(
            f"all {small} singular values are required to tell the noise from their median, got {len(values)}; "
            "pass noise if it is known"
        )
    median = float(np.median(values))
    if not median > 0.0:
        raise ArgumentError("the median singular value is 0, so that it tells no noise; pass noise")
    law = MarchenkoPastur(aspect_ratio=small / large)
    return median / float(np.sqrt(large * law.quantile(0.5)))


def _checked(singular_values: npt.ArrayLike, shape: tuple[int, int]) -> tuple[Vector, tuple[int, int]]:
    """Return valid singular values, and the dimensions, the smaller first."""
    values, sides = frozen_array(singular_values, name="singular_values"), as_sides(shape)
    if values.ndim != 1 or len(values) > sides[0]:
        raise ShapeError(f"at most min(shape) = {sides[0]} singular values in one dimension, got shape {values.shape}")
    if np.any(values < 0.0):
        raise ArgumentError(f"singular values must not be negative, got {np.min(values)}")
    return values, sides
