r"""Test error of kernel ridge regression against the number of samples, from the eigenpairs of a pool."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from spectra.errors import ArgumentError
from spectra.frozen import Vector
from spectra.kernels.gram_input import as_gram
from spectra.kernels.leave_one_out import leave_one_out_of
from spectra.kernels.pool import pool_of
from spectra.kernels.ridge_fit import RidgeFit, checked_ridges, ridge_fit
from spectra.provenance import provenance
from spectra.start_vectors import as_count, as_seed

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["LEARNING_CURVE_SCHEMA", "LEARNING_CURVE_SCHEMA_VERSION", "checked_sizes", "host_gram", "learning_curve"]

LEARNING_CURVE_SCHEMA = "spectra/learning-curve"
LEARNING_CURVE_SCHEMA_VERSION = 1

#: Share of the pool up to which the correction was measured to be good: median error 3 %, 90 % below 22 %; beyond it
#: 7 % and 38 % (the second pair: an earlier measurement).
SHARE = 0.25
#: Training sets that are fitted, disjoint up to that share, and splits of the pool in halves (design choices).
NUM_SUBSETS, NUM_SPLITS = 4, 4
#: Ratio of the theory to the fits that is called a disagreement (design choice: above the measured 19 %), and how many
#: standard errors of the fits it must be.
RATIO, NUM_STDERR = 1.25, 3.0
#: Two-sided normal quantile of the interval.
WIDE = 1.96
COVERS = (
    "the range of theory and fits, widened by 1.96 standard errors of the theory over draws of the pool: measured on "
    "other samples than the pool's it held the error in 94 % of 350 trustworthy cases with pools of up to 400. stderr: "
    "scatter of the theory over pools alone. measured_stderr: scatter over four training sets"
)


def learning_curve(
    K: Any,
    y: Any,
    *,
    sizes: Sequence[int] | npt.ArrayLike,
    ridge_per_sample: npt.ArrayLike | None = None,
    ridge: npt.ArrayLike | None = None,
    rng: int | np.random.Generator = 0,
) -> "xr.Dataset":
    r"""Return predicted test errors for training sets of several sizes, drawn from N given samples.

    Theory with the eigenvalues and signal of the N samples, corrected for the training set being a share n/N of them;
    beside it, errors of a few actual fits on n samples, tested on the rest, and leave-one-out at n = N.

    Parameters
    ----------
    K : array of any library, shape (N, N)
        Gram matrix of the pool, without a factor 1/N.
    y : array, shape (N,) or (N, C)
        Targets; there is no intercept.
    sizes : array_like of int
        Sizes n of training sets, below N; trustworthy up to N/4.
    ridge_per_sample, ridge : array_like, shape (R,) or a number
        Exactly one of the two: ridges divided by n, or the same ridges at all sizes.
    rng : int or numpy.random.Generator
        For the subsets.

    Returns
    -------
    xarray.Dataset
        Dimensions ``num_samples`` (ascending) and ``ridge`` (as given; attribute ``ridge_unit`` says which).
        ``test_error``, ``stderr``, ``low``, ``high`` (NaN for n > N/4), ``train_error`` (mean squares, summed over
        outputs), ``kappa``, ``df1``, ``df2``, ``overfitting_coefficient``, ``effective_ridge`` (unnormalized);
        ``measured_error`` and ``measured_stderr`` of fits (NaN for n > N/2); ``is_trustworthy`` and ``why``. Over
        ``ridge`` alone: ``leave_one_out`` and ``leave_one_out_stderr`` at n = N. Attributes: ``pool_size``,
        ``label_variance``, ``covers``, the provenance.

    Raises
    ------
    ArgumentError
        If a size is not from 1 to N - 1, or not exactly one kind of ridge is given.
    ShapeError, NonFiniteError, NotSymmetricError, BackendError
        As :func:`spectra.kernels.leave_one_out.leave_one_out`.

    Notes
    -----
    An eigendecomposition of order N, eight of order N/2 and four of each size up to N/2: about three times the first.
    Eigenlearning: Simon, Dickens, Karkada, DeWeese (2021), arXiv 2110.03922; the correction is derived here. Smooth
    kernels without a ridge defeat it: the fits show that.

    Examples
    --------
    Samples that share nothing are never learned.

    >>> curve = learning_curve(np.eye(40), np.ones(40), sizes=[4, 8], ridge_per_sample=0.1)
    >>> curve["test_error"].values.ravel().round(9).tolist(), curve["measured_error"].values.ravel().tolist()
    ([1.0, 1.0], [1.0, 1.0])
    """
    import xarray as xr

    given_ridge = ridge if ridge_per_sample is None else ridge_per_sample
    if given_ridge is None or (ridge is not None and ridge_per_sample is not None):
        raise ArgumentError("give either ridge_per_sample (divided by n) or ridge (the same at all sizes)")
    given = checked_ridges(given_ridge)
    matrix = host_gram(K)
    fit = ridge_fit(matrix, y)
    n_pool = fit.num_samples
    counts = checked_sizes(sizes, below=n_pool)
    generator = np.random.default_rng(as_seed(rng))
    asked = np.array([given * (1 if ridge_per_sample is None else n) for n in counts])
    pool = pool_of(fit)
    found = [[pool.predict(n, delta) for delta in row] for n, row in zip(counts, asked, strict=True)]
    delta = np.array([np.maximum(row, pool.floor(n)) for n, row in zip(counts, asked, strict=True)])
    test = np.array([[pool.test_error(n, one) for one in row] for n, row in zip(counts, asked, strict=True)])
    stderr = test * _scatter(matrix, fit, counts, delta, generator)
    measured, spread = _fits(matrix, fit, counts, delta, generator)
    widen = np.exp(WIDE * stderr / np.maximum(test, np.finfo(float).tiny))
    verdicts = np.array(
        [
            [_distrust(fit, counts[i], test[i, j], measured[i, j], spread[i, j]) for j in range(given.size)]
            for i in range(len(counts))
        ]
    )
    at_pool = [leave_one_out_of(fit, ridge=one * (1 if ridge_per_sample is None else n_pool)) for one in given]
    both = ("num_samples", "ridge")
    columns: dict[str, Any] = {"test_error": (both, test), "stderr": (both, stderr)}
    for name in ("train_error", "kappa", "df1", "df2", "overfitting_coefficient"):
        columns[name] = (both, np.array([[getattr(one, name) for one in row] for row in found]))
    columns |= {
        "low": (both, np.minimum(test, measured) / widen),
        "high": (both, np.maximum(test, measured) * widen),
        "effective_ridge": (both, delta),
        "measured_error": (both, measured),
        "measured_stderr": (both, spread),
        "is_trustworthy": (both, verdicts == ""),
        "why": (both, np.where(verdicts == "", "theory and fits agree, and n is at most N/4", verdicts)),
        "leave_one_out": ("ridge", np.array([one.risk for one in at_pool])),
        "leave_one_out_stderr": ("ridge", np.array([one.stderr for one in at_pool])),
    }
    return xr.Dataset(
        columns,
        coords={"num_samples": counts, "ridge": given},
        attrs=provenance(
            schema=LEARNING_CURVE_SCHEMA,
            schema_version=LEARNING_CURVE_SCHEMA_VERSION,
            pool_size=n_pool,
            num_outputs=fit.target.shape[1],
            ridge_unit="unnormalized" if ridge_per_sample is None else "per sample",
            label_variance=fit.label_variance,
            covers=COVERS,
            remarks=" ".join(fit.spectrum.remarks),
        ),
    )


def checked_sizes(sizes: Sequence[int] | npt.ArrayLike, *, below: float = math.inf) -> list[int]:
    """Return sizes of training sets, ascending and each once.

    Parameters
    ----------
    sizes : array_like of int
        At least one, each at least 1.
    below : float
        All must be smaller.

    Raises
    ------
    ArgumentError
        If that is not so.

    Examples
    --------
    >>> checked_sizes([4, 2, 4])
    [2, 4]
    """
    given = np.atleast_1d(np.asarray(sizes))
    if given.ndim != 1 or given.size == 0:
        raise ArgumentError(f"at least one size is needed; got {sizes!r}")
    counts = sorted({as_count(one, name="sizes") for one in given})
    if counts[-1] >= below:
        raise ArgumentError(f"sizes must be below the {below} samples of the pool, to leave some; got {counts[-1]}")
    return counts


def host_gram(K: Any) -> np.ndarray:
    """Return a checked Gram matrix on the host in the precision in which it came, so that its parts have its floor.

    Examples
    --------
    >>> host_gram(np.eye(2, dtype=np.float32)).dtype.name
    'float32'
    """
    matrix, eps = as_gram(K)
    return matrix.astype(np.float32) if eps > np.finfo(np.float64).eps else matrix


def _scatter(
    matrix: np.ndarray, fit: RidgeFit, counts: list[int], delta: Vector, generator: np.random.Generator
) -> Vector:
    """Return the relative standard error of the theory from differences of halves of the pool; NaN beyond N/4."""
    n_pool = fit.num_samples
    squares = np.full((NUM_SPLITS, *delta.shape), np.nan)
    small = [i for i, n in enumerate(counts) if n <= SHARE * n_pool]
    for split in range(NUM_SPLITS if small else 0):
        order = generator.permutation(n_pool)
        logs = []
        for half in (order[: n_pool // 2], order[n_pool // 2 :]):
            part = matrix[np.ix_(half, half)]
            if not np.any(part):
                return squares[0]
            pool = pool_of(ridge_fit(part, fit.target[half]))
            values = np.array([[pool.test_error(counts[i], one) for one in delta[i]] for i in small])
            logs.append(np.log(np.maximum(values, np.finfo(float).tiny)))
        # Halves have twice the variance of the whole each, and are independent.
        squares[split, small] = (logs[0] - logs[1]) ** 2 / 4
    return np.sqrt(np.mean(squares, axis=0))


def _fits(
    matrix: np.ndarray, fit: RidgeFit, counts: list[int], delta: Vector, generator: np.random.Generator
) -> tuple[Vector, Vector]:
    """Return the mean error of fits on n samples, tested on the others, and its standard error; NaN beyond N/2."""
    errors = np.full((NUM_SUBSETS, *delta.shape), np.nan)
    order = generator.permutation(fit.num_samples)
    for i, n in enumerate(counts):
        for k in range(NUM_SUBSETS if 2 * n <= fit.num_samples else 0):
            chosen = np.roll(order, -k * n)
            train, test = chosen[:n], chosen[n:]
            part = matrix[np.ix_(train, train)]
            if not np.any(part):
                continue
            solved = ridge_fit(part, fit.target[train])
            for j, one in enumerate(delta[i]):
                error = fit.target[test] - matrix[np.ix_(test, train)] @ solved.coefficients(one)
                errors[k, i, j] = np.sum(error**2) / len(test)
    return np.mean(errors, axis=0), np.std(errors, axis=0, ddof=1) / math.sqrt(NUM_SUBSETS)


def _distrust(fit: RidgeFit, n: int, test: float, measured: float, stderr: float) -> str:
    """Return why a prediction is not trustworthy; empty if it is."""
    reasons = []
    if n > SHARE * fit.num_samples:
        reasons.append(f"n = {n} is more than a quarter of the pool of {fit.num_samples}")
    if max(test, 0 if math.isnan(measured) else measured) > fit.label_variance:
        reasons.append("the error exceeds the variance of the targets")
    gap = abs(test - measured)
    if gap > (RATIO - 1) * measured and gap > NUM_STDERR * stderr:
        reasons.append(f"theory says {test:.3g} and fits show {measured:.3g}")
    return "; and ".join(reasons)
