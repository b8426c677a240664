r"""Closures that follow every sample: mean squared residuals, with all second moments of the error or its diagonal.

With features a_ij and residuals at the minimizer r_i, mean error e and :math:`\Lambda = \operatorname{diag}(\lambda)`:

* ``exact``: :math:`R_i = a_i^T M a_i - 2 (a_i \cdot e) r_i + r_i^2` with the second moment M of the error,

  .. math::
      M \leftarrow (I - \gamma\Lambda) M (I - \gamma\Lambda)
        + c \gamma^2 \Big[ \tfrac1n \sum_i R_i a_i a_i^T - \Lambda M \Lambda \Big];

* ``row_resolved``: the same with M replaced by :math:`e e^T + \operatorname{diag}(\mathrm{var})`.

In both :math:`L = \tfrac{1}{2n} \sum_i R_i` and :math:`e \leftarrow (1 - \gamma\lambda) e`. Derived here.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from spectra.dynamics.eigenbasis import Rows
from spectra.dynamics.quadratic import Quadratic
from spectra.dynamics.recursion import CHECK_EVERY, LARGEST, Curve, segments, sgd_recursion
from spectra.frozen import Vector

__all__ = ["exact_recursion", "row_resolved_recursion"]


def row_resolved_recursion(
    problem: Quadratic, *, learning_rate: Vector, noise: Vector, record: npt.NDArray[np.int64]
) -> Curve:
    """Return the expected loss with the mean squared residual of every sample kept; O(n m) per step.

    Learning rate and sampling factor are numbers or one per step.
    """
    rows = _rows(problem)
    squared = rows.features**2
    variance = np.zeros_like(problem.eigenvalue)

    def residuals(error: Vector) -> Vector:
        return (rows.features @ error - rows.residual) ** 2 + squared @ variance

    def advance(rate: float, factor: float, error: Vector) -> None:
        nonlocal variance
        lam = problem.eigenvalue
        drawn = residuals(error) @ squared / len(squared) - lam**2 * (error**2 + variance)
        variance = (1 - rate * lam) ** 2 * variance + factor * rate**2 * drawn

    return _follow(problem, residuals, advance, learning_rate=learning_rate, noise=noise, record=record)


def exact_recursion(
    problem: Quadratic, *, learning_rate: Vector, noise: Vector, record: npt.NDArray[np.int64]
) -> Curve:
    """Return the expected loss from all second moments of the error: exact for independent batches; O(n m^2) per step.

    Learning rate and sampling factor are numbers or one per step.
    """
    rows = _rows(problem)
    covariance = np.zeros(2 * problem.eigenvalue.shape)

    def residuals(error: Vector) -> Vector:
        spread = np.sum((rows.features @ covariance) * rows.features, axis=1)
        return (rows.features @ error - rows.residual) ** 2 + spread

    def advance(rate: float, factor: float, error: Vector) -> None:
        nonlocal covariance
        lam = problem.eigenvalue
        drawn = (rows.features.T * residuals(error)) @ rows.features / len(rows.features)
        drawn -= np.outer(lam, lam) * (covariance + np.outer(error, error))
        shrink = 1 - rate * lam
        covariance = np.outer(shrink, shrink) * covariance + factor * rate**2 * drawn

    return _follow(problem, residuals, advance, learning_rate=learning_rate, noise=noise, record=record)


def _rows(problem: Quadratic) -> Rows:
    assert problem.rows is not None, "require_closure has seen to it"
    return problem.rows


def _follow(
    problem: Quadratic,
    residuals: Callable[[Vector], Vector],
    advance: Callable[[float, float, Vector], None],
    *,
    learning_rate: Vector,
    noise: Vector,
    record: npt.NDArray[np.int64],
) -> Curve:
    """Iterate and keep the loss at the recorded steps."""
    total = int(record[-1])
    rates, factors = (np.broadcast_to(value, (total,)) for value in (learning_rate, noise))
    error = _rows(problem).error.copy()
    limit = LARGEST * max(problem.floor + float(np.sum(problem.initial_loss)), np.finfo(np.float64).tiny)
    losses = np.full(len(record), np.inf)
    for i, (begin, end) in enumerate(segments(record)):
        for k in range(begin, end):
            if k % CHECK_EVERY == 0 and not np.mean(residuals(error)) < limit:
                break
            advance(float(rates[k]), float(factors[k]), error)
            error = (1 - rates[k] * problem.eigenvalue) * error
        losses[i] = 0.5 * float(np.mean(residuals(error)))
        if not losses[i] < limit:
            losses[i] = np.inf
            break
    quiet = sgd_recursion(
        problem,
        learning_rate=learning_rate,
        noise=np.zeros(()),
        chi=np.zeros_like(error),
        record=record,
    )
    return Curve(loss=losses, noise_free=quiet.loss)
