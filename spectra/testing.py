"""For tests of operators and laws: conformance checks, and matrices with known spectra."""

from collections.abc import Callable
from typing import Any

import numpy as np

from spectra.arrays import describe, eps, namespace, to_host
from spectra.errors import ArgumentError, NonDeterministicError, NonFiniteError, NotSymmetricError
from spectra.laws.base import Law
from spectra.laws.graded_rule import GradedRule
from spectra.operators import as_operator
from spectra.soundness import judge, relative_skew
from spectra.start_vectors import as_count, as_seed, start_vectors

__all__ = ["SPECTRA", "check_law", "check_operator", "matrix_with_spectrum", "spectrum"]

#: Draws of `check_law`, and the distance of their distribution function that chance exceeds once in 50 000 laws:
#: ``2 exp(-2 t^2)``, Dvoretzky, Kiefer and Wolfowitz (1956) with Massart's constant (1990).
_DRAWS, _LARGEST_Z = 2000, 2.4


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


def check_law(law: Law, *, tolerance: float = 1e-8, rng: int | np.random.Generator = 0) -> None:
    """Raise unless the parts of a law agree with its density and atoms.

    Order of intervals and atoms; total mass; distribution function, moments and Stieltjes transform against quadrature
    of the density; jumps at the atoms; quantiles invert the distribution function; draws follow it; a scalar gives a
    scalar and an array an array of its shape.

    Parameters
    ----------
    law : Law
        The law to test.
    tolerance : float
        Largest difference, relative to the largest modulus of the support for moments.
    rng : int or numpy.random.Generator
        Seed of the draws.

    Raises
    ------
    ArgumentError
        If the law breaks one of the promises; the message says which, and by how much.

    Notes
    -----
    Draws are compared by the Kolmogorov-Smirnov statistic, with a chance of 2e-5 that a sound law fails. Nothing is
    checked within the first and last 1e-6 of the angle of each interval, where densities may be infinite.

    Examples
    --------
    >>> from spectra.laws import MarchenkoPastur
    >>> check_law(MarchenkoPastur(aspect_ratio=2.0, variance=1e-14))
    """
    rules = _check_support(law, tolerance)
    places = [rule.point(np.linspace(1e-3, np.pi - 1e-3, 101)) for rule in rules]
    x = np.sort(np.concatenate([*places, [place for place, _ in law.atoms]]))
    size = float(np.max(np.abs(x)))

    def compare(found: Any, expected: Any, what: str, scale: float = 1.0) -> None:
        defect = float(np.max(np.abs(np.asarray(found) - np.asarray(expected)), initial=0.0)) / scale
        if not defect <= tolerance:
            raise ArgumentError(f"{what} of {law!r}: {defect:.2g} apart, {tolerance:.2g} allowed")

    below = sum((rule.mass_below(rule.angle(x)) for rule in rules), np.zeros(x.shape))
    cdf = np.asarray(law.cdf(x))
    compare(cdf, below + sum(mass * (x >= place) for place, mass in law.atoms), "cdf and the integral of pdf")
    if np.any(np.diff(cdf) < -tolerance):
        raise ArgumentError(f"cdf of {law!r} must not decrease")
    for place, mass in law.atoms:
        pair = np.array([np.nextafter(place, -np.inf) - 1e-12 * size, place])
        between = sum(np.diff(rule.mass_below(rule.angle(pair))) for rule in rules)
        compare(np.diff(law.cdf(pair)), mass + between, f"jump of the cdf at {place}")
    q = np.linspace(0.0, 1.0, 203)[1:-1]
    found = np.asarray(law.quantile(q))
    before = np.asarray(law.cdf(found - 1e-9 * size))
    reached = np.asarray(law.cdf(found))
    compare(np.minimum(reached - q, 0.0), 0.0, "cdf of the quantiles, which must reach their shares,")
    compare(np.maximum(before - q, 0.0), 0.0, "cdf below the quantiles, which must not reach their shares,")
    _check_integrals(law, rules, size, compare)
    compare(law.sf(x), 1.0 - cdf, "sf and 1 - cdf")
    compare(law.isf(q), law.quantile(1.0 - q), "isf and quantile", size)
    compare([law.median(), *law.interval(0.5)], law.quantile([0.5, 0.25, 0.75]), "median, interval and quantile", size)
    values, counts = np.unique(law.sample(_DRAWS, rng=rng), return_counts=True)
    share = np.cumsum(counts) / _DRAWS
    left = np.asarray(law.cdf(np.nextafter(values, -np.inf)))
    distance = max(np.max(np.abs(share - law.cdf(values))), np.max(np.abs(share - counts / _DRAWS - left)))
    if not distance * np.sqrt(_DRAWS) < _LARGEST_Z:
        raise ArgumentError(f"draws from {law!r} must follow its cdf, but differ from it by {distance:.2g}")
    for function, points in ((law.pdf, x), (law.cdf, x), (law.quantile, q), (law.stieltjes, x + 1j * size)):
        if np.shape(function(points[:100].reshape(2, 50))) != (2, 50) or np.ndim(function(points[0])) != 0:
            raise ArgumentError(f"{function.__name__} of {law!r} must return the shape that it got")


def _check_support(law: Law, tolerance: float) -> list[GradedRule]:
    """Check intervals, atoms and mass; return quadrature rules, on infinite intervals up to the last 1e-15 of mass."""
    ends = np.array(law.support, dtype=np.float64).reshape(-1)
    places, masses = np.array(law.atoms, dtype=np.float64).reshape(-1, 2).T
    if np.any(np.diff(ends) < 0.0) or np.any(ends[::2] == ends[1::2]):
        raise ArgumentError(f"support of {law!r} must be ascending intervals, got {law.support}")
    if np.any(np.diff(places) <= 0.0) or np.any((masses <= 0.0) | (masses > 1.0 + tolerance)):
        raise ArgumentError(f"atoms of {law!r} must be ascending, of masses in (0, 1], got {law.atoms}")
    if not law.cdf(-np.inf) <= tolerance or not law.cdf(np.inf) >= 1.0 - tolerance:
        raise ArgumentError(f"cdf of {law!r} must grow from 0 to 1, got {law.cdf(-np.inf)} and {law.cdf(np.inf)}")
    rules = []
    for low, high in law.support:
        bounds = (
            low if np.isfinite(low) else law.quantile(1e-15),
            high if np.isfinite(high) else law.quantile(1 - 1e-15),
        )
        rules.append(GradedRule(lambda x: np.asarray(law.pdf(x)), *bounds))
    mass = sum(rule.mass for rule in rules) + float(np.sum(masses))
    if not abs(mass - 1.0) <= tolerance:
        raise ArgumentError(f"density and atoms of {law!r} must have mass 1, got {mass!r}")
    return rules


def _check_integrals(law: Law, rules: list[GradedRule], size: float, compare: Callable[..., None]) -> None:
    """Check moments and Stieltjes transform against quadrature and against the density."""
    for order in range(5):
        expected = sum(float(rule.weights @ (rule.nodes / size) ** order) for rule in rules)
        expected += sum(mass * (place / size) ** order for place, mass in law.atoms)
        compare(law.moment(order) / size**order, expected, f"moment {order} and quadrature")
    square = law.moment(2) - law.moment(1) ** 2
    compare([law.mean(), law.std() ** 2 / size], [law.moment(1), square / size], "mean, std and moments", size)
    z = size * np.array([0.3 + 0.5j, -0.4 + 0.2j, 1.2 + 0.1j, 5.0 + 5.0j, -7.0 + 1e-3j])
    transform = sum((rule.weights @ (1.0 / (rule.nodes[:, None] - z)) for rule in rules), np.zeros(z.shape, complex))
    transform = transform + sum(mass / (place - z) for place, mass in law.atoms)
    compare(np.asarray(law.stieltjes(z)) * size, transform * size, "stieltjes and quadrature")
    compare(np.asarray(law.stieltjes(np.conj(z))) * size, np.conj(transform) * size, "stieltjes below the real axis")
    for rule in rules:
        inside = np.setdiff1d(rule.point(np.linspace(0.3, np.pi - 0.3, 17)), [place for place, _ in law.atoms])
        density = np.asarray(law.pdf(inside))
        boundary = np.asarray(law.stieltjes(inside + 0j)).imag / np.pi
        compare(boundary, density, "stieltjes on the real axis and pdf", float(np.max(density)))


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
