"""Spectra of weight matrices as text for a terminal, or as one JSON object for a program.

The JSON object carries ``schema`` and ``schema_version`` and never contains NaN or infinity: what is not a number is
``null``.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from spectra.errors import ArgumentError
from spectra.report import finite_or_null, number, paragraph, table
from spectra.report.footnotes import Footnotes
from spectra.weights_summary import summarize_weights

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["render_weights"]

#: Lines of the table are so wide where names can be cut so far, but none is cut below the smallest width.
MAX_LINE, MIN_NAME = 118, 24
#: Long looks in the table.
_SHORT_LOOKS = {"noise with spikes": "noise + spikes", "heavy-tailed entries": "heavy entries"}


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
    return "\n\n".join([_answer(summary), _spectra(summary), _about(summary)])


def _answer(summary: dict[str, Any]) -> str:
    layers, counts = summary["layers"], summary["answer"]
    named = ", ".join(f"{count} {look}" for look, count in counts.items() if count)
    lines = [f"WEIGHTS {len(layers)} {'matrix' if len(layers) == 1 else 'matrices'}: {named}"]
    found = [row for row in layers if math.isfinite(row["exponent"])]
    found.sort(key=lambda row: -row["exponential_ratio"])
    if found:
        text = "; ".join(f"{_printable(row['layer'])} {_exponent(row)}" for row in found[:3])
        lines.append(
            paragraph(
                f"Exponents of eigenvalue tails: {text}{f'; {len(found) - 3} more below' if len(found) > 3 else ''}."
            )
        )
    else:
        lines.append(paragraph("No exponent is given: no tail is at once unlike Gaussian noise and like a power law."))
    if counts["noise"]:
        lines.append(
            paragraph(
                f"{counts['noise']} cannot be told from random numbers: their spectra follow the Marchenko-Pastur law, "
                "as those of untrained layers do."
            )
        )
    colored = sum(row["marchenko_pastur_num_spikes"] >= 0 and not _is_white(row) for row in layers)
    if colored:
        lines.append(
            paragraph(
                f"In {colored} the whole bulk differs from white noise: go by the law-free edge there. Numbers of "
                "spikes in parentheses are of splits that do not fit."
            )
        )
    return "\n".join(lines)


def _spectra(summary: dict[str, Any]) -> str:
    notes = Footnotes()
    rows = summary["layers"]
    cells: list[tuple[str, ...]] = [
        (
            f"{row['num_rows']}x{row['num_columns']}",
            _SHORT_LOOKS.get(row["looks_like"], row["looks_like"]),
            _spikes(row),
            number(max(row["spike_margin"])) if row["spike_margin"] and _is_white(row) else "-",
            number(row["spectral_norm"]),
            number(row["stable_rank"]),
            _condition(row),
            _exponent(row).replace(" +- ", "+-"),
            "".join(notes.mark(text) for text in _reasons(row)),
        )
        for row in rows
    ]
    header: tuple[str, ...] = ("shape", "looks like", "spikes", "margin", "norm", "st. rank", "cond.", "exponent", "")
    # Columns without an entry go.
    filled = [i for i in range(len(header)) if any(cell[i] != "-" for cell in cells)]
    header, cells = tuple(header[i] for i in filled), [tuple(cell[i] for i in filled) for cell in cells]
    taken = sum(max(map(len, column)) + 2 for column in zip(header, *cells, strict=True)) + 2
    names, start = _short_names([row["layer"] for row in rows], max(MIN_NAME, MAX_LINE - taken))
    legend = ["Spikes: by the Marchenko-Pastur law | above a law-free edge. Stable rank and condition number."]
    if "margin" in header:
        legend.append(
            "Margin of the largest spike in Tracy-Widom units (noise exceeds 2 in one of a hundred matrices)."
        )
    if "exponent" in header:
        legend.append("Exponent of the eigenvalues, tail size in parentheses.")
    if start:
        legend.append(f"Names begin with {start!r}.")
    lines = table(("matrix", *header), [(name, *cell) for name, cell in zip(names, cells, strict=True)])
    return "\n".join(["SPECTRA", lines, paragraph(" ".join(legend)), *notes.lines()])


def _condition(row: dict[str, Any]) -> str:
    if row["why"]:
        return "-"
    return number(row["condition_number"]) if math.isfinite(row["condition_number"]) else f"rank {row['rank']}"


def _printable(name: str) -> str:
    """Return a name on one line, without characters that a terminal obeys."""
    return "".join(letter if letter.isprintable() else "?" for letter in name)


def _short_names(names: Sequence[str], width: int) -> tuple[list[str], str]:
    """Return names of at most so many characters, different where the names are, and what all began with."""
    texts = [_printable(name).removesuffix(".weight") for name in names]
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
    """Return the numbers of both splits; in parentheses where the split does not trust itself."""
    texts = []
    for name in ("marchenko_pastur", "ladder"):
        count = row[f"{name}_num_spikes"]
        text = "-" if count < 0 else str(count)
        texts.append(text if count < 0 or row[f"{name}_is_trustworthy"] else f"({text})")
    return " | ".join(texts)


def _exponent(row: dict[str, Any]) -> str:
    if not math.isfinite(row["exponent"]):
        return "-"
    return f"{number(row['exponent'])} +- {number(row['exponent_stderr'], 2)} ({row['num_tail']})"


def _reasons(row: dict[str, Any]) -> list[str]:
    """Return the footnotes of a matrix, without what differs from one to the next."""
    if row["why"]:
        return [row["why"]]
    few = "singular values are too few to tell spikes from a bulk"
    reasons = [few if text.endswith(few) else text for text in row["remarks"]]
    if row["heavy_tailed"]:
        reasons.append(
            "as many spikes remain where the entries are in random places: large entries make them, not directions"
        )
    if math.isfinite(row["exponent"]):
        reasons += row["tail_remarks"]
    elif "p-value" in row["tail_why"]:
        reasons.append("no power law: the tail does not follow one (p-value below the limit)")
    elif "Gaussian" in row["tail_why"]:
        reasons.append("no power law: the tail is that of a Gaussian matrix of the same shape, spikes aside")
    elif "exponential" in row["tail_why"]:
        reasons.append("no power law: an exponential tail fits better")
    elif row["tail_why"].startswith("only"):
        reasons.append("no power law: too few positive eigenvalues for a tail")
    elif row["tail_why"]:
        reasons.append(f"no power law: {row['tail_why']}")
    return reasons


def _about(summary: dict[str, Any]) -> str:
    about = summary["attributes"]
    return "\n".join(
        [
            f"ABOUT {about['source']}: {about['num_parameters']:,} weights in {len(summary['layers'])} matrices",
            paragraph(
                "A spectrum tells noise from structure; it does not tell a good model from a bad one. Eigenvalues are "
                "squared singular values; convolutions are taken as (out, in * kernel), fused projections apart."
            ),
        ]
    )
