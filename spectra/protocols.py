"""What is asked of an operator and of an array. Typing only."""

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias, runtime_checkable

__all__ = ["Array", "Progress", "SupportsMatmul"]

Array: TypeAlias = Any
"""A real array of NumPy, PyTorch, CuPy or any other library that follows the array API standard."""

Progress: TypeAlias = Callable[[int, int], None]
"""Called with ``(steps done, steps planned)`` after each step."""


@runtime_checkable
class SupportsMatmul(Protocol):
    """All that is asked of an operator: a square ``shape``, and ``@`` on ``(n,)`` and ``(n, k)`` arrays."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Return ``(n, n)``."""

    def __matmul__(self, other: Array, /) -> Array:
        """Return the product with an ``(n,)`` or ``(n, k)`` array."""
