"""Products of an operator, scaled by a power of two so that its entries are of order one, checked and counted."""

import math
from typing import Any, final

import numpy as np
from array_api_compat import device

from spectra.arrays import dtype_name, namespace, to_host
from spectra.errors import NonFiniteError
from spectra.operators import Operator, as_operator
from spectra.protocols import Array, SupportsMatmul

__all__ = ["Products", "scale_by_power_of_two"]

_SAFE_POWER = 126
_ORDINARY = 32


def scale_by_power_of_two(x: Array, exponent: int) -> Array:
    """Return ``2**exponent x``, in two factors where the power itself may not be a number of the dtype."""
    if exponent == 0:
        return x
    half = exponent // 2 if abs(exponent) > _SAFE_POWER else 0
    with np.errstate(invalid="ignore", over="ignore"):
        scaled = x * 2.0 ** (exponent - half)
        return scaled if half == 0 else scaled * 2.0**half


@final
class Products:
    """Products with ``2**-e A``, e = 0 or, at unusual scales, the binary exponent of the first product's largest entry.

    Squared norms then neither overflow nor underflow, whatever the units of A, and multiplying A by a power of two
    changes no digit of what follows.

    Parameters
    ----------
    A : Operator or anything `as_operator` accepts, shape (n, n)
        The operator.

    Attributes
    ----------
    operator : Operator
    num_matvecs : int
        Products spent through this object.
    exponent : int or None
        e; None before the first product, 0 if that was zero or of ordinary size (2**-32 to 2**32), where scaling would
        change exponents of numbers only, at the price of a pass over the block.

    Examples
    --------
    >>> import numpy as np
    >>> products = Products(np.diag([1e-200, 3e-200]))
    >>> image = products.multiply(np.eye(2))
    >>> bool(0.5 <= np.max(image) < 1.0), products.num_matvecs
    (True, 2)
    >>> products.unscaled(np.diag(image)).tolist()
    [1e-200, 3e-200]
    """

    def __init__(self, A: SupportsMatmul | Array) -> None:
        self.operator: Operator = as_operator(A)
        self.xp: Any = namespace(self.operator.like)
        self.num_matvecs = 0
        self.exponent: int | None = None

    def multiply(self, block: Array) -> Array:
        """Return ``2**-e A block`` for unit columns, shape (n, k); k products.

        Raises
        ------
        NonFiniteError
            If a product contains NaN or infinity; names the column.

        Notes
        -----
        Waits for the device to look for NaN.
        """
        image = self.multiply_unchecked(block)
        largest = to_host(self.xp.max(self.xp.abs(image), axis=0))
        if not np.all(np.isfinite(largest)):
            column = int(np.argmin(np.isfinite(largest)))
            raise NonFiniteError(
                f"products with {self.operator.name!r} must be finite; column {column} of a block of {block.shape[1]} "
                "met NaN or infinity; look for overflow, division by zero or log of zero in the operator"
            )
        return image

    def multiply_unchecked(self, block: Array) -> Array:
        """Return ``2**-e A block`` without looking for NaN after the first product; does not wait for the device."""
        product = self.operator @ block
        self.num_matvecs += block.shape[1] if block.ndim == 2 else 1
        if self.exponent is None:
            largest = float(self.xp.max(self.xp.abs(product)))
            if not math.isfinite(largest):
                return product
            exponent = math.frexp(largest)[1]
            self.exponent = exponent if abs(exponent) > _ORDINARY else 0
        return self.scaled(product)

    def scaled(self, x: Array) -> Array:
        """Return ``2**-e x`` for an array of the operator, or of the host."""
        return scale_by_power_of_two(x, -(self.exponent or 0))

    def unscaled(self, values: Any, *, power: int = 1) -> np.ndarray:
        """Return ``2**(e power) values`` on the host: from units of the scaled operator to those of A.

        Overflow becomes infinity.
        """
        with np.errstate(over="ignore", under="ignore"):
            return np.ldexp(np.asarray(values, dtype=np.float64), power * (self.exponent or 0))

    def on_device(self, values: Any) -> Array:
        """Return small host values as an array of the operator's library, dtype and device."""
        like = self.operator.like
        return self.xp.asarray(np.asarray(values).astype(dtype_name(like.dtype)), device=device(like))
