r"""Errors of kernel ridge regression from the eigenvalues of its integral operator: population theory.

With :math:`\kappa` from :mod:`spectra.kernels.signal_capture` and the learnabilities
:math:`L_i = \lambda_i / (\lambda_i + \kappa)`,

.. math::

    \text{test} = E_0 \Bigl(\sum_i (1 - L_i)^2 v_i^2 + \sigma^2\Bigr), \qquad E_0 = \frac{n}{n - \sum_i L_i^2}, \qquad
    \text{train} = \Bigl(\frac{\delta}{n \kappa}\Bigr)^2 \text{test}.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from spectra.arrays import finite_number
from spectra.errors import ArgumentError, ShapeError
from spectra.frozen import Vector, frozen_array
from spectra.kernels.gram_input import checked_ridge
from spectra.kernels.signal_capture import modes, positive_count, signal_capture

__all__ = ["Eigenlearning", "eigenlearning"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Eigenlearning:
    r"""What population theory says about kernel ridge regression with n samples.

    Attributes
    ----------
    kappa : float
        Signal capture threshold, in the unit of the eigenvalues; 0 where every direction is learned exactly.
    df1 : float
        :math:`\sum L_i`, expected trace of the hat matrix, with the share of ``residual_trace``.
    df2 : float
        :math:`\sum L_i^2`.
    overfitting_coefficient : float
        :math:`E_0`: the factor from the error of the mean fit, noise included, to the test error. Infinite at the
        interpolation peak, with as many eigenvalues as samples and no ridge.
    learnability : ndarray, shape (m,)
        :math:`L_i`, in the order of the eigenvalues.
    effective_ridge : float
        ``ridge + residual_trace``.
    test_error : float
        Mean squared error on new noisy labels, summed over outputs.
    train_error : float
        Mean squared error on the noisy labels of the training set.
    bias, variance : float
        :math:`E_0 \sum (1 - L_i)^2 v_i^2`, and the share :math:`(E_0 - 1)\sigma^2` of the noise.
    num_samples : float
        n.
    noise : float
        :math:`\sigma^2`.
    """

    kappa: float
    df1: float
    df2: float
    overfitting_coefficient: float
    learnability: Vector
    effective_ridge: float
    test_error: float
    train_error: float
    bias: float
    variance: float
    num_samples: float
    noise: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "learnability", frozen_array(self.learnability, name="learnability"))

    @property
    def excess(self) -> float:
        """Test error less the noise: ``bias + variance``."""
        return self.bias + self.variance

    @property
    def is_interpolation_peak(self) -> bool:
        """Whether the error diverges: as many eigenvalues as samples, and no ridge."""
        return math.isinf(self.overfitting_coefficient)


def eigenlearning(
    eigenvalue: npt.ArrayLike,
    *,
    num_samples: float,
    ridge: float,
    signal: npt.ArrayLike | None = None,
    noise: float = 0.0,
    multiplicity: npt.ArrayLike | None = None,
    residual_trace: float = 0.0,
) -> Eigenlearning:
    r"""Return what population theory expects of kernel ridge regression.

    Parameters
    ----------
    eigenvalue : array_like, shape (m,)
        :math:`\lambda_i` of the integral operator, in any order.
    num_samples : float
        n, positive; need not be whole.
    ridge : float
        :math:`\delta` of ``(K + ridge I)^-1 y``, not divided by n. A fit in rounded arithmetic is never ridgeless: pass
        ``GramSpectrum.effective_ridge(0.0)`` to predict one.
    signal : array_like, shape (m,), optional
        :math:`v_i^2`: squares of the coefficients of the target in the orthonormal eigenfunctions, summed over outputs
        and, with multiplicities, over the multiplet. By default 0: the target is noise alone.
    noise : float
        Variance of label noise, summed over outputs. What the target has outside of all listed eigenfunctions belongs
        here too.
    multiplicity : array_like, shape (m,), optional
        How often each eigenvalue occurs; by default once.
    residual_trace : float
        Sum of further eigenvalues, each far below kappa: they act as a ridge.

    Returns
    -------
    Eigenlearning

    Raises
    ------
    ArgumentError
        If something that must be at least 0 is negative, or ``num_samples`` not positive.
    ShapeError, NonFiniteError
        If the arrays are no finite vectors of one length.

    Notes
    -----
    About 12 sums over the eigenvalues. :math:`n - \sum L^2` is summed as
    :math:`\delta/\kappa + \sum L (1 - L)`, which does not cancel.

    Accuracy: the theory is asymptotic. Measured under Gaussian design with :math:`\lambda_i = i^{-1.5}`, n = 20 to 150:
    within 1.2 % of the mean test error in eight of nine cells; 6 % low for n = 20 without ridge. Features of kernels
    on data are not Gaussian; near-duplicates and rare regions break the theory at small ridges.

    Source: Simon, Dickens, Karkada and DeWeese (2021), arXiv 2110.03922; equivalent forms by Bordelon, Canatar and
    Pehlevan (2020), arXiv 2002.02561, and Jacot et al. (2020), arXiv 2006.09796.

    Examples
    --------
    Ten equal eigenvalues, five samples, no ridge: half of each coefficient is learned, and noise counts twice.

    >>> found = eigenlearning(np.ones(10), num_samples=5, ridge=0.0, signal=np.ones(10), noise=1.0)
    >>> round(found.overfitting_coefficient, 9), round(found.test_error, 9), found.train_error
    (2.0, 7.0, 0.0)
    """
    values, counts = modes(eigenvalue, multiplicity)
    delta = checked_ridge(ridge)
    sigma2, rest = _amount(noise, name="noise"), _amount(residual_trace, name="residual_trace")
    power = np.zeros(values.size) if signal is None else frozen_array(signal, name="signal")
    if power.shape != values.shape:
        raise ShapeError(f"signal must have the shape {values.shape} of the eigenvalues; got {power.shape}")
    if np.any(power < 0):
        raise ArgumentError(f"signal holds squares, at least 0; got {power[power < 0][0]:.6g}")
    kappa = float(signal_capture(values, num_samples=num_samples, ridge=delta + rest, multiplicity=counts))
    n = float(num_samples)
    if kappa > 0:
        learned, missed = values / (values + kappa), kappa / (values + kappa)
        fitted = float(np.sum(counts * learned))
        unlearned_by_ridge = (delta + rest) / kappa
        left = unlearned_by_ridge + float(np.sum(counts * learned * missed))
        df1, share = fitted + rest / kappa, delta / kappa / n
    else:
        learned = (values > 0).astype(float)
        missed = 1.0 - learned
        df1 = fitted = positive_count(values, counts)
        left = n - fitted
        share = left / n
    df2 = float(np.sum(counts * learned**2))
    coefficient = n / left if left > 0 else math.inf
    mean_error = float(np.sum(missed**2 * power))
    test = _times(coefficient, mean_error + sigma2)
    return Eigenlearning(
        kappa=kappa,
        df1=df1,
        df2=df2,
        overfitting_coefficient=coefficient,
        learnability=learned,
        effective_ridge=delta + rest,
        test_error=test,
        train_error=share**2 * test if share > 0 else 0.0,
        bias=_times(coefficient, mean_error),
        variance=_times(df2 / left if left > 0 else math.inf, sigma2),
        num_samples=n,
        noise=sigma2,
    )


def _times(factor: float, amount: float) -> float:
    """Return the product, 0 where the amount is 0 even if the factor is infinite."""
    return factor * amount if amount > 0 else 0.0


def _amount(value: float, *, name: str) -> float:
    """Return a finite number of at least 0, or raise ArgumentError."""
    number = finite_number(value, name=name)
    if number < 0:
        raise ArgumentError(f"{name} must be at least 0; got {value!r}")
    return number
