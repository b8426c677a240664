"""One run feeds all: extreme eigenvalues, spectral measure, trace and condition numbers from the same products."""

from typing import TYPE_CHECKING

import numpy as np

from spectra.arrays import finite_number
from spectra.block_run import BlockRun
from spectra.certificates import as_level
from spectra.errors import ArgumentError
from spectra.operators import as_operator
from spectra.protocols import Array, Progress, SupportsMatmul
from spectra.start_vectors import as_count, as_seed
from spectra.survey_plan import SurveyPlan

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["SurveyInterrupted", "survey"]


class SurveyInterrupted(KeyboardInterrupt):
    """Ctrl-C during a survey; ``survey`` is what the products so far say, or None if they say nothing."""

    def __init__(self, survey: "xr.DataTree | None") -> None:
        super().__init__("survey interrupted")
        self.survey = survey


def survey(
    A: SupportsMatmul | Array,
    *,
    num_extremal: int = 5,
    num_smallest: int = 1,
    tolerance: float = 1e-4,
    trace_rtol: float = 0.01,
    num_probes: int = 3,
    num_steps: int = 20,
    max_matvecs: int | None = None,
    positive_semidefinite: bool = False,
    keep_vectors: bool = False,
    level: float = 0.95,
    rng: int | np.random.Generator = 0,
    max_basis_bytes: int = 2**32,
    progress: Progress | None = None,
) -> "xr.DataTree":
    r"""Measure extreme eigenvalues, spectral measure, trace and condition numbers of a symmetric operator in one run.

    Block Lanczos from ``num_probes`` random vectors, all vectors kept. Each start vector alone gives the tridiagonal
    matrix, hence the nodes and weights, of `spectra.slq`; the Ritz pairs of the whole block space give the ends of the
    spectrum; and the trace is known on that space V and sampled outside of it,

    .. math:: \operatorname{tr} A = \operatorname{tr} V'AV + (n - k)\, \mathrm{E}\, g'Ag,

    with g uniform on the unit sphere of the complement, one product each (Hutch++ with the Krylov space as its sketch).
    The run goes on until all of it is as accurate as asked for, or the budget is spent.

    Parameters
    ----------
    A : Operator or anything `as_operator` accepts, shape (n, n)
        Real symmetric.
    num_extremal : int
        Eigenvalues listed at each end. The run goes on until all of the largest are within the tolerance.
    num_smallest : int
        How many of the smallest it goes on for, at most ``num_extremal``. The small end of a Hessian is denser: five in
        place of one took 9 to 67 % more products on four of them.
    tolerance : float
        Their error bounds, relative to the norm.
    trace_rtol : float
        Standard error of the trace, relative to the nuclear norm (the sum of ``|eigenvalue|``, which is the trace of a
        semidefinite operator and larger than ``|trace|`` of an indefinite one, where positive and negative
        eigenvalues cancel). The nuclear norm is estimated from the spectral measure.
    num_probes : int
        Start vectors. Three are the fewest for which the spread over them says something; a multiple eigenvalue is
        seen at most so often.
    num_steps : int
        Steps at least, for the density; at most as many as the space has.
    max_matvecs : int, optional
        Products at most, never exceeded; by default ``2 num_probes num_steps``, and at least 80.
    positive_semidefinite : bool
        Declares that A has no negative eigenvalue.
    keep_vectors : bool
        Whether to bring the eigenvectors to the host.
    level : float
        Nominal coverage of intervals, in (0, 1).
    rng : int or numpy.random.Generator
        Seed.
    max_basis_bytes : int
        Memory for vectors on the device of the operator, about one per product; 4 GiB by default. The run ends where it
        is full.
    progress : callable, optional
        Called with ``(products done, max_matvecs)``.

    Returns
    -------
    xarray.DataTree
        NumPy float64 on the host; `spectra.save` and `spectra.load` keep it.

        * ``quantities``: ``value``, ``stderr``, ``low``, ``high`` (NaN where none can be given), ``status`` and
          ``covers`` along ``quantity``: "trace", "squared_frobenius_norm", "nuclear_norm", "negative_mass" (share of
          eigenvalues), "smallest_eigenvalue" and "largest_eigenvalue" (intervals that hold them with probability
          ``level``), "condition_number" and "pseudo_condition_number" (that over eigenvalues above 1e-4 of the norm).
        * ``measure``: the spectral measure, with the nodes and weights of ``slq(A, num_probes=..., num_steps=...,
          rng=...)`` for the steps done, and the multiplicities that the block space shows. `spectra.density`,
          `spectra.cdf`, `spectra.moment`, `spectra.expectation`, `spectra.eigenvalue_count` take it.
        * ``eigenpairs``: as of `spectra.eigenpairs`, largest first, then the smallest. ``residual`` and
          ``error_bound`` come from the recurrence, no product is spent on them.

        Attributes of the root: ``schema``, ``schema_version``, ``operator``, ``dimension``, ``num_matvecs``,
        ``num_probes``, ``num_steps``, ``num_samples`` (of the trace), ``seed``, ``level``, ``tolerance``,
        ``trace_rtol``, ``max_matvecs``, ``extremes_reached`` (of what the run goes on for) and ``trace_reached`` (1 or
        0), ``ended`` ("targets reached", "budget", "memory", "interrupted"), ``dtype``, and the provenance.

    Raises
    ------
    NotSymmetricError, NonDeterministicError, NonFiniteError
        As for `spectra.slq`.
    ArgumentError
        For a wrong call, before any product; or if a Ritz value proves that A is not positive semidefinite.
    SurveyInterrupted
        On Ctrl-C; it carries the survey so far.

    Notes
    -----
    Costs ``num_probes`` products a step, one for each sample of the trace, and one for the check of determinism; the
    last steps are those that are still missing, whichever of steps and samples lowers the error of the trace more per
    product. Holds as many vectors as products were made, and ``num_probes`` more.

    An error bound says that *an* eigenvalue is that close. Eigenvalues that occur more often than ``num_probes`` times
    are listed ``num_probes`` times (``multiplicity_resolved`` is False).

    Hessians of four small networks took 73 to 112 products (means 73 to 92, 40 seeds): errors of the five largest
    and of the smallest eigenvalue of at most 1e-5 of the norm, of the trace 0.8 to 1.1 % of the nuclear norm (rms),
    whose 95 % interval covered in 92.5 to 100 % of the runs. With as many products for the trace alone
    `spectra.slq`, with three or four probes, erred 3 to 18 times as much, and `spectra.trace` 0.5 to 0.9 %. One
    start vector in place of three left smaller errors at the ends after 60 products, but no spread; four and six
    left larger ones. See ``scripts/benchmarks/survey_accuracy.py``.

    Source: Golub and Underwood (1977) for block Lanczos; Meyer, Musco, Musco and Woodruff (2021) and Chen and Hallman
    (2023) for the trace. That the Krylov space may grow after the samples were multiplied is a construction of this
    project, see `spectra.block_run.BlockRun`.

    Examples
    --------
    >>> import numpy as np
    >>> import spectra
    >>> eigenvalues = np.concatenate([np.linspace(-0.1, 1.0, 590), np.arange(2.0, 12.0)])
    >>> answer = survey(np.diag(eigenvalues))
    >>> answer["eigenpairs"]["eigenvalue"].values[:3].round(4).tolist()
    [11.0, 10.0, 9.0]
    >>> trace = answer["quantities"].to_dataset().sel(quantity="trace")
    >>> bool(trace["low"] <= np.sum(eigenvalues) <= trace["high"])
    True
    >>> round(spectra.moment(answer["measure"].to_dataset(), 0).value, 12)
    1.0
    """
    operator = as_operator(A)
    n = operator.shape[0]
    num_probes = min(as_count(num_probes, name="num_probes"), n)
    num_steps = as_count(num_steps, name="num_steps")
    num_extremal = as_count(num_extremal, name="num_extremal")
    num_smallest = as_count(num_smallest, name="num_smallest", least=0)
    if num_smallest > num_extremal:
        raise ArgumentError(f"num_smallest must be at most num_extremal = {num_extremal}, got {num_smallest}")
    for name, value in (("tolerance", tolerance), ("trace_rtol", trace_rtol)):
        if not finite_number(value, name=name) > 0.0:
            raise ArgumentError(f"{name} must be positive, got {value!r}")
    budget = max(80, 2 * num_probes * num_steps)
    if max_matvecs is not None:
        budget = as_count(max_matvecs, name="max_matvecs")
    least = num_probes + 1
    if budget < least:
        raise ArgumentError(
            f"max_matvecs must allow one step of {num_probes} probes and a repetition, {least} products; got {budget}"
        )
    run = BlockRun(
        operator,
        num_starts=num_probes,
        seed=as_seed(rng),
        max_basis_bytes=as_count(max_basis_bytes, name="max_basis_bytes"),
    )
    found = SurveyPlan(
        run,
        num=num_extremal,
        num_smallest=num_smallest,
        tolerance=float(tolerance),
        trace_rtol=float(trace_rtol),
        num_steps=num_steps,
        budget=budget,
        definite=bool(positive_semidefinite),
        level=as_level(level),
        progress=progress,
    )
    try:
        ended = found.work()
    except KeyboardInterrupt as interrupt:
        so_far = found.tree("interrupted", keep_vectors=keep_vectors) if run.is_consistent else None
        raise SurveyInterrupted(so_far) from interrupt
    return found.tree(ended, keep_vectors=keep_vectors)
