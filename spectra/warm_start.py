"""Start vectors of an eigenvalue search: random, given, or mixed from the eigenvectors of an earlier search."""

from typing import TYPE_CHECKING

import numpy as np

from spectra.arrays import describe
from spectra.errors import ArgumentError, SchemaError, ShapeError
from spectra.operators import Operator
from spectra.products import Products
from spectra.protocols import Array
from spectra.start_vectors import as_count, as_seed, start_vectors, unit_rows

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["start_rows"]

#: Earlier vectors at this relative distance are one vector that is listed twice.
SAME = 1e-10
_RANDOM_PART = 0.1
"""With exact old eigenvectors and a new eigenvalue among or beyond them, 0.1 missed it in none of 160 searches with
tolerance 1e-6, 0.03 in 2, 0.01 in 6, and no random part in all, at nearly the same cost."""


def start_rows(
    operator: Operator,
    start: "Array | xr.Dataset | None",
    *,
    num_starts: int | None,
    rng: int | np.random.Generator,
) -> tuple[Array, int]:
    """Return unit start vectors as rows (b, n), and the seed (-1 if nothing is random).

    A warm start mixes given unit vectors x_1 .. x_k into few: ``v_i = sum_j c_ij x_j + 0.1 g_i`` with orthonormal rows
    c_i, of equal weights for a single v, and g_i random of norm 1.

    Parameters
    ----------
    operator : Operator
    start : array, shape (n,) or (n, k), or Dataset, or None
        None: random vectors. An array: these vectors, or, with ``num_starts``, mixtures of them. Eigenpairs of an
        earlier search: mixtures of their vectors.
    num_starts : int or None
        b. By default 1, or the largest ``multiplicity`` of earlier eigenpairs.
    rng : int or numpy.random.Generator

    Raises
    ------
    ArgumentError, ShapeError, BackendError
        If they do not fit the operator, or cannot start anything.
    SchemaError
        If the Dataset holds no eigenvectors.

    Notes
    -----
    No products. One mixture rather than a block of all earlier vectors: each column of a block has to be freed of its
    own error by products of its own, while one mixture is freed at once (measured by
    ``scripts/benchmarks/eigenpairs_products.py``). A random part of norm 0.1 costs hardly more products than none,
    and brings up an eigenvalue that was not there before.

    Examples
    --------
    >>> import numpy as np
    >>> from spectra.operators import as_operator
    >>> rows, seed = start_rows(as_operator(np.eye(3)), np.eye(3)[:, :2], num_starts=1, rng=0)
    >>> rows.shape, bool(abs(np.linalg.norm(rows) - 1.0) < 1e-15), bool(rows[0, 2] != 0.0)
    ((1, 3), True, True)
    """
    n, xp = operator.shape[0], Products(operator).xp
    b = None if num_starts is None else as_count(num_starts, name="num_starts")
    if start is None:
        seed = as_seed(rng)
        return unit_rows(start_vectors(operator.like, num=b or 1, rng=seed), operator)[0], seed
    if hasattr(start, "data_vars"):
        vectors, multiplicity = _earlier_vectors(start, n)
        b = b or multiplicity
        start = Products(operator).on_device(vectors.T)
    given, _ = unit_rows(start, operator)
    if b is None:
        return given, -1
    seed = as_seed(rng)
    generator = np.random.default_rng([seed, n])
    k = given.shape[0]
    signs = np.ones((k, 1)) if b == 1 else generator.standard_normal((k, b))
    if 1 < b < k:
        signs = np.linalg.qr(signs)[0]
    mixing = signs / np.linalg.norm(signs, axis=0)
    random, _ = unit_rows(start_vectors(operator.like, num=b, rng=seed), operator)
    mixed = xp.matmul(Products(operator).on_device(mixing.T), given) + _RANDOM_PART * random
    return unit_rows(xp.matrix_transpose(mixed), operator)[0], seed


def _earlier_vectors(pairs: "xr.Dataset", n: int) -> tuple[np.ndarray, int]:
    """Return the distinct eigenvectors of earlier pairs, shape (k, n), and their largest multiplicity."""
    if "eigenvector" not in pairs or pairs["eigenvector"].ndim != 2:
        raise SchemaError(
            "a warm start needs eigenpairs with the variable eigenvector, got "
            f"{', '.join(map(str, pairs.data_vars)) or 'nothing'}; ask for keep_vectors=True in the earlier call"
        )
    vectors = np.asarray(pairs["eigenvector"].values, dtype=np.float64)
    if vectors.shape[1] != n or vectors.shape[0] == 0:
        raise ShapeError(f"earlier eigenvectors must have n = {n} coordinates, got {describe(vectors)}")
    if not np.all(np.isfinite(vectors)):
        raise ArgumentError("earlier eigenvectors must be finite")
    multiplicity = int(np.max(pairs["multiplicity"].values)) if "multiplicity" in pairs else 1
    # With which="both" a pair may be listed at both ends. (np.unique would sort n-vectors: minutes for millions.)
    distinct: list[int] = []
    for index, vector in enumerate(vectors):
        if all(np.linalg.norm(vector - vectors[other]) > SAME * np.linalg.norm(vector) for other in distinct):
            distinct.append(index)
    return vectors[distinct], max(1, multiplicity)
