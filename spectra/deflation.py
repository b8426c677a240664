"""Eigenvalues that every probe has resolved, and how often each occurs: they can be summed instead of sampled."""

from dataclasses import dataclass

import numpy as np

from spectra.arrays import inner_with_rows, to_host
from spectra.lanczos import Iteration
from spectra.protocols import Array
from spectra.tridiagonal import Ritz, Tridiagonal, tridiagonal_eigh

__all__ = ["MAX_REFERENCES", "Resolved", "multiplicity", "resolved_by_all", "ritz_overlaps"]

MAX_REFERENCES = 16
"""Multiplicities are read from overlaps with this many start vectors; one less is the largest that can be found."""

_SAME = 2e-6
_LARGEST_ANGLE = 1e-3
_NEGLIGIBLE = 1e-12
_NOISE = 30.0
_HIDDEN = 1e-3
_AT_A_TIME = 8


@dataclass(frozen=True, eq=False, kw_only=True)
class Resolved:
    """An eigenvalue that every probe has resolved.

    Attributes
    ----------
    value : float
        Its Ritz value in the first probe.
    angle : float
        Bound of the angles between its Ritz vectors and the eigenspace: residual over gap, the largest of all probes,
        and at least 1e-6, for nodes that were not asked to have converged.
    members : tuple of ndarray
        For each probe the indices of the Ritz values that stand for it; several where rounding made copies.
    """

    value: float
    angle: float
    members: tuple[np.ndarray, ...]


def resolved_by_all(nodes: list[Ritz], *, dimension: int, eps: float) -> list[Resolved]:
    """Return the eigenvalues that every probe has resolved, ascending.

    A Ritz value of the first probe counts if every probe has one within ``2e-6 ||T||`` of it, and for all of these the
    residual, or rounding ``10 eps ||T||``, is at most 1e-3 of the gap to the nearest other Ritz value of any probe. The
    angle between Ritz vector and eigenspace is at most that ratio, and weights agree with squared overlaps to its
    square.

    Parameters
    ----------
    nodes : list of Ritz
        Ritz values (ascending), weights and residual norms of each probe.
    dimension : int
        Order n of the operator. Nodes of weight below 1e-12 / n are not asked to have converged, and make no gap: a
        random start vector is as good as orthogonal to an eigenvector with a probability of 1e-6, while the copies
        that rounding makes of a multiple eigenvalue begin with no weight at all.
    eps : float
        Of the products.

    Notes
    -----
    More probes can only shorten the list. Source: Davis and Kahan (1970) for the angle.

    Examples
    --------
    >>> import numpy as np
    >>> halves = np.array([0.5, 0.5])
    >>> nodes = [Ritz(np.array([low, 9.0]), halves, np.array([0.5, 1e-9])) for low in (1.0, 2.0)]
    >>> [found.value for found in resolved_by_all(nodes, dimension=9, eps=1e-16)]
    [9.0]
    """
    norm = float(np.max(np.abs(nodes[0].values)))
    seen = [node.weights > _NEGLIGIBLE / dimension for node in nodes]
    found: list[Resolved] = []
    for value in nodes[0].values[seen[0]]:
        if found and value - found[-1].value <= _SAME * norm:
            continue
        distances = [np.abs(node.values - value) for node in nodes]
        same = [d <= _SAME * norm for d in distances]
        if not all(np.any(own & counts) for own, counts in zip(same, seen, strict=True)):
            continue
        gap = min(
            float(np.min(d[~own & counts], initial=np.inf))
            for d, own, counts in zip(distances, same, seen, strict=True)
        )
        residual = max(
            float(np.max(node.residuals[own & counts])) for node, own, counts in zip(nodes, same, seen, strict=True)
        )
        angle = max(residual, 10.0 * eps * norm) / gap if norm > 0 else 0.0
        if angle <= _LARGEST_ANGLE:
            members = tuple(np.flatnonzero(own) for own in same)
            found.append(Resolved(value=float(value), angle=max(angle, np.sqrt(_NEGLIGIBLE)), members=members))
    return found


def ritz_overlaps(
    iteration: Iteration,
    tridiagonal: Tridiagonal,
    members: list[tuple[np.ndarray, ...]],
    references: Array,
    *,
    first: int,
) -> np.ndarray:
    """Return overlaps ``z_j' v_i`` of unit Ritz vectors with the start vectors of the first probes.

    With the projection P on the eigenspace, ``z_j = P v_j / ||P v_j||``, so that ``z_i' v_i = ||P v_i||``. Only earlier
    start vectors are taken (i <= j): whoever adds probes later has the new Ritz vectors, but the old ones no longer.

    Parameters
    ----------
    iteration, tridiagonal
        Of the probes ``first, first + 1, ...``, with the basis stored.
    members : list of tuple of ndarray
        For each eigenvalue the indices of its Ritz values, for each of these probes.
    references : array, shape (r, n)
        Unit start vectors of the probes 0 to r - 1.
    first : int
        Index of the first of these probes.

    Returns
    -------
    ndarray, shape (len(members), p, r)
        NaN for i > j.
    """
    p, r = len(tridiagonal.num_steps), references.shape[0]
    overlaps = np.full((len(members), p, r), np.nan)
    if not members:
        return overlaps
    for j in range(p):
        k = int(tridiagonal.num_steps[j])
        _, vectors = tridiagonal_eigh(tridiagonal.diagonal[j, :k], tridiagonal.off_diagonal[j])
        coefficients = np.stack([vectors[:, group[j]] @ vectors[0, group[j]] for group in members], axis=1)
        coefficients = coefficients / np.linalg.norm(coefficients, axis=0)
        count = min(first + j + 1, r)
        earlier = references[:count, :]
        for e in range(0, len(members), _AT_A_TIME):
            vectors_of_few = iteration.combine(j, coefficients[:, e : e + _AT_A_TIME])
            overlaps[e : e + _AT_A_TIME, j, :count] = to_host(inner_with_rows(earlier, vectors_of_few)).T
    return overlaps


def multiplicity(overlaps: np.ndarray, angle: float) -> int:
    """Return how often an eigenvalue occurs: the rank of the projected start vectors; 0 where they do not tell.

    Parameters
    ----------
    overlaps : ndarray, shape (p, r)
        As `ritz_overlaps` returns them for all p probes, ``r = min(p, MAX_REFERENCES)``.
    angle : float
        Bound of the angles between Ritz vectors and eigenspace.

    Returns
    -------
    int
        Number g of singular values above the noise, 30 angles times the largest. It is 0, for unknown, unless a further
        dimension would have shown: with g + 1 dimensions, r random vectors leave a singular value below the noise
        with a probability of at most about ``x**(r - g)``, ``x = sqrt(noise) (sqrt(r) + sqrt(g + 1)) / (sqrt(r) -
        sqrt(g))``, which must not exceed 1e-3.

    Notes
    -----
    Weights alone do not tell multiplicities: an eigenvalue of multiplicity g has weight ``g / n`` in the mean only.
    Source: Rudelson and Vershynin (2009) for the smallest singular value of a Gaussian matrix.

    Examples
    --------
    >>> import numpy as np
    >>> z = np.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [-0.6, 0.8], [0.6, 0.8]])
    >>> multiplicity(z @ z.T, 1e-9), multiplicity(z[:2] @ z[:2].T, 1e-9)
    (2, 0)
    """
    r = overlaps.shape[1]
    matrix = overlaps / np.diagonal(overlaps[:r])  # z_i' v_i = ||P v_i||
    for i in range(r):
        matrix[i, i + 1 :] = matrix[i + 1 : r, i]
    if not np.all(np.isfinite(matrix)):
        return 0
    sizes = np.linalg.svd(matrix, compute_uv=False)
    noise = _NOISE * angle
    g = int(np.sum(sizes > noise * sizes[0]))
    if g >= r:
        return 0
    x = np.sqrt(noise) * (np.sqrt(r) + np.sqrt(g + 1)) / (np.sqrt(r) - np.sqrt(g))
    return g if x ** (r - g) <= _HIDDEN else 0
