"""Eigenpairs at the ends of the spectrum, each with its residual."""

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from spectra.arrays import dtype_name, namespace, to_host
from spectra.errors import ArgumentError, NonDeterministicError
from spectra.lanczos import BREAKDOWN, Iteration
from spectra.operators import Operator, as_operator
from spectra.protocols import Array, Progress, SupportsMatmul
from spectra.start_vectors import as_count, as_seed, start_vectors
from spectra.tridiagonal import Tridiagonal, tridiagonal_eigh

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["EIGENPAIRS_SCHEMA", "EIGENPAIRS_SCHEMA_VERSION", "eigenpairs"]

EIGENPAIRS_SCHEMA = "spectra/eigenpairs"
EIGENPAIRS_SCHEMA_VERSION = 1

_ENDS = {"largest": ("largest",), "smallest": ("smallest",), "both": ("largest", "smallest")}
_LOOK_EVERY = 4
_STORE = 32
_RANK = 1e-3


def eigenpairs(
    A: SupportsMatmul | Array,
    *,
    num: int = 1,
    which: Literal["largest", "smallest", "both"] = "largest",
    start: Array | None = None,
    num_starts: int = 1,
    tolerance: float = 1e-6,
    max_steps: int | None = None,
    rng: int | np.random.Generator = 0,
    keep_vectors: bool = True,
    progress: Progress | None = None,
) -> "xr.Dataset":
    """Find the largest or smallest eigenvalues (algebraically) of a symmetric operator, with eigenvectors.

    Lanczos with full reorthogonalization until ``r_k = b |S_mk| <= tolerance ||A||`` for every wanted pair, then one
    Rayleigh-Ritz step on the Ritz vectors of all start vectors, which also yields the residuals
    ``||A y - theta y||``, ``||y|| = 1``, from fresh products.

    Parameters
    ----------
    A : Operator or anything `as_operator` accepts, shape (n, n)
        Real symmetric.
    num : int
        Pairs wanted at each end.
    which : {"largest", "smallest", "both"}
        The end, or both ends.
    start : array, shape (n,) or (n, p), optional
        Start vectors, in place of random ones. Eigenvectors orthogonal to all of them are not found.
    num_starts : int
        Number of random start vectors. One start vector sees a multiple eigenvalue once; p see it up to p times.
    tolerance : float
        Relative to ``||A||``; values below 64 eps of the dtype, which cannot be reached, are raised to that.
    max_steps : int, optional
        Steps at most; by default ``min(n, 200)``.
    rng : int or numpy.random.Generator
        Seed of the start vectors.
    keep_vectors : bool
        Whether to bring the eigenvectors to the host.
    progress : callable, optional
        Called with ``(steps done, max_steps)`` after each step.

    Returns
    -------
    xarray.Dataset
        Dimension ``pair``, the largest first in descending order, then the smallest in ascending order; NumPy float64
        on the host. Variables ``eigenvalue``, ``residual``, ``converged`` (residual within the tolerance), ``end`` and,
        if kept, ``eigenvector (pair, coordinate)`` of norm 1, its entry of largest modulus positive. Along ``start``:
        ``start_largest`` and ``start_smallest``, the outermost Ritz values that each start vector found alone; they lie
        inside the spectrum, and their disagreement shows how settled the ends are (it is no error bar).

        At the step limit the best estimates are returned, with ``converged`` False. There are fewer pairs than asked
        for where n, or the Krylov space, is smaller; with ``"both"`` a pair may then be listed at both ends.

        Attributes: ``schema``, ``schema_version``, ``dimension``, ``operator``, ``num_matvecs``, ``num_steps``,
        ``seed`` (-1 for given start vectors), ``tolerance``, ``operator_norm`` (largest modulus of a
        Ritz value, a lower bound of ``||A||``), ``dtype``, and the provenance.

    Raises
    ------
    NotSymmetricError
        If ``u'(Av)`` and ``v'(Au)`` differ by more than sqrt(eps) relative.
    NonDeterministicError
        If the residuals from fresh products contradict those of the recurrence.
    NonFiniteError
        If a product contains NaN or infinity.
    ArgumentError, ShapeError, BackendError
        For a wrong call, before any product.

    Notes
    -----
    Costs ``p num_steps`` products and one for each Ritz vector of the final step (p for each pair). Holds the basis,
    ``p num_steps n`` numbers, and as much as one of its 32-row blocks, on the device of the operator.

    The residual certifies that *an* eigenvalue lies within it of ``eigenvalue``, not that none lies beyond. What is
    certain, up to rounding, is that the largest eigenvalue is no smaller than the largest found.

    Source: Paige (1972); Parlett (1998).

    Examples
    --------
    >>> import numpy as np
    >>> pairs = eigenpairs(np.diag(np.arange(1.0, 101.0) ** 2), which="both")
    >>> pairs["eigenvalue"].values.round(6).tolist(), pairs["converged"].values.tolist()
    ([10000.0, 1.0], [True, True])
    """
    operator = as_operator(A)
    n = operator.shape[0]
    num = as_count(num, name="num")
    if which not in _ENDS:
        raise ArgumentError(f"which must be one of {', '.join(map(repr, _ENDS))}; got {which!r}")
    if not (np.isfinite(tolerance) and tolerance > 0):
        raise ArgumentError(f"tolerance must be positive and finite, got {tolerance!r}")
    limit = min(n, 200 if max_steps is None else as_count(max_steps, name="max_steps"))
    seed = -1
    if start is None:
        seed = as_seed(rng)
        start = start_vectors(operator.like, num=as_count(num_starts, name="num_starts"), rng=seed)
    iteration = Iteration(operator, start, store=min(_STORE, limit))
    eps = float(np.finfo(dtype_name(operator.dtype)).eps)
    tolerance = max(float(tolerance), BREAKDOWN * eps)
    iteration.symmetry_defect()
    selected = _iterate(iteration, num=num, which=which, tolerance=tolerance, limit=limit, progress=progress)
    norm, values, residuals, vectors = _rayleigh_ritz(iteration, selected, eps=eps)
    chosen = [(end, k) for end in _ENDS[which] for k in _at_end(len(values), num, end)]
    index = [k for _, k in chosen]
    content: dict[str, Any] = {
        "eigenvalue": ("pair", values[index]),
        "residual": ("pair", residuals[index], {"long_name": "norm of A y - eigenvalue y"}),
        "converged": ("pair", residuals[index] <= tolerance * norm),
        "end": ("pair", np.array([end for end, _ in chosen])),
        "start_largest": ("start", np.array([s.largest for s in selected])),
        "start_smallest": ("start", np.array([s.smallest for s in selected])),
    }
    if keep_vectors:
        content["eigenvector"] = (("pair", "coordinate"), _oriented(to_host(vectors).T[index]))
    import xarray as xr

    from spectra.provenance import provenance

    attrs = {
        "schema": EIGENPAIRS_SCHEMA,
        "schema_version": EIGENPAIRS_SCHEMA_VERSION,
        "dimension": n,
        "operator": operator.name,
        "num_matvecs": iteration.num_matvecs,
        "num_steps": iteration.num_done,
        "seed": seed,
        "tolerance": tolerance,
        "operator_norm": norm,
        "dtype": dtype_name(operator.dtype),
    }
    return xr.Dataset(content, attrs=provenance(**attrs))


def _at_end(count: int, num: int, end: str) -> list[int]:
    """Return the positions of the wanted pairs among ``count`` ascending ones, the outermost first."""
    ascending = list(range(count))
    return ascending[::-1][:num] if end == "largest" else ascending[:num]


class _Selection:
    """Ritz pairs of one start vector at the wanted ends."""

    def __init__(self, tridiagonal: Tridiagonal, probe: int, *, num: int, which: str) -> None:
        k = int(tridiagonal.num_steps[probe])
        off_diagonal = tridiagonal.off_diagonal[probe]
        values, vectors = tridiagonal_eigh(tridiagonal.diagonal[probe, :k], off_diagonal)
        keep = sorted({index for end in _ENDS[which] for index in _at_end(k, num, end)})
        self.norm = float(np.max(np.abs(values)))
        self.largest, self.smallest = float(values[-1]), float(values[0])
        self.values, self.coefficients = values[keep], vectors[:, keep]
        self.residuals = off_diagonal[k - 1] * np.abs(vectors[-1, keep])
        self.is_complete = off_diagonal[k - 1] == 0.0 or k >= num


def _iterate(
    iteration: Iteration, *, num: int, which: str, tolerance: float, limit: int, progress: Progress | None
) -> list[_Selection]:
    """Advance until every wanted pair of every start vector has converged, or the limit is reached."""
    while True:
        if iteration.num_done < limit:
            step = min(_LOOK_EVERY, limit - iteration.num_done)
            iteration.advance(step, progress=progress, total=limit)
        found = iteration.tridiagonal()
        selected = [_Selection(found, i, num=num, which=which) for i in range(len(found.num_steps))]
        norm = max(s.norm for s in selected)
        done = all(s.is_complete and np.all(s.residuals <= tolerance * norm) for s in selected)
        if done or iteration.exhausted or iteration.num_done >= limit:
            return selected


def _rayleigh_ritz(
    iteration: Iteration, selected: list[_Selection], *, eps: float
) -> tuple[float, np.ndarray, np.ndarray, Array]:
    """Return norm, ascending values, residuals and vectors (n, k) of A on the span of the selected Ritz vectors."""
    operator = iteration.operator
    xp = namespace(operator.like)
    y = xp.concat([iteration.combine(i, s.coefficients) for i, s in enumerate(selected)], axis=1)
    norm = max(s.norm for s in selected)
    image = iteration.products.multiply_unchecked(y)
    _require_consistent(operator, iteration, selected, y, image, norm=norm, eps=eps)
    for _ in range(2):
        sizes, rotation = np.linalg.eigh(to_host(xp.matmul(xp.matrix_transpose(y), y)))
        keep = sizes > _RANK**2 * sizes[-1]
        whiten = iteration.products.on_device(rotation[:, keep] / np.sqrt(sizes[keep]))
        y, image = xp.matmul(y, whiten), xp.matmul(image, whiten)
    projected = to_host(xp.matmul(xp.matrix_transpose(y), image))
    values, rotation = np.linalg.eigh(0.5 * (projected + projected.T))
    rotation = iteration.products.on_device(rotation)
    y, image = xp.matmul(y, rotation), xp.matmul(image, rotation)
    theta = iteration.products.on_device(values[None, :])
    residuals = to_host(xp.linalg.vector_norm(image - theta * y, axis=0))
    return norm, iteration.products.unscaled(values), iteration.products.unscaled(residuals), y


def _require_consistent(
    operator: Operator,
    iteration: Iteration,
    selected: list[_Selection],
    y: Array,
    image: Array,
    *,
    norm: float,
    eps: float,
) -> None:
    """Raise if fresh products do not give the residuals which the recurrence predicts."""
    xp = namespace(y)
    theta = iteration.products.on_device(
        iteration.products.scaled(np.concatenate([s.values for s in selected]))[None, :]
    )
    fresh = iteration.products.unscaled(to_host(xp.linalg.vector_norm(image - theta * y, axis=0)))
    predicted = np.concatenate([s.residuals for s in selected])
    difference = float(np.max(np.abs(fresh - predicted)))
    if not difference <= np.sqrt(eps) * norm:
        raise NonDeterministicError(
            f"{operator.name!r} must give the same product each time, but residuals from fresh products differ from "
            f"those of the Lanczos recurrence by {difference / norm if norm > 0 else np.inf:.2g} of its norm"
        )


def _oriented(rows: np.ndarray) -> np.ndarray:
    """Return rows whose entry of largest modulus is positive."""
    pivot = np.take_along_axis(rows, np.argmax(np.abs(rows), axis=1)[:, None], axis=1)
    return np.where(pivot < 0, -rows, rows)
