r"""Differentiating gradient descent through its iterations: how wrong the derivative is after k steps.

For the loss ``x'H x/2 + b'x``, whose H and b depend on a parameter, the minimizer has the derivative
``dx* = -inverse(H)(db + dH x*)``. Gradient descent with learning rate h, differentiated step by step, gives
``dx_k`` instead, with ``P_k(a) = (1 - h a)^k`` and the eigenvalues a_i, eigenvectors V of H::

    dx_k - dx* = P_k(H)(dx_0 - dx*) + V (P_k[a_i, a_j] o V'dH V) V'(x_0 - x*)

The second term holds divided differences, on the diagonal ``P_k'(a) = -k h (1 - h a)^(k-1)``: it is 0 at first, grows
with k, and only then falls. That is the burn-in of unrolled differentiation (Scieur, Bertrand, Gidel and Pedregosa,
NeurIPS 2022; the form with divided differences, for dH that does not commute with H, is derived).
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from spectra.arrays import finite_number
from spectra.errors import ArgumentError, NonFiniteError, ShapeError
from spectra.start_vectors import as_count

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["UnrollingBurnIn", "power_divided_difference", "unrolling_burn_in", "unrolling_error"]


def power_divided_difference(u: npt.ArrayLike, v: npt.ArrayLike, order: int) -> np.ndarray:
    """Return ``(u^k - v^k)/(u - v)``, and ``k u^(k-1)`` where both are equal, without cancellation.

    Parameters
    ----------
    u, v : array_like
        Real; broadcast against each other.
    order : int
        k, not negative.

    Notes
    -----
    With one sign, ``hi^(k-1) expm1(k log1p(t))/t`` for ``t = (lo - hi)/hi`` of the absolute values; with two signs the
    powers are added, or the difference of the absolute values is split off. Overflow gives infinity. Derived.

    Examples
    --------
    >>> power_divided_difference([2.0, 0.5, -0.5], [3.0, 0.5, 0.5], 3).tolist()
    [19.0, 0.75, 0.25]
    """
    k = as_count(order, name="order", least=0)
    u, v = np.broadcast_arrays(np.asarray(u, dtype=np.float64), np.asarray(v, dtype=np.float64))
    a, b = np.abs(u), np.abs(v)
    high, low = np.maximum(a, b), np.minimum(a, b)
    if k == 0:
        return np.zeros(u.shape)
    with np.errstate(all="ignore"):
        t = (low - high) / high
        ratio = np.where(t == 0, float(k), np.expm1(k * np.log1p(t)) / t)
        same = np.where(high > 0, high ** (k - 1) * ratio, float(k == 1))
        total = a + b
        opposite = (a**k + b**k) / total
        if k % 2 == 0:
            opposite = np.where(high > low, same * ((high - low) / total), 0.0)
        # (u^k - v^k)/(u - v) of two negative numbers has the sign of an odd power less one
        signed = np.where(u < 0, (-1.0) ** (k - 1), 1.0) * same
        even_sign = np.where((u < 0) == (a > b), -1.0, 1.0) if k % 2 == 0 else 1.0
    return np.where((u < 0) == (v < 0), signed, np.where(total > 0, even_sign * opposite, same))


@dataclass(frozen=True, kw_only=True)
class UnrollingBurnIn:
    """Where ``k h |1 - h a|^(k-1)`` peaks over the steps k, for the two ends of the spectrum.

    Attributes
    ----------
    peak_step : float
        Step of the higher one of the two peaks; infinite if the iteration does not converge.
    peak_height : float
        Its height, in units of 1/eigenvalue: the second term of the error is at most this times ``|dH|_F |x_0 - x*|``.
    smallest_step, smallest_height : float
        The peak of the smallest eigenvalue.
    largest_step, largest_height : float
        The peak of the largest eigenvalue.
    """

    smallest_step: float
    smallest_height: float
    largest_step: float
    largest_height: float

    @property
    def peak_step(self) -> float:
        """Step of the higher peak."""
        return self.smallest_step if self.smallest_height >= self.largest_height else self.largest_step

    @property
    def peak_height(self) -> float:
        """Height of the higher peak."""
        return max(self.smallest_height, self.largest_height)


def unrolling_burn_in(smallest: float, largest: float, learning_rate: float) -> UnrollingBurnIn:
    """Return when, and at which height, the burn-in of unrolled gradient descent peaks.

    Parameters
    ----------
    smallest, largest : float
        Ends of the spectrum of the Hessian, ``0 < smallest <= largest``.
    learning_rate : float
        h > 0.

    Returns
    -------
    UnrollingBurnIn
        Infinite where ``|1 - h a| >= 1``: no peak, the error of the derivative grows without end.

    Raises
    ------
    ArgumentError
        If the ends are not ordered, or one of the numbers is not positive or not finite.

    Notes
    -----
    With ``q = |1 - h a|`` the peak is at the k next to ``-1/ln q``, of height about ``h/(e (1 - q))``. For slow
    eigenvalues that is ``1/(e a)``, whatever h: what a larger h adds is a peak of the *largest* eigenvalue, once
    ``h largest`` is near 2. Relative to its eigenvalue it is, for ``h = 2/(smallest + largest)``, as high as the
    condition number over e. By the mean value theorem no divided difference exceeds the higher peak.

    Source: Scieur, Bertrand, Gidel and Pedregosa (2022) for the burn-in; the step and height are derived.

    Examples
    --------
    >>> unrolling_burn_in(0.01, 1.0, 1.0).peak_step, unrolling_burn_in(0.01, 1.0, 2 / 1.01).peak_step
    (99.0, 50.0)
    """
    low, high = finite_number(smallest, name="smallest"), finite_number(largest, name="largest")
    h = finite_number(learning_rate, name="learning_rate")
    if not (0 < low <= high and h > 0):
        raise ArgumentError(
            f"0 < smallest <= largest and learning_rate > 0 are required; got {low:.6g}, {high:.6g} and {h:.6g}"
        )
    first, last = _peak(h * low), _peak(h * high)
    return UnrollingBurnIn(
        smallest_step=first[0],
        smallest_height=h * first[1],
        largest_step=last[0],
        largest_height=h * last[1],
    )


def unrolling_error(
    hessian: npt.ArrayLike,
    linear: npt.ArrayLike,
    *,
    hessian_derivative: npt.ArrayLike,
    linear_derivative: npt.ArrayLike,
    start: npt.ArrayLike,
    start_derivative: npt.ArrayLike,
    learning_rate: float,
    num_steps: int,
) -> "xr.Dataset":
    """Return the error of the derivative of gradient descent after each step, in closed form.

    Parameters
    ----------
    hessian : array_like, shape (n, n)
        H, symmetric and positive definite.
    linear : array_like, shape (n,)
        b of the loss ``x'H x/2 + b'x``.
    hessian_derivative, linear_derivative : array_like, shapes (n, n) and (n,)
        dH, symmetric, and db: derivatives by the parameter.
    start, start_derivative : array_like, shape (n,)
        ``x_0`` and ``dx_0``; the latter is zero for a start that does not depend on the parameter.
    learning_rate : float
        h > 0.
    num_steps : int
        Last step.

    Returns
    -------
    xarray.Dataset
        Dimension ``step``: 0, ..., num_steps. Euclidean norms ``iterate_error`` of ``x_k - x*``, ``derivative_error``
        of ``dx_k - dx*``, and of its two terms ``forgetting`` (of the start) and ``burn_in``. Infinite where the
        iteration overflows.

    Raises
    ------
    ShapeError
        If the shapes do not fit.
    ArgumentError
        If H or dH is not symmetric, H not positive definite, or h not positive.
    NonFiniteError
        If an entry is not finite.

    Notes
    -----
    ``O(n^3 + num_steps n^2)`` operations on the host. Source: see the module.

    Examples
    --------
    >>> H, dH = np.diag([0.01, 1.0]), np.eye(2)
    >>> zero = np.zeros(2)
    >>> error = unrolling_error(
    ...     H,
    ...     zero,
    ...     hessian_derivative=dH,
    ...     linear_derivative=zero,
    ...     start=np.array([1.0, 0.0]),
    ...     start_derivative=zero,
    ...     learning_rate=1.0,
    ...     num_steps=300,
    ... )
    >>> int(error["derivative_error"].values.argmax()), float(error["derivative_error"].max())
    (99, 36.97296)
    """
    import xarray as xr

    h, num_steps = finite_number(learning_rate, name="learning_rate"), as_count(num_steps, name="num_steps", least=0)
    if h <= 0:
        raise ArgumentError(f"learning_rate must be positive, got {h:.6g}")
    matrix = np.asarray(hessian, dtype=np.float64)
    n = len(matrix) if matrix.ndim == 2 else 0
    matrix, tangent = _array(matrix, (n, n), "hessian"), _array(hessian_derivative, (n, n), "hessian_derivative")
    b, db = _array(linear, (n,), "linear"), _array(linear_derivative, (n,), "linear_derivative")
    x, dx = _array(start, (n,), "start"), _array(start_derivative, (n,), "start_derivative")
    _require_symmetric(hessian, "hessian")
    _require_symmetric(hessian_derivative, "hessian_derivative")
    values, vectors = np.linalg.eigh(matrix)
    if values[0] <= 0:
        raise ArgumentError(f"hessian must be positive definite, but its smallest eigenvalue is {values[0]:.6g}")
    tangent = vectors.T @ tangent @ vectors
    minimizer = -(vectors.T @ b) / values
    error = vectors.T @ x - minimizer
    derivative_error = vectors.T @ dx + (vectors.T @ db + tangent @ minimizer) / values
    factors = 1.0 - h * values
    norms = np.zeros((num_steps + 1, 4))
    with np.errstate(over="ignore", invalid="ignore"):
        for k in range(num_steps + 1):
            decay = factors**k
            differences = -h * power_divided_difference(factors[:, None], factors[None, :], k)
            first, second = decay * derivative_error, (differences * tangent) @ error
            norms[k] = [np.linalg.norm(term) for term in (decay * error, first + second, first, second)]
    norms = np.where(np.isnan(norms), np.inf, norms)
    names = ("iterate_error", "derivative_error", "forgetting", "burn_in")
    return xr.Dataset(
        {name: (("step",), norms[:, i]) for i, name in enumerate(names)},
        coords={"step": np.arange(num_steps + 1)},
        attrs={"learning_rate": h, "smallest_eigenvalue": float(values[0]), "largest_eigenvalue": float(values[-1])},
    )


def _peak(product: float) -> tuple[float, float]:
    """Return the integer k at which ``k q^(k-1)`` is largest, and its value, for ``q = |1 - product|``."""
    gap = product if product <= 1 else 2.0 - product  # 1 - q, without cancellation
    if gap <= 0:
        return math.inf, math.inf
    k = float(max(1, math.ceil(1.0 / gap - 1.0)))
    return k, k if gap >= 1 else k * math.exp((k - 1) * math.log1p(-gap))


def _array(values: npt.ArrayLike, shape: tuple[int, ...], name: str) -> np.ndarray:
    """Return finite float64 values of a shape."""
    array = np.asarray(values, dtype=np.float64)
    if array.shape != shape or 0 in shape:
        raise ShapeError(f"{name} must have shape {shape} to fit a square hessian, got {array.shape}")
    if not np.all(np.isfinite(array)):
        raise NonFiniteError(f"{name} must be finite; got NaN or infinity")
    return array


def _require_symmetric(values: npt.ArrayLike, name: str) -> None:
    """Raise unless a matrix equals its transpose up to half of the digits of its dtype."""
    array = np.asarray(values)
    digits = np.finfo(array.dtype if array.dtype == np.float32 else np.float64).eps
    skew, size = float(np.max(np.abs(array - array.T))), float(np.max(np.abs(array)))
    if skew > math.sqrt(digits) * size:
        raise ArgumentError(f"{name} must be symmetric, but it and its transpose differ by {skew / size:.2g} relative")
