r"""The gradient method that is best on average over quadratics with a given spectral measure.

A first-order method of t steps turns the error of an eigenvalue x into ``P_t(x)`` times itself, with a polynomial of
degree t and ``P_t(0) = 1``. If the start errors have the same expected square in all eigendirections, then
``E |x_t - x*|^2 / |x_0 - x*|^2`` is the integral of ``P_t^2`` against the spectral measure. The best ``P_t`` are the
polynomials orthogonal with respect to ``x dmu(x)``, scaled to ``P_t(0) = 1``; by their three-term recurrence all of
them are iterates of one heavy ball with step-dependent constants::

    x_{t+1} = x_t - h_t grad(x_t) + m_t (x_t - x_{t-1}),    h_t = 1/d_t,   m_t = b_t^2 / (d_{t-1} d_t),   m_0 = 0

where ``d_0 = a_0``, ``d_t = a_t - b_t^2/d_{t-1}`` are the pivots of the Jacobi matrix with diagonal a and off-diagonal
b (Pedregosa and Scieur, ICML 2020; the form with pivots is derived here).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from spectra.arrays import finite_number, is_array
from spectra.errors import ArgumentError, NonFiniteError, ShapeError
from spectra.lanczos import lanczos
from spectra.operators import Operator
from spectra.protocols import Array
from spectra.start_vectors import as_count

__all__ = ["AverageCaseMethod", "average_case_optimal", "marchenko_pastur_method"]


@dataclass(frozen=True, kw_only=True, eq=False)
class AverageCaseMethod:
    """Constants of ``x_{t+1} = x_t - h_t grad(x_t) + m_t (x_t - x_{t-1})``, and what it attains.

    Attributes
    ----------
    learning_rates : ndarray, shape (num_steps,)
        ``h_t``.
    momenta : ndarray, shape (num_steps,)
        ``m_t``; the first one is 0.
    expected_errors : ndarray, shape (num_steps + 1,)
        ``E |x_t - x*|^2 / |x_0 - x*|^2`` for t = 0, 1, ...; the smallest that any first-order method attains, as long
        as it falls. Where it rises, rounding has taken over, see `average_case_optimal`.

    Notes
    -----
    Source: Pedregosa and Scieur (2020), see `average_case_optimal`.

    Examples
    --------
    >>> average_case_optimal([1.0, 3.0], [0.5, 0.5], num_steps=2).expected_errors.round(12).tolist()
    [1.0, 0.2, 0.0]
    """

    learning_rates: np.ndarray
    momenta: np.ndarray
    expected_errors: np.ndarray

    @property
    def num_steps(self) -> int:
        """Steps the constants are for."""
        return len(self.learning_rates)

    def residual_polynomials(self, eigenvalues: npt.ArrayLike) -> np.ndarray:
        """Return ``P_t`` at some eigenvalues: the factor on the error after t steps, shape (num_steps + 1, k).

        Examples
        --------
        >>> method = average_case_optimal([1.0, 3.0], [0.5, 0.5], num_steps=2)
        >>> method.residual_polynomials([1.0, 3.0]).round(12).tolist()
        [[1.0, 1.0], [0.6, -0.2], [0.0, 0.0]]
        """
        x = np.atleast_1d(np.asarray(eigenvalues, dtype=np.float64))
        rows = [np.ones_like(x)]
        previous = rows[0]
        with np.errstate(over="ignore", invalid="ignore"):
            for rate, momentum in zip(self.learning_rates, self.momenta, strict=True):
                rows.append(rows[-1] - rate * x * rows[-1] + momentum * (rows[-1] - previous))
                previous = rows[-2]
        return np.stack(rows)

    def run(self, gradient: Callable[[Array], Array], start: Array) -> Array:
        """Return the iterate after all steps.

        Parameters
        ----------
        gradient : callable
            Gradient of a quadratic, at an array like ``start``.
        start : array
            Of any array library.

        Examples
        --------
        >>> method = average_case_optimal([1.0, 3.0], [0.5, 0.5], num_steps=2)
        >>> bool(np.allclose(method.run(lambda x: np.array([1.0, 3.0]) * x - 3.0, np.zeros(2)), [3.0, 1.0]))
        True
        """
        x = start if is_array(start) else np.asarray(start, dtype=np.float64)
        previous = x
        for rate, momentum in zip(self.learning_rates.tolist(), self.momenta.tolist(), strict=True):
            x, previous = x - rate * gradient(x) + momentum * (x - previous), x
        return x


def average_case_optimal(nodes: npt.ArrayLike, weights: npt.ArrayLike, *, num_steps: int) -> AverageCaseMethod:
    """Return the method with the least expected error over quadratics with a discrete spectral measure.

    Parameters
    ----------
    nodes : array_like, shape (k,)
        Eigenvalues of the Hessian, not negative, at least one of them positive; or the nodes of a quadrature of their
        distribution.
    weights : array_like, shape (k,)
        Not negative; scaled to sum 1. For another error than ``|x - x*|^2`` multiply them with what an eigenvalue
        contributes: with ``x`` for the loss, with ``x^2`` for squared gradients.
    num_steps : int
        Steps of the method. Once they are as many as there are distinct positive nodes, nothing is left to remove:
        further steps have the constants 0.

    Returns
    -------
    AverageCaseMethod
        Eigenvalues 0 keep their error: ``expected_errors`` do not fall below their weight.

    Raises
    ------
    ArgumentError
        If a node or weight is negative, no positive node has a positive weight, or ``num_steps`` is no count.
    ShapeError
        If nodes and weights are not two vectors of one length.
    NonFiniteError
        If one of them is not finite.

    Notes
    -----
    ``O(k num_steps^2)`` operations on the host: a Lanczos run with the diagonal matrix of the nodes, started at
    ``sqrt(weights nodes)``. With a quadrature of k nodes in place of a distribution the constants are right as long
    as it integrates polynomials of degree ``2 num_steps``; later they are those of the nodes alone.

    Source: Pedregosa and Scieur (2020), Acceleration through spectral density estimation.

    Examples
    --------
    >>> method = average_case_optimal(np.linspace(1.0, 4.0, 400), np.ones(400), num_steps=20)
    >>> bool(abs(method.momenta[-1] - (1 / 3) ** 2) < 1e-3)  # tends to the momentum of Polyak's heavy ball
    True
    """
    x, w = np.asarray(nodes, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    num_steps = as_count(num_steps, name="num_steps")
    if x.ndim != 1 or x.shape != w.shape or x.size == 0:
        raise ShapeError(f"nodes and weights must be two vectors of one length, got shapes {x.shape} and {w.shape}")
    if not (np.all(np.isfinite(x)) and np.all(np.isfinite(w))):
        raise NonFiniteError("nodes and weights must be finite; got NaN or infinity")
    if np.any(x < 0) or np.any(w < 0) or not np.any((x > 0) & (w > 0)):
        raise ArgumentError(
            "nodes and weights must not be negative, with a positive weight on a positive node; got nodes from "
            f"{x.min():.6g} to {x.max():.6g} and weights from {w.min():.6g} to {w.max():.6g}"
        )
    scale = float(np.max(x[w > 0]))
    x, w = x / scale, w / np.max(w)
    w = w / np.sum(w)
    operator = Operator(lambda block: block * x[:, None], like=x, name="nodes")
    jacobi = lanczos(operator, np.sqrt(w * x), num_steps=min(num_steps, x.size))
    used = int(jacobi.num_steps[0])
    rates, momenta = np.zeros(num_steps), np.zeros(num_steps)
    pivot = 0.0
    for t in range(used):
        coupling = jacobi.off_diagonal[0, t - 1] ** 2 / pivot if t else 0.0
        pivot = jacobi.diagonal[0, t] - coupling
        rates[t], momenta[t] = 1.0 / pivot, coupling / pivot
    constants = {"learning_rates": rates, "momenta": momenta}
    method = AverageCaseMethod(**constants, expected_errors=np.ones(num_steps + 1))
    with np.errstate(over="ignore", invalid="ignore"):
        errors = method.residual_polynomials(x) ** 2 @ w
    errors = np.where(np.isnan(errors), np.inf, errors)
    return AverageCaseMethod(learning_rates=rates / scale, momenta=momenta, expected_errors=errors)


def marchenko_pastur_method(*, smallest: float, largest: float, num_steps: int) -> AverageCaseMethod:
    r"""Return the optimal method for the positive eigenvalues of ``M'M``, M with independent entries.

    With the edges l and L of Marchenko and Pastur's law, and its aspect ratio
    ``r = ((sqrt L - sqrt l)/(sqrt L + sqrt l))^2``::

        d_0 = (L + l)/2,   d_t = d_0 - ((L - l)/4)^2/d_{t-1},   h_t = 1/d_t,   m_t = ((L - l)/4)^2/(d_{t-1} d_t)
        E |x_t - x*|^2 / |x_0 - x*|^2 = 1/(1 + r^-1 + ... + r^-t)

    Parameters
    ----------
    smallest, largest : float
        The edges, ``0 <= smallest <= largest``; the smaller one is 0 for a square M.
    num_steps : int
        Steps of the method.

    Returns
    -------
    AverageCaseMethod

    Raises
    ------
    ArgumentError
        If the edges or ``num_steps`` cannot be used.

    Notes
    -----
    x times the density of the law is a semicircle between the edges, whose polynomials are Chebyshev's of the second
    kind, with a constant Jacobi matrix. Eigenvalues 0 of an M with more columns than rows are left out: their error
    stays. The constants tend to those of Polyak's heavy ball.

    The polynomials grow fast outside of the edges, where finite matrices have some eigenvalues. Against the law, the
    mean error of 60 x 120 matrices was 1.03 times as large after 2 steps, 1.2 times after 5 and several times after 10;
    that of 400 x 800 matrices 1.00, 1.02 and 1.1 times. For more steps take measured eigenvalues as edges.

    Source: Pedregosa and Scieur (2020) for the law; the pivots and the sum of powers are derived.

    ``O(num_steps)`` operations on the host.

    Examples
    --------
    >>> method = marchenko_pastur_method(smallest=1.0, largest=9.0, num_steps=3)  # r = 1/4
    >>> (1 / method.expected_errors).round(9).tolist()
    [1.0, 5.0, 21.0, 85.0]
    """
    low, high = finite_number(smallest, name="smallest"), finite_number(largest, name="largest")
    num_steps = as_count(num_steps, name="num_steps")
    if not 0 <= low <= high or high == 0:
        raise ArgumentError(f"0 <= smallest <= largest and largest > 0 are required; got {low:.6g} and {high:.6g}")
    share = low / high
    mean, squared = (1.0 + share) / 2, ((1.0 - share) / 4) ** 2
    ratio = ((1.0 - np.sqrt(share)) / (1.0 + np.sqrt(share))) ** 2
    rates, momenta, errors = np.zeros(num_steps), np.zeros(num_steps), np.ones(num_steps + 1)
    pivot, total = mean, 1.0
    for t in range(num_steps):
        coupling = squared / pivot if t else 0.0
        pivot = mean - coupling
        rates[t], momenta[t] = 1.0 / (high * pivot), coupling / pivot
        total = 1.0 + ratio * total
        errors[t + 1] = ratio ** (t + 1) / total
    return AverageCaseMethod(learning_rates=rates, momenta=momenta, expected_errors=errors)
