r"""A length scale from the data: the median distance between points."""

import numpy as np

from spectra.arrays import as_array, to_host
from spectra.errors import ArgumentError
from spectra.kernels.pairwise import as_points
from spectra.protocols import Array
from spectra.start_vectors import as_count, as_seed

__all__ = ["median_distance"]

#: Pairs that are drawn: the median is then within about 1 % of that of all pairs, for it has a standard error of
#: sqrt(pi/2) sigma / sqrt(20000) = 0.9 % of the standard deviation of distances.
NUM_PAIRS = 20_000


def median_distance(X: Array, *, num_pairs: int = NUM_PAIRS, rng: int | np.random.Generator = 0) -> float:
    r"""Return the median of :math:`|x_i - x_j|` over random pairs, the usual first guess of a length scale.

    Parameters
    ----------
    X : array, shape (n, d)
        Points in rows, at least two that differ.
    num_pairs : int
        How many pairs are drawn, with replacement; all pairs are taken where they are not more.
    rng : int or numpy.random.Generator
        Seed of the pairs, on the host: the same pairs for all array libraries.

    Returns
    -------
    float
        In the unit of the inputs. Distances of 0 between copies are left out.

    Raises
    ------
    ArgumentError
        If there is one point only, or all points that were drawn are equal.
    ShapeError, NonFiniteError, BackendError
        If the points are not usable.

    Notes
    -----
    O(num_pairs d), in float64 on the host, a piece at a time. A heuristic without theory for the regression that
    follows; widely used since Gretton et al. (2012).

    Examples
    --------
    >>> median_distance(np.array([[0.0], [1.0], [3.0]]))
    2.0
    """
    X = as_points(as_array(X, name="X"))
    count = as_count(num_pairs, name="num_pairs")
    n = int(X.shape[0])
    if n < 2:
        raise ArgumentError("a median distance needs at least two points, got one")
    generator = np.random.default_rng(as_seed(rng))
    if n * (n - 1) // 2 <= count:
        first, second = np.triu_indices(n, k=1)
    else:
        first = generator.integers(n, size=count)
        second = (first + generator.integers(1, n, size=count)) % n
    return _median(X, first, second)


def _median(X: Array, first: np.ndarray, second: np.ndarray) -> float:
    """Return the median distance of pairs that differ."""
    host = to_host(X)
    distance = np.concatenate(
        [
            np.linalg.norm(host[first[begin : begin + 4096]] - host[second[begin : begin + 4096]], axis=1)
            for begin in range(0, first.size, 4096)
        ]
    )
    distance = distance[distance > 0]
    if distance.size == 0:
        raise ArgumentError(
            "all points that were compared are equal, so that no distance can serve as a length scale; check the data"
        )
    return float(np.median(distance))
