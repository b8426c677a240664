r"""The equation of Silverstein: from the eigenvalues of a population to those of sample covariance matrices.

With the population law ``H = sum_k w_k delta(t_k)`` and the aspect ratio ``y = p / n``, the companion Stieltjes
transform ``v`` (that of the n by n Gram side) solves ``z = -1/v + y int t / (1 + t v) dH(t)``. All of this file works
with ``u = -1/v``, in which the equation is ``z = psi(u) = u (1 + y int t / (u - t) dH(t))``: the function of spiked
models, whose derivative ``1 - y int t^2 / (u - t)^2 dH(t)`` is concave between neighboring poles.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from spectra.errors import ArgumentError
from spectra.frozen import Vector
from spectra.laws.bracketing import increasing_root
from spectra.laws.points import as_complex_points
from spectra.laws.population import as_sample_model
from spectra.laws.silverstein_support import critical_points

__all__ = ["CompanionSolution", "companion_stieltjes"]

ComplexVector = npt.NDArray[np.complex128]

#: Each point is followed from this many times the largest sample eigenvalue down to this share of its own distance
#: from 0, by factors of ten, and the points that are lost on the way again by smaller ones (design choices).
FAR, NEAR = 10.0, 1e-6
FACTORS = (0.1, 0.6)
#: Newton steps per distance from the axis, and at the last one.
STEPS, LAST_STEPS = 20, 60
#: Halvings of one step before the point stays where it is.
HALVINGS = 30
#: Residuals relative to the terms of the equation: at which a point is left on the way, at which it is at rounding, and
#: up to which the last one holds (thousands of units of rounding; measured ones are below 1e-15).
ON_THE_WAY, ROUNDING, HOLDS = 1e-6, 2e-16, 1e-12
#: Complex numbers held at a time: points times places of the population.
BLOCK = 2**20


@dataclass(frozen=True, kw_only=True, eq=False)
class CompanionSolution:
    """Solution of the equation of Silverstein, point by point.

    Attributes
    ----------
    z : ndarray of complex, shape (k,)
        The points.
    companion : ndarray of complex, shape (k,)
        ``v(z)``, with imaginary part of at least 0.
    stieltjes : ndarray of complex, shape (k,)
        ``m(z)``, the Stieltjes transform of the law of the p by p side.
    converged : ndarray of bool, shape (k,)
        Where the equation holds to rounding; the other values are not to be used.
    """

    z: ComplexVector
    companion: ComplexVector
    stieltjes: ComplexVector
    converged: npt.NDArray[np.bool_]


def companion_stieltjes(population: Any, z: npt.ArrayLike, *, aspect_ratio: float) -> CompanionSolution:
    r"""Solve ``z = -1/v + y int t / (1 + t v) dH(t)`` with ``Im v >= 0`` at every point.

    Parameters
    ----------
    population : PopulationLaw, Law or array_like
        Law H of the population eigenvalues, not negative.
    z : array_like of complex, shape (k,)
        In the closed upper half-plane. On the real axis the boundary value from above is returned.
    aspect_ratio : float
        Dimensions over samples, positive.

    Returns
    -------
    CompanionSolution
        With a mask of the points that converged. The edges of the support themselves may not.

    Raises
    ------
    ArgumentError
        If a point lies below the real axis, or the population or the ratio cannot be used.
    NonFiniteError
        If a point is not finite.

    Notes
    -----
    Off the support the real branches are bisected. Elsewhere Newton's method follows the solution from far above the
    axis down to the point, with steps halved while they leave the half-plane; points that are lost are followed again
    in smaller steps. Some 30 sums over the population per point, vectorized. The solution with a positive imaginary
    part is unique, so that a small residual settles it. Measured: within 4e-14 of the roots of the polynomial for three
    places. Source: Silverstein (1995); Silverstein and Choi (1995).

    Examples
    --------
    A population at 1 with y = 1 has at x = 2 the density ``1 / (2 pi)`` of Marchenko and Pastur.

    >>> solution = companion_stieltjes([1.0], [2.0], aspect_ratio=1.0)
    >>> bool(solution.converged[0]), round(float(solution.stieltjes[0].imag), 12)
    (True, 0.5)
    """
    law, ratio = as_sample_model(population, aspect_ratio=aspect_ratio)
    points = _half_plane(z)
    positive = law.values > 0
    t, w = law.values[positive], law.weights[positive]
    if t.size == 0:
        with np.errstate(divide="ignore", invalid="ignore"):
            value = np.where(points == 0, np.inf, -1.0 / np.where(points == 0, 1.0, points))
        return CompanionSolution(z=points, companion=value, stieltjes=value, converged=points != 0)
    scale = float(t[-1])
    model = _Model(t=t / scale, w=w, at_zero=max(0.0, 1.0 - float(np.sum(w))), ratio=ratio)
    critical = critical_points(model.t, np.sqrt(ratio * w))
    edges = model.psi(critical.astype(np.complex128))[0].real
    relative = points / scale
    is_real = (relative.imag == 0) & (np.searchsorted(edges, relative.real) % 2 == 0)
    u = np.empty(points.shape, dtype=np.complex128)
    converged = np.ones(points.shape, dtype=bool)
    u[is_real] = _real_branch(relative.real[is_real], model, critical, edges)
    others = np.flatnonzero(~is_real)
    size = max(1, BLOCK // t.size)
    for start in range(0, others.size, size):
        block = others[start : start + size]
        u[block], converged[block] = _follow(relative[block], model)
    with np.errstate(divide="ignore", invalid="ignore"):
        companion, stieltjes = -1.0 / (u * scale), model.stieltjes(u, relative) / scale
    converged &= np.isfinite(stieltjes)
    return CompanionSolution(z=points, companion=companion, stieltjes=stieltjes, converged=converged)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Model:
    """A population in units of its largest value: positive places, their weights, and the weight at 0."""

    t: Vector
    w: Vector
    at_zero: float
    ratio: float

    def psi(self, u: ComplexVector) -> tuple[ComplexVector, ComplexVector, Vector]:
        """Return psi, its derivative, and the sum of the moduli of its terms."""
        inverse = 1.0 / (u[:, None] - self.t)
        ratio, size = self._ratio(u, inverse)
        return u * ratio, 1.0 - self.ratio * ((self.t * inverse) ** 2 @ self.w), np.abs(u) * size

    def stieltjes(self, u: ComplexVector, z: ComplexVector) -> ComplexVector:
        """Return m(z) for psi(u) = z, without the cancellation of its definition by the companion."""
        inverse = 1.0 / (u[:, None] - self.t)
        total = inverse @ self.w + (self.at_zero / u if self.at_zero else 0.0)
        inverse_ratio = np.where(z == 0, 1.0 / self._ratio(u, inverse)[0], u / np.where(z == 0, 1.0, z))
        return -total * inverse_ratio

    def _ratio(self, u: ComplexVector, inverse: npt.NDArray[np.complex128]) -> tuple[ComplexVector, Vector]:
        """Return psi(u)/u and the sum of the moduli of its terms; near u = 0 by ``t/(u - t) = -1 + u/(u - t)``."""
        moduli = np.abs(inverse)
        far = 1.0 + self.ratio * (inverse @ (self.w * self.t))
        far_size = 1.0 + self.ratio * (moduli @ (self.w * self.t))
        gap = 1.0 - self.ratio * float(np.sum(self.w))
        close = gap + self.ratio * u * (inverse @ self.w)
        close_size = abs(gap) + self.ratio * np.abs(u) * (moduli @ self.w)
        is_close = np.abs(u) < 0.5 * self.t[0]
        return np.where(is_close, close, far), np.where(is_close, close_size, far_size)


def _half_plane(z: npt.ArrayLike) -> ComplexVector:
    """Return finite points of the closed upper half-plane, shape (k,)."""
    points = as_complex_points(z)
    if np.any(points.imag < 0):
        raise ArgumentError(
            f"z must not lie below the real axis; got {points[points.imag < 0][0]}: the values there are the complex "
            "conjugates of those above"
        )
    return points


def _real_branch(x: Vector, model: _Model, critical: Vector, edges: Vector) -> Vector:
    """Return the real u with psi(u) = x on the rising branches, for x off the support."""
    mean = model.ratio * float(model.w @ model.t)
    lows = np.concatenate([[np.nan], critical[1::2]])
    highs = np.concatenate([critical[::2], [np.nan]])
    branch = np.searchsorted(edges, x) // 2
    low, high = lows[branch], highs[branch]
    low = np.where(branch == 0, np.minimum(x - mean, critical[0]) * (1.0 + 1e-12) - 1e-300, low)
    high = np.where(branch == lows.size - 1, np.maximum(x, critical[-1]), high)

    def excess(u: Vector) -> Vector:
        with np.errstate(divide="ignore", invalid="ignore"):
            return u * (1.0 + model.ratio * ((model.t / (u[:, None] - model.t)) @ model.w)) - x

    return increasing_root(excess, low, high)


def _follow(z: ComplexVector, model: _Model) -> tuple[ComplexVector, npt.NDArray[np.bool_]]:
    """Follow the solutions at ``z + i distance`` from a large distance down to none."""
    start = FAR * (1.0 + np.sqrt(model.ratio)) ** 2
    u = np.full(z.shape, np.nan, dtype=np.complex128)
    converged = np.zeros(z.shape, dtype=bool)
    for factor in FACTORS:
        lost = np.flatnonzero(~converged)
        if lost.size == 0:
            break
        goal = z[lost]
        far = start + np.abs(goal)
        near = NEAR * np.maximum(np.abs(goal), np.finfo(np.float64).tiny)
        num = int(np.ceil(np.min(np.log(near / far)) / np.log(factor)))
        found = goal + 1j * far
        for step in range(num + 1):
            shift = 1j * far * (near / far) ** (step / num)
            found, _ = _newton(goal + shift, found, model, steps=STEPS, enough=ON_THE_WAY)
        found, residual = _newton(goal, found, model, steps=LAST_STEPS, enough=ROUNDING)
        u[lost], converged[lost] = found, (residual <= HOLDS) & (found.imag > 0)
    return u, converged


def _newton(
    z: ComplexVector, u: ComplexVector, model: _Model, *, steps: int, enough: float
) -> tuple[ComplexVector, Vector]:
    """Solve psi(u) = z by Newton steps that stay in the half-plane and do not raise the residual; return it too."""
    u = u.copy()
    value, slope, size = model.psi(u)
    error, scale = value - z, size + np.abs(z)
    active = np.flatnonzero(np.abs(error) > enough * scale)
    for _ in range(steps):
        if active.size == 0:
            break
        move = error[active] / slope[active]
        share = np.ones(active.size)
        open_ = np.arange(active.size)
        improved = np.zeros(active.size, dtype=bool)
        for _ in range(HALVINGS):
            trial = u[active[open_]] - share[open_] * move[open_]
            new_value, new_slope, new_size = model.psi(trial)
            new_error = new_value - z[active[open_]]
            better = (trial.imag > 0) & (np.abs(new_error) < np.abs(error[active[open_]]))
            taken = active[open_[better]]
            u[taken], slope[taken] = trial[better], new_slope[better]
            error[taken], scale[taken] = new_error[better], new_size[better] + np.abs(z[taken])
            improved[open_[better]] = True
            open_ = open_[~better]
            if open_.size == 0:
                break
            share[open_] *= 0.5
        active = active[improved & (np.abs(error[active]) > enough * scale[active])]
    return u, np.abs(error) / scale
