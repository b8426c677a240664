r"""Kernels of the distance on CuPy in one pass: differences, their squares and the function of them in one CUDA kernel.

Written, not run: no device was at hand. The body is C, which the tests compile for the host and compare with NumPy; the
launch itself has only tests marked ``gpu``.
"""

import math
from typing import Any, cast, final

from spectra.arrays import describe, namespace
from spectra.errors import BackendError
from spectra.kernels.base import Kernel
from spectra.kernels.pairwise import as_pair
from spectra.kernels.stationary import RBF, Laplace, Matern, Periodic, Stationary
from spectra.protocols import Array

__all__ = ["FusedKernel", "fused", "fused_body"]

#: Entry i of the block, in order of rows. ``T`` is the dtype; X, Y are scaled points, one after the other.
BODY = """
const long long row = i / m, column = i % m;
T s = (T)0;
for (long long j = 0; j < d; ++j) {{
    const T difference = X[row * d + j] - Y[column * d + j];
    s += difference * difference;
}}
K = {profile};
"""
GAUSSIAN = "exp((T)-0.5 * s)"
EXPONENTIAL = "exp(-sqrt(s))"
#: Matérn functions of the squared distance s by their order.
MATERN = {
    0.5: EXPONENTIAL,
    1.5: "((T)1 + sqrt((T)3 * s)) * exp(-sqrt((T)3 * s))",
    2.5: "((T)1 + sqrt((T)5 * s) + (T)5 / (T)3 * s) * exp(-sqrt((T)5 * s))",
    math.inf: GAUSSIAN,
}


def fused(kernel: Kernel) -> "FusedKernel":
    r"""Return a kernel function for CuPy arrays that needs no memory but for the block it returns.

    Parameters
    ----------
    kernel : RBF, Laplace, Periodic, or Matern of order 1/2, 3/2, 5/2 or infinity
        The function.

    Returns
    -------
    FusedKernel
        To be called with two arrays of points, or given to :func:`spectra.kernels.operator.kernel_operator`.

    Raises
    ------
    BackendError
        If there is no such code for the kernel.

    Notes
    -----
    Distances are sums of squared differences, accurate in float32 too, at 3 d operations an entry instead of a matrix
    product. Written, not run on a device.

    Examples
    --------
    >>> fused(RBF(2.0))
    fused RBF(length_scale=2.0)
    """
    fused_body(kernel)
    return FusedKernel(cast(Stationary, kernel))


def fused_body(kernel: Kernel) -> str:
    """Return the C code that sets ``K`` to entry ``i`` of the block of a kernel with length scale 1.

    Raises
    ------
    BackendError
        If there is none for the kernel.

    Examples
    --------
    >>> "exp(-sqrt(s))" in fused_body(Laplace())
    True
    """
    profile = None
    if isinstance(kernel, RBF | Periodic):
        profile = GAUSSIAN
    elif isinstance(kernel, Laplace):
        profile = EXPONENTIAL
    elif isinstance(kernel, Matern):
        profile = MATERN.get(kernel.nu)
    if profile is None:
        raise BackendError(
            "fused code exists for RBF, Laplace, Periodic, and Matern of order 1/2, 3/2, 5/2 or infinity; "
            f"use {kernel!r} itself"
        )
    return BODY.format(profile=profile)


@final
class FusedKernel:
    """A kernel of the distance for CuPy arrays, see :func:`fused`.

    Parameters
    ----------
    kernel : Stationary
        The function.
    """

    def __init__(self, kernel: Stationary) -> None:
        self.kernel = kernel
        self._compiled: Any = None

    def __repr__(self) -> str:
        """Return the kernel, and that it is fused."""
        return f"fused {self.kernel!r}"

    @property
    def __name__(self) -> str:
        """Name in messages and results."""
        return repr(self)

    def __call__(self, X: Array, Y: Array | None = None) -> Array:
        """Return the block of a Gram matrix, shape (n, m); without Y symmetric, with the exact diagonal.

        Raises
        ------
        BackendError
            If the points are no CuPy arrays, or differ in dtype.
        ShapeError, NonFiniteError
            If the points are not usable.
        """
        xp = namespace(X)
        if not hasattr(xp, "ElementwiseKernel"):
            raise BackendError(f"fused kernels take CuPy arrays, got {describe(X)}; use {self.kernel!r} itself")
        first, second = as_pair(X, Y)
        rows = self._scaled(first)
        columns = rows if second is None else self._scaled(second)
        if self._compiled is None:
            self._compiled = xp.ElementwiseKernel(
                "raw T X, raw T Y, int64 d, int64 m", "T K", fused_body(self.kernel), "spectra_kernel_block"
            )
        block = xp.empty((rows.shape[0], columns.shape[0]), dtype=rows.dtype)
        self._compiled(rows, columns, rows.shape[1], columns.shape[0], block)
        return block

    def _scaled(self, X: Array) -> Array:
        """Return contiguous points in units of the length scale."""
        xp = namespace(X)
        points = self.kernel.features(X)
        scale = self.kernel.length_scale
        if isinstance(scale, tuple):
            scale = xp.asarray(scale * (points.shape[1] // len(scale)), dtype=points.dtype)
        return xp.ascontiguousarray(points / scale)
