r"""The algorithm behind randomly pivoted Cholesky: pivots by rejection, and what guards the factor against rounding."""

from collections.abc import Callable

import numpy as np
from array_api_compat import device
from scipy.linalg import solve_triangular

from spectra.arrays import finite_number, namespace, to_host
from spectra.errors import ArgumentError, NonFiniteError, NotSymmetricError
from spectra.kernels.low_rank import LowRank, Stop
from spectra.protocols import Array
from spectra.start_vectors import as_count, as_seed

__all__ = ["accepted", "pivoted_factor", "require_diagonal"]

#: Residuals below this many eps of the trace are rounding: without this limit six runs of six in single precision
#: failed, with it none did (measured, n = 1500).
ROUNDING = 1e2
#: A factor whose squares and residual miss the trace by more is broken: healthy ones miss it by at most 3e-6 in single
#: and 6e-12 in double precision, broken ones by 1 to 1e6 (measured, n = 1500).
BALANCE = 1e-3

#: Entries that ought to agree may differ by this power of eps: distances between equal points lose half of the digits.
AGREE = 0.25


def pivoted_factor(
    columns: Callable[..., Array],
    diagonal: np.ndarray,
    *,
    like: Array,
    num_columns: int,
    tolerance: float,
    block: int,
    rng: int | np.random.Generator,
    precision: float,
    extra: int,
) -> LowRank:
    """Run the algorithm on the host's pivots and the device's columns."""
    n, xp = len(diagonal), namespace(like)
    most = min(as_count(num_columns, name="num_columns"), n)
    tolerance = finite_number(tolerance, name="tolerance")
    if not 0 <= tolerance < 1:
        raise ArgumentError(f"tolerance must be at least 0 and below 1; got {tolerance!r}")
    generator = np.random.default_rng(as_seed(rng))
    left, trace = np.maximum(diagonal, 0.0), float(np.sum(np.maximum(diagonal, 0.0)))
    rows = xp.empty((most, n), dtype=xp.float64, device=device(like))
    pivots, used = np.zeros(0, dtype=np.int64), 0
    stop: Stop | None = None
    noise, eligible = ROUNDING * precision, np.ones(n, dtype=bool)
    while stop is None:
        total = float(np.sum(left))
        drawable = np.where(eligible, left, 0.0)
        if total <= noise * trace or float(np.sum(drawable)) <= 0.5 * noise * trace:
            stop = "rounding"
        elif total <= tolerance * trace:
            stop = "tolerance"
        elif used == most:
            stop = "num_columns"
        else:
            drawn = generator.choice(n, size=min(block, n), p=drawable / np.sum(drawable))
            uniform = generator.random(len(drawn))
            core = to_host(columns(drawn, drawn))
            extra += core.size
            _require_core(core, diagonal[drawn], precision)
            before = to_host(xp.take(rows[:used, :], xp.asarray(drawn, device=device(like)), axis=1))
            floor = noise * np.maximum(diagonal[drawn], trace / n)
            kept, triangle = accepted(core - before.T @ before, left[drawn], uniform, floor)
            kept, triangle = kept[: most - used], triangle[: most - used, : most - used]
            if len(kept) == 0:
                eligible[drawn] = False
                continue
            new = drawn[kept]
            images = xp.matrix_transpose(columns(new)) - xp.matmul(
                xp.asarray(before[:, kept].T.copy(), device=device(like)), rows[:used, :]
            )
            if not bool(xp.all(xp.isfinite(images))):
                raise NonFiniteError("entries of the kernel must be finite; a column holds NaN or infinity")
            inverse = solve_triangular(triangle, np.eye(len(new)), lower=True)
            fresh = xp.matmul(xp.asarray(inverse, device=device(like)), images)
            rows[used : used + len(new), :] = fresh
            left = left - to_host(xp.sum(fresh * fresh, axis=0))
            if float(np.min(left)) < -(precision**AGREE) * float(np.max(diagonal)):
                raise ArgumentError(
                    f"a kernel must be positive semidefinite; after {used + len(new)} columns a diagonal entry has "
                    f"{float(np.min(left)):.3g} left. Not every similarity is a kernel; tanh, for example, is not"
                )
            left = np.maximum(left, 0.0)
            left[new] = 0.0
            pivots, used = np.concatenate([pivots, new]), used + len(new)
    return _result(rows[:used, :], diagonal, left, pivots, stop, precision, extra + n * used)


def accepted(
    core: np.ndarray, proposed: np.ndarray, uniform: np.ndarray, floor: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return which candidates of a block become pivots, and the Cholesky factor of their part of the residual.

    Candidate i is kept with probability ``residual now / residual when it was drawn``; below the floor never.

    Parameters
    ----------
    core : ndarray, shape (b, b)
        Residual matrix of the candidates.
    proposed : ndarray, shape (b,)
        Residual diagonal from which they were drawn.
    uniform : ndarray, shape (b,)
        Random numbers in [0, 1).
    floor : ndarray, shape (b,)
        Smaller residuals are rounding.

    Examples
    --------
    A candidate that was drawn twice is kept once.

    >>> accepted(np.ones((2, 2)), np.ones(2), np.zeros(2), np.full(2, 1e-14))[0].tolist()
    [0]
    """
    rest, kept, factors = core.copy(), [], []
    for i in range(len(rest)):
        if rest[i, i] > floor[i] and uniform[i] * proposed[i] < rest[i, i]:
            column = rest[:, i] / np.sqrt(rest[i, i])
            rest -= np.outer(column, column)
            kept.append(i)
            factors.append(column)
    index = np.array(kept, dtype=np.int64)
    if not kept:
        return index, np.zeros((0, 0))
    return index, np.tril(np.stack(factors, axis=1)[index])


def require_diagonal(diagonal: np.ndarray, precision: float) -> None:
    """Raise if this is no diagonal of a Gram matrix."""
    if not np.all(np.isfinite(diagonal)):
        raise NonFiniteError(f"the diagonal of K must be finite; entry {int(np.argmin(np.isfinite(diagonal)))} is not")
    lowest, highest = float(np.min(diagonal)), float(np.max(diagonal))
    if not highest > 0 or lowest < -np.sqrt(precision) * highest:
        raise ArgumentError(
            f"a Gram matrix that is not zero has a diagonal of numbers at least 0; got {lowest:.6g} to {highest:.6g}"
        )


def _require_core(core: np.ndarray, diagonal: np.ndarray, precision: float) -> None:
    """Raise if a principal submatrix of K is not finite, symmetric, and in accord with the diagonal."""
    if not np.all(np.isfinite(core)):
        raise NonFiniteError("entries of the kernel must be finite; one is NaN or infinite")
    scale = precision**AGREE * max(float(np.max(np.abs(core))), float(np.max(diagonal)))
    if float(np.max(np.abs(core - core.T))) > scale:
        raise NotSymmetricError("a kernel must be symmetric: k(x, y) = k(y, x) for all samples")


def _result(
    rows: Array,
    diagonal: np.ndarray,
    left: np.ndarray,
    pivots: np.ndarray,
    stop: Stop,
    precision: float,
    num_evaluations: int,
) -> LowRank:
    """Return the approximation, after looking whether its parts add up."""
    xp, trace = namespace(rows), float(np.sum(diagonal))
    residual = np.maximum(left, 0.0)
    squares = float(xp.sum(rows * rows))
    miss = abs(squares + float(np.sum(residual)) - trace) / trace
    sound = miss <= BALANCE
    if not sound:
        why = f"squares of the factor and residual miss the trace by {miss:.1g} of it: rounding has broken the factor"
    else:
        why = f"squares of the factor and residual add up to the trace, up to {miss:.1g} of it"
    return LowRank(
        factor=xp.matrix_transpose(rows),
        trace=trace,
        residual_trace=float(np.sum(residual)),
        residual_diagonal=residual,
        pivots=pivots,
        num_evaluations=num_evaluations,
        eps=precision,
        stop=stop,
        is_trustworthy=sound,
        why=why,
    )
