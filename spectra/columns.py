"""All columns of a small operator: where products are as many as coordinates, nothing needs to be estimated."""

import numpy as np

from spectra.arrays import to_host
from spectra.products import Products
from spectra.sketches import Sketch
from spectra.soundness import require_repeatable

__all__ = ["all_columns"]

_BLOCK = 256


def all_columns(products: Products, *, repeat: bool) -> np.ndarray:
    """Return the scaled operator as a matrix on the host, shape (n, n), float64, exactly symmetric.

    Costs n products, one more to see whether the operator is deterministic if ``repeat``.

    Raises
    ------
    NotSymmetricError, NonDeterministicError, NonFiniteError
        As the products deserve.

    Examples
    --------
    >>> import numpy as np
    >>> products = Products(np.array([[2.0, 1.0], [1.0, 4.0]]))
    >>> products.unscaled(all_columns(products, repeat=True)).tolist(), products.num_matvecs
    ([[2.0, 1.0], [1.0, 4.0]], 3)
    """
    n = products.operator.shape[0]
    columns = np.empty((n, n))
    for first in range(0, n, _BLOCK):
        width = min(_BLOCK, n - first)
        unit = products.on_device(np.eye(n, width, -first))
        images = products.multiply(unit)
        Sketch(probes=unit, images=images).require_symmetric(products)
        if first == 0 and repeat:
            require_repeatable(products, unit[:, 0], images[:, 0])
        columns[:, first : first + width] = to_host(images)
    return 0.5 * (columns + columns.T)
