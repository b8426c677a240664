"""The diagonal of an implicit symmetric operator, within a budget of products."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from spectra.arrays import eps, namespace, to_host
from spectra.columns import all_columns
from spectra.errors import ArgumentError
from spectra.estimates import Estimate, Status
from spectra.products import Products
from spectra.protocols import Array, SupportsMatmul
from spectra.sketches import Range, Sketch, draw, sketch
from spectra.soundness import require_repeatable
from spectra.start_vectors import as_count, as_seed, start_vectors
from spectra.stochastic_trace import as_level, student
from spectra.trace_estimators import ROUNDING

__all__ = ["diagonal"]

_LEAST = {"hutchinson": 1, "xdiag": 2, "deflated": 3}


def diagonal(
    A: SupportsMatmul | Array,
    *,
    num_matvecs: int = 100,
    method: Literal["hutchinson", "xdiag", "deflated"] = "hutchinson",
    rng: int | np.random.Generator = 0,
    level: float = 0.95,
) -> Estimate:
    """Estimate the diagonal of A from at most ``num_matvecs`` products, with an interval for each entry.

    Parameters
    ----------
    A : Operator or anything `as_operator` accepts, shape (n, n)
        Real symmetric.
    num_matvecs : int
        Products to spend at most, all of them counted.
    method : {"hutchinson", "xdiag", "deflated"}
        If ``num_matvecs >= n`` every method takes the products with the n unit vectors instead. Else, with probes v of
        random signs:

        * ``"hutchinson"``: the mean of ``v * (Av)``; variance of entry i, one probe: ``sum_{j != i} A_ij**2``;
        * ``"xdiag"``: with a basis Q_i of the range of ``A V`` without its i-th column, the mean of
          ``diag(Q_i Q_i' A) + v_i * (I - Q_i Q_i') A v_i``; two products a probe. Better where the spectrum decays
          (for ``exp(-k / 4)``, n = 80 and 40 products by a factor of 20), far worse where A is close to a multiple of
          the identity (by 14 for eigenvalues in [0.9, 1.1]), on which random signs have no variance;
        * ``"deflated"``: the same with one basis for all, from a third of the products.
    rng : int or numpy.random.Generator
        Seed; probe i depends on (seed, i) only.
    level : float
        Nominal coverage of each interval, in (0, 1); not of all intervals at once.

    Returns
    -------
    Estimate
        ``value``, ``stderr``, ``low`` and ``high`` are float64 arrays of shape (n,), NumPy on the host, in the units of
        A. A single probe gives neither standard error nor intervals. ``status`` is ``"exact"`` after n products, or
        where the range of A was captured up to rounding.

    Raises
    ------
    ArgumentError
        For a wrong call, before any product.
    NotSymmetricError
        If ``u'(Av)`` and ``v'(Au)`` differ by more than sqrt(eps) relative.
    NonDeterministicError
        If two calls contradict each other by more than sqrt(eps) relative. ``"hutchinson"`` spends one product of a
        budget of at least 3 on the comparison.
    NonFiniteError
        If a product contains NaN or infinity.

    Notes
    -----
    Holds a few times ``num_matvecs n`` numbers. Samples of entries with few neighbors take few values: intervals from
    less than about ten probes are optimistic there. XDiag: the standard error is the geometric mean of the spread of
    the leave-one-out samples and the delete-one jackknife, as for `spectra.trace`.

    Source: Bekas, Kokiopoulou and Saad (2007); Epperly, Tropp and Webber (2024), section 4; Baston and Nakatsukasa
    (2022).

    Examples
    --------
    >>> import numpy as np
    >>> estimate = diagonal(np.diag(np.arange(200.0)), num_matvecs=10)
    >>> np.allclose(estimate.value, np.arange(200.0)), estimate.num_matvecs
    (True, 10)
    """
    num_matvecs = as_count(num_matvecs, name="num_matvecs")
    if method not in _LEAST:
        raise ArgumentError(f"method must be one of {', '.join(map(repr, _LEAST))}; got {method!r}")
    if num_matvecs < _LEAST[method]:
        raise ArgumentError(f"{method} needs at least {_LEAST[method]} products, got num_matvecs={num_matvecs}")
    level, seed = as_level(level), as_seed(rng)
    products = Products(A)
    n = products.operator.shape[0]
    if num_matvecs >= n:
        entries = np.diag(all_columns(products, repeat=num_matvecs > n)).copy()
        rounding = ROUNDING * eps(products.operator.like) * np.abs(entries)
        return _estimate(products, _Entries(entries, np.zeros(n), 0, rounding), level)
    if method == "hutchinson":
        repeat = num_matvecs > 2
        drawn = draw(products, num_matvecs - int(repeat), seed=seed, distribution="rademacher")
        if repeat:
            require_repeatable(products, drawn.probes[:, 0], drawn.images[:, 0])
        entries_found = _of_samples(drawn, n * drawn.probes * drawn.images)
    elif method == "xdiag":
        drawn = draw(products, num_matvecs // 2, seed=seed, distribution="rademacher")
        entries_found = _xdiag(products, drawn, sketch(products, drawn))
    else:
        entries_found = _deflated(products, num_matvecs, seed)
    return _estimate(products, entries_found, level)


@dataclass(frozen=True, eq=False)
class _Entries:
    """A diagonal in units of the scaled operator; the number of probes is 0 where nothing is random."""

    value: np.ndarray
    stderr: np.ndarray | None
    num_probes: int
    rounding: np.ndarray


def _rounding(drawn: Sketch) -> np.ndarray:
    """Return 64 eps times the estimated norms of the rows of A."""
    xp, (n, m) = namespace(drawn.probes), drawn.probes.shape
    return ROUNDING * eps(drawn.probes) * np.sqrt(n / m) * to_host(xp.linalg.vector_norm(drawn.images, axis=1))


def _of_samples(drawn: Sketch, samples: Array) -> _Entries:
    """Return mean and standard error of independent samples, one per column."""
    xp, m = namespace(samples), samples.shape[1]
    stderr = to_host(xp.std(samples, axis=1, correction=1)) / np.sqrt(m) if m > 1 else None
    return _Entries(to_host(xp.mean(samples, axis=1)), stderr, m, _rounding(drawn))


def _xdiag(products: Products, drawn: Sketch, found: Range) -> _Entries:
    """Return the mean of the leave-one-out samples, their spread and the jackknife, from leaving out all pairs."""
    xp, (n, m) = products.xp, drawn.probes.shape
    inside = xp.sum(found.basis * found.images, axis=1)[:, None]
    if found.left_out is None:
        return _captured(products, drawn, found)
    s = found.left_out
    basis, images = xp.matmul(found.basis, products.on_device(s)), xp.matmul(found.images, products.on_device(s))
    rho = np.sum(s * found.coefficients, axis=0)
    signs = n * drawn.probes
    removed, outside = basis * images, signs * basis * products.on_device(rho)
    samples = inside - removed + outside
    value = xp.mean(samples, axis=1)
    if m < 2:
        return _Entries(to_host(value), None, m, _rounding(drawn))
    cosine = s.T @ s
    np.fill_diagonal(cosine, 0.0)
    weight = 1.0 / (1.0 - cosine**2)
    np.fill_diagonal(weight, 0.0)
    cross, mixed = products.on_device(weight * cosine), products.on_device(rho[:, None] * weight * cosine)
    total = products.on_device(weight)
    pairs = xp.matmul(outside - removed, total) - removed * products.on_device(np.sum(weight, axis=0))
    pairs = pairs + xp.matmul(basis, cross) * images + basis * xp.matmul(images, cross)
    pairs = pairs - xp.matmul(signs, mixed) * basis
    without = inside + pairs / (m - 1)
    plain = to_host(xp.std(samples, axis=1, correction=1)) / np.sqrt(m)
    jackknife = to_host(xp.std(without, axis=1, correction=0)) * np.sqrt(m - 1)
    return _Entries(to_host(value), np.sqrt(plain * jackknife), m, _rounding(drawn))


def _deflated(products: Products, budget: int, seed: int) -> _Entries:
    """Return ``diag(Q Q' A)`` and Hutchinson's samples of ``diag((I - Q Q') A)``."""
    k = budget // 3
    xp, n = products.xp, products.operator.shape[0]
    drawn = draw(products, k, seed=seed, distribution="rademacher")
    found = sketch(products, drawn)
    if found.left_out is None:
        return _captured(products, drawn, found)
    like = products.operator.like
    signs = start_vectors(like, num=budget - 2 * k, rng=seed, first=k, distribution="rademacher") / math.sqrt(n)
    images = products.multiply(signs)
    rest = images - xp.matmul(found.basis, xp.matmul(xp.matrix_transpose(found.basis), images))
    inside = xp.sum(found.basis * found.images, axis=1)[:, None]
    return _of_samples(Sketch(probes=signs, images=images), inside + n * signs * rest)


def _captured(products: Products, drawn: Sketch, found: Range) -> _Entries:
    """Return ``diag(Q Q' A)`` where the range was captured, with what the probes see outside of Q as its error."""
    xp, (n, m) = products.xp, drawn.probes.shape
    if np.linalg.matrix_rank(to_host(xp.matmul(xp.matrix_transpose(drawn.probes), drawn.probes))) < m:
        return _of_samples(drawn, n * drawn.probes * drawn.images)  # equal probes say nothing about the range
    rest = drawn.images - xp.matmul(found.basis, xp.matmul(xp.matrix_transpose(found.basis), drawn.images))
    tail = 2.0 * np.sqrt(n) * to_host(xp.max(xp.abs(rest), axis=1))
    value = to_host(xp.sum(found.basis * found.images, axis=1))
    return _Entries(value, np.zeros(n), 0, _rounding(drawn) + tail)


def _estimate(products: Products, found: _Entries, level: float) -> Estimate:
    """Return the estimate in the units of A."""
    value, half_width = found.value, None
    covers = "nothing: no interval is given"
    status: Status = "resolved"
    if found.num_probes == 0:
        half_width, status, covers = found.rounding, "exact", "rounding: nothing is random"
    elif found.stderr is not None:
        half_width = student(level, found.num_probes) * found.stderr + found.rounding
        covers = "random probes (Student t), and rounding; each entry by itself"
    return Estimate(
        value=products.unscaled(value),
        stderr=None if found.stderr is None else products.unscaled(found.stderr),
        low=None if half_width is None else products.unscaled(value - half_width),
        high=None if half_width is None else products.unscaled(value + half_width),
        level=level,
        covers=covers,
        num_matvecs=products.num_matvecs,
        status=status,
    )
