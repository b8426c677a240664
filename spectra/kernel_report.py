"""An analysis of a kernel as text for a terminal, or as one JSON object for a program.

The JSON object carries ``schema`` and ``schema_version`` and never contains NaN or infinity: what is not a number is
``null``.
"""

import json
import math
from typing import TYPE_CHECKING, Any, Literal

from spectra.errors import ArgumentError
from spectra.kernel_summary import WARNING, readable, summarize_kernel
from spectra.report import finite_or_null, number, paragraph, table
from spectra.report.footnotes import Footnotes, sentence

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["render_kernel"]

#: What a page says of all intervals and all regimes; the whole text is in the result and its JSON.
COVERS = (
    "The interval covers what was measured on kernels with known exponents, and the spread over random halves of the "
    "sample; no guarantee for another kernel."
)
CAVEAT = (
    "Under Gaussian equivalence: decay is read as if features were independent, which those of kernels are not; how "
    "much noise counts is not so limited. Rounding acts as a ridge."
)
LAWS = {
    "polynomial": "like a power",
    "exponential": "exponentially",
    "finite_rank": "to a finite rank",
    "plateau": "onto a plateau",
    "ambiguous": "between a power and exponentially",
    "undetermined": "in a way that this sample does not tell",
}


def render_kernel(tree: "xr.DataTree", *, format: Literal["text", "json"] = "text") -> str:
    """Return a tree of :func:`spectra.kernels.analyze` as text or JSON, without a trailing newline.

    Parameters
    ----------
    tree : xarray.DataTree
        An analysis, also an interrupted one.
    format : {"text", "json"}
        The first line of the text is the answer. See :func:`spectra.kernel_summary.summarize_kernel` for the JSON.

    Raises
    ------
    ArgumentError
        For an unknown format, or another tree.

    Examples
    --------
    >>> import numpy as np
    >>> from spectra.kernels import Laplace, analyze
    >>> X = np.random.default_rng(0).uniform(size=(200, 1))
    >>> print(render_kernel(analyze(X, kernel=Laplace(1.0))).partition(", exponent")[0])
    LAW polynomial: eigenvalues fall like a power
    """
    if format not in ("text", "json"):
        raise ArgumentError(f"format must be 'text' or 'json'; got {format!r}")
    summary = summarize_kernel(tree)
    if format == "json":
        return json.dumps(finite_or_null(summary), indent=2, allow_nan=False)
    sections = [
        _answer(summary),
        _law(summary),
        _regime(summary["regime"]),
        _dimension(summary),
        _curve(summary),
        _condition(summary["condition"]),
        _about(summary),
    ]
    return "\n\n".join(section for section in sections if section)


def _range(low: float, high: float) -> str:
    """Return an interval; a dash where there is none."""
    return f"[{number(low)}, {number(high)}]" if math.isfinite(low) or math.isfinite(high) else "-"


def _estimate(value: float, low: float, high: float) -> str:
    """Return a number with its interval, where the two differ in what is shown of them."""
    return number(value) if number(low) == number(value) == number(high) else f"{number(value)} {_range(low, high)}"


def _share(share: float) -> str:
    """Return a percentage that is not rounded to all."""
    text = f"{share:.1%}"
    return "over 99.9%" if text == "100.0%" and share < 1 else text


def _answer(summary: dict[str, Any]) -> str:
    answer = summary["answer"]
    if answer is None:
        return ""
    error = f"test error {number(answer['test_error'])} {_range(answer['test_error_low'], answer['test_error_high'])}"
    if math.isfinite(answer["explained"]):
        error += f", {_share(answer['explained'])} of the variance explained"
    own = summary["risk"]["remarks"]
    remarks = [paragraph(sentence(remark)) for remark in own if remark not in summary["remarks"]]
    if answer["verdict"] == "withheld":
        lines = [
            f"WITHHELD: no ridge makes this kernel reliable on these data; the best, {number(answer['best_ridge'])}"
        ]
        lines[0] += ", cannot be relied on"
        lines.append(paragraph(sentence(answer["why"])))
        lines.append(paragraph(f"What was found: {error}."))
        lines += remarks
        return "\n".join(lines)
    lines = [f"RIDGE {number(answer['ridge'])}: predicted {error}"]
    is_needed = answer["place"] != "none needed"
    if is_needed:
        which = f"Ridges from {number(answer['low'])} to {number(answer['high'])} do as well as far as these data tell."
    else:
        which = (
            "No ridge is needed: this one is rounding, and larger ones add to the error, less than 1% of it up to "
            f"{number(answer['harmless_ridge'])}."
        )
    lines.append(
        paragraph(
            f"{which} Mean squared error on new labels, by exact leave-one-out; interval at {answer['level']:.0%}."
        )
    )
    everything = summary["attributes"]["num_samples"]
    if is_needed and answer["num_samples"] < everything:
        lines.append(
            paragraph(
                f"The ridge is that of {answer['num_samples']} rows; for all {everything} samples take "
                f"{number(answer['ridge_per_sample'] * everything)}, as much for each."
            )
        )
    lines.append(paragraph(f"{answer['verdict'].upper()}: {answer['why']}."))
    if answer["num_held_out"]:
        lines.append(
            paragraph(
                f"Measured on {answer['num_held_out']} samples that were not drawn: "
                f"{number(answer['held_out_error'])} +- {number(answer['held_out_stderr'], 2)}."
            )
        )
    lines += remarks
    return "\n".join(lines)


def _law(summary: dict[str, Any]) -> str:
    decay = summary["decay"]
    if decay is None:
        return ""
    law = decay["law"]
    text = f"LAW {law.replace('_', ' ')}: eigenvalues fall {LAWS[law]}"
    if law == "polynomial":
        text += f", exponent {number(decay['decay_exponent'])} {_range(decay['low'], decay['high'])}"
    elif law == "exponential":
        text += f", locally exp(-{number(decay['rate'])} i)"
    elif law == "finite_rank":
        text += f", {decay['rank']}"
    elif law == "plateau":
        text += f", {decay['rank']} eigenvalues above {number(decay['plateau'])}"
    elif law == "ambiguous":
        text += f", exponent about {number(decay['decay_exponent'])} if a power"
    lines = [text]
    if not decay["is_trustworthy"]:
        lines.append(paragraph(f"NOT TO BE TRUSTED: {decay['why'].rstrip('.')}."))
    else:
        lines.append(paragraph(sentence(decay["why"])))
    if law == "polynomial":
        lines.append(paragraph(COVERS))
    own = summary["remarks"]
    lines += [paragraph(sentence(remark)) for remark in decay["remarks"] if remark not in own]
    return "\n".join(lines)


def _regime(regime: dict[str, Any] | None) -> str:
    if regime is None:
        return ""
    amplified = f"{number(regime['noise_amplification'])} +- {number(regime['noise_amplification_stderr'], 2)}"
    lines = [f"REGIME {regime['verdict']}: without a ridge, noise in the labels counts {amplified} times in the error"]
    if regime["is_heavy_tailed"]:
        lines.append(
            paragraph(
                f"A single sample carries more than a tenth of that; at a typical one noise counts "
                f"{number(regime['median_amplification'])} times."
            )
        )
    lines += [paragraph(sentence(regime["why"])), paragraph(CAVEAT)]
    return "\n".join(lines)


def _dimension(summary: dict[str, Any]) -> str:
    rows = summary["dimension"]
    if not rows:
        return ""
    n, notes = summary["attributes"]["num_samples"], Footnotes()
    cells = [
        (
            number(row["ridge"]),
            number(row["ridge"] / n),
            _estimate(row["df1"], row["df1_low"], row["df1_high"]),
            number(row["df2"]),
            number(row["kappa"]),
            number(row["overfitting_coefficient"]),
            notes.mark("" if row["is_trustworthy"] and not row["effective_ridge"] > row["ridge"] else row["why"]),
        )
        for row in rows
    ]
    header = ("ridge", "per sample", "effective dimension", "df2", "kappa", "E0", "")
    return "\n".join([f"EFFECTIVE DIMENSION of {n} samples", table(header, cells), *notes.lines()])


def _curve(summary: dict[str, Any]) -> str:
    learned, beyond = summary["learning_curve"], summary["extrapolation"]
    if not learned and not beyond:
        return ""
    answer, notes = summary["answer"], Footnotes()
    cells = [
        (
            str(row["num_samples"]),
            number(row["test_error"]),
            _range(row["low"], row["high"]),
            f"theory; fits {number(row['measured_error'])} +- {number(row['measured_stderr'], 2)}",
            notes.mark(_reason(row)),
        )
        for row in learned
    ]
    cells += [
        (
            str(row["num_samples"]),
            number(answer["test_error"]),
            _range(answer["test_error_low"], answer["test_error_high"]),
            "leave-one-out",
            notes.mark(_reason(row)),
        )
        if row["num_samples"] == answer["num_samples"]
        else (
            str(row["num_samples"]),
            number(row["test_error"]),
            _range(row["low"], row["high"]),
            f"power fit {number(row['power_fit'])}, eigenvalue tail {number(row['eigen_tail'])}",
            notes.mark(_reason(row)),
        )
        for row in beyond
    ]
    title = f"LEARNING CURVE at a ridge of {number(answer['ridge_per_sample'])} for each sample"
    return "\n".join([title, table(("samples", "test error", "interval", "from", ""), cells), *notes.lines()])


def _reason(row: dict[str, Any]) -> str:
    """Return why a row is not to be trusted; empty if it is."""
    return "" if row["is_trustworthy"] else f"not to be trusted: {row['why'].removeprefix(WARNING)}"


def _condition(condition: dict[str, Any] | None) -> str:
    if condition is None:
        return ""
    least = "at least " if condition["is_lower_bound"] else ""
    lines = [f"CONDITION NUMBER {least}{number(condition['condition_number'])} without a ridge"]
    lines.append(paragraph(sentence(condition["why"])))
    return "\n".join(lines)


def _about(summary: dict[str, Any]) -> str:
    about = summary["attributes"]
    rows = about["num_rows"]
    lines = [
        f"ABOUT {about['data'] or 'the data'}: {about['num_samples']} samples, kernel {readable(about['kernel'])}",
        paragraph(
            f"Ridges are added to the Gram matrix as it is, (K + ridge I)^-1 y, as alpha of scikit-learn; those below "
            f"{number(about['ridge_floor'])} cannot be told from rounding ({rows} rows)."
        ),
    ]
    lines += [paragraph(sentence(remark)) for remark in summary["remarks"]]
    if about["status"] != "complete":
        lines.append(paragraph("INTERRUPTED: not all parts were found."))
    return "\n".join(lines)
