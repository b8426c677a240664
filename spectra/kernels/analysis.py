r"""All that a kernel and a sample say, in one tree: decay, regime, condition, risk, learning curve, dimension."""

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from spectra.arrays import as_array, to_host
from spectra.errors import ArgumentError
from spectra.frozen import Vector
from spectra.kernels.analysis_rows import drawn_rows, take_rows
from spectra.kernels.best_ridge import best_ridge_of
from spectra.kernels.conditioning import kernel_condition
from spectra.kernels.dimension_table import dimension_of_spectrum
from spectra.kernels.eigendecay import eigendecay
from spectra.kernels.extrapolation import FARTHEST, FEWEST, extrapolate
from spectra.kernels.gram import GramSpectrum, gram_spectrum
from spectra.kernels.gram_input import as_gram, as_targets
from spectra.kernels.kernel_risk import checked_level
from spectra.kernels.large import kernel_dimension
from spectra.kernels.learning_curve import learning_curve
from spectra.kernels.overfitting_regime import overfitting_regime
from spectra.kernels.result_table import result_table
from spectra.kernels.ridge_fit import RidgeFit, checked_ridges, require_usable_size, ridge_fit
from spectra.kernels.ridge_path import ridge_path_of
from spectra.provenance import provenance
from spectra.start_vectors import as_count, as_seed

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["KERNEL_SCHEMA", "KERNEL_SCHEMA_VERSION", "analyze"]

KERNEL_SCHEMA = "spectra/kernel"
KERNEL_SCHEMA_VERSION = 1

#: Samples up to which all of them enter each part, and rows drawn at random beyond: some fifteen decompositions of this
#: order take about a minute on two cores (measured).
MAX_DENSE, SUBSAMPLE = 2500, 2000
#: Ridges of the effective dimension by default, divided by n, relative to the mean of the diagonal (design choice).
RIDGES = (1e-1, 1e-3, 1e-5)
#: Training sets of the learning curve relative to n: those for which the theory was measured to be good, and to which
#: the extrapolation was.
SMALLER, LARGER = (1 / 16, 1 / 8, 1 / 4), (1, 2, 4)
#: Samples beside the drawn rows on which their fit is tested.
HELD_OUT = 4000
#: Stream of the generator that draws the rows.
STREAM = 1


def analyze(
    source: Any,
    y: Any = None,
    *,
    kernel: Callable[[Any, Any], Any] | None = None,
    ridges: npt.ArrayLike | None = None,
    max_dense: int = MAX_DENSE,
    subsample: int = SUBSAMPLE,
    level: float = 0.95,
    rng: int | np.random.Generator = 0,
    name: str = "",
    remarks: Sequence[str] = (),
    on_stage: Callable[["xr.DataTree"], None] | None = None,
) -> "xr.DataTree":
    r"""Return the decay law, effective dimensions, overfitting regime, best ridge and predicted test error of a kernel.

    Parameters
    ----------
    source : array of any library
        A Gram matrix of shape (n, n); with ``kernel``, data of shape (n, d), of which a NumPy memmap is not read as a
        whole.
    y : array, shape (n,) or (n, C), optional
        Targets. There is no intercept: subtract their mean first, unless the kernel holds constants.
    kernel : callable, optional
        ``kernel(X, Y)`` returns the block of shape (len(X), len(Y)).
    ridges : array_like, shape (R,), optional
        Ridges at which effective dimensions are found, **divided by n**. By default 1e-1, 1e-3 and 1e-5 of the mean of
        the diagonal, and the best one.
    max_dense, subsample : int
        Beyond ``max_dense`` samples, laws and risks are those of ``subsample`` random rows, and effective dimensions
        those of all samples (data with a kernel only).
    level : float
        Of intervals.
    rng : int or numpy.random.Generator
        Seed of everything random.
    name : str
        Of the data, for reports.
    remarks : sequence of str
        What was done to them before, for reports.
    on_stage : callable, optional
        Called with the tree after each part; its attribute ``status`` is ``"interrupted"`` until the last one.

    Returns
    -------
    xarray.DataTree
        Attributes ``data``, ``kernel``, ``num_samples``, ``num_rows`` (of the Gram matrix that was decomposed),
        ``num_outputs`` (0 without targets), ``ridge_floor``, ``mean_diagonal``, ``diagonal_spread`` (relative
        standard error of that mean), ``label_variance``, ``remarks`` (JSON), the provenance.
        Children, in this order:

        - ``decay``: :class:`~spectra.kernels.decay_result.EigenDecay`; ``regime``:
          :class:`~spectra.kernels.overfitting_regime.OverfittingRegime`; ``condition``:
          :class:`~spectra.kernels.conditioning.KernelCondition`, without ridge;
        - with targets, ``best``: :class:`~spectra.kernels.best_ridge.BestRidge`; ``risk``:
          :class:`~spectra.kernels.kernel_risk.KernelRisk` there, with ``held_out_error`` and ``held_out_stderr`` on
          samples that were not drawn (NaN where all were); ``path``: :func:`~spectra.kernels.ridge_path.ridge_path`;
          ``curve``: :func:`~spectra.kernels.learning_curve.learning_curve` and ``extrapolation``:
          :func:`~spectra.kernels.extrapolation.extrapolate` at the best ridge per sample, for at least 64 rows;
        - ``dimension``: :func:`~spectra.kernels.large.kernel_dimension` over unnormalized ridges.

    Raises
    ------
    ArgumentError, ShapeError, NonFiniteError, NotSymmetricError, BackendError
        If the source is no data with a kernel and no Gram matrix, or targets do not fit it.

    Notes
    -----
    About fifteen decompositions of order ``num_rows``. Each part says what it assumes and where it is not to be
    trusted; see :mod:`spectra.kernels` for their sources.

    Examples
    --------
    >>> from spectra.kernels.stationary import Laplace
    >>> X = np.random.default_rng(0).uniform(size=(200, 1))
    >>> tree = analyze(X, np.sin(5 * X[:, 0]), kernel=Laplace(1.0))
    >>> tree["decay"].attrs["law"], list(tree.children)[:4]
    ('polynomial', ['decay', 'regime', 'condition', 'best'])
    """
    import xarray as xr

    checked_level(level)
    asked = None if ridges is None else checked_ridges(ridges)
    seed = as_seed(rng)
    rows, matrix, num_samples, found = drawn_rows(
        source,
        kernel,
        as_count(max_dense, name="max_dense"),
        as_count(subsample, name="subsample"),
        np.random.default_rng((seed, STREAM)),
    )
    targets = None if y is None else require_usable_size(as_targets(y, num_samples))
    gram, eps = as_gram(matrix)
    num_rows = len(gram)
    fit = None if targets is None else ridge_fit(matrix, targets[rows])
    spectrum = gram_spectrum(matrix) if fit is None else fit.spectrum
    remarks = (*remarks, *found, *spectrum.remarks)
    tree = xr.DataTree(
        xr.Dataset(
            attrs=provenance(
                schema=KERNEL_SCHEMA,
                schema_version=KERNEL_SCHEMA_VERSION,
                data=name,
                kernel="precomputed" if kernel is None else str(kernel),
                num_samples=num_samples,
                num_rows=num_rows,
                num_outputs=0 if targets is None else targets.shape[1],
                ridge_floor=spectrum.ridge_floor,
                mean_diagonal=float(np.mean(np.diag(gram))),
                diagonal_spread=_spread_of_mean(np.diag(gram)),
                label_variance=np.nan if fit is None else fit.label_variance,
                target_mean_square=np.nan if fit is None else fit.power,
                eps=eps,
                level=float(level),
                seed=seed,
                remarks=json.dumps(remarks),
                status="interrupted",
            )
        )
    )
    keep = on_stage or (lambda _: None)
    decay = eigendecay(matrix, rng=seed)
    tree["decay"] = xr.DataTree(decay.to_dataset())
    keep(tree)
    tree["regime"] = xr.DataTree(_regime(matrix, seed))
    tree["condition"] = xr.DataTree(result_table(kernel_condition(spectrum, decay=decay, level=level), dims={}))
    keep(tree)
    per_sample = np.array(RIDGES) * tree.attrs["mean_diagonal"] if asked is None else asked
    if fit is not None and targets is not None:
        best = _risk(tree, fit, level)
        if num_rows < num_samples:
            _hold_out(tree, fit, source, targets, kernel, rows, best)
        keep(tree)
        _curves(tree, matrix, fit, best / num_rows, level, seed)
        keep(tree)
        if asked is None:
            per_sample = np.append(per_sample, best / num_rows)
    tree["dimension"] = xr.DataTree(
        _dimension(source, kernel, spectrum, np.unique(per_sample) * num_samples, num_samples, level, seed)
    )
    tree.attrs["status"] = "complete"
    keep(tree)
    return tree


def _spread_of_mean(values: np.ndarray) -> float:
    """Return the standard error of a mean, relative to it; 0 for one value."""
    n = len(values)
    return float(np.std(values / np.mean(values), ddof=1) / np.sqrt(n)) if n > 1 else 0.0


def _regime(matrix: Any, seed: int) -> "xr.Dataset":
    """Return the regime, with what becomes of noise."""
    found = overfitting_regime(matrix, rng=seed)
    table = result_table(
        found, dims={"size": "size", "exponent": "size", "is_resolved": "size"}, skip=("risk", "amplification")
    )
    noise = found.amplification
    return table.assign_attrs(
        noise_amplification=noise.mean,
        noise_amplification_stderr=noise.stderr,
        median_amplification=noise.median,
        gaussian_amplification=noise.gaussian,
        is_heavy_tailed=int(noise.is_heavy_tailed),
    )


def _risk(tree: "xr.DataTree", fit: RidgeFit, level: float) -> float:
    """Add the best ridge, the risk there and the path; return the ridge."""
    import xarray as xr

    if fit.num_samples < 2:
        raise ArgumentError("a test error is predicted from at least two samples; got one")
    best = best_ridge_of(fit, level=level)
    tree["best"] = xr.DataTree(
        result_table(best, dims={"grid": "grid", "grid_risk": "grid"}, skip=("risk",)).assign_attrs(
            ridge_per_sample=best.ridge_per_sample
        )
    )
    risk = result_table(best.risk, dims={}, skip=("residuals",))
    tree["risk"] = xr.DataTree(
        risk.assign_attrs(explained=best.risk.explained, held_out_error=np.nan, held_out_stderr=np.nan, num_held_out=0)
    )
    tree["path"] = xr.DataTree(ridge_path_of(fit, best.grid))
    return best.ridge


def _hold_out(
    tree: "xr.DataTree", fit: RidgeFit, source: Any, targets: Vector, kernel: Any, rows: np.ndarray, ridge: float
) -> None:
    """Add the error of the fit on samples that were not drawn."""
    others = np.setdiff1d(np.arange(len(targets)), rows)[:: max(1, (len(targets) - len(rows)) // HELD_OUT)][:HELD_OUT]
    data = as_array(source, name="the source")
    if kernel is None:
        block = to_host(data)[np.ix_(others, rows)]
    else:
        block = to_host(kernel(take_rows(data, others), take_rows(data, rows)))
    squares = np.sum((targets[others] - block @ fit.coefficients(ridge)) ** 2, axis=1)
    tree["risk"].attrs |= {
        "held_out_error": float(np.mean(squares)),
        "held_out_stderr": float(np.std(squares) / np.sqrt(len(squares))),
        "num_held_out": len(others),
    }


def _curves(tree: "xr.DataTree", matrix: Any, fit: RidgeFit, ridge_per_sample: float, level: float, seed: int) -> None:
    """Add the learning curve below the rows that there are, and beyond."""
    import xarray as xr

    n, all_samples = fit.num_samples, tree.attrs["num_samples"]
    if n < 2 * FEWEST:
        return
    # Rounded down: theory is good up to a quarter.
    smaller = sorted({max(2, int(share * n)) for share in SMALLER})
    tree["curve"] = xr.DataTree(
        learning_curve(matrix, fit.target, sizes=smaller, ridge_per_sample=ridge_per_sample, rng=seed)
    )
    larger = {factor * n for factor in LARGER}
    if all_samples <= FARTHEST * n:
        larger.add(all_samples)
    tree["extrapolation"] = xr.DataTree(
        extrapolate(matrix, fit.target, sizes=sorted(larger), ridge_per_sample=ridge_per_sample, level=level, rng=seed)
    )


def _dimension(
    source: Any,
    kernel: Callable[[Any, Any], Any] | None,
    spectrum: GramSpectrum,
    ridges: Vector,
    num_samples: int,
    level: float,
    seed: int,
) -> "xr.Dataset":
    """Return effective dimensions of all samples; of the rows, scaled to them, where only their matrix is at hand."""
    if kernel is None or spectrum.num_samples == num_samples:
        return dimension_of_spectrum(spectrum, ridges * (spectrum.num_samples / num_samples), level=level)
    return kernel_dimension(kernel, source, ridges, level=level, rng=seed)
