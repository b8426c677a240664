"""What a method of another library looks like to `accuracy_per_product`. Nothing to run."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Quantity = Literal["trace", "log_determinant", "density"]


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Products allowed: ``products`` for a trace, ``probes * steps`` for quadratures."""

    products: int = 60
    probes: int = 10
    steps: int = 30


@dataclass(frozen=True)
class Answer:
    """A number, or nodes and weights of a density, and the products it took (None: not counted)."""

    value: Any
    num_matvecs: int | None = None


@dataclass(frozen=True, kw_only=True)
class Method:
    """A way to estimate a quantity: ``prepare(matrix, budget)`` gives ``run(seed) -> Answer``."""

    library: str
    name: str
    quantity: Quantity
    prepare: Callable[[np.ndarray, Budget], Callable[[int], Answer]]
    needs_definite: bool = False

    @property
    def label(self) -> str:
        """Library and method."""
        return f"{self.library}: {self.name}"
