"""The largest eigenvalues of a large Gram matrix: from columns where it decays fast, else from products with it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from spectra.arrays import as_array, eps, finite_number, is_array
from spectra.errors import ArgumentError
from spectra.frozen import Vector, frozen_array
from spectra.kernels.low_rank import LowRank
from spectra.kernels.operator import kernel_operator
from spectra.kernels.rp_cholesky import rp_cholesky
from spectra.lanczos import BREAKDOWN
from spectra.operators import Operator, as_operator
from spectra.products import Products
from spectra.protocols import Array, SupportsMatmul
from spectra.residuals import Certified, error_bounds
from spectra.start_vectors import as_count, as_seed, start_vectors, unit_rows
from spectra.thick_restart import ThickRestart, at_ends

__all__ = ["TopEigenvalues", "top_eigenvalues", "top_eigenvalues_of_operator"]

#: Columns for each wanted eigenvalue (measured, n = 2500: 10 eigenvalues of an RBF kernel to 1e-7 from 300 columns).
COLUMNS_EACH = 4
#: Fewest columns that are tried: their cost is small beside that of a single product.
FEWEST_COLUMNS = 200
#: Columns are enough where the residual trace is at most this share of the trace (1e-8 of theirs: measured, n = 2500).
ENOUGH = 1e-8
#: Columns of a block: 32 cost 1.5 to 2.2 times as much as one, for kernels are evaluated anew in each product
#: (scripts/benchmarks/kernel_operator.py, n = 20000, d = 10).
WIDTH = 32
#: Blocks: 8 of 32 gave the 10 largest to 3e-15 and the 50 largest to 2e-7 for a Laplace kernel (measured, n = 2500).
DEPTH = 8
#: Norm of the random part that is mixed into unit start vectors, so that nothing is out of reach.
RANDOM = 0.1
#: Error bounds above this share of the largest eigenvalue are not settled.
SETTLED = 1e-3


@dataclass(frozen=True, kw_only=True, eq=False)
class TopEigenvalues:
    """The largest eigenvalues of a Gram matrix, each with the size of its error.

    Attributes
    ----------
    eigenvalue : ndarray, shape (k,)
        Descending, not divided by n.
    error_bound : ndarray, shape (k,)
        From columns: the residual trace, which no eigenvalue can be too small by. From products: of the distance to
        an eigenvalue, squared residual over gap where the gap is known, else the residual; plus rounding.
    residual : ndarray, shape (k,)
        ``||K v - w v||``; from columns its bound, the residual trace.
    eigenvector : array, shape (n, k)
        Orthonormal, in the library of the data.
    method : {"columns", "products"}
        Randomly pivoted Cholesky, or block Lanczos.
    num_columns, num_products, num_blocks : int
        Cost: columns of K, products with a vector, and blocks of these.
    is_trustworthy : bool
        Whether every error bound is at most 1e-3 of the largest eigenvalue.
    why : str
        A sentence.
    """

    eigenvalue: Vector
    error_bound: Vector
    residual: Vector
    eigenvector: Array
    method: Literal["columns", "products"]
    num_columns: int
    num_products: int
    num_blocks: int
    is_trustworthy: bool
    why: str

    def __post_init__(self) -> None:
        for name in ("eigenvalue", "error_bound", "residual"):
            object.__setattr__(self, name, frozen_array(getattr(self, name), name=name))


def top_eigenvalues(
    kernel: Callable[..., Array],
    X: Any,
    *,
    num: int,
    num_columns: int | None = None,
    tolerance: float = ENOUGH,
    depth: int = DEPTH,
    rng: int | np.random.Generator = 0,
) -> TopEigenvalues:
    """Find the largest eigenvalues of the Gram matrix of a kernel, without forming it.

    Randomly pivoted Cholesky first. If what it leaves is more than ``tolerance`` of the trace, block Lanczos starts
    from the eigenvectors that it found.

    Parameters
    ----------
    kernel, X
        As for :func:`spectra.kernels.rp_cholesky`.
    num : int
        Eigenvalues wanted; no more than n are returned.
    num_columns : int, optional
        Columns of K to try; by default four for each eigenvalue, and at least 200.
    tolerance : float
        Share of the trace.
    depth : int
        Blocks of products at most.
    rng : int or numpy.random.Generator
        Seed.

    Returns
    -------
    TopEigenvalues

    Raises
    ------
    ArgumentError, ShapeError, NonFiniteError, NotSymmetricError
        See :func:`spectra.kernels.rp_cholesky`.

    Notes
    -----
    A column costs n entries of K, a block of products about n^2/2. Source: see :func:`spectra.kernels.rp_cholesky`;
    Golub and Underwood (1977). Which is taken when: measured, see the constants.

    Examples
    --------
    >>> X = np.linspace(0.0, 1.0, 100)[:, None]
    >>> found = top_eigenvalues(lambda X, Y: np.exp(-((X - Y.T) ** 2)), X, num=3)
    >>> found.method, found.eigenvalue.round(3).tolist()
    ('columns', [86.263, 12.811, 0.886])
    """
    wanted, seed = as_count(num, name="num"), as_seed(rng)
    most = max(COLUMNS_EACH * wanted, FEWEST_COLUMNS) if num_columns is None else num_columns
    found = rp_cholesky(kernel, X, num_columns=most, tolerance=tolerance, rng=seed)
    if found.residual_trace <= max(tolerance, BREAKDOWN * found.eps) * found.trace and found.is_trustworthy:
        return _of_columns(found, wanted)
    operator = kernel_operator(kernel, X if is_array(X) or hasattr(X, "dtype") else as_array(X, name="X"))
    width = min(max(WIDTH, wanted), found.num_columns)
    start = Products(operator).xp.astype(found.eigenvector[:, :width], operator.dtype)
    result = top_eigenvalues_of_operator(operator, num=wanted, start=start, depth=depth, rng=seed)
    return replace(result, num_columns=found.num_columns)


def top_eigenvalues_of_operator(
    operator: SupportsMatmul | Array,
    *,
    num: int,
    start: Array | None = None,
    depth: int = DEPTH,
    tolerance: float = 1e-10,
    rng: int | np.random.Generator = 0,
) -> TopEigenvalues:
    """Find the largest eigenvalues of an operator by block Lanczos with wide blocks.

    Parameters
    ----------
    operator : Operator or anything `spectra.as_operator` accepts, shape (n, n)
        Real symmetric, positive semidefinite.
    num : int
        Eigenvalues wanted.
    start : array, shape (n, b), optional
        Vectors to start from, such as approximate eigenvectors; 10 % of random vectors are mixed in. By default
        random, 32 or as many as eigenvalues.
    depth : int
        Blocks at most.
    tolerance : float
        Stop earlier where all residuals are at most this share of the largest eigenvalue.
    rng : int or numpy.random.Generator
        Seed.

    Returns
    -------
    TopEigenvalues

    Raises
    ------
    ArgumentError, ShapeError, BackendError, NotSymmetricError, NonFiniteError
        For a wrong call or operator.

    Notes
    -----
    ``b depth`` products in ``depth`` blocks. Eigenvalues of K restricted to a space: none is too large, beyond
    rounding.

    Examples
    --------
    >>> found = top_eigenvalues_of_operator(np.diag(1.0 / np.arange(1.0, 401.0) ** 2), num=2)
    >>> found.eigenvalue.round(9).tolist(), found.method, found.is_trustworthy
    ([1.0, 0.25], 'products', True)
    """
    A = as_operator(operator)
    wanted, blocks = min(as_count(num, name="num"), A.shape[0]), as_count(depth, name="depth")
    tolerance = finite_number(tolerance, name="tolerance")
    if not 0 <= tolerance < 1:
        raise ArgumentError(f"tolerance must be at least 0 and below 1; got {tolerance!r}")
    products = Products(A)
    rows = _start(A, start, wanted, as_seed(rng))
    room = min(A.shape[0], (blocks + 1) * rows.shape[0])
    search = ThickRestart(products, rows, max_rows=max(room, min(A.shape[0], wanted + 2 * rows.shape[0])))
    search.run(num=wanted, which="largest", tolerance=tolerance, max_steps=blocks)
    pairs = search.ritz()
    chosen = [i for _, i in at_ends(pairs.values, wanted, "largest")]
    index = sorted(chosen)
    seen = Certified(values=pairs.values[index], residuals=pairs.residuals[index], vectors=None)
    rounding = BREAKDOWN * eps(A.like) * search.norm
    bounds = error_bounds(seen, pairs, index, tolerance=eps(A.like) * search.norm) + rounding
    settled = bool(np.all(bounds <= SETTLED * search.norm))
    vectors = search.basis.combine(pairs.coefficients[:, chosen])
    return TopEigenvalues(
        eigenvalue=products.unscaled(pairs.values[chosen]),
        error_bound=products.unscaled(bounds[::-1]),
        residual=products.unscaled(pairs.residuals[chosen]),
        eigenvector=products.xp.matrix_transpose(vectors),
        method="products",
        num_columns=0,
        num_products=products.num_matvecs,
        num_blocks=search.num_steps,
        is_trustworthy=settled,
        why=f"the largest error bound is {np.max(bounds) / (search.norm or 1.0):.1g} of the largest eigenvalue after "
        f"{search.num_steps} blocks" + ("" if settled else "; take more with depth="),
    )


def _start(A: Operator, start: Array | None, wanted: int, seed: int) -> Array:
    """Return unit rows to start from."""
    xp, n = Products(A).xp, A.shape[0]
    width = min(n, max(WIDTH, wanted))
    if start is None:
        return unit_rows(start_vectors(A.like, num=width, rng=seed), A)[0]
    given, _ = unit_rows(start, A)
    random, _ = unit_rows(start_vectors(A.like, num=given.shape[0], rng=seed), A)
    mixed = given + RANDOM * random
    if given.shape[0] < width:
        more = start_vectors(A.like, num=width - given.shape[0], rng=seed, first=given.shape[0])
        mixed = xp.concat([mixed, unit_rows(more, A)[0]], axis=0)
    return unit_rows(xp.matrix_transpose(mixed), A)[0]


def _of_columns(found: LowRank, wanted: int) -> TopEigenvalues:
    """Return the eigenvalues of a low-rank approximation that is accurate enough."""
    values = found.eigenvalue[:wanted]
    bound = found.residual_trace + BREAKDOWN * found.eps * float(values[0])
    settled = bound <= SETTLED * float(values[0])
    return TopEigenvalues(
        eigenvalue=values,
        error_bound=np.full(values.size, bound),
        residual=np.full(values.size, bound),
        eigenvector=found.eigenvector[:, : values.size],
        method="columns",
        num_columns=found.num_columns,
        num_products=0,
        num_blocks=0,
        is_trustworthy=settled,
        why=f"{found.num_columns} columns leave {found.residual_trace / found.trace:.1g} of the trace",
    )
