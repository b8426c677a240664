"""The answer of a survey as a tree: numbers with intervals, the spectral measure, and the eigenpairs."""

from typing import TYPE_CHECKING, Any

import numpy as np

from spectra.arrays import dtype_name, eps
from spectra.block_run import BlockRun, ComplementTrace
from spectra.bulk import negative_mass
from spectra.errors import ArgumentError
from spectra.estimates import Estimate
from spectra.integrals import expectation, moment
from spectra.measure_schema import MEASURE_SCHEMA, MEASURE_SCHEMA_VERSION
from spectra.missed_pairs import Multiplicities
from spectra.probe_tables import ProbeTables
from spectra.stochastic_trace import student
from spectra.survey_conditioning import Ends, ends_of
from spectra.survey_extremes import Extremes, extremes_dataset
from spectra.thick_restart import RitzPairs

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["SURVEY_SCHEMA", "SURVEY_SCHEMA_VERSION", "measure_of", "survey_tree"]

SURVEY_SCHEMA = "spectra/survey"
SURVEY_SCHEMA_VERSION = 1

_SAME = 1e-6
"""Ritz values within twice this, relative to the norm, are one eigenvalue, as in `spectra.deflation`."""

_PROBES = "random start vectors (Student t), unresolved quadrature, and rounding"
_ENDS = "random start vectors (weight on the outermost eigenvector), and rounding"


def measure_of(run: BlockRun) -> "xr.Dataset":
    """Return the spectral measure of the start vectors, for the steps that were made; no products.

    Examples
    --------
    >>> import spectra
    >>> from spectra.operators import as_operator
    >>> run = BlockRun(as_operator(np.diag(np.arange(50.0))), num_starts=2, seed=0)
    >>> for _ in range(5):
    ...     run.step()
    >>> same = spectra.slq(np.diag(np.arange(50.0)), num_probes=2, num_steps=5)
    >>> bool(np.allclose(measure_of(run)["ritz_value"], same["ritz_value"]))
    True
    """
    import xarray as xr

    from spectra.provenance import provenance

    operator = run.operator
    tables = ProbeTables(dimension=operator.shape[0], eps=eps(operator.like), resolve=True)
    iteration, starts = run.iteration()
    tables.absorb(iteration, lambda: starts)
    variables = tables.variables()
    if "multiplicity" in variables:
        dims, times, meaning = variables["multiplicity"]
        index = variables["resolved_index"][1]
        nodes = [variables["ritz_value"][1][0, np.argmax(index[0] == k)] for k in range(len(times))]
        variables["multiplicity"] = dims, np.where(times > 0, times, _seen_in_block(run, np.array(nodes))), meaning
    return xr.Dataset(
        variables,
        attrs=provenance(
            schema=MEASURE_SCHEMA,
            schema_version=MEASURE_SCHEMA_VERSION,
            method="slq",
            dimension=operator.shape[0],
            operator=operator.name,
            num_matvecs=run.products.num_matvecs,
            num_steps=run.num_steps,
            seed=run.seed,
            distribution="sphere",
            reorthogonalized=1,
            dtype=dtype_name(operator.dtype),
            **run.defects,
        ),
    )


def _seen_in_block(run: BlockRun, values: np.ndarray) -> np.ndarray:
    """Return the multiplicities of resolved eigenvalues that the block space shows, 0 where it may hide a copy.

    A block of b random vectors sees an eigenvalue up to b times. Overlaps of three or so probes, see
    `spectra.deflation`, often do not tell in float32, where an angle is at least 1e-6 of the norm over the gap.
    """
    pairs = run.ritz()
    norm = float(np.max(np.abs(pairs.values)))
    known = Multiplicities(
        values=pairs.values,
        residuals=pairs.residuals,
        tolerance=_SAME * norm,
        block=run.num_starts,
        is_complete=run.is_complete,
    )
    scaled = run.products.scaled(values)
    return np.array([known.count(v) if known.is_resolved(v) else 0 for v in scaled], dtype=np.int64)


def survey_tree(
    run: BlockRun,
    pairs: Extremes,
    trace: ComplementTrace,
    *,
    keep_vectors: bool,
    positive_semidefinite: bool,
    level: float,
    attrs: dict[str, Any],
) -> "xr.DataTree":
    """Return everything that a run says, in the units of the operator.

    Raises
    ------
    ArgumentError
        If a Ritz value is negative beyond rounding although the operator was declared positive semidefinite.
    """
    import xarray as xr

    from spectra.provenance import provenance

    products, n = run.products, run.operator.shape[0]
    precision = eps(run.operator.like)
    lowest = pairs.pairs.values[0]
    if positive_semidefinite and lowest < -np.sqrt(precision) * pairs.norm:
        raise ArgumentError(
            f"{run.operator.name!r} is not positive semidefinite: it has an eigenvalue of at most "
            f"{float(products.unscaled(lowest)):.6g}; leave positive_semidefinite out"
        )
    unscaled = RitzPairs(
        values=products.unscaled(pairs.pairs.values),
        residuals=products.unscaled(pairs.pairs.residuals),
        coefficients=pairs.pairs.coefficients,
    )
    measure = measure_of(run)
    ends = ends_of(
        run.iteration()[0].tridiagonal(),
        unscaled,
        dimension=n,
        is_complete=run.is_complete,
        positive_semidefinite=positive_semidefinite,
        level=level,
        eps=precision,
        defects=list(run.defects.values()),
    )
    whole = _trace_row(run, trace, level)
    rows = {
        "trace": whole,
        "squared_frobenius_norm": _times(n, moment(measure, 2, level=level)),
        # Of a semidefinite operator the norm is the trace, which the samples know better.
        "nuclear_norm": whole if positive_semidefinite else _times(n, expectation(measure, np.abs, level=level)),
        "negative_mass": _DECLARED if positive_semidefinite else _times(1, negative_mass(measure, level=level)),
        **_end_rows(ends, unscaled),
    }
    content: dict[str, Any] = {
        name: ("quantity", np.array([row[i] for row in rows.values()]))
        for i, name in enumerate(("value", "stderr", "low", "high", "status", "covers"))
    }
    common = {"num_matvecs": products.num_matvecs, "seed": run.seed}
    numbers = xr.Dataset(content, coords={"quantity": list(rows)})
    root = xr.Dataset(
        attrs=provenance(
            schema=SURVEY_SCHEMA,
            schema_version=SURVEY_SCHEMA_VERSION,
            operator=run.operator.name,
            dimension=n,
            num_probes=run.num_starts,
            num_steps=run.num_steps,
            num_samples=run.num_samples,
            positive_semidefinite=int(positive_semidefinite),
            level=level,
            dtype=dtype_name(run.operator.dtype),
            **common,
            **run.operator.facts,
            **run.defects,
            **attrs,
        ),
    )
    found = extremes_dataset(run, pairs, keep_vectors=keep_vectors, attrs=common)
    return xr.DataTree.from_dict({"/": root, "/quantities": numbers, "/measure": measure, "/eigenpairs": found})


_Row = tuple[float, float, float, float, str, str]

_DECLARED: _Row = (0.0, 0.0, 0.0, 0.0, "exact", "nothing: the operator was declared positive semidefinite")


def _trace_row(run: BlockRun, trace: ComplementTrace, level: float) -> _Row:
    """Return the trace: known on the block space, Student's t for what was sampled outside."""
    value, rounding, stderr = (float(run.products.unscaled(x)) for x in (trace.value, trace.rounding, trace.stderr))
    if run.is_complete:
        return value, 0.0, value - rounding, value + rounding, "exact", "rounding: nothing is random"
    if len(trace.samples) < 2:
        return np.nan, np.nan, np.nan, np.nan, "unresolved", "nothing: there are no samples outside of the space"
    half = student(level, len(trace.samples)) * stderr + rounding
    return value, stderr, value - half, value + half, "resolved", "random samples (Student t), and rounding"


def _times(factor: int, estimate: Estimate) -> _Row:
    def scaled(x: float | None) -> float:
        return np.nan if x is None else factor * x

    covers = _PROBES if estimate.low is not None else estimate.covers
    numbers = (scaled(x) for x in (estimate.value, estimate.stderr, estimate.low, estimate.high))
    return (*numbers, estimate.status, covers)  # type: ignore[return-value]


def _end_rows(ends: Ends, pairs: RitzPairs) -> dict[str, _Row]:
    """Return the ends of the spectrum and the condition numbers."""
    rows: dict[str, _Row] = {}
    for name, interval, value in (
        ("smallest_eigenvalue", ends.smallest, pairs.values[0]),
        ("largest_eigenvalue", ends.largest, pairs.values[-1]),
    ):
        rows[name] = float(value), np.nan, *interval, "resolved", _ENDS
    for name, ratio in (
        ("condition_number", ends.condition),
        ("pseudo_condition_number", ends.pseudo_condition),
    ):
        rows[name] = ratio.value, np.nan, ratio.low, ratio.high, ratio.status, _ENDS
    return rows
