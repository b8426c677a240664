"""Whether the law and the edges that were found can be relied on, for which reasons, and what to do next."""

import math
from typing import Any

__all__ = ["LAW_NAMES", "laws_verdict", "next_step"]

#: Laws as a reader knows them.
LAW_NAMES = {
    "marchenko_pastur": "Marchenko-Pastur",
    "semicircle": "semicircle",
    "jacobi": "Jacobi",
    "f": "F",
    "generalized": "colored Marchenko-Pastur",
}
#: Eigenvalues below which a fit excludes little, with fitted and with known sizes: with more the distance that random
#: matrices keep is below 0.046, and evenly spaced values are 0.049 from a semicircle at the least (measured).
FEW, FEW_OF_KNOWN = 100, 70


def laws_verdict(attributes: dict[str, Any], laws: list[dict[str, Any]]) -> tuple[str, list[str]]:
    """Return whether law and edges can be relied on, and the reasons.

    Parameters
    ----------
    attributes : dict
        Of a dataset of :func:`spectra.laws_analysis.analyze_spectrum`.
    laws : list of dict
        Those that were tried, as in :func:`spectra.laws_summary.summarize_laws`.

    Returns
    -------
    verdict : {"supported", "tentative", "withheld"}
    why : list of str
        Sentences without a full stop.
    """
    fitting = [row["law"] for row in laws if row["fits"]]
    chosen, trusted = attributes["law"], bool(attributes["is_trustworthy"])
    # A population that is chosen to fit takes up what a doubtful split leaves in the bulk, and so confirms nothing.
    if not trusted and (attributes["heavy_tailed"] == "yes" or chosen in ("", "generalized")):
        return "withheld", [attributes["why"]]
    doubts = [] if trusted else [f"edges and outliers are doubtful: {attributes['why']}"]
    if not fitting:
        doubts.append("no law fits; the edges need none" if attributes["method"] == "edge" else "no law fits")
    if len(fitting) > 1:
        doubts.append(f"{_listed(fitting)} fit alike, and eigenvalues alone do not tell which it is")
    if chosen == "generalized":
        doubts.append("a population that is chosen to fit says little about the model")
    if chosen == "marchenko_pastur" and not attributes["num_samples"]:
        doubts.append("the aspect ratio was not given but fitted")
    if chosen in ("jacobi", "f"):
        doubts.append("sizes that are usually known were fitted: compare them")
    if attributes["kind"] == "measure" and chosen:
        doubts.append("a spectral measure tells a law only as far as its nodes resolve it")
    is_known = chosen == "marchenko_pastur" and attributes["num_samples"]
    if chosen and attributes["num_eigenvalues"] < (FEW_OF_KNOWN if is_known else FEW):
        doubts.append(f"{attributes['num_eigenvalues']} eigenvalues exclude little")
    if doubts:
        return "tentative", doubts
    return "supported", ["the bulk follows the law as closely as random matrices do, and the split can be trusted"]


def _listed(names: list[str]) -> str:
    texts = [LAW_NAMES[name] for name in names]
    return f"{', '.join(texts[:-1])} and {texts[-1]}"


def next_step(
    attributes: dict[str, Any], laws: list[dict[str, Any]], outliers: list[dict[str, Any]], *, is_semidefinite: bool
) -> str:
    """Return what would help most.

    Parameters
    ----------
    attributes, laws
        As for :func:`laws_verdict`.
    outliers : list of dict
        As in :func:`spectra.laws_summary.summarize_laws`.
    is_semidefinite : bool
        Whether no eigenvalue is negative.
    """
    law, trusted = attributes["law"], bool(attributes["is_trustworthy"])
    if attributes["heavy_tailed"] == "yes":
        return "look at the largest entries, and repeat with ranks or clipped entries: no law holds for heavy tails"
    if attributes["kind"] == "measure":
        if not trusted or not law:
            return "raise --num-steps of the measure, or compute all eigenvalues: they tell far more"
        return "compute all eigenvalues where the size allows: they have p-values, and tell the law far better"
    if math.isnan(attributes["high"]):
        return _for_few(attributes, is_semidefinite=is_semidefinite)
    if not trusted and not (law and law != "generalized"):
        return _without_edges(attributes, is_semidefinite=is_semidefinite)
    if law in ("jacobi", "f"):
        return "compare the fitted ratios with the sizes of the two matrices"
    if not attributes["num_samples"] and "marchenko_pastur" in {row["law"] for row in laws}:
        or_shift = ", or subtract c from the diagonal if it is noise about c times the identity"
        is_shifted = not law and attributes["kind"] == "symmetric"
        return (
            f"give --samples or --aspect-ratio if these are eigenvalues of a sample covariance{or_shift * is_shifted}"
        )
    if law in ("", "generalized") and _is_unequal(attributes):
        return "repeat with --standardize: columns of unequal scale are no bulk of one variance"
    shift = float(attributes.get("diagonal_shift", 0.0))
    if not law and shift:
        return f"subtract {shift:.3g} from the diagonal, about which the bulk lies, to compare with a semicircle"
    if not law:
        return "go by the law-free edges" if attributes["method"] == "edge" else "repeat with --method edge"
    if law == "generalized":
        return (
            "the bulk is no noise of one variance: columns are correlated or of unequal variance, or samples depend on "
            "each other or differ in scale; the result file has the population that fits"
        )
    if any(math.isfinite(row["spike"]) for row in outliers):
        return "use the population values and overlaps in place of the outliers themselves"
    if outliers:
        return "look at the eigenvectors of the outliers"
    more = "a larger matrix" if law == "semicircle" else "more samples"
    return f"nothing here is told from noise: {more} would show weaker structure"


def _for_few(attributes: dict[str, Any], *, is_semidefinite: bool) -> str:
    """Return what helps where there are too few eigenvalues for edges of any kind."""
    if attributes["num_zeros"] == attributes["num_eigenvalues"]:
        return "look at what the file holds: all eigenvalues are 0"
    if is_semidefinite and not attributes["num_samples"]:
        return "give all eigenvalues, and --samples if they are of a sample covariance, which few then may tell"
    return "give all eigenvalues, or a larger matrix"


def _without_edges(attributes: dict[str, Any], *, is_semidefinite: bool) -> str:
    """Return what helps where neither a law nor edges were found."""
    if _is_unequal(attributes):
        return "repeat with --standardize: columns of unequal scale are no bulk of one variance"
    if attributes["method"] == "marchenko_pastur":
        return "there is no bulk of noise to compare with: judge components by held-out data, not as outliers"
    if not attributes["is_decay"]:
        return "look at the spectrum with --plot: it does not end like noise"
    if not is_semidefinite:
        return "a larger matrix would show whether its spectrum has edges"
    if attributes["kind"] == "eigenvalues":
        return "give the data or Gram matrix to `spectra kernel`, which finds the law of a decay without an edge"
    return "`spectra kernel` finds the law of eigenvalues that decay without an edge, of a kernel or Gram matrix"


def _is_unequal(attributes: dict[str, Any]) -> bool:
    """Whether columns of data differ much in scale and were not standardized."""
    return bool(attributes.get("has_unequal_columns", 0))
