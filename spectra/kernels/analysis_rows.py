"""Which rows of data enter an analysis, and what is unusual about their features."""

from collections.abc import Callable
from typing import Any

import numpy as np

from spectra.arrays import as_array, namespace, to_host
from spectra.errors import ShapeError
from spectra.frozen import Vector

__all__ = ["drawn_rows", "take_rows"]

#: Ratio of the widest to the narrowest feature from which a remark says so.
UNEQUAL = 10.0


def drawn_rows(
    source: Any,
    kernel: Callable[[Any, Any], Any] | None,
    max_dense: int,
    subsample: int,
    generator: np.random.Generator,
) -> tuple[np.ndarray, Any, int, tuple[str, ...]]:
    """Return the rows that are used, their Gram matrix, the number of all samples, and remarks on the data.

    Parameters
    ----------
    source : array of any library, shape (n, n) or (n, d)
        A Gram matrix, or data with a kernel.
    kernel : callable or None
        ``kernel(X, Y)``.
    max_dense, subsample : int
        Beyond ``max_dense`` samples ``subsample`` rows are drawn.
    generator : numpy.random.Generator
        Draws them.

    Raises
    ------
    ShapeError
        If the source is neither.

    Notes
    -----
    One block of the kernel, of the order of the rows. Source: a convention of this project.

    Examples
    --------
    >>> rows, K, n, remarks = drawn_rows(np.eye(4), None, 3, 2, np.random.default_rng(0))
    >>> len(rows), K.shape, n, remarks
    (2, (2, 2), 4, ('laws and risks are those of 2 random rows of 4',))
    """
    data = as_array(source, name="the source")
    if data.ndim != 2 or 0 in data.shape:
        raise ShapeError(
            f"a Gram matrix of shape (n, n), or data of shape (n, d) with kernel=, is required; got {tuple(data.shape)}"
        )
    n = int(data.shape[0])
    if kernel is None:
        if data.shape[0] != data.shape[1]:
            raise ShapeError(f"data of shape {tuple(data.shape)} need kernel=; only a Gram matrix comes without")
        if n <= max_dense:
            return np.arange(n), data, n, ()
        rows = np.sort(generator.permutation(n)[:subsample])
        part = to_host(data)[np.ix_(rows, rows)]
        return rows, part.astype(str(data.dtype).rsplit(".", maxsplit=1)[-1]), n, (_drawn(len(rows), n),)
    if n <= max_dense:
        return np.arange(n), _gram(kernel, data), n, _feature_remarks(to_host(data))
    rows = np.sort(generator.permutation(n)[:subsample])
    part = take_rows(data, rows)
    return rows, _gram(kernel, part), n, (_drawn(len(rows), n), *_feature_remarks(to_host(part)))


def _gram(kernel: Callable[[Any, Any], Any], data: Any) -> Any:
    """Return the Gram matrix in float64, whatever the data are: float32 would be its rounding, not that of the data."""
    xp = namespace(data)
    double = xp.astype(data, xp.float64, copy=False)
    return kernel(double, double)


def take_rows(data: Any, rows: np.ndarray) -> Any:
    """Return rows of an array of any library, in it.

    Examples
    --------
    >>> take_rows(np.arange(6.0).reshape(3, 2), np.array([2])).tolist()
    [[4.0, 5.0]]
    """
    if isinstance(data, np.ndarray):
        return np.array(data[rows])
    xp = namespace(data)
    return xp.take(data, xp.asarray(rows), axis=0)


def _drawn(num_rows: int, num_samples: int) -> str:
    return f"laws and risks are those of {num_rows} random rows of {num_samples}"


def _feature_remarks(data: Vector) -> tuple[str, ...]:
    """Say which features are constant, and that scales differ."""
    spread = np.std(data, axis=0)
    size = np.max(np.abs(data), axis=0)
    moving = spread > 1e-12 * np.maximum(size, np.finfo(float).tiny)
    found = []
    if not np.all(moving):
        places = np.flatnonzero(~moving)
        some = ", ".join(map(str, places[:5])) + (", ..." if len(places) > 5 else "")
        plural = len(places) > 1
        found.append(f"feature{'s' * plural} {some} {'are' if plural else 'is'} constant ({len(places)} in all)")
    if np.sum(moving) > 1:
        ratio = float(np.max(spread[moving]) / np.min(spread[moving]))
        if ratio > UNEQUAL:
            found.append(
                f"standard deviations of features differ by a factor of {ratio:.3g}: kernels of distances and inner "
                "products see the widest ones; standardize unless they share a unit"
            )
    return tuple(found)
