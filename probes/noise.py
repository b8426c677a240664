"""Gradient noise and curvature noise of a task, from disjoint micro-batches.

Estimators and their error bars are pure functions of small Gram matrices, in
:mod:`spectra.recommend.noise_scale`; this module only forms the vectors. Nothing here touches the model's state.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from probes.batches import Batch, Samples
from probes.batchwise import BatchwiseHessian
from probes.operators import HessianOperator
from probes.task import Task
from spectra.errors import ArgumentError, ShapeError
from spectra.recommend.noise_scale import GradientStatistics, PairStatistic, gradient_statistics, scatter

__all__ = ["MicroBatches", "curvature_noise", "gradient_noise", "gram", "micro_batches"]

#: Fewer micro-batches than this leave the jackknife without meaning (recommended: 24).
MIN_MICRO_BATCHES = 8

#: Rows that are converted to float64 at a time on a processor.
GRAM_ROWS = 1024

#: Bytes of micro-batch products held at once; more directions than fit are done in turns.
MAX_HELD_BYTES = 1 << 30


@dataclass(frozen=True)
class MicroBatches:
    """Disjoint micro-batches of equal size, drawn without replacement.

    Attributes
    ----------
    batches : list of Batch
        ``K`` micro-batches.
    size : int
        Samples ``m`` in each.
    """

    batches: Sequence[Batch]
    size: int


def micro_batches(
    samples: Samples,
    *,
    num: int = 24,
    size: int = 16,
    rng: np.random.Generator,
    within: npt.NDArray[np.int64] | None = None,
) -> MicroBatches:
    """Draw ``num`` disjoint micro-batches of ``size`` samples; shrink ``size`` when the data are few.

    Parameters
    ----------
    samples : Samples
        All samples of the task.
    num, size : int
        How many micro-batches, of how many samples.
    rng : numpy.random.Generator
        Source of the draw.
    within : ndarray of int, optional
        Indices to draw from; all by default.

    Raises
    ------
    ArgumentError
        If fewer than eight samples are there, or fewer than eight micro-batches are asked for.
    """
    if num < MIN_MICRO_BATCHES:
        raise ArgumentError(f"at least {MIN_MICRO_BATCHES} micro-batches are needed for an error bar; got {num}")
    if size < 1:
        raise ArgumentError(f"micro-batches need at least 1 sample each; got {size}")
    within = np.arange(samples.num_samples) if within is None else within
    if len(within) < MIN_MICRO_BATCHES:
        raise ArgumentError(
            f"noise needs at least {MIN_MICRO_BATCHES} samples for disjoint micro-batches; there are {len(within)}"
        )
    count = min(num, len(within))
    size = min(size, len(within) // count)
    order = rng.permutation(within)[: count * size].reshape(count, size)
    return MicroBatches([samples.take(rows) for rows in order], size)


def gram(columns: torch.Tensor, other: torch.Tensor | None = None) -> npt.NDArray[np.float64]:
    """Return ``X'Y`` of two (n, K) tensors, accumulated in float64, on the host.

    Rows are converted in blocks that fit a processor's cache, so that no float64 copy of the whole matrix is made.
    Fastest where a column lies in one piece: for the transpose of vectors that were stacked as rows.

    Examples
    --------
    >>> gram(torch.tensor([[1.0, 2.0], [0.0, 1.0]])).tolist()
    [[1.0, 2.0], [2.0, 5.0]]
    """
    total = torch.zeros(
        columns.shape[1],
        columns.shape[1] if other is None else other.shape[1],
        dtype=torch.float64,
        device=columns.device,
    )
    size = GRAM_ROWS if columns.device.type == "cpu" else 32 * GRAM_ROWS
    for start in range(0, columns.shape[0], size):
        rows = slice(start, start + size)
        block = columns[rows].T.double()
        total.addmm_(block, block.T if other is None else other[rows].double())
    return total.cpu().numpy()


def micro_batch_gradients(operator: "HessianOperator | BatchwiseHessian") -> torch.Tensor:
    """Return the gradients of all micro-batches as columns, shape (n, K)."""
    return torch.stack(list(operator.batch_gradients())).T


def curvature_noise_grams(
    operator: "HessianOperator | BatchwiseHessian", vectors: torch.Tensor, *, scaling: torch.Tensor | None = None
) -> npt.NDArray[np.float64]:
    """Return ``(H_i v)'(H_j v)`` for each column of ``vectors``, shape (directions, K, K).

    With ``scaling`` d the matrices are ``diag(d) H_i diag(d)``.
    """
    count = len(operator.batches)
    held = vectors.element_size() * vectors.shape[0] * count
    block = max(1, min(vectors.shape[1], MAX_HELD_BYTES // max(held, 1)))
    grams = []
    for start in range(0, vectors.shape[1], block):
        directions = vectors[:, start : start + block]
        scaled = directions if scaling is None else scaling[:, None] * directions
        products = [product for _, product in operator.per_batch(scaled)]
        for column in range(directions.shape[1]):
            stacked = torch.stack([product[:, column] for product in products])
            grams.append(gram((stacked if scaling is None else stacked.mul_(scaling)).T))
    return np.stack(grams)


def gradient_noise(
    task: Task, *, num_batches: int = 24, batch_size: int = 16, rng: int = 0, check: bool = True
) -> GradientStatistics:
    r"""Return gradient norm, gradient covariance trace and their curvature-weighted forms, with jackknife errors.

    The noise scales are ``B_simple = tr Sigma / ||G||^2`` and ``B_noise = tr(H Sigma) / G'HG``
    (McCandlish et al. 2018, arXiv 1812.06162); ``Sigma`` is the per-sample covariance of gradients.

    Parameters
    ----------
    task : Task
        Model, loss and data; the model is measured in the mode it is in, and left as found.
    num_batches, batch_size : int
        ``K`` disjoint micro-batches of ``m`` samples; ``m`` shrinks when the data are few.
    rng : int
        Seed of the draw.
    check : bool
        Run the self-check of the operator first.

    Returns
    -------
    GradientStatistics
        With ``.simple_noise_scale`` and ``.curvature_noise_scale``; each value has ``.interval()`` and
        ``.is_resolved``.

    Notes
    -----
    Cost: ``K`` micro-batch gradients and ``K`` Hessian products on the union of the micro-batches.
    """
    drawn = micro_batches(task.samples(), num=num_batches, size=batch_size, rng=np.random.default_rng([rng, 1]))
    operator = _hessian(task, drawn, check=check, rng=rng)
    gradients = micro_batch_gradients(operator)
    return gradient_statistics(
        gram(gradients),
        gram(gradients, operator @ gradients),
        batch_size=drawn.size,
        num_samples=task.samples().num_samples,
    )


def curvature_noise(
    task: Task,
    vector: torch.Tensor | npt.NDArray[np.floating],
    *,
    num_batches: int = 24,
    batch_size: int = 16,
    rng: int = 0,
    check: bool = True,
) -> PairStatistic:
    r"""Return ``s2(v) = E ||(H_i - H) v||^2``: how much the product with ``v`` scatters from sample to sample.

    Parameters
    ----------
    task : Task
        Model, loss and data.
    vector : tensor or ndarray of shape (n,)
        Direction; it is normalized. ``s2`` depends on it strongly: say which one was used.
    num_batches, batch_size : int
        ``K`` disjoint micro-batches of ``m`` samples.
    rng : int
        Seed of the draw.
    check : bool
        Run the self-check of the operator first.

    Returns
    -------
    PairStatistic
        Value per sample (divisor ``N - 1``), jackknife standard error, ``.interval()``.

    Notes
    -----
    Cost: one product per micro-batch.
    """
    drawn = micro_batches(task.samples(), num=num_batches, size=batch_size, rng=np.random.default_rng([rng, 1]))
    operator = _hessian(task, drawn, check=check, rng=rng)
    direction = torch.as_tensor(np.asarray(vector) if not isinstance(vector, torch.Tensor) else vector)
    if direction.shape != (operator.shape[0],):
        raise ShapeError(f"vector must have shape ({operator.shape[0]},); got {tuple(direction.shape)}")
    direction = direction.to(operator.like)
    norm = float(torch.linalg.vector_norm(direction))
    if not norm > 0 or not math.isfinite(norm):
        raise ArgumentError(f"vector must have a positive finite norm; got {norm}")
    grams = curvature_noise_grams(operator, (direction / norm)[:, None])
    return scatter(grams[0], batch_size=drawn.size)


def _hessian(task: Task, drawn: MicroBatches, *, check: bool, rng: int) -> HessianOperator:
    """Return the Hessian on micro-batches, multiplied in one named way, so that the same seed gives the same digits."""
    options = task.operator_options()
    return HessianOperator(task.model, task.loss, drawn.batches, **options, check=check, rng=rng, strategy="kept_graph")
