r"""Kernels of finite rank: the test error of a fit without ridge, and how near it is to the interpolation peak."""

import math
from dataclasses import dataclass

from spectra.arrays import finite_number
from spectra.errors import ArgumentError
from spectra.start_vectors import as_count

__all__ = ["FiniteRankRisk", "finite_rank_risk"]

#: The bound 2 M / n of the variance follows from its exact value exactly from n = 2 M + 2 on (algebra, below).
BOUND_FROM = 2
#: The inverse of a Wishart matrix with n - M degrees of freedom has a variance only if they exceed 3.
HAS_SPREAD = 3


@dataclass(frozen=True, kw_only=True)
class FiniteRankRisk:
    r"""Test error of a kernel of finite rank, fitted without ridge to Gaussian features.

    Attributes
    ----------
    test_error : float
        Mean squared error on new noisy labels, averaged over training sets and their labels. Infinite for
        :math:`n \le M + 1`. In the square of the unit of the labels, as all that follows.
    spread : float
        Standard deviation of the error of one fit around it, over training sets and labels; infinite for
        :math:`n \le M + 3`.
    eigenlearning : float
        What the population theory says, :math:`\sigma^2_{\rm eff}\, n/(n - M)`: too low near interpolation.
    variance : float
        Share of label noise in ``test_error``, :math:`\sigma^2 M/(n - M - 1)`.
    variance_bound : float or None
        :math:`2 \sigma^2 M / n`; None where it is withheld, for the reason in ``why``.
    effective_noise : float
        :math:`\sigma^2_{\rm eff}`: label noise, and the part of the target that the kernel cannot express.
    rank, num_samples : int
        M and n.
    is_near_interpolation : bool
        Whether :math:`n < 2M + 2`, so that errors of single fits differ widely from their mean.
    is_trustworthy : bool
        False where a single fit says nothing about the mean, because ``spread`` is infinite.
    why : str
        What is withheld or not trustworthy, and the reason; empty if nothing is.
    """

    test_error: float
    spread: float
    eigenlearning: float
    variance: float
    variance_bound: float | None
    effective_noise: float
    rank: int
    num_samples: int
    is_near_interpolation: bool
    is_trustworthy: bool
    why: str

    @property
    def excess(self) -> float:
        """What a fit loses against the best function that the kernel can express."""
        return self.test_error - self.effective_noise if self.effective_noise > 0 else 0.0


def finite_rank_risk(rank: int, *, num_samples: int, noise: float, tail_signal: float = 0.0) -> FiniteRankRisk:
    r"""Return the test error without ridge of a kernel with M features, from more than M samples.

    .. math:: \sigma^2_{\rm eff} \left( 1 + \frac{M}{n - M - 1} \right), \qquad
        \sigma^2_{\rm eff} = \sigma^2 + \| f_{>M} \|^2

    Exact for independent Gaussian features. The eigenvalues do not enter: without ridge their units are those of the
    coefficients.

    Parameters
    ----------
    rank : int
        M, the number of positive eigenvalues of the integral operator.
    num_samples : int
        n, at least M.
    noise : float
        Variance of the label noise, at least 0.
    tail_signal : float
        Squared norm of the part of the target outside the span of the features, in the unit of ``noise``. It acts as
        noise where it is independent of the features, as for Gaussian ones.

    Returns
    -------
    FiniteRankRisk
        With a bound of the variance only for :math:`n \ge 2M + 2`.

    Raises
    ------
    ArgumentError
        If n is below M, where the answer depends on eigenvalues and target: use
        :func:`spectra.kernels.eigenlearning`. For numbers that are negative or not finite.

    Notes
    -----
    The error of least squares is :math:`\sigma^2_{\rm eff}(1 + \operatorname{tr} W^{-1})` on average over labels, W a
    Wishart matrix of n samples; its mean and variance, with :math:`E \operatorname{tr} W^{-2}` for the labels, give
    ``test_error`` and ``spread`` (derived here; moments: von Rosen, 1988). The bound of the variance is that of Cheng,
    Lucchi, Kratsios, Dokmanić and Belius (2023), arXiv 2310.00987, without its residue terms and probability. It
    exceeds the mean :math:`\sigma^2 M/(n-M-1)` exactly if :math:`n \ge 2M + 2`; at M = 10, n = 15 simulations were
    measured at twice the bound.

    Examples
    --------
    >>> found = finite_rank_risk(10, num_samples=40, noise=0.5, tail_signal=0.2)
    >>> round(found.test_error, 3), round(found.eigenlearning, 3)
    (0.941, 0.933)
    >>> finite_rank_risk(10, num_samples=21, noise=0.5).variance_bound is None
    True
    """
    m = as_count(rank, name="rank")
    n = as_count(num_samples, name="num_samples")
    sigma2, tail = finite_number(noise, name="noise"), finite_number(tail_signal, name="tail_signal")
    if sigma2 < 0 or tail < 0:
        raise ArgumentError(f"noise and tail_signal are variances, at least 0; got {noise!r} and {tail_signal!r}")
    if n < m:
        raise ArgumentError(
            f"num_samples must be at least the rank {m}; got {n}. With fewer samples the error depends on eigenvalues "
            "and target: use eigenlearning"
        )
    total, free = sigma2 + tail, n - m
    near = n < BOUND_FROM * m + 2
    return FiniteRankRisk(
        test_error=total + _times(total, _trace_mean(m, free)),
        spread=_times(total, math.sqrt(_trace_variance(m, free) + 2 * _square_mean(m, free))),
        eigenlearning=_times(total, n / free if free else math.inf),
        variance=_times(sigma2, _trace_mean(m, free)),
        variance_bound=None if near else 2 * sigma2 * m / n,
        effective_noise=total,
        rank=m,
        num_samples=n,
        is_near_interpolation=near,
        is_trustworthy=free > HAS_SPREAD,
        why=_why(m, n),
    )


def _times(scale: float, factor: float) -> float:
    """Return a product in which 0 times infinity is 0: without noise there is nothing to amplify."""
    return scale * factor if scale > 0 else 0.0


def _trace_mean(rank: int, free: int) -> float:
    """Return the mean of the trace of an inverse Wishart matrix."""
    return rank / (free - 1) if free > 1 else math.inf


def _trace_variance(rank: int, free: int) -> float:
    """Return the variance of that trace."""
    if free <= HAS_SPREAD:
        return math.inf
    return 2 * rank * (1 + (rank - 1) / free) / ((free - 1) ** 2 * (free - 3))


def _square_mean(rank: int, free: int) -> float:
    """Return the mean of the trace of the square of an inverse Wishart matrix."""
    if free <= HAS_SPREAD:
        return math.inf
    return rank * (free + rank - 1) / (free * (free - 1) * (free - 3))


def _why(rank: int, n: int) -> str:
    """Say what is withheld and what is not to be trusted."""
    free = n - rank
    if free <= 1:
        return (
            f"{n} samples for rank {rank} are at the interpolation peak: the mean error is infinite, and no bound of "
            f"the variance is given below {2 * rank + 2} samples"
        )
    if free <= HAS_SPREAD:
        return (
            f"{n} samples for rank {rank}: the error has a mean but no variance, so that a single fit says nothing "
            f"about it, and no bound of the variance is given below {2 * rank + 2} samples"
        )
    if n < BOUND_FROM * rank + 2:
        return (
            f"the bound 2 M / n of the variance is withheld: it is below the mean for n < 2 M + 2 = {2 * rank + 2}, "
            f"and n is {n}"
        )
    return ""
