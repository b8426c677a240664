"""Eigenvalues of one random matrix of Gaussian entries for each law that can be fitted."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.linalg import eigh, eigvalsh_tridiagonal

from spectra.frozen import Vector
from spectra.laws.gaussian_spectra import gaussian_spectra

__all__ = ["DRAWN"]

#: Samples at most: a law of a smaller ratio is one of a point.
MOST_SAMPLES = 1e6


def _wishart(num_rows: int, num_columns: int, generator: np.random.Generator) -> Vector:
    """Return ``X X'`` of Gaussian entries, by its factor where that is smaller."""
    if num_columns < num_rows:
        X = generator.standard_normal((num_rows, num_columns))
        return X @ X.T
    factor = np.tril(generator.standard_normal((num_rows, num_rows)), -1)
    factor[np.diag_indices(num_rows)] = np.sqrt(generator.chisquare(num_columns - np.arange(num_rows)))
    return factor @ factor.T


def _samples(order: int, ratio: float) -> int:
    return max(1, round(min(order / ratio, MOST_SAMPLES)))


def _draw_marchenko_pastur(law: Any, order: int, generator: np.random.Generator) -> Vector:
    num_samples = _samples(order, law.aspect_ratio)
    values = gaussian_spectra((order, num_samples), num=1, rng=generator)[0] * max(order, num_samples) / num_samples
    return law.variance * np.append(values, np.zeros(order - values.size))


def _draw_semicircle(law: Any, order: int, generator: np.random.Generator) -> Vector:
    # The tridiagonal model of Dumitriu and Edelman (2002).
    main = generator.standard_normal(order) * math.sqrt(2.0)
    off = np.sqrt(generator.chisquare(np.arange(order - 1, 0, -1)))
    return math.sqrt(law.variance / order) * eigvalsh_tridiagonal(main, off)


def _draw_f(law: Any, order: int, generator: np.random.Generator) -> Vector:
    first, second = _samples(order, law.first_ratio), max(_samples(order, law.second_ratio), order)
    top, bottom = (_wishart(order, num, generator) / num for num in (first, second))
    return np.maximum(eigh(top, bottom, eigvals_only=True), 0.0)


def _draw_jacobi(law: Any, order: int, generator: np.random.Generator) -> Vector:
    first, second = _samples(order, law.first_ratio), _samples(order, law.second_ratio)
    top, rest = _wishart(order, first, generator), _wishart(order, second, generator)
    return np.clip(eigh(top, top + rest, eigvals_only=True), 0.0, 1.0)


#: By name: from a law, an order and a generator to the eigenvalues of one matrix of Gaussian entries.
DRAWN: dict[str, Callable[[Any, int, np.random.Generator], Vector]] = {
    "marchenko_pastur": _draw_marchenko_pastur,
    "semicircle": _draw_semicircle,
    "jacobi": _draw_jacobi,
    "f": _draw_f,
}
