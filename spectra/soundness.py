"""Is the operator symmetric, and does it give the same product twice? Tests that cost next to nothing."""

import math
import warnings

import numpy as np

from spectra.arrays import eps, namespace, to_host
from spectra.errors import NonDeterministicError, NotSymmetricError
from spectra.lanczos import Iteration

__all__ = ["judge", "relative_skew", "require_repeatable", "require_symmetric"]

_WARN_ABOVE = 1e3


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

    Parameters
    ----------
    overlaps : ndarray, shape (p, p)
        ``u_i' A u_j``.
    norms : ndarray, shape (p,)
        ``||A u_i||``.
    """
    scale = np.maximum(norms[:, None], norms[None, :])
    skew = np.abs(overlaps - overlaps.T)
    return float(np.max(np.divide(skew, scale, out=np.zeros_like(skew), where=scale > 0)))


def require_symmetric(iteration: Iteration) -> float:
    """Compare ``u'(Av)`` with ``v'(Au)`` for all pairs of start vectors, from the products of the first step.

    With a single start vector the iteration is advanced by one step, and its first two Lanczos vectors are compared.
    The products are those the iteration needs anyway: no cost unless it ends after a single step.

    Returns
    -------
    float
        The relative defect s of `relative_skew`; 0 for operators of order 1.

    Raises
    ------
    NotSymmetricError
        If s exceeds sqrt(eps). Between 1000 eps and that a RuntimeWarning is given.
    """
    xp, q = namespace(iteration.vectors), iteration.vectors
    image = iteration.image()
    if q.shape[0] == 1:
        iteration.advance(1)
        if iteration.exhausted:
            return 0.0
        q = xp.concat([q, iteration.vectors], axis=0)
        image = xp.concat([image, iteration.image()], axis=0)
    overlaps = to_host(xp.matmul(q, xp.matrix_transpose(image)))
    norms = to_host(xp.linalg.vector_norm(image, axis=1))
    if not np.all(np.isfinite(overlaps)):
        return 0.0  # the iteration itself reports the step and the start vector
    return judge(
        relative_skew(overlaps, norms),
        eps=eps(q),
        error=NotSymmetricError,
        message=f"{iteration.operator.name!r} must be symmetric, but u'(Av) and v'(Au) differ",
    )


def require_repeatable(iteration: Iteration) -> float:
    """Repeat the product with the first start vector, before the first step; costs one product.

    Returns
    -------
    float
        ``||first - second|| / ||first||``, 0 if both vanish.

    Raises
    ------
    NonDeterministicError
        If it exceeds sqrt(eps). Between 1000 eps and that a RuntimeWarning is given.
    """
    xp = namespace(iteration.vectors)
    first = iteration.image()[0, :]
    second = iteration.scaled(iteration.operator @ iteration.vectors[0, :])
    iteration.num_matvecs += 1
    change, size = to_host(xp.stack([xp.linalg.vector_norm(second - first), xp.linalg.vector_norm(first)]))
    if change == 0.0:
        return 0.0
    return judge(
        float(change / size) if size > 0 else math.inf,
        eps=eps(first),
        error=NonDeterministicError,
        message=f"{iteration.operator.name!r} must be deterministic, but gave two results for one vector",
    )
