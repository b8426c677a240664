r"""Exact second moments of one noisy mode: the recursion that the closed forms of the stable limit solve.

Along one direction with curvature ``lam`` the gradient is ``(lam + xi) w`` with fresh noise ``xi`` of variance ``q``
(``s2/b`` for batches of ``b`` samples). Every optimizer that is linear at a fixed preconditioner moves the state
``z = (w, m)``, weight and momentum buffer, by ``z <- (A + xi B) z``, so that

.. math:: \mathbb{E}[z \otimes z] \leftarrow (A \otimes A + q\, B \otimes B)\, \mathbb{E}[z \otimes z],

which stays bounded iff the spectral radius of that 4 x 4 matrix is at most one. Adam, AdamW and RMSprop are meant in
the space of their preconditioner, held fixed. Bias correction and the first step of dampening fade and do not matter.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from spectra.errors import ArgumentError
from spectra.recommend.optimizer import OptimizerSpec
from spectra.recommend.stability import effective_noise_fraction

__all__ = ["ModeRecursion", "mode_recursion", "recursion_limit", "second_moment_radius"]

#: Halvings of the interval of learning rates: more than the digits of a double.
NUM_BISECTIONS = 80


@dataclass(frozen=True, kw_only=True)
class ModeRecursion:
    """The step ``z <- (A + xi B) z`` of the state (weight, momentum buffer).

    Attributes
    ----------
    step, noise : ndarray of shape (2, 2)
        ``A`` and ``B``.
    """

    step: npt.NDArray[np.float64]
    noise: npt.NDArray[np.float64]


def mode_recursion(optimizer: OptimizerSpec, *, curvature: float, learning_rate: float) -> ModeRecursion:
    """Return the recursion of one mode, read off torch's update rules.

    Parameters
    ----------
    optimizer : OptimizerSpec
        Any kind with a stable limit.
    curvature : float
        ``lam``, in the space of the preconditioner for Adam, AdamW and RMSprop.
    learning_rate : float
        The rate.

    Raises
    ------
    ArgumentError
        If the kind of optimizer is not linear at a fixed preconditioner.

    Examples
    --------
    >>> mode_recursion(OptimizerSpec(kind="momentum"), curvature=2.0, learning_rate=0.1).step.tolist()
    [[0.8, -0.09], [2.0, 0.9]]
    """
    if optimizer.why_unsupported is not None:
        raise ArgumentError(f"{optimizer.kind} has no linear recursion: {optimizer.why_unsupported}.")
    beta = optimizer.beta
    entering = 1 - beta if optimizer.kind in ("adam", "adamw") else 1 - optimizer.dampening
    # The step is learning_rate (direct g + from_buffer m), m the buffer before the gradient enters it.
    direct, from_buffer = (1 + beta, beta**2) if optimizer.kind == "nesterov" else (entering, beta)
    kept = 1 - learning_rate * optimizer.decoupled_weight_decay
    return ModeRecursion(
        step=np.array(
            [
                [kept - learning_rate * direct * curvature, -learning_rate * from_buffer],
                [entering * curvature, beta],
            ]
        ),
        noise=np.array([[-learning_rate * direct, 0.0], [entering, 0.0]]),
    )


def second_moment_radius(recursion: ModeRecursion, *, variance: float) -> float:
    """Return the spectral radius of ``A (x) A + variance B (x) B``; the mode is mean-square stable below 1.

    Examples
    --------
    Plain SGD: ``(1 - lr lam)^2 + lr^2 variance``.

    >>> plain = mode_recursion(OptimizerSpec(kind="sgd"), curvature=2.0, learning_rate=0.25)
    >>> round(second_moment_radius(plain, variance=4.0), 12)
    0.5
    """
    second = np.kron(recursion.step, recursion.step) + variance * np.kron(recursion.noise, recursion.noise)
    return float(np.abs(np.linalg.eigvals(second)).max())


def recursion_limit(
    curvature: float,
    curvature_noise: float,
    *,
    batch_size: float,
    optimizer: OptimizerSpec,
    num_samples: float | None = None,
) -> float:
    """Return the stable limit of one mode by bisection, independently of :func:`spectra.recommend.stable_limit`.

    Parameters
    ----------
    curvature, curvature_noise : float
        ``lam > 0`` and ``s2`` of one direction.
    batch_size : float
        Effective batch size.
    optimizer : OptimizerSpec
        Any kind with a stable limit.
    num_samples : float, optional
        Size of the data when batches are drawn without replacement.

    Returns
    -------
    float
        Largest learning rate with a radius below 1; ``inf`` where ``curvature <= 0``.

    Raises
    ------
    ArgumentError
        If noise is negative, the batch size is outside the data, or the kind of optimizer has no limit.

    Notes
    -----
    The stable rates form one interval from 0. A radius is known to rounding only, so that limits far below the
    deterministic one lose about as many digits as the ratio of the two has.

    Examples
    --------
    >>> round(recursion_limit(2.0, 64.0, batch_size=8, optimizer=OptimizerSpec(kind="sgd")), 10)
    0.3333333333
    """
    if curvature_noise < 0:
        raise ArgumentError(f"curvature_noise is a mean square and must not be negative; got {curvature_noise}")
    variance = curvature_noise * effective_noise_fraction(batch_size, num_samples)
    if curvature <= 0:
        return float("inf")

    def is_stable(rate: float) -> bool:
        recursion = mode_recursion(optimizer, curvature=curvature, learning_rate=rate)
        return second_moment_radius(recursion, variance=variance) < 1

    low, high = 0.0, 1 / curvature
    while is_stable(high):
        low, high = high, 2 * high
    for _ in range(NUM_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if is_stable(middle) else (low, middle)
    return low
