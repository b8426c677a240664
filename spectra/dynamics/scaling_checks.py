"""Whether a rule for another batch size applies: its preconditions, and the factors at which they fail."""

from typing import Literal

import numpy as np

from spectra.dynamics.preconditions import Precondition, number_within

__all__ = [
    "MAX_SLOWDOWN",
    "MAX_STEP_ERROR",
    "adam_checks",
    "remembered",
    "sgd_checks",
    "step_check",
    "step_limit",
    "verdict_of",
]

#: Share by which the motion per sample of Adam may change (tests/claims/test_adam_scaling_rule.py).
MAX_SLOWDOWN = 0.05
#: Share by which the motion per sample may change since steps are longer. The loss of SGD then changes by at most 15 %
#: on a descent by a factor 100 (tests/spectra/dynamics/test_scaling_rules.py).
MAX_STEP_ERROR = 0.1


def sgd_checks(
    kappa: float, rate: float, beta: float, decay: float, max_curvature: float | None
) -> tuple[list[Precondition], list[float]]:
    """Return the precondition of the linear rule, and the factors at which it fails.

    Parameters
    ----------
    kappa, rate, beta, decay : float
        Factor of the batch size, and settings before the change.
    max_curvature : float or None
        Largest eigenvalue of the Hessian, if known.

    Returns
    -------
    checks : list of Precondition
    limits : list of float

    Raises
    ------
    ArgumentError, NonFiniteError
        If the curvature is negative or not finite.

    Notes
    -----
    O(1) operations. Source: derived, see `spectra.dynamics.scale_settings`.

    Examples
    --------
    >>> checks, limits = sgd_checks(2.0, 0.1, 0.0, 0.0, 0.1)
    >>> checks[0].holds, round(limits[0], 2)
    (True, 10.0)
    """
    if max_curvature is None:
        return [step_check("the steepest mode", kappa, float("nan"))], []
    top = number_within(max_curvature, name="max_curvature", least=0.0) + decay
    share = rate * top / (1 - beta) ** 2
    return [step_check("the steepest mode", kappa, share)], [step_limit(share)]


def adam_checks(
    kappa: float, first: float, second: float, signal_to_noise: float | None
) -> tuple[list[Precondition], list[float]]:
    """Return the preconditions of the square-root rule, and the factors at which they fail.

    Parameters
    ----------
    kappa, first, second : float
        Factor of the batch size, and betas before the change.
    signal_to_noise : float or None
        Before the change, if known.

    Returns
    -------
    checks : list of Precondition
    limits : list of float

    Raises
    ------
    ArgumentError, NonFiniteError
        If the ratio is negative or not finite.

    Notes
    -----
    O(1) operations. Source: derived, see `spectra.dynamics.scale_settings`.

    Examples
    --------
    >>> checks, limits = adam_checks(4.0, 0.9, 0.999, 0.0)
    >>> [check.holds for check in checks], round(limits[0], 9)
    ([True, True], 10.0)
    """
    shortest = max((1 - beta for beta in (first, second) if beta > 0), default=0.0)
    ratio = (
        float("nan") if signal_to_noise is None else number_within(signal_to_noise, name="signal_to_noise", least=0.0)
    )
    change = float(abs(np.sqrt((1 + kappa * ratio**2) / (1 + ratio**2)) - 1))
    checks = [
        Precondition(
            claim="the memory is longer than one scaled step",
            observed=kappa * shortest,
            required="factor * (1 - beta) below 1",
            holds=kappa * shortest < 1,
        ),
        Precondition(
            claim="noise dominates the gradient",
            observed=change,
            required=f"a change of the motion per sample of at most {MAX_SLOWDOWN:g}",
            holds=change <= MAX_SLOWDOWN,
        ),
    ]
    limits = [1 / shortest] if shortest > 0 else []
    if ratio > 0:
        limits.append(((1 + MAX_SLOWDOWN) ** 2 * (1 + ratio**2) - 1) / ratio**2)
    return checks, limits


def remembered(beta: float, kappa: float) -> float:
    """Return a beta after the change; none stays none.

    Parameters
    ----------
    beta, kappa : float

    Returns
    -------
    float

    Notes
    -----
    O(1) operations. Source: derived, see `spectra.dynamics.scale_settings`.

    Examples
    --------
    >>> round(remembered(0.9, 2.0), 9), remembered(0.0, 2.0)
    (0.8, 0.0)
    """
    return 1 - kappa * (1 - beta) if beta > 0 else 0.0


def step_check(what: str, kappa: float, share: float) -> Precondition:
    """Return whether a step that covers a share of the time of a motion is short enough, before and after.

    Parameters
    ----------
    what : str
        Whose motion it is.
    kappa, share : float
        Factor of the batch size, and the share before the change; NaN if it is not known.

    Returns
    -------
    Precondition

    Notes
    -----
    O(1) operations. Source: derived, see `spectra.dynamics.scale_settings`.

    Examples
    --------
    >>> step_check("the steepest mode", 2.0, 0.01).holds, step_check("the steepest mode", 2.0, 0.4).holds
    (True, False)
    """
    longest = max(kappa, 1.0) * share
    change = float("inf") if longest >= 1 and kappa != 1 else abs(kappa - 1) * share / abs(1 - longest)
    return Precondition(
        claim=f"one step is short for {what}",
        observed=change,
        required=f"a change of the motion per sample of at most {MAX_STEP_ERROR:g}",
        holds=change <= MAX_STEP_ERROR,
    )


def step_limit(share: float) -> float:
    """Return the largest factor after which such a step is still short enough.

    Parameters
    ----------
    share : float

    Returns
    -------
    float
        At least 1; infinite for a share of 0.

    Notes
    -----
    O(1) operations. Source: derived, see `spectra.dynamics.scale_settings`.

    Examples
    --------
    >>> step_check("a mode", step_limit(0.01), 0.01).observed <= MAX_STEP_ERROR + 1e-12
    True
    """
    if share == 0:
        return float("inf")
    return max(1.0, (MAX_STEP_ERROR + share) / ((1 + MAX_STEP_ERROR) * share))


def verdict_of(
    checks: list[Precondition], *, missing: str
) -> tuple[Literal["SUPPORTED", "TENTATIVE", "WITHHELD"], str]:
    """Return the verdict and its sentence; what was not given is a NaN.

    Parameters
    ----------
    checks : list of Precondition
    missing : str
        The argument without which a check has no number.

    Returns
    -------
    verdict : str
    reason : str

    Notes
    -----
    O(1) operations. Source: a convention of this project.

    Examples
    --------
    >>> verdict_of([step_check("a mode", 2.0, float("nan"))], missing="max_curvature")
    ('TENTATIVE', 'one step is short for a mode: not checked, max_curvature was not given')
    """
    for check in checks:
        if not check.holds and not np.isnan(check.observed):
            return "WITHHELD", f"{check.claim}: observed {check.observed:.3g}, required {check.required}"
    for check in checks:
        if not check.holds:
            return "TENTATIVE", f"{check.claim}: not checked, {missing} was not given"
    return "SUPPORTED", "every precondition holds"
