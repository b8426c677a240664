"""Whether an array is a symmetric matrix."""

from typing import Any

import numpy as np

__all__ = ["is_symmetric"]

#: Asymmetry over the largest entry that is rounding of float32: products that are symmetric in exact arithmetic differ
#: by some units in the last place from their transpose.
ASYMMETRY = 1e-6


def is_symmetric(entries: np.ndarray[Any, Any]) -> bool:
    """Return whether an array is a square matrix and equals its transpose but for rounding.

    Parameters
    ----------
    entries : ndarray
        On the host, finite.

    Examples
    --------
    >>> is_symmetric(np.array([[1.0, 2.0], [2.0 + 1e-9, 1.0]])), is_symmetric(np.ones((2, 3)))
    (True, False)
    """
    if entries.ndim != 2 or entries.shape[0] != entries.shape[1]:
        return False
    return bool(np.max(np.abs(entries - entries.T), initial=0.0) <= ASYMMETRY * np.max(np.abs(entries), initial=0.0))
