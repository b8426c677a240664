r"""Eigenvalues of a covariance matrix corrected for the number of samples, without a model of the population."""

from typing import Any

import numpy as np
import numpy.typing as npt

from spectra.errors import ArgumentError, ShapeError
from spectra.frozen import Vector
from spectra.laws.points import as_eigenvalues
from spectra.start_vectors import as_count

__all__ = ["LEAST_SAMPLES", "shrink_covariance_eigenvalues"]

#: The kernel at 0 for more variables than samples needs sqrt(5) n^(-1/3) < 1.
LEAST_SAMPLES = 12
#: Eigenvalues of order -eps are rounding of 0; below this share of the largest the matrix is indefinite (a choice).
INDEFINITE = 1e-8
_ROOT5 = float(np.sqrt(5.0))
#: Rows of the pairwise kernel that are in memory at a time.
_ROWS = 256


def shrink_covariance_eigenvalues(eigenvalues: npt.ArrayLike, *, num_samples: int) -> Vector:
    r"""Shrink the eigenvalues of a sample covariance matrix for the smallest Frobenius error with its eigenvectors.

    With the density f of the sample eigenvalues and its Hilbert transform H, both by Epanechnikov kernels of width
    :math:`n^{-1/3}\lambda`, and :math:`c = p/n \le 1`,

    .. math:: d = \lambda / [(\pi c \lambda f)^2 + (1 - c - \pi c \lambda H)^2].

    Parameters
    ----------
    eigenvalues : array_like, shape (p,)
        Of ``X X' / n``, all of them, in any order, not negative but for rounding.
    num_samples : int
        n, at least 12; one less than the number of samples where their mean was subtracted.

    Returns
    -------
    ndarray, shape (p,)
        In the order of those given. The estimate of the covariance has these with the sample eigenvectors.

    Raises
    ------
    ArgumentError, NonFiniteError, ShapeError
        If an argument cannot be used, the matrix is indefinite, or its rank is not ``min(p, n)``.

    Notes
    -----
    ``O(p^2)``. Source: Ledoit and Wolf (2020), Annals of Statistics, the analytical estimator for p up to n and beyond.

    Examples
    --------
    >>> X = np.random.default_rng(0).standard_normal((100, 200))
    >>> sample = np.linalg.eigvalsh(X @ X.T / 200)
    >>> shrunk = shrink_covariance_eigenvalues(sample, num_samples=200)
    >>> bool(np.ptp(shrunk) < 0.3 * np.ptp(sample))  # all eigenvalues of the population are 1
    True
    """
    values, rounding = as_eigenvalues(eigenvalues)
    n = as_count(num_samples, name="num_samples")
    if n < LEAST_SAMPLES:
        raise ArgumentError(f"at least {LEAST_SAMPLES} samples are required, got {n}; the kernel is too wide for fewer")
    if np.ndim(eigenvalues) != 1 or values.size == 0:
        raise ShapeError(f"eigenvalues of shape (p,) with p at least 1 are required, got shape {np.shape(eigenvalues)}")
    largest = float(np.max(np.abs(values)))
    if np.min(values) < -max(INDEFINITE * largest, rounding):
        raise ArgumentError(f"eigenvalues of a covariance matrix must not be negative, got {np.min(values)}")
    p, order = len(values), np.argsort(values, kind="stable")
    # Units near 1, so that squares neither overflow nor vanish.
    unit = largest if largest > 0.0 else 1.0
    kept = np.maximum(values[order][max(p - n, 0) :] / unit, 0.0)
    rank = np.count_nonzero(kept * unit > rounding)
    if rank < len(kept):
        raise ArgumentError(
            f"a rank of min(p, n) = {len(kept)} is required, got {rank}; if the mean of "
            "the samples was subtracted, num_samples is one less, and constant variables must be left out"
        )
    width = n ** (-1.0 / 3.0)
    f, hilbert = _density(kept, width)
    shrunk = np.empty(p)
    if p <= n:
        c = p / n
        shrunk[order] = kept / ((np.pi * c * kept * f) ** 2 + (1.0 - c - np.pi * c * kept * hilbert) ** 2)
    else:
        logs = np.log1p(2.0 * _ROOT5 * width / (1.0 - _ROOT5 * width))
        at_zero = 0.3 / width**2 + 0.75 / (_ROOT5 * width) * (1.0 - 0.2 / width**2) * logs
        null = 1.0 / ((p - n) / n * at_zero * float(np.mean(1.0 / kept)))
        found = kept / (np.pi**2 * kept**2 * (f**2 + hilbert**2))
        shrunk[order] = np.concatenate([np.full(p - n, null), found])
    return shrunk * unit


def _density(values: Vector, width: float) -> tuple[Any, Any]:
    """Return density and Hilbert transform at the values themselves, by Epanechnikov kernels of relative width."""
    f, hilbert = np.empty(len(values)), np.empty(len(values))
    widths = width * values
    for start in range(0, len(values), _ROWS):
        x = (values[start : start + _ROWS, None] - values) / widths
        bump = 1.0 - 0.2 * x**2
        with np.errstate(divide="ignore", invalid="ignore"):
            logs = np.log(np.abs((_ROOT5 - x) / (_ROOT5 + x)))
            tail = np.where(np.abs(x) == _ROOT5, 0.0, bump * logs)
        f[start : start + _ROWS] = np.mean(0.75 / _ROOT5 * np.maximum(bump, 0.0) / widths, axis=1)
        part = -0.3 / np.pi * x + 0.75 / (_ROOT5 * np.pi) * tail
        hilbert[start : start + _ROWS] = np.mean(part / widths, axis=1)
    return f, hilbert
