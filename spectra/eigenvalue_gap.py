"""Whether a list of eigenvalues has a gap inside, so that it is more than one interval."""

from dataclasses import dataclass

import numpy as np

from spectra.frozen import Vector

__all__ = ["EigenvalueGap", "widest_gap"]

#: Eigenvalues on either side, with fewer of which a gap sets outliers apart and not a part of the bulk (design choice).
LEAST_SIDE = 12
#: Spacings on either side that a gap is compared with (design choice).
NEIGHBORS = 10
#: A gap is this many times as wide as the median spacing beside it. Of a thousand independent values, whose spacings
#: vary more than those of random matrices, one in a thousand has such a spacing (exponential spacings: 1000 / 2^20).
WIDE = 20.0


@dataclass(frozen=True, kw_only=True)
class EigenvalueGap:
    """An interval without eigenvalues.

    Attributes
    ----------
    low, high : float
        The eigenvalues at its ends.
    num_above, num_below : int
        Eigenvalues above and below.
    ratio : float
        Width over the median spacing beside it, on the side where this is larger; infinite where all spacings are 0.
    """

    low: float
    high: float
    num_above: int
    num_below: int
    ratio: float


def widest_gap(values: Vector) -> EigenvalueGap | None:
    """Return the widest gap, relative to the spacings beside it, or None where there is none.

    Parameters
    ----------
    values : ndarray, shape (N,)
        Descending, finite, without outliers.

    Notes
    -----
    Eigenvalues become rarer towards an edge, but not by an order of magnitude within ten of them. A construction of
    this project.

    Examples
    --------
    >>> both = np.concatenate([np.linspace(3.0, 2.0, 50), np.linspace(1.0, 0.0, 50)])
    >>> found = widest_gap(both)
    >>> found.low, found.high, found.num_above
    (1.0, 2.0, 50)
    >>> widest_gap(np.linspace(1.0, 0.0, 100)) is None
    True
    """
    if len(values) < 2 * LEAST_SIDE:
        return None
    spacings = values[:-1] - values[1:]
    medians = np.median(np.lib.stride_tricks.sliding_window_view(spacings, NEIGHBORS), axis=1)
    inner = np.arange(LEAST_SIDE - 1, len(values) - LEAST_SIDE)
    # The windows that end before, and begin behind, each spacing.
    beside = np.maximum(medians[inner - NEIGHBORS], medians[inner + 1])
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.where(spacings[inner] > 0.0, spacings[inner] / beside, 0.0)
    best = int(np.argmax(ratios))
    if ratios[best] < WIDE:
        return None
    place = int(inner[best])
    return EigenvalueGap(
        low=float(values[place + 1]),
        high=float(values[place]),
        num_above=place + 1,
        num_below=len(values) - place - 1,
        ratio=float(ratios[best]),
    )
