"""Where a spectrum ends and how near it comes to zero, with known confidence, from the start vectors of a block run."""

from dataclasses import dataclass

import numpy as np

from spectra.certificates import Certificate, relative_slack
from spectra.conditioning import ConditionStatus
from spectra.thick_restart import RitzPairs
from spectra.tridiagonal import Tridiagonal

__all__ = ["RANK_TOLERANCE", "Ends", "Ratio", "ends_of"]

RANK_TOLERANCE = 1e-4
"""As for `spectra.pseudo_condition_number`."""

_NARROW = 1.1


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """A condition number: best value, interval and status, as in `spectra.ConditionNumber`."""

    value: float
    low: float
    high: float
    status: ConditionStatus


@dataclass(frozen=True, kw_only=True)
class Ends:
    """Intervals in the units of the operator; see `ends_of`."""

    smallest: tuple[float, float]
    largest: tuple[float, float]
    condition: Ratio
    pseudo_condition: Ratio


def ends_of(
    tridiagonal: Tridiagonal,
    pairs: RitzPairs,
    *,
    dimension: int,
    is_complete: bool,
    positive_semidefinite: bool,
    level: float,
    eps: float,
    defects: list[float],
) -> Ends:
    """Bound both ends of the spectrum and the condition numbers.

    Inner bounds are Ritz values on the whole block space, certain but for rounding. Outer bounds come from the weight
    that a start vector, uniform on the sphere, has on an eigenvector, see `spectra.certificates.Certificate`; each of
    the two outer bounds may fail with probability ``(1 - level)/2``, whatever the number of steps.

    Parameters
    ----------
    tridiagonal : Tridiagonal
        Of each start vector.
    pairs : RitzPairs
        On the block space. Both in the units of the operator.
    dimension : int
    is_complete : bool
        Whether the Ritz values are all eigenvalues.
    positive_semidefinite : bool
        Declared by the caller.
    level, eps : float
    defects : list of float
        Of symmetry and repetition.

    Examples
    --------
    >>> from spectra.lanczos import lanczos
    >>> T = lanczos(np.diag([1.0, 2.0, 4.0]), np.ones(3), num_steps=3)
    >>> pairs = RitzPairs(values=np.array([1.0, 2.0, 4.0]), residuals=np.zeros(3), coefficients=np.eye(3))
    >>> found = ends_of(
    ...     T,
    ...     pairs,
    ...     dimension=3,
    ...     is_complete=True,
    ...     positive_semidefinite=True,
    ...     level=0.95,
    ...     eps=2e-16,
    ...     defects=[],
    ... )
    >>> found.condition.value, found.condition.status
    (4.0, 'exact')
    """
    certificate = Certificate(
        tridiagonal, dimension=dimension, delta=0.5 * (1.0 - level), slack=relative_slack(eps, *defects)
    )
    values = np.ldexp(pairs.values, -certificate.exponent)
    residuals = np.ldexp(pairs.residuals, -certificate.exponent)
    slack = certificate.slack
    low, high = values[0] - slack, values[-1] + slack
    if not is_complete:
        low, high = min(certificate.low, low), max(certificate.high, high)
    if positive_semidefinite:
        low = max(low, 0.0)
    moduli = np.abs(values)
    norm = float(np.max(moduli))
    largest = max(norm - slack, 0.0), max(high, -low)
    if is_complete:
        smallest = max(float(np.min(moduli)) - slack, 0.0), float(np.min(moduli)) + slack
    elif low > 0.0 or high < 0.0 or positive_semidefinite:
        smallest = max(low, -high, 0.0), float(np.min(moduli)) + slack
    else:
        found = certificate.smallest_modulus()
        smallest = found[0], min(found[1], float(np.min(np.hypot(moduli, residuals))) + slack)
    threshold = RANK_TOLERANCE * norm, RANK_TOLERANCE * largest[1]
    if is_complete:
        above = moduli[moduli > threshold[1] + slack]
        nearest = float(np.min(above, initial=np.inf))
        next_up = max(nearest - slack, threshold[0]), nearest + slack
    else:
        next_up = certificate.smallest_modulus_above(*threshold)
    with np.errstate(over="ignore", under="ignore"):
        scaled = np.ldexp([low, values[0] + slack, values[-1] - slack, high], certificate.exponent)
    return Ends(
        smallest=(float(scaled[0]), max(float(scaled[1]), 0.0 if positive_semidefinite else -np.inf)),
        largest=(float(scaled[2]), float(scaled[3])),
        condition=_condition(smallest, largest, slack=slack, is_complete=is_complete),
        pseudo_condition=_pseudo_condition(next_up, largest, is_complete=is_complete),
    )


def _condition(
    smallest: tuple[float, float], largest: tuple[float, float], *, slack: float, is_complete: bool
) -> Ratio:
    if smallest[1] <= 2.0 * slack:
        low = max(1.0, largest[0] / smallest[1]) if smallest[1] > 0.0 else np.inf
        return Ratio(value=np.inf, low=low, high=np.inf, status="singular")
    low = max(1.0, largest[0] / smallest[1])
    high = largest[1] / smallest[0] if smallest[0] > 0.0 else np.inf
    value = min(max((largest[0] + slack) / (smallest[1] - slack), low), high)
    status: ConditionStatus = "exact" if is_complete else "certified" if np.isfinite(high) else "not certified"
    return Ratio(value=value, low=low, high=high, status=status)


def _pseudo_condition(next_up: tuple[float, float], largest: tuple[float, float], *, is_complete: bool) -> Ratio:
    if not largest[0] > 0.0:
        return Ratio(value=np.inf, low=np.inf, high=np.inf, status="singular")
    low = max(1.0, largest[0] / next_up[1])
    high = max(low, min(largest[1] / next_up[0] if next_up[0] > 0.0 else np.inf, 1.0 / RANK_TOLERANCE))
    if is_complete:
        return Ratio(value=low, low=low, high=high, status="exact")
    status: ConditionStatus = "certified" if high <= _NARROW * low else "lower bound only"
    return Ratio(value=low, low=low, high=high, status=status)
