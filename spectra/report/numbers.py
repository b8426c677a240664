"""Numbers as a reader and as a JSON parser want them."""

import math
from typing import Any

__all__ = ["finite_or_null", "interval", "number"]


def number(value: float | None, digits: int = 3) -> str:
    """Return a number for a reader: ``digits`` significant digits, ``-`` for what is missing.

    Examples
    --------
    >>> number(0.012345), number(1234.5), number(None), number(float("inf"))
    ('0.0123', '1230', '-', 'unbounded')
    """
    if value is None or math.isnan(value):
        return "-"
    if math.isinf(value):
        return "unbounded"
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(value)))
    if -4 <= exponent < 6:
        rounded = round(value, digits - 1 - exponent)
        return f"{rounded:.{max(digits - 1 - exponent, 0)}f}"
    return f"{value:.{digits - 1}e}"


def interval(low: float | None, high: float | None) -> str:
    """Return ``[low, high]`` for a reader, empty where there is none.

    Examples
    --------
    >>> interval(0.5, 2.0), interval(None, None), interval(1.0, None)
    ('[0.500, 2.00]', '', '[1.00, -]')
    """
    return "" if low is None and high is None else f"[{number(low)}, {number(high)}]"


def finite_or_null(value: Any) -> Any:
    """Return ``value`` as plain Python values, with every NaN and infinity, at any depth, replaced by ``None``."""
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {str(key): finite_or_null(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite_or_null(item) for item in value]
    return value
