"""Which laws come into question for a spectrum, fitted to its bulk, and which of them counts."""

import math

import numpy as np

from spectra.bulk_split import BulkSplit
from spectra.eigenvalue_split import LEAST_WHITE
from spectra.frozen import Vector
from spectra.laws.marchenko_pastur import MarchenkoPastur
from spectra.laws_fit import LawFit, fit_law, fit_population, no_fit
from spectra.laws_given import NEGATIVE, GivenSpectrum
from spectra.laws_of_measure import fit_law_of_measure
from spectra.outliers import split_bulk

__all__ = ["best_law", "fitted_laws"]

#: Times the distance of the nearest law up to which a simpler one that fits too is preferred (set by hand; without, an
#: F law was chosen for 13 to 30 % of Wishart matrices of variance 1, with it on other seeds for none of 440; measured).
SIMPLER = 1.5


def fitted_laws(given: GivenSpectrum, split: BulkSplit, law: str, rng: int) -> list[LawFit]:
    """Return the laws that come into question, fitted, the simplest first.

    Parameters
    ----------
    given : GivenSpectrum
    split : BulkSplit
        Of its eigenvalues, or measure; laws are fitted to what it leaves.
    law : str
        As for :func:`spectra.laws_analysis.analyze_spectrum`.
    rng : int
        Seed of matrices that tell errors.
    """
    if given.kind == "measure":
        names = _possible(given) if law == "auto" else [law]
        return [fit_law_of_measure(name, given.measure, split, aspect_ratio=given.ratio) for name in names]
    bulk = _bulk(given, split)
    if bulk.size < 2:
        return [no_fit(law, "there is no bulk", size=bulk.size)] if law != "auto" else []
    if not given.n:
        return [fit_law(name, bulk, rng=rng) for name in (_possible(given) if law == "auto" else [law])]
    if law in ("semicircle", "jacobi", "f"):
        return [fit_law(law, bulk, rng=rng)]
    found = [] if law == "generalized" else [_white(given, split)]
    if law == "generalized" or (law == "auto" and not found[0].fits):
        found.append(fit_population(bulk, aspect_ratio=bulk.size / given.n))
    return found


def best_law(fits: list[LawFit], law: str) -> LawFit | None:
    """Return the law to go by: what was asked for, or the nearest that fits, or a simpler one about as near.

    Parameters
    ----------
    fits : list of LawFit
        Of :func:`fitted_laws`.
    law : str
        What was asked for.
    """
    if law != "auto":
        return fits[0] if fits and fits[0].law is not None else None
    good = [fit for fit in fits if fit.fits]
    if not good:
        return None
    nearest = min(good, key=lambda fit: fit.distance / fit.distance_limit)
    # The first one is the simplest; others contain it as a limit, and are nearer by chance.
    return good[0] if good[0].distance <= SIMPLER * nearest.distance else nearest


def _possible(given: GivenSpectrum) -> list[str]:
    """Return the laws whose range holds the eigenvalues."""
    low, high = float(given.values[0]), float(given.values[-1])
    if low < -NEGATIVE * max(high, 0.0):
        return ["semicircle"]
    if given.kind == "measure":
        return ["marchenko_pastur"]
    return ["marchenko_pastur"] + (["jacobi"] if high <= 1.0 else []) + ["f"]


def _bulk(given: GivenSpectrum, split: BulkSplit) -> Vector:
    """Return all eigenvalues but the outliers, zeros of rounding as 0, those that p > n forces included."""
    above = int(np.sum(split.side == 1))
    kept = given.values[split.num_outliers - above + split.num_zeros : given.values.size - above]
    zeros = split.num_zeros + max(given.p - given.values.size, 0)
    return np.concatenate([np.zeros(zeros), kept])


def _white(given: GivenSpectrum, split: BulkSplit) -> LawFit:
    """Return the Marchenko-Pastur law of known sizes, whose variance the split has found."""
    found = split
    if split.method != "marchenko_pastur":
        ratio = given.p / given.n
        found = split_bulk(
            given.values, num_samples=given.n, aspect_ratio=ratio, method="marchenko_pastur", level=split.level
        )
    if not found.variance > 0.0:
        return no_fit("marchenko_pastur", found.why, size=given.values.size)
    ratio = (given.p - int(np.sum(found.side == 1))) / given.n
    law = MarchenkoPastur(aspect_ratio=ratio, variance=found.variance)
    fits = found.misfit <= found.misfit_limit and given.values.size >= LEAST_WHITE
    error = "the error of the variance is that of independent Gaussian entries"
    return LawFit(
        name="marchenko_pastur",
        law=law,
        parameters={"aspect_ratio": ratio, "variance": law.variance},
        stderr={"aspect_ratio": 0.0, "variance": law.variance * found.high_stderr / found.high if fits else math.nan},
        distance=found.misfit,
        distance_limit=found.misfit_limit,
        fits=fits,
        remark=f"the aspect ratio is known, that of the bulk; {error if fits else 'the variance has no error'}",
    )
