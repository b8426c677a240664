"""Is the operator symmetric, and does it give the same product twice? Tests that cost next to nothing."""

import math
import warnings

import numpy as np

from spectra.arrays import eps, inner, inner_with_rows, namespace, to_host
from spectra.errors import NonDeterministicError, NotSymmetricError
from spectra.products import Products
from spectra.protocols import Array

__all__ = ["judge", "relative_skew", "require_repeatable", "require_symmetric"]

_WARN_ABOVE = 1e3
_LEAST_SCALE = 0.01
"""Products smaller than this share of the largest are judged by it: the rounding of an operator's products is relative
to its norm, so that two products that are all rounding need not be symmetric."""


def judge(defect: float, *, eps: float, error: type[Exception], message: str) -> float:
    """Return ``defect``; raise if it exceeds sqrt(eps), warn if it exceeds 1000 eps.

    Rounding alone gives at most 4 eps for the symmetry of dense matrices and 5 eps for repeated products.
    """
    if not defect <= math.sqrt(eps):
        raise error(f"{message}: relative difference {defect:.2g}, at most {math.sqrt(eps):.1g} is accepted")
    if defect > _WARN_ABOVE * eps:
        warnings.warn(
            f"{message}: relative difference {defect:.2g}, rounding alone gives less than {_WARN_ABOVE * eps:.1g}; "
            "results are no more accurate than that",
            RuntimeWarning,
            stacklevel=3,
        )
    return defect


def relative_skew(overlaps: np.ndarray, norms: np.ndarray) -> float:
    """Return the largest ``|u'(Av) - v'(Au)| / max(||Au||, ||Av||)`` over pairs of unit vectors.

    The denominator is at least a hundredth of the largest product.

    Parameters
    ----------
    overlaps : ndarray, shape (p, p)
        ``u_i' A u_j``.
    norms : ndarray, shape (p,)
        ``||A u_i||``.
    """
    scale = np.maximum(np.maximum(norms[:, None], norms[None, :]), _LEAST_SCALE * np.max(norms))
    skew = np.abs(overlaps - overlaps.T)
    return float(np.max(np.divide(skew, scale, out=np.zeros_like(skew), where=scale > 0)))


def require_symmetric(products: Products, rows: Array, images: Array) -> float:
    """Compare ``u'(Av)`` with ``v'(Au)`` for all pairs of rows, from products that are at hand; costs nothing.

    Parameters
    ----------
    products : Products
        Names the operator.
    rows, images : array, shape (k, n)
        Unit rows, and the scaled products with them.

    Returns
    -------
    float
        The relative defect s of `relative_skew`; 0 for a single row.

    Raises
    ------
    NotSymmetricError
        If s exceeds sqrt(eps). Between 1000 eps and that a RuntimeWarning is given.
    """
    xp = namespace(rows)
    overlaps = to_host(inner_with_rows(rows, xp.matrix_transpose(images)))
    norms = np.sqrt(to_host(inner(images, images)))
    if not np.all(np.isfinite(overlaps)):
        return 0.0  # whoever uses the products reports what was not finite
    return judge(
        relative_skew(overlaps, norms),
        eps=eps(rows),
        error=NotSymmetricError,
        message=f"{products.operator.name!r} must be symmetric, but u'(Av) and v'(Au) differ",
    )


def require_repeatable(products: Products, row: Array, image: Array) -> float:
    """Repeat a product; costs one.

    Parameters
    ----------
    products : Products
        Of the operator.
    row, image : array, shape (n,)
        A vector, and the scaled product with it.

    Returns
    -------
    float
        ``||first - second|| / ||first||``, 0 if both vanish.

    Raises
    ------
    NonDeterministicError
        If it exceeds sqrt(eps). Between 1000 eps and that a RuntimeWarning is given.
    """
    xp = namespace(row)
    second = products.multiply_unchecked(row)
    change, size = to_host(xp.stack([xp.linalg.vector_norm(second - image), xp.linalg.vector_norm(image)]))
    if change == 0.0:
        return 0.0
    return judge(
        float(change / size) if size > 0 else math.inf,
        eps=eps(image),
        error=NonDeterministicError,
        message=f"{products.operator.name!r} must be deterministic, but gave two results for one vector",
    )
