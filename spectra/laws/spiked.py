"""Where a signal of low rank puts eigenvalues outside a bulk of noise, and what an outlier says about the signal.

Three models, each with the same questions: ``outlier`` (population to sample), ``spike`` (sample to population, which
removes the bias), ``overlap`` (squared cosine of the sample vector to the true one) and ``threshold``. What is not
visible has no outlier and no spike: the answers are NaN there and the overlap is 0. For a bulk that is not white see
:class:`spectra.laws.spiked_population.SpikedPopulation`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from spectra.errors import ArgumentError
from spectra.frozen import Vector
from spectra.laws.points import as_positive, as_reals, like_given

__all__ = ["SpikedCovariance", "SpikedRectangular", "SpikedWigner"]


@dataclass(frozen=True, kw_only=True)
class SpikedCovariance:
    r"""Sample covariance ``X X' / n`` whose population has a few eigenvalues above a white rest.

    A spike :math:`\ell` above the threshold :math:`\sigma^2 (1 + \sqrt y)` is seen at
    :math:`\ell (1 + y \sigma^2 / (\ell - \sigma^2))`, y the aspect ratio p/n.

    Parameters
    ----------
    aspect_ratio : float
        Variables over samples, positive.
    variance : float
        Eigenvalue of the white rest.

    Raises
    ------
    ArgumentError
        If a parameter is not positive or not finite.

    Notes
    -----
    Spikes below the white rest are not covered. Source: Baik, Ben Arous and Peche (2005); Baik and Silverstein (2006);
    Paul (2007) for the overlap.

    Examples
    --------
    >>> model = SpikedCovariance(aspect_ratio=0.5)
    >>> model.outlier(6.0)
    6.6
    >>> round(model.spike(6.6), 12), round(model.overlap(6.0), 3)
    (6.0, 0.891)
    """

    aspect_ratio: float
    variance: float = 1.0

    def __post_init__(self) -> None:
        """Check the parameters."""
        _check_positive(self, "aspect_ratio", "variance")

    @property
    def threshold(self) -> float:
        """Smallest spike that is visible."""
        return self.variance * (1.0 + float(np.sqrt(self.aspect_ratio)))

    @property
    def edge(self) -> float:
        """Upper edge of the bulk, above which outliers lie."""
        return self.variance * (1.0 + float(np.sqrt(self.aspect_ratio))) ** 2

    def outlier(self, spike: npt.ArrayLike) -> Any:
        """Return the limit of the sample eigenvalue; NaN for spikes that are not visible."""
        spikes = as_reals(spike, name="spike") / self.variance
        visible = spikes > 1.0 + np.sqrt(self.aspect_ratio)
        safe = np.where(visible, spikes, 2.0)
        return like_given(
            np.where(visible, self.variance * safe * (1.0 + self.aspect_ratio / (safe - 1.0)), np.nan), spike
        )

    def spike(self, outlier: npt.ArrayLike) -> Any:
        """Return the population eigenvalue behind a sample eigenvalue; NaN up to the edge of the bulk."""
        y = self.aspect_ratio
        values = as_reals(outlier, name="outlier")
        visible = values > self.edge
        scaled = np.where(visible, values / self.variance, (1.0 + np.sqrt(y)) ** 2)
        # (scaled - low)(scaled - high), low and high the edges, keeps its digits where the edge is near.
        root = np.sqrt((scaled - (1.0 + np.sqrt(y)) ** 2).clip(0.0)) * np.sqrt(scaled - (1.0 - np.sqrt(y)) ** 2)
        return like_given(np.where(visible, 0.5 * self.variance * (scaled + 1.0 - y + root), np.nan), outlier)

    def overlap(self, spike: npt.ArrayLike) -> Any:
        """Return the squared cosine of the sample eigenvector to that of the population; 0 if not visible."""
        y = self.aspect_ratio
        spikes = as_reals(spike, name="spike") / self.variance
        visible = spikes > 1.0 + np.sqrt(y)
        excess = np.where(visible, spikes - 1.0, 1.0)
        return like_given(np.where(visible, (1.0 - y * (1.0 / excess) ** 2) / (1.0 + y / excess), 0.0), spike)


@dataclass(frozen=True, kw_only=True)
class SpikedWigner:
    r"""Symmetric noise of N rows and variance :math:`\sigma^2/N`, plus a matrix of low rank.

    An eigenvalue :math:`\theta` of the latter with :math:`|\theta| > \sigma` is seen at
    :math:`\theta + \sigma^2/\theta`, outside the semicircle :math:`[-2\sigma, 2\sigma]`, on the side of its sign.

    Parameters
    ----------
    variance : float
        N times the variance of the entries off the diagonal.

    Raises
    ------
    ArgumentError
        If the variance is not positive or not finite.

    Notes
    -----
    Source: Peche (2006); Capitaine, Donati-Martin and Feral (2009); Benaych-Georges and Nadakuditi (2011) for the
    overlap.

    Examples
    --------
    >>> model = SpikedWigner()
    >>> model.outlier(2.0), model.spike(-2.5), model.overlap(2.0)
    (2.5, -2.0, 0.75)
    """

    variance: float = 1.0

    def __post_init__(self) -> None:
        """Check the parameter."""
        _check_positive(self, "variance")

    @property
    def threshold(self) -> float:
        """Smallest modulus that is visible."""
        return float(np.sqrt(self.variance))

    @property
    def edge(self) -> float:
        """Upper edge of the semicircle."""
        return 2.0 * self.threshold

    def outlier(self, spike: npt.ArrayLike) -> Any:
        """Return the limit of the eigenvalue of the sum; NaN for spikes that are not visible."""
        spikes = as_reals(spike, name="spike") / self.threshold
        visible = np.abs(spikes) > 1.0
        safe = np.where(visible, spikes, 1.0)
        return like_given(np.where(visible, self.threshold * (safe + 1.0 / safe), np.nan), spike)

    def spike(self, outlier: npt.ArrayLike) -> Any:
        """Return the eigenvalue of the matrix of low rank; NaN within the semicircle."""
        values = as_reals(outlier, name="outlier") / self.threshold
        visible = np.abs(values) > 2.0
        size = np.where(visible, np.abs(values), 2.0)
        found = 0.5 * self.threshold * np.sign(values) * (size + np.sqrt(size - 2.0) * np.sqrt(size + 2.0))
        return like_given(np.where(visible, found, np.nan), outlier)

    def overlap(self, spike: npt.ArrayLike) -> Any:
        """Return the squared cosine of the eigenvector to that of the matrix of low rank; 0 if not visible."""
        spikes = as_reals(spike, name="spike") / self.threshold
        visible = np.abs(spikes) > 1.0
        return like_given(np.where(visible, 1.0 - (1.0 / np.where(visible, spikes, 1.0)) ** 2, 0.0), spike)


@dataclass(frozen=True, kw_only=True)
class SpikedRectangular:
    r"""Matrix of low rank, m x n with ``m <= n``, plus noise of variance :math:`\sigma^2/n`.

    A singular value x above :math:`\sigma\beta^{1/4}`, :math:`\beta = m/n`, is seen at
    :math:`\sqrt{(x + \sigma^2/x)(x + \beta\sigma^2/x)}`.

    Parameters
    ----------
    aspect_ratio : float
        :math:`\beta`, in (0, 1]. Transpose first if there are more rows than columns.
    variance : float
        n times the variance of the noise.

    Raises
    ------
    ArgumentError
        If a parameter is not positive or not finite, or the ratio is above 1.

    Notes
    -----
    Source: Benaych-Georges and Nadakuditi (2012).

    Examples
    --------
    >>> model = SpikedRectangular(aspect_ratio=0.5)
    >>> round(model.outlier(2.0), 3), round(model.spike(model.outlier(2.0)), 12)
    (2.372, 2.0)
    >>> round(model.left_overlap(2.0), 3), round(model.right_overlap(2.0), 3)
    (0.861, 0.775)
    """

    aspect_ratio: float
    variance: float = 1.0

    def __post_init__(self) -> None:
        """Check the parameters."""
        _check_positive(self, "aspect_ratio", "variance")
        if self.aspect_ratio > 1.0:
            raise ArgumentError(
                f"aspect_ratio must be m / n of at most 1, got {self.aspect_ratio!r}; transpose the matrix"
            )

    @property
    def threshold(self) -> float:
        """Smallest singular value that is visible."""
        return float(np.sqrt(self.variance) * self.aspect_ratio**0.25)

    @property
    def edge(self) -> float:
        """Upper edge of the singular values of the noise."""
        return float(np.sqrt(self.variance) * (1.0 + np.sqrt(self.aspect_ratio)))

    def outlier(self, spike: npt.ArrayLike) -> Any:
        """Return the limit of the singular value of the sum; NaN for those that are not visible."""
        x, visible = self._visible(spike)
        found = np.sqrt(x + 1.0 / x) * np.sqrt(x + self.aspect_ratio / x)
        return like_given(np.where(visible, np.sqrt(self.variance) * found, np.nan), spike)

    def spike(self, outlier: npt.ArrayLike) -> Any:
        """Return the singular value of the matrix of low rank; NaN up to the edge of the noise."""
        root = np.sqrt(self.aspect_ratio)
        values = as_reals(outlier, name="outlier")
        visible = values > self.edge
        s = np.where(visible, values / np.sqrt(self.variance), 1.0 + root)
        # In units of s, whose fourth power may overflow; factors keep their digits where the edge is near.
        split = np.sqrt((1.0 - (1.0 - root) / s) * (1.0 + (1.0 - root) / s))
        split = split * np.sqrt((1.0 - (1.0 + root) / s).clip(0.0) * (1.0 + (1.0 + root) / s))
        found = np.sqrt(0.5 * self.variance * (1.0 - (self.aspect_ratio + 1.0) * (1.0 / s) ** 2 + split)) * s
        return like_given(np.where(visible, found, np.nan), outlier)

    def left_overlap(self, spike: npt.ArrayLike) -> Any:
        """Return the squared cosine of the singular vectors of length m; 0 if not visible."""
        x, visible = self._visible(spike)
        beta, square = self.aspect_ratio, (1.0 / x) ** 2
        return like_given(np.where(visible, 1.0 - beta * square * (1.0 + square) / (1.0 + beta * square), 0.0), spike)

    def right_overlap(self, spike: npt.ArrayLike) -> Any:
        """Return the squared cosine of the singular vectors of length n; 0 if not visible."""
        x, visible = self._visible(spike)
        beta, square = self.aspect_ratio, (1.0 / x) ** 2
        return like_given(np.where(visible, 1.0 - square * (1.0 + beta * square) / (1.0 + square), 0.0), spike)

    def _visible(self, spike: npt.ArrayLike) -> tuple[Vector, Any]:
        """Return spikes in units of the noise, 1 where they are not visible, and where they are."""
        spikes = as_reals(spike, name="spike") / np.sqrt(self.variance)
        visible = spikes > self.aspect_ratio**0.25
        return np.where(visible, spikes, 1.0), visible


def _check_positive(model: Any, *names: str) -> None:
    """Store parameters as floats, or raise unless they are positive."""
    for name in names:
        object.__setattr__(model, name, as_positive(getattr(model, name), name=name))
