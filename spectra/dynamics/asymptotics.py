r"""What becomes of a constant setting in the long run: its floor, and the rate at which it gets there."""

import numpy as np
from scipy.optimize import brentq

from spectra.dynamics.closed_form import ClosedForm
from spectra.dynamics.closures import MODE_CLOSURES, Closure, Sampling, chi_of, require_closure, shared_noise
from spectra.dynamics.critical import kernel_norm
from spectra.dynamics.method import constant_momentum, method_step
from spectra.dynamics.quadratic import Quadratic
from spectra.dynamics.steps import constant_rate
from spectra.dynamics.two_state import moment_matrix, response
from spectra.errors import ArgumentError
from spectra.frozen import Vector

__all__ = ["floor", "rate"]


def floor(
    problem: Quadratic,
    *,
    closure: Closure,
    learning_rate: float,
    batch_size: int = 1,
    sampling: Sampling = "without_replacement",
    momentum: float = 0.0,
    nesterov: bool = False,
) -> float:
    r"""Return the expected loss after infinitely many steps, :math:`L_* / (1 - \|K\|)`, infinite if unstable.

    Parameters
    ----------
    problem, closure, learning_rate, batch_size, sampling, momentum, nesterov
        As for :func:`spectra.dynamics.sgd_curve`; constant settings. A learning rate of 0 leaves the loss as it is.

    Returns
    -------
    float
        In the units of the problem, with its offset.

    Raises
    ------
    ArgumentError
        For a closure without a kernel, and settings that cannot be used.

    Notes
    -----
    O(m). Source: Paquette, Lee, Pedregosa and Paquette (2021), arXiv 2102.04396.

    Examples
    --------
    Noise of a single mode at half the learning rate that is stable without noise doubles the loss:

    >>> one = np.ones(1)
    >>> floor(
    ...     Quadratic(eigenvalue=one, multiplicity=one, initial_loss=one, floor=1.0),
    ...     closure="limit",
    ...     learning_rate=2 / 3,
    ... )
    2.0
    """
    require_closure(closure, problem)
    noise = shared_noise(problem, batch_size=batch_size, sampling=sampling)
    norm = kernel_norm(
        problem, closure=closure, learning_rate=learning_rate, noise=noise, momentum=momentum, nesterov=nesterov
    )
    if learning_rate == 0:
        return problem.loss
    return problem.offset + problem.floor / (1 - norm) if norm < 1 else float("inf")


def rate(
    problem: Quadratic,
    *,
    closure: Closure,
    learning_rate: float,
    batch_size: int = 1,
    sampling: Sampling = "without_replacement",
    momentum: float = 0.0,
    nesterov: bool = False,
) -> float:
    r"""Return the asymptotic factor per step of the loss above its floor; 1 or more if unstable.

    It is the larger of the slowest mode's :math:`\rho` and the root z of :math:`\sum_k K(k) z^{-k-1} = 1` (the
    Malthusian exponent), which exceeds it where noise feeds itself: the loss of all modes then decays together.

    Parameters
    ----------
    problem, closure, learning_rate, batch_size, sampling, momentum, nesterov
        As for :func:`spectra.dynamics.sgd_curve`; constant settings.

    Returns
    -------
    float
        Factor per step; 0 where there is nothing to lose.

    Raises
    ------
    ArgumentError
        For a closure other than those over modes, and settings that cannot be used.

    Notes
    -----
    One eigendecomposition of order m; with momentum O(m) for each of some tens of evaluations. With many small
    eigenvalues it says little: it is the rate of the very last of the loss. :func:`steps_to_target` looks at the whole
    curve.

    Source: Paquette, Lee, Pedregosa and Paquette (2021), arXiv 2102.04396; for momentum derived here.

    Examples
    --------
    >>> one = np.ones(1)
    >>> problem = Quadratic(eigenvalue=one, multiplicity=one, initial_loss=one, num_samples=9)
    >>> round(rate(problem, closure="limit", learning_rate=0.5, batch_size=9), 12)
    0.25
    """
    require_closure(closure, problem)
    momentum = constant_momentum(closure, momentum, nesterov=nesterov)
    if closure not in MODE_CLOSURES:
        raise ArgumentError(f"a rate is known for {', '.join(MODE_CLOSURES)}; got closure={closure!r}")
    noise = shared_noise(problem, batch_size=batch_size, sampling=sampling)
    learning_rate = constant_rate(learning_rate, largest=problem.largest)
    if problem.unit != 1:
        problem, learning_rate = problem.scaled(problem.unit), learning_rate / problem.unit
    chi = chi_of(closure, problem)
    if momentum:
        return _two_state_rate(problem, noise, chi, learning_rate, momentum, nesterov)
    return ClosedForm(problem, learning_rate=learning_rate, noise=noise, chi=chi).rate


def _two_state_rate(
    problem: Quadratic, noise: float, chi: Vector, learning_rate: float, momentum: float, nesterov: bool
) -> float:
    counts = (problem.initial_loss > 0) | ((noise > 0) & (problem.multiplicity > 0))
    lam, chi, multiplicity = problem.eigenvalue[counts], chi[counts], problem.multiplicity[counts]
    step = method_step(lam, learning_rate=learning_rate, momentum=momentum, nesterov=nesterov)
    source = response(step)
    own = moment_matrix(step)
    own[:, :, 0] += noise * (chi * lam**2)[:, None] * source
    slowest = float(np.max(np.abs(np.linalg.eigvals(own)), initial=0.0))
    weight = noise * multiplicity * lam**2

    def excess(z: float) -> float:
        answer = np.linalg.solve(z * np.eye(3) - own, source[:, :, None])[:, 0, 0]
        return float(weight @ answer) - 1

    # Above the slowest mode the excess falls from infinity to -1. That mode is known to about 1e-8 only where two
    # eigenvalues meet, and below it the sign is anything, so that the root is bracketed from a little further away.
    begins = slowest * (1 + np.geomspace(1e-13, 1.0, 40))
    low = next((z for z in begins if excess(z) > 0), None) if noise > 0 else None
    if low is None:
        return slowest
    high = max(2.0, 2 * low)
    while excess(high) > 0:
        high *= 2
    return float(brentq(excess, low, high, xtol=1e-15, rtol=1e-14))
