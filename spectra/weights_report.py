"""Spectra of weight matrices as text for a terminal, or as one JSON object for a program.

The JSON object carries ``schema`` and ``schema_version`` and never contains NaN or infinity: what is not a number is
``null``.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from spectra.errors import ArgumentError
from spectra.report import finite_or_null, number, paragraph, table
from spectra.report.footnotes import Footnotes
from spectra.report.paragraphs import COLUMNS
from spectra.weights_summary import summarize_weights
from spectra.weights_words import LOOK_MEANINGS, NO_EXPONENT, printable, why_no_exponent

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["render_weights"]

#: No name is cut below so many characters, though the lines get longer.
MIN_NAME = 16
#: Long looks in the table.
_SHORT_LOOKS = {
    "noise with spikes": "noise + spikes",
    "heavy-tailed entries": "heavy entries",
}
#: Names in a list, and rules with their matrices.
MAX_LISTED = 4


def render_weights(weights: "xr.Dataset", *, format: Literal["text", "json"] = "text") -> str:
    """Return spectra of weight matrices as text or JSON, without a trailing newline.

    Parameters
    ----------
    weights : xarray.Dataset
        Of :func:`probes.weights.weight_spectra`.
    format : {"text", "json"}
        The first line of the text is the answer. See :func:`spectra.weights_summary.summarize_weights` for the JSON.

    Raises
    ------
    ArgumentError
        For an unknown format, or another dataset.
    """
    if format not in ("text", "json"):
        raise ArgumentError(f"format must be 'text' or 'json'; got {format!r}")
    summary = summarize_weights(weights)
    if format == "json":
        return json.dumps(finite_or_null(summary), indent=2, allow_nan=False)
    parts = [_answer(summary), _spectra(summary), _rules(summary), _left_out(summary), _about(summary)]
    return "\n\n".join(part for part in parts if part)


def _answer(summary: dict[str, Any]) -> str:
    layers, counts = summary["layers"], summary["answer"]
    named = ", ".join(f"{count} {look}" for look, count in counts.items() if count)
    what = "WEIGHTS" if "against" not in summary["attributes"] else "CHANGES OF WEIGHTS"
    lines = [f"{what} {len(layers)} {'matrix' if len(layers) == 1 else 'matrices'}: {named}"]
    missed = sum("not reached" in entry["why"] for entry in summary["left_out"])
    if missed:
        lines.append(paragraph(f"The run was interrupted: {missed} more matrices were not reached."))
    found = [row for row in layers if math.isfinite(row["exponent"])]
    found.sort(key=lambda row: -row["exponential_ratio"])
    if found:
        text = "; ".join(f"{printable(row['layer'])} {_exponent(row)}" for row in found[:3])
        lines.append(
            paragraph(
                f"Exponents of eigenvalue tails: {text}{f'; {len(found) - 3} more below' if len(found) > 3 else ''}."
            )
        )
    elif any(math.isfinite(row["fitted_exponent"]) for row in layers):
        lines.append(paragraph("No exponent is given: no tail is at once unlike Gaussian noise and like a power law."))
    return "\n".join(lines)


def _spectra(summary: dict[str, Any]) -> str:
    notes = Footnotes()
    rows = summary["layers"]
    columns: dict[str, list[str]] = {
        "shape": [f"{row['num_rows']}x{row['num_columns']}" for row in rows],
        "looks like": [_SHORT_LOOKS.get(row["looks_like"], row["looks_like"]) for row in rows],
        "spikes": [_spikes(row) for row in rows],
        "margin": [number(max(row["spike_margin"])) if row["spike_margin"] and _is_white(row) else "-" for row in rows],
        "change": [number(row.get("relative_change", math.nan), 2) for row in rows],
        "norm": [number(row["spectral_norm"]) for row in rows],
        "rank": [str(row["rank"]) if math.isinf(row["condition_number"]) else "-" for row in rows],
        "s.rank": [number(row["stable_rank"]) for row in rows],
        "exponent": [_exponent(row).replace(" +- ", "+-") for row in rows],
        "note": [_marks([notes.mark(text) for text in _reasons(row)]) for row in rows],
    }
    # Columns without an entry go.
    columns = {name: cells for name, cells in columns.items() if any(cell not in ("-", "") for cell in cells)}
    taken = sum(max(len(name), *map(len, cells)) + 2 for name, cells in columns.items()) + 2
    names, start = _short_names([row["layer"] for row in rows], max(MIN_NAME, COLUMNS - taken))
    lines = table(("matrix", *columns), list(zip(names, *columns.values(), strict=True)))
    legend = _legend(summary, columns, start)
    return "\n".join(["SPECTRA", lines, *notes.lines(), "", "WORDS", *legend])


def _legend(summary: dict[str, Any], columns: Iterable[str], start: str) -> list[str]:
    """Say what the words and columns of the table mean, those that are there."""
    lines = [
        paragraph(f"{_SHORT_LOOKS.get(look, look)}: {meaning}.", lead="  ")
        for look, meaning in LOOK_MEANINGS.items()
        if summary["answer"][look]
    ]
    meanings = {
        "spikes": "spikes: singular values above the bulk. Where the bulk is that of random numbers, above what those "
        "reach in 99 of 100 matrices; elsewhere above the end of the bulk, whatever its law, and in parentheses where "
        "it has no clear end.",
        "margin": "margin: how far the largest spike is above that, in units of its random fluctuation (Tracy-Widom); "
        "random numbers exceed 2 in one of 100 matrices, and 4.4 in one of 10,000.",
        "change": "change: Frobenius norm of the difference over that of the matrix it is compared with.",
        "norm": "norm: largest singular value.",
        "rank": "rank: singular values that are not 0 in single precision, of differences those that rounding of both "
        "does not explain; where some are and some are not.",
        "s.rank": "s.rank: stable rank, the sum of all squared singular values over the largest: how many directions "
        "carry the matrix.",
    }
    lines += [paragraph(meaning) for name, meaning in meanings.items() if name in columns]
    keys = [why_no_exponent(row) for row in summary["layers"] if not math.isfinite(row["exponent"])]
    if "exponent" in columns and any(math.isfinite(row["exponent"]) for row in summary["layers"]):
        lines.append(
            paragraph(
                "exponent: a, where the density of the large eigenvalues (squared singular values) falls like x^-a; in "
                "parentheses how many there are."
            )
        )
    lines += [paragraph(f"no: {key}: {text}.") for key, text in NO_EXPONENT.items() if key in keys]
    if start:
        lines.append(paragraph(f"Names begin with {start!r}."))
    return lines


def _rules(summary: dict[str, Any]) -> str:
    """Say which tensors were no matrices, and how they became some."""
    rules: dict[str, list[str]] = {}
    for row in summary["layers"]:
        if row.get("rule", "as it is") != "as it is":
            rules.setdefault(row["rule"], []).append(row["layer"])
    if not rules:
        return ""
    lines = [paragraph(f"{rule}: {len(names)} ({_listed(names)})") for rule, names in rules.items()]
    if any("a guess" in rule for rule in rules):
        lines.append(
            paragraph("Where a guess is wrong, --stack NAME or --kernel NAME (stacks=, kernels=) says better.")
        )
    return "\n".join(["MATRICES MADE OF OTHER TENSORS", *lines])


def _left_out(summary: dict[str, Any]) -> str:
    """Say what is not in the table and why."""
    groups: dict[str, list[str]] = {}
    for entry in summary["left_out"]:
        groups.setdefault(entry["why"], []).append(entry["name"])
    if not groups:
        return ""
    lines = [
        paragraph(f"{why}: {len(names)}" + ("" if why.startswith("vectors") else f" ({_listed(names)})"))
        for why, names in groups.items()
    ]
    count = len(summary["left_out"])
    return "\n".join([f"LEFT OUT {count} {'tensor' if count == 1 else 'tensors'}", *lines])


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
    return ", ".join(map(printable, names[:MAX_LISTED])) + more


def _short_names(names: Sequence[str], width: int) -> tuple[list[str], str]:
    """Return names of at most so many characters, different where the names are, and what all began with."""
    texts = [printable(name).removesuffix(".weight") for name in names]
    # What the first and the last in order have in common, all have.
    first, last = min(texts), max(texts)
    same = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    start = first[: first[:same].rfind(".") + 1] if max(map(len, texts)) > width else ""
    texts = [_abbreviated(text.removeprefix(start), width) for text in texts]
    counts = Counter(texts)
    for i, text in enumerate(texts):
        if counts[text] > 1:
            mark = f"#{i + 1}"
            texts[i] = f"{text[: width - len(mark) - 1]} {mark}"
    return texts, start


def _abbreviated(text: str, width: int) -> str:
    """Shorten the words of a name from the left, numbers never; cut the middle if that is not enough."""
    parts = re.split(r"([._])", text)
    for letters in (3, 1):
        for i, part in enumerate(parts):
            if len("".join(parts)) > width and part.isalpha():
                parts[i] = part[:letters]
    text = "".join(parts)
    head = (width - 2) // 2
    return text if len(text) <= width else f"{text[:head]}..{text[head + 2 - width :]}"


def _is_white(row: dict[str, Any]) -> bool:
    return bool(row["marchenko_pastur_is_trustworthy"])


def _spikes(row: dict[str, Any]) -> str:
    """Return the number of spikes of the split that fits; in parentheses if none is sure."""
    count = row["num_spikes"]
    if count < 0:
        return "-"
    return str(count) if _is_white(row) or row["ladder_is_trustworthy"] else f"({count})"


def _marks(marks: Sequence[str]) -> str:
    """Return marks of footnotes in their order."""
    return ",".join(sorted((mark.strip("[]") for mark in marks), key=int))


def _exponent(row: dict[str, Any]) -> str:
    if not math.isfinite(row["exponent"]):
        key = why_no_exponent(row)
        return f"no: {key}" if key else "-"
    return f"{number(row['exponent'])} +- {number(row['exponent_stderr'], 2)} ({row['num_tail']})"


def _reasons(row: dict[str, Any]) -> list[str]:
    """Return the footnotes of a matrix: what its look and its exponent do not say."""
    if row["why"]:
        # The look says it where a matrix is unchanged.
        return [*([] if row["looks_like"] == "unchanged" else [row["why"]]), *row["remarks"]]
    # The look of the matrix says it.
    said = ("too few to tell spikes from a bulk", "there is no bulk", "an exponential tail fits about as well")
    reasons = [text for text in row["remarks"] if not text.endswith(said)]
    if math.isfinite(row["exponent"]):
        reasons += [text for text in row["tail_remarks"] if not text.endswith(said)]
    elif row["tail_why"] and not why_no_exponent(row) and row["looks_like"] != "orthogonal":
        reasons.append(f"no exponent: {row['tail_why']}")
    return reasons


def _about(summary: dict[str, Any]) -> str:
    about = summary["attributes"]
    against = f", less {about['against']}" if "against" in about else ""
    text = "A spectrum tells noise from structure; it does not tell a good model from a bad one."
    if against:
        text = (
            "All numbers are of differences: noise is a change like random numbers, a spike a change in one direction. "
            "Rounding is taken to be that of the numbers in the files; rounding before, to fewer digits, looks like "
            "noise."
        )
    head = f"ABOUT {about['source']}{against}: {about['num_parameters']:,} weights in {len(summary['layers'])} matrices"
    more = "Condition numbers, ranks, both splits and tests of all matrices: --json, --csv, -o."
    return "\n".join([paragraph(head, lead=""), paragraph(f"{text} {more}")])
