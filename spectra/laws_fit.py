"""One law of random matrices fitted to a bulk: parameters with errors, and how far the bulk is from it."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from spectra.errors import ArgumentError
from spectra.frozen import Vector
from spectra.laws.base import Law
from spectra.laws.f_ratio import FRatio
from spectra.laws.generalized_marchenko_pastur import GeneralizedMarchenkoPastur
from spectra.laws.jacobi import Jacobi
from spectra.laws.marchenko_pastur import MarchenkoPastur
from spectra.laws.population_recovery import recover_population
from spectra.laws.semicircle import Semicircle
from spectra.laws_draws import DRAWN
from spectra.start_vectors import as_seed

__all__ = ["LAWS", "LawFit", "LawName", "distance_limit", "fit_law", "fit_population", "law_distance", "no_fit"]

LawName = Literal["marchenko_pastur", "semicircle", "jacobi", "f", "generalized"]
#: Laws that can be fitted to eigenvalues, with the names of the classes.
LAWS: dict[str, type[Law]] = {
    "marchenko_pastur": MarchenkoPastur,
    "semicircle": Semicircle,
    "jacobi": Jacobi,
    "f": FRatio,
    "generalized": GeneralizedMarchenkoPastur,
}
#: Distance of distribution functions that random matrices keep, ``DISTANCE + OF_SIZE / N``. Measured on Wishart (aspect
#: ratios 0.5, 0.9 and 2), symmetric, Jacobi and F matrices, each fitted without its sizes: 99 % lie below 3.7 / N for N
#: from 20 to 100 and below 5 / N for N from 200 to 800. On other seeds, N = 25, 60, 120 and 300, none of 2120 matrices
#: was beyond but F matrices: 11 of 200, 2 of 200, 1 of 100 and 0 of 30.
DISTANCE, OF_SIZE = 0.01, 3.5
#: Eigenvalues of a bulk below which a law that is fitted with its sizes excludes nothing: with fewer the limit, above
#: 0.185, lets evenly spaced, exponential and equal values pass (design choice).
LEAST_BULK = 20
#: Random matrices that tell the error of a parameter.
DRAWS = 40
#: Their order at most, of tridiagonal and of dense models; errors fall like 1 / N, and so are scaled. Measured, twice
#: 60 draws of each law at N = 50 and 300: deviations from the truth are 0.7 to 1.2 errors (root mean squares).
TRIDIAGONAL_ORDER, DENSE_ORDER = 400, 100


@dataclass(frozen=True, kw_only=True, eq=False)
class LawFit:
    """A law, how well its parameters are known, and how far it is from the bulk.

    Attributes
    ----------
    name : str
        One of :data:`LAWS`.
    law : Law or None
        None where no such law has the moments of the bulk.
    parameters, stderr : dict
        By name; errors are NaN where there is none.
    distance, distance_limit : float
        Largest difference of the distribution functions of bulk and law, and what random matrices keep.
    fits : bool
        Whether the distance is within the limit, and nothing else speaks against the law.
    remark : str
        What errors cover, or why there is no fit.
    """

    name: str
    law: Law | None
    parameters: dict[str, float]
    stderr: dict[str, float]
    distance: float
    distance_limit: float
    fits: bool
    remark: str


def distance_limit(size: int) -> float:
    """Return the distance that eigenvalues of a random matrix of that order keep from their law.

    Parameters
    ----------
    size : int
        Number of eigenvalues of the bulk.

    Notes
    -----
    Eigenvalues are rigid: the distance falls like 1/N, not like the root. Measured, see the constants.

    Examples
    --------
    >>> distance_limit(350)
    0.02
    """
    return DISTANCE + OF_SIZE / size


def law_distance(values: Vector, law: Law) -> float:
    """Return the largest difference of the distribution functions of eigenvalues and of a law, atoms included.

    Parameters
    ----------
    values : ndarray, shape (N,)
        Zeros are exactly 0, so that they meet an atom there.
    law : Law

    Notes
    -----
    The distance of Kolmogorov and Smirnov; ties and atoms count from both sides.

    Examples
    --------
    >>> law = MarchenkoPastur(aspect_ratio=2.0)
    >>> law_distance(np.concatenate([np.zeros(50), law.quantile(0.5 + (np.arange(50) + 0.5) / 100)]), law).__round__(9)
    0.005
    """
    places, counts = np.unique(values, return_counts=True)
    upto = np.cumsum(counts) / values.size
    share = np.asarray(law.cdf(places))
    below = share - sum((mass * (places == place) for place, mass in law.atoms), np.zeros(places.size))
    return float(max(np.max(np.abs(upto - share)), np.max(np.abs(upto - counts / values.size - below))))


def fit_law(name: str, bulk: Vector, *, rng: int | np.random.Generator = 0) -> LawFit:
    """Fit a law to the bulk of a spectrum from its eigenvalues alone.

    Parameters
    ----------
    name : {"marchenko_pastur", "semicircle", "jacobi", "f"}
    bulk : ndarray, shape (N,)
        Without outliers; zeros are exactly 0.
    rng : int or numpy.random.Generator
        Seed of the matrices that tell the errors.

    Returns
    -------
    LawFit

    Raises
    ------
    ArgumentError
        For an unknown name.

    Notes
    -----
    Errors are root mean squares, bias included, over 40 matrices of Gaussian entries with the law that was found, of
    order 100 or 400 at most and scaled to N. They hold for independent entries. A tenth of a second.

    Examples
    --------
    >>> found = fit_law("semicircle", Semicircle(variance=3.0).quantile((np.arange(500) + 0.5) / 500))
    >>> found.fits, round(found.parameters["variance"], 3), found.stderr["variance"] < 0.05
    (True, 3.0, True)
    """
    if name not in DRAWN:
        raise ArgumentError(f"law must be one of {', '.join(DRAWN)}; got {name!r}")
    fit: Callable[[Vector], Any] = LAWS[name].fit  # type: ignore[attr-defined]
    try:
        law = fit(bulk)
        distance = law_distance(bulk, law)
    except ArgumentError as error:
        return no_fit(name, str(error), size=bulk.size)
    parameters = {key: float(value) for key, value in vars(law).items() if isinstance(value, float)}
    limit = distance_limit(bulk.size)
    fits = distance <= limit and bulk.size >= LEAST_BULK
    if bulk.size < LEAST_BULK:
        stderr, remark = dict.fromkeys(parameters, math.nan), _too_few(bulk.size)
    elif not fits:
        stderr, remark = (
            dict.fromkeys(parameters, math.nan),
            "no errors: parameters of a law that does not fit say little",
        )
    else:
        stderr, remark = _errors(name, law, fit, parameters, bulk.size, np.random.default_rng(as_seed(rng)))
    return LawFit(
        name=name,
        law=law,
        parameters=parameters,
        stderr=stderr,
        distance=distance,
        distance_limit=limit,
        fits=fits,
        remark=remark,
    )


def _too_few(size: int) -> str:
    return f"{size} eigenvalues are too few to exclude any law; {LEAST_BULK} are required"


def no_fit(name: str, why: str, *, size: int) -> LawFit:
    """Return that there is no such law for a bulk of that size, and why."""
    return LawFit(
        name=name,
        law=None,
        parameters={},
        stderr={},
        distance=math.nan,
        distance_limit=distance_limit(max(size, 1)),
        fits=False,
        remark=why,
    )


def fit_population(bulk: Vector, *, aspect_ratio: float) -> LawFit:
    """Fit the law of a sample covariance of any population; its only parameter that is no list is the ratio.

    Parameters
    ----------
    bulk : ndarray, shape (p,)
        All eigenvalues but outliers, zeros included.
    aspect_ratio : float
        p/n.

    Returns
    -------
    LawFit
        Fits only where :func:`spectra.laws.population_recovery.recover_population` trusts the population, and 20
        eigenvalues are given.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((200, 400)) * np.repeat([1.0, 2.0], 100)[:, None]
    >>> fit_population(np.linalg.eigvalsh(X @ X.T / 400), aspect_ratio=0.5).fits
    True
    """
    if bulk.size < LEAST_BULK:
        return no_fit("generalized", _too_few(bulk.size), size=bulk.size)
    try:
        population = recover_population(bulk, aspect_ratio=aspect_ratio)
    except ArgumentError as error:
        return no_fit("generalized", str(error), size=bulk.size)
    law = GeneralizedMarchenkoPastur(population=population.law, aspect_ratio=aspect_ratio)
    distance, limit = law_distance(bulk, law), distance_limit(bulk.size)
    return LawFit(
        name="generalized",
        law=law,
        parameters={"aspect_ratio": aspect_ratio},
        stderr={"aspect_ratio": math.nan},
        distance=distance,
        distance_limit=limit,
        fits=bool(distance <= limit and population.is_trustworthy),
        remark=f"a population of {population.atoms.size} values was chosen to fit, without errors; {population.why}",
    )


def _errors(
    name: str,
    law: Law,
    fit: Callable[[Vector], Any],
    parameters: dict[str, float],
    size: int,
    generator: np.random.Generator,
) -> tuple[dict[str, float], str]:
    """Return errors of the parameters, and what they cover."""
    order = min(size, DENSE_ORDER if name in ("jacobi", "f") else TRIDIAGONAL_ORDER)
    rows = []
    try:
        for _ in range(DRAWS):
            found = fit(DRAWN[name](law, order, generator))
            rows.append([getattr(found, key) - value for key, value in parameters.items()])
    except ArgumentError:
        return dict.fromkeys(parameters, math.nan), "no errors: matrices of this law do not always have one"
    spread = np.sqrt(np.mean(np.square(rows), axis=0)) * order / size
    return dict(zip(parameters, spread.tolist(), strict=True)), (
        "errors are those of matrices with independent Gaussian entries"
    )
