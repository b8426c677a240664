"""Were eigenpairs missed? Multiplicities as far as a block shows them, and a search with a fresh random vector."""

import math
from dataclasses import dataclass, replace

import numpy as np

from spectra.arrays import eps
from spectra.lanczos import BREAKDOWN
from spectra.start_vectors import start_vectors, unit_rows
from spectra.thick_restart import End, ThickRestart, at_ends

__all__ = ["LEVEL", "Multiplicities", "look_for_missed_pairs", "no_eigenvalue_beyond"]

LEVEL = 0.99
"""Confidence of a search that met nothing; 0.999 would take about one product more."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Multiplicities:
    """How often each eigenvalue occurs, as far as is known.

    Attributes
    ----------
    values, residuals : ndarray, shape (m,)
        Ritz pairs.
    tolerance : float
        Ritz values within twice this count as one.
    block : int
        Copies that the search can see at most.
    is_complete : bool
        Whether it is known that no copy was missed.

    Examples
    --------
    >>> import numpy as np
    >>> found = Multiplicities(
    ...     values=np.array([0.0, 1.0, 1.0]), residuals=np.zeros(3), tolerance=1e-6, block=2, is_complete=False
    ... )
    >>> found.count(1.0), found.is_resolved(1.0), found.count(0.0), found.is_resolved(0.0)
    (2, False, 1, True)
    """

    values: np.ndarray
    residuals: np.ndarray
    tolerance: float
    block: int
    is_complete: bool

    def count(self, value: float) -> int:
        """Return the number of settled Ritz values within twice the tolerance, at least 1."""
        near = np.abs(self.values - value) <= 2.0 * self.tolerance
        return max(1, int(np.sum(near & (self.residuals <= 2.0 * self.tolerance))))

    def is_resolved(self, value: float) -> bool:
        """Whether fewer copies were found than could be seen, with all other Ritz values clear of them."""
        if self.is_complete:
            return True
        distance = np.abs(self.values - value)
        near = distance <= 2.0 * self.tolerance
        settled = bool(np.all(self.residuals[near] <= 2.0 * self.tolerance))
        clear = bool(np.all(distance[~near] > self.residuals[~near] + 2.0 * self.tolerance))
        return settled and clear and self.count(value) < self.block


def no_eigenvalue_beyond(
    x: float, diagonal: np.ndarray, off_diagonal: np.ndarray, *, dimension: int, failure: float
) -> bool:
    """Whether Lanczos coefficients show that, but for probability ``failure``, no eigenvalue is as large as x.

    With p_m the characteristic polynomial of the m x m matrix, ``|p_m(lambda)| |<q_1, u>| <= b_1 .. b_m`` for each
    eigenpair, and for q_1 uniform on the sphere ``<q_1, u>**2`` has the Beta(1/2, (n - 1)/2) distribution.

    Parameters
    ----------
    x : float
    diagonal, off_diagonal : ndarray, shape (m,)
        Of Lanczos from a random unit vector; the last off-diagonal couples to the next vector and is positive.
    dimension : int
        n.
    failure : float

    Notes
    -----
    The event of failure depends on q_1 only, so that it may be asked after each step at no loss.

    Source: van Dorsselaer, Hochstenbach and van der Vorst (2000).

    Examples
    --------
    >>> import numpy as np
    >>> ask = [no_eigenvalue_beyond(x, np.zeros(9), np.full(9, 0.5), dimension=100, failure=0.01) for x in (1.0, 2.0)]
    >>> ask
    [False, True]
    """
    from scipy.special import betaincinv

    m = len(diagonal)
    matrix = np.diag(diagonal)
    matrix[np.arange(1, m), np.arange(m - 1)] = off_diagonal[: m - 1]
    values = np.linalg.eigvalsh(matrix, UPLO="L")
    if x <= values[-1]:
        return False
    if dimension == 1:
        return True
    overlap = float(betaincinv(0.5, 0.5 * (dimension - 1), failure**2))
    if overlap == 0.0:
        return False
    return bool(np.sum(np.log(x - values)) - np.sum(np.log(off_diagonal)) > -0.5 * math.log(overlap))


def look_for_missed_pairs(
    search: ThickRestart, known: Multiplicities, *, num: int, which: End, max_products: int, seed: int, first: int
) -> tuple[float, Multiplicities]:
    """Look for pairs beyond the innermost wanted one, in the complement of those found, until there is none.

    A random vector orthogonal to the pairs found starts Lanczos on the complement. A Ritz value beyond the innermost
    wanted one proves that a pair was missed; it is pursued until it has converged, joins the others, and another
    vector is tried. Where there is none, the coefficients show it, see `no_eigenvalue_beyond`.

    Parameters
    ----------
    search : ThickRestart
        That has converged; all but the wanted pairs is given up.
    known : Multiplicities
        What it found.
    num, which
        Wanted.
    max_products : int
        Spent at most.
    seed, first : int
        Of the random vectors.

    Returns
    -------
    level : float
        `LEVEL`, or 0 if products or memory did not suffice.
    known : Multiplicities
        Updated.
    """
    n = search.products.operator.shape[0]
    budget = search.products.num_matvecs + max_products
    for attempt in range(n):
        pairs = search.ritz()
        wanted = {i for _, i in at_ends(pairs.values, num, which)}
        low, high = _limits(pairs.values, num, which, known.tolerance)
        is_beyond = (pairs.values >= high) | (pairs.values <= low)
        kept = sorted(wanted | set(np.flatnonzero(is_beyond & (pairs.residuals <= known.tolerance)).tolist()))
        search.lock(pairs, kept)
        if len(kept) == n:
            break
        if len(kept) >= search.basis.max_rows:
            return 0.0, _recount(search, known, is_complete=False)
        vector = start_vectors(search.products.operator.like, num=1, rng=seed, first=first + attempt)
        search.inject(unit_rows(vector, search.products.operator)[0])
        ends = [(sign, sign * end) for sign, end in ((1.0, high), (-1.0, low)) if math.isfinite(end)]
        failure = (1.0 - LEVEL) / 2.0 ** (attempt + 1) / len(ends)
        met = _pursue(search, ends, len(kept), failure=failure, tolerance=known.tolerance, budget=budget)
        if met is None:
            return 0.0, known if attempt == 0 else _recount(search, known, is_complete=False)
        if not met:
            break
    return LEVEL, _recount(search, known, is_complete=True)


def _pursue(
    search: ThickRestart,
    ends: list[tuple[float, float]],
    num_known: int,
    *,
    failure: float,
    tolerance: float,
    budget: int,
) -> bool | None:
    """Run Lanczos from the injected vector: whether it met a pair beyond the ends; None if that stayed open."""
    n, slack = search.products.operator.shape[0], BREAKDOWN * eps(search.products.operator.like) * search.norm
    while search.products.num_matvecs < budget and search.basis.num_rows < search.basis.max_rows:
        search.step()
        pairs = search.ritz()
        beyond = np.flatnonzero(np.any([sign * pairs.values >= end for sign, end in ends], axis=0))
        if len(beyond) > num_known:
            if np.all(pairs.residuals[beyond] <= 0.5 * tolerance):
                return True
        elif search.exhausted:
            return False
        diagonal, coupling = search.injected()
        if all(
            no_eigenvalue_beyond(
                end - slack,
                sign * diagonal,
                np.maximum(coupling, slack),
                dimension=n - num_known,
                failure=failure,
            )
            for sign, end in ends
        ):
            return False
    return None


def _limits(values: np.ndarray, num: int, which: End, tolerance: float) -> tuple[float, float]:
    """Return what every wanted value lies below or above, by twice the tolerance."""
    chosen = at_ends(values, num, which)
    tops = [values[i] for end, i in chosen if end == "largest"]
    bottoms = [values[i] for end, i in chosen if end == "smallest"]
    if which == "magnitude":
        size = max(0.0, min(abs(float(values[i])) for _, i in chosen) - 2.0 * tolerance)
        return -size, size
    low = max(bottoms) + 2.0 * tolerance if bottoms else -math.inf
    return float(low), float(min(tops) - 2.0 * tolerance if tops else math.inf)


def _recount(search: ThickRestart, known: Multiplicities, *, is_complete: bool) -> Multiplicities:
    pairs = search.ritz()
    return replace(known, values=pairs.values, residuals=pairs.residuals, block=0, is_complete=is_complete)
