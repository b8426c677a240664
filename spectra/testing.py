"""For tests of operators: a conformance check, and matrices with known spectra."""

from collections.abc import Callable
from typing import Any

import numpy as np

from spectra.arrays import describe, eps, namespace, to_host
from spectra.errors import ArgumentError, NonDeterministicError, NonFiniteError, NotSymmetricError
from spectra.operators import as_operator
from spectra.soundness import judge, relative_skew
from spectra.start_vectors import as_count, as_seed, start_vectors

__all__ = ["SPECTRA", "check_operator", "matrix_with_spectrum", "spectrum"]


def check_operator(A: Any, rng: int | np.random.Generator = 0) -> None:
    """Raise unless an operator keeps every promise that the methods of this package rely on.

    Shapes and dtypes in and out; finite products; the same product twice; the argument left unchanged; ``A @ v`` equal
    to a column of ``A @ V``; linearity; symmetry.

    Parameters
    ----------
    A : Operator or anything `as_operator` accepts, shape (n, n)
        The operator to test.
    rng : int or numpy.random.Generator
        Seed of the random vectors.

    Raises
    ------
    ShapeError, BackendError
        If shape, dtype, library or device are wrong on the way in or out.
    NonFiniteError
        If a product contains NaN or infinity.
    NonDeterministicError
        If repeating a product changes it.
    NotSymmetricError
        If ``u'(Av)`` and ``v'(Au)`` differ.
    ArgumentError
        If the product writes into its argument, is not linear, or treats a vector unlike a column.

    Notes
    -----
    Costs 12 products. Relative differences above sqrt(eps) of the dtype raise, above 1000 eps they warn: re-ordered
    float32 sums give 5 eps.

    Examples
    --------
    >>> import numpy as np
    >>> check_operator(np.diag([1.0, 2.0]))
    >>> try:
    ...     check_operator(np.array([[0.0, 1.0], [0.0, 0.0]]))
    ... except NotSymmetricError as error:
    ...     print(str(error).partition(":")[0])
    'dense matrix' must be symmetric, but u'(Av) and v'(Au) differ
    """
    operator = as_operator(A)
    xp, name = namespace(operator.like), operator.name
    block = start_vectors(operator.like, num=4, rng=as_seed(rng))
    unit = block / xp.linalg.vector_norm(block, axis=0)
    given = xp.asarray(unit, copy=True)
    product = operator.multiply_block(given)
    if not np.all(np.isfinite(to_host(xp.max(xp.abs(product), axis=0)))):
        raise NonFiniteError(f"products with {name!r} must be finite, got NaN or infinity for {describe(unit)}")
    if float(xp.max(xp.abs(given - unit))) > 0.0:
        raise ArgumentError(f"{name!r} must leave its argument unchanged, but wrote into it")
    product = xp.asarray(product, copy=True)

    def compare(other: Any, reference: Any, error: type[Exception], message: str) -> None:
        largest = float(xp.max(xp.abs(reference)))
        change = float(xp.max(xp.abs(other - reference)))
        defect = 0.0 if change == 0.0 else change / largest if largest > 0.0 else np.inf
        judge(defect, eps=eps(unit), error=error, message=message)

    again = operator @ unit
    compare(
        again, product, NonDeterministicError, f"{name!r} must be deterministic, but gave two results for one block"
    )
    single = operator @ unit[:, 0]
    compare(single, product[:, 0], ArgumentError, f"{name!r} must treat a vector like a column, but they differ")
    mixed = xp.stack([2.0 * unit[:, 0] - 3.0 * unit[:, 1], unit[:, 2] + unit[:, 3], 0.0 * unit[:, 0]], axis=1)
    expected = xp.stack(
        [2.0 * product[:, 0] - 3.0 * product[:, 1], product[:, 2] + product[:, 3], 0.0 * product[:, 0]], axis=1
    )
    compare(operator @ mixed, expected, ArgumentError, f"{name!r} must be linear, but A(2u - 3v) and 2Au - 3Av differ")
    largest = float(xp.max(xp.abs(product)))
    if operator.shape[0] > 1 and largest > 0.0:
        scaled = product / largest
        judge(
            relative_skew(
                to_host(xp.matmul(xp.matrix_transpose(unit), scaled)), to_host(xp.linalg.vector_norm(scaled, axis=0))
            ),
            eps=eps(unit),
            error=NotSymmetricError,
            message=f"{name!r} must be symmetric, but u'(Av) and v'(Au) differ",
        )


def matrix_with_spectrum(eigenvalues: Any, rng: int | np.random.Generator = 0) -> np.ndarray:
    """Return a symmetric matrix with the given eigenvalues and uniformly distributed eigenvectors.

    ``A = Q diag(eigenvalues) Q'`` with Q from the QR factors of a Gaussian matrix, signs fixed.

    Parameters
    ----------
    eigenvalues : array-like, shape (n,)
        Real and finite.
    rng : int or numpy.random.Generator
        Seed of the eigenvectors.

    Returns
    -------
    ndarray, shape (n, n)
        Float64, exactly symmetric.

    Raises
    ------
    ArgumentError
        If the eigenvalues are not a non-empty vector of finite numbers.

    Notes
    -----
    Costs O(n^3). Source: Mezzadri (2007) for the distribution of Q.

    Examples
    --------
    >>> import numpy as np
    >>> A = matrix_with_spectrum([1.0, 2.0, 4.0])
    >>> np.linalg.eigvalsh(A).round(12).tolist()
    [1.0, 2.0, 4.0]
    """
    values = np.asarray(eigenvalues, dtype=np.float64)
    if values.ndim != 1 or values.size == 0 or not np.all(np.isfinite(values)):
        raise ArgumentError(f"eigenvalues must be a non-empty vector of finite numbers, got shape {values.shape}")
    generator = np.random.default_rng(as_seed(rng))
    q, r = np.linalg.qr(generator.standard_normal((values.size, values.size)))
    q = q * np.sign(np.diag(r))
    matrix = (q * values) @ q.T
    return 0.5 * matrix + 0.5 * matrix.T


def _spiked(n: int) -> np.ndarray:
    """Return a Wishart-like bulk in [0.25, 2.25] and up to ten outliers from 4 to 40."""
    num_spikes = min(10, n // 2)
    bulk = 1.25 + np.cos(np.pi * (np.arange(n - num_spikes) + 0.5) / max(n - num_spikes, 1))
    return np.concatenate([bulk, np.linspace(4.0, 40.0, num_spikes)])


SPECTRA: dict[str, Callable[[int], np.ndarray]] = {
    "zero": np.zeros,
    "identity": np.ones,
    "rank_one": lambda n: np.eye(1, n)[0],
    "two_values": lambda n: np.where(np.arange(n) < n // 3, -2.0, 1.0),
    "uniform": lambda n: (np.arange(n) + 0.5) / n,
    "inverse": lambda n: 1.0 / (1.0 + np.arange(n)),
    "geometric": lambda n: np.geomspace(1e-4, 1.0, n),
    "indefinite": lambda n: np.linspace(-1.0, 2.0, n) ** 3,
    "spiked": _spiked,
}
"""Named spectra: each maps n to n eigenvalues."""


def spectrum(name: str, n: int) -> np.ndarray:
    """Return the n eigenvalues of a named spectrum, ascending.

    Raises
    ------
    ArgumentError
        If the name is not in ``SPECTRA``, or n is no positive integer.

    Examples
    --------
    >>> spectrum("inverse", 4).round(3).tolist()
    [0.25, 0.333, 0.5, 1.0]
    """
    if name not in SPECTRA:
        raise ArgumentError(f"a name among {', '.join(SPECTRA)} is required, got {name!r}")
    return np.sort(SPECTRA[name](as_count(n, name="n")))
