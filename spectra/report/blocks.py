"""What a page is made of, whatever it is written as."""

from dataclasses import dataclass

__all__ = ["Block", "Bullets", "Code", "Page", "Paragraph", "Section", "Table"]


@dataclass(frozen=True)
class Paragraph:
    """Sentences."""

    text: str


@dataclass(frozen=True)
class Bullets:
    """A list of short sentences."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """Cells are text; the rows in ``marked`` stand out, counted from 0."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    marked: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Code:
    """Lines to paste, in a language, under a caption."""

    text: str
    language: str
    caption: str = ""


Block = Paragraph | Bullets | Table | Code


@dataclass(frozen=True)
class Section:
    """A titled part of the page; ``folded`` ones are closed at first where the form allows it."""

    title: str
    blocks: tuple[Block, ...]
    folded: bool = False


@dataclass(frozen=True)
class Page:
    """A page: title, verdict, one-sentence answer, sections."""

    title: str
    verdict: str
    answer: str
    sections: tuple[Section, ...]
