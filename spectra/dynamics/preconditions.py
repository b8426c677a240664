"""What a formula needs: numbers in range, else the call was wrong; and assumptions, which are data of the result."""

from dataclasses import dataclass
from numbers import Real

import numpy as np

from spectra.errors import ArgumentError, NonFiniteError

__all__ = ["Precondition", "number_within"]


@dataclass(frozen=True, kw_only=True)
class Precondition:
    """One assumption behind a formula, and whether it holds here.

    Attributes
    ----------
    claim : str
        The assumption.
    observed : float
        The number that decides; NaN where it was not given.
    required : str
        What the number has to be.
    holds : bool
        Whether it is.
    """

    claim: str
    observed: float
    required: str
    holds: bool


def number_within(
    value: float, *, name: str, least: float = -np.inf, above: float = -np.inf, below: float = np.inf
) -> float:
    """Return a finite number, at least ``least``, above ``above`` and below ``below``, as a float.

    Raises
    ------
    ArgumentError, NonFiniteError
        If it is no number, outside, or not finite.

    Examples
    --------
    >>> number_within(1, name="momentum", least=0, below=1)
    Traceback (most recent call last):
    ...
    spectra.errors.ArgumentError: momentum must be at least 0 and below 1; got 1
    """
    plain = value[()] if isinstance(value, np.ndarray) and value.ndim == 0 else value
    if isinstance(plain, bool) or not isinstance(plain, Real):
        raise ArgumentError(f"{name} must be one number; got {value!r}")
    number = float(plain)
    if not np.isfinite(number):
        raise NonFiniteError(f"{name} must be finite; got {number}")
    if number < least or number <= above or number >= below:
        wanted = [f"at least {least:g}"] * (least > -np.inf) + [f"above {above:g}"] * (above > -np.inf)
        raise ArgumentError(
            f"{name} must be {' and '.join(wanted + [f'below {below:g}'] * (below < np.inf))}; got {number:g}"
        )
    return number
