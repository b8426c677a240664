r"""The largest learning rate at which the expected loss stays bounded, and how far it can be trusted.

For plain SGD every closure turns into one statement: the second moment of the error moves by a self-adjoint map
:math:`I - \gamma D + \gamma^2 Q`, which keeps positive matrices positive, so that it is stable iff :math:`D - \gamma Q`
is positive definite:

.. math:: \gamma^* = 1 / \lambda_{\max}(D^{-1/2} Q D^{-1/2}).

==================  ===================  ==================================================================
closure             D                    Q
==================  ===================  ==================================================================
modes with χ        diag(2 λ)            diag((1 + c χ) λ²) + c s s', s_j = sqrt(w_j) λ_j: same as ‖K‖ = 1
``continuous``      diag(2 λ)            c s s': 2 / (c tr H), and at most 2 / λ_max
``row_resolved``    diag(2 λ)            diag((1 - c) λ²) + (c/n) Σ_i (a_i∘a_i)(a_i∘a_i)'
``exact``           λ_j + λ_l            M ↦ (1 - c) ΛMΛ + (c/n) Σ_i (a_i'M a_i) a_i a_i'
==================  ===================  ==================================================================

The *row-safe* rate bounds the exact one from below whatever the samples look like. The expected squared distance to
the minimizer cannot grow if :math:`\gamma\,\mathrm{E} H_B^2 \preceq 2 H`, with H_B the Hessian of a batch, and

.. math::
    \mathrm{E} H_B^2 = (1-c) H^2 + \tfrac{c}{n} \sum_i |a_i|^2 a_i a_i^T
    \preceq ((1-c) \lambda_{\max} + c\,\beta) H, \qquad \beta \le \max_i |a_i|^2.

Derived here; ‖K‖ < 1 is the criterion of Paquette, Lee, Pedregosa and Paquette (2021), arXiv 2102.04396.
"""

import numpy as np
from scipy.optimize import brentq

from spectra.arrays import finite_number
from spectra.dynamics.closures import MODE_CLOSURES, Closure, chi_of, require_closure
from spectra.dynamics.eigenbasis import Rows
from spectra.dynamics.largest import largest_eigenvalue
from spectra.dynamics.method import constant_momentum, method_step
from spectra.dynamics.quadratic import Quadratic
from spectra.dynamics.steps import constant_rate
from spectra.errors import ArgumentError
from spectra.frozen import Vector

__all__ = ["critical_learning_rate", "kernel_norm", "row_safe_learning_rate"]

#: Halvings: more than the digits of a double, from a rate that is within 1e-15 of the answer or larger.
NUM_BISECTIONS = 100


def critical_learning_rate(
    problem: Quadratic, *, closure: Closure, noise: float, momentum: float = 0.0, nesterov: bool = False
) -> float:
    r"""Return the learning rate at which the expected loss of a closure stops to be bounded.

    Parameters
    ----------
    problem, closure, momentum, nesterov
        As for :func:`spectra.dynamics.sgd_curve`; constant settings.
    noise : float
        Sampling factor c of :func:`spectra.dynamics.noise_factor`, over ``rows_per_sample``; 0 is a full batch.

    Returns
    -------
    float
        In units of 1 / eigenvalue.

    Raises
    ------
    ArgumentError
        If the closure needs what the problem does not have, or does not know momentum.

    Notes
    -----
    Formulas and sources are those of this module. Whether the closure can be trusted is not asked here but by
    :func:`spectra.dynamics.stability`.

    Examples
    --------
    >>> problem = Quadratic(eigenvalue=np.ones(4), multiplicity=np.ones(4), initial_loss=np.ones(4))
    >>> critical_learning_rate(problem, closure="continuous", noise=1.0)
    0.5
    """
    require_closure(closure, problem)
    momentum = constant_momentum(closure, momentum, nesterov=nesterov)
    if problem.unit != 1:
        unit, options = problem.unit, {"closure": closure, "noise": noise, "nesterov": nesterov}
        return unit * critical_learning_rate(problem.scaled(unit), momentum=momentum, **options)  # type: ignore[arg-type]
    if momentum:
        return _by_bisection(problem, closure=closure, noise=noise, momentum=momentum, nesterov=nesterov)
    if closure == "continuous":  # which knows no largest eigenvalue by itself
        return 2 / max(noise * problem.trace, problem.largest)
    if closure in MODE_CLOSURES:
        return 2 / _largest_of_sum(
            (1 + noise * chi_of(closure, problem)) * problem.eigenvalue,
            noise * problem.multiplicity * problem.eigenvalue,
        )
    assert problem.rows is not None
    return 1 / (_largest_row_resolved if closure == "row_resolved" else _largest_exact)(problem, problem.rows, noise)


def row_safe_learning_rate(problem: Quadratic, *, noise: float) -> float | None:
    r"""Return a rate that is stable whatever the samples look like; None if nothing is known of them.

    :math:`2 / ((1-c)\lambda_{\max} + c\,\beta)` with the ``row_bound`` :math:`\beta` of the problem, or with
    :math:`\max_i |a_i|^2` where only that is known; derived in this module.

    Parameters
    ----------
    problem : Quadratic
        The problem.
    noise : float
        Sampling factor c of :func:`spectra.dynamics.noise_factor`, whatever ``rows_per_sample``: closures are not
        involved.

    Returns
    -------
    float or None
        In units of 1 / eigenvalue.

    Examples
    --------
    >>> one = np.ones(1)
    >>> problem = Quadratic(eigenvalue=one, multiplicity=one, initial_loss=one, num_samples=9, largest_row=4.0)
    >>> row_safe_learning_rate(problem, noise=1.0)
    0.5
    """
    bound = problem.largest_row if problem.row_bound is None else problem.row_bound
    return None if bound is None else 2 / ((1 - noise) * problem.largest + noise * bound)


def kernel_norm(
    problem: Quadratic,
    *,
    closure: Closure,
    learning_rate: float,
    noise: float,
    momentum: float = 0.0,
    nesterov: bool = False,
) -> float:
    r"""Return :math:`\|K\| = \sum_m K(m)`, the loss that a unit of loss causes later through gradient noise.

    The expected loss is bounded iff it is below 1 and no mode grows by itself; the floor is :math:`L_*/(1 - \|K\|)`.
    For plain SGD :math:`\|K\| = c \sum_j w_j \gamma\lambda_j / (2 - (1 + c\chi_j)\gamma\lambda_j)`.

    Parameters
    ----------
    problem, closure, learning_rate, momentum, nesterov
        As for :func:`spectra.dynamics.sgd_curve`; constant settings.
    noise : float
        Sampling factor c of :func:`spectra.dynamics.noise_factor`, over ``rows_per_sample``.

    Returns
    -------
    float
        Infinite if a mode grows by itself.

    Raises
    ------
    ArgumentError
        For a closure without a kernel (``row_resolved``, ``exact``), momentum in continuous time, and settings that
        cannot be used.

    Notes
    -----
    O(m). Source: Paquette, Lee, Pedregosa and Paquette (2021), arXiv 2102.04396; with chi and momentum derived here.

    Examples
    --------
    >>> one = np.ones(1)
    >>> problem = Quadratic(eigenvalue=one, multiplicity=one, initial_loss=one)
    >>> kernel_norm(problem, closure="limit", learning_rate=1.0, noise=0.5)
    0.5
    """
    require_closure(closure, problem)
    momentum = constant_momentum(closure, momentum, nesterov=nesterov)
    if closure in ("row_resolved", "exact"):
        raise ArgumentError(f"closure={closure!r} has no kernel; its critical rate is that of stability(...)")
    learning_rate = constant_rate(learning_rate, largest=problem.largest)
    if not finite_number(noise, name="noise") >= 0:
        raise ArgumentError(f"noise is a share of a variance and must not be negative; got {noise}")
    if problem.unit != 1:
        problem, learning_rate = problem.scaled(problem.unit), learning_rate / problem.unit
    lam, weight = problem.eigenvalue, problem.multiplicity
    if closure == "continuous":
        return 0.5 * noise * learning_rate * problem.trace
    chi = chi_of(closure, problem)
    if not momentum:
        left = 2 - (1 + noise * chi) * learning_rate * lam
        return float(noise * np.sum(weight * learning_rate * lam / left)) if np.all(left > 0) else np.inf
    gains = _gains(lam, learning_rate=learning_rate, momentum=momentum, nesterov=nesterov)
    if not np.all(np.isfinite(gains)):
        return np.inf
    own = noise * chi * gains
    if np.any(own >= 1):
        return np.inf
    return float(noise * np.sum(weight * gains / (1 - own)))


def _gains(lam: Vector, *, learning_rate: float, momentum: float, nesterov: bool) -> Vector:
    r"""Return :math:`G_j = \lambda_j^2 \sum_k (e_1^T T_j^k s)^2`, the loss that a unit of loss causes as noise once.

    The sequence obeys :math:`x_{k+1} = t x_k - d x_{k-1}` with trace t and determinant d of T, which gives the sum of
    its squares; infinite unless ``1 - d`` and ``1 + d - |t|`` are positive.
    """
    step = method_step(lam, learning_rate=learning_rate, momentum=momentum, nesterov=nesterov)
    (t11, t12), (t21, t22) = step.matrix
    trace, determinant = t11 + t22, t11 * t22 - t12 * t21
    first = step.noise[0]
    second = t11 * first + t12 * step.noise[1]
    total = 1 + determinant
    margin = (1 - determinant) * (total - trace) * (total + trace)
    stable = (1 - determinant > 0) & (total - np.abs(trace) > 0) & (margin > 0)
    lagged = first * (second - trace * first)
    source = total * (first**2 * (1 - trace**2) + second**2) - 2 * determinant * trace * lagged
    return np.where(stable, lam**2 * source / np.where(stable, margin, 1.0), np.inf)


def _by_bisection(problem: Quadratic, *, closure: Closure, noise: float, momentum: float, nesterov: bool) -> float:
    def excess(rate: float) -> float:
        norm = kernel_norm(
            problem, closure=closure, learning_rate=rate, noise=noise, momentum=momentum, nesterov=nesterov
        )
        return norm - 1

    high = 2 * (1 + momentum) / problem.largest
    low = high
    for _ in range(NUM_BISECTIONS):
        if excess(low) < 0:
            break
        low /= 2
    else:
        raise ArgumentError(f"no learning rate is stable with momentum {momentum!r}, as far as float64 can tell")
    while excess(high) < 0:
        high *= 2
    for _ in range(NUM_BISECTIONS):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if excess(middle) < 0 else (low, middle)
    return low


def _largest_of_sum(diagonal: Vector, squares: Vector) -> float:
    r"""Return the largest eigenvalue of ``diag(d) + s s'`` with ``squares = s^2``: the root of the secular equation."""
    top, total = float(np.max(diagonal)), float(np.sum(squares))
    if total == 0:
        return top

    def secular(above: float) -> float:
        # at x = top + above: 1 - sum s^2 / (x - d), times `above` to be finite at 0
        gaps = top - diagonal + above
        return above - float(np.sum(squares * np.divide(above, gaps, out=np.ones_like(gaps), where=gaps > 0)))

    if secular(0.0) >= 0:  # nothing at the largest diagonal entry
        return top + (float(brentq(secular, 1e-300, total, xtol=1e-300, rtol=1e-15)) if secular(1e-300) < 0 else 0.0)
    return top + float(brentq(secular, 0.0, total, xtol=1e-300, rtol=1e-15))


def _largest_row_resolved(problem: Quadratic, rows: Rows, noise: float) -> float:
    lam = problem.eigenvalue
    scaled = rows.features**2 / np.sqrt(2 * lam)
    matrix = np.diag((1 - noise) * lam / 2) + noise / len(scaled) * scaled.T @ scaled
    return float(np.linalg.eigvalsh(matrix)[-1])


def _largest_exact(problem: Quadratic, rows: Rows, noise: float) -> float:
    lam, features = problem.eigenvalue, rows.features
    m = lam.size
    root = np.sqrt(lam[:, None] + lam[None, :])

    def product(flat: Vector) -> Vector:
        moment = flat.reshape(m, m) / root
        sizes = np.sum((features @ moment) * features, axis=1)
        drawn = (features.T * sizes) @ features / len(features)
        return (((1 - noise) * np.outer(lam, lam) * moment + noise * drawn) / root).ravel()

    return largest_eigenvalue(product, m * m, start=np.diag(np.sqrt(lam)).ravel())
