r"""Which eigenvalues hold the loss, from one Lanczos run that starts at the gradient or at the residual.

Nodes :math:`\theta_i` with Gauss weights :math:`\omega_i` (of sum 1) of the start vector's measure carry

* from the gradient g with the Hessian :math:`|g|^2 \omega_i / 2\theta_i`;
* from the residual r with the matrix of the samples :math:`A A^T / n`, :math:`L\,\omega_i`: no division blows up the
  rounding of small nodes, and nodes at zero are the loss that stays.

With m steps the loss of gradient descent is exact up to step m from the gradient, and up to step m - 1 from the
residual; derived here.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from spectra.arrays import namespace
from spectra.errors import ArgumentError, NonFiniteError, ShapeError
from spectra.frozen import Vector
from spectra.lanczos import lanczos
from spectra.operators import as_operator
from spectra.protocols import Array, SupportsMatmul
from spectra.tridiagonal import Ritz, Tridiagonal, ritz

__all__ = ["LossNodes", "loss_from_gradient", "loss_from_residual", "require_start"]

#: Times at which two sets of nodes are compared, evenly in their logarithm (design choice).
NUM_TIMES = 200


@dataclass(frozen=True, eq=False, kw_only=True)
class LossNodes:
    """Nodes that hold the loss.

    Attributes
    ----------
    nodes, losses : ndarray, shape (m,)
        Eigenvalues, and the loss at each.
    change : float
        Largest change of the loss without noise, relative to the loss at the start, when half of the Lanczos steps are
        left out, over the times that all the steps resolve.
    num_matvecs : int
        Products spent.
    """

    nodes: Vector
    losses: Vector
    change: float
    num_matvecs: int


def loss_from_gradient(
    hessian: SupportsMatmul | Array, gradient: Array, *, loss: float, num_steps: int, threshold: float
) -> LossNodes:
    """Return the nodes from a gradient (d,) and the Hessian (d, d).

    Nodes below ``threshold`` times the largest are rounding and left out; ``loss`` is that at the start.
    """
    found = lanczos(hessian, gradient, num_steps=num_steps)
    squared = float(found.start_norm[0]) ** 2

    def read(part: Ritz) -> tuple[Vector, Vector]:
        kept = part.values > threshold * np.max(part.values)
        return part.values[kept], squared * part.weights[kept] / (2 * part.values[kept])

    return _compared(found, read, loss)


def loss_from_residual(
    sample_gram: SupportsMatmul | Array,
    residual: Array,
    *,
    loss: float,
    num_steps: int,
    threshold: float,
) -> LossNodes:
    """Return the nodes from a residual (n,) and the matrix of the samples ``A A' / n`` (n, n).

    Nodes below ``threshold`` times the largest hold what stays and are left out; ``loss`` is that at the start.
    """
    found = lanczos(as_operator(sample_gram), residual, num_steps=num_steps)

    def read(part: Ritz) -> tuple[Vector, Vector]:
        kept = part.values > threshold * np.max(part.values)
        return part.values[kept], loss * part.weights[kept]

    return _compared(found, read, loss)


def _compared(found: Tridiagonal, read: Callable[[Ritz], tuple[Vector, Vector]], loss: float) -> LossNodes:
    nodes, losses = read(found.ritz(0))
    steps = int(found.num_steps[0])
    fewer, fewer_losses = read(ritz(found.diagonal[0], found.off_diagonal[0], max(steps // 2, 1)))
    times = np.geomspace(0.01 / np.max(nodes), 1 / np.min(nodes), NUM_TIMES)[:, None]
    lost = -np.expm1(-2 * times * nodes) @ losses
    lost_by_fewer = -np.expm1(-2 * times * fewer) @ fewer_losses
    return LossNodes(
        nodes=nodes,
        losses=losses,
        change=float(np.max(np.abs(lost - lost_by_fewer))) / loss,
        num_matvecs=found.num_matvecs,
    )


def require_start(vector: Array, *, size: int, name: str) -> None:
    """Raise unless a vector can start a run: of this size, finite and not zero.

    Raises
    ------
    ShapeError, ArgumentError
        The message says what came.
    """
    if tuple(vector.shape) != (size,):
        raise ShapeError(f"{name} must have shape ({size},); got {tuple(vector.shape)}")
    largest = float(namespace(vector).max(namespace(vector).abs(vector)))
    if not np.isfinite(largest):
        raise NonFiniteError(f"{name} must be finite; got {largest}")
    if largest == 0:
        raise ArgumentError(f"{name} is zero: nothing is left to lose, so that there is no curve to predict")
