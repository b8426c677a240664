r"""Unbiased noise statistics from the Gram matrices of disjoint micro-batch gradients and products.

Everything here is a pure function of small ``(K, K)`` matrices, so that a saved run can be re-evaluated without the
model. With gradients ``g_j`` of ``K`` disjoint micro-batches of ``m`` samples, ``M_ij = g_i'g_j`` and
``C_ij = g_i' H g_j`` (McCandlish et al. 2018, arXiv 1812.06162, for the quantities; the estimators are the
U-statistics of the pairs):

* ``||G||^2``      = mean of ``M_ij`` over ``i != j``, plus ``tr Sigma / N``
* ``tr Sigma``     = ``m (mean_j M_jj - mean_{i != j} M_ij)``
* ``G'HG``         = mean of ``C_ij`` over ``i != j``, plus ``tr(H Sigma) / N``
* ``tr(H Sigma)``  = ``m (mean_j C_jj - mean_{i != j} C_ij)``
* ``s2(v)``        = ``m (mean_j Y_jj - mean_{i != j} Y_ij)`` with ``Y_ij = (H_i v)'(H_j v)``

``G`` is the gradient of the loss on the N samples of the data, from which micro-batches are drawn without replacement:
disjoint ones are anticorrelated by ``-Sigma / N``. (For a stream, ``N = inf``.) ``Sigma`` is the per-sample covariance,
with ``N - 1`` in its denominator. The same function serves all five; ratios are formed from the means, never
averaged, and their intervals come from the jackknife over micro-batches.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import t as student_t

from spectra.errors import ArgumentError, ShapeError

__all__ = [
    "GradientStatistics",
    "PairStatistic",
    "gradient_statistics",
    "jackknife_stderr",
    "pair_statistic",
    "scatter",
]

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class PairStatistic:
    """A statistic with its leave-one-micro-batch-out values.

    Attributes
    ----------
    value : float
        Estimate from all ``K`` micro-batches; may be negative where the estimand is small.
    leave_one_out : ndarray of shape (K,)
        The same estimate without micro-batch ``j``.
    stderr : float
        Jackknife standard error.
    """

    value: float
    leave_one_out: FloatArray
    stderr: float

    @property
    def relative_error(self) -> float:
        """``stderr / |value|``; ``inf`` at zero unless the error is zero too."""
        if self.value == 0:
            return 0.0 if self.stderr == 0 else float("inf")
        return self.stderr / abs(self.value)

    @property
    def is_resolved(self) -> bool:
        """Whether the value is positive by more than two standard errors."""
        return bool(np.isfinite(self.value)) and self.value > 2 * self.stderr

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Return ``value -+ t stderr`` with Student's t at ``K - 1`` degrees of freedom."""
        half = student_t.ppf(0.5 + level / 2, len(self.leave_one_out) - 1) * self.stderr
        return self.value - half, self.value + half


@dataclass(frozen=True, kw_only=True)
class GradientStatistics:
    """``||G||^2``, ``tr Sigma``, ``G'HG`` and ``tr(H Sigma)``, each with its jackknife error."""

    squared_gradient: PairStatistic
    trace_covariance: PairStatistic
    gradient_curvature: PairStatistic
    noise_curvature: PairStatistic

    @property
    def simple_noise_scale(self) -> PairStatistic:
        """``B_simple = tr Sigma / ||G||^2`` in samples."""
        return ratio(self.trace_covariance, self.squared_gradient)

    @property
    def curvature_noise_scale(self) -> PairStatistic:
        """``B_noise = tr(H Sigma) / G'HG`` in samples."""
        return ratio(self.noise_curvature, self.gradient_curvature)

    def directional_step(self, noise_fraction: float) -> PairStatistic:
        """Return ``eta = ||G||^2 / (G'HG + tr(H Sigma) f)``, the step that lowers the expected loss most.

        ``f`` is the variance factor of a batch (``1/b``, see :func:`spectra.recommend.effective_noise_fraction`).
        """
        denominator = PairStatistic(
            value=self.gradient_curvature.value + noise_fraction * self.noise_curvature.value,
            leave_one_out=self.gradient_curvature.leave_one_out + noise_fraction * self.noise_curvature.leave_one_out,
            stderr=0.0,
        )
        return ratio(self.squared_gradient, denominator)


def jackknife_stderr(leave_one_out: FloatArray) -> float:
    """Return the jackknife standard error ``sqrt((K-1)/K sum_j (x_j - mean)^2)``.

    Examples
    --------
    >>> sample = np.array([1.0, 2.0, 4.0])
    >>> leave_one_out = (sample.sum() - sample) / 2
    >>> bool(np.isclose(jackknife_stderr(leave_one_out), sample.std(ddof=1) / np.sqrt(3)))
    True
    """
    count = len(leave_one_out)
    if count < 2 or not np.all(np.isfinite(leave_one_out)):
        return float("inf")
    return float(np.sqrt((count - 1) * np.var(leave_one_out)))


def ratio(numerator: PairStatistic, denominator: PairStatistic) -> PairStatistic:
    """Return the ratio of two statistics, jackknifed as a ratio; NaN when the denominator is zero."""
    with np.errstate(divide="ignore", invalid="ignore"):
        value = float(np.divide(numerator.value, denominator.value))
        leave_one_out = numerator.leave_one_out / denominator.leave_one_out
    return PairStatistic(value=value, leave_one_out=leave_one_out, stderr=jackknife_stderr(leave_one_out))


def pair_statistic(gram: npt.ArrayLike) -> PairStatistic:
    """Return the mean of the off-diagonal entries: the unbiased estimate of a squared mean.

    Parameters
    ----------
    gram : array_like of shape (K, K)
        Inner products of ``K >= 3`` independent vectors.

    Examples
    --------
    >>> float(pair_statistic(np.ones((4, 4))).value)
    1.0
    """
    matrix, diagonal = _checked(gram)
    total, rows = matrix.sum(), matrix.sum(axis=1)
    count = len(diagonal)
    off_total = total - diagonal.sum()
    loo = (off_total - 2 * (rows - diagonal)) / ((count - 1) * (count - 2))
    return PairStatistic(value=off_total / (count * (count - 1)), leave_one_out=loo, stderr=jackknife_stderr(loo))


def scatter(gram: npt.ArrayLike, *, batch_size: float) -> PairStatistic:
    """Return ``m (mean_j M_jj - mean_{i != j} M_ij)``: the unbiased per-sample variance, summed over coordinates.

    Parameters
    ----------
    gram : array_like of shape (K, K)
        Inner products of the means of ``K >= 3`` disjoint micro-batches.
    batch_size : float
        Samples ``m`` in each micro-batch.
    """
    matrix, diagonal = _checked(gram)
    count = len(diagonal)
    loo_diagonal = (diagonal.sum() - diagonal) / (count - 1)
    pairs = pair_statistic(matrix)
    loo = batch_size * (loo_diagonal - pairs.leave_one_out)
    return PairStatistic(
        value=float(batch_size * (diagonal.mean() - pairs.value)),
        leave_one_out=loo,
        stderr=jackknife_stderr(loo),
    )


def gradient_statistics(
    gram: npt.ArrayLike, curvature_gram: npt.ArrayLike, *, batch_size: float, num_samples: float = np.inf
) -> GradientStatistics:
    """Return all four gradient statistics of a set of micro-batch gradients.

    Parameters
    ----------
    gram, curvature_gram : array_like of shape (K, K)
        ``g_i'g_j`` and ``g_i' H g_j``; the latter is symmetrized.
    batch_size : float
        Samples in each micro-batch.
    num_samples : float
        Samples N of the data from which micro-batches were drawn without replacement.
    """
    if not num_samples > 0:
        raise ArgumentError(f"num_samples must be positive; got {num_samples}")
    curvature = np.asarray(curvature_gram, dtype=np.float64)
    curvature = (curvature + curvature.T) / 2
    trace, weighted = scatter(gram, batch_size=batch_size), scatter(curvature, batch_size=batch_size)
    return GradientStatistics(
        squared_gradient=_plus(pair_statistic(gram), trace, 1 / num_samples),
        trace_covariance=trace,
        gradient_curvature=_plus(pair_statistic(curvature), weighted, 1 / num_samples),
        noise_curvature=weighted,
    )


def _plus(first: PairStatistic, second: PairStatistic, factor: float) -> PairStatistic:
    """Return ``first + factor * second``, jackknifed as one."""
    leave_one_out = first.leave_one_out + factor * second.leave_one_out
    return PairStatistic(
        value=first.value + factor * second.value, leave_one_out=leave_one_out, stderr=jackknife_stderr(leave_one_out)
    )


def _checked(gram: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    matrix = np.asarray(gram, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ShapeError(f"a Gram matrix must be square; got shape {matrix.shape}")
    if len(matrix) < 3:
        raise ArgumentError(f"the jackknife needs at least 3 micro-batches; got {len(matrix)}")
    return matrix, np.diagonal(matrix)
