r"""Effective dimensions of a large Gram matrix from products with it: traces of its resolvent, for many ridges at once.

The leading eigenvectors are taken out, random probes see the rest, and Lanczos gives for every probe the measure

.. math:: g'f(K)g = \int f \, d\mu_g, \qquad f(w) = \frac{\delta}{w + \delta} \text{ or its square},

between the bounds of Gauss and of Gauss-Radau quadrature. One run serves all ridges.
"""

from typing import TYPE_CHECKING, final

import numpy as np
import numpy.typing as npt

from spectra.arrays import eps
from spectra.errors import ArgumentError, ShapeError
from spectra.frozen import Vector, frozen_array
from spectra.gauss_radau import gauss_radau
from spectra.kernels.control_variate import ControlVariate, helpful
from spectra.kernels.dimension_table import dimension_table
from spectra.kernels.low_rank import LowRank
from spectra.kernels.top_eigenvalues import WIDTH, top_eigenvalues_of_operator
from spectra.lanczos import Iteration
from spectra.operators import Operator, as_operator
from spectra.orthogonal import project_out
from spectra.products import Products
from spectra.protocols import Array, SupportsMatmul
from spectra.start_vectors import as_count, as_seed, start_vectors
from spectra.stochastic_trace import as_level
from spectra.tridiagonal import Ritz

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Complement", "checked_ridges", "resolvent_traces", "settled"]

#: Eigenvectors taken out: they cut the rms error of df1 from 4.1 to 1.3 % (Laplace) and from 8.5 to 1.1 % (RBF) at a
#: ridge of 0.01 n (measured, n = 1500, 8 probes).
DEFLATED = 30
#: Blocks of 32 products spent on them (measured, n = 1500).
DEPTH = 4
#: Probes: as one block 32 cost 1.5 to 2.2 times as much as one (scripts/benchmarks/kernel_operator.py, n = 20000).
PROBES = 32
#: Lanczos steps of the probes (measured, n = 1500, after deflation).
STEPS = 30
#: A Ritz vector is taken out if its residual is at most this share of eigenvalue plus ridge: the error is its square.
LEAK = 0.1

#: Steps between looks at the bounds (design choice).
STRIDE = 5
#: No further steps where the bounds differ by at most this share of the standard error (design choice).
SHARE = 0.2
#: ... or this share of what was fitted.
FINE = 1e-3


def resolvent_traces(
    operator: SupportsMatmul | Array,
    ridges: npt.ArrayLike,
    *,
    num_deflated: int = DEFLATED,
    num_probes: int = PROBES,
    num_steps: int = STEPS,
    depth: int = DEPTH,
    start: Array | None = None,
    approximation: LowRank | None = None,
    rng: int | np.random.Generator = 0,
    level: float = 0.95,
) -> "xr.Dataset":
    r"""Estimate the signal capture threshold, effective dimensions and overfitting coefficient of a Gram matrix.

    Parameters
    ----------
    operator : Operator or anything `spectra.as_operator` accepts, shape (n, n)
        K, real, symmetric, positive semidefinite.
    ridges : float or array_like, shape (m,)
        :math:`\delta`, not divided by n, at least 0.
    num_deflated : int
        Leading eigenvectors to take out, at most; those that have not settled stay with the probes. May be 0.
    num_probes, num_steps : int
        Random probes, at least 2, and Lanczos steps at most; one block of products for each step.
    depth : int
        Blocks of products spent on the leading eigenvectors.
    start : array, shape (n, b), optional
        Approximate eigenvectors, to save blocks; by default those of the approximation.
    approximation : LowRank, optional
        From :func:`spectra.kernels.rp_cholesky`: a control variate, which is used where it halves the variance.
    rng : int or numpy.random.Generator
        Seed.
    level : float
        Nominal coverage of each interval.

    Returns
    -------
    xarray.Dataset
        As :func:`spectra.kernels.dimension_table.dimension_table` describes it. Attributes: ``method``
        (``"products"``), ``num_deflated``, ``num_probes``, ``num_steps``, ``num_products``, ``num_blocks``,
        ``largest_eigenvalue``, ``seed``.

    Raises
    ------
    ArgumentError
        For a wrong call, or a negative ridge.
    ShapeError, BackendError, NotSymmetricError, NonFiniteError
        If the operator is none that can be used.

    Notes
    -----
    At most ``depth + num_steps`` blocks: no further steps where they would not tell more than the probes do. Ridges
    below :math:`\sqrt{n}\, \epsilon w_1` are raised to it: at that ridge float32
    and float64 agree to 4e-6 in df1 (measured, n = 2000, RBF and Laplace).

    Intervals: Student's t over the probes (jackknife), beyond the bounds of quadrature, beyond the error of the vectors
    taken out, and beyond what rounding by :math:`\epsilon w_1` makes of their eigenvalues. For a unit vector v with
    Rayleigh quotient :math:`\theta` and residual r

    .. math:: 0 \le v'(K + \delta)^{-1}v - \frac{1}{\theta + \delta} \le \frac{\|r\|^2}{\delta (\theta + \delta)^2},

    and three times that, over :math:`\delta`, for the square (derived here).

    Source: Ubaru, Chen and Saad (2017) for the quadrature; Golub and Meurant (2010), chapter 6, for its bounds;
    deflation and figures measured.

    Examples
    --------
    >>> w = 1.0 / np.arange(1.0, 501.0) ** 1.5
    >>> table = resolvent_traces(np.diag(w), [1e-3, 1e-2])
    >>> exact = [np.sum(w / (w + d)) for d in (1e-3, 1e-2)]
    >>> bool(np.all((table["df1_low"] <= exact) & (exact <= table["df1_high"]))), table.attrs["num_blocks"] <= 34
    (True, True)
    """
    A, delta, nominal = as_operator(operator), checked_ridges(ridges), as_level(level)
    most = as_count(num_deflated, name="num_deflated", least=0)
    probes, steps, seed = (
        as_count(num_probes, name="num_probes", least=2),
        as_count(num_steps, name="num_steps"),
        as_seed(rng),
    )
    n = A.shape[0]
    if approximation is not None:
        if approximation.num_samples != n:
            raise ShapeError(f"the approximation is of {approximation.num_samples} samples, the operator of order {n}")
        if start is None and approximation.num_columns > 0:
            width = min(WIDTH, approximation.num_columns)
            start = Products(A).xp.astype(approximation.eigenvector[:, :width], A.dtype)
    # a space of that many vectors is the whole space: nothing is left for probes
    wanted = n if most > 0 and n <= WIDTH * depth else max(most, 1)
    top = top_eigenvalues_of_operator(A, num=wanted, start=start, depth=depth, rng=seed)
    largest = float(top.eigenvalue[0])
    if not largest > 0:
        raise ArgumentError(f"a Gram matrix needs a positive eigenvalue; the largest found is {largest:.6g}")
    ridge = np.maximum(delta, np.sqrt(n) * eps(A.like) * largest)
    keep = np.flatnonzero(top.residual <= LEAK * (top.eigenvalue + np.min(ridge)))[: n if wanted == n else most]
    values, residuals = top.eigenvalue[keep][:, None], top.residual[keep][:, None]
    left = ridge / (np.maximum(values, 0.0) + ridge)
    leak = np.sum((residuals / (values + ridge)) ** 2, axis=0)
    known = np.stack([np.sum(left, axis=0), np.sum(left**2, axis=0)])[:, :, None]
    error = np.stack([leak, 3.0 * leak])[:, :, None]
    # What rounding of the eigenvalues, eps w_1, amounts to: only near the smallest ridges.
    rounded = eps(A.like) * largest / ridge * known[1, :, 0]
    slack = np.stack([rounded, 2.0 * rounded])[:, :, None]
    smallest = ridge / (largest + ridge)
    least = keep.size * np.stack([smallest, smallest**2])[:, :, None]
    low, high, blocks, used = np.maximum(known - slack, least), known + error + slack, top.num_blocks, 0
    if keep.size < n:
        basis = Products(A).xp.take(top.eigenvector, Products(A).xp.asarray(keep), axis=1) if keep.size else None
        rest = Complement(A, basis, num_probes=probes, max_steps=steps, seed=seed)
        control = None if approximation is None else ControlVariate(approximation, basis, rest.probes)
        deviation = 0.0 if control is None else control.deviation(ridge)
        below, above = _corrected(*rest.bounds(ridge, scale=largest), deviation)
        while rest.num_steps < steps and not rest.exhausted and not settled(below, above, rest.dimension):
            rest.advance(STRIDE)
            below, above = _corrected(*rest.bounds(ridge, scale=largest), deviation)
        low, high, blocks, used = low + below, high + above, blocks + rest.num_steps, probes
    return dimension_table(
        requested=delta,
        ridge=ridge,
        low=low,
        high=high,
        num_samples=n,
        level=nominal,
        method="products",
        num_deflated=int(keep.size),
        num_probes=used,
        num_steps=rest.num_steps if used else 0,
        num_products=top.num_products + (rest.num_products if used else 0),
        num_blocks=blocks,
        largest_eigenvalue=largest,
        seed=seed,
    )


@final
class Complement:
    """Measures of random probes in the complement of some orthonormal vectors, by Lanczos with all of them at once.

    Parameters
    ----------
    A : Operator
    basis : array, shape (n, d), or None
        Orthonormal columns.
    num_probes, max_steps : int
        Probes, uniform on the unit sphere of the complement; steps at most.
    seed : int
        Of the probes.
    """

    def __init__(self, A: Operator, basis: Array | None, *, num_probes: int, max_steps: int, seed: int) -> None:
        xp, n = Products(A).xp, A.shape[0]
        # the first columns of this seed started the search for the leading vectors
        drawn = start_vectors(A.like, num=num_probes, rng=seed, first=n)
        if basis is not None:
            rows, against = xp.matrix_transpose(drawn), xp.matrix_transpose(basis)
            for _ in range(2):
                rows, _overlap = project_out(rows, against)
            drawn = xp.matrix_transpose(rows)
        self.dimension = n - (0 if basis is None else int(basis.shape[1]))
        self._max_steps, self._num_probes = max_steps, num_probes
        self._iteration = Iteration(A, drawn, store=min(max_steps, n))
        self.advance(STRIDE)

    @property
    def probes(self) -> Array:
        """Unit rows, shape (p, n)."""
        return self._iteration.first_vectors(self._num_probes)

    @property
    def num_steps(self) -> int:
        """Blocks of products."""
        return self._iteration.num_done

    @property
    def num_products(self) -> int:
        """Products."""
        return self._iteration.num_matvecs

    @property
    def exhausted(self) -> bool:
        """Whether the measures are exact."""
        return self._iteration.exhausted

    def advance(self, num_steps: int) -> None:
        """Do further steps."""
        self._iteration.advance(min(num_steps, self._max_steps - self.num_steps))

    def bounds(self, ridge: Vector, *, scale: float) -> tuple[np.ndarray, np.ndarray]:
        """Return bounds of S_1 and S_2 on the complement, each of shape (2, m, p), for operators of norm ``scale``."""
        T = self._iteration.tridiagonal()
        low, high = [], []
        for i, k in enumerate(T.num_steps):
            gauss = T.ritz(i)
            node = min(0.0, float(gauss.values[0]) - np.finfo(float).eps * scale)
            radau = gauss_radau(T.diagonal[i, :k], T.off_diagonal[i, :k], node=node)
            low.append(self._sums(gauss, ridge))
            high.append(self._sums(radau, ridge))
        return np.stack(low, axis=2), np.stack(high, axis=2)

    def _sums(self, nodes: Ritz, ridge: Vector) -> np.ndarray:
        """Return S_1 and S_2 by one quadrature, shape (2, m)."""
        left = ridge / (np.maximum(nodes.values, 0.0)[:, None] + ridge)
        return self.dimension * np.stack([nodes.weights @ left, nodes.weights @ left**2])


def settled(low: np.ndarray, high: np.ndarray, dimension: int) -> bool:
    """Whether the bounds of all sums differ by little of their standard errors over the probes, or of what was fitted.

    Examples
    --------
    >>> settled(np.zeros((2, 1, 2)), np.zeros((2, 1, 2)), 9), settled(np.zeros((2, 1, 2)), np.ones((2, 1, 2)), 9)
    (True, False)
    """
    middle = 0.5 * (low + high)
    stderr = np.std(middle, axis=2, ddof=1) / np.sqrt(low.shape[2])
    fitted = dimension - np.mean(middle, axis=2)
    return bool(np.all(np.mean(high - low, axis=2) <= np.maximum(SHARE * stderr, FINE * fitted)))


def _corrected(low: np.ndarray, high: np.ndarray, deviation: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
    """Subtract the control variate where it helps."""
    if isinstance(deviation, float):
        return low, high
    less = helpful(0.5 * (low + high), deviation)
    return low - less, high - less


def checked_ridges(ridges: npt.ArrayLike) -> Vector:
    """Return ridges of shape (m,), finite and at least 0.

    Raises
    ------
    ArgumentError
        If there is none, or one is negative.
    NonFiniteError
        If one is NaN or infinite.

    Examples
    --------
    >>> checked_ridges(1.0).tolist()
    [1.0]
    """
    found = np.atleast_1d(frozen_array(ridges, name="ridges"))
    if found.ndim != 1 or found.size == 0 or float(np.min(found)) < 0:
        raise ArgumentError(f"ridges of at least 0, one or a vector of them, are required; got {ridges!r}")
    return found
