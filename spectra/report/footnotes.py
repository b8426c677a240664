"""Footnotes of tables for a terminal."""

from spectra.report.paragraphs import paragraph

__all__ = ["Footnotes", "sentence"]


def sentence(text: str) -> str:
    """Return a text with a capital and a full stop; nothing of nothing.

    Examples
    --------
    >>> sentence("it holds")
    'It holds.'
    """
    whole = text.strip().rstrip(".")
    return f"{whole[0].upper()}{whole[1:]}." if whole else ""


class Footnotes:
    """Footnotes of a table: the same text has the same number.

    Examples
    --------
    >>> notes = Footnotes()
    >>> notes.mark("it holds"), notes.mark(""), notes.mark("it holds"), notes.lines()
    ('[1]', '', '[1]', ['  [1] It holds.'])
    """

    def __init__(self) -> None:
        self.texts: list[str] = []

    def mark(self, text: str) -> str:
        """Return the mark of a note; of an empty one nothing."""
        if not text:
            return ""
        if text not in self.texts:
            self.texts.append(text)
        return f"[{self.texts.index(text) + 1}]"

    def lines(self) -> list[str]:
        """Return the notes, wrapped."""
        return [paragraph(f"[{i}] {sentence(text)}") for i, text in enumerate(self.texts, start=1)]
