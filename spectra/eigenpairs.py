"""Eigenpairs at the ends of the spectrum, each with its residual."""

from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from spectra.arrays import dtype_name, eps, finite_number
from spectra.errors import ArgumentError, NonFiniteError
from spectra.lanczos import BREAKDOWN
from spectra.missed_pairs import Multiplicities, look_for_missed_pairs
from spectra.operators import Operator, as_operator
from spectra.products import Products
from spectra.protocols import Array, Progress, SupportsMatmul
from spectra.residuals import certify, error_bounds
from spectra.start_vectors import as_count, as_seed
from spectra.thick_restart import End, ThickRestart, at_ends
from spectra.warm_start import start_rows

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["EIGENPAIRS_SCHEMA", "EIGENPAIRS_SCHEMA_VERSION", "eigenpairs"]

EIGENPAIRS_SCHEMA = "spectra/eigenpairs"
EIGENPAIRS_SCHEMA_VERSION = 1

_STEPS = 200
_BASIS_BYTES = 2**30


def eigenpairs(
    A: SupportsMatmul | Array,
    *,
    num: int = 1,
    which: End = "largest",
    start: "Array | xr.Dataset | None" = None,
    num_starts: int | None = None,
    tolerance: float = 1e-6,
    max_steps: int | None = None,
    max_basis_bytes: int | None = None,
    verify_steps: int = 0,
    rng: int | np.random.Generator = 0,
    keep_vectors: bool = True,
    progress: Progress | None = None,
) -> "xr.Dataset":
    r"""Find the outermost eigenvalues of a symmetric operator, with eigenvectors.

    Block Lanczos with full reorthogonalization until ``||A y - theta y|| <= tolerance ||A||`` for every wanted Ritz
    pair ``(theta, y)``, ``||y|| = 1``. When the basis fills the memory it was given, it is cut back to its outermost
    Ritz vectors and grows on from there (thick restart). The residuals that are reported come from fresh products.

    Parameters
    ----------
    A : Operator or anything `as_operator` accepts, shape (n, n)
        Real symmetric.
    num : int
        Pairs wanted at each end.
    which : {"largest", "smallest", "both", "magnitude"}
        The algebraically largest or smallest, both ends from one run, or those of largest modulus.
    start : array, shape (n,) or (n, p), or Dataset of an earlier call, optional
        An array without ``num_starts``: exactly these vectors start the block. Eigenvectors orthogonal to all of them
        are not found. An array with ``num_starts``, or earlier eigenpairs (with their vectors): a *warm start*. Each
        start vector of the block is then a mixture of the given vectors, of norm 1, and a random vector, of norm
        0.1, so that nothing is out of reach.
    num_starts : int, optional
        Start vectors of the block: 1, or for earlier eigenpairs the largest multiplicity they had. One start vector
        sees a multiple eigenvalue once; b see it up to b times.
    tolerance : float
        Relative to ``||A||``; values below 64 eps of the dtype, which cannot be reached, are raised to that.
    max_steps : int, optional
        Steps at most; by default ``min(n, 200)``.
    max_basis_bytes : int, optional
        Storage of the basis at most, on the device of the operator; by default 1 GiB, or as much as the smallest basis
        takes, ``2 k + 2 b`` vectors for k wanted pairs.
    verify_steps : int
        Products to be spent at most, after convergence, on looking for pairs that were missed (see Notes).
    rng : int or numpy.random.Generator
        Seed of the random vectors.
    keep_vectors : bool
        Whether to bring the eigenvectors to the host.
    progress : callable, optional
        Called with ``(steps done, max_steps)`` after each step.

    Returns
    -------
    xarray.Dataset
        Dimension ``pair``, the largest first in descending order, then the smallest in ascending order; for
        ``"magnitude"`` in descending modulus. NumPy float64 on the host. Variables:

        - ``eigenvalue``, ``residual``, ``converged`` (residual within the tolerance), ``end``;
        - ``error_bound``: of the distance to an eigenvalue, ``residual**2 / gap`` where the other Ritz values show a
          gap that exceeds their own residuals, else the residual; plus 64 eps ``||A||`` for rounding;
        - ``multiplicity``: how many Ritz values agree within twice the tolerance, this one included, and
          ``multiplicity_resolved``: False where that may be too few, because as many were found as the block can see
          or a neighbor has not settled;
        - ``eigenvector (pair, coordinate)``, if kept: norm 1, entry of largest modulus positive;
        - ``start_largest`` and ``start_smallest`` along ``start``: the outermost Ritz values that each start vector
          alone would have found, up to the first restart. They lie inside the spectrum, and their disagreement shows
          how settled the ends are (it is no error bar).

        At the step limit the best estimates are returned, with ``converged`` False. There are fewer pairs than asked
        for where n, or the Krylov space, is smaller; with ``"both"`` a pair may then be listed at both ends.

        Attributes: ``schema``, ``schema_version``, ``dimension``, ``operator``, ``num_matvecs``, ``num_steps``,
        ``num_restarts``, ``seed`` (-1 where nothing was random), ``tolerance``, ``operator_norm`` (largest modulus of
        a Ritz value, a lower bound of ``||A||``), ``smallest_ritz_value`` and ``largest_ritz_value`` (of the whole
        search, whatever was wanted: they lie inside the spectrum), ``basis_rows`` (vectors of storage used),
        ``verified_level`` (0, or the confidence that no pair was missed), ``dtype``, and the provenance.

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
    Costs ``b num_steps`` products and one for each returned pair. Holds the basis, a few blocks of b vectors and, on
    the host, the vectors that are kept. The device is waited for in every step.

    The residual certifies that *an* eigenvalue lies within it of ``eigenvalue``, not that none lies beyond. What is
    certain, up to rounding, is that the largest eigenvalue is no smaller than the largest found. ``error_bound`` is as
    good as the gap seen: an eigenvalue that the Krylov space has missed is not accounted for.

    With ``verify_steps``, a fresh random vector orthogonal to the pairs found starts a Lanczos run of its own on the
    complement. Either it meets a pair that was missed, or its coefficients show that with probability
    ``verified_level`` = 0.99 none was (van Dorsselaer, Hochstenbach and van der Vorst, 2000): then multiplicities
    are resolved whatever the block. The level is 0 where the products did not suffice. A missed pair costs a further
    run, a product to multiply it and one for each returned pair.

    A warm start after a change of A by 1 % took 0.75 to 0.95 times the products of a cold one for a tolerance of 1e-6
    (median 0.84), and 0.3 to 1.0 times for 1e-3 (median 0.72), over sixteen cases of
    ``scripts/benchmarks/eigenpairs_products.py``. A block of all earlier vectors took 1.0 to 1.7 times for 1e-6.

    Source: Paige (1972); Parlett (1998); Wu and Simon (2000).

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
    if which not in get_args(End):
        raise ArgumentError(f"which must be one of {', '.join(map(repr, get_args(End)))}; got {which!r}")
    if finite_number(tolerance, name="tolerance") <= 0:
        raise ArgumentError(f"tolerance must be positive, got {tolerance!r}")
    tolerance = max(float(tolerance), BREAKDOWN * eps(operator.like))
    limit = min(n, _STEPS) if max_steps is None else as_count(max_steps, name="max_steps")
    verify_steps = as_count(verify_steps, name="verify_steps", least=0)
    rows, seed = start_rows(operator, start, num_starts=num_starts, rng=rng)
    b = rows.shape[0]
    wanted = min(n, (2 if which == "both" else 1) * num)
    max_rows = _max_rows(operator, max_basis_bytes, least=min(n, 2 * wanted + 2 * b))

    products = Products(operator)
    search = ThickRestart(products, rows, max_rows=max_rows)
    target = tolerance if verify_steps == 0 else 0.5 * tolerance  # what is locked is forgotten at that level
    search.run(num=num, which=which, tolerance=target, max_steps=limit, progress=progress)
    starts = products.unscaled(search.start_ends)
    pairs = search.ritz()
    known = Multiplicities(
        values=pairs.values,
        residuals=pairs.residuals,
        tolerance=tolerance * search.norm,
        block=b,
        is_complete=len(pairs.values) == n,
    )
    level = 0.0
    if verify_steps > 0:
        fresh = as_seed(rng) if seed < 0 else seed
        level, known = look_for_missed_pairs(
            search, known, num=num, which=which, max_products=verify_steps, seed=fresh, first=b
        )
    pairs = search.ritz()
    chosen = at_ends(pairs.values, num, which)
    index = sorted({i for _, i in chosen})
    found = certify(search, pairs, index, keep_vectors=keep_vectors)
    order = [index.index(i) for _, i in chosen]
    norm = float(products.unscaled(search.norm))
    if not np.isfinite(norm):
        raise NonFiniteError(f"the norm of {operator.name!r} exceeds the largest float64; scale the operator down")
    bounds = error_bounds(found, pairs, index, tolerance=tolerance * search.norm)
    rounding = BREAKDOWN * eps(operator.like) * search.norm
    content: dict[str, Any] = {
        "eigenvalue": ("pair", products.unscaled(found.values)[order]),
        "residual": ("pair", products.unscaled(found.residuals)[order], {"long_name": "norm of A y - eigenvalue y"}),
        "error_bound": ("pair", products.unscaled(bounds + rounding)[order]),
        "converged": ("pair", (found.residuals <= tolerance * search.norm)[order]),
        "end": ("pair", np.array([end for end, _ in chosen])),
        "multiplicity": ("pair", np.array([known.count(pairs.values[i]) for _, i in chosen])),
        "multiplicity_resolved": ("pair", np.array([known.is_resolved(pairs.values[i]) for _, i in chosen])),
        "start_largest": ("start", starts[0]),
        "start_smallest": ("start", starts[1]),
    }
    if found.vectors is not None:
        content["eigenvector"] = (("pair", "coordinate"), found.vectors[order])
    import xarray as xr

    from spectra.provenance import provenance

    attrs = {
        "schema": EIGENPAIRS_SCHEMA,
        "schema_version": EIGENPAIRS_SCHEMA_VERSION,
        "dimension": n,
        "operator": operator.name,
        "num_matvecs": products.num_matvecs,
        "num_steps": search.num_steps,
        "num_restarts": search.num_restarts,
        "seed": seed,
        "tolerance": tolerance,
        "operator_norm": norm,
        "smallest_ritz_value": float(products.unscaled(search.extent[0])),
        "largest_ritz_value": float(products.unscaled(search.extent[1])),
        "basis_rows": search.basis.num_allocated,
        "verified_level": level,
        "dtype": dtype_name(operator.dtype),
        **operator.facts,
    }
    return xr.Dataset(content, attrs=provenance(**attrs))


def _max_rows(operator: Operator, max_basis_bytes: int | None, *, least: int) -> int:
    """Return how many vectors may be stored.

    Raises
    ------
    ArgumentError
        If the smallest basis does not fit.
    """
    row = operator.shape[0] * np.dtype(dtype_name(operator.dtype)).itemsize
    if max_basis_bytes is None:
        return max(least, _BASIS_BYTES // row)
    allowed = as_count(max_basis_bytes, name="max_basis_bytes")
    if allowed // row < least:
        raise ArgumentError(
            f"max_basis_bytes must be at least {least * row}, for {least} vectors of {row} bytes, got {allowed}; ask "
            "for fewer pairs or fewer start vectors"
        )
    return allowed // row
