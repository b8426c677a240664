"""Some of the coordinates of a vector: taken out, and put back among zeros."""

from typing import Any, final

import numpy as np
from array_api_compat import device

from spectra.arrays import describe, dtype_name, is_array, namespace, to_host
from spectra.errors import ArgumentError
from spectra.protocols import Array

__all__ = ["RowSelection"]


@final
class RowSelection:
    r"""The rows of :math:`E`, the n columns of which are those of the identity with the given numbers: E'v, E w.

    Parameters
    ----------
    index : slice, or integers of shape (m,)
        Which of the n coordinates, in which order; none twice. Integers lie in ``0 .. n - 1`` and may be a list or an
        array of any library.
    like : array, shape (n,)
        Template: length, device and array library.

    Attributes
    ----------
    size : int
        m.

    Raises
    ------
    ArgumentError
        If nothing is selected, something twice, something outside, or the index is neither of the kinds above.

    Notes
    -----
    Neighbors in rising order, such as a slice without step, are cut out and padded without an index array on the
    device; others cost ``8 (n + m)`` bytes there.

    Examples
    --------
    >>> import numpy as np
    >>> rows = RowSelection([2, 0], like=np.zeros(3))
    >>> rows.take(np.array([5.0, 6.0, 7.0]))
    array([7., 5.])
    >>> rows.pad(np.array([[7.0], [5.0]]))[:, 0]
    array([5., 0., 7.])
    """

    def __init__(self, index: Any, *, like: Array) -> None:
        n = like.shape[0]
        rows: Any = range(*index.indices(n)) if isinstance(index, slice) else _integers(index)
        if len(rows) == 0:
            raise ArgumentError(f"an index must select at least one of the {n} coordinates; got {index!r}")
        self.size = len(rows)
        self._n = n
        self._begin = int(rows[0])
        # A range is not written out: a slice of a billion coordinates costs nothing.
        self._are_neighbors = rows.step == 1 if isinstance(rows, range) else bool(np.all(np.diff(rows) == 1))
        first, last = (rows[0], rows[-1]) if self._are_neighbors else (np.min(rows), np.max(rows))
        if first < 0 or last >= n:
            raise ArgumentError(f"an index must lie in 0 .. {n - 1}; got {first} to {last}")
        if self._are_neighbors:
            return
        rows = np.asarray(rows, dtype=np.int64)
        places = np.full(n, self.size, dtype=np.int64)
        places[rows] = np.arange(self.size)
        if np.count_nonzero(places < self.size) < self.size:
            raise ArgumentError(f"an index must not select a coordinate twice; got {self.size} with repetitions")
        xp = namespace(like)
        self._rows = xp.asarray(rows, device=device(like))
        self._places = xp.asarray(places, device=device(like))

    def take(self, x: Array) -> Array:
        """Return the selected rows of an ``(n,)`` or ``(n, k)`` array; neighbors are a view of it."""
        if self._are_neighbors:
            return x[self._begin : self._begin + self.size, ...]
        return namespace(x).take(x, self._rows, axis=0)

    def pad(self, block: Array) -> Array:
        """Return the ``(n, k)`` block with the rows of an ``(m, k)`` one in their places and zeros elsewhere."""
        xp, width = namespace(block), block.shape[1]

        def zeros(rows: int) -> Array:
            return xp.zeros((rows, width), dtype=block.dtype, device=device(block))

        if self._are_neighbors:
            return xp.concat([zeros(self._begin), block, zeros(self._n - self._begin - self.size)], axis=0)
        return xp.take(xp.concat([block, zeros(1)], axis=0), self._places, axis=0)


def _integers(index: Any) -> np.ndarray:
    """Return the numbers of the selected coordinates on the host."""
    if is_array(index):
        kind, shape = dtype_name(index.dtype), tuple(index.shape)
        came = describe(index)
        values: Any = index if isinstance(index, np.ndarray) or not kind.startswith(("int", "uint")) else to_host(index)
    else:
        values = np.asarray(index)
        kind, shape = values.dtype.name, values.shape
        came = repr(index)
    if len(shape) != 1 or not (kind.startswith(("int", "uint")) or shape == (0,)):
        raise ArgumentError(
            f"an index must be a slice or a vector of integers, got {came}; turn a mask into numbers with flatnonzero"
        )
    return values.astype(np.int64)
