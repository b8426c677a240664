r"""How fast the eigenvalues of a kernel fall: like a power, exponentially, to rank r, or onto a plateau."""

from collections.abc import Callable
from typing import Any

import numpy as np

from spectra.errors import ArgumentError
from spectra.kernels.decay_fit import FLAT, LEVELS, DecayFit, decay_curve, fit_decay, resolved
from spectra.kernels.decay_interval import half_fits, interval
from spectra.kernels.decay_of_measure import decay_of_measure
from spectra.kernels.decay_result import EigenDecay, Law
from spectra.kernels.decay_steps import Steps, largest_step, resolvable, rounding, steps_of
from spectra.kernels.dimension_curve import dimension_curve
from spectra.kernels.gram import GramSpectrum
from spectra.kernels.source import MAX_DENSE, SUBSAMPLE, KernelSource, as_source, spectrum_of
from spectra.start_vectors import as_count

__all__ = ["eigendecay"]

#: The largest eigenvalue is the mean of the kernel where the constant vector has this share of it (measured: above
#: 0.96 for Laplace kernels in 2 to 16 dimensions, below 0.1 for features without a mean).
MEAN = 0.9
#: Share of the variance of log kappa below which a law is doubted (design choice; laws that hold have 0.99 and more).
GOOD = 0.97
#: Share of the halves that must agree on the law; it is ambiguous otherwise (measured: the rule decides 2 of 600
#: kernels, both Gaussian ones in float32 that read as a power law).
AGREE = 0.5
#: A step is remarked on from this factor (measured: 1.2 at most for Matern kernels on an interval and for designs, 2 to
#: 7 for kernels in 8 to 50 dimensions and on spheres).
STEP = 2.0
#: Exponents below are also those of a flat spectrum that the sample does not fill (measured: 1.04 to 1.07 for four
#: times as many equal directions as samples).
NEAR_ONE = 1.1


def eigendecay(
    source: Any,
    *,
    kernel: Callable[[Any, Any], Any] | None = None,
    num_samples: int | None = None,
    eps: float | None = None,
    num_subsamples: int = 4,
    max_dense: int = MAX_DENSE,
    subsample: int = SUBSAMPLE,
    rng: int | np.random.Generator = 0,
) -> EigenDecay:
    r"""Return the law by which the eigenvalues of a kernel fall, and its exponent.

    In this order: few eigenvalues above rounding are a finite rank; a drop of more than a decade onto a flat rest is a
    plateau; otherwise the curve of effective dimensions over thresholds is fitted, which does not bend where the
    sample ends, as the eigenvalues of the Gram matrix themselves do.

    Parameters
    ----------
    source, kernel, num_samples, max_dense, subsample
        A Gram matrix, its eigenvalues, or data and a kernel, see :func:`spectra.kernels.source.as_spectrum`. The matrix
        tells more than its eigenvalues: the mean of a positive kernel, which is one large eigenvalue over a slowly
        decaying rest, is then removed, and random halves give the spread of the exponent. Or a spectral measure, as of
        :func:`spectra.slq` with :func:`spectra.kernels.operator.kernel_operator`: see
        :func:`spectra.kernels.decay_of_measure.decay_of_measure`.
    eps : float, optional
        Machine epsilon of the dtype in which the matrix was computed; by default that of the array.
    num_subsamples : int
        Random halves of the sample, 0 or more.
    rng : int or numpy.random.Generator
        Seed of the halves.

    Returns
    -------
    EigenDecay

    Raises
    ------
    ArgumentError, ShapeError, NonFiniteError, NotSymmetricError, BackendError
        If the source is none, see :func:`spectra.kernels.source.as_spectrum`.

    Notes
    -----
    Two decompositions of order n, and ``num_subsamples`` of order n/2. Everything is relative to the largest
    eigenvalue. What is found is the law at n samples: under Gaussian equivalence, and for eigenfunctions that are seen
    in the sample at all. A kernel whose length scale the samples hardly resolve shows the law of its limit later; with
    few samples it is "ambiguous", or reads as the other law where the length scale is far below the distances.

    Measured by ``scripts/validate_eigendecay.py`` on 600 random kernels with known laws, other seeds than those of the
    thresholds: the law was right for 77, 92, 96 and 100 % at n = 80, 200, 400 and 1000 and ambiguous for nearly all
    others; 86 % in float32 (nuggets below its rounding read as a finite rank) and 94 % from eigenvalues alone at n =
    400. No power law was called exponential, and no exponential one a power law. The median error of the exponent was
    6.7, 3.8, 2.3 and 1.2 %, the 90 % quantile 20, 11, 10 and 5 %, and 88 to 100 % of the intervals covered. Of 120
    Matern and Gaussian kernels with length scales of 0.06 to 1 median distances, n = 400, 66 were right, 48 ambiguous
    and 6 read as the other law; exponents there are those of the sample and not of the limit.

    Source: the method is a construction of this project; see Simon et al. (2021), arXiv 2110.03922, for the theory of
    the curve.

    Examples
    --------
    >>> found = eigendecay(1 / np.arange(1.0, 1001.0) ** 2)
    >>> found.law, bool(found.low < 2 < found.high)
    ('polynomial', True)
    >>> X = np.random.default_rng(0).standard_normal((200, 3))
    >>> str(eigendecay((X @ X.T + 1) ** 2))
    'finite_rank, rank 10 (200 samples)'
    """
    if hasattr(source, "data_vars"):
        return _of_measure(source, kernel=kernel, num_samples=num_samples, eps=eps)
    came = as_source(
        source, kernel=kernel, num_samples=num_samples, eps=eps, max_dense=max_dense, subsample=subsample, rng=rng
    )
    halves = as_count(num_subsamples, name="num_subsamples", least=0)
    spectrum = spectrum_of(came, centered=True)
    share, is_mean = _mean(came, spectrum)
    fitted = spectrum
    if spectrum.centered_eigenvalue is not None and float(spectrum.centered_eigenvalue[0]) > spectrum.ridge_floor:
        fitted = GramSpectrum.of_eigenvalues(
            spectrum.centered_eigenvalue, num_samples=spectrum.num_samples, eps=spectrum.eps
        )
    error = rounding(spectrum, came.matrix)
    steps = steps_of(spectrum, error=error)
    common: dict[str, Any] = {
        "eigenvalue": spectrum.eigenvalue,
        "num_samples": spectrum.num_samples,
        "mean_spike_share": share,
        "subsample_exponent": np.empty(0),
        "is_trustworthy": True,
    }
    if steps.law == "finite_rank":
        return EigenDecay(
            law="finite_rank",
            rank=steps.rank,
            curve=dimension_curve(spectrum),
            why=f"{steps.rank} eigenvalues are far above rounding, the others are rounding",
            remarks=spectrum.remarks,
            **common,
        )
    if steps.law == "plateau" and not (steps.rank == 1 and (is_mean or came.matrix is None)):
        return _plateau(spectrum, steps, common)
    if steps.law == "plateau" and is_mean and steps_of(fitted, error=error).is_level:
        return _plateau(spectrum, steps, common)
    lowest = resolvable(spectrum, error)
    return _decay(came, spectrum, fitted, common, halves, rng, lowest, spike=steps.law == "plateau" and not is_mean)


def _of_measure(measure: Any, **others: Any) -> EigenDecay:
    """Return the law of a spectral measure, which has a dimension and a dtype of its own."""
    typed = [name for name, value in others.items() if value is not None]
    if typed:
        raise ArgumentError(f"a spectral measure says {', '.join(typed)} itself; leave that out")
    return decay_of_measure(measure)


def _mean(source: KernelSource, spectrum: GramSpectrum) -> tuple[float, bool]:
    """Return the share of the trace along the constant vector, and whether that is the largest eigenvector."""
    if source.matrix is None:
        return np.nan, False
    along = float(np.mean(source.matrix)) * spectrum.num_samples
    return along / spectrum.trace, along >= MEAN * float(spectrum.eigenvalue[0])


def _plateau(spectrum: GramSpectrum, steps: Steps, common: dict[str, Any]) -> EigenDecay:
    """Return a few eigenvalues over a flat rest."""
    return EigenDecay(
        law="plateau",
        rank=steps.rank,
        plateau=steps.level,
        curve=dimension_curve(spectrum),
        why=f"{steps.rank} eigenvalues, by up to a factor {steps.drop:.3g} larger, stand above a flat rest",
        remarks=spectrum.remarks,
        **common,
    )


def _decay(
    source: KernelSource,
    spectrum: GramSpectrum,
    fitted: GramSpectrum,
    common: dict[str, Any],
    halves: int,
    rng: int | np.random.Generator,
    lowest: float,
    *,
    spike: bool,
) -> EigenDecay:
    """Return the law of the curve of effective dimensions."""
    if spike:
        # The largest eigenvalue alone hides the law of the others.
        fitted = GramSpectrum.of_eigenvalues(
            spectrum.eigenvalue[1:], num_samples=spectrum.num_samples, eps=spectrum.eps
        )
    curve = decay_curve(fitted, lowest)
    part = resolved(curve)
    common |= {"curve": curve, "is_centered": fitted is not spectrum and not spike}
    if part.df1.size == 0:
        why = (
            f"effective dimensions between 4 and 0.8 n, n = {spectrum.num_samples}, are too few or too close "
            f"where rounding (eps {spectrum.eps:.1g}) does not decide: more samples, or a matrix in float64, may tell"
        )
        return EigenDecay(law="undetermined", why=why, remarks=spectrum.remarks, **(common | {"is_trustworthy": False}))
    fit = fit_decay(part)
    others = [] if spike else half_fits(source, num=halves, lowest=lowest, rng=rng)
    exponents = np.array([other.decay_exponent for other in others])
    definite = [other.law == fit.law for other in others if other.law != "ambiguous"]
    same = float(np.mean(definite)) if definite else np.nan
    law: Law = "ambiguous" if spike or same < AGREE else fit.law
    trusted, why = _judge(fit, same, spike=spike)
    remarks = spectrum.remarks
    if spike:
        remarks += (
            f"one large eigenvalue over a rest that reads as {fit.law}, exponent {fit.decay_exponent:.3g}: the mean of "
            "a positive kernel, or rank one over a plateau of noise; the Gram matrix tells which",
        )
    step, after = largest_step(fitted.eigenvalue, fit.decay_exponent, num=int(part.df1[-1] / 2))
    if law == "polynomial" and step > STEP:
        remarks += (
            f"eigenvalues fall in steps, after {after} by a factor {step:.2g} more than by the power law, as those of "
            "symmetric kernels in many dimensions do: with so few steps in the sample the law may be another one",
        )
    if law == "polynomial" and fit.decay_exponent < NEAR_ONE:
        remarks += ("an exponent this close to 1 is also that of a flat spectrum with more directions than samples",)
    low, high = interval(fit.decay_exponent, exponents) if law == "polynomial" else (np.nan, np.nan)
    return EigenDecay(
        law=law,
        decay_exponent=np.nan if law == "exponential" else fit.decay_exponent,
        low=low,
        high=high,
        rate=fit.rate if law == "exponential" else np.nan,
        shape=fit.shape,
        delta_bic=fit.delta_bic,
        fitted_exponent=fit.fitted_exponent,
        rms=fit.rms,
        r_squared=fit.r_squared,
        agreement=same,
        why=why,
        remarks=remarks,
        **(common | {"subsample_exponent": exponents, "is_trustworthy": trusted}),
    )


def _judge(fit: DecayFit, agreement: float, *, spike: bool) -> tuple[bool, str]:
    """Return whether to trust the law, and why."""
    if spike:
        return False, "one large eigenvalue over the rest has two readings, which eigenvalues alone do not tell apart"
    if fit.law == "ambiguous" and fit.shape < LEVELS:
        return False, f"the shape {fit.shape:.2f} is that of a spectrum that levels off, without a clear step"
    now = f"an exponent of {fit.decay_exponent:.3g}"
    if fit.law == "ambiguous" and fit.decay_exponent <= FLAT:
        return False, (
            f"{now} is also that of a flat spectrum of more directions than samples, and of any kernel whose length "
            "scale is far below the distances"
        )
    if fit.law == "ambiguous":
        return False, (
            f"the shape {fit.shape:.2f} with {now} is that of an exponential law as of a power law that begins beyond "
            "this many samples"
        )
    if agreement < AGREE:
        return False, f"it reads as {fit.law}, but only {agreement:.0%} of the random halves of the sample do"
    if fit.law == "polynomial" and fit.r_squared < GOOD:
        return False, f"a power law explains only {fit.r_squared:.0%} of the variance of log kappa"
    if np.isnan(agreement):
        return True, f"the shape {fit.shape:.2f} is that of this law; without random halves that tell"
    return True, f"the shape {fit.shape:.2f} is that of this law, and {agreement:.0%} of the random halves agree"
