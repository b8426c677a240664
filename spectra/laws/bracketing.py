"""Roots of increasing functions, all points at once."""

from collections.abc import Callable

import numpy as np

from spectra.frozen import Vector

__all__ = ["increasing_root"]

#: Chandrupatla's method needs about 10 evaluations, and bisection to the last bit of a float64 at most 64 + 11.
_MOST_STEPS = 80


def increasing_root(
    function: Callable[[Vector], Vector], low: Vector, high: Vector, *, target: Vector | None = None
) -> Vector:
    """Return x in [low, high] with ``function(x) = target`` at every point, to the last bits or 2^-80 of the bracket.

    Inverse quadratic interpolation where it is safe and bisection elsewhere.

    Parameters
    ----------
    function : callable
        Takes and returns arrays of shape (n,); entry i is an increasing function of ``x[i]`` alone.
    low, high : ndarray, shape (n,)
        Brackets. Where ``function`` has one sign in a bracket, the end nearer to the target is the result.
    target : ndarray, shape (n,), optional
        With a target, the function must be the same at every point, and is asked for ever fewer of them. Without, it
        may differ from point to point, the target is 0, and it is always asked for all of them.

    Returns
    -------
    ndarray, shape (n,)

    Notes
    -----
    About 10 evaluations of the function for each point, 80 at most. Source: Chandrupatla (1997).

    Examples
    --------
    >>> import numpy as np
    >>> increasing_root(np.square, np.zeros(2), np.full(2, 5.0), target=np.array([2.0, 9.0])).round(12).tolist()
    [1.414213562373, 3.0]
    """
    goal = np.zeros(np.shape(low)) if target is None else target
    old, new = np.array(low, dtype=np.float64), np.array(high, dtype=np.float64)
    f_old, f_new = function(old) - goal, function(new) - goal
    older, f_older, step = old.copy(), f_old.copy(), np.full_like(old, 0.5)
    one_sign = np.sign(f_old) * np.sign(f_new) > 0
    done, found, rows = np.zeros(old.shape, dtype=bool), np.empty_like(old), np.arange(old.size)
    for _ in range(_MOST_STEPS):
        best = np.where(np.abs(f_new) < np.abs(f_old), new, old)
        size = 2.0 * np.finfo(np.float64).eps * np.abs(best)
        width = np.abs(new - old)
        found[rows] = np.where(done, found[rows], best)
        done |= one_sign | (width <= size) | (f_new == 0.0) | (f_old == 0.0)
        if np.all(done):
            return found
        if target is not None and 2 * np.count_nonzero(done) > rows.size:
            left = ~done
            rows, goal, one_sign, size, width = rows[left], goal[left], one_sign[left], size[left], width[left]
            old, new, older, step = old[left], new[left], older[left], step[left]
            f_old, f_new, f_older, done = f_old[left], f_new[left], f_older[left], done[left]
        with np.errstate(divide="ignore", invalid="ignore"):
            least = np.where(width > size, 0.5 * size / width, 0.5)
        trial = old + np.clip(step, least, 1.0 - least) * (new - old)
        value = function(trial) - goal
        same = np.sign(value) == np.sign(f_old)
        older, f_older = np.where(same, old, new), np.where(same, f_old, f_new)
        new, f_new = np.where(same, new, old), np.where(same, f_new, f_old)
        old, f_old = trial, value
        step = _step(old, new, older, f_old, f_new, f_older)
    found[rows] = np.where(done, found[rows], np.where(np.abs(f_new) < np.abs(f_old), new, old))
    return found


def _step(a: Vector, b: Vector, c: Vector, fa: Vector, fb: Vector, fc: Vector) -> Vector:
    """Return where inverse quadratic interpolation sees the root, as share of a to b; one half if it is unsafe."""
    with np.errstate(all="ignore"):
        xi, phi = (a - b) / (c - b), (fa - fb) / (fc - fb)
        safe = (phi**2 < xi) & ((1.0 - phi) ** 2 < 1.0 - xi)
        inverse = fa / (fb - fa) * fc / (fb - fc) + (c - a) / (b - a) * fa / (fc - fa) * fb / (fc - fb)
    return np.where(safe & np.isfinite(inverse), inverse, 0.5)
