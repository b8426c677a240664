r"""Settings for a batch that is :math:`\kappa` times larger, so that the loss per sample stays as it was.

**SGD, linear rule.** Learning rate times :math:`\kappa`; momentum and weight decay stay. For batches that are small
beside the data, the mean step and the variance of the noise over one sample are then unchanged. The rule ends where
one step is no longer short beside the motion of the steepest mode, which for noise from the data is also where larger
batches stop saving steps.

**Adam, square-root rule.** Where noise dominates the gradient, Adam divides by the standard deviation of the noise,
which falls like :math:`1/\sqrt\kappa`. Learning rate times :math:`\sqrt\kappa`, :math:`1 - \beta_i` times
:math:`\kappa`, epsilon times :math:`1/\sqrt\kappa`. Decoupled decay moves by learning rate times decay per step and so
takes :math:`\sqrt\kappa` too; decay added to the gradient (``"adam"``) stays. With z the ratio of signal to noise of a
coordinate before the change, the motion per sample slows by :math:`\sqrt{(1 + \kappa z^2)/(1 + z^2)}` (derived), which
is the precondition.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from spectra.dynamics.preconditions import Precondition, number_within
from spectra.dynamics.scaling_checks import adam_checks, remembered, sgd_checks, step_check, step_limit, verdict_of
from spectra.errors import ArgumentError
from spectra.start_vectors import as_count

__all__ = ["OptimizerSettings", "ScaledSettings", "ScalingMethod", "scale_settings"]

ScalingMethod = Literal["sgd", "adam", "adamw"]


@dataclass(frozen=True, kw_only=True)
class OptimizerSettings:
    """Settings after the change; ``None`` where none were given.

    Attributes
    ----------
    learning_rate, momentum, weight_decay : float
        As in torch. ``momentum`` is 0 for Adam.
    betas : (float, float) or None
        Of Adam.
    epsilon : float or None
        Of Adam, added to the root of the second moment.
    num_steps : int or None
        Rounded to the nearest whole number, at least 1.

    Notes
    -----
    Source: see `scale_settings`.

    Examples
    --------
    >>> scale_settings("sgd", factor=2, learning_rate=0.1, max_curvature=0.1).settings.learning_rate
    0.2
    """

    learning_rate: float
    momentum: float
    weight_decay: float
    betas: tuple[float, float] | None
    epsilon: float | None
    num_steps: int | None


@dataclass(frozen=True, kw_only=True)
class ScaledSettings:
    """Settings for another batch size, or the reason why no rule gives them.

    Attributes
    ----------
    method : str
        As asked for.
    rule : {"linear", "square_root"}
        The rule of the learning rate.
    factor : float
        Batch size after, over before.
    verdict : {"SUPPORTED", "TENTATIVE", "WITHHELD"}
        Every precondition holds; one could not be checked because a number was not given; one fails.
    reason : str
        One sentence.
    settings : OptimizerSettings or None
        ``None`` if withheld.
    largest_factor : float
        Preconditions hold for factors from 1 up to this one, as far as they could be checked; ``inf`` if nothing
        limits it.
    preconditions : tuple of Precondition
        What was checked.

    Notes
    -----
    Source: see `scale_settings`.

    Examples
    --------
    >>> scale_settings("sgd", factor=2, learning_rate=0.1).verdict  # the curvature was not given
    'TENTATIVE'
    """

    method: str
    rule: Literal["linear", "square_root"]
    factor: float
    verdict: Literal["SUPPORTED", "TENTATIVE", "WITHHELD"]
    reason: str
    settings: OptimizerSettings | None
    largest_factor: float
    preconditions: tuple[Precondition, ...]


def scale_settings(
    method: ScalingMethod,
    *,
    factor: float,
    learning_rate: float,
    betas: tuple[float, float] | None = None,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    epsilon: float | None = None,
    num_steps: int | None = None,
    signal_to_noise: float | None = None,
    max_curvature: float | None = None,
) -> ScaledSettings:
    r"""Return the settings for a batch size multiplied by ``factor``, if a rule applies.

    ===================  ========================  ====================  ==============  ==================
    \                    learning rate             memory                epsilon         weight decay
    ===================  ========================  ====================  ==============  ==================
    ``"sgd"``            :math:`\kappa`            momentum kept         none            kept
    ``"adam"``           :math:`\sqrt\kappa`       :math:`1 - \beta_i`   divided by      kept
                                                   times :math:`\kappa`  √κ
    ``"adamw"``          :math:`\sqrt\kappa`       as Adam               as Adam         :math:`\sqrt\kappa`
    ===================  ========================  ====================  ==============  ==================

    Steps are divided by :math:`\kappa`: the number of samples stays.

    Parameters
    ----------
    method : {"sgd", "adam", "adamw"}
        ``"adam"`` adds weight decay to the gradient, ``"adamw"`` applies it to the weights, both as torch does.
    factor : float
        :math:`\kappa > 0`; below 1 for a smaller batch.
    learning_rate : float
        Positive; for ``"sgd"`` of the mean gradient of a batch.
    betas : (float, float)
        Of Adam, in [0, 1); required for it and not for ``"sgd"``.
    momentum : float
        Of SGD, in [0, 1), sum form.
    weight_decay : float
        At least 0.
    epsilon : float, optional
        Of Adam, at least 0.
    num_steps : int, optional
        Steps before the change, at least 1.
    signal_to_noise : float, optional
        Adam only: median over the coordinates of the size of the mean gradient, over the standard deviation of the
        gradient of one batch **before** the change, at its largest over the run, which is usually the start.
    max_curvature : float, optional
        SGD only: largest eigenvalue of the Hessian.

    Returns
    -------
    ScaledSettings
        With settings, unless a precondition fails.

    Raises
    ------
    ArgumentError, NonFiniteError
        If a number is out of range or not finite, or a setting does not belong to the method.

    Notes
    -----
    A step that covers a share u of the time of a motion covers :math:`\kappa u` after the change, and the rate of the
    motion per sample changes by at most :math:`(\kappa - 1) u / (1 - \kappa u)` (derived: :math:`\log(1 - u)` against
    :math:`\log(1 - \kappa u) / \kappa`). That is the precondition of ``"sgd"``, with
    :math:`u = \gamma (\lambda_{\max} + \delta) / (1 - \beta)^2`, and of decay in ``"adamw"``, with
    :math:`u = \eta \delta`. A beta of 0, no memory, stays 0.

    Linear rule: Goyal et al. (2017), arXiv 1706.02677. Square-root rule: Malladi, Lyu, Panigrahi and Arora (2022),
    arXiv 2205.10287. The factor of decoupled decay agrees with Compagnoni et al. (2024), arXiv 2411.15958. All factors
    of Adam are compared with simulations in ``tests/claims/test_adam_scaling_rule.py``; the preconditions are derived.

    O(1) operations.

    Examples
    --------
    >>> found = scale_settings("adamw", factor=4, learning_rate=1e-3, betas=(0.9, 0.999), signal_to_noise=0.05)
    >>> found.verdict, found.settings.learning_rate, np.round(found.settings.betas, 6).tolist()
    ('SUPPORTED', 0.002, [0.6, 0.996])
    >>> scale_settings("adamw", factor=16, learning_rate=1e-3, betas=(0.9, 0.999), signal_to_noise=0.05).reason
    'the memory is longer than one scaled step: observed 1.6, required factor * (1 - beta) below 1'
    """
    if method not in get_args(ScalingMethod):
        raise ArgumentError(f"method must be one of {', '.join(get_args(ScalingMethod))}; got {method!r}")
    kappa = number_within(factor, name="factor", above=0.0)
    rate = number_within(learning_rate, name="learning_rate", above=0.0)
    beta = number_within(momentum, name="momentum", least=0.0, below=1.0)
    decay = number_within(weight_decay, name="weight_decay", least=0.0)
    eps = None if epsilon is None else number_within(epsilon, name="epsilon", least=0.0)
    steps = None if num_steps is None else as_count(num_steps, name="num_steps")
    steps = None if steps is None else max(1, round(steps / kappa))
    if method == "sgd":
        if betas is not None or eps is not None or signal_to_noise is not None:
            raise ArgumentError("betas, epsilon and signal_to_noise belong to Adam; for 'sgd' pass momentum")
        checks, limits = sgd_checks(kappa, rate, beta, decay, max_curvature)
        scaled = OptimizerSettings(
            learning_rate=kappa * rate, momentum=beta, weight_decay=decay, betas=None, epsilon=None, num_steps=steps
        )
    else:
        if beta != 0 or max_curvature is not None:
            raise ArgumentError("momentum and max_curvature belong to SGD; for Adam pass betas")
        if betas is None or np.shape(betas) != (2,):
            raise ArgumentError(f"betas must be the two numbers of Adam, such as (0.9, 0.999); got {betas!r}")
        first, second = (number_within(b, name="betas", least=0.0, below=1.0) for b in betas)
        checks, limits = adam_checks(kappa, first, second, signal_to_noise)
        root = float(np.sqrt(kappa))
        if method == "adamw" and decay > 0:
            checks.append(step_check("decay", kappa, rate * decay))
            limits.append(step_limit(rate * decay))
        scaled = OptimizerSettings(
            learning_rate=root * rate,
            momentum=0.0,
            weight_decay=root * decay if method == "adamw" else decay,
            betas=(remembered(first, kappa), remembered(second, kappa)),
            epsilon=None if eps is None else eps / root,
            num_steps=steps,
        )
    verdict, reason = verdict_of(checks, missing="max_curvature" if method == "sgd" else "signal_to_noise")
    return ScaledSettings(
        method=method,
        rule="linear" if method == "sgd" else "square_root",
        factor=kappa,
        verdict=verdict,
        reason=reason,
        settings=None if verdict == "WITHHELD" else scaled,
        largest_factor=min(limits, default=float("inf")),
        preconditions=tuple(checks),
    )
