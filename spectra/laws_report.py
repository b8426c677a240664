"""An analysis of a spectrum by the laws of random matrices, as text for a terminal or one JSON object for a program.

The JSON object carries ``schema`` and ``schema_version`` and never contains NaN or infinity: what is not a number is
``null``.
"""

import json
import math
from typing import TYPE_CHECKING, Any, Literal

from spectra.errors import ArgumentError
from spectra.laws_summary import summarize_laws
from spectra.laws_verdict import LAW_NAMES
from spectra.report import finite_or_null, number, paragraph, table
from spectra.report.footnotes import Footnotes, sentence

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["render_laws"]

#: Rows of the table of outliers at each end.
MAX_OUTLIERS = 12
#: p-values below are not shown in digits: Tracy-Widom laws are limits, and nobody has measured so far out.
LEAST_P = 1e-12
#: What was given, for the last lines.
_KINDS = {
    "data": "covariance of a data matrix",
    "symmetric": "a symmetric matrix",
    "eigenvalues": "a list of eigenvalues",
    "measure": "a spectral measure",
}
_METHODS = {
    "edge": "law-free: the density is supposed to end like a square root, nothing else",
    "marchenko_pastur": "by the law of white noise",
    "lanczos": "from Lanczos coefficients: a bulk of one interval is supposed",
}


def render_laws(analysis: "xr.Dataset", *, format: Literal["text", "json"] = "text") -> str:
    """Return an analysis of a spectrum as text or JSON, without a trailing newline.

    Parameters
    ----------
    analysis : xarray.Dataset
        Of :func:`spectra.laws_analysis.analyze_spectrum`.
    format : {"text", "json"}
        The first line of the text is the answer. See :func:`spectra.laws_summary.summarize_laws` for the JSON.

    Raises
    ------
    ArgumentError
        For an unknown format, or another dataset.

    Examples
    --------
    >>> import numpy as np
    >>> from spectra.laws_analysis import analyze_spectrum
    >>> X = np.random.default_rng(0).standard_normal((400, 100))
    >>> print(render_laws(analyze_spectrum(X)).partition(", bulk")[0])
    LAW Marchenko-Pastur
    """
    if format not in ("text", "json"):
        raise ArgumentError(f"format must be 'text' or 'json'; got {format!r}")
    summary = summarize_laws(analysis)
    if format == "json":
        return json.dumps(finite_or_null(summary), indent=2, allow_nan=False)
    sections = [_answer(summary), _laws(summary), _edges(summary), _outliers(summary), _about(summary)]
    return "\n\n".join(section for section in sections if section)


def _count(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"


def _answer(summary: dict[str, Any]) -> str:
    answer = summary["answer"]
    law = "none fits" if answer["law"] is None else LAW_NAMES[answer["law"]]
    above = sum(row["side"] > 0 for row in summary["outliers"])
    below = len(summary["outliers"]) - above
    parts = [f"{_count(above, 'outlier')} above"] + ([f"{below} below"] if below else [])
    found = ", ".join(parts) if summary["outliers"] else "no outliers"
    edges = f"bulk [{number(answer['low'])}, {number(answer['high'])}], {found}"
    why = [paragraph(sentence(text)) for text in answer["why"]]
    following = paragraph(f"Next: {answer['next_step']}.")
    if answer["verdict"] == "withheld":
        first = "WITHHELD: neither a law nor the edges of a bulk can be relied on"
        shown = [] if math.isnan(answer["high"]) else [paragraph(f"What was found: {edges}.")]
        return "\n".join([first, *why, *shown, following])
    return "\n".join([f"LAW {law}, {edges}: {answer['verdict'].upper()}", *why, following])


def _parameter(value: float, stderr: float | None) -> str:
    """Return a parameter with its error, as far as the error lets it be known."""
    if not stderr or not math.isfinite(stderr):
        return number(value)
    digits = max(2, min(8, 1 + math.floor(math.log10(max(abs(value), stderr))) - math.floor(math.log10(stderr))))
    return f"{number(value, digits)}+-{number(stderr, 1)}"


def _laws(summary: dict[str, Any]) -> str:
    if not summary["laws"]:
        return ""
    notes = Footnotes()
    rows = []
    for row in summary["laws"]:
        known = row["parameters"].items()
        text = ", ".join(f"{key.replace('_', ' ')} {_parameter(value, row['stderr'].get(key))}" for key, value in known)
        limit = number(row["distance_limit"], 2)
        off = "-" if math.isnan(row["distance"]) else f"{number(row['distance'], 2)} of {limit}"
        fits = "yes" if row["fits"] else "no"
        rows.append((LAW_NAMES[row["law"]], off, fits, text or "-", notes.mark(row["remark"])))
    legend = "Distance: largest difference of the distribution functions of bulk and law, and what it may be."
    header = ("law", "distance", "fits", "parameters", "")
    return "\n".join(["LAWS", table(header, rows), paragraph(legend), *notes.lines()])


def _edges(summary: dict[str, Any]) -> str:
    split = summary["split"]
    if math.isnan(split["high"]):
        return ""
    notes = Footnotes()
    hard = "a hard edge: the bulk of a semidefinite matrix reaches 0, and nothing lies below"
    unsought = "no outliers were looked for at this end"
    low_note = hard if split["low_kind"] == "hard" else unsought if math.isnan(split["low_threshold"]) else ""
    if split["method"] == "lanczos":
        low_note = ""
    rows = [
        ("upper", number(split["high"], 4), number(split["high_stderr"], 2), number(split["threshold"], 4), ""),
        (
            "lower",
            number(split["low"], 4),
            number(split["low_stderr"], 2),
            number(split["low_threshold"], 4),
            notes.mark(low_note),
        ),
    ]
    misfit = f"misfit {number(split['misfit'], 2)} of {number(split['misfit_limit'], 2)}"
    legend = (
        f"Edges {_METHODS[split['method']]} ({misfit}). Beyond a threshold noise alone has an eigenvalue in "
        f"{100 * (1 - split['level']):.2g} % of matrices, both ends together."
    )
    return "\n".join(
        ["EDGES", table(("end", "edge", "std. error", "threshold", ""), rows), paragraph(legend), *notes.lines()]
    )


def _p_value(value: float) -> str:
    return "-" if math.isnan(value) else f"<{LEAST_P:g}" if value < LEAST_P else number(value, 2)


def _outliers(summary: dict[str, Any]) -> str:
    everything = summary["outliers"]
    if not everything:
        return ""
    above = [row for row in everything if row["side"] > 0]
    below = [row for row in everything if row["side"] < 0]
    shown = [*above[:MAX_OUTLIERS], *below[-MAX_OUTLIERS:]]
    of_measure = summary["split"]["method"] == "lanczos"
    rows = [
        (
            f"{row['value']:.6g}",
            "above" if row["side"] > 0 else "below",
            number(row["residual"], 2) if of_measure else _p_value(row["p_value"]),
            number(row["spike"], 4),
            number(row["overlap"]),
        )
        for row in shown
    ]
    header = ("eigenvalue", "side", "residual" if of_measure else "p-value", "population value", "overlap")
    doubt = "" if summary["split"]["is_trustworthy"] else " of a split that is not to be trusted"
    lines = [f"OUTLIERS{doubt}", table(header, rows)]
    if len(shown) < len(everything):
        lines.append(paragraph(f"{len(everything) - len(shown)} more; --json has all of them."))
    legend = (
        "Residual: an eigenvalue is within it."
        if of_measure
        else "p-value: that the bulk alone, without the outliers farther out, reaches as far (Tracy-Widom)."
    )
    model = summary["attributes"]["spiked"]
    if model:
        legend += (
            f" Population value: what is behind an outlier, freed of bias ({model}); overlap: squared cosine of its "
            "eigenvector to the true one. Both are limits for large matrices, without errors."
        )
    else:
        legend += f" {_why_no_spikes(summary)}"
    return "\n".join([*lines, paragraph(legend)])


def _why_no_spikes(summary: dict[str, Any]) -> str:
    """Return why nothing is said of what is behind the outliers."""
    law = summary["attributes"]["law"]
    if summary["split"]["heavy_tailed"] == "yes":
        return "Population values need no heavy tails."
    if law in ("jacobi", "f"):
        return f"Population values are not computed for {LAW_NAMES[law]} laws."
    return f"Population values need a {'split that can be trusted' if law else 'law of noise that fits'}."


def _about(summary: dict[str, Any]) -> str:
    about = summary["attributes"]
    size = _count(about["num_eigenvalues"], "eigenvalue")
    if about["num_zeros"]:
        size += f", {about['num_zeros']} of them 0"
    if about["num_samples"]:
        size += f", {about['num_samples']} samples, aspect ratio {number(about['aspect_ratio'], 4)}"
    control = {
        "yes": "HEAVY-TAILED: outliers remain where the entries are in random places.",
        "no": "Heavy tails: none seen; with the entries in random places there are no outliers, or in few of them.",
        "unknown": "Heavy tails: not known. They are seen in the entries of data, or of a symmetric matrix that is no "
        "covariance, of order 50 and more; large entries may make outliers.",
    }[about["heavy_tailed"]]
    remarks = [paragraph(sentence(text)) for text in summary["remarks"] if text != "entries are not known"]
    units = "squared units of the data" if about["kind"] == "data" else "units of the file"
    closing = f"Eigenvalues are in {units}. Laws hold for independent entries, or samples, of finite fourth moments."
    return "\n".join(
        [
            f"ABOUT {about['source']}: {_KINDS[about['kind']]}, {size}",
            paragraph(control),
            *remarks,
            paragraph(closing),
        ]
    )
