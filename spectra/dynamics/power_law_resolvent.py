r"""Resolvent of random features of a diagonal covariance, in the limit of many features: one number per point z.

For W of shape (v, d) with independent entries of variance 1/d and :math:`D = \operatorname{diag}(D_1, \dots, D_v)`, the
resolvent of :math:`D^{1/2} W W^T D^{1/2}` is close to a diagonal matrix that is not random,

.. math::
    (D^{1/2} W W^T D^{1/2} - z)^{-1} \approx \operatorname{diag} \frac{1}{D_j m(z) - z}
    = -\frac1z \operatorname{diag} \frac{\kappa}{\kappa + D_j}, \qquad
    m = \Big(1 + \frac1d \sum_j \frac{D_j}{D_j m - z}\Big)^{-1} = -\frac{z}{\kappa},

where :math:`\kappa(z)` solves :math:`\psi(\kappa) = -z`,

.. math:: \psi(\kappa) = \kappa \Big(1 - \frac1d \sum_j \frac{D_j}{\kappa + D_j}\Big),

and lies in the lower half-plane for z in the upper one, which singles it out among the solutions. On the negative axis
it is the ridge that d features act like. The normalized trace of the resolvent of the (d, d) matrix
:math:`W^T D W` is :math:`1 / \kappa`.

Sources: the equation is that of Marchenko and Pastur (1967) and Silverstein and Bai (1995); in the variable m it is
used by Paquette, Paquette, Xiao and Pennington (2024), arXiv 2405.15074; the solver is derived here.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq

from spectra.errors import ArgumentError, NonFiniteError, ShapeError
from spectra.frozen import Vector
from spectra.start_vectors import as_count

__all__ = ["FeatureResolvent"]

Complex = npt.NDArray[np.complex128]

#: Relative residual at which a point counts as solved: a thousand roundings, sums have up to a million terms.
RESIDUAL = 1e-12
#: Distance of v / d from 1 that is rounding of a sum.
EQUAL = 1e-12
#: Entries of a table of points times diagonal entries that are formed at a time: 32 MB of complex numbers.
TABLE = 2**21


@dataclass(frozen=True, eq=False, kw_only=True)
class FeatureResolvent:
    r"""Deterministic equivalent of the resolvent of random features.

    Attributes
    ----------
    values : ndarray, shape (m,)
        Distinct entries :math:`D_j > 0`, any order.
    counts : ndarray, shape (m,)
        How many entries each stands for, not necessarily whole.
    num_parameters : int
        d, columns of W.

    Raises
    ------
    ArgumentError
        If a value or count is not positive.
    ShapeError, NonFiniteError
        If they are not vectors of one length, or not finite.

    Notes
    -----
    Source: see the module.

    Examples
    --------
    With all entries equal it is the law of Marchenko and Pastur, whose trace at -1 is a square root.

    >>> equal = FeatureResolvent(values=np.ones(1), counts=np.array([200.0]), num_parameters=100)
    >>> round(float(equal.trace(-1.0).real) / 100, 12), round(float(np.sqrt(2.0)) - 1, 12)
    (0.414213562373, 0.414213562373)
    """

    values: Vector
    counts: Vector
    num_parameters: int
    _share: Vector = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Check the entries."""
        d = as_count(self.num_parameters, name="num_parameters")
        values, counts = np.asarray(self.values, dtype=np.float64), np.asarray(self.counts, dtype=np.float64)
        if values.ndim != 1 or values.shape != counts.shape or values.size == 0:
            raise ShapeError(f"values and counts must be vectors of one length; got {values.shape}, {counts.shape}")
        if not (np.all(np.isfinite(values)) and np.all(np.isfinite(counts))):
            raise NonFiniteError("values and counts must be finite")
        if np.any(values <= 0) or np.any(counts <= 0):
            raise ArgumentError("values and counts must be positive; leave out entries that are zero")
        for name, array in (("values", values), ("counts", counts), ("_share", counts / d), ("num_parameters", d)):
            object.__setattr__(self, name, array)

    def ridge(self, z: npt.ArrayLike) -> Complex:
        r"""Return :math:`\kappa(z)`, of the shape of z.

        Parameters
        ----------
        z : array_like of complex
            Away from the real axis, or real and negative.

        Raises
        ------
        ArgumentError
            If a point is zero or real and positive, where the resolvent may not exist.
        NonFiniteError
            If a point is not finite.

        Notes
        -----
        Newton's method from the right for the convex :math:`\psi` on the negative axis, then along the circle to z, in
        steps that shrink until Newton's method stays in the lower half-plane. O(m) per point and iteration.
        """
        points = np.asarray(z, dtype=np.complex128)
        if not np.all(np.isfinite(points)):
            raise NonFiniteError("z must be finite")
        if np.any((points.imag == 0) & (points.real >= 0)):
            raise ArgumentError("z must lie off the real axis, or be real and negative: the spectrum is on the rest")
        flat = points.ravel()
        upper = np.where(flat.imag < 0, flat.conj(), flat)
        size = max(1, TABLE // self.values.size)
        parts = [self._solve(upper[i : i + size]) for i in range(0, upper.size, size)]
        found = np.concatenate(parts) if parts else upper
        return np.asarray(np.where(flat.imag < 0, found.conj(), found).reshape(points.shape))

    def multiplier(self, z: npt.ArrayLike) -> Complex:
        r"""Return :math:`m(z) = -z / \kappa(z)`, which tends to 1 far from the spectrum."""
        return np.asarray(-np.asarray(z, dtype=np.complex128) / self.ridge(z))

    def diagonal(self, z: npt.ArrayLike) -> Complex:
        r"""Return :math:`1 / (D_j m(z) - z)`, of the shape of z with an axis of m entries appended."""
        points, kappa = np.asarray(z, dtype=np.complex128)[..., None], self.ridge(z)[..., None]
        return np.asarray(-kappa / (points * (kappa + self.values)))

    def trace(self, z: npt.ArrayLike) -> Complex:
        r"""Return the trace of :math:`(W^T D W - z)^{-1}`, :math:`d / \kappa(z)`, of the shape of z."""
        return np.asarray(self.num_parameters / self.ridge(z))

    @property
    def ridge_at_zero(self) -> float:
        r"""Return :math:`\kappa(0^-)`, with :math:`\sum_j D_j / (\kappa + D_j) = d`; 0 without more entries than d."""
        total = float(np.sum(self._share))
        if total <= 1 + EQUAL:
            return 0.0
        top = float(np.max(self.values))

        def excess(log: float) -> float:
            return float(np.sum(self._share * self.values / (self.values + top * np.exp(log)))) - 1

        low, high = np.log(np.min(self.values) * (1 - 1 / total) / top) - 1, np.log(total)
        while excess(low) < 0:
            low -= 5
        return top * float(np.exp(brentq(excess, low, high, xtol=1e-14, rtol=1e-14)))

    @property
    def support(self) -> tuple[float, float]:
        r"""Return the lowest positive and the highest point of the spectrum: where :math:`\psi'` vanishes outside."""
        smallest, top, total = float(np.min(self.values)), float(np.max(self.values)), float(np.sum(self._share))

        def excess(kappa: float) -> float:
            return float(np.sum(self._share * (self.values / (kappa + self.values)) ** 2)) - 1

        low = -top * (1 + 1.01 * float(np.sqrt(total)))  # every term at most share * (top / (kappa + top))^2
        near = -top * (1 + 0.5 * float(np.sqrt(self._share[np.argmax(self.values)])))
        upper = float(brentq(excess, low, near, xtol=1e-15 * top, rtol=1e-14))
        if abs(total - 1) <= EQUAL:
            return 0.0, -self._psi(upper)
        if total > 1:
            lower = float(brentq(excess, 0.0, self.ridge_at_zero, xtol=1e-300, rtol=1e-14))
        else:
            far = -smallest * (1 - 0.5 * float(np.sqrt(self._share[np.argmin(self.values)])))
            lower = float(brentq(excess, far, 0.0, xtol=1e-300, rtol=1e-14))
        return -self._psi(lower), -self._psi(upper)

    def _psi(self, kappa: float) -> float:
        return float(kappa * (1 - np.sum(self._share * self.values / (kappa + self.values))))

    def psi(self, kappa: npt.NDArray[np.inexact]) -> tuple[npt.NDArray[np.inexact], npt.NDArray[np.inexact]]:
        r"""Return :math:`\psi` and its derivative."""
        ratio = self.values / (kappa[:, None] + self.values)
        return kappa * (1 - ratio @ self._share), 1 - (ratio * ratio) @ self._share

    def _on_negative_axis(self, distance: Vector) -> Vector:
        kappa = distance + float(self._share @ self.values)
        for _ in range(200):
            value, slope = self.psi(kappa)
            step = (value - distance) / slope
            kappa = np.maximum(kappa - step, distance)
            if np.all(np.abs(step) <= RESIDUAL * kappa):
                break
        return np.asarray(kappa)

    def _solve(self, z: Complex) -> Complex:
        radius, target = np.abs(z), np.angle(z)
        kappa = self._on_negative_axis(radius).astype(np.complex128)
        length = np.log(np.pi / target)  # the angle is pi exp(-position)
        position, stride = np.zeros_like(radius), np.full_like(radius, 0.5)
        for _ in range(400):
            open_ = np.flatnonzero(position < length)
            if open_.size == 0:
                break
            ahead = np.minimum(position[open_] + stride[open_], length[open_])
            arrives = ahead == length[open_]
            goal = np.where(arrives, z[open_], radius[open_] * np.exp(1j * np.pi * np.exp(-ahead)))
            tried, solved = self._newton(kappa[open_], goal)
            done = open_[solved]
            kappa[done], position[done] = tried[solved], ahead[solved]
            stride[open_] *= np.where(solved, 1.5, 0.4)
        kappa[position < length] = np.nan  # stated as not found rather than guessed
        return kappa

    def _newton(self, kappa: Complex, z: Complex) -> tuple[Complex, npt.NDArray[np.bool_]]:
        value, slope = self.psi(kappa)
        with np.errstate(all="ignore"):
            for _ in range(6):
                kappa = kappa - (value + z) / slope
                value, slope = self.psi(kappa)
                # The size of the terms of psi bounds what rounding leaves of it.
                bound = RESIDUAL * (np.abs(z) + np.abs(kappa))
                if np.all(np.abs(value + z) <= bound):
                    break
            solved = (np.abs(value + z) <= bound) & ((kappa.imag < 0) | (z.imag == 0))
        return kappa, solved
