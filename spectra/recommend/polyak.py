r"""Polyak-type step sizes at one checkpoint: what each rule would do with this loss and this gradient.

With ``f`` the loss of a batch, ``g2 = ||g||^2`` its squared gradient norm and ``l*`` a lower bound of the loss:

* ``SPS_max`` (Loizou, Vaswani, Laradji and Lacoste-Julien 2020): ``min((f - l*)/(c g2), max_step)``
* ``SPSL1`` (Gower, Blondel, Gazagnadou and Pedregosa 2022, arXiv 2202.12328): a projection with a slack ``s``,
  ``max(0, min((f - s + delta)/(1 + g2), f/g2))``
* ``DecSPS`` (Orvieto, Lacoste-Julien and Loizou 2022): ``min((f - l*)/g2, c_(t-1) step_(t-1))/c_t``, never increasing
* ``NGN`` (Orvieto and Xiao 2024, arXiv 2407.04358): ``sigma/(1 + sigma g2/(2 f))``, the harmonic combination of
  ``sigma`` and ``2 f/g2``

They are pure functions of numbers; nothing is trained here. All need a loss whose lower bound is known and nearly
reached; otherwise the steps grow where the gradient shrinks.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from spectra.errors import ArgumentError

__all__ = [
    "DecreasingPolyakStep",
    "SlackStep",
    "decreasing_polyak_step",
    "nonnegative_gauss_newton_momentum_update",
    "nonnegative_gauss_newton_step",
    "polyak_step",
    "slack_polyak_step",
]


@dataclass(frozen=True, kw_only=True)
class SlackStep:
    """Step size and new slack of SPSL1."""

    step_size: float
    slack: float


@dataclass(frozen=True, kw_only=True)
class DecreasingPolyakStep:
    """State of DecSPS: the step size of step ``index`` and its scale ``c_t``."""

    step_size: float
    scale: float
    index: int


def polyak_step(
    loss: float,
    squared_gradient_norm: float,
    *,
    max_step_size: float,
    lower_bound: float = 0.0,
    scale: float = 0.5,
) -> float:
    """Return ``SPS_max = min((f - l*)/(c ||g||^2), max_step_size)``.

    Parameters
    ----------
    loss, squared_gradient_norm : float
        ``f`` and ``||g||^2`` of the same batch at the same parameters.
    max_step_size : float
        Cap; it is taken where the gradient vanishes.
    lower_bound : float
        ``l*``, not above ``loss``.
    scale : float
        ``c``: 1/2 for convex losses (the exact step to the minimum of a one-dimensional quadratic), 1 is more careful.

    Raises
    ------
    ArgumentError
        If an argument is not finite or out of range.

    Examples
    --------
    A quadratic ``f = h w^2/2``: the step ``1/h`` reaches its minimum.

    >>> polyak_step(0.5 * 4.0 * 3.0**2, (4.0 * 3.0) ** 2, max_step_size=10.0)
    0.25
    """
    _require(loss, squared_gradient_norm, lower_bound=lower_bound, max_step_size=max_step_size, scale=scale)
    gap = loss - lower_bound
    return (
        max_step_size if gap >= max_step_size * scale * squared_gradient_norm else gap / (scale * squared_gradient_norm)
    )


def slack_polyak_step(loss: float, squared_gradient_norm: float, *, slack: float, delta: float) -> SlackStep:
    r"""Return the step of SPSL1 and its new slack.

    ``min_(w, s >= 0) ||w - w_t||^2/2 + (s - s_t)^2/2 + delta s`` subject to ``f + g'(w - w_t) <= s``
    has the solution ``w = w_t - step g`` with ``step = max(0, min((f - s_t + delta)/(1 + ||g||^2), f/||g||^2))``
    and ``s = max(0, s_t - delta + step)``.

    Parameters
    ----------
    loss, squared_gradient_norm : float
        ``f >= 0`` and ``||g||^2``.
    slack : float
        ``s_t >= 0``.
    delta : float
        Price of slack, not negative.

    Raises
    ------
    ArgumentError
        If an argument is not finite or negative.

    Examples
    --------
    >>> slack_polyak_step(2.0, 4.0, slack=0.0, delta=0.5)
    SlackStep(step_size=0.5, slack=0.0)
    """
    _require(loss, squared_gradient_norm, slack=slack, delta=delta)
    bound = loss / squared_gradient_norm if squared_gradient_norm > 0 else math.inf
    step = max(0.0, min((loss - slack + delta) / (1.0 + squared_gradient_norm), bound))
    return SlackStep(step_size=step, slack=max(0.0, slack - delta + step))


def decreasing_polyak_step(
    loss: float,
    squared_gradient_norm: float,
    *,
    previous: DecreasingPolyakStep | None = None,
    max_step_size: float,
    lower_bound: float = 0.0,
    first_scale: float = 1.0,
) -> DecreasingPolyakStep:
    """Return the next step of DecSPS with ``c_t = first_scale sqrt(t + 1)``.

    Parameters
    ----------
    loss, squared_gradient_norm : float
        ``f`` and ``||g||^2``.
    previous : DecreasingPolyakStep, optional
        State after the last step; ``None`` before the first.
    max_step_size : float
        Bound of the first step.
    lower_bound : float
        ``l*``.
    first_scale : float
        ``c_0``.

    Raises
    ------
    ArgumentError
        If an argument is not finite or out of range.

    Examples
    --------
    >>> state = decreasing_polyak_step(1.0, 4.0, max_step_size=1.0)
    >>> state.step_size, decreasing_polyak_step(9.0, 4.0, previous=state, max_step_size=1.0).step_size
    (0.25, 0.17677669529663687)
    """
    _require(loss, squared_gradient_norm, lower_bound=lower_bound, max_step_size=max_step_size, scale=first_scale)
    index = 0 if previous is None else previous.index + 1
    scale = first_scale * math.sqrt(index + 1)
    bound = first_scale * max_step_size if previous is None else previous.scale * previous.step_size
    gap = (loss - lower_bound) / squared_gradient_norm if squared_gradient_norm > 0 else math.inf
    return DecreasingPolyakStep(step_size=min(gap, bound) / scale, scale=scale, index=index)


def nonnegative_gauss_newton_step(loss: float, squared_gradient_norm: float, *, sigma: float) -> float:
    """Return the NGN step ``sigma/(1 + sigma ||g||^2/(2 f))``, a damped Gauss-Newton step for ``sqrt(f)``.

    Parameters
    ----------
    loss, squared_gradient_norm : float
        ``f >= 0`` and ``||g||^2``. At ``f = 0`` the step is 0 unless the gradient vanishes too.
    sigma : float
        Largest step; positive.

    Raises
    ------
    ArgumentError
        If an argument is not finite or out of range.

    Examples
    --------
    >>> nonnegative_gauss_newton_step(1.0, 2.0, sigma=1.0)
    0.5
    """
    _require(loss, squared_gradient_norm, sigma=sigma)
    if sigma == 0:
        raise ArgumentError("sigma must be positive; got 0")
    if squared_gradient_norm == 0:
        return sigma
    return sigma * 2.0 * loss / (2.0 * loss + sigma * squared_gradient_norm)


def nonnegative_gauss_newton_momentum_update(
    parameters: npt.ArrayLike,
    previous_parameters: npt.ArrayLike,
    gradient: npt.ArrayLike,
    *,
    loss: float,
    sigma: float,
    momentum: float,
) -> npt.NDArray[np.float64]:
    """Return the parameters after a step of NGN-M: ``w - (1 - beta) step g + beta (w - w_previous)``.

    Parameters
    ----------
    parameters, previous_parameters, gradient : array_like of shape (n,)
        ``w``, ``w_previous`` and the gradient of ``loss`` at ``w``.
    loss : float
        ``f >= 0``.
    sigma : float
        Largest step of NGN.
    momentum : float
        ``beta`` in [0, 1).

    Raises
    ------
    ArgumentError
        If an argument is out of range.

    Notes
    -----
    Source: arXiv 2508.15071. Average form: ``step`` compares with a learning rate of Adam, or with ``learning_rate/(1 -
    beta)`` of torch's SGD.

    Examples
    --------
    >>> nonnegative_gauss_newton_momentum_update([1.0], [1.5], [1.0], loss=0.5, sigma=1.0, momentum=0.5).tolist()
    [0.5]
    """
    if not 0 <= momentum < 1:
        raise ArgumentError(f"momentum must lie in [0, 1); got {momentum}")
    w, previous, g = (np.asarray(part, dtype=np.float64) for part in (parameters, previous_parameters, gradient))
    step = nonnegative_gauss_newton_step(loss, float(g @ g), sigma=sigma)
    return w - (1 - momentum) * step * g + momentum * (w - previous)


def _require(loss: float, squared_gradient_norm: float, *, lower_bound: float = 0.0, **others: float) -> None:
    finite = {"loss": loss, "squared_gradient_norm": squared_gradient_norm, "lower_bound": lower_bound, **others}
    for name, value in finite.items():
        if not math.isfinite(value):
            raise ArgumentError(f"{name} must be finite; got {value}")
    if loss < lower_bound:
        raise ArgumentError(f"the loss must not be below its lower bound {lower_bound}; got {loss}")
    for name, value in {"squared_gradient_norm": squared_gradient_norm, **others}.items():
        if value < 0 or (value == 0 and name in ("scale", "max_step_size")):
            raise ArgumentError(
                f"{name} must be {'positive' if name in ('scale', 'max_step_size') else 'at least 0'}; got {value}"
            )
