r"""The condition number of a Gram matrix, and what independent features with the same eigenvalues would have."""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy.typing as npt

from spectra.errors import ArgumentError
from spectra.kernels.decay_result import EigenDecay, Law
from spectra.kernels.eigendecay import eigendecay
from spectra.kernels.gram_input import checked_ridge
from spectra.kernels.independent_features import IndependentFeatures, features_of_law, independent_features
from spectra.kernels.kernel_risk import checked_level
from spectra.kernels.source import as_source, spectrum_of

__all__ = ["KernelCondition", "kernel_condition"]

Origin = Literal["given eigenvalues", "fitted law", "none"]


@dataclass(frozen=True, kw_only=True, eq=False)
class KernelCondition:
    r"""Condition number of :math:`K + \delta I`, and how it compares with independent features.

    Attributes
    ----------
    condition_number : float
        Measured; at least this where ``is_lower_bound``.
    is_lower_bound : bool
        Whether the smallest eigenvalue cannot be told from 0, so that rounding sets the number.
    largest, smallest : float
        Eigenvalues of K.
    ridge, ridge_floor : float
        The ridge as asked, which the condition number contains, and the size of what rounding leaves of an eigenvalue.
    ridge_bound : float
        :math:`1 + w_1/\delta`, which holds for any kernel; infinite without ridge.
    growth : str
        How the condition number of independent features grows with n, as ``"n^1.50"`` or ``"exp(0.050 n)"``; empty
        where no law is known.
    law : str
        Of decay, as :func:`spectra.kernels.eigendecay` names it.
    independent_bound : float or None
        Bound for independent features with the eigenvalues of ``origin``. **Not a bound for this kernel.** None where
        there are no such eigenvalues.
    feature_dependence : float or None
        Measured over ``independent_bound``. Above 1: dependence of the features on each other, not decay of the
        eigenvalues, makes the matrix ill-conditioned. Below 1 nothing follows, for the bound is generous.
    origin : {"given eigenvalues", "fitted law", "none"}
        Where the eigenvalues of the comparison come from.
    level : float
        Probability with which the bound holds for independent features.
    num_samples : int
        n.
    why : str
        What these numbers say, as sentences.
    remarks : tuple of str
        What is unusual about the matrix.
    """

    condition_number: float
    is_lower_bound: bool
    largest: float
    smallest: float
    ridge: float
    ridge_floor: float
    ridge_bound: float
    growth: str
    law: Law
    independent_bound: float | None
    feature_dependence: float | None
    origin: Origin
    level: float
    num_samples: int
    why: str
    remarks: tuple[str, ...] = ()


def kernel_condition(
    source: Any,
    *,
    ridge: float = 0.0,
    eigenvalue: npt.ArrayLike | None = None,
    residual_trace: float = 0.0,
    decay: EigenDecay | None = None,
    level: float = 0.95,
) -> KernelCondition:
    r"""Return the condition number of a Gram matrix, and the gap to that of independent features.

    Parameters
    ----------
    source : GramSpectrum, or array of any library
        A Gram matrix of shape (n, n), or all its eigenvalues of shape (n,).
    ridge : float
        :math:`\delta`, unnormalized, that is added to the diagonal.
    eigenvalue : array_like, shape (m,), optional
        Of the integral operator, where they are known. By default a law is fitted to the Gram matrix itself.
    residual_trace : float
        Sum of eigenvalues of the integral operator that are not listed.
    decay : EigenDecay, optional
        A law that was fitted before.
    level : float
        Probability of the bound for independent features.

    Returns
    -------
    KernelCondition

    Raises
    ------
    ArgumentError, ShapeError, NonFiniteError, NotSymmetricError, BackendError
        See :func:`spectra.kernels.gram.gram_spectrum`.

    Notes
    -----
    The law of growth is that of Cheng, Lucchi, Kratsios and Belius (2024), arXiv 2402.01297, for independent features.
    Kernels on random points violate it. Their smallest eigenvalue follows the separation q of the closest two points:
    for Matérn kernels at least :math:`q^{2\nu}` (Schaback, 1995).

    Measured by ``scripts/validate_overfitting_regime.py``. Gaussian features with powers 1.5, 2 and 3, n = 30 to 200:
    condition numbers grow like n to the 1.53, 2.02, 3.05. Matérn kernels on equispaced points of an interval: smallest
    eigenvalues go like q to the 1.01, 3.05, 5.11 for :math:`\nu` = 1/2, 3/2, 5/2. On n = 40 to 320 random points of a
    cube in 1, 2, 3 dimensions: 0.99, 0.96, 0.93 for :math:`\nu` = 1/2, but only 2.2 and 2.1 for 3/2 in 2 and 3; in one
    dimension rounding hides it. Median condition numbers there grow like n to the 3.3 ± 0.2, 1.9 ± 0.1, 1.7 ± 0.1
    (:math:`\nu` = 1/2), where independent features have 2, 1.5, 1.33, and to the 3.2 ± 0.2, 2.7 ± 0.1 (3/2), where they
    have 2.5 and 2.

    Examples
    --------
    >>> found = kernel_condition([4.0, 2.0, 1.0], ridge=1.0)
    >>> found.condition_number, found.ridge_bound
    (2.5, 5.0)
    """
    delta, level = checked_ridge(ridge), checked_level(level)
    came = as_source(source)
    found = spectrum_of(came)
    if not found.is_complete:
        raise ArgumentError(
            f"the smallest of {found.num_samples} eigenvalues is needed, and {found.eigenvalue.size} are known"
        )
    n, floor = found.num_samples, found.ridge_floor
    largest, smallest = float(found.eigenvalue[0]), float(found.eigenvalue[-1])
    measured = (largest + delta) / max(smallest + delta, floor)
    unresolved = smallest + delta <= floor
    if decay is None:
        decay = eigendecay(found if came.matrix is None else came.matrix, num_subsamples=0)
    origin: Origin = "given eigenvalues"
    if eigenvalue is not None:
        features: IndependentFeatures | None = independent_features(
            eigenvalue, num_samples=n, residual_trace=residual_trace, level=level
        )
    else:
        features = features_of_law(found, decay, level=level)
        origin = "none" if features is None else "fitted law"
    bound = None if features is None else features.condition_number(delta)
    gap = None if bound is None or not math.isfinite(bound) else measured / bound
    return KernelCondition(
        condition_number=measured,
        is_lower_bound=unresolved,
        largest=largest,
        smallest=smallest,
        ridge=delta,
        ridge_floor=floor,
        ridge_bound=1 + largest / delta if delta > 0 else math.inf,
        growth=_growth(decay),
        law=decay.law,
        independent_bound=bound,
        feature_dependence=gap,
        origin=origin,
        level=level,
        num_samples=n,
        why=_why(measured, unresolved, floor, gap, origin, decay.law),
        remarks=found.remarks,
    )


def _growth(decay: EigenDecay) -> str:
    """Return how the condition number of independent features with a law grows."""
    if decay.law == "polynomial":
        return f"n^{decay.decay_exponent:.2f}"
    if decay.law == "exponential" and math.isfinite(decay.rate):
        return f"exp({decay.rate:.3g} n)"
    return ""


def _why(measured: float, unresolved: bool, floor: float, gap: float | None, origin: Origin, law: str) -> str:
    """Return what the numbers say."""
    told = f"the condition number is {'at least ' if unresolved else ''}{measured:.3g}"
    if unresolved:
        told += f", for the smallest eigenvalue cannot be told from 0: rounding leaves {floor:.2g} of it"
    if gap is None:
        what = f"the decay is {law}" if origin == "none" else "nothing bounds the smallest eigenvalue"
        return f"{told}; {what}, so that there is no comparison with independent features"
    source = "the eigenvalues given" if origin == "given eigenvalues" else "the law fitted to this very matrix"
    if gap > 1:
        return (
            f"{told}, {gap:.2g} times the bound for independent features with {source}: their dependence, such as "
            "samples close to each other, makes the matrix ill-conditioned. The bound does not hold for a kernel"
        )
    return (
        f"{told}, below the bound for independent features with {source} by a factor of {1 / gap:.2g}, as is usual: "
        "it is generous, and no bound for this kernel"
    )
