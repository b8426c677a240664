"""One kernel of each kind, and points with copies and near copies, for the tests of kernels."""

import math
from typing import Any

import numpy as np

from spectra.kernels.base import Kernel
from spectra.kernels.composed import Constant
from spectra.kernels.dot_product import ArcCosine, Linear, NeuralTangent, Polynomial
from spectra.kernels.stationary import RBF, Laplace, Matern, Periodic

KERNELS: tuple[Kernel, ...] = (
    RBF(1.5),
    RBF((1.0, 2.0, 0.5, 3.0)),
    Laplace(1.5),
    Matern(1.5, nu=0.5),
    Matern(1.5),
    Matern(1.5, nu=2.5),
    Matern(1.5, nu=1.2),
    Matern(1.5, nu=math.inf),
    Periodic(1.2, period=3.0),
    Periodic((1.0, 2.0, 0.5, 3.0)),
    Linear(0.5),
    Polynomial(),
    Polynomial(4, offset=0.0, scale=0.1),
    ArcCosine(0),
    ArcCosine(1, bias=0.5),
    ArcCosine(2),
    NeuralTangent(),
    NeuralTangent(3, bias=0.3, input_scale=0.5),
    Constant(2.0),
    2.0 * RBF() + Laplace() * Linear() + 1.0,
)
"""All take points with four features."""


def points(n: int = 60, d: int = 4, rng: int = 0) -> np.ndarray:
    """Return standard normal points; the last is a copy of the first, the one before it all but one."""
    X = np.random.default_rng(rng).standard_normal((n, d))
    X[-1] = X[0]
    X[-2] = X[0] + 1e-9
    return X


def of(xp: Any, x: np.ndarray, dtype: str = "float64") -> Any:
    """Return a host array in another library."""
    return xp.asarray(x, dtype=getattr(xp, dtype))
