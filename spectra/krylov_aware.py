"""The trace of f(A): exactly on a block Krylov space, by quadrature with random probes outside of it."""

import math
from dataclasses import dataclass

import numpy as np

from spectra.arrays import eps, inner_with_rows, to_host
from spectra.estimates import Estimate, Status
from spectra.lanczos import BREAKDOWN, lanczos
from spectra.operators import Operator
from spectra.orthogonal import orthonormalize, project_out
from spectra.products import Products
from spectra.protocols import Array, SupportsMatmul
from spectra.soundness import require_repeatable, require_symmetric
from spectra.spectral_values import SpectralFunction, rounding_of_sum, weighted_sum
from spectra.start_vectors import as_count, as_seed, start_vectors
from spectra.stochastic_trace import as_level, student
from spectra.tridiagonal import ritz

__all__ = ["BlockKrylov", "block_krylov", "krylov_aware_trace"]

_LARGEST_GAP = 0.05


@dataclass(frozen=True, eq=False, kw_only=True)
class BlockKrylov:
    """A block Krylov space, in units of the scaled operator.

    Attributes
    ----------
    basis : array, shape (D, n)
        Orthonormal rows Q, block after block.
    projection : ndarray, shape (D, D)
        ``Q A Q'``, block tridiagonal, on the host, float64.
    sizes : tuple of int
        Rows of each block: a block is smaller than the one before where the space is nearly exhausted.
    exhausted : bool
        Whether the space is invariant under A, up to rounding.
    """

    basis: Array
    projection: np.ndarray
    sizes: tuple[int, ...]
    exhausted: bool


def block_krylov(products: Products, start: Array, *, num_steps: int) -> BlockKrylov:
    """Build a basis of ``span(X, A X, ..., A^(num_steps - 1) X)``, and the projection of A on it.

    Block Lanczos with full orthogonalization, twice. Directions that are dependent up to rounding, 64 eps of the
    largest image, are dropped from a block.

    Parameters
    ----------
    products : Products
        Of the operator.
    start : array, shape (b, n)
        Rows; b <= n.
    num_steps : int
        Blocks, at least 1.

    Raises
    ------
    NonFiniteError
        If a product contains NaN or infinity.
    NotSymmetricError
        If ``u'(Av)`` and ``v'(Au)`` differ for rows of the first block.

    Notes
    -----
    Costs a product for each row of the basis. Source: Golub and Underwood (1977); the decision about dependent rows is
    that of `spectra.orthogonal.orthonormalize`.

    Examples
    --------
    >>> import numpy as np
    >>> space = block_krylov(Products(np.eye(5)), np.eye(5)[:2], num_steps=3)
    >>> space.sizes, space.exhausted
    ((2,), True)
    """
    xp, n, small = products.xp, products.operator.shape[0], eps(start)
    norm = float(xp.max(xp.linalg.vector_norm(start, axis=1)))
    rows = orthonormalize(start, threshold=BREAKDOWN * small * norm).rows
    basis, sizes = rows, [rows.shape[0]]
    columns: list[np.ndarray] = []
    norm, exhausted = 0.0, False
    for step in range(num_steps):
        images = xp.matrix_transpose(products.multiply(xp.matrix_transpose(rows)))
        if step == 0:
            require_symmetric(products, rows, images)
            require_repeatable(products, rows[0, :], images[0, :])
        norm = max(norm, float(xp.max(xp.linalg.vector_norm(images, axis=1))))
        if basis.shape[0] == n:
            columns.append(to_host(inner_with_rows(basis, xp.matrix_transpose(images))))
            exhausted = True
            break
        found = orthonormalize(images, basis, threshold=BREAKDOWN * small * norm)
        columns.append(found.overlap)
        rows = found.rows
        if rows.shape[0] == 0:
            exhausted = True
            break
        if step + 1 < num_steps:
            basis = xp.concat([basis, rows], axis=0)
            sizes.append(rows.shape[0])
    projection, first = np.zeros((basis.shape[0], basis.shape[0])), 0
    for column in columns:
        width = column.shape[1]
        projection[: column.shape[0], first : first + width] = column
        first += width
    # an overlap holds the blocks above the diagonal and on it; those below are their transposes
    block = np.repeat(np.arange(len(sizes)), sizes)
    above, on = block[:, None] < block[None, :], block[:, None] == block[None, :]
    upper = np.where(above, projection, 0.0)
    projection = upper + upper.T + np.where(on, 0.5 * (projection + projection.T), 0.0)
    return BlockKrylov(basis=basis, projection=projection, sizes=tuple(sizes), exhausted=exhausted)


def krylov_aware_trace(
    A: SupportsMatmul | Array,
    f: SpectralFunction,
    *,
    num_probes: int = 10,
    num_steps: int = 20,
    block_size: int = 2,
    num_deflation_steps: int = 30,
    rng: int | np.random.Generator = 0,
    level: float = 0.95,
) -> Estimate:
    """Estimate ``tr f(A)``: by block Lanczos on a Krylov space, by quadrature with random probes on its complement.

    With Q a basis of ``num_deflation_steps`` blocks, d vectors, and T the projection of A on ``num_steps`` blocks more,

    ``tr f(A) ~ tr [f(T)]_d + mean (n - d) g' f(A) g``,  g uniform on the unit sphere of the complement of Q,

    where ``g' f(A) g`` is Gauss quadrature of ``num_steps`` Lanczos steps.

    Parameters
    ----------
    A : Operator or anything `as_operator` accepts, shape (n, n)
        Real symmetric.
    f : callable
        Maps a float64 vector of Ritz values to real values of its shape.
    num_probes, num_steps : int
        Random probes of the complement, and Lanczos steps of each.
    block_size, num_deflation_steps : int
        Columns and blocks of the space that is treated without probes.
    rng : int or numpy.random.Generator
        Seed.
    level : float
        Nominal coverage, in (0, 1).

    Returns
    -------
    Estimate
        In the units of f. Student's t over the probes, plus Delta, what halving ``num_steps`` changes, plus rounding.
        ``"unresolved"`` if Delta exceeds 5% of ``tr abs(f)(A)``; ``"singular"`` if f is infinite at zero and there is a
        Ritz value within ``64 eps ||A||`` of it; ``"exact"`` if the space is all there is.

    Raises
    ------
    ArgumentError
        For a wrong call, or if f is not defined at a Ritz value.
    NotSymmetricError, NonDeterministicError, NonFiniteError
        As `spectra.slq`.

    Notes
    -----
    Costs at most ``block_size (num_deflation_steps + num_steps) + num_probes num_steps + 1`` products, 301 by default.
    Where the space is exhausted earlier it is invariant, and its part is exact; the probes see the rest. Pays where f
    is carried by eigenvalues that a Krylov space finds. The probes are scaled to norm ``sqrt(n - d)``: without that
    the part of f(A) proportional to the identity would dominate the error.

    Source: Chen and Hallman (2023), algorithm 3.1; scaling: Epperly, Tropp and Webber (2024).

    Examples
    --------
    >>> import numpy as np
    >>> values = np.r_[np.linspace(1.0, 2.0, 490), 10.0 * np.arange(1, 11)]
    >>> estimate = krylov_aware_trace(np.diag(values), np.log)
    >>> bool(estimate.low <= np.sum(np.log(values)) <= estimate.high), estimate.num_matvecs
    (True, 301)
    """
    counts = {"num_probes": num_probes, "num_steps": num_steps, "block_size": block_size}
    counts = {name: as_count(value, name=name) for name, value in counts.items()}
    depth = as_count(num_deflation_steps, name="num_deflation_steps")
    level, seed = as_level(level), as_seed(rng)
    products = Products(A)
    operator, xp = products.operator, products.xp
    n, b = operator.shape[0], min(counts["block_size"], operator.shape[0])
    start = xp.matrix_transpose(start_vectors(operator.like, num=b, rng=seed)) / math.sqrt(n)
    space = block_krylov(products, start, num_steps=depth + counts["num_steps"])
    d, half = sum(space.sizes[:depth]), sum(space.sizes[: depth + counts["num_steps"] // 2])
    nodes = [_Nodes.of_space(products, space.projection, d)]
    halves = [nodes[0] if space.exhausted else _Nodes.of_space(products, space.projection[:half, :half], d)]
    if d < n:
        probes = xp.matrix_transpose(start_vectors(operator.like, num=counts["num_probes"], rng=seed, first=b))
        for _ in range(2):
            probes, _overlap = project_out(probes, space.basis[:d, :])
        found = lanczos(_counted(products), xp.matrix_transpose(probes), num_steps=counts["num_steps"])
        for i, k in enumerate(found.num_steps):
            full = ritz(found.diagonal[i], found.off_diagonal[i], int(k))
            nodes.append(_Nodes(full.values, (n - d) * full.weights))
            if found.off_diagonal[i, k - 1] == 0.0:
                halves.append(nodes[-1])
            elif k > 1:
                part = ritz(found.diagonal[i], found.off_diagonal[i], int(k) // 2)
                halves.append(_Nodes(part.values, (n - d) * part.weights))
    return _estimate(f, nodes, halves, small=eps(operator.like), level=level, num_matvecs=products.num_matvecs)


@dataclass(frozen=True, eq=False)
class _Nodes:
    """Nodes and weights of a quadrature, in the units of A."""

    values: np.ndarray
    weights: np.ndarray

    @classmethod
    def of_space(cls, products: Products, projection: np.ndarray, d: int) -> "_Nodes":
        """Return the nodes of ``tr [f(T)]_d``."""
        values, vectors = np.linalg.eigh(projection)
        return cls(products.unscaled(values), np.sum(vectors[:d] ** 2, axis=0))

    def integral(self, f: SpectralFunction, band: float) -> float:
        """Return the integral of f."""
        return weighted_sum(f, self.values, self.weights, band=band)

    def variation(self, f: SpectralFunction, band: float) -> float:
        """Return how much the integral changes when nodes move by their rounding error."""
        return rounding_of_sum(f, self.values, self.weights, band=band)


def _counted(products: Products) -> Operator:
    """Return the operator such that its products are counted by ``products`` as well."""

    def matmat(block: Array) -> Array:
        products.num_matvecs += block.shape[1]
        return products.operator @ block

    return Operator(matmat, like=products.operator.like, name=products.operator.name)


def _estimate(
    f: SpectralFunction, nodes: list[_Nodes], halves: list[_Nodes], *, small: float, level: float, num_matvecs: int
) -> Estimate:
    """Return the sum of the first part and the mean of the others, with its error bar."""
    band = BREAKDOWN * small * max(float(np.max(np.abs(part.values))) for part in nodes)
    parts = np.array([part.integral(f, band) for part in nodes])
    p = len(parts) - 1
    value = float(parts[0] + (np.mean(parts[1:]) if p else 0.0))
    low = high = stderr = None
    status: Status = "resolved"
    covers = "nothing: no interval is given"
    if np.isinf(value):
        status = "singular"
    else:
        gap = np.inf
        if len(halves) == len(nodes):
            change = parts - np.array([part.integral(f, band) for part in halves])
            gap = abs(float(change[0] + (np.mean(change[1:]) if p else 0.0)))
        sizes = np.array([part.integral(lambda x: np.abs(f(x)), band) for part in nodes])
        size = float(sizes[0] + (np.mean(sizes[1:]) if p else 0.0))
        if p != 1:
            unit = float(np.max(np.abs(parts))) or 1.0  # squares of large values overflow
            stderr = unit * float(np.std(parts[1:] / unit, ddof=1) / np.sqrt(p)) if p else 0.0
        if not gap <= _LARGEST_GAP * size:
            status = "unresolved"
        else:
            status = "resolved" if p else "exact"
            if stderr is not None:
                moves = np.array([part.variation(f, band) for part in nodes])
                rounding = BREAKDOWN * small * size + float(moves[0] + (np.mean(moves[1:]) if p else 0.0))
                half_width = (student(level, p) * stderr if p else 0.0) + gap + rounding
                low, high = value - half_width, value + half_width
                covers = "random probes (Student t), unresolved quadrature (gap to half of the steps), and rounding"
    return Estimate(
        value=value,
        stderr=stderr,
        low=low,
        high=high,
        level=level,
        covers=covers,
        num_matvecs=num_matvecs,
        status=status,
    )
