"""Advice as text for a terminal, Markdown or HTML for a file, or one JSON object for a program.

===========  ==============================================================================
``page``     the page, top to bottom, as blocks; ``answer``, ``why``, ``evidence``, ``paste``
             and ``cost`` make its parts
``text``     ... written for a terminal; ``markdown`` and ``html`` for files
``data``     the same as plain values, for JSON
``numbers``  numbers for readers; ``paragraphs`` and ``footnotes`` wrapped text; ``tables`` aligned tables
===========  ==============================================================================

All forms are written from the same blocks, so that they say the same.
"""

import json
from typing import Literal

from spectra.errors import ArgumentError
from spectra.recommend.advice import Advice
from spectra.report.data import ADVICE_SCHEMA, ADVICE_SCHEMA_VERSION, advice_data
from spectra.report.html import html_page
from spectra.report.markdown import markdown_page
from spectra.report.numbers import finite_or_null, number
from spectra.report.page import page
from spectra.report.paragraphs import paragraph
from spectra.report.tables import table
from spectra.report.text import text_page

__all__ = ["ADVICE_SCHEMA", "ADVICE_SCHEMA_VERSION", "finite_or_null", "number", "paragraph", "render", "table"]

Format = Literal["text", "markdown", "html", "json"]


def render(advice: Advice, *, format: Format = "text", verbose: bool = False, picture: str | None = None) -> str:
    """Return the advice as text, Markdown, HTML or JSON, without a trailing newline.

    Parameters
    ----------
    advice : Advice
        What :func:`spectra.recommend.advise` or :func:`probes.recommend` returned.
    format : {"text", "markdown", "html", "json"}
        ``"json"`` is one object with ``schema`` and ``schema_version``, without NaN or infinity.
    verbose : bool
        For text: every check, all batch sizes and the reasons against other rules, as Markdown and HTML have them.
    picture : str, optional
        For Markdown the address of an image; for HTML an ``<svg>`` element, as of
        :func:`spectra.advice_plot.advice_svg`, which goes into the page as it is.

    Raises
    ------
    ArgumentError
        For an unknown format, or a picture for a form that has none.
    """
    if picture is not None and format not in ("markdown", "html"):
        raise ArgumentError(f"a picture goes into Markdown or HTML; got format={format!r}")
    if format == "json":
        return json.dumps(advice_data(advice), indent=2, allow_nan=False)
    if format == "text":
        return text_page(page(advice, detail=verbose))
    if format == "markdown":
        return markdown_page(page(advice, detail=True), picture=picture)
    if format == "html":
        return html_page(page(advice, detail=True), picture=picture)
    raise ArgumentError(f"format must be 'text', 'markdown', 'html' or 'json'; got {format!r}")
