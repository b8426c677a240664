"""The largest eigenvalue from a few products, warm-started from the eigenvector of an earlier state."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from spectra.errors import ArgumentError, NonFiniteError

__all__ = ["TopPair", "top_pair"]

#: Vectors of the basis at most; then it is cut back to the Ritz vector and the next direction (Wu and Simon 2000). A
#: warm start needs two to four, and memory for no more is what the recorder promises.
MAX_BASIS = 4

#: Norm of the random part of a warm start, relative to the old eigenvector: without it a new largest eigenvalue could
#: stay unseen. ``spectra.eigenpairs`` takes the same, measured by ``scripts/benchmarks/eigenpairs_products.py``.
RANDOM_PART = 0.1

#: Norm of the part of a successor beside the Ritz vector. It holds a product with the second Ritz vector, so that a new
#: largest direction grows in it from search to search, where the random part is drawn anew. From 0.05 to 0.3 a jump to
#: 1.2 times the old value is found by the 7th to 11th search among a million directions (39th without), and searches
#: take no more products.
SECOND_PART = 0.1


@dataclass(frozen=True, eq=False)
class TopPair:
    """A Ritz pair at the upper end.

    Attributes
    ----------
    value : float
        The largest Ritz value: a lower bound of the largest eigenvalue.
    residual : float
        ``||A y - value y||``: some eigenvalue lies within it of the value.
    vector : torch.Tensor, shape (n,)
        y, of norm 1.
    successor : torch.Tensor, shape (n,)
        The start for a similar operator: y, and a tenth of ``A z / ||A z||`` with z the second Ritz vector.
    num_products : int
        What it cost.
    """

    value: float
    residual: float
    vector: Tensor
    successor: Tensor
    num_products: int


def top_pair(
    multiply: Callable[[Tensor], Tensor],
    start: Tensor,
    *,
    tolerance: float = 0.1,
    max_products: int = 20,
    generator: torch.Generator | None = None,
) -> TopPair:
    r"""Return the largest Ritz value of a symmetric operator, with residual and vector.

    Lanczos with full orthogonalization on at most four vectors, restarted with the Ritz vector and the next direction.
    At least two products are taken, so that directions beside the start are seen; then it ends as soon as the residual
    is at most ``tolerance`` times the modulus of the value.

    Parameters
    ----------
    multiply : callable
        ``v (n,) -> A v (n,)``.
    start : torch.Tensor, shape (n,)
        The ``successor`` of an earlier, similar operator, or anything that is not zero.
    tolerance : float
        Relative to the value.
    max_products : int
        At most; 2 at least, or 1 where n is 1.
    generator : torch.Generator, optional
        With it a random vector of relative norm 0.1 is added to the start.

    Raises
    ------
    ArgumentError
        The start is zero or not finite, or fewer than 2 products are allowed.
    NonFiniteError
        A product is not finite.

    Notes
    -----
    Memory: as many vectors of n numbers as products were taken, five at most, beside what a product takes.
    Source: Paige (1972); Wu and Simon (2000).

    Examples
    --------
    >>> diagonal = torch.tensor([1.0, 2.0, 10.0], dtype=torch.float64)
    >>> pair = top_pair(lambda v: diagonal * v, torch.ones(3, dtype=torch.float64), tolerance=1e-9)
    >>> round(pair.value, 9), pair.num_products
    (10.0, 3)
    """
    if max_products < 2:
        raise ArgumentError(f"at least 2 products are needed; got max_products={max_products}")
    first = _unit(start.detach())
    if generator is not None:
        drawn = torch.randn(first.shape, generator=generator, dtype=torch.float32, device=generator.device).to(first)
        first = _unit(first.add_(drawn, alpha=RANDOM_PART / _norm(drawn)))
        del drawn
    n = first.shape[0]
    size, least = min(MAX_BASIS, n), min(2, n)
    basis, done = [first], 0
    projected = np.zeros((size, size))
    del start, first
    while True:
        rows = len(basis)
        image = multiply(basis[-1])
        if image.data_ptr() == basis[-1].data_ptr():
            image = image.clone()
        done += 1
        column = _project_out(basis, image) + _project_out(basis, image)
        coupling = float(torch.linalg.vector_norm(image))
        if not (np.all(np.isfinite(column)) and np.isfinite(coupling)):
            raise NonFiniteError(f"product {done} of the search for the largest eigenvalue is not finite")
        projected[:rows, rows - 1] = projected[rows - 1, :rows] = column
        values, vectors = np.linalg.eigh(projected[:rows, :rows])
        value, weights = float(values[-1]), vectors[:, -1]
        residual = coupling * abs(float(weights[-1]))
        norm = float(np.max(np.abs(values)))
        exhausted = coupling <= 64 * torch.finfo(image.dtype).eps * norm or rows == n
        settled = done >= least and residual <= tolerance * abs(value)
        if exhausted or settled or done >= max_products:
            successor = _successor(basis, values, vectors, image, coupling)
            return TopPair(value, residual, _unit(_combined(basis, weights)), successor, done)
        if rows == size:
            basis = [_unit(_combined(basis, weights))]
            projected[:] = 0.0
            projected[0, 0] = value
        basis.append(image.div_(coupling))


def _project_out(basis: list[Tensor], vector: Tensor) -> np.ndarray:
    """Subtract from a vector, in place, its components along orthonormal ones; return these."""
    found = torch.stack([torch.dot(other, vector) for other in basis]).double().cpu().numpy()
    for other, coefficient in zip(basis, found, strict=True):
        vector.add_(other, alpha=-float(coefficient))
    return found


def _successor(
    basis: list[Tensor], values: np.ndarray, vectors: np.ndarray, image: Tensor, norm_of_image: float
) -> Tensor:
    """Return y and a part of A z, z the second Ritz vector, in the memory of the last image."""
    weights = vectors[:, -1].copy()
    if len(basis) == 1:
        image.zero_()
    else:
        # A V = V T + r e', r what is left of the last image.
        second, last = values[-2] * vectors[:, -2], vectors[-1, -2]
        norm = float(np.hypot(values[-2], last * norm_of_image)) or 1.0
        image.mul_(SECOND_PART * float(last) / norm)
        weights += SECOND_PART / norm * second
    for other, weight in zip(basis, weights, strict=True):
        image.add_(other, alpha=float(weight))
    return image


def _combined(basis: list[Tensor], weights: np.ndarray) -> Tensor:
    """Return a linear combination; the vectors are spent."""
    result = basis.pop(0).mul_(float(weights[0]))
    for weight in weights[1:]:
        result.add_(basis.pop(0), alpha=float(weight))
    return result


def _norm(vector: Tensor) -> float:
    norm = float(torch.linalg.vector_norm(vector))
    if not norm > 0 or not np.isfinite(norm):
        raise ArgumentError(f"a start vector must have a positive finite norm; got {norm}")
    return norm


def _unit(vector: Tensor) -> Tensor:
    return vector / _norm(vector)
