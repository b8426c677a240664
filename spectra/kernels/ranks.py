r"""Effective ranks of the tail of a spectrum, on which benign overfitting turns."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from spectra.arrays import finite_number
from spectra.errors import ArgumentError
from spectra.frozen import Vector, frozen_array
from spectra.kernels.gram import GramSpectrum
from spectra.kernels.signal_capture import modes

__all__ = ["EffectiveRanks", "effective_ranks"]

#: Share of the largest eigenvalue down to which tails are summed in its unit; squares of smaller ones would underflow.
SMALLEST = 1e-100


@dataclass(frozen=True, kw_only=True, eq=False)
class EffectiveRanks:
    r"""Effective ranks after the k largest eigenvalues, for k = 0, 1, ... as long as the next one is positive.

    Attributes
    ----------
    r : ndarray, shape (m,)
        :math:`r_k = \sum_{i>k} \lambda_i / \lambda_{k+1}`.
    R : ndarray, shape (m,)
        :math:`R_k = (\sum_{i>k} \lambda_i)^2 / \sum_{i>k} \lambda_i^2`; with a residual trace a lower bound, in which
        what is not listed is as large as the smallest that is.
    """

    r: Vector
    R: Vector

    def __post_init__(self) -> None:
        for name in ("r", "R"):
            object.__setattr__(self, name, frozen_array(getattr(self, name), name=name))

    @property
    def stable_rank(self) -> float:
        """Trace over the largest eigenvalue: ``r[0]``."""
        return float(self.r[0])

    @property
    def participation_ratio(self) -> float:
        """Square of the trace over the sum of squares: ``R[0]``."""
        return float(self.R[0])

    def benign_index(self, num_samples: int, *, b: float = 1.0) -> float:
        r"""Return :math:`k^* = \min\{k: r_k \ge b n\}`, infinite where there is none.

        Overfitting is benign in the limit where :math:`k^*/n \to 0` and :math:`n/R_{k^*} \to 0`.

        Parameters
        ----------
        num_samples : int
            n.
        b : float
            The constant of the theorem, which does not say how large it is.

        Raises
        ------
        ArgumentError
            If n or b is not positive.

        Notes
        -----
        Meaningful for eigenvalues of the integral operator. n eigenvalues of a Gram matrix never have a larger
        effective rank than n, whatever the kernel.

        Examples
        --------
        >>> found = effective_ranks(np.concatenate([[100.0], np.ones(50)]))
        >>> found.benign_index(20), found.benign_index(200)
        (1.0, inf)
        """
        least = finite_number(b, name="b") * finite_number(num_samples, name="num_samples")
        if not (b > 0 and num_samples > 0):
            raise ArgumentError(f"num_samples and b must be positive; got {num_samples!r} and {b!r}")
        where = np.flatnonzero(self.r >= least)
        return float(where[0]) if where.size else math.inf


def effective_ranks(source: GramSpectrum | npt.ArrayLike, *, residual_trace: float = 0.0) -> EffectiveRanks:
    r"""Return the effective ranks :math:`r_k` and :math:`R_k` of a spectrum for all k.

    Parameters
    ----------
    source : GramSpectrum or array_like, shape (m,)
        Eigenvalues of an integral operator or of a Gram matrix, in any order and unit; at least 0.
    residual_trace : float
        Sum of eigenvalues that are not listed, with an array.

    Raises
    ------
    ArgumentError
        If none is positive, or one is negative.
    ShapeError, NonFiniteError
        If they are no finite vector.

    Notes
    -----
    :math:`1 \le r_k \le R_k \le r_k^2`.

    Source: Bartlett, Long, Lugosi and Tsigler (2020), arXiv 1906.11300, definition 3.

    Examples
    --------
    >>> found = effective_ranks([4.0, 2.0, 2.0])
    >>> found.r.tolist(), found.R.round(9).tolist()
    ([2.0, 2.0, 1.0], [2.666666667, 2.0, 1.0])
    """
    if isinstance(source, GramSpectrum):
        values, rest = source.eigenvalue, source.residual_trace
    else:
        values, rest = modes(source, None)[0], finite_number(residual_trace, name="residual_trace")
    if rest < 0:
        raise ArgumentError(f"residual_trace must be at least 0; got {residual_trace!r}")
    values = np.sort(values[values > 0])[::-1]
    if values.size == 0:
        raise ArgumentError("effective ranks need a positive eigenvalue")
    r, R = np.empty(values.size), np.empty(values.size)
    begin = 0
    while begin < values.size:
        tail = slice(begin, values.size)
        unit = float(values[begin])
        scaled, beyond = values[tail] / unit, rest / unit
        total = np.cumsum(scaled[::-1])[::-1] + beyond
        squares = np.cumsum(scaled[::-1] ** 2)[::-1] + beyond * scaled[-1]
        known = slice(begin, begin + int(np.sum(scaled >= SMALLEST)))
        size = known.stop - begin
        r[known] = total[:size] / scaled[:size]
        R[known] = total[:size] * (total[:size] / squares[:size])
        begin = known.stop
    return EffectiveRanks(r=r, R=R)
