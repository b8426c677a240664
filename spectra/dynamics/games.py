r"""Average-case optimal methods for smooth games: find x with ``F(x) = A (x - x*) = 0`` where A is not symmetric.

For a normal A, ``A A' = A'A``, and start errors of the same expected square in all directions, a method with the
residual polynomial P has the expected error ``E |x_t - x*|^2 / |x_0 - x*|^2 = integral |P_t(z)|^2 dmu(z)`` over the
eigenvalues in the complex plane. Two measures have closed forms (Domingo-Enrich, Pedregosa and Scieur 2020, arXiv
2010.02076):

* Uniform on a disk with center C and radius R < C. Orthogonal polynomials are the powers of ``z - C``, with norms
  ``R^(2t)/(t+1)``, and the best ``P_t`` is their kernel polynomial: an average of the iterates of plain steps.
* Zero-sum bilinear games, ``A = [[0, M], [-M', 0]]``: eigenvalues ``+-i s`` with the singular values s of M. By their
  symmetry the best polynomial is even, a polynomial in ``s^2``: gradient steps on the Hamiltonian ``|F|^2/2``, whose
  Hessian is ``A'A``. For M with independent entries the law of ``s^2`` is Marchenko and Pastur's.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from spectra.arrays import eps, inner, is_array, namespace
from spectra.dynamics.average_case import marchenko_pastur_method
from spectra.dynamics.disk_weights import DiskMethod
from spectra.errors import ArgumentError, NonFiniteError, ShapeError
from spectra.protocols import Array

__all__ = ["DiskMethod", "GameRun", "bilinear_game_method", "disk_method"]


@dataclass(frozen=True, kw_only=True, eq=False)
class GameRun:
    """Where a method ended, and how it went.

    Attributes
    ----------
    iterate : array
        ``x_t`` after the last step, like the start.
    residual_norms : ndarray, shape (num_steps + 1,)
        ``|F(x_t)|``; rising norms say that the spectrum is not where the method was told.
    expected_errors : ndarray, shape (num_steps + 1,)
        ``E |x_t - x*|^2 / |x_0 - x*|^2`` if the spectrum is the one the method is for.
    num_evaluations : int
        Evaluations of F.

    Notes
    -----
    Source: see `disk_method` and `bilinear_game_method`.

    Examples
    --------
    >>> run = disk_method(lambda x: 2.0 * x - 6.0, np.zeros(1), center=2.0, radius=0.0, num_steps=1)
    >>> run.iterate.tolist(), run.residual_norms.tolist()
    ([3.0], [6.0, 0.0])
    """

    iterate: Array
    residual_norms: np.ndarray
    expected_errors: np.ndarray
    num_evaluations: int


def disk_method(
    operator: Callable[[Array], Array], start: Array, *, center: float, radius: float, num_steps: int
) -> GameRun:
    """Run the optimal method for eigenvalues that are uniform on a disk.

    Parameters
    ----------
    operator : callable
        The affine field ``F(x) = A x + b``, for arrays like ``start``.
    start : array, shape (n,)
        ``x_0``, of any array library; a list becomes a float64 array.
    center, radius : float
        Of the disk, ``0 <= radius < center``; see `spectra.dynamics.disk_fit.fit_disk`.
    num_steps : int
        Steps of one evaluation each.

    Returns
    -------
    GameRun
        The iterate, like ``start``, and the norms of the fields on the way. Norms that rise are a result.

    Raises
    ------
    ArgumentError
        If the disk or ``num_steps`` cannot be used.
    ShapeError
        If ``start`` is no vector, or F changes the shape.
    NonFiniteError
        If F gives NaN or infinity, or the norm of a field exceeds the largest number.

    Notes
    -----
    Costs ``num_steps + 1`` evaluations; the last one is for the last residual norm. A normal A with eigenvalues
    elsewhere converges as long as ``|z - C| < C`` for all of them, at the rate ``max(|z - C|, R^2/C)/C`` per step.
    The average gains a bounded factor over its last plain step ``y_t``: ``E |y_t - x*|^2`` is ``B_t/beta_t`` times
    larger, which tends to ``1/(1 - (R/C)^2)``.

    Source: Domingo-Enrich, Pedregosa and Scieur (2020); the formulas of `DiskMethod` were checked by quadrature.

    Examples
    --------
    >>> field = np.array([[2.0, -1.0], [1.0, 2.0]])
    >>> run = disk_method(lambda x: field @ x - np.array([1.0, 3.0]), np.zeros(2), center=2.0, radius=1.0, num_steps=40)
    >>> bool(np.allclose(run.iterate, [1.0, 1.0])), run.num_evaluations
    (True, 41)
    """
    method = DiskMethod(center=center, radius=radius)
    shares = method.newest_shares(num_steps)
    y = _vector(start)
    field = _checked(operator, y)
    x, residual, norms = y, field, [_norm(field)]
    for share in shares[1:].tolist():
        y = y - method.learning_rate * field
        field = _checked(operator, y)
        x = x + share * (y - x)
        residual = residual + share * (field - residual)  # F is affine
        norms.append(_norm(residual))
    errors = [method.expected_error(t) for t in range(num_steps + 1)]
    return GameRun(
        iterate=x,
        residual_norms=np.array(norms),
        expected_errors=np.array(errors),
        num_evaluations=num_steps + 1,
    )


def bilinear_game_method(
    operator: Callable[[Array], Array], start: Array, *, smallest: float, largest: float, num_steps: int
) -> GameRun:
    """Run the optimal Hamiltonian method on a zero-sum bilinear game.

    The gradient of the Hamiltonian needs no transpose, since A is skew-symmetric: with ``v = F(x)`` it is
    ``A'v = -A v = (F(x) - F(x + s v))/s``, for ``s = 1/sqrt(largest)``, which makes both fields equally large.

    Parameters
    ----------
    operator : callable
        The field ``F(x) = A x + b`` with ``A = -A'``, for arrays like ``start``: for ``min_u max_v u'Mv + a'u + c'v``
        with ``x = (u, v)`` it is ``(M v + a, -M'u - c)``.
    start : array, shape (n,)
        ``x_0``, of any array library; a list becomes a float64 array.
    smallest, largest : float
        Edges of the squared singular values of M.
    num_steps : int
        Steps on the Hamiltonian.

    Returns
    -------
    GameRun
        The iterate, like ``start``, and the norms of the fields on the way. Norms that rise are a result.

    Raises
    ------
    ArgumentError
        If A is found not to be skew-symmetric, or for edges or ``num_steps`` that cannot be used.
    ShapeError
        If ``start`` is no vector, or F changes the shape.
    NonFiniteError
        If F gives NaN or infinity, or the norm of a field exceeds the largest number.

    Notes
    -----
    Costs ``2 num_steps + 1`` evaluations; the last one is for the last residual norm.

    For an M that is not square the expected errors count the part that can be removed: equilibria are not unique.

    Source: Domingo-Enrich, Pedregosa and Scieur (2020); constants of
    `spectra.dynamics.average_case.marchenko_pastur_method`.

    Examples
    --------
    >>> field = np.array([[0.0, 2.0], [-2.0, 0.0]])
    >>> run = bilinear_game_method(lambda x: field @ x - 2.0, np.zeros(2), smallest=4.0, largest=4.0, num_steps=1)
    >>> run.iterate.tolist(), run.residual_norms.round(12).tolist(), run.num_evaluations
    ([-1.0, 1.0], [2.828427124746, 0.0], 3)
    """
    method = marchenko_pastur_method(smallest=smallest, largest=largest, num_steps=num_steps)
    x = _vector(start)
    size = float(np.sqrt(largest))
    norms: list[float] = []

    def gradient(point: Array) -> Array:
        field = _checked(operator, point)
        norm = _norm(field)
        shifted = _checked(operator, point + field / size)
        _norm(shifted)
        image = size * (shifted - field)
        if not norms:
            _require_skew(field, image)
        norms.append(norm)
        return -image

    x = method.run(gradient, x)
    norms.append(_norm(_checked(operator, x)))
    return GameRun(
        iterate=x,
        residual_norms=np.array(norms),
        expected_errors=method.expected_errors,
        num_evaluations=2 * num_steps + 1,
    )


def _require_skew(field: Array, image: Array) -> None:
    """Raise unless ``v'(A v)`` vanishes for ``v = F(x_0)``."""
    along, size = abs(float(inner(field, image))), _norm(field) * _norm(image)
    if along > np.sqrt(eps(field)) * size:
        raise ArgumentError(
            f"the field must have a skew-symmetric matrix, v'Av = 0; got {along / size:.2g} relative to |v| |Av|; "
            "use disk_method for other normal matrices"
        )


def _vector(start: Any) -> Array:
    """Return the start as an array."""
    x = start if is_array(start) else np.asarray(start, dtype=np.float64)
    xp = namespace(x)
    if x.ndim != 1 or x.shape[0] == 0:
        raise ShapeError(f"start must be a vector with at least one entry, got shape {tuple(x.shape)}")
    return x if xp.isdtype(x.dtype, "real floating") else xp.astype(x, xp.float64)


def _checked(operator: Callable[[Array], Array], x: Array) -> Array:
    """Return F(x) if it has the shape of x; what is not finite is found by its norm."""
    field = operator(x)
    if tuple(getattr(field, "shape", ())) != tuple(x.shape):
        raise ShapeError(f"the operator must keep the shape {tuple(x.shape)}, got {getattr(field, 'shape', None)}")
    return field


def _norm(x: Array) -> float:
    """Return the Euclidean norm on the host, or raise if it is not finite."""
    norm = float(namespace(x).linalg.vector_norm(x))
    if not math.isfinite(norm):
        raise NonFiniteError(
            "fields must be finite and of finite norm; the operator gave NaN or infinity, or the iteration grew beyond "
            "the largest number. Look for overflow, division by zero or log of zero in the operator, and compare the "
            "spectrum with the one the method was told"
        )
    return norm
