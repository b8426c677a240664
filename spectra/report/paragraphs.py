"""Paragraphs of text for a terminal."""

import textwrap

__all__ = ["COLUMNS", "paragraph"]

#: Characters of a line.
COLUMNS = 100


def paragraph(text: str, *, lead: str = "  ") -> str:
    """Return a text in lines of at most 100 characters, behind a lead; words stay whole.

    Parameters
    ----------
    text : str
        One paragraph.
    lead : str
        What the first line begins with; the others have as many spaces.

    Notes
    -----
    Source: a convention of this project.

    Examples
    --------
    >>> paragraph("one two", lead="- ")
    '- one two'
    """
    return textwrap.fill(
        text,
        COLUMNS,
        initial_indent=lead,
        subsequent_indent=" " * len(lead),
        break_long_words=False,
        break_on_hyphens=False,
    )
