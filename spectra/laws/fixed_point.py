r"""Fixed points in the upper half-plane, followed down to the real axis: the engine of free convolutions."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from spectra.frozen import Vector

__all__ = ["ComplexVector", "solve_above_axis"]

ComplexVector = npt.NDArray[np.complex128]

#: Distances from the real axis in units of the scale of the points (set by hand, not tuned).
DISTANCES = (1.0, 0.3, 0.1, 0.03, 0.01, 3e-3, 1e-3, 1e-4, 1e-5, 1e-6, 1e-8, 0.0)
#: Iterations at each distance, and on the axis (set by hand, not tuned).
STEPS, LAST_STEPS = 40, 150
#: Relative change by the map at which a point has converged (rounding of the transforms: a few hundred units).
TOLERANCE = 1e-13
#: Where rounding of the transforms is larger than that, a point has converged if neither two steps nor their
#: extrapolation move it by more than this: at a cusp the extrapolation does.
LOOSE = 1e-10


def solve_above_axis(
    step: Callable[[ComplexVector, ComplexVector], ComplexVector],
    z: ComplexVector,
    start: ComplexVector,
    scale: Vector,
    unit: Vector,
) -> tuple[ComplexVector, npt.NDArray[np.bool_]]:
    """Return the fixed points ``w = step(z, w)`` with imaginary part of at least 0, and which of them converged.

    Parameters
    ----------
    step : callable
        The map, for arrays of points and of iterates; a contraction of the upper half-plane.
    z : ndarray of complex, shape (k,)
        The points.
    start : ndarray of complex, shape (k,)
        Where the iteration starts.
    scale : ndarray, shape (k,)
        Length that is natural at each point: distances from the axis are in these units.
    unit : ndarray, shape (k,)
        Size that is natural for the iterates, which may pass through 0.

    Notes
    -----
    At each distance from the axis, starting from the fixed point at the one before, two plain steps and Steffensen's
    extrapolation of them are tried, and the better of extrapolation and second step is kept. Every point has its own
    stopping rule: few of them are slow, and they must not make all others iterate. Derived from Belinschi and Bercovici
    (2007), who prove convergence of the plain iteration.
    """
    w = start.copy()
    converged = np.zeros(z.shape, dtype=bool)
    with np.errstate(all="ignore"):
        for distance in DISTANCES:
            converged[:] = False
            active = np.arange(z.size)
            point = z + 1j * distance * scale
            image = step(point, w)
            for _ in range(LAST_STEPS if distance == 0 else STEPS):
                done = np.abs(image[active] - w[active]) <= TOLERANCE * (np.abs(w[active]) + unit[active])
                converged[active[done]] = True
                active = active[~done]
                if active.size == 0:
                    break
                w[active], image[active] = _accelerated(step, point[active], w[active], image[active])
        size = np.abs(w) + unit
        second = step(z, image)
        moves = np.abs(image - w), np.abs(second - w), np.abs(_extrapolated(w, image, second) - w)
        converged |= np.max(moves, axis=0) <= LOOSE * size
        polished, new_image = _accelerated(step, z, w, image)
        better = converged & (np.abs(new_image - polished) <= np.abs(image - w))
    return np.where(better, polished, w), converged


def _extrapolated(w: ComplexVector, first: ComplexVector, second: ComplexVector) -> ComplexVector:
    """Return Aitken's limit of three iterates."""
    return w - (first - w) ** 2 / (second - 2.0 * first + w)


def _accelerated(
    step: Callable[[ComplexVector, ComplexVector], ComplexVector],
    z: ComplexVector,
    w: ComplexVector,
    first: ComplexVector,
) -> tuple[ComplexVector, ComplexVector]:
    """Return the better of two plain steps and their extrapolation, with its image; ``first`` is ``step(z, w)``."""
    second = step(z, first)
    jump = _extrapolated(w, first, second)
    usable = np.isfinite(jump) & (jump.imag >= 0)
    jump = np.where(usable, jump, second)
    image_of_second, image_of_jump = step(z, second), step(z, jump)
    better = usable & (np.abs(image_of_jump - jump) < np.abs(image_of_second - second))
    return np.where(better, jump, second), np.where(better, image_of_jump, image_of_second)
