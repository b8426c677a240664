"""Which law of random matrices a spectrum follows, where its bulk ends, and what its outliers stand for."""

import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from spectra.bulk_split import BulkSplit
from spectra.errors import ArgumentError
from spectra.frozen import Vector
from spectra.laws.spiked import SpikedCovariance, SpikedWigner
from spectra.laws.spiked_population import SpikedPopulation
from spectra.laws_choice import best_law, fitted_laws
from spectra.laws_fit import LAWS, LawFit, LawName
from spectra.laws_given import GivenSpectrum, MatrixKind, given_spectrum
from spectra.outliers import split_bulk
from spectra.provenance import provenance

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["LAWS_SCHEMA", "LAWS_SCHEMA_VERSION", "analyze_spectrum"]

LAWS_SCHEMA = "spectra/laws"
LAWS_SCHEMA_VERSION = 1

#: First ratio of an F law up to which edges are sought in logarithms, where a lower edge at 0 is none. Measured at the
#: default level on matrices of order 60 and 200, 200 and 40 draws: with ratios 0.2 to 0.8 and 0.2 to 0.8, 0 to 45 % of
#: them have outliers by eigenvalues (100 and 93 % where the second is 0.8), 0 to 2.5 % by logarithms; 8 % at 0.9.
SOFT = 0.85
#: Smaller side of a matrix up to which its entries are permuted, which takes five more decompositions (set by hand:
#: half a minute on one core).
MOST_PERMUTED = 1500


def analyze_spectrum(
    source: Any,
    *,
    kind: MatrixKind | None = None,
    num_samples: int | None = None,
    aspect_ratio: float | None = None,
    law: Literal["auto"] | LawName = "auto",
    method: Literal["auto", "edge", "marchenko_pastur", "lanczos"] = "auto",
    level: float = 0.99,
    center: bool = True,
    standardize: bool = False,
    rng: int = 0,
    name: str = "spectrum",
    remarks: tuple[str, ...] = (),
) -> "xr.Dataset":
    r"""Split a spectrum into bulk and outliers, and fit laws of random matrices to the bulk.

    Parameters
    ----------
    source : array_like or xarray.Dataset
        Eigenvalues, shape (N,); a symmetric matrix, (N, N); a data matrix, (samples, variables); or a measure of
        :func:`spectra.slq`.
    kind : {"data", "symmetric", "eigenvalues"}, optional
        What an array is. By default one dimension are eigenvalues, a symmetric matrix is one, another is data.
    num_samples : int, optional
        Samples of the covariance whose eigenvalues or matrix are given.
    aspect_ratio : float, optional
        Its variables over samples. Either makes it known that the matrix is a sample covariance.
    law : str
        ``"auto"``: with a known ratio Marchenko-Pastur, and where that does not fit, any population; otherwise every
        law that the range of the eigenvalues allows, of which the nearest counts, or a simpler one about as near.
    method, level
        See :func:`spectra.split_bulk`.
    center, standardize : bool
        Whether to subtract the mean of each variable of data, which takes one sample, and to divide by its deviation.
    rng : int
        Seed of permutations of the entries, and of matrices that tell errors.
    name : str
        For reports.
    remarks : tuple of str
        What was done before.

    Returns
    -------
    xarray.Dataset
        Over ``eigenvalue`` (values and weights), ``outlier`` (value, side, p-value, population value and squared cosine
        of its vector, NaN where they are not defined), ``law`` (parameters and errors as JSON text, distance, limit,
        whether it fits, remark) and ``atom`` (population, if one was fitted). Attributes: those of the split, and
        ``law``, empty where none fits. See :mod:`spectra.laws_summary` for what it amounts to.

    Raises
    ------
    ArgumentError, ShapeError, NonFiniteError, BackendError, SchemaError
        If an argument cannot be used.

    Notes
    -----
    One dense decomposition, and five more, or twenty below order 300, for the permutations where entries are known.
    Outliers are those of :func:`spectra.split_bulk`; laws are fitted to what it leaves. Where an F law may be, edges
    are sought in logarithms.

    Examples
    --------
    >>> X = np.random.default_rng(0).standard_normal((400, 100))
    >>> found = analyze_spectrum(X)
    >>> found.attrs["law"], found.sizes["outlier"], found.attrs["num_samples"]
    ('marchenko_pastur', 0, 399)
    """
    if law != "auto" and law not in LAWS:
        raise ArgumentError(f"law must be auto or one of {', '.join(LAWS)}; got {law!r}")
    given = given_spectrum(
        source,
        kind=kind,
        num_samples=num_samples,
        aspect_ratio=aspect_ratio,
        center=center,
        standardize=standardize,
    )
    if law == "generalized" and not given.n:
        raise ArgumentError("law 'generalized' requires the number of samples or the aspect ratio")
    split = _split(given, law, method, level, rng)
    fits = fitted_laws(given, split, law, rng)
    best = best_law(fits, law)
    if _may_be_f(given, split, best, law):
        again = _split_of_logarithms(given, level)
        found = fitted_laws(given, again, law, rng)
        nearest = best_law(found, law)
        if nearest is not None and nearest.name == "f" and nearest.parameters["first_ratio"] <= SOFT:
            split, fits, best = again, found, nearest
    spikes, overlaps, spiked = _spikes(best, split)
    population = best.law.population if best is not None and best.name == "generalized" else None  # type: ignore[union-attr]
    parts = split.to_dataset()
    return parts.assign(
        eigenvalue=("eigenvalue", given.values),
        weight=("eigenvalue", given.weights),
        spike=("outlier", spikes),
        overlap=("outlier", overlaps),
        distance=("law", np.array([fit.distance for fit in fits])),
        distance_limit=("law", np.array([fit.distance_limit for fit in fits])),
        fits=("law", np.array([int(fit.fits) for fit in fits])),
        parameters=("law", [json.dumps(fit.parameters) for fit in fits]),
        stderr=("law", [_json(fit.stderr) for fit in fits]),
        law_remark=("law", [fit.remark for fit in fits]),
        population_value=("atom", np.empty(0) if population is None else population.values),
        population_weight=("atom", np.empty(0) if population is None else population.weights),
        law=("law", [fit.name for fit in fits]),
    ).assign_attrs(
        {**parts.attrs}
        | provenance(
            schema=LAWS_SCHEMA,
            schema_version=LAWS_SCHEMA_VERSION,
            source=name,
            kind=given.kind,
            law=best.name if best is not None and best.fits else "",
            wanted=law,
            aspect_ratio=given.ratio,
            num_samples=given.n,
            spiked=spiked,
            has_unequal_columns=int(given.has_unequal_columns),
            diagonal_shift=given.diagonal_shift,
            seed=rng,
            source_remarks="\n".join((*remarks, *given.remarks)),
        )
    )


def _json(numbers: dict[str, float]) -> str:
    return json.dumps({key: value if math.isfinite(value) else None for key, value in numbers.items()})


def _split(given: GivenSpectrum, law: str, method: Any, level: float, rng: int) -> BulkSplit:
    """Return bulk and outliers by the method that suits the law."""
    if given.kind == "measure":
        return split_bulk(given.measure, method=method, level=level)
    if method == "auto" and law not in ("auto", "marchenko_pastur"):
        method = "edge"
    if method == "marchenko_pastur" and not given.n:
        raise ArgumentError("method 'marchenko_pastur' requires the number of samples or the aspect ratio")
    if method == "lanczos":
        raise ArgumentError("method 'lanczos' requires a spectral measure, as `spectra measure` saves it")
    matrix = given.matrix
    is_large = matrix is not None and min(matrix.shape) > MOST_PERMUTED
    found = split_bulk(
        given.values,
        num_samples=given.n or None,
        aspect_ratio=given.p / given.n if given.n else None,
        method=method,
        level=level,
        matrix=None if is_large else matrix,
        rng=rng,
    )
    said = f"entries were not permuted to see heavy tails: the matrix has more than {MOST_PERMUTED} rows and columns"
    return replace(found, remarks=(*found.remarks, said)) if is_large else found


def _may_be_f(given: GivenSpectrum, split: BulkSplit, best: LawFit | None, law: str) -> bool:
    """Whether outliers and law are to be looked for in logarithms too: where an F law was found, or none."""
    is_wanted = law == "f" or (law == "auto" and not given.n)
    return is_wanted and split.method == "edge" and given.values[0] > 0.0 and (best is None or best.name == "f")


def _split_of_logarithms(given: GivenSpectrum, level: float) -> BulkSplit:
    """Return the law-free split of logarithms, in which edges of F matrices are closer to their limit."""
    found = split_bulk(np.log(given.values), method="edge", level=level)
    low, high = math.exp(found.low), math.exp(found.high)
    return replace(
        found,
        low=low,
        high=high,
        low_stderr=low * found.low_stderr,
        high_stderr=high * found.high_stderr,
        scale=high * found.scale,
        low_scale=low * found.low_scale,
        threshold=math.exp(found.threshold),
        low_threshold=math.exp(found.low_threshold),
        outlier=np.exp(found.outlier),
        remarks=(*found.remarks, "edges were sought in logarithms, which suits F matrices, and so is their misfit"),
    )


def _spikes(best: LawFit | None, split: BulkSplit) -> tuple[Vector, Vector, str]:
    """Return what is behind the outliers, the squared cosines of their vectors, and the model."""
    nothing = np.full(split.num_outliers, np.nan)
    # A population of any kind takes up what a doubtful split leaves in the bulk.
    is_loose = best is not None and best.name == "generalized" and not split.is_trustworthy
    if best is None or not best.fits or split.heavy_tailed or is_loose:
        return nothing, nothing, ""
    law: Any = best.law
    if best.name == "semicircle":
        model: Any = SpikedWigner(variance=law.variance)
    elif best.name == "marchenko_pastur":
        model = SpikedCovariance(aspect_ratio=law.aspect_ratio, variance=law.variance)
    elif best.name == "generalized":
        model = SpikedPopulation(population=law.population, aspect_ratio=law.aspect_ratio)
    else:
        return nothing, nothing, ""
    values = np.asarray(split.outlier)
    sought = np.ones(values.size, dtype=bool) if best.name == "semicircle" else split.side == 1
    spikes = np.where(sought, model.spike(values), np.nan)
    known = np.isfinite(spikes)
    overlaps = np.where(known, model.overlap(np.where(known, spikes, 0.0)), np.nan)
    return spikes, overlaps, type(model).__name__
