"""Which eigenvalues stand outside the bulk."""

from dataclasses import replace
from typing import Any, Literal, cast, get_args

import numpy as np

from spectra.bulk_spectrum import as_bulk_spectrum
from spectra.bulk_split import BulkSplit, SplitMethod
from spectra.certificates import as_level
from spectra.eigenvalue_split import split_eigenvalues
from spectra.errors import ArgumentError
from spectra.lanczos_split import lanczos_fit
from spectra.permuted import permuted_spectra
from spectra.protocols import Array
from spectra.start_vectors import as_count, as_seed

__all__ = ["split_bulk"]

#: Permutations of the entries, and how many must show outliers for heavy tails: without, one in a hundred does.
PERMUTATIONS, HEAVY = 5, 2
#: Those of small matrices are cheap and needed: of Student entries with 3 degrees of freedom, 100 x 200, two of five
#: see 75 % and three of twenty 85 %; of 200 x 300 both see 95 %, and no Gaussian matrix (measured, 40 to 290 draws).
SMALL_ORDER, SMALL_PERMUTATIONS, SMALL_HEAVY = 300, 20, 3
#: Standard error of an edge, over the width of the bulk, above which Lanczos coefficients tell nothing (design choice;
#: measured: up to 0.04 for Wishart matrices of order 300 and 1200, 0.15 and more for geometric spectra).
VAGUE = 0.1
#: Movement of an edge over the last half of the steps, in standard errors, that a bulk with an end stays below.
#: Measured: above 3.5 in 2 of 860 draws of random matrices of order 300 to 1000 with 20 to 120 steps and few spikes,
#: and in 77 of 80 whose population decays like 1/j.
MOVEMENT = 3.5


def split_bulk(
    source: Any,
    *,
    aspect_ratio: float | None = None,
    num_samples: int | None = None,
    method: Literal["auto", "edge", "marchenko_pastur", "lanczos"] = "auto",
    level: float = 0.99,
    matrix: Array | None = None,
    num_points: int | None = None,
    max_outliers: int | None = None,
    rng: int | np.random.Generator = 0,
) -> BulkSplit:
    r"""Tell the edges of the bulk of a spectrum, and which eigenvalues are outside.

    ``"edge"`` assumes no law, only that the density ends like a square root: the outermost eigenvalues then follow
    :math:`b - s\,(\tfrac{3\pi}{2}(j - \tfrac14))^{2/3}`, and what exceeds b by more than a Tracy-Widom quantile, in
    units of s, is an outlier. ``"marchenko_pastur"`` assumes white noise, and finds weaker outliers in small matrices.
    ``"lanczos"`` takes a spectral measure instead of eigenvalues.

    Parameters
    ----------
    source : array_like of shape (N,), or xarray.Dataset
        All eigenvalues, of a covariance matrix also without those that more variables than samples force to be 0; or a
        measure of :func:`spectra.slq`.
    aspect_ratio : float, optional
        Variables over samples, of a sample covariance.
    num_samples : int, optional
        Samples. One of the two is required by ``"marchenko_pastur"``; with only the ratio, or only the samples, the
        number of variables is N.
    method : {"auto", "edge", "marchenko_pastur", "lanczos"}
        ``"auto"``: ``"lanczos"`` for a measure; ``"marchenko_pastur"`` where the samples are known and the bulk fits
        that law; ``"edge"`` otherwise.
    level : float
        Probability that a bulk without outliers shows none, over both edges.
    matrix : array, shape (m, n), optional
        The entries, symmetric if the eigenvalues are its own, or the data matrix whose squared singular values they
        are. They tell whether the entries are heavy-tailed, from order 50 on.
    num_points : int, optional
        Eigenvalues in the window at an edge, by default ``min(60, max(12, 1.2 sqrt(N)))``.
    max_outliers : int, optional
        Outliers that ``"edge"`` looks for at each edge, by default N / 8, between half the window and 100. More than
        that hide the edge.
    rng : int or numpy.random.Generator
        Seed of the permutations of ``matrix``.

    Returns
    -------
    BulkSplit

    Raises
    ------
    ArgumentError, NonFiniteError, ShapeError, BackendError, SchemaError
        If an argument cannot be used.

    Notes
    -----
    No products; 2 ms for 300 eigenvalues, 20 ms for 3000 and 11 ms for a measure of 10 probes and 80 steps (measured on
    one core), and where ``matrix`` is given five dense decompositions, twenty below order 300.

    A cluster of many eigenvalues above a gap counts as that many outliers, up to ``max_outliers``. Below a lower edge
    outliers are looked for with the law-free method, of a semidefinite matrix in logarithms, unless it reaches 0 there.

    Measured by ``scripts/validate_outliers.py``, on other seeds than those of the margins, at the default level. Noise,
    Gaussian symmetric and Wishart matrices of order 50 to 1600: up to 0.97 % of draws show outliers by ``"edge"`` (50 x
    50) and up to 0.67 % by ``"marchenko_pastur"``, but for one of 60 draws of order 1200. Of three spikes 2.2, 3 and 6
    in white noise, 300 x 600, whose threshold is 1.71, all were found in 72 and 88 % of draws, and two in the others.
    With half of the population at 3 instead of 1, 300 x 1200, and two spikes, ``"edge"`` found these two in 40 of 40
    draws, ``"marchenko_pastur"`` 58 to 67, none of them trustworthy. From 4 Lanczos runs of 20, 40 and 80 steps all of
    three spikes 2.5, 4 and 10, 1200 x 2400, were found in 7, 35 and 39 of 40 draws, two in the others with the remark
    that one is undecided, and none in noise; bulks of two intervals were never trustworthy. Heavy tails (Student, 2.5
    and 3 degrees of freedom) were flagged in 57 of 60 draws, Gaussian entries with and without spikes in none of 40.
    Where the population decays like a power, edges were trusted in 27 of 360 draws of order 100 to 500.

    Source: Ramirez, Rider and Virag (2011) for edges; Kritchman and Nadler (2008) and Ma (2012) for white noise; the
    law-free split, the permutations and all margins are constructions of this project.

    Examples
    --------
    >>> X = np.random.default_rng(0).standard_normal((300, 600))
    >>> X[:2] *= [[2.0], [3.0]]
    >>> found = split_bulk(np.linalg.eigvalsh(X @ X.T / 600), num_samples=600)
    >>> found.num_outliers, found.method
    (2, 'marchenko_pastur')
    """
    level, seed = as_level(level), as_seed(rng)
    if method != "auto" and method not in get_args(SplitMethod):
        raise ArgumentError(f"method must be auto or one of {', '.join(get_args(SplitMethod))}; got {method!r}")
    window = {
        "num_points": None if num_points is None else as_count(num_points, name="num_points", least=6),
        "max_outliers": None if max_outliers is None else as_count(max_outliers, name="max_outliers"),
    }
    is_measure = hasattr(source, "data_vars")
    if method != "auto" and is_measure != (method == "lanczos"):
        came = "a dataset" if is_measure else f"a {type(source).__name__}"
        need = "a spectral measure of spectra.slq" if method == "lanczos" else "eigenvalues"
        raise ArgumentError(f"method {method!r} requires {need}, got {came}")
    if is_measure:
        given = {"aspect_ratio": aspect_ratio, "num_samples": num_samples, "matrix": matrix} | window
        typed = [name for name, value in given.items() if value is not None]
        if typed:
            raise ArgumentError(f"a spectral measure takes no {', '.join(typed)}; leave that out, or pass eigenvalues")
        return _of_measure(source, level)
    spectrum = as_bulk_spectrum(source, aspect_ratio=aspect_ratio, num_samples=num_samples)
    if method == "marchenko_pastur" and spectrum.shape is None:
        raise ArgumentError("method 'marchenko_pastur' requires num_samples or aspect_ratio of the covariance matrix")
    found = split_eigenvalues(spectrum, cast("Any", method), level, window)
    return found if matrix is None else _with_control(found, matrix, level, window, seed)


def _of_measure(measure: Any, level: float) -> BulkSplit:
    """Return the split of a spectral measure."""
    fit = lanczos_fit(measure)
    doubts = []
    if fit.scatter > fit.scatter_limit:
        doubts.append(
            f"the coefficients scatter by {fit.scatter:.2g} of the width, more than {fit.scatter_limit:.2g}: the bulk "
            "is not one interval, or there are too few steps"
        )
    if fit.num_unconverged:
        doubts.append(f"{fit.num_unconverged} values outside have not converged in most probes; raise num_steps")
    if not measure.attrs.get("reorthogonalized", 1):
        doubts.append("the runs were not reorthogonalized, so that their last coefficients are those of copies")
    moves = fit.movement > MOVEMENT
    if np.isnan(fit.movement):
        doubts.append("there are too few steps to see whether the edges have settled; raise num_steps")
    elif moves:
        doubts.append(
            f"after half of the steps the bulk was [{fit.earlier_low:.4g}, {fit.earlier_high:.4g}]: it has no end, or "
            "there are too few steps for the outliers"
        )
    if max(fit.low_stderr, fit.high_stderr) > VAGUE * (fit.high - fit.low):
        doubts.append(f"the edges are known to {max(fit.low_stderr, fit.high_stderr):.2g} only; raise num_steps")
    remarks = ["an eigenvalue that occurs more than once counts as one outlier", "entries are not known"]
    if fit.num_undecided:
        remarks.append(
            f"{fit.num_undecided} converged value{'s' * (fit.num_undecided > 1)} short of a threshold would be outside "
            "if the edges were known without error; raise num_steps"
        )
    return BulkSplit(
        method="lanczos",
        low=fit.low,
        high=fit.high,
        low_stderr=fit.low_stderr,
        high_stderr=fit.high_stderr,
        low_kind="unknown",
        threshold=fit.high_threshold,
        low_threshold=fit.low_threshold,
        outlier=fit.outliers,
        side=np.where(fit.outliers > fit.high, 1, -1),
        residual=fit.residuals,
        p_value=np.full(len(fit.outliers), np.nan),
        misfit=fit.scatter,
        misfit_limit=fit.scatter_limit,
        is_decay=bool(moves),
        num_eigenvalues=int(measure.attrs["dimension"]),
        level=level,
        is_trustworthy=not doubts,
        why="; ".join(doubts) or "the coefficients tend to constants, as for a bulk of one interval",
        remarks=tuple(remarks),
    )


def _with_control(found: BulkSplit, matrix: Array, level: float, window: dict[str, Any], seed: int) -> BulkSplit:
    """Return the split with what permutations of the entries say."""
    is_small = found.num_eigenvalues < SMALL_ORDER
    num, least = (SMALL_PERMUTATIONS, SMALL_HEAVY) if is_small else (PERMUTATIONS, HEAVY)
    splits = [
        split_eigenvalues(as_bulk_spectrum(values, aspect_ratio=None, num_samples=None), "edge", level, window)
        for values in permuted_spectra(matrix, num=num, rng=seed)
    ]
    if any(np.isnan(split.threshold) for split in splits):
        said = "permuted entries leave too few eigenvalues to tell whether they are heavy-tailed"
        return replace(found, remarks=(*found.remarks, said))
    counts = [split.num_outliers for split in splits]
    shown = sum(count > 0 for count in counts)
    said = f"{num} matrices of permuted entries have no outliers"
    if shown:
        said = f"outliers in {shown} of {num} matrices of permuted entries, up to {max(counts)} of them"
    if shown < least:
        return replace(found, heavy_tailed=False, remarks=(*found.remarks, said))
    why = f"{said}: the entries are heavy-tailed, and outliers say nothing about structure"
    return replace(found, heavy_tailed=True, is_trustworthy=False, why=why, remarks=(*found.remarks, found.why))
