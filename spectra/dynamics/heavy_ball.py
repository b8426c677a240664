r"""Optimal heavy ball of a quadratic without noise.

For eigenvalues in ``[mu, L]`` (Polyak 1964)::

    h = 4/(sqrt L + sqrt mu)^2,   beta = ((sqrt L - sqrt mu)/(sqrt L + sqrt mu))^2,   rate sqrt(beta)

:func:`spectra.recommend.momentum_advice` says when a measured state is close enough to one.
"""

from dataclasses import dataclass

import numpy as np

from spectra.errors import ArgumentError

__all__ = ["HeavyBall", "optimal_heavy_ball"]


@dataclass(frozen=True, kw_only=True)
class HeavyBall:
    """Constants of a heavy ball in torch's sum form: ``learning_rate``, ``momentum`` and the factor per step.

    Attributes
    ----------
    learning_rate, momentum : float
        ``h`` and ``beta``.
    rate : float
        Asymptotic factor on the error per step.

    Notes
    -----
    Source: Polyak (1964).

    Examples
    --------
    >>> HeavyBall(learning_rate=0.25, momentum=0.25, rate=0.5).rate
    0.5
    """

    learning_rate: float
    momentum: float
    rate: float


def optimal_heavy_ball(smallest: float, largest: float) -> HeavyBall:
    """Return Polyak's step size and momentum for eigenvalues in ``[smallest, largest]``.

    Parameters
    ----------
    smallest, largest : float
        ``mu`` and ``L`` with ``0 < mu <= L``.

    Returns
    -------
    HeavyBall

    Raises
    ------
    ArgumentError
        If the ends are not ordered, not positive or not finite.

    Notes
    -----
    ``rate`` is asymptotic: the double root lets the error grow like ``t rate^t`` at the ends of the spectrum.

    O(1) operations. Source: Polyak (1964).

    Examples
    --------
    >>> optimal_heavy_ball(1.0, 9.0)
    HeavyBall(learning_rate=0.25, momentum=0.25, rate=0.5)
    """
    if not 0 < smallest <= largest < float("inf"):
        raise ArgumentError(f"0 < smallest <= largest is needed; got {smallest} and {largest}")
    low, high = np.sqrt(smallest), np.sqrt(largest)
    rate = float((high - low) / (high + low))
    return HeavyBall(learning_rate=float(4.0 / (high + low) ** 2), momentum=rate**2, rate=rate)
