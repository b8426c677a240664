r"""Kernel ridge regression from products with the Gram matrix: conjugate gradients with a low-rank preconditioner."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from spectra.arrays import describe, eps, finite_number, inner, is_array, namespace, to_host
from spectra.errors import ArgumentError, NonFiniteError, ShapeError
from spectra.frozen import Vector, frozen_array
from spectra.kernels.gram_input import checked_ridge
from spectra.kernels.low_rank import LowRank
from spectra.operators import Operator, as_operator
from spectra.products import Products
from spectra.protocols import Array, SupportsMatmul
from spectra.start_vectors import as_count

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["GcvEstimate", "RidgeSolution", "gcv_of_solution", "solve_ridge"]

#: Residual at which a solution counts as found, relative to the targets, at least (design choice).
TOLERANCE = 1e-6
#: Tolerance that can be reached, in eps times the square root of the samples (measured: 8 at most, n = 2000, float32).
REACHABLE = 10.0
#: Steps at most by default. Measured for n = 2000, ridge 1e-4 n, tolerance 1e-10: RBF 114 steps without, 4 with 200
#: columns in the preconditioner; Laplace 148 without, 36 with 200, 25 with 500.
MAX_STEPS = 200


@dataclass(frozen=True, kw_only=True, eq=False)
class RidgeSolution:
    r"""Dual coefficients :math:`a = (K + \delta)^{-1} y`, with certificates.

    Attributes
    ----------
    coefficients, ridge : array, shape (n, C), and float
        a, in the library of the operator, and :math:`\delta`.
    inverse_form, inverse_form_error : ndarray, shape (C,)
        :math:`y'(K + \delta)^{-1} y`, which is too small by at most :math:`\|r\|^2/\delta`.
    squared_form, squared_form_error : ndarray, shape (C,)
        :math:`y'(K + \delta)^{-2} y = \|a\|^2`, and a bound of its error, from :math:`\|a - a^*\| \le \|r\|/\delta`.
    residual : ndarray, shape (C,)
        :math:`\|r\|/\|y\|` with :math:`r = y - (K + \delta)a` from a product of its own; 0 where y is 0.
    num_steps, num_products, num_blocks : int
        Cost: steps, products with a vector, blocks of these.
    is_trustworthy, why : bool, str
        Whether every residual is at most the tolerance, and a sentence.
    """

    coefficients: Array
    ridge: float
    inverse_form: Vector
    inverse_form_error: Vector
    squared_form: Vector
    squared_form_error: Vector
    residual: Vector
    num_steps: int
    num_products: int
    num_blocks: int
    is_trustworthy: bool
    why: str

    def __post_init__(self) -> None:
        for name in ("inverse_form", "inverse_form_error", "squared_form", "squared_form_error", "residual"):
            object.__setattr__(self, name, frozen_array(getattr(self, name), name=name))

    @property
    def train_error(self) -> float:
        r"""Mean squared error on the training data, summed over outputs: :math:`\delta^2 \|a\|^2/n`."""
        return self.ridge**2 * float(np.sum(self.squared_form)) / int(self.coefficients.shape[0])


@dataclass(frozen=True, kw_only=True)
class GcvEstimate:
    """Generalized cross-validation of a large problem.

    Attributes
    ----------
    test_error : float
        Mean squared error on new noisy labels, summed over outputs.
    low, high : float
        What the solution and the trace leave open about the *formula*. How far the formula is from the error of new
        data is not part of it.
    is_trustworthy, why : bool, str
        Whether solution and trace both are, and a sentence.
    """

    test_error: float
    low: float
    high: float
    is_trustworthy: bool
    why: str


def solve_ridge(
    operator: SupportsMatmul | Array,
    y: Any,
    ridge: float,
    *,
    preconditioner: LowRank | None = None,
    tolerance: float = TOLERANCE,
    max_steps: int = MAX_STEPS,
) -> RidgeSolution:
    r"""Solve :math:`(K + \delta I) a = y` for one or several outputs.

    Parameters
    ----------
    operator : Operator or anything `spectra.as_operator` accepts, shape (n, n)
        K, real, symmetric, positive semidefinite.
    y : array, shape (n,) or (n, C)
        Targets, of the library and dtype of the operator; for NumPy also lists.
    ridge : float
        :math:`\delta`, positive, not divided by n.
    preconditioner : LowRank, optional
        :math:`FF' + \delta I` takes the place of the identity; see :func:`spectra.kernels.rp_cholesky`.
    tolerance : float
        For :math:`\|y - (K + \delta)a\|/\|y\|`; raised to :math:`10 \sqrt{n}\, \epsilon` of the dtype.
    max_steps : int
        Steps at most.

    Returns
    -------
    RidgeSolution
        Not trustworthy where the steps did not suffice.

    Raises
    ------
    ArgumentError
        If the ridge is not positive, or a count or tolerance is wrong.
    ShapeError, BackendError, NonFiniteError
        If the targets or the operator cannot be used.

    Notes
    -----
    One block of C products for each step, and one more for the certificate. Each output has coefficients of its own;
    those that are solved are left alone, while products are shared.

    With r the residual, :math:`y'a^* = y'a + a'r + r'(K + \delta)^{-1}r`, so that ``inverse_form``, the first two
    terms, is too small by at most :math:`\|r\|^2/\delta` (derived here).

    Source: Hestenes and Stiefel (1952); the preconditioner is that of Diaz, Epperly, Frangella, Tropp and Webber
    (2023), arXiv 2304.12465.

    Examples
    --------
    >>> found = solve_ridge(np.diag([3.0, 1.0]), [4.0, 2.0], 1.0)
    >>> found.coefficients[:, 0].round(9).tolist(), found.squared_form.round(9).tolist(), found.is_trustworthy
    ([1.0, 1.0], [2.0], True)
    """
    A, delta = as_operator(operator), checked_ridge(ridge)
    n = A.shape[0]
    if delta == 0:
        raise ArgumentError("a positive ridge is needed, for rounding decides the solution without one; got ridge=0")
    steps = as_count(max_steps, name="max_steps")
    tolerance = finite_number(tolerance, name="tolerance")
    if not 0 < tolerance < 1:
        raise ArgumentError(f"tolerance must lie between 0 and 1; got {tolerance!r}")
    if preconditioner is not None and preconditioner.num_samples != n:
        raise ShapeError(f"the preconditioner has {preconditioner.num_samples} samples, the operator {n}")
    target = _targets(A, y)
    limit = max(tolerance, REACHABLE * np.sqrt(n) * eps(A.like))
    size = _norms(target)
    unit = np.where(size > 0, size, 1.0)
    scaled = target / (column := Products(A).on_device(unit))
    a, done = _iterate(A, scaled, delta, preconditioner, limit, steps)
    r = scaled - (A @ a) - delta * a
    left = np.sqrt(to_host(inner(_rows(r), _rows(r))))
    if not np.all(np.isfinite(left)):
        raise NonFiniteError(f"products with {A.name!r} must be finite; the residual is not")
    norm = _norms(a) ** 2
    first = to_host(inner(_rows(scaled), _rows(a))) + to_host(inner(_rows(a), _rows(r)))
    off = left / delta
    solved = bool(np.all(left <= limit))
    worst = float(np.max(left))
    return RidgeSolution(
        coefficients=a * column,
        ridge=delta,
        inverse_form=first * size**2,
        inverse_form_error=left**2 / delta * size**2,
        squared_form=norm * size**2,
        squared_form_error=(2 * np.sqrt(norm) * off + off**2) * size**2,
        residual=left,
        num_steps=done,
        num_products=(done + 1) * int(target.shape[1]),
        num_blocks=done + 1,
        is_trustworthy=solved,
        why=f"relative residual {worst:.1g} after {done} steps"
        + ("" if solved else f", above the tolerance of {limit:.1g}: more steps, columns or a larger ridge are needed"),
    )


def gcv_of_solution(solution: RidgeSolution, traces: "xr.Dataset") -> GcvEstimate:
    r"""Return generalized cross-validation, :math:`n\, y'(K + \delta)^{-2} y / (\operatorname{tr}(K + \delta)^{-1})^2`.

    Parameters
    ----------
    solution : RidgeSolution
        From :func:`solve_ridge`.
    traces : xarray.Dataset
        From :func:`spectra.kernels.resolvent_traces` or :func:`spectra.kernels.large.kernel_dimension`, with this ridge
        among the effective ones.

    Returns
    -------
    GcvEstimate

    Raises
    ------
    ArgumentError
        If the ridge is not among those of the traces, or the number of samples is another.

    Notes
    -----
    Exact leave-one-out, which is better at small ridges, needs the diagonal of the inverse, and its relative error at
    every single sample: random probes do not give that at a fair price. Use :func:`spectra.kernels.leave_one_out` on a
    few thousand samples, or a holdout set.

    Source: Golub, Heath and Wahba (1979); Jacot et al. (2020), arXiv 2006.09796.

    Examples
    --------
    >>> from spectra.kernels.resolvent_traces import resolvent_traces
    >>> K = np.diag([3.0, 1.0])
    >>> found = gcv_of_solution(solve_ridge(K, [4.0, 2.0], 1.0), resolvent_traces(K, 1.0))
    >>> round(found.test_error, 6)
    7.111111
    """
    n = int(traces.attrs["num_samples"])
    if n != solution.coefficients.shape[0]:
        raise ArgumentError(f"the traces are of {n} samples, the solution of {solution.coefficients.shape[0]}")
    near = np.isclose(traces["effective_ridge"].values, solution.ridge, rtol=1e-9, atol=0.0)
    if not np.any(near):
        known = ", ".join(f"{one:.6g}" for one in traces["effective_ridge"].values)
        raise ArgumentError(f"traces at the ridge {solution.ridge:.6g} of the solution are needed; got {known}")
    at = traces.isel(ridge=int(np.argmax(near)))
    form, error = float(np.sum(solution.squared_form)), float(np.sum(solution.squared_form_error))
    # kappa = 1 / T
    value, low, high = (float(at[name]) ** 2 * n for name in ("kappa", "kappa_low", "kappa_high"))
    sound = solution.is_trustworthy and bool(at["is_trustworthy"])
    return GcvEstimate(
        test_error=form * value,
        low=max(form - error, 0.0) * low,
        high=(form + error) * high,
        is_trustworthy=sound,
        why=f"{solution.why}; {at['why'].item()}",
    )


def _iterate(
    A: Operator, y: Array, delta: float, preconditioner: LowRank | None, limit: float, max_steps: int
) -> tuple[Array, int]:
    """Run conjugate gradients for unit columns; return the solution and the steps."""
    xp = namespace(y)

    def smooth(r: Array) -> Array:
        """Return the preconditioned residual."""
        return r / delta if preconditioner is None else preconditioner.solve(r, ridge=delta)

    a, r = xp.zeros_like(y), y
    z = smooth(r)
    p, rho = z, inner(_rows(r), _rows(z))
    step = 0
    while step < max_steps:
        active = inner(_rows(r), _rows(r)) > limit**2 / 4
        if not bool(xp.any(active)):
            break
        image = (A @ p) + delta * p
        curvature = inner(_rows(p), _rows(image))
        safe = active & (curvature > 0)
        alpha = xp.astype(xp.where(safe, rho / xp.where(safe, curvature, 1.0), 0.0), y.dtype)
        a, r = a + alpha * p, r - alpha * image
        z = smooth(r)
        after = inner(_rows(r), _rows(z))
        beta = xp.astype(xp.where(safe & (rho > 0), after / xp.where(rho > 0, rho, 1.0), 0.0), y.dtype)
        p, rho = z + beta * p, after
        step += 1
        if not bool(xp.any(safe)):
            break
    return a, step


def _norms(block: Array) -> Vector:
    """Return the norms of columns, whose squares may underflow or overflow in the dtype."""
    xp = namespace(block)
    largest = xp.max(xp.abs(block), axis=0)
    unit = xp.where(largest > 0, largest, xp.ones_like(largest))
    scaled = _rows(block / unit)
    return to_host(unit) * np.sqrt(to_host(inner(scaled, scaled)))


def _rows(block: Array) -> Array:
    """Return columns as rows."""
    return namespace(block).matrix_transpose(block)


def _targets(A: Operator, y: Any) -> Array:
    """Return finite targets of shape (n, C)."""
    given = y
    if isinstance(A.like, np.ndarray) and not is_array(y):
        given = np.array(frozen_array(y, name="y"), dtype=A.like.dtype)
    A.require_like(given, what="y")
    if given.ndim not in (1, 2) or given.shape[0] != A.shape[0] or 0 in given.shape:
        raise ShapeError(f"y must have shape ({A.shape[0]},) or ({A.shape[0]}, C); got {describe(given)}")
    xp = namespace(given)
    if not bool(xp.all(xp.isfinite(given))):
        raise NonFiniteError("y must be finite; a target is NaN or infinite")
    return given[:, None] if given.ndim == 1 else given
