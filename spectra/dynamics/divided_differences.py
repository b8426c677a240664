"""Divided differences of powers, without cancellation."""

import numpy as np
import numpy.typing as npt

from spectra.start_vectors import as_count

__all__ = ["power_divided_difference"]


def power_divided_difference(u: npt.ArrayLike, v: npt.ArrayLike, order: int) -> np.ndarray:
    """Return ``(u^k - v^k)/(u - v)``, and ``k u^(k-1)`` where both are equal, without cancellation.

    Parameters
    ----------
    u, v : array_like
        Real; broadcast against each other.
    order : int
        k, not negative.

    Returns
    -------
    ndarray
        Of the shape of u and v together.

    Raises
    ------
    ArgumentError
        If ``order`` is no count.

    Notes
    -----
    O(1) per entry.

    With one sign, ``hi^(k-1) expm1(k log1p(t))/t`` for ``t = (lo - hi)/hi`` of the absolute values; with two signs the
    powers are added, or the difference of the absolute values is split off. Overflow gives infinity. Derived.

    Examples
    --------
    >>> power_divided_difference([2.0, 0.5, -0.5], [3.0, 0.5, 0.5], 3).tolist()
    [19.0, 0.75, 0.25]
    """
    k = as_count(order, name="order", least=0)
    u, v = np.broadcast_arrays(np.asarray(u, dtype=np.float64), np.asarray(v, dtype=np.float64))
    a, b = np.abs(u), np.abs(v)
    high, low = np.maximum(a, b), np.minimum(a, b)
    if k == 0:
        return np.zeros(u.shape)
    with np.errstate(all="ignore"):
        t = (low - high) / high
        ratio = np.where(t == 0, float(k), np.expm1(k * np.log1p(t)) / t)
        same = np.where(high > 0, high ** (k - 1) * ratio, float(k == 1))
        total = a + b
        opposite = (a**k + b**k) / total
        if k % 2 == 0:
            opposite = np.where(high > low, same * ((high - low) / total), 0.0)
        # (u^k - v^k)/(u - v) of two negative numbers has the sign of an odd power less one
        signed = np.where(u < 0, (-1.0) ** (k - 1), 1.0) * same
        even_sign = np.where((u < 0) == (a > b), -1.0, 1.0) if k % 2 == 0 else 1.0
    return np.where((u < 0) == (v < 0), signed, np.where(total > 0, even_sign * opposite, same))
