"""What the curve of a full-batch method needs: a law or eigenvalues with weights, and the constants of the method."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from spectra.arrays import finite_number
from spectra.dynamics.heavy_ball import optimal_heavy_ball
from spectra.errors import ArgumentError, NonFiniteError, ShapeError
from spectra.laws import MarchenkoPastur

__all__ = ["FullBatchMethod", "FullBatchProblem", "full_batch_problem", "residual_polynomials"]

FullBatchMethod = Literal["gradient_descent", "nesterov", "heavy_ball"]

#: Eigenvalues below this many eps of the largest cannot be told from 0.
_ROUNDING = 64.0


@dataclass(frozen=True, eq=False, kw_only=True)
class FullBatchProblem:
    """A spectrum and a method, checked.

    Attributes
    ----------
    method : FullBatchMethod
    law : MarchenkoPastur or None
        If None, the spectrum is that of ``eigenvalues``.
    eigenvalues, weights : ndarray, shape (k,)
        Positive, with their shares of all eigenvalues, the zeros among them; empty for a law.
    aspect_ratio : float
        Parameters per sample.
    signal, noise : float
    learning_rate, momentum : float
        Constants of the method; the momentum is 0 where none is constant.

    Notes
    -----
    Source: see `spectra.dynamics.gradient_norm_curve`.

    Examples
    --------
    >>> full_batch_problem(
    ...     [0.0, 2.0], method="nesterov", signal=1.0, noise=0.0, weights=None, aspect_ratio=None
    ... ).weights.tolist()
    [0.5]
    """

    method: FullBatchMethod
    law: MarchenkoPastur | None
    eigenvalues: npt.NDArray[np.float64]
    weights: npt.NDArray[np.float64]
    aspect_ratio: float
    signal: float
    noise: float
    learning_rate: float
    momentum: float


def full_batch_problem(
    spectrum: MarchenkoPastur | npt.ArrayLike,
    *,
    method: FullBatchMethod,
    signal: float,
    noise: float,
    weights: npt.ArrayLike | None,
    aspect_ratio: float | None,
) -> FullBatchProblem:
    """Check the arguments of `spectra.dynamics.gradient_norm_curve` and settle the constants.

    Parameters
    ----------
    spectrum, method, signal, noise, weights, aspect_ratio
        As for `spectra.dynamics.gradient_norm_curve`.

    Returns
    -------
    FullBatchProblem

    Raises
    ------
    ArgumentError, ShapeError, NonFiniteError
        As `spectra.dynamics.gradient_norm_curve`.

    Notes
    -----
    O(eigenvalues) operations. Source: Polyak (1964) for the heavy ball.

    Examples
    --------
    >>> problem = full_batch_problem(
    ...     [1.0, 9.0], method="heavy_ball", signal=1.0, noise=0.0, weights=None, aspect_ratio=None
    ... )
    >>> problem.learning_rate, problem.momentum
    (0.25, 0.25)
    """
    if method not in get_args(FullBatchMethod):
        raise ArgumentError(f"method must be one of {', '.join(get_args(FullBatchMethod))}, got {method!r}")
    signal, noise = finite_number(signal, name="signal"), finite_number(noise, name="noise")
    if signal < 0.0 or noise < 0.0:
        raise ArgumentError(f"signal and noise are mean squares and must not be negative, got {signal!r}, {noise!r}")
    law = None
    if isinstance(spectrum, MarchenkoPastur):
        law = spectrum
        if weights is not None or aspect_ratio is not None:
            raise ArgumentError("a MarchenkoPastur law has its own weights and aspect_ratio; leave these arguments out")
        if method == "heavy_ball" and law.smallest == 0.0:
            raise ArgumentError(
                "the optimal heavy ball needs eigenvalues away from 0, but at aspect_ratio=1 they reach it; "
                "use method='nesterov', or another aspect_ratio"
            )
        nodes = shares = np.empty(0)
        ratio, smallest, largest = law.aspect_ratio, law.smallest, law.largest
    else:
        nodes, shares = _weighted_eigenvalues(spectrum, weights)
        smallest, largest = float(nodes.min()), float(nodes.max())
        if aspect_ratio is None and noise > 0.0:
            raise ArgumentError("aspect_ratio, parameters per sample, is needed for eigenvalues with noise; got none")
        ratio = finite_number(1.0 if aspect_ratio is None else aspect_ratio, name="aspect_ratio")
        if not ratio > 0.0:
            raise ArgumentError(f"aspect_ratio must be positive, got {aspect_ratio!r}")
    learning_rate, momentum = 1.0 / largest, 0.0
    if method == "heavy_ball":
        best = optimal_heavy_ball(smallest, largest)
        learning_rate, momentum = best.learning_rate, best.momentum
    return FullBatchProblem(
        method=method,
        law=law,
        eigenvalues=nodes,
        weights=shares,
        aspect_ratio=ratio,
        signal=signal,
        noise=noise,
        learning_rate=learning_rate,
        momentum=momentum,
    )


def _weighted_eigenvalues(
    spectrum: npt.ArrayLike, weights: npt.ArrayLike | None
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the eigenvalues above 0 with their shares of all."""
    values = _vector(spectrum, name="eigenvalues")
    shares = np.ones_like(values) if weights is None else _vector(weights, name="weights")
    if shares.shape != values.shape:
        raise ShapeError(f"one weight for each of {values.size} eigenvalues is needed, got {shares.size}")
    if np.any(shares < 0.0) or not np.any(shares > 0.0):
        raise ArgumentError("weights must not be negative, and not all 0")
    dtype = np.asarray(spectrum).dtype
    eps = float(np.finfo(dtype).eps) if dtype.kind == "f" else float(np.finfo(np.float64).eps)
    band = _ROUNDING * eps * float(np.max(np.abs(values)))
    if np.any(values < -band):
        raise ArgumentError(
            f"eigenvalues of A'A / num_samples must not be negative, got {float(values.min()):.6g}; "
            "these methods need a convex loss"
        )
    kept = (values > band) & (shares > 0.0)
    if not np.any(kept):
        raise ArgumentError("at least one eigenvalue above 0 with a weight is needed, got none")
    return values[kept], shares[kept] / np.sum(shares)


def _vector(values: npt.ArrayLike, *, name: str) -> npt.NDArray[np.float64]:
    """Return a finite float64 vector that is not empty."""
    array = np.asarray(values)
    if array.dtype.kind not in "iuf" and array.size:
        raise ArgumentError(f"{name} must be real numbers, got an array of dtype {array.dtype}")
    if array.ndim != 1 or array.size == 0:
        raise ShapeError(f"{name} must be a vector of at least one number, got shape {array.shape}")
    if not np.all(np.isfinite(array)):
        raise NonFiniteError(f"{name} must be finite, got NaN or infinity")
    return array.astype(np.float64)


def residual_polynomials(problem: FullBatchProblem, x: npt.NDArray[np.float64]) -> Iterator[npt.NDArray[np.float64]]:
    """Yield ``P_0, P_1, ...`` at eigenvalues x, without end: the recursions of `gradient_norm_curve`.

    Parameters
    ----------
    problem : FullBatchProblem
    x : ndarray, shape (k,)
        Eigenvalues, or nodes of a law.

    Returns
    -------
    iterator of ndarray, shape (k,)

    Notes
    -----
    O(k) operations per step. Sources: Polyak (1964); Nesterov (1983).

    Examples
    --------
    >>> problem = full_batch_problem(
    ...     [1.0, 2.0], method="gradient_descent", signal=1.0, noise=0.0, weights=None, aspect_ratio=None
    ... )
    >>> polynomials = residual_polynomials(problem, problem.eigenvalues)
    >>> next(polynomials).tolist(), next(polynomials).tolist()
    ([1.0, 1.0], [0.5, 0.0])
    """
    kept = 1.0 - problem.learning_rate * x
    before = now = np.ones_like(x)
    k = 0
    while True:
        yield now
        if problem.method == "gradient_descent":
            now = kept * now
        elif problem.method == "nesterov":
            extrapolation = max(k - 1, 0) / (k + 2)
            before, now = now, kept * (now + extrapolation * (now - before))
        else:
            before, now = now, kept * now + problem.momentum * (now - before)
        k += 1
