"""The uniform disk that describes the spectrum of a normal operator best, and how well it does."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from spectra.complex_measure import hessenberg_matrices
from spectra.errors import ArgumentError

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["DiskFit", "fit_disk"]

_MOST_NODES = 6
"""A Hankel matrix of six moments of a uniform law has a condition of 1.5e7: nodes keep nine digits."""

_RANK = 1e-10
"""Eigenvalues of a Hankel matrix, relative to the largest, that are rounding."""

_POINT = 1e-7
"""Spread of the eigenvalues, relative to their size, that rounding of squares in float64 leaves of a single point."""


@dataclass(frozen=True, kw_only=True, eq=False)
class DiskFit:
    """A disk with the mean and the mean square distance from it of the measured eigenvalues.

    Attributes
    ----------
    center, radius : float
        C is the mean eigenvalue; ``R^2`` is twice the mean of ``|z - C|^2``, as it is for a uniform disk.
    center_stderr, radius_stderr : float or None
        Standard errors over probes; None for a single probe. They do not cover that the spectrum is no disk.
    radial_distance : float
        Integral over u of the absolute difference between the distribution functions of ``u = |z - C|^2 / R^2``,
        measured and uniform on [0, 1], both as Gauss rules. 0 for a disk; NaN with fewer than three moments. For a
        circle it depends on ``num_moments``: 0.2887 with 3 or 4, 0.2152 with 5 or 6, 0.2606 with 7, 0.2550 with 11 (as
        many as are used at most), and 1/4 is the limit of many.
    angular_distance : float
        Largest of ``|mean (z - C)^k|``, k = 2, 3, 4, relative to the largest value that it can have. 0 for a measure
        that no rotation about C changes; 1 for eigenvalues on a line; NaN with fewer than two moments.
    squared_radii, shares : ndarray, shape (k,)
        The Gauss rule of ``|z - C|^2``.
    num_moments : int
        Moments of ``|z - C|^2`` that the measure knows exactly for its probes, and that were used.
    largest_ritz_radius : float
        Largest ``|theta - C|`` of a Ritz value: some eigenvalue is at least that far from the center.
    normality_defect : float
        Of the measure; NaN where it is not known.

    Notes
    -----
    Source: derived, see `fit_disk`.

    Examples
    --------
    >>> from spectra.complex_measure import normal_spectrum
    >>> point = fit_disk(normal_spectrum(2.0 * np.eye(4)))
    >>> point.center, point.radius, point.is_right_of_zero
    (2.0, 0.0, True)
    """

    center: float
    radius: float
    center_stderr: float | None
    radius_stderr: float | None
    radial_distance: float
    angular_distance: float
    squared_radii: np.ndarray
    shares: np.ndarray
    num_moments: int
    largest_ritz_radius: float
    normality_defect: float

    @property
    def is_right_of_zero(self) -> bool:
        """Whether ``radius < center``, as `spectra.dynamics.games.disk_method` needs it."""
        return self.radius < self.center


def fit_disk(measure: "xr.Dataset") -> DiskFit:
    """Fit a uniform disk to the spectral measure of a normal operator.

    For a unit probe v and the normal A, the mean of ``|z - C|^(2k)`` is ``||(A - C)^k v||^2 = ||(H - C)^k e1||^2``,
    exactly for k up to the number of Arnoldi steps. Ritz values are *not* used: they crowd on rings.

    Parameters
    ----------
    measure : xarray.Dataset
        From `spectra.complex_measure.normal_spectrum`.

    Returns
    -------
    DiskFit

    Raises
    ------
    ArgumentError
        If the measure is known not to be that of a normal operator: ``||(A - C)^k v||`` then says nothing about
        eigenvalues.
    SchemaError
        If ``measure`` is not a complex measure.

    Notes
    -----
    No products. The fit matches two moments and is no test; the two distances are data to judge it by. ``R^2`` is
    biased by the variance of C, of the order ``1/(n p)`` relative.

    Source: derived.

    Examples
    --------
    >>> from spectra.complex_measure import normal_spectrum
    >>> circle = np.kron(np.eye(50), np.array([[0.0, -1.0], [1.0, 0.0]])) + 3.0 * np.eye(100)
    >>> fit = fit_disk(normal_spectrum(circle))
    >>> fit.center, fit.radius, fit.angular_distance  # two points at distance 1 from the mean
    (3.0, 1.41421356, 1.0)
    """
    matrices = hessenberg_matrices(measure)
    defect = float(measure.attrs["normality_defect"])
    if int(measure.attrs["is_normal"]) == 0:
        raise ArgumentError(
            f"a normal operator is required, but ||A A'v - A'A v|| is {defect:.2g} relative: its eigenvalues cannot be "
            "read from norms of products"
        )
    scale = max(float(np.max(np.abs(matrix))) for matrix in matrices) or 1.0
    matrices = [matrix / scale for matrix in matrices]
    # products of exhausted Krylov spaces are known to all orders
    num_moments = min([2 * _MOST_NODES - 1] + [matrix.shape[1] for matrix in matrices if matrix[-1, -1] != 0.0])
    centers = np.array([matrix[0, 0] for matrix in matrices])
    center = float(np.mean(centers))
    powers = [_powers(matrix, center, num_moments) for matrix in matrices]
    radial = np.array([[vector @ vector for vector in rows] for rows in powers])
    moments = np.mean(radial, axis=0)
    holomorphic = np.mean([[vector[0] for vector in rows] for rows in powers], axis=0)
    radius = math.sqrt(2.0 * moments[1])
    p = len(matrices)
    is_point = radius <= _POINT
    nodes, shares = (np.zeros(1), np.ones(1)) if is_point else _gauss_rule(moments)
    return DiskFit(
        center=scale * center,
        radius=scale * radius,
        center_stderr=_stderr(centers, scale) if p > 1 else None,
        radius_stderr=0.0 if is_point else _stderr(radial[:, 1], scale / radius) if p > 1 else None,
        radial_distance=0.0 if is_point else _radial_distance(nodes, shares, radius, num_moments),
        angular_distance=0.0 if is_point else _angular_distance(holomorphic, moments),
        squared_radii=scale**2 * nodes,
        shares=shares,
        num_moments=num_moments,
        largest_ritz_radius=float(np.nanmax(np.abs(measure["ritz_value"].values - scale * center))),
        normality_defect=defect,
    )


def _powers(matrix: np.ndarray, center: float, most: int) -> list[np.ndarray]:
    """Return the coordinates of ``(A - C)^k v``, k = 0, ..., most, in the Arnoldi basis."""
    k = matrix.shape[1]
    square = np.zeros((k + 1, k + 1))
    square[:, :k] = matrix
    vector = np.zeros(k + 1)
    vector[0] = 1.0
    rows = [vector]
    for _ in range(most):
        rows.append(square @ rows[-1] - center * rows[-1])
    return rows


def _gauss_rule(moments: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return nodes and weights of the Gauss rule with the given moments, as many as rounding allows."""
    import scipy.linalg

    scale = moments[-1] / moments[-2]
    scaled = moments / scale ** np.arange(len(moments))
    for num in range(len(moments) // 2, 0, -1):
        index = np.add.outer(np.arange(num), np.arange(num))
        hankel = scaled[index]
        values = np.linalg.eigvalsh(hankel)
        if values[0] > _RANK * values[-1]:
            break
    nodes, vectors = scipy.linalg.eigh(scaled[index + 1], hankel)
    return scale * nodes, (hankel[0] @ vectors) ** 2


def _radial_distance(nodes: np.ndarray, shares: np.ndarray, radius: float, num_moments: int) -> float:
    """Return the distance of a rule from the Gauss rule of the uniform law with as many moments."""
    from scipy.stats import wasserstein_distance

    if num_moments < 3:
        return float("nan")
    uniform, weights = np.polynomial.legendre.leggauss((num_moments + 1) // 2)
    return float(wasserstein_distance(nodes / radius**2, (uniform + 1) / 2, shares, weights))


def _angular_distance(holomorphic: np.ndarray, moments: np.ndarray) -> float:
    """Return the largest mean power of ``z - C`` relative to its bound by Cauchy and Schwarz."""
    orders = range(2, min(4, len(moments) - 1) + 1)
    found = [abs(holomorphic[k]) / math.sqrt(moments[k // 2] * moments[k - k // 2]) for k in orders]
    return float(max(found, default=float("nan")))


def _stderr(samples: np.ndarray, factor: float) -> float:
    """Return the standard error of the mean, in other units."""
    return float(factor * np.std(samples, ddof=1) / math.sqrt(len(samples)))
