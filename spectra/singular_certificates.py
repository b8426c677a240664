"""Intervals for the extreme singular values of a rectangular matrix, from Golub-Kahan steps, with known confidence."""

import math
from typing import final

import numpy as np

from spectra.christoffel import crossing, log_kernel, overlap_quantile
from spectra.golub_kahan import Bidiagonal
from spectra.lanczos import BREAKDOWN

__all__ = ["SingularCertificate"]

_SMALLEST_GAP = 1e-18


@final
class SingularCertificate:
    """What bidiagonal matrices of random start vectors say about the largest and the smallest singular value.

    The couplings ``a_1, b_1, a_2, ...`` are those of Lanczos on ``[[0, A], [A', 0]]`` from ``(0, v)``, whose measure is
    symmetric: a singular value s has weight at most ``1 / K(s)`` in v, where K sums ``pi_j**2`` over even degrees j
    only, or over odd ones. The units of s are kept; ``A'A`` would square the condition number and lose small s.

    All numbers are in units of ``2**exponent``, and allow for rounding.

    Parameters
    ----------
    bidiagonal : Bidiagonal
        From start vectors uniform on the sphere of the shorter side.
    dimension : int
        Length of the shorter side.
    delta : float
        Probability with which each single statement may fail.
    slack : float
        See `spectra.certificates.relative_slack`.

    Attributes
    ----------
    exponent : int
    norm, slack : float
        Largest singular value of a bidiagonal matrix; that times the parameter.
    low, high : float
        With probability ``1 - delta`` each, ``low <= s_min`` and ``s_max <= high``.
    low_certain, high_certain : float
        ``s_min <= low_certain`` and ``high_certain <= s_max``.
    is_complete : bool
        Whether all singular values are known.
    """

    def __init__(self, bidiagonal: Bidiagonal, *, dimension: int, delta: float, slack: float) -> None:
        self.exponent = math.frexp(float(np.max(bidiagonal.couplings)))[1]
        counts = [int(k) for k in bidiagonal.num_couplings]
        self.is_complete = (2 * dimension) in counts or (2 * dimension - 1) in counts
        chosen = [i for i, k in enumerate(counts) if k >= 2 * dimension - 1 or not self.is_complete]
        values = [np.ldexp(bidiagonal.singular_values(i), -self.exponent) for i in chosen]
        self.norm = max(float(theta[-1]) for theta in values)
        self.slack = slack * self.norm
        smallest, largest = min(float(theta[0]) for theta in values), self.norm
        self.low_certain, self.high_certain = smallest + self.slack, largest - self.slack
        self.low, self.high = smallest, largest
        if not self.is_complete and self.norm > 0.0:
            floor = max(BREAKDOWN * np.finfo(np.float64).eps, slack) * self.norm
            couplings = [np.ldexp(bidiagonal.couplings[i, : counts[i]], -self.exponent) for i in chosen]
            q = overlap_quantile(dimension, num_starts=len(chosen), delta=delta)
            ends = [
                _ends(np.where(c > 0.0, c, floor), float(theta[0]), float(theta[-1]), q=q)
                for c, theta in zip(couplings, values, strict=True)
            ]
            self.low, self.high = min(low for low, _ in ends), max(high for _, high in ends)
        self.low, self.high = max(self.low - self.slack, 0.0), self.high + self.slack


def _ends(couplings: np.ndarray, smallest: float, largest: float, *, q: float) -> tuple[float, float]:
    """Return bounds of the smallest and of the largest singular value of weight q in one start vector."""
    k = len(couplings)
    diagonal = np.zeros(k)
    counted = (np.arange(k + 1) % 2 == k % 2).astype(np.float64)

    def kernel(x: np.ndarray) -> np.ndarray:
        return log_kernel(diagonal, couplings, x, counted=counted)

    scale = float(np.max(couplings))
    reach = 8.0 * scale / math.sqrt(q)
    above = crossing(lambda gap: kernel(largest + gap), q=q, smallest=_SMALLEST_GAP * scale, largest=reach)
    if not smallest > _SMALLEST_GAP * scale or k % 2 == 1:
        return 0.0, largest + above
    below = crossing(lambda gap: kernel(smallest - gap), q=q, smallest=_SMALLEST_GAP * scale, largest=smallest)
    return max(smallest - below, 0.0), largest + above
