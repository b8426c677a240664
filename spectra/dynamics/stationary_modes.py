r"""Stationary losses of single modes, in units in which nothing overflows or vanishes on the way.

The formulas are those of :mod:`spectra.dynamics.stationary`; here they are arranged so that settings of any size,
such as a noise of 1e-300 or a learning rate of 1e300, give the loss wherever float64 can hold it.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from spectra.errors import NonFiniteError

__all__ = ["StationaryModes", "adaptive_modes", "linear_gains", "linear_modes", "sign_modes"]

Vector = npt.NDArray[np.float64]

#: Largest logarithm of gain over slack that positive doubles can ask for: ten of their logarithms.
WIDEST = 8000.0
#: Halvings of that bracket: more than the digits of a double.
NUM_BISECTIONS = 70


@dataclass(frozen=True, kw_only=True, eq=False)
class StationaryModes:
    """What each mode with curvature contributes, vectors of shape (modes,).

    Attributes
    ----------
    losses, small : ndarray
        Loss, and its limit of small learning rates.
    signal_to_noise : ndarray
        Root mean square of the mean gradient over the noise; 0 without noise.
    relaxation : ndarray
        Steps in which the distance to the stationary loss falls by a factor e.

    Raises
    ------
    NonFiniteError
        If a sum of losses exceeds the largest float64.

    Notes
    -----
    Source: see the functions that return it.

    Examples
    --------
    >>> one = np.ones(1)
    >>> StationaryModes(losses=one, small=one, signal_to_noise=one, relaxation=one).losses.tolist()
    [1.0]
    """

    losses: Vector
    small: Vector
    signal_to_noise: Vector
    relaxation: Vector

    def __post_init__(self) -> None:
        """Refuse losses that float64 cannot hold."""
        if not (np.isfinite(np.sum(self.losses)) and np.isfinite(np.sum(self.small))):
            raise NonFiniteError(
                "the stationary loss exceeds the largest float64; lower the learning rate or the noise, or scale the "
                "units of the loss down"
            )


def linear_gains(lam: Vector, *, rate: float, decay: float, rho: float) -> Vector:
    r"""Return the step times the slope, :math:`\eta (\lambda (1 + \rho\lambda) + \delta)`, of SGD and SAM.

    Parameters
    ----------
    lam : ndarray, shape (modes,)
        Curvature, positive.
    rate, decay, rho : float
        Learning rate, weight decay, and the radius of SAM.

    Returns
    -------
    ndarray, shape (modes,)
        Infinite where float64 overflows.

    Notes
    -----
    O(modes) operations. Source: derived.

    Examples
    --------
    >>> linear_gains(np.array([1.0, 1e300]), rate=0.5, decay=0.0, rho=0.0).tolist()
    [0.5, 5e+299]
    """
    with np.errstate(over="ignore", under="ignore"):
        return rate * lam * (1 + rho * lam) + rate * decay


def linear_modes(lam: Vector, s: Vector, *, rate: float, beta: float, decay: float, rho: float) -> StationaryModes:
    r"""Return the modes of a stable SGD or SAM.

    With :math:`a = 1 + \rho\lambda`, the gain g and :math:`w = \lambda a / (\lambda a + \delta)` the loss of a mode is
    :math:`\eta a s^2 w (1 + \beta) / (2 (1 - \beta)(2 (1 + \beta) - g))` (derived from the variance of
    :mod:`spectra.dynamics.stationary`).

    Parameters
    ----------
    lam, s : ndarray, shape (modes,)
        Curvature, positive, and standard deviation of the gradient noise of a batch.
    rate : float
        Learning rate.
    beta, decay, rho : float
        Momentum, weight decay, and the radius of SAM.

    Returns
    -------
    StationaryModes

    Raises
    ------
    NonFiniteError
        If the loss exceeds the largest float64.

    Notes
    -----
    O(modes) operations. All gains must be below ``2 (1 + beta)``.

    Examples
    --------
    >>> modes = linear_modes(np.array([1e-200]), np.array([1e-160]), rate=1e200, beta=0.0, decay=0.0, rho=0.0)
    >>> modes.losses.tolist()
    [5e-121]
    """
    gain = linear_gains(lam, rate=rate, decay=decay, rho=rho)
    with np.errstate(over="ignore", under="ignore"):
        slope = 1 + rho * lam
        share = 1 / (1 + _quotient([decay], [lam, slope]))
        far = 2 * (1 + beta) - gain
        noisy = s > 0
        squared = _quotient([rate, lam, slope, share, 1 + beta], [1 - beta, far])
        return StationaryModes(
            losses=_quotient([rate, slope, s, s, share, 1 + beta], [2.0, 1 - beta, far]),
            small=_quotient([rate, slope, s, s, share], [4.0, 1 - beta]),
            signal_to_noise=np.where(noisy, np.sqrt(squared), 0.0),
            relaxation=_quotient([1 - beta, share], [2.0, rate, lam, slope]),
        )


def sign_modes(lam: Vector, s: Vector, *, rate: float) -> StationaryModes:
    r"""Return the modes of signSGD, for noise above 0.

    With the step :math:`h = \eta \sqrt{\pi/8}` and :math:`u = \lambda h / 2` the loss of a mode is
    :math:`\tfrac12 h (u + \sqrt{u^2 + s^2})` (derived: the positive root of the equation of
    :func:`spectra.dynamics.stationary_loss`).

    Parameters
    ----------
    lam, s : ndarray, shape (modes,)
        Curvature, positive, and standard deviation of the gradient noise of a batch, positive.
    rate : float
        Learning rate.

    Returns
    -------
    StationaryModes

    Raises
    ------
    NonFiniteError
        If the loss exceeds the largest float64.

    Notes
    -----
    O(modes) operations.

    Examples
    --------
    >>> modes = sign_modes(np.array([1.0]), np.array([1e-300]), rate=1.0)
    >>> bool(np.isclose(modes.losses[0], np.pi / 16))
    True
    """
    step = rate * float(np.sqrt(np.pi / 8))
    with np.errstate(over="ignore", under="ignore"):
        u = step * lam / 2
        v = _quotient([step, lam], [2.0, s])
        return StationaryModes(
            losses=_quotient([step, u + np.hypot(u, s)], [2.0]),
            small=_quotient([step, s], [2.0]),
            signal_to_noise=np.sqrt(2 * v) * np.sqrt(v + np.hypot(v, 1.0)),
            relaxation=_quotient([s, float(np.sqrt(np.pi / 8))], [rate, lam]),
        )


def adaptive_modes(
    lam: Vector, s: Vector, *, rate: float, beta: float, coupled: float, decoupled: float
) -> StationaryModes:
    r"""Return the modes of Adam (decay ``coupled``) or AdamW (``decoupled``), for noise above 0.

    In units of s the preconditioner is a step size r over the gain g, with
    :math:`r = \eta (1 - \beta)(\lambda + \delta)/s`, and the condition :math:`P^2 = 1 + (\lambda + \delta)^2 q` is

    .. math::
        \frac{r^2}{g^2} = 1 + \frac{g^2 C}{n f}, \qquad n = \ell (1 - \beta) + g, \quad f = F - g, \quad
        F = (2 - \ell)(1 + \beta), \quad C = \frac{1 + (1 - \ell)\beta}{1 - \beta + \ell\beta},

    with :math:`\ell` the learning rate times the decoupled decay (derived). The left side falls from infinity as g
    grows from 0 to F, and the right side grows to infinity: one root, found by bisection in the logarithm of
    :math:`g / f`, so that neither a small gain nor a small distance to the limit loses digits.

    Parameters
    ----------
    lam, s : ndarray, shape (modes,)
        Curvature, positive, and standard deviation of the gradient noise of a batch, positive.
    rate : float
        Learning rate.
    beta : float
        Memory of the first moment.
    coupled, decoupled : float
        Decay that is part of the gradient, and decay that is not; ``rate * decoupled`` is below 2.

    Returns
    -------
    StationaryModes

    Raises
    ------
    NonFiniteError
        If the loss exceeds the largest float64.

    Notes
    -----
    O(modes) operations, 70 halvings of a bracket.

    Examples
    --------
    Without noise the loss is that of the last steps, whatever the units.

    >>> modes = adaptive_modes(np.array([1.0]), np.array([1e-300]), rate=1.0, beta=0.0, coupled=0.0, decoupled=0.0)
    >>> float(modes.losses[0].round(9))
    0.125
    """
    lost = rate * decoupled
    pull = np.log(lam) if coupled == 0 else np.logaddexp(np.log(lam), np.log(coupled))
    log_s, log_rate, new = np.log(s), float(np.log(rate)), float(np.log1p(-beta))
    log_step = log_rate + new + pull - log_s
    limit = float(np.log((2 - lost) * (1 + beta)))
    factor = float(np.log((1 + (1 - lost) * beta) / (1 - beta + lost * beta)))
    rest = float(np.log(lost) + new) if lost > 0 else -np.inf

    def parts(position: Vector) -> tuple[Vector, Vector]:
        """Return the logarithms of g and of (pull/s)^2 q."""
        gain, slack = limit - np.logaddexp(0.0, -position), limit - np.logaddexp(0.0, position)
        return gain, 2 * gain + factor - np.logaddexp(rest, gain) - slack

    with np.errstate(over="ignore", under="ignore"):
        low, high = np.full_like(lam, -WIDEST), np.full_like(lam, WIDEST)
        for _ in range(NUM_BISECTIONS):
            middle = (low + high) / 2
            gain, signal = parts(middle)
            is_low = 2 * (log_step - gain) > np.logaddexp(0.0, signal)
            low, high = np.where(is_low, middle, low), np.where(is_low, high, middle)
        _, signal = parts((low + high) / 2)
        drift = pull - log_s if decoupled == 0 else np.logaddexp(pull - log_s, np.log(decoupled))
        return StationaryModes(
            losses=0.5 * np.exp(np.log(lam) + signal + 2 * (log_s - pull)),
            small=0.25 * np.exp(log_rate + np.log(lam) - drift),
            signal_to_noise=np.exp(signal / 2),
            relaxation=0.5 * np.exp(-log_rate - drift),
        )


def _quotient(numerators: list[Vector | float], denominators: list[Vector | float]) -> Vector:
    """Return a quotient of products of numbers that are not negative, without overflow or underflow on the way."""
    mantissa, exponent = np.ones(()), np.zeros((), dtype=np.int64)
    for factors, sign in ((numerators, 1), (denominators, -1)):
        for factor in factors:
            part, power = np.frexp(factor)
            mantissa = mantissa * part if sign > 0 else mantissa / part
            exponent = exponent + sign * power.astype(np.int64)
    return np.asarray(np.ldexp(mantissa, np.clip(exponent, -5000, 5000).astype(np.int32)), dtype=np.float64)
