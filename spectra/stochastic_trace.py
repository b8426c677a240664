"""The trace of an implicit symmetric operator, within a budget of products."""

from typing import Literal

import numpy as np

from spectra.arrays import eps, finite_number
from spectra.columns import all_columns
from spectra.errors import ArgumentError
from spectra.estimates import Estimate, Status
from spectra.products import Products
from spectra.protocols import Array, SupportsMatmul
from spectra.sketches import Sketch, draw, range_of, sketch
from spectra.soundness import require_repeatable
from spectra.start_vectors import as_count, as_seed
from spectra.trace_estimators import ROUNDING, TraceSamples, hutch_plus_plus, hutchinson, xnystrace, xtrace

__all__ = ["Method", "as_level", "student", "trace"]

Method = Literal["auto", "xtrace", "xnystrace", "hutch++", "hutchinson"]
# Fewer products than this leave no probe for the estimate.
_LEAST = {"auto": 1, "hutchinson": 1, "xnystrace": 1, "xtrace": 2, "hutch++": 3}


def trace(
    A: SupportsMatmul | Array,
    *,
    num_matvecs: int = 100,
    method: Method = "auto",
    positive_semidefinite: bool = False,
    rng: int | np.random.Generator = 0,
    level: float = 0.95,
) -> Estimate:
    """Estimate ``tr A`` from at most ``num_matvecs`` products, with an interval.

    Parameters
    ----------
    A : Operator or anything `as_operator` accepts, shape (n, n)
        Real symmetric.
    num_matvecs : int
        Products to spend at most, all of them counted.
    method : {"auto", "xtrace", "xnystrace", "hutch++", "hutchinson"}
        If ``num_matvecs >= n`` every method takes the products with the n unit vectors instead: the exact trace.
        Else:

        * ``"hutchinson"``: the mean of ``n v'Av`` over random unit vectors;
        * ``"hutch++"``: the trace on the range of ``A Omega``, and Hutchinson outside of it; a third of the products
          for each of ``A Omega``, its basis, and the rest;
        * ``"xtrace"``: the mean over what each probe, left out of the sketch in turn, says: half of the products for
          ``A Omega``, half for its basis;
        * ``"xnystrace"``: the same with the Nystrom approximation, which needs no products with the basis; positive
          semidefinite operators only;
        * ``"auto"``: XNysTrace if ``positive_semidefinite``. Else half of the products are spent on ``A Omega``, and
          the variances of XTrace and of Hutchinson's estimator at full budget are predicted from them; the other half
          follows the smaller one, so that neither a decaying nor a flat spectrum costs more than it has to. Fewer
          than 8 products: Hutchinson.
    positive_semidefinite : bool
        Declares that A has no negative eigenvalue. ``method="xnystrace"`` implies it.
    rng : int or numpy.random.Generator
        Seed; probe i depends on (seed, i) only.
    level : float
        Nominal coverage, in (0, 1).

    Returns
    -------
    Estimate
        In the units of A. Independent samples: Student's t. XTrace and XNysTrace: Student's t times the geometric mean
        of spread and jackknife, see `spectra.trace_estimators.TraceSamples.stderr`. ``status`` is ``"exact"`` where
        nothing is random: after n products, or where the sketch captured the range of A up to rounding. A single
        probe gives neither standard error nor interval.

    Raises
    ------
    ArgumentError
        For a wrong call, before any product; or if A is declared positive semidefinite, and ``Omega' A Omega`` proves
        that it is not.
    NotSymmetricError
        If ``u'(Av)`` and ``v'(Au)`` differ by more than sqrt(eps) relative.
    NonDeterministicError
        If two calls contradict each other by more than sqrt(eps) relative. XTrace and Hutch++ compare at no cost,
        the other methods spend one product of a budget of at least 3 on it.
    NonFiniteError
        If a product contains NaN or infinity.

    Notes
    -----
    Holds at most ``num_matvecs n`` numbers, and copies of them for a moment.

    Source: Epperly, Tropp and Webber (2024) for XTrace and XNysTrace; Meyer, Musco, Musco and Woodruff (2021); Girard
    (1989); Hutchinson (1990). Intervals and automatic choice are constructions of this project, measured by
    ``scripts/benchmarks/trace_coverage.py``.

    Examples
    --------
    >>> import numpy as np
    >>> A = np.diag(1.0 / np.arange(1.0, 501.0) ** 2)
    >>> estimate = trace(A, num_matvecs=60)
    >>> bool(estimate.low <= np.trace(A) <= estimate.high), bool(estimate.high - estimate.low < 0.02)
    (True, True)
    >>> trace(A, num_matvecs=500).status
    'exact'
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
        return _exact(products, spare=num_matvecs > n, level=level, definite=positive_semidefinite)
    samples = _samples(products, num_matvecs, method, seed, definite=positive_semidefinite)
    return _estimate(products, samples, level)


def as_level(level: float) -> float:
    """Return the nominal coverage as a float in (0, 1), or raise ArgumentError."""
    number = finite_number(level, name="level")
    if not 0.0 < number < 1.0:
        raise ArgumentError(f"level must lie strictly between 0 and 1, got {level!r}")
    return number


def student(level: float, num_samples: int) -> float:
    """Return the two-sided quantile of Student's t for the mean of ``num_samples`` values.

    Examples
    --------
    >>> round(student(0.95, 10), 3)
    2.262
    """
    from scipy.special import stdtrit

    return float(stdtrit(num_samples - 1, 0.5 + 0.5 * level))


def _samples(products: Products, budget: int, method: str, seed: int, *, definite: bool) -> TraceSamples:
    """Spend the budget as the method says."""
    if method == "auto" and definite:
        method = "xnystrace"
    if method == "auto" and budget < 8:
        method = "hutchinson"
    if method == "hutch++":
        return hutch_plus_plus(products, num_sketch=budget // 3, num_residual=budget - 2 * (budget // 3), seed=seed)
    if method in ("hutchinson", "xnystrace"):
        drawn = _draw_checked(products, budget, seed)
        return hutchinson(drawn) if method == "hutchinson" else xnystrace(products, drawn)
    drawn = draw(products, budget // 2, seed=seed)
    basis = range_of(drawn.images)
    if method == "auto" and basis[0].shape[1] == budget // 2 and not _sketch_pays(drawn, basis[1]):
        rest = _draw_checked(products, budget - budget // 2, seed, first=budget // 2)
        xp = products.xp
        return hutchinson(
            Sketch(
                probes=xp.concat([drawn.probes, rest.probes], axis=1),
                images=xp.concat([drawn.images, rest.images], axis=1),
            )
        )
    return xtrace(drawn, sketch(products, drawn, basis=basis))


def _draw_checked(products: Products, budget: int, seed: int, *, first: int = 0) -> Sketch:
    """Draw probes; of three products or more, repeat one to see whether the operator is deterministic."""
    repeat = budget > 2
    drawn = draw(products, budget - int(repeat), seed=seed, first=first)
    if repeat:
        require_repeatable(products, drawn.probes[:, 0], drawn.images[:, 0])
    return drawn


def _sketch_pays(drawn: Sketch, triangle: np.ndarray) -> bool:
    """Predict whether XTrace has less variance than Hutchinson's estimator with twice as many probes.

    Hutchinson with 2 m probes: ``(||A||_F**2 - (tr A)**2 / n) / m``. XTrace: at most ``2 ||(I - Q)A||_F**2 / m``, where
    ``||(I - Q_i) A omega_i||**2`` from leaving one probe out estimates the norm.
    """
    n = drawn.probes.shape[0]
    images = np.sum(triangle**2, axis=0)
    outside = 1.0 / np.sum(np.linalg.inv(triangle) ** 2, axis=1)
    flat = float(np.mean(drawn.quadratic_forms())) ** 2 * n
    return bool(2.0 * np.mean(outside) * n <= max(np.mean(images) * n - flat, 0.0))


def _exact(products: Products, *, spare: bool, level: float, definite: bool) -> Estimate:
    """Return the trace from the products with all unit vectors."""
    columns = all_columns(products, repeat=spare)
    if definite:
        values = np.linalg.eigvalsh(columns)
        if values[0] < -ROUNDING * eps(products.operator.like) * np.max(np.abs(values)):
            raise ArgumentError(
                f"{products.operator.name!r} is not positive semidefinite: it has the eigenvalue "
                f"{float(products.unscaled(values[0])):.6g}; leave positive_semidefinite out"
            )
    diagonal = np.diag(columns)
    rounding = ROUNDING * eps(products.operator.like) * float(np.sum(np.abs(diagonal)))
    exact = TraceSamples(samples=np.array([np.sum(diagonal)]), without=None, rounding=rounding, captured=True)
    return _estimate(products, exact, level)


def _estimate(products: Products, samples: TraceSamples, level: float) -> Estimate:
    """Return the estimate in the units of A."""
    value, stderr = samples.value, samples.stderr
    half_width = None
    covers = "rounding: nothing is random"
    if samples.captured:
        half_width = samples.rounding
    elif stderr is not None:
        half_width = student(level, len(samples.samples)) * stderr + samples.rounding
        covers = "random probes (Student t), and rounding"
        if samples.without is not None:
            covers = "random probes (Student t, spread and jackknife), and rounding"
    else:
        covers = "nothing: no interval is given"
    status: Status = "exact" if samples.captured else "resolved"
    return Estimate(
        value=float(products.unscaled(value)),
        stderr=None if stderr is None else float(products.unscaled(stderr)),
        low=None if half_width is None else float(products.unscaled(value - half_width)),
        high=None if half_width is None else float(products.unscaled(value + half_width)),
        level=level,
        covers=covers,
        num_matvecs=products.num_matvecs,
        status=status,
    )
