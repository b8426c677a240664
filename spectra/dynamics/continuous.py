r"""Volterra equations of the second kind whose kernel is a sum of exponentials, on any grid.

.. math:: \psi(t) = F(t) + \int_0^t K(t - s)\,\psi(s)\,ds, \qquad K(t) = \sum_j k_j e^{-a_j t}.

Each exponential carries a state :math:`u_j(t) = \int_0^t e^{-a_j (t-s)} \psi(s)\,ds`, so that a step costs O(m)
whatever came before. Over a step h, :math:`\psi` is taken to be linear and the integral with the exponential is exact:
with x = a h, E = exp(-x), :math:`\varphi = (1-E)/x`, :math:`\beta = (1-\varphi)/x`, :math:`\alpha = \varphi - \beta`,

.. math:: u \leftarrow E u + h (\alpha \psi_i + \beta \psi_{i+1}), \qquad
          \psi_{i+1} = \frac{F_{i+1} + k \cdot (E u + h \alpha \psi_i)}{1 - h\,k \cdot \beta}.

Second order in h where :math:`\psi` bends, exact in the kernel: steps may grow with t. Derived here (the product
trapezoidal rule).
"""

import numpy as np
import numpy.typing as npt

from spectra.dynamics.recursion import LARGEST
from spectra.errors import ArgumentError, NonFiniteError, ShapeError
from spectra.frozen import Vector

__all__ = ["volterra_exponential"]

#: Below this the differences of 1 - E lose digits, and their series are used.
SERIES = 1e-3


def volterra_exponential(
    times: npt.ArrayLike, forcing: npt.ArrayLike, *, coefficients: npt.ArrayLike, rates: npt.ArrayLike
) -> Vector:
    r"""Solve :math:`\psi = F + K * \psi` for a kernel :math:`K(t) = \sum_j k_j e^{-a_j t}`.

    Parameters
    ----------
    times : array_like, shape (n,)
        Grid, ascending from 0; steps need not be equal.
    forcing : array_like, shape (n,)
        F on the grid.
    coefficients, rates : array_like, shape (m,)
        :math:`k_j` and :math:`a_j \ge 0`.

    Returns
    -------
    ndarray, shape (n,)
        :math:`\psi` on the grid; infinite from where it passes 1e100 times the largest forcing.

    Raises
    ------
    ShapeError, NonFiniteError, ArgumentError
        If shapes do not fit, a number is not finite, times do not ascend from 0, a rate is negative, or a step is so
        long that the equation cannot be solved for its end (:math:`h\,k \cdot \beta \ge 1`).

    Notes
    -----
    O(n m) time, O(m) memory. Relative error about :math:`h^2 \psi'' / 12 \psi` accumulated; compare two grids.

    Examples
    --------
    ``psi = 1 + a int psi`` is ``exp(a t)``.

    >>> t = np.linspace(0, 1, 1001)
    >>> psi = volterra_exponential(t, np.ones_like(t), coefficients=[0.5], rates=[0.0])
    >>> bool(abs(psi[-1] - np.exp(0.5)) < 1e-7)
    True
    """
    t, f, k, a = (np.asarray(x, dtype=np.float64) for x in (times, forcing, coefficients, rates))
    if t.ndim != 1 or t.size == 0 or f.shape != t.shape or k.ndim != 1 or k.shape != a.shape:
        raise ShapeError(
            f"times and forcing need one shape (n,), coefficients and rates one shape (m,); got {t.shape}, {f.shape}, "
            f"{k.shape}, {a.shape}"
        )
    if not all(np.all(np.isfinite(x)) for x in (t, f, k, a)):
        raise NonFiniteError("times, forcing, coefficients and rates must be finite")
    if t[0] != 0 or np.any(np.diff(t) <= 0):
        raise ArgumentError("times must ascend from 0")
    if np.any(a < 0):
        raise ArgumentError(f"rates must not be negative; got {a.min():.6g}")
    psi = np.empty_like(t)
    psi[0] = f[0]
    state = np.zeros_like(a)
    step, decay, first, second = 0.0, state, state, state
    limit = LARGEST * max(float(np.max(np.abs(f))), np.finfo(np.float64).tiny)
    for i, h in enumerate(np.diff(t)):
        if not abs(psi[i]) < limit:
            psi[i + 1 :] = np.inf
            break
        if h != step:
            step = float(h)
            decay, first, second = _weights(a * h)
        base = decay * state + h * first * psi[i]
        rest = 1 - h * float(k @ second)
        if rest <= 0:
            raise ArgumentError(
                f"the step from t = {t[i]:.6g} to {t[i + 1]:.6g} is too long for this kernel; use a finer grid"
            )
        psi[i + 1] = (f[i + 1] + k @ base) / rest
        state = base + h * second * psi[i + 1]
    return psi


def _weights(x: Vector) -> tuple[Vector, Vector, Vector]:
    """Return exp(-x) and the weights of both ends of a step."""
    decay = np.exp(-x)
    small = x < SERIES
    safe = np.where(small, 1.0, x)
    mean = np.where(small, 1 - x / 2 + x**2 / 6 - x**3 / 24, -np.expm1(-safe) / safe)
    second = np.where(small, 0.5 - x / 6 + x**2 / 24 - x**3 / 120, (1 - mean) / safe)
    return decay, mean - second, second
