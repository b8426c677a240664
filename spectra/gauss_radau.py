"""Gauss-Radau quadrature: the other side of the bracket when a bound of the spectrum is known."""

import numpy as np

from spectra.tridiagonal import Ritz, ritz, tridiagonal_eigh

__all__ = ["gauss_radau"]


def gauss_radau(diagonal: np.ndarray, off_diagonal: np.ndarray, *, node: float) -> Ritz:
    """Return the quadrature with one node prescribed, from the tridiagonal matrix of m Lanczos steps.

    Appends to T the diagonal entry ``z + d_m``, where ``(T - z I) d = b_m**2 e_m``, coupled by ``b_m``. Its m + 1
    nodes contain z, and it is exact for polynomials of degree 2 m.

    Parameters
    ----------
    diagonal : ndarray, shape (m,)
    off_diagonal : ndarray, shape (m,)
        The last entry is the coupling to the next vector; if it is 0, Gauss quadrature is exact and returned.
    node : float
        z, below all eigenvalues of T.

    Returns
    -------
    Ritz
        Nodes (ascending), weights of sum 1, residuals.

    Notes
    -----
    For f whose even derivatives are negative and odd ones positive, such as the logarithm, and z no larger than the
    smallest eigenvalue: Radau <= exact <= Gauss. Source: Golub and Meurant (2010), chapter 6.

    Examples
    --------
    >>> import numpy as np
    >>> nodes = gauss_radau(np.array([2.0]), np.array([1.0]), node=0.5)
    >>> nodes.values.round(12).tolist(), round(float(nodes.weights @ nodes.values), 12)
    ([0.5, 2.666666666667], 2.0)
    """
    m = len(diagonal)
    coupling = float(off_diagonal[m - 1])
    if coupling == 0.0:
        return ritz(diagonal, off_diagonal, m)
    values, vectors = tridiagonal_eigh(diagonal, off_diagonal)
    shift = coupling * float(np.sum(vectors[-1] ** 2 * (coupling / (values - node))))
    return ritz(np.append(diagonal, node + shift), np.append(off_diagonal, 0.0), m + 1)
