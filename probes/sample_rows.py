r"""The rows that each sample adds to a Gauss-Newton matrix: their squared norms sum to its trace.

With :math:`S_i = L_i L_i^T` the output Hessian of sample i and :math:`A_i = L_i^T J_i`,
:math:`G = \frac1n \sum_i A_i^T A_i`, so that :math:`\operatorname{tr} G` is the mean of :math:`|A_i|_F^2` and the
curvature of a sample alone is the largest eigenvalue of the small matrix :math:`A_i A_i^T`. Derived here.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from probes.operators import GaussNewtonOperator
from probes.operators.explanations import require_finite
from probes.operators.factored import Sandwich
from probes.operators.pieces import Piece

__all__ = ["MAX_BYTES", "SampleRows", "sample_rows", "sample_squares"]

#: Rows of one sample that are held to find its largest eigenvalue; more are bounded by their squared norm.
MAX_BYTES = 1 << 28


@dataclass(frozen=True, kw_only=True)
class SampleRows:
    """Sizes of the rows of the samples.

    Attributes
    ----------
    trace : float
        Trace of the Gauss-Newton matrix, exact up to rounding.
    largest : float
        Largest curvature of a single sample, or a bound of it from above.
    is_bound : bool
        Whether some sample had too many rows for the eigenvalue, so that ``largest`` may only be a bound.
    num_rows : int
        Rows formed, each a product with a transposed Jacobian of one sample.
    """

    trace: float
    largest: float
    is_bound: bool
    num_rows: int


def sample_rows(
    operator: GaussNewtonOperator, *, max_bytes: int = MAX_BYTES, progress: Callable[[int, int], object] | None = None
) -> SampleRows:
    """Form the rows of one sample after the other, and keep their sizes only.

    Parameters
    ----------
    operator : GaussNewtonOperator
        Of a mean loss that is convex, of samples that do not influence each other.
    max_bytes : int
        See :data:`MAX_BYTES`.
    progress : callable, optional
        Called with the samples done and all of them.

    Raises
    ------
    TaskError
        A batch that cannot be cut into samples, or an output Hessian that is not positive semidefinite.
    NonFiniteError
        A row is NaN or infinite.

    Examples
    --------
    Samples x = 1 and 3 of the squared error: curvature 2 x^2 each.

    >>> x = torch.tensor([[1.0], [3.0]])
    >>> sample_rows(GaussNewtonOperator(torch.nn.Linear(1, 1, bias=False), torch.nn.MSELoss(), (x, x)))
    SampleRows(trace=10.0, largest=18.0, is_bound=False, num_rows=2)
    """
    total, largest, is_bound, num_rows, done = 0.0, 0.0, False, 0, 0
    workload = operator.workload
    workload.follow()
    for index, batch in workload.counted():
        share = operator.share(index) / batch.size
        with workload.evaluating(index, batch):
            for i in range(batch.size):
                piece = workload.piece(batch.take(slice(i, i + 1)), index)
                size, curvature, count, bounded = _sizes(operator, piece, max_bytes)
                total, largest = total + share * size, max(largest, curvature)
                is_bound, num_rows, done = is_bound or bounded, num_rows + count, done + 1
                if progress is not None:
                    progress(done, operator.num_samples)
    return SampleRows(trace=total, largest=largest, is_bound=is_bound, num_rows=num_rows)


def sample_squares(operator: GaussNewtonOperator, vectors: Tensor) -> Tensor:
    r"""Return the curvature of every sample along some vectors, :math:`|A_i v|^2`, shape (n, k).

    Parameters
    ----------
    operator : GaussNewtonOperator
        Of a mean loss that is convex.
    vectors : Tensor, shape (p, k)

    Notes
    -----
    One product with the Jacobian for each vector. The mean over the samples is :math:`v^T G v`.

    Examples
    --------
    >>> x = torch.tensor([[1.0], [3.0]])
    >>> operator = GaussNewtonOperator(torch.nn.Linear(1, 1, bias=False), torch.nn.MSELoss(), (x, x))
    >>> sample_squares(operator, torch.ones(1, 1)).tolist()
    [[2.0], [18.0]]
    """
    found, workload = [], operator.workload
    workload.follow()
    for index, batch in workload.counted():
        with workload.evaluating(index, batch):
            piece = workload.piece(batch, index)
            built = operator.build_or_step_down(piece, _strategy(operator))
            assert isinstance(built, Sandwich)
            linear, loss = built.linearization, piece.objective.loss
            blocks = [
                loss.root_product(linear.outputs, batch.target, linear.push(block))
                for block in vectors.split(operator.block_width, dim=1)
            ]
            squares = torch.cat(blocks).double().square().reshape(vectors.shape[1], batch.size, -1).sum(dim=-1)
            # those factors are of the mean loss of the batch
            found.append(operator.share(index) * operator.num_samples * squares.T)
    return torch.cat(found)


def _sizes(operator: GaussNewtonOperator, piece: Piece, max_bytes: int) -> tuple[float, float, int, bool]:
    """Return squared norm, largest eigenvalue and number of the rows of one sample, and whether that is a bound."""
    built = operator.build_or_step_down(piece, _strategy(operator))
    assert isinstance(built, Sandwich)
    linear = built.linearization
    outputs = linear.outputs
    count = outputs.numel()
    identity = torch.eye(count, dtype=outputs.dtype, device=outputs.device).reshape(-1, *outputs.shape)
    roots = piece.objective.loss.root_transposed_product(outputs, piece.batch.target, identity)
    held = count * operator.shape[0] * 8 <= max_bytes
    size, blocks = 0.0, []
    for block in roots.split(4 * operator.block_width):
        rows = linear.pull(block).T
        require_finite(rows, "the factor of a single sample")
        if held:
            blocks.append(rows.double())
        else:
            size += float(rows.double().square().sum())
    if not held:
        return size, size, count, True
    gram = _gram(torch.cat(blocks))
    return float(gram.trace()), float(torch.linalg.eigvalsh(gram)[-1]), count, False


def _gram(rows: Tensor) -> Tensor:
    return rows @ rows.T


def _strategy(operator: GaussNewtonOperator) -> str:
    """Return a way that is fast for many cotangents and no tangents, among those that work."""
    asked = operator.ladder.requested
    allowed = [name for name in ("vmap_forward", "kept_graph") if name not in operator.ladder.excluded]
    return asked if asked != "auto" else allowed[0]
