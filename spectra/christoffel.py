"""How much weight a start vector can have on an eigenvector, given its tridiagonal matrix: the Christoffel function.

With the orthonormal polynomials of the measure of a start vector, ``b_j pi_j = (x - a_j) pi_{j-1} - b_{j-1} pi_{j-2}``,
an eigenvalue at x carries at most the weight ``1 / K(x)``, ``K(x) = sum_{j=0}^k pi_j(x)**2``; nothing better follows
from k steps of Lanczos. A random start vector has the weight q or more on a given eigenvector with known probability,
and then the eigenvalue lies where ``K <= 1 / q``.

NumPy float64 on the host, for one start vector, and matrices scaled to norm about one.
"""

import math
from collections.abc import Callable

import numpy as np

from spectra.tridiagonal import ritz, tridiagonal_eigh

__all__ = ["crossing", "hole", "log_kernel", "outermost", "overlap_quantile", "weight_below"]

_ROUNDS = 4
_POINTS = 64
_CELLS = 16
_SMALLEST_GAP = 1e-18
_NOISE = 1e-14


def overlap_quantile(n: int, *, num_starts: int, delta: float) -> float:
    """Return q such that, with probability ``1 - delta``, a start vector among several has weight q on a direction.

    The squared inner product of a fixed unit vector with one that is uniform on the sphere is Beta(1/2, (n - 1)/2);
    ``q = F^-1(delta**(1 / num_starts))``, about ``(pi/2) delta**2 / n`` for one start vector.

    Examples
    --------
    >>> q = overlap_quantile(1000, num_starts=1, delta=0.05)
    >>> x = np.random.default_rng(0).standard_normal((4000, 1000))
    >>> bool(abs(np.mean(x[:, 0] ** 2 < q * np.sum(x**2, axis=1)) - 0.05) < 0.01)
    True
    """
    from scipy.special import betaincinv

    return 1.0 if n == 1 else float(betaincinv(0.5, 0.5 * (n - 1), delta ** (1.0 / num_starts)))


def log_kernel(
    diagonal: np.ndarray, off_diagonal: np.ndarray, x: np.ndarray, *, counted: np.ndarray | None = None
) -> np.ndarray:
    """Return ``log K(x)``, without overflow, whatever the number of steps.

    Parameters
    ----------
    diagonal, off_diagonal : ndarray, shape (k,)
        The last off-diagonal entry is the coupling to the next vector; none may be zero.
    x : ndarray, shape (g,)
    counted : ndarray of 0 and 1, shape (k + 1,), optional
        Degrees in the sum, by default all.

    Examples
    --------
    >>> a, b = np.zeros(2), np.array([1.0, 0.5])
    >>> np.exp(log_kernel(a, b, np.array([0.0, 2.0]))).round(12).tolist()
    [5.0, 41.0]
    """
    total = np.zeros_like(x)
    part = np.ones_like(x)
    previous, current, before = np.zeros_like(x), np.ones_like(x), 0.0
    for j in range(len(diagonal)):
        following = ((x - diagonal[j]) * current - before * previous) / off_diagonal[j]
        square = following**2
        growth = 1.0 + square
        total += np.log(growth)
        part = (part + square * (1.0 if counted is None else counted[j + 1])) / growth
        root = np.sqrt(growth)
        previous, current, before = current / root, following / root, off_diagonal[j]
    return total + (0.0 if counted is None else np.log(part))


def crossing(log_k: Callable[[np.ndarray], np.ndarray], *, q: float, smallest: float, largest: float) -> float:
    """Return the distance beyond which an increasing ``log K`` exceeds ``-log q``, at most 2% too large.

    Looks from ``smallest`` to ``largest`` on a logarithmic scale; infinite if there is none up to there.
    """
    low, high = math.log(smallest), math.log(largest)
    for _ in range(2):
        gaps = np.linspace(low, high, _POINTS)
        inside = ~(log_k(np.exp(gaps)) > -math.log(q))
        last = int(np.max(np.nonzero(inside)[0], initial=-1))
        if last == _POINTS - 1:
            return math.inf
        if last < 0:
            return smallest
        low, high = gaps[last], gaps[last + 1]
    return math.exp(high)


def outermost(diagonal: np.ndarray, off_diagonal: np.ndarray, largest: float, *, q: float) -> float:
    """Return where, beyond the largest Ritz value, ``K`` reaches ``1 / q``: no eigenvalue of weight q lies further out.

    Source: van Dorsselaer, Hochstenbach and van der Vorst (2000), who use the term of highest degree of K alone.
    """
    scale = max(float(np.max(off_diagonal)), float(np.max(np.abs(diagonal))))
    distance = crossing(
        lambda gap: log_kernel(diagonal, off_diagonal, largest + gap),
        q=q,
        smallest=_SMALLEST_GAP * scale,
        largest=8.0 * scale / math.sqrt(q),  # there the term of degree one alone exceeds 1 / q
    )
    return largest + distance


def hole(diagonal: np.ndarray, off_diagonal: np.ndarray, *, q: float, inner: float = 0.0, limit: float) -> float:
    """Return g such that no eigenvalue of weight q has a modulus in ``[inner, g)``; g is at most ``limit``.

    ``K = sum_i (s_i' pi)**2 + pi_k**2`` with the eigenvectors s_i of the tridiagonal matrix. Each term is the square of
    a polynomial whose zeros are Ritz values, hence has no minimum inside an interval between two neighboring ones, and
    a lower bound for a whole interval follows from the terms at its ends.

    Parameters
    ----------
    diagonal, off_diagonal : ndarray, shape (k,)
        As for `log_kernel`.
    q : float
        Weight.
    inner : float
        Smallest modulus, not negative.
    limit : float
        Where to stop looking.

    Returns
    -------
    float
        ``inner`` where nothing can be excluded.
    """
    if np.any(log_kernel(diagonal, off_diagonal, np.array([inner, -inner])) <= -math.log(q)):
        return inner
    values, vectors = tridiagonal_eigh(diagonal, off_diagonal)
    # At a Ritz value K is the inverse of its Gauss weight. Rounding hides that from the recurrence where it converged.
    heavy = np.abs(values[vectors[0] ** 2 >= q])
    reached = float(np.min(heavy[heavy > inner], initial=limit))
    for side in (1.0, -1.0):
        points = np.sort(side * values)
        points = points[(points > inner) & (points < reached)][:_POINTS]
        ends = np.concatenate([[inner], points, [reached]])
        if reached <= inner:
            return inner
        for _ in range(_ROUNDS):
            ends = np.unique(np.linspace(ends[:-1], ends[1:], _CELLS + 1))
            bounds = _least(diagonal, off_diagonal, vectors, side * ends)
            failed = ~(bounds > -math.log(q))
            if not np.any(failed):
                reached = float(ends[-1])
                break
            first = int(np.argmax(failed))
            reached, ends = float(ends[first]), ends[first : first + 2]
    return reached


def _least(diagonal: np.ndarray, off_diagonal: np.ndarray, vectors: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return lower bounds of ``log K`` on the intervals between successive points, no Ritz value inside any of them."""
    k = len(diagonal)
    rows = np.empty((k + 1, len(x)))
    logs = np.empty((k + 1, len(x)))
    rows[0], logs[0] = 1.0, 0.0
    previous, before = np.zeros_like(x), 0.0
    for j in range(k):
        following = ((x - diagonal[j]) * rows[j] - before * previous) / off_diagonal[j]
        growth = 1.0 + following**2
        root = np.sqrt(growth)
        previous, before = rows[j] / root, off_diagonal[j]
        rows[j + 1], logs[j + 1] = following / root, logs[j] + np.log(growth)
    total = logs[k]
    values = rows * np.exp(0.5 * (logs - total))
    terms = np.concatenate([vectors.T @ values[:k], values[k:]])
    terms = np.maximum(np.abs(terms) - _NOISE, 0.0) ** 2
    top = np.maximum(total[:-1], total[1:])
    smaller = np.minimum(terms[:, :-1] * np.exp(total[:-1] - top), terms[:, 1:] * np.exp(total[1:] - top))
    with np.errstate(divide="ignore"):
        return top + np.log(np.sum(smaller, axis=0))


def weight_below(diagonal: np.ndarray, off_diagonal: np.ndarray, x: float) -> tuple[float, float]:
    """Return sharp bounds of the weight on eigenvalues below x (excluded, and included).

    Gauss-Radau quadrature with a node at x: the weight of the nodes below, without and with that at x.

    Source: Chebyshev, Markov and Stieltjes; Szego (1939), section 3.41. Golub and Meurant (2010) for the Radau matrix.

    Examples
    --------
    >>> low, high = weight_below(np.array([0.0, 0.0]), np.array([0.5, 0.5]), 0.3)
    >>> low <= 0.5 + 0.3 / 2 <= high
    True
    """
    k = len(diagonal)
    pivot = x - diagonal[0]
    for j in range(1, k):
        pivot = x - diagonal[j] - off_diagonal[j - 1] ** 2 / (pivot if pivot != 0.0 else _SMALLEST_GAP)
    last = x - off_diagonal[-1] ** 2 / (pivot if pivot != 0.0 else _SMALLEST_GAP)
    nodes = ritz(np.append(diagonal, last), np.append(off_diagonal, 0.0), k + 1)
    at = int(np.argmin(np.abs(nodes.values - x)))
    below = float(np.sum(nodes.weights[:at]))
    return below, below + float(nodes.weights[at])
