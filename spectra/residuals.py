"""Certificates of Ritz pairs: residuals from fresh products, and what they say about eigenvalues."""

from dataclasses import dataclass

import numpy as np

from spectra.arrays import eps, inner, norms, to_host
from spectra.errors import NonDeterministicError
from spectra.thick_restart import RitzPairs, ThickRestart

__all__ = ["Certified", "certify", "error_bounds"]

_COLUMNS = 8


@dataclass(frozen=True, eq=False, kw_only=True)
class Certified:
    """Pairs of the scaled operator, on the host.

    Attributes
    ----------
    values : ndarray, shape (k,)
        Rayleigh quotients of the vectors.
    residuals : ndarray, shape (k,)
        ``||A y - theta y||`` from fresh products.
    vectors : ndarray, shape (k, n), or None
        Unit rows, entry of largest modulus positive.
    """

    values: np.ndarray
    residuals: np.ndarray
    vectors: np.ndarray | None


def certify(search: ThickRestart, pairs: RitzPairs, index: list[int], *, keep_vectors: bool) -> Certified:
    """Multiply the chosen Ritz vectors afresh; one product each, eight vectors at a time.

    Raises
    ------
    NonDeterministicError
        If the residuals differ from those of the recurrence by more than ``sqrt(eps) ||A||``.
    NonFiniteError
        If a product contains NaN or infinity.
    """
    products, xp = search.products, search.products.xp
    values, residuals, kept = [], [], []
    for first in range(0, len(index), _COLUMNS):
        y = search.basis.combine(pairs.coefficients[:, index[first : first + _COLUMNS]])
        y = y / norms(y)[:, None]
        image = xp.matrix_transpose(products.multiply(xp.matrix_transpose(y)))
        theta = xp.astype(inner(y, image), y.dtype)
        residuals.append(to_host(norms(image - theta[:, None] * y)))
        values.append(to_host(theta))
        if keep_vectors:
            kept.append(_oriented(to_host(y)))
    fresh = np.concatenate(residuals)
    difference = float(np.max(np.abs(fresh - pairs.residuals[index])))
    if not difference <= np.sqrt(eps(products.operator.like)) * search.norm + search.forgotten:
        raise NonDeterministicError(
            f"{products.operator.name!r} must give the same product each time, but residuals from fresh products "
            f"differ from those of the Lanczos recurrence by {difference / search.norm if search.norm else np.inf:.2g} "
            "of its norm"
        )
    return Certified(
        values=np.concatenate(values), residuals=fresh, vectors=np.concatenate(kept) if keep_vectors else None
    )


def error_bounds(found: Certified, pairs: RitzPairs, index: list[int], *, tolerance: float) -> np.ndarray:
    """Return ``R**2 / gap`` where a gap is known and that is less than the residual, else the residual.

    Pairs within ``2 tolerance`` of each other form a cluster; R is the norm of the residuals of its members, the gap
    that between its values and all other Ritz values, less their residuals.

    Source: Parlett (1998), sections 11.7 and 11.8.

    Examples
    --------
    >>> import numpy as np
    >>> pairs = RitzPairs(values=np.array([0.0, 1.0]), residuals=np.array([0.0, 0.01]), coefficients=np.eye(2))
    >>> found = Certified(values=pairs.values[1:], residuals=pairs.residuals[1:], vectors=None)
    >>> error_bounds(found, pairs, [1], tolerance=1e-3).tolist()
    [0.0001]
    """
    residuals = pairs.residuals.copy()
    residuals[index] = found.residuals
    bounds = found.residuals.copy()
    for position, i in enumerate(index):
        near = np.abs(pairs.values - pairs.values[i]) <= 2.0 * tolerance
        far = ~near
        if not np.any(far):
            continue
        distance = np.abs(pairs.values[far][:, None] - pairs.values[near][None, :]).min(axis=1) - residuals[far]
        gap = float(np.min(distance))
        size = float(np.sum(residuals[near] ** 2))
        if gap > 0.0:
            bounds[position] = min(bounds[position], size / gap)
    return bounds


def _oriented(rows: np.ndarray) -> np.ndarray:
    """Scale rows to norm one, in place, with the sign that makes the entry of largest modulus positive."""
    for row in rows:
        row /= np.linalg.norm(row) * (-1.0 if -row.min() > row.max() else 1.0)
    return rows
