r"""What a low-rank approximation says about each probe: known in the mean, so that subtracting it leaves less noise."""

import numpy as np

from spectra.arrays import inner_with_rows, namespace, to_host
from spectra.frozen import Vector
from spectra.kernels.low_rank import LowRank
from spectra.protocols import Array

__all__ = ["ControlVariate", "helpful"]

#: A correction is made where it at least halves the variance: a choice between two estimates of about equal variance
#: would follow the noise.
PAYS = 0.5


class ControlVariate:
    r"""Sums over the probes with FF' in place of K, less their expectation.

    With :math:`h_q = 1 - (\delta/(w + \delta))^q` for the eigenpairs (w, u) of FF', and V the vectors that were taken
    out, the probe g, uniform on the unit sphere of the complement of dimension m, deviates by

    .. math:: - m \sum_i h_q(w_i) (u_i'g)^2 + \sum_i h_q(w_i) (1 - \|V'u_i\|^2).

    Parameters
    ----------
    approximation : LowRank
        Of the same matrix.
    basis : array, shape (n, d), or None
        V.
    probes : array, shape (p, n)
        Unit rows, orthogonal to V.

    Notes
    -----
    Derived here: the expectation of g g' is the projection on the complement, over m. Costs 2 n k (p + d) operations.

    Examples
    --------
    >>> from spectra.kernels.rp_cholesky import rp_cholesky_of_gram
    >>> control = ControlVariate(rp_cholesky_of_gram(np.eye(4), num_columns=4), None, np.eye(4)[:2])
    >>> control.deviation(np.ones(1)).round(12).ravel().tolist()
    [0.0, 0.0, 0.0, 0.0]
    """

    def __init__(self, approximation: LowRank, basis: Array | None, probes: Array) -> None:
        xp = namespace(probes)
        rows = xp.astype(xp.matrix_transpose(approximation.eigenvector), probes.dtype, copy=False)
        self._eigenvalue = approximation.eigenvalue
        self._squares = to_host(inner_with_rows(rows, xp.matrix_transpose(probes))) ** 2
        inside = np.zeros(len(self._eigenvalue)) if basis is None else np.sum(to_host(rows @ basis) ** 2, axis=1)
        self._outside = np.clip(1.0 - inside, 0.0, 1.0)
        self._dimension = int(probes.shape[1]) - (0 if basis is None else int(basis.shape[1]))

    def deviation(self, ridge: Vector) -> np.ndarray:
        """Return the deviations of S_1 and S_2, shape (2, m, p), of expectation 0."""
        left = ridge[:, None] / (self._eigenvalue + ridge[:, None])
        fitted = np.stack([1.0 - left, 1.0 - left**2])
        return (fitted @ self._outside)[:, :, None] - self._dimension * (fitted @ self._squares)


def helpful(middle: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """Return the deviations where subtracting them at least halves the variance over the last axis, else zero.

    Examples
    --------
    >>> noise = np.array([[1.0, -1.0, 2.0]])
    >>> helpful(5.0 + noise, noise).tolist(), helpful(5.0 + noise, -noise).tolist()
    ([[1.0, -1.0, 2.0]], [[0.0, 0.0, 0.0]])
    """
    before, after = np.var(middle, axis=-1), np.var(middle - deviation, axis=-1)
    return np.where((after <= PAYS * before)[..., None], deviation, 0.0)
