r"""Kernel ridge regression for many ridges from one eigendecomposition."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from spectra.errors import ArgumentError, ShapeError
from spectra.frozen import Vector, frozen_array
from spectra.kernels.gram import GramSpectrum, gram_spectrum
from spectra.kernels.gram_input import as_targets, checked_ridge

__all__ = ["RidgeFit", "RidgeStatistics", "checked_ridges", "require_usable_size", "ridge_fit"]

#: Sizes of targets between which sums of their squares keep all digits, and so do fourth powers in standard errors.
SMALLEST, LARGEST = 1e-70, 1e70
#: Targets that differ by less, relative to their size, are equal: a few units of rounding.
EQUAL = 4 * float(np.finfo(np.float64).eps)


@dataclass(frozen=True, kw_only=True, eq=False)
class RidgeStatistics:
    r"""What one eigendecomposition says about several ridges; every array has the shape (R,).

    With :math:`P = (K + \delta I)^{-1}`, squared errors summed over outputs:

    Attributes
    ----------
    ridge : ndarray
        As asked, unnormalized.
    effective_ridge : ndarray
        :math:`\delta`: the ridge or the floor of rounding, whichever is larger.
    leave_one_out : ndarray
        Mean squared leave-one-out error.
    gcv : ndarray
        :math:`n\, y'P^2y / (\operatorname{tr} P)^2`.
    train_error : ndarray
        :math:`\delta^2 y'P^2y / n`.
    df1 : ndarray
        :math:`\operatorname{tr} KP`, the trace of the hat matrix.
    df2 : ndarray
        :math:`n - (\operatorname{tr} P)^2 / \operatorname{tr} P^2`, an estimate for the population.
    kappa : ndarray
        :math:`1 / \operatorname{tr} P`, an estimate of the signal capture threshold.
    overfitting_coefficient : ndarray
        :math:`n \operatorname{tr} P^2 / (\operatorname{tr} P)^2`, an estimate of E0.
    condition_number : ndarray
        Of :math:`K + \delta I`.
    """

    ridge: Vector
    effective_ridge: Vector
    leave_one_out: Vector
    gcv: Vector
    train_error: Vector
    df1: Vector
    df2: Vector
    kappa: Vector
    overfitting_coefficient: Vector
    condition_number: Vector


@dataclass(frozen=True, kw_only=True, eq=False)
class RidgeFit:
    r"""A Gram matrix and targets in the basis of eigenvectors, ready for any ridge.

    Attributes
    ----------
    spectrum : GramSpectrum
        Complete, with eigenvectors.
    target : ndarray, shape (n, C)
        Targets y.
    projection : ndarray, shape (n, C)
        :math:`U'y`, in the order of the eigenvalues.
    """

    spectrum: GramSpectrum
    target: Vector
    projection: Vector

    @property
    def num_samples(self) -> int:
        """Number n of samples."""
        return self.spectrum.num_samples

    @property
    def basis(self) -> Vector:
        """Eigenvectors as columns, shape (n, n)."""
        if self.spectrum.eigenvector is None:
            raise ArgumentError("a fit needs eigenvectors; use gram_spectrum(K, vectors=True)")
        return self.spectrum.eigenvector

    @property
    def label_variance(self) -> float:
        """Variance of the targets over samples (divided by n), summed over outputs; 0 where it is rounding."""
        variance = float(np.sum(np.var(self.target, axis=0)))
        return variance if variance > EQUAL**2 * self.power else 0.0

    @property
    def power(self) -> float:
        """Mean square of the targets, summed over outputs: the risk of predicting 0."""
        return float(np.sum(np.mean(self.target**2, axis=0)))

    def effective_ridge(self, ridges: npt.ArrayLike) -> Vector:
        """Return ridges of shape (R,), none below the floor of rounding."""
        return np.maximum(checked_ridges(ridges), self.spectrum.ridge_floor)

    def coefficients(self, ridge: float) -> Vector:
        r"""Return :math:`(K + \delta I)^{-1} y`, shape (n, C), for the effective ridge.

        Examples
        --------
        >>> ridge_fit(np.eye(2), [2.0, 4.0]).coefficients(1.0).ravel().tolist()
        [1.0, 2.0]
        """
        delta = self.spectrum.effective_ridge(ridge)
        return self.basis @ (self.projection / (self.spectrum.eigenvalue + delta)[:, None])

    def inverse_diagonal(self, ridge: float) -> Vector:
        r"""Return the diagonal of :math:`(K + \delta I)^{-1}`, shape (n,), in O(n^2)."""
        delta = self.spectrum.effective_ridge(ridge)
        return self.basis**2 @ (1 / (self.spectrum.eigenvalue + delta))

    def inverse(self, ridge: float) -> Vector:
        r"""Return :math:`(K + \delta I)^{-1}`, shape (n, n), in O(n^3)."""
        scaled = self.basis / np.sqrt(self.spectrum.eigenvalue + self.spectrum.effective_ridge(ridge))
        return scaled @ scaled.T

    def residuals(self, ridge: float) -> Vector:
        r"""Return leave-one-out residuals :math:`y_i - \hat f_{-i}(x_i)`, shape (n, C)."""
        return self.coefficients(ridge) / self.inverse_diagonal(ridge)[:, None]

    def squared_residuals(self, ridges: npt.ArrayLike) -> Vector:
        """Return squared leave-one-out errors, summed over outputs, shape (n, R), in O(n^2 R C)."""
        inverse = 1 / (self.spectrum.eigenvalue[:, None] + self.effective_ridge(ridges))
        diagonal = self.basis**2 @ inverse
        total = np.zeros_like(diagonal)
        for column in self.projection.T:
            total += (self.basis @ (column[:, None] * inverse)) ** 2
        return total / diagonal**2

    def statistics(self, ridges: npt.ArrayLike) -> RidgeStatistics:
        r"""Return errors and traces for several ridges.

        Parameters
        ----------
        ridges : array_like, shape (R,) or a number
            Unnormalized, at least 0.

        Returns
        -------
        RidgeStatistics

        Raises
        ------
        ArgumentError
            If a ridge is negative or not finite.

        Examples
        --------
        >>> found = ridge_fit(np.eye(4), np.ones(4)).statistics([1.0])
        >>> found.leave_one_out.item(), found.gcv.item(), found.train_error.item(), found.df1.item()
        (1.0, 1.0, 0.25, 2.0)
        """
        asked = checked_ridges(ridges)
        delta = self.effective_ridge(asked)
        n, value = self.num_samples, self.spectrum.eigenvalue
        inverse = 1 / (value[:, None] + delta)
        # Shares of the mean keep sums of squares apart from overflow in any unit.
        trace = np.sum(inverse, axis=0)
        share = inverse / trace
        squares = np.sum(share**2, axis=0)
        power = np.sum(self.projection**2, axis=1)
        gcv = n * (power @ share**2)
        return RidgeStatistics(
            ridge=asked,
            effective_ridge=delta,
            leave_one_out=np.mean(self.squared_residuals(asked), axis=0),
            gcv=gcv,
            train_error=power @ (delta * inverse) ** 2 / n,
            df1=np.sum(value[:, None] * inverse, axis=0),
            df2=n - 1 / squares,
            kappa=1 / trace,
            overfitting_coefficient=n * squares,
            condition_number=(value[0] + delta) / (value[-1] + delta),
        )


def ridge_fit(K: Any, y: Any) -> RidgeFit:
    r"""Return a Gram matrix and targets in the basis of eigenvectors, ready for any ridge.

    Parameters
    ----------
    K : array of any library, shape (n, n)
        Gram matrix, without a factor 1/n.
    y : array, shape (n,) or (n, C)
        Targets. There is no intercept: subtract their mean first, unless the kernel holds constants.

    Returns
    -------
    RidgeFit
        float64 on the host, whatever the dtype of the matrix; its floor is that of the dtype.

    Raises
    ------
    ShapeError, NonFiniteError, NotSymmetricError, BackendError, ArgumentError
        See :func:`spectra.kernels.gram.gram_spectrum` and :func:`spectra.kernels.gram_input.as_targets`.

    Notes
    -----
    One eigendecomposition, O(n^3); each ridge after that O(n^2 C).

    Examples
    --------
    >>> ridge_fit(np.diag([4.0, 1.0]), [1.0, 2.0]).coefficients(1.0).ravel().round(12).tolist()
    [0.2, 1.0]
    """
    spectrum = gram_spectrum(K, vectors=True)
    target = require_usable_size(as_targets(y, spectrum.num_samples), smallest=0.0)
    assert spectrum.eigenvector is not None
    projection = frozen_array(spectrum.eigenvector.T @ target, name="y")
    return RidgeFit(spectrum=spectrum, target=target, projection=projection)


def require_usable_size(target: Vector, *, smallest: float = SMALLEST) -> Vector:
    """Return targets, or raise ArgumentError if squares of them are beyond the numbers of float64.

    Examples
    --------
    >>> require_usable_size(np.array([0.0, 2.0])).tolist()
    [0.0, 2.0]
    """
    size = float(np.max(np.abs(target)))
    if size != 0 and not smallest <= size <= LARGEST:
        raise ArgumentError(
            f"the largest target is {size:.3g}, and powers of it are no numbers of float64; choose another unit, as "
            f"y / {size:.0e}"
        )
    return target


def checked_ridges(ridges: npt.ArrayLike) -> Vector:
    """Return ridges of shape (R,), at least one.

    Raises
    ------
    ShapeError
        If they are no vector, or there is none.
    ArgumentError
        If one is negative or not finite.

    Examples
    --------
    >>> checked_ridges(0.5).tolist()
    [0.5]
    """
    try:
        given = np.atleast_1d(np.asarray(ridges, dtype=np.float64))
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"ridges must be numbers, at least 0; got {ridges!r}") from error
    if given.ndim != 1 or given.size == 0:
        raise ShapeError(f"ridges of shape (R,), at least one, are required; got shape {given.shape}")
    for ridge in given:
        checked_ridge(ridge)
    return given
