"""A law of random matrices, or the list of all of them, as text for a terminal or one JSON object for a program."""

import json
import math
from typing import TYPE_CHECKING, Any, Literal

from spectra.errors import ArgumentError
from spectra.law_table import LAW_PARAMETERS
from spectra.report import finite_or_null, number, paragraph, table

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["LAW_REPORT_SCHEMA", "LAW_REPORT_SCHEMA_VERSION", "render_law", "render_list"]

LAW_REPORT_SCHEMA = "spectra/law-report"
LAW_REPORT_SCHEMA_VERSION = 1

#: Share of the size of a law below which a number is 0 but for rounding.
ROUNDING = 1e-13
#: What has such eigenvalues.
_OF = {
    "marchenko_pastur": "sample covariances of white noise",
    "semicircle": "symmetric noise",
    "jacobi": "one covariance over the sum of two",
    "f": "one covariance in units of another",
    "generalized": "sample covariances of any population",
    "tracy_widom": "noise: its largest one, scaled",
}


def render_law(law: "xr.Dataset", *, format: Literal["text", "json"] = "text") -> str:
    r"""Return a table of a law as text or JSON, without a trailing newline.

    Parameters
    ----------
    law : xarray.Dataset
        Of :func:`spectra.law_table.tabulate_law`.
    format : {"text", "json"}
        The JSON has ``support``, ``atoms``, moments, ``quantiles`` and the points that were asked for, not the grid.

    Raises
    ------
    ArgumentError
        For an unknown format, or another dataset.

    Examples
    --------
    >>> from spectra.law_table import make_law, tabulate_law
    >>> print(render_law(tabulate_law(make_law("semicircle", {}))).partition("\n")[0])
    LAW Semicircle, variance 1
    """
    if format not in ("text", "json"):
        raise ArgumentError(f"format must be 'text' or 'json'; got {format!r}")
    if law.attrs.get("schema") != "spectra/law":
        raise ArgumentError(
            f"a dataset of spectra.law_table.tabulate_law is required, got schema {law.attrs.get('schema')!r}"
        )
    summary = _summary(law)
    if format == "json":
        return json.dumps(finite_or_null(summary), indent=2, allow_nan=False)
    return _text(summary)


def render_list() -> str:
    """Return all laws with their parameters as text.

    Examples
    --------
    >>> render_list().splitlines()[0]
    'LAWS of random matrices'
    """
    rows = []
    for name, parameters in LAW_PARAMETERS.items():
        texts = [key if value is None else f"[{key}]" for key, value in parameters.items()]
        rows.append((name, " ".join(texts), _OF[name]))
    legend = (
        "`spectra laws NAME parameter=value ...` shows one; `spectra laws FILE` finds the law of eigenvalues or of a "
        "matrix. Parameters in brackets need not be given. Aspect ratios are variables over samples."
    )
    return "\n".join(
        ["LAWS of random matrices", table(("name", "parameters", "of the eigenvalues of"), rows), paragraph(legend)]
    )


def _rounded(value: float, small: float, digits: int) -> str:
    return number(0.0 if abs(value) < small else value, digits)


def _summary(law: "xr.Dataset") -> dict[str, Any]:
    """Return the content as nested plain values."""
    attrs = law.attrs
    points = zip(*(law[name].values.tolist() for name in ("at", "pdf_at", "cdf_at", "sf_at")), strict=True)
    return {
        "schema": LAW_REPORT_SCHEMA,
        "schema_version": LAW_REPORT_SCHEMA_VERSION,
        "label": str(attrs["label"]),
        "support": json.loads(str(attrs["support"])),
        "atoms": json.loads(str(attrs["atoms"])),
        **{name: float(attrs[name]) for name in ("mean", "variance", "median")},
        "quantiles": [
            {"q": q, "x": x} for q, x in zip(law["q"].values.tolist(), law["quantile"].values.tolist(), strict=True)
        ],
        "at": [dict(zip(("x", "pdf", "cdf", "sf"), row, strict=True)) for row in points],
        "software": json.loads(str(attrs.get("software", "{}"))),
    }


def _text(summary: dict[str, Any]) -> str:
    ends = [
        f"[{'-inf' if low is None else number(low, 5)}, {'inf' if high is None else number(high, 5)}]"
        for low, high in summary["support"]
    ]
    head = [f"LAW {summary['label']}"]
    head.append(paragraph(f"Support {' and '.join(ends) or 'has no interval'}."))
    for place, mass in summary["atoms"]:
        head.append(paragraph(f"Mass {number(mass, 5)} at {number(place, 5)}."))
    deviation = math.sqrt(max(summary["variance"], 0.0))
    # What is 0 but for rounding of the law's own size is 0.
    small = ROUNDING * max(deviation, abs(summary["mean"]))
    head.append(
        paragraph(
            f"Mean {_rounded(summary['mean'], small, 6)}, variance {number(summary['variance'], 6)}, standard "
            f"deviation {number(deviation, 6)}, median {_rounded(summary['median'], small, 6)}."
        )
    )
    rows = [(f"{row['q']:g}", _rounded(row["x"], small, 7)) for row in summary["quantiles"]]
    sections = ["\n".join(head), "QUANTILES\n" + table(("share below", "x"), rows)]
    if summary["at"]:
        at = [(f"{row['x']:g}", *(number(row[key], 6) for key in ("pdf", "cdf", "sf"))) for row in summary["at"]]
        legend = "Above: the share beyond x; of a Tracy-Widom law the p-value of a largest eigenvalue."
        sections.append("AT\n" + table(("x", "density", "up to x", "above"), at) + "\n" + paragraph(legend))
    return "\n\n".join(sections)
