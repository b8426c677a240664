"""Points of an interval as angles, which square roots at both ends turn into smooth functions."""

import numpy as np

from spectra.frozen import Vector

__all__ = ["angle_of", "point_at"]


def point_at(angle: Vector, *, low: float, high: float) -> Vector:
    """Return ``x = low + (high - low) sin^2(angle/2)``, accurate next to both ends.

    Parameters
    ----------
    angle : ndarray of any shape
        In [0, pi].
    low, high : float
        Ends of the interval.

    Notes
    -----
    O(1) for each point. Derived here.

    Examples
    --------
    >>> point_at(np.array([0.0, np.pi]), low=1.0, high=3.0).tolist()
    [1.0, 3.0]
    """
    width = high - low
    left = low + width * np.sin(0.5 * angle) ** 2
    right = high - width * np.sin(0.5 * (np.pi - angle)) ** 2
    return np.clip(np.where(angle < 0.5 * np.pi, left, right), low, high)


def angle_of(x: Vector, *, low: float, high: float) -> Vector:
    """Return the angle of points, in [0, pi]; those outside the interval get the nearest end's.

    Parameters
    ----------
    x : ndarray of any shape
    low, high : float
        Ends of the interval.

    Notes
    -----
    O(1) for each point; the inverse of :func:`point_at`. Derived here.

    Examples
    --------
    >>> angle_of(np.array([0.0, 3.0]), low=1.0, high=3.0).round(6).tolist()
    [0.0, 3.141593]
    """
    width = high - low
    inside = np.clip(x, low, high)
    from_left = np.sqrt(np.minimum((inside - low) / width, 1.0))
    from_right = np.sqrt(np.minimum((high - inside) / width, 1.0))
    return 2.0 * np.arctan2(from_left, from_right)
