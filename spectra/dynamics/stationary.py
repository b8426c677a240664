r"""The loss at which SGD, sharpness-aware minimization, signSGD and Adam stop improving on a noisy quadratic.

On :math:`\tfrac12 \sum_j \lambda_j x_j^2` with independent Gaussian gradient noise of standard deviation
:math:`s_j = \sigma_j / \sqrt B` along each axis, every linear method with a buffer is, per mode, an autoregression of
order two: :math:`x_{k+1} = (\kappa + \beta - g)\, x_k - \kappa \beta\, x_{k-1} + e\, \xi_k`, where :math:`1 - \kappa`
is the decoupled decay, :math:`\beta` the momentum, g the step times curvature and e the step times noise. Its variance

.. math::
    q = \frac{e^2 (1 + \kappa\beta)}
             {(1 - \kappa\beta)\,\big((1-\kappa)(1-\beta) + g\big)\,\big((1+\kappa)(1+\beta) - g\big)}

(derived; the standard formula of that process) gives the stationary loss :math:`\tfrac12 \sum_j \lambda_j q_j`
without any limit. Adam has the same form once its preconditioner is replaced by the root mean square of the gradient.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from spectra.dynamics.preconditions import Precondition, number_within
from spectra.dynamics.stationary_modes import adaptive_modes, linear_gains, linear_modes, sign_modes
from spectra.errors import ArgumentError, NonFiniteError, ShapeError

__all__ = ["StationaryLoss", "StationaryMethod", "stationary_loss"]

StationaryMethod = Literal["sgd", "sam", "signsgd", "adam", "adamw"]
Vector = npt.NDArray[np.float64]

#: Signal over noise up to which signSGD and Adam agree with simulations (tests/claims/test_stationary_losses.py).
MAX_SIGNAL_TO_NOISE = 0.5
#: Relative gap between the value and its limit of small learning rates that is still called small (design choice).
MAX_GAP = 0.1

_EXACT = "exact for a quadratic whose gradient noise does not depend on the position"
_DOMINATED = "for Gaussian noise that dominates the gradient of every mode"


@dataclass(frozen=True, kw_only=True, eq=False)
class StationaryLoss:
    """Expected loss above the minimum after infinitely many steps.

    Attributes
    ----------
    method : str
        As asked for.
    value : float
        The loss; ``inf`` if the method is unstable.
    small_learning_rate_value : float
        The published limit of small learning rates, in which ``value`` and it agree; ``inf`` if unstable.
    mode_losses : ndarray of shape (d,)
        The terms of ``value``.
    is_stable : bool
        Whether a stationary state exists.
    reason : str
        Why not, or what the value assumes.
    signal_to_noise : float
        Largest root mean square of the mean gradient over its noise ``s`` among the modes, in the stationary state;
        for ``"adam"`` with the decay that is part of its gradient.
    relaxation_steps : float
        Steps in which the slowest mode lowers its distance to the stationary loss by a factor e, to leading order in
        the learning rate; ``inf`` if unstable.
    preconditions : tuple of Precondition
        What the two values assume. A failed one is not an exception: both numbers are still given.

    Notes
    -----
    Source: see `stationary_loss`.

    Examples
    --------
    >>> found = stationary_loss("signsgd", curvature=[1.0, 0.5], noise=1.0, learning_rate=1e-3)
    >>> (
    ...     found.is_stable,
    ...     bool(np.isclose(found.mode_losses.sum(), found.value)),
    ...     [check.holds for check in found.preconditions],
    ... )
    (True, True, [True, True])
    """

    method: str
    value: float
    small_learning_rate_value: float
    mode_losses: Vector
    is_stable: bool
    reason: str
    signal_to_noise: float
    relaxation_steps: float
    preconditions: tuple[Precondition, ...]


def stationary_loss(
    method: StationaryMethod,
    *,
    curvature: npt.ArrayLike,
    noise: npt.ArrayLike,
    learning_rate: float,
    batch_size: float = 1,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    radius: float = 0.0,
) -> StationaryLoss:
    r"""Return the stationary loss of a method on a diagonal quadratic with Gaussian gradient noise.

    In the limit of small learning rates, with :math:`s_j = \sigma_j / \sqrt B`:

    =============  ===============================================================================
    ``"sgd"``      :math:`\frac{\eta}{4(1-\beta)} \sum_j \frac{\lambda_j s_j^2}{\lambda_j + \delta}`
    ``"sam"``      :math:`\frac{\eta}{4(1-\beta)} \sum_j \frac{\lambda_j (1 + \rho\lambda_j)^2 s_j^2}
                   {\lambda_j (1 + \rho\lambda_j) + \delta}`
    ``"signsgd"``  :math:`\frac{\eta}{4} \sqrt{\pi/2}\, \sum_j s_j`
    ``"adam"``     :math:`\frac{\eta}{4} \sum_j \frac{\lambda_j s_j}{\lambda_j + \delta}`
    ``"adamw"``    :math:`\frac{\eta}{4} \sum_j \frac{\lambda_j s_j}{\lambda_j + \delta s_j}`
    =============  ===============================================================================

    ``value`` is exact for ``"sgd"`` and ``"sam"``. For ``"adam"`` and ``"adamw"`` it is exact given a preconditioner
    fixed at the root mean square of the gradient, :math:`P_j^2 = s_j^2 + (\lambda_j + \delta)^2 q_j` (without
    :math:`\delta` for ``"adamw"``), solved together with :math:`q_j`. For ``"signsgd"`` it solves
    :math:`\eta^2 = 2 \eta \sqrt{2/\pi}\, \lambda q / \sqrt{s^2 + \lambda^2 q}`, exact if the iterates are Gaussian.

    Parameters
    ----------
    method : {"sgd", "sam", "signsgd", "adam", "adamw"}
        ``"sam"`` steps along the gradient at ``x + radius * gradient`` of the same batch, not normalized (USAM).
        Adam has no epsilon, bias correction is over, and its second-moment memory is long.
    curvature : array_like of shape (d,)
        Eigenvalues of the Hessian. Zeros, up to d roundings of the largest, carry no loss; a negative one makes the
        loss unbounded.
    noise : array_like of shape (d,) or ()
        Standard deviation of the gradient of one sample along each axis, at least 0; for ``"signsgd"``, ``"adam"``
        and ``"adamw"`` positive wherever there is curvature.
    learning_rate : float
        :math:`\eta > 0`.
    batch_size : float
        B, at least 1; the noise of a batch has standard deviation ``noise / sqrt(B)``.
    momentum : float
        :math:`\beta` in [0, 1): of SGD and SAM in torch's sum form, of Adam its ``beta1``. None for ``"signsgd"``.
    weight_decay : float
        :math:`\delta \ge 0`, towards the minimum: added to the gradient, for ``"adamw"`` decoupled. None for
        ``"signsgd"``.
    radius : float
        :math:`\rho \ge 0`, ``"sam"`` only.

    Returns
    -------
    StationaryLoss
        In units of the loss. An unstable method has an infinite value and says why.

    Raises
    ------
    ShapeError
        If ``curvature`` is not a vector or ``noise`` does not fit it.
    NonFiniteError
        If a number is not finite, or the loss exceeds the largest float64.
    ArgumentError
        If there is no curvature, a number is out of range, or the method does not have a setting.

    Notes
    -----
    ``O(d)`` operations on the host.

    Sources of the limits: Compagnoni, Liu, Islamov, Proske, Orvieto and Lucchi (2024), arXiv 2411.15958, for signSGD,
    Adam and AdamW; Compagnoni, Biggio, Orvieto, Proske, Kersting and Lucchi (2023), arXiv 2301.08203, for SAM. With
    momentum, the limit of AdamW needs :math:`\eta\delta/(1-\beta) \ll 1` besides, since decay acts at once and the
    gradient late; ``value`` has no such limit. Terms with decay in ``"sgd"``, ``"sam"`` and ``"adam"``, and all values
    beyond the limit, are derived.

    Examples
    --------
    One mode of SGD: ``(eta/2) s^2 / (2 - eta lambda)``.

    >>> found = stationary_loss("sgd", curvature=[1.0], noise=2.0, learning_rate=0.5, batch_size=4)
    >>> round(found.value, 6), found.small_learning_rate_value
    (0.166667, 0.125)
    >>> stationary_loss("sgd", curvature=[1.0], noise=2.0, learning_rate=2.5).reason
    'unstable: learning rate times curvature is 2.5 in the worst mode, the limit is 2'
    """
    lam, sd = _modes(curvature, noise)
    rate = number_within(learning_rate, name="learning_rate", above=0.0)
    beta = number_within(momentum, name="momentum", least=0.0, below=1.0)
    decay = number_within(weight_decay, name="weight_decay", least=0.0)
    rho = number_within(radius, name="radius", least=0.0)
    with np.errstate(under="ignore"):
        sd = sd / np.sqrt(number_within(batch_size, name="batch_size", least=1.0))
    if method not in get_args(StationaryMethod):
        raise ArgumentError(f"method must be one of {', '.join(get_args(StationaryMethod))}; got {method!r}")
    if method != "sam" and rho != 0:
        raise ArgumentError(f"only 'sam' has a radius; got radius={rho:g} for {method!r}")
    if method == "signsgd" and (beta != 0 or decay != 0):
        raise ArgumentError(f"'signsgd' is known here without momentum and weight decay; got {beta:g} and {decay:g}")
    if method in ("signsgd", "adam", "adamw") and np.any((sd == 0) & (lam != 0)):
        raise ArgumentError(
            f"{method!r} is known where noise dominates: noise must be positive where curvature is not 0"
        )

    curved = lam != 0
    if np.any(lam < 0):
        return _unstable(method, lam, f"unstable: a curvature is negative ({lam.min():g}), the loss has no minimum")
    lost = rate * decay if method == "adamw" else 0.0
    if lost >= 2:
        return _unstable(method, lam, f"unstable: learning rate times weight decay is {lost:g}, the limit is 2")
    if method in ("sgd", "sam"):
        worst = float(np.max(linear_gains(lam[curved], rate=rate, decay=decay, rho=rho), initial=0.0))
        if worst >= 2 * (1 + beta):
            text = f"learning rate times curvature is {worst:g} in the worst mode, the limit is {2 * (1 + beta):g}"
            return _unstable(method, lam, "unstable: " + text)
        modes = linear_modes(lam[curved], sd[curved], rate=rate, beta=beta, decay=decay, rho=rho)
    elif method == "signsgd":
        modes = sign_modes(lam[curved], sd[curved], rate=rate)
    else:
        coupled, decoupled = (decay, 0.0) if method == "adam" else (0.0, decay)
        modes = adaptive_modes(lam[curved], sd[curved], rate=rate, beta=beta, coupled=coupled, decoupled=decoupled)
    mode_losses = np.zeros_like(lam)
    mode_losses[curved] = modes.losses
    ratio = float(np.max(modes.signal_to_noise, initial=0.0))
    value, limit = float(np.sum(modes.losses)), float(np.sum(modes.small))
    return StationaryLoss(
        method=method,
        value=value,
        small_learning_rate_value=limit,
        mode_losses=mode_losses,
        is_stable=True,
        reason=_EXACT if method in ("sgd", "sam") else _DOMINATED,
        signal_to_noise=ratio,
        relaxation_steps=float(np.max(modes.relaxation, initial=0.0)),
        preconditions=_preconditions(method, value, limit, ratio),
    )


def _modes(curvature: npt.ArrayLike, noise: npt.ArrayLike) -> tuple[Vector, Vector]:
    """Return curvature and noise of every mode."""
    lam, sd = np.asarray(curvature, dtype=np.float64), np.asarray(noise, dtype=np.float64)
    if lam.ndim != 1:
        raise ShapeError(f"curvature must be a vector of shape (d,); got shape {lam.shape}")
    if lam.size == 0:
        raise ArgumentError("at least one curvature is needed; got none")
    if sd.shape not in ((), lam.shape):
        raise ShapeError(f"noise must be one number or have shape {lam.shape}; got shape {sd.shape}")
    if not (np.all(np.isfinite(lam)) and np.all(np.isfinite(sd))):
        raise NonFiniteError("curvature and noise must be finite; got NaN or infinity")
    if np.any(sd < 0):
        raise ArgumentError(f"noise is a standard deviation, at least 0; got {sd.min():g}")
    kind = np.asarray(curvature).dtype
    with np.errstate(under="ignore"):
        rounding = lam.size * np.finfo(kind if kind.kind == "f" else np.float64).eps * np.max(np.abs(lam))
    return np.where(np.abs(lam) <= rounding, 0.0, lam), np.broadcast_to(sd, lam.shape)


def _preconditions(method: str, value: float, small: float, ratio: float) -> tuple[Precondition, ...]:
    """Return what the values assume."""
    gap = abs(value / small - 1) if small > 0 else 0.0
    is_small = Precondition(
        claim="the learning rate is small, for small_learning_rate_value",
        observed=gap,
        required=f"a relative gap to value of at most {MAX_GAP:g}",
        holds=gap <= MAX_GAP,
    )
    is_noisy = Precondition(
        claim="noise dominates the gradient of every mode",
        observed=ratio,
        required=f"signal over noise of at most {MAX_SIGNAL_TO_NOISE:g}",
        holds=ratio <= MAX_SIGNAL_TO_NOISE,
    )
    return (is_small,) if method in ("sgd", "sam") else (is_small, is_noisy)


def _unstable(method: str, lam: Vector, reason: str) -> StationaryLoss:
    """Return the result of a method without stationary state."""
    return StationaryLoss(
        method=method,
        value=float("inf"),
        small_learning_rate_value=float("inf"),
        mode_losses=np.where(lam == 0, 0.0, np.inf),
        is_stable=False,
        reason=reason,
        signal_to_noise=float("inf"),
        relaxation_steps=float("inf"),
        preconditions=(
            Precondition(claim="a stationary state exists", observed=float("nan"), required=reason, holds=False),
        ),
    )
