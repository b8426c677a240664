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
from spectra.dynamics.divided_differences import power_divided_difference
from spectra.errors import ArgumentError, NonFiniteError, ShapeError
from spectra.provenance import provenance
from spectra.start_vectors import as_count

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["UNROLLING_SCHEMA", "UnrollingBurnIn", "power_divided_difference", "unrolling_burn_in", "unrolling_error"]

UNROLLING_SCHEMA = "spectra/unrolling"
_VERSION = 1


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

    Notes
    -----
    Source: derived, see `unrolling_burn_in`.

    Examples
    --------
    >>> burn_in = unrolling_burn_in(0.01, 1.0, 2 / 1.01)  # both ends are equally slow
    >>> burn_in.peak_step == burn_in.smallest_step == burn_in.largest_step
    True
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

    Costs a few operations, whatever the numbers.

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
        iteration overflows. Attributes: ``schema``, ``schema_version``, ``learning_rate``, ``smallest_eigenvalue``,
        ``largest_eigenvalue`` of H, and the provenance.

    Raises
    ------
    ShapeError
        If the shapes do not fit.
    ArgumentError
        If H or dH is not symmetric, H not positive definite, h not positive, or ``num_steps`` no count.
    NonFiniteError
        If an entry is not finite.

    Notes
    -----
    ``O(n^3 + num_steps n^2)`` operations on the host. Source: Scieur, Bertrand, Gidel and Pedregosa (2022); the form
    with divided differences is derived.

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
        attrs=provenance(
            schema=UNROLLING_SCHEMA,
            schema_version=_VERSION,
            learning_rate=h,
            smallest_eigenvalue=float(values[0]),
            largest_eigenvalue=float(values[-1]),
        ),
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
