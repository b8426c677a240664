r"""Benign, tempered or catastrophic: what becomes of label noise in a fit without ridge, as samples grow."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from spectra.errors import ArgumentError
from spectra.kernels.gram import GramSpectrum, gram_spectrum
from spectra.kernels.gram_input import checked_ridge
from spectra.kernels.kernel_risk import KernelRisk
from spectra.kernels.leave_one_out import leave_one_out
from spectra.kernels.local_exponent import LEAST, SIZES, ExponentTrend, SizeLevel, exponent_trend, exponents_by_size
from spectra.kernels.noise_amplification import NoiseAmplification, noise_amplification_of
from spectra.kernels.regime_rule import CERTAIN, Regime, regime_verdict
from spectra.kernels.source import as_source
from spectra.start_vectors import as_count, as_seed

__all__ = ["OverfittingRegime", "Regime", "overfitting_regime"]

#: An eigenvalue this far below the one before, relative to all, ends a kernel of finite rank; it must be this close to
#: the floor (10 eps sqrt(n) w_1). Design choice.
GAP, NUMERICAL = 1e5, 10.0

CAVEAT = (
    "Under Gaussian equivalence: local exponents are read from eigenvalues as if features were independent, which "
    "those of kernels are not; the amplification of noise beside them is not so limited. Benign overfitting is out of "
    "reach at practical sizes for eigenvalues that decay like a power: even 1/(i log(i)^2) amplifies noise 1.1 times "
    "at 100000 samples, and is called tempered. Exponential decay looks harmless until eigenvalues have fallen by "
    "about a factor of e over the sample. Kernels smoother than Matérn ones of order 5/2 may look exponential until "
    "their power law has begun. Rounding acts as a ridge: growth is seen only as far as eigenvalues exceed it."
)


@dataclass(frozen=True, kw_only=True, eq=False)
class OverfittingRegime:
    r"""What a fit without ridge does to label noise as samples grow.

    Attributes
    ----------
    verdict : {"benign", "tempered", "catastrophic", "undecided"}
        The noise in the labels adds nothing to the error, a constant multiple of itself, or ever more of it. Of the
        kernel without ridge, whatever ``ridge`` is.
    amplification : NoiseAmplification
        What all n samples with the ridge make of noise: by leaving one out, and under Gaussian equivalence.
    local_exponent : float
        :math:`1/(1 - \mathrm{df}_2/\mathrm{df}_1)` at half of the largest resolved size: the exponent of the power law
        that the decay looks like there. NaN if no size is resolved.
    slope, slope_stderr : float
        :math:`d \log(\text{local exponent}) / d \log n`, and its standard error over draws; NaN where fewer than three
        sizes are resolved.
    size : ndarray of int, shape (s,)
        Numbers of samples that were compared, descending.
    exponent : ndarray, shape (s,)
        Local exponents there, geometric means over draws; NaN where not resolved.
    is_resolved : ndarray of bool, shape (s,)
        Whether half of the effective dimension is reached well above rounding in all draws. The slope is that of the
        three largest sizes for which it is.
    num_samples : int
        n.
    risk : KernelRisk or None
        The leave-one-out error with the ridge, where targets were given.
    why : str
        The reason of the verdict, as a sentence.
    caveat : str
        Under which assumptions it holds, always.
    remarks : tuple of str
        What was done to the source.
    """

    verdict: Regime
    amplification: NoiseAmplification
    local_exponent: float
    slope: float
    slope_stderr: float
    size: np.ndarray
    exponent: np.ndarray
    is_resolved: np.ndarray
    num_samples: int
    risk: KernelRisk | None
    why: str
    caveat: str = CAVEAT
    remarks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, kind in (("size", np.int64), ("exponent", np.float64), ("is_resolved", np.bool_)):
            array = np.array(getattr(self, name), dtype=kind)
            array.flags.writeable = False
            object.__setattr__(self, name, array)

    @property
    def noise_amplification(self) -> float:
        """Test error on labels that are noise of variance 1, for all samples and the ridge, by leaving one out."""
        return self.amplification.mean


def overfitting_regime(
    source: Any,
    *,
    kernel: Callable[[Any, Any], Any] | None = None,
    ridge: float = 0.0,
    y: Any = None,
    num_draws: int = 4,
    rng: int | np.random.Generator = 0,
) -> OverfittingRegime:
    r"""Return whether overfitting is benign, tempered or catastrophic, from the growth of the local exponent of decay.

    .. math:: \hat\alpha = \frac{1}{1 - \mathrm{df}_2/\mathrm{df}_1} \quad\text{at } \mathrm{df}_1 = n/2

    is compared at n, n/2 and n/4 samples, drawn at random. Eigenvalues that decay like :math:`i^{-\alpha}` keep it at
    :math:`\alpha`, which is also the factor by which noise is amplified without ridge (tempered); for exponential decay
    both grow like n (catastrophic).

    Parameters
    ----------
    source : array of any library
        A Gram matrix of shape (n, n); with ``kernel``, data of shape (n, d).
    kernel : callable, optional
        ``kernel(X, Y)`` returns a block of the Gram matrix.
    ridge : float
        Unnormalized; for ``amplification`` and ``risk``, not for the verdict.
    y : array, shape (n,) or (n, C), optional
        Targets, for the leave-one-out error beside the verdict.
    num_draws : int
        Draws of n/2 and of n/4 samples, at least 2.
    rng : int or numpy.random.Generator
        Seed of the draws.

    Returns
    -------
    OverfittingRegime

    Raises
    ------
    ArgumentError
        If there are only eigenvalues, or too few draws; if targets are given for data that were subsampled.
    ShapeError, NonFiniteError, NotSymmetricError, BackendError
        See :func:`spectra.kernels.gram_input.as_gram`.

    Notes
    -----
    With four draws about two decompositions of order n. Where rounding is reached too soon, sizes n/8, n/16, ... down
    to 16 step in. The rule is :func:`spectra.kernels.regime_rule.regime_verdict`: *tempered* if the exponent is surely
    about constant, *catastrophic* if it surely grows, and more than power laws do on the way to their exponent,
    *benign* if it is below 1.1 and falls; otherwise *undecided*, as for fewer than 64 samples and for kernels of finite
    rank below n.

    Measured by ``scripts/validate_overfitting_regime.py``, with seeds that did not set the thresholds, and length
    scales of 0.3, 1 and 3 median distances:

    ============================================  ======  ========  ============  =========
    population                                    benign  tempered  catastrophic  undecided
    ============================================  ======  ========  ============  =========
    Gaussian features, n = 100 to 1000:                –         –             –          –
    powers 1.1 to 4                                    0       312             0          0
    exponential, n from 1 to 60 decay lengths          0         0           383         33
    exponential, n = half a decay length               0         0             0         52
    exponential, n = a quarter of one                  0         2             0         50
    1/(i log(i + 1)^2)                                 0        52             0          0
    5 eigenvalues over a plateau                      52         0             0          0
    20 eigenvalues over a plateau                     12        40             0          0
    kernels on points, n = 200 to 1000:                –         –             –          –
    Laplace                                            0       240             0         19
    neural tangent, arc-cosine                         0        96             0         28
    Matérn 3/2                                         0       168             0         91
    Matérn 5/2                                         0       117             0        142
    Matérn 9/2, in no choice of thresholds             0        49             3        207
    RBF                                                0        13            79        167
    polynomial, of rank below n                        0         0             0         18
    ============================================  ======  ========  ============  =========

    **Undecided is the rule where decay is fast**: power laws that have not begun rise like exponential decay, and which
    of them it is stays open. On other draws of these kernels growth alone called 10 and 38 of 259 Matérn kernels of
    order 3/2 and 5/2 catastrophic, and 136 of the RBF. *Tempered*, and not so in the limit: RBF in 16 dimensions and
    more, 9 times with an exponent below 1.2, of which ``why`` says that decay has hardly begun, and 4 times with one of
    about 2; 20 eigenvalues over a plateau, which are benign from n = 400 on.

    Shorter length scales are harder. Of 1200 more kernels with 0.08 to 1.5 median distances, n = 150 to 400, the rule
    called 0, 1 and 5 of 240, 240 and 480 Laplace and Matérn kernels of order 3/2 and 5/2 catastrophic (growth alone 1,
    19 and 106), and 84 of 240 RBF (growth alone 175).

    The amplification that eigenvalues tell without ridge did worse in place of the exponent. With the same rule it
    called 5 and 134 of 434 power laws (n = 400, without Matérn 9/2) catastrophic and tempered; the exponent 0 and 325.

    Source of the regimes: Mallinar et al. (2022), arXiv 2207.06569; of the estimates of df1 and df2: derived here from
    Jacot et al. (2020), arXiv 2006.09796, and Simon et al. (2021), arXiv 2110.03922.

    Examples
    --------
    Many equal eigenvalues beside a few large ones act as a ridge.

    >>> rng = np.random.default_rng(0)
    >>> features = rng.standard_normal((128, 4))
    >>> found = overfitting_regime(features @ features.T + np.eye(128))
    >>> found.verdict, round(found.noise_amplification, 2)
    ('benign', 1.03)
    """
    delta = checked_ridge(ridge)
    draws, seed = as_count(num_draws, name="num_draws", least=2), as_seed(rng)
    came = as_source(source, kernel=kernel, rng=seed)
    if came.matrix is None:
        raise ArgumentError("samples are drawn from a Gram matrix or from data with kernel=; got eigenvalues only")
    n = len(came.matrix)
    if y is not None and came.num_available != n:
        raise ArgumentError(
            f"y has {came.num_available} targets, of which {n} samples were drawn; pass a Gram matrix and its targets"
        )
    spectrum = gram_spectrum(came.matrix, vectors=True)
    if came.eps > spectrum.eps:
        spectrum = replace(spectrum, eps=came.eps, ridge_floor=max(spectrum.ridge_floor, n * came.eps * _top(spectrum)))
    rank = _finite_rank(spectrum)
    levels = exponents_by_size(
        came.matrix, came.eps, spectrum.eigenvalue[::-1], draws=draws, seed=seed, num_resolved=SIZES
    )
    trend = exponent_trend(levels, n)
    found = regime_verdict(trend)
    if rank < n:
        found = replace(found, regime="undecided")
    return OverfittingRegime(
        verdict=found.regime,
        amplification=noise_amplification_of(spectrum, ridge=delta),
        local_exponent=trend.exponent,
        slope=trend.slope,
        slope_stderr=trend.stderr,
        size=np.array([level.size for level in levels]),
        exponent=np.array([math.exp(level.mean) if level.is_resolved else math.nan for level in levels]),
        is_resolved=np.array([level.is_resolved for level in levels]),
        num_samples=n,
        risk=None if y is None else leave_one_out(came.matrix, y, ridge=spectrum.effective_ridge(delta)),
        why=_why(found.why, trend, [level for level in levels if level.is_resolved], n, rank),
        remarks=(*came.remarks, *spectrum.remarks),
    )


def _top(spectrum: GramSpectrum) -> float:
    """Return the largest eigenvalue."""
    return float(spectrum.eigenvalue[0])


def _finite_rank(spectrum: GramSpectrum) -> int:
    """Return the rank of a kernel that has fewer features than there are samples, else n."""
    n, values = spectrum.num_samples, spectrum.eigenvalue
    floor = NUMERICAL * spectrum.eps * math.sqrt(n) * values[0]
    rank = int(np.sum(values > floor))
    return rank if rank < n and values[rank - 1] > GAP * floor else n


def _why(verdict: str, trend: ExponentTrend, used: list[SizeLevel], n: int, rank: int) -> str:
    """Return the reason of a verdict."""
    least = LEAST * 2 ** (SIZES - 1)
    if n < least:
        return f"{n} samples are too few to compare three sizes: at least {least} are needed"
    if rank < n:
        return (
            f"the kernel has rank {rank} for {n} samples, and does not interpolate noise; finite_rank_risk tells the "
            "error of such fits"
        )
    if len(used) < SIZES:
        return (
            f"eigenvalues reach rounding before the effective dimension reaches half of {n} or of most smaller numbers "
            "of samples: rounding, which acts as a ridge, limits the amplification of noise, and without it nothing is "
            "known"
        )
    growth = (
        f"from {used[SIZES - 1].size} to {used[0].size} samples the decay looks like a power law whose exponent, now "
        f"{trend.exponent:.3g}, goes like n to the {trend.slope:.3f} ± {CERTAIN * trend.stderr:.3f}"
    )
    if used[0].size < n:
        growth += ", and with more of them rounding acts as a ridge"
    return f"{growth}; {verdict}"
