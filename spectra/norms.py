"""Norms of an implicit symmetric operator: Frobenius and Schatten."""

from dataclasses import replace
from typing import Literal

import numpy as np

from spectra.arrays import eps, finite_number
from spectra.columns import all_columns
from spectra.errors import ArgumentError
from spectra.estimates import Estimate
from spectra.products import Products
from spectra.protocols import Array, SupportsMatmul
from spectra.sketches import Sketch, column_dots, draw, sketch
from spectra.soundness import require_repeatable
from spectra.spectral_sums import spectral_sums
from spectra.start_vectors import as_count, as_seed
from spectra.stochastic_trace import as_level, student
from spectra.trace_estimators import ROUNDING, TraceSamples, xfrobenius

__all__ = ["frobenius_norm", "schatten_norm"]


def frobenius_norm(
    A: SupportsMatmul | Array,
    *,
    num_matvecs: int = 100,
    method: Literal["leave_one_out", "hutchinson"] = "leave_one_out",
    rng: int | np.random.Generator = 0,
    level: float = 0.95,
) -> Estimate:
    """Estimate ``||A||_F = (sum of squared eigenvalues)**(1/2)`` from at most ``num_matvecs`` products.

    Parameters
    ----------
    A : Operator or anything `as_operator` accepts, shape (n, n)
        Real symmetric.
    num_matvecs : int
        Products to spend at most, all of them counted.
    method : {"leave_one_out", "hutchinson"}
        If ``num_matvecs >= n``, or for fewer than 4 products, see below. ``"hutchinson"``: the mean of ``||A v||**2``
        over random v of norm sqrt(n). ``"leave_one_out"``: the part on the range of a sketch exactly, the rest from
        the probes of the sketch, see `spectra.trace_estimators.xfrobenius`; two products a probe. The latter errs less
        where few eigenvalues carry the norm, and at most 1.4 times more where all are alike.
    rng : int or numpy.random.Generator
        Seed; probe i depends on (seed, i) only.
    level : float
        Nominal coverage, in (0, 1).

    Returns
    -------
    Estimate
        In the units of A. The interval is that of the squared norm, mapped through the root; its lower end is not
        below 0. ``"exact"`` after n products, or where the range of A was captured. One probe: no interval.

    Raises
    ------
    ArgumentError
        For a wrong call, before any product.
    NotSymmetricError, NonDeterministicError, NonFiniteError
        As `spectra.trace`.

    Notes
    -----
    With ``num_matvecs >= n`` the products with the n unit vectors are taken, with fewer than 4 ``"hutchinson"``. Ten
    probes are few for a leave-one-out interval: with eigenvalues ``i**-0.5``, n = 2000, nominal 95% covered 91% at 20
    products, 96% at 50.

    Source: Girard (1989) for ``||A v||**2``; the leave-one-out form is a construction of this project after Epperly,
    Tropp and Webber (2024).

    Examples
    --------
    >>> import numpy as np
    >>> estimate = frobenius_norm(np.diag(np.r_[3.0, 4.0, np.zeros(298)]))
    >>> round(estimate.value, 10), estimate.status
    (5.0, 'exact')
    """
    num_matvecs = as_count(num_matvecs, name="num_matvecs")
    if method not in ("leave_one_out", "hutchinson"):
        raise ArgumentError(f"method must be 'leave_one_out' or 'hutchinson', got {method!r}")
    level, seed = as_level(level), as_seed(rng)
    products = Products(A)
    n = products.operator.shape[0]
    if num_matvecs >= n:
        square = float(np.sum(all_columns(products, repeat=num_matvecs > n) ** 2))
        rounding = ROUNDING * eps(products.operator.like) * square
        samples = TraceSamples(samples=np.array([square]), without=None, rounding=rounding, captured=True)
    elif method == "hutchinson" or num_matvecs < 4:
        samples = _plain(products, num_matvecs, seed)
    else:
        drawn = draw(products, num_matvecs // 2, seed=seed)
        samples = xfrobenius(drawn, sketch(products, drawn))
    return _rooted(products, samples, level)


def schatten_norm(
    A: SupportsMatmul | Array,
    order: float,
    *,
    num_probes: int = 10,
    num_steps: int = 30,
    rng: int | np.random.Generator = 0,
    level: float = 0.95,
) -> Estimate:
    """Estimate the Schatten norm ``(tr |A|**order)**(1 / order)``; order 1 is the nuclear norm, 2 the Frobenius norm.

    Parameters
    ----------
    A : Operator or anything `as_operator` accepts, shape (n, n)
        Real symmetric.
    order : float
        Positive and finite; a norm from 1 on.
    num_probes, num_steps : int
        Random probes, and Lanczos steps of each.
    rng : int or numpy.random.Generator
        Seed.
    level : float
        Nominal coverage, in (0, 1).

    Returns
    -------
    Estimate
        In the units of A; the interval of ``tr |A|**order`` mapped through the root, its lower end not below 0.
        ``status`` as for `spectra.expectation`; ``"exact"`` where all eigenvalues are known.

    Raises
    ------
    ArgumentError
        For a wrong call.
    NotSymmetricError, NonDeterministicError, NonFiniteError
        As `spectra.slq`.

    Notes
    -----
    Costs ``num_probes num_steps`` products and one for the repetition; if n is at most that and 1000, ``n + 1``.
    ``|x|`` has a kink: for an odd or fractional order of an indefinite operator, quadrature converges slowly.

    Source: Ubaru, Chen and Saad (2017).

    Examples
    --------
    >>> import numpy as np
    >>> round(schatten_norm(np.diag([3.0, -4.0]), 2).value, 12)
    5.0
    """
    order = finite_number(order, name="order")
    if order <= 0.0:
        raise ArgumentError(f"order must be positive, got {order!r}")
    level = as_level(level)
    found = spectral_sums(A, num_probes=num_probes, num_steps=num_steps, rng=rng)
    norm = found.norm or 1.0
    estimate = found.estimate(lambda x: np.abs(x / norm) ** order, level=level)
    return root(estimate, order, unit=norm)


def root(estimate: Estimate, order: float, *, unit: float = 1.0) -> Estimate:
    """Return the estimate of ``unit x**(1 / order)`` from that of x >= 0; the standard error by the delta method."""

    def rooted(x: float | None) -> float | None:
        return None if x is None else unit * max(x, 0.0) ** (1.0 / order)

    value, stderr = rooted(estimate.value), None
    assert value is not None
    if estimate.stderr is not None:
        stderr = value * estimate.stderr / (order * estimate.value) if estimate.value > 0.0 else 0.0
    return replace(estimate, value=value, stderr=stderr, low=rooted(estimate.low), high=rooted(estimate.high))


def _plain(products: Products, budget: int, seed: int) -> TraceSamples:
    """Return the samples ``n ||A v||**2`` of unit vectors v."""
    repeat = budget > 2
    drawn: Sketch = draw(products, budget - int(repeat), seed=seed)
    if repeat:
        require_repeatable(products, drawn.probes[:, 0], drawn.images[:, 0])
    squares = drawn.probes.shape[0] * column_dots(drawn.images, drawn.images)
    rounding = ROUNDING * eps(drawn.probes) * float(np.mean(squares))
    return TraceSamples(samples=squares, without=None, rounding=rounding)


def _rooted(products: Products, samples: TraceSamples, level: float) -> Estimate:
    """Return the estimate of the root, in the units of A."""
    stderr, half_width, covers = samples.stderr, None, "nothing: no interval is given"
    if samples.captured:
        half_width, covers = samples.rounding, "rounding: nothing is random"
    elif stderr is not None:
        half_width = student(level, len(samples.samples)) * stderr + samples.rounding
        covers = "random probes (Student t), and rounding"
    square = Estimate(
        value=samples.value,
        stderr=stderr,
        low=None if half_width is None else samples.value - half_width,
        high=None if half_width is None else samples.value + half_width,
        level=level,
        covers=covers,
        num_matvecs=products.num_matvecs,
        status="exact" if samples.captured else "resolved",
    )
    return root(square, 2.0, unit=float(products.unscaled(1.0)))
