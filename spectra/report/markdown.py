"""A page as GitHub-flavored Markdown."""

import re

from spectra.report.blocks import Block, Bullets, Code, Page, Paragraph, Table
from spectra.report.tables import table

__all__ = ["markdown_page"]


def markdown_page(page: Page, *, picture: str | None = None) -> str:
    """Return the page as Markdown, without a trailing newline; ``picture`` is the address of an image to show."""
    parts = [f"# {_escaped(page.title)}", f"**{_escaped(page.answer)}**"]
    if picture is not None:
        parts.append(f"![learning rates that were tried, and stable limit against batch size]({picture})")
    for section in page.sections:
        parts += [f"## {section.title}", *map(_block, section.blocks)]
    return "\n\n".join(parts)


def _block(block: Block) -> str:
    if isinstance(block, Paragraph):
        return _escaped(block.text)
    if isinstance(block, Bullets):
        return "\n".join(f"- {_escaped(item)}" for item in block.items)
    if isinstance(block, Code):
        caption = f"{_escaped(block.caption)}\n\n" if block.caption else ""
        fence = "`" * max(3, 1 + max(map(len, re.findall("`+", block.text)), default=0))
        return f"{caption}{fence}{block.language}\n{block.text}\n{fence}"
    return table(_row(block.header), [_marked(block, index) for index in range(len(block.rows))], markdown=True)


def _marked(block: Table, index: int) -> tuple[str, ...]:
    cells = _row(block.rows[index])
    return tuple(f"**{cell}**" if cell else "" for cell in cells) if index in block.marked else cells


def _row(cells: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(_escaped(cell) for cell in cells)


def _escaped(text: str) -> str:
    """Escape what Markdown or HTML would read as markup."""
    return re.sub(r"([\\`*_<>])", r"\\\1", text).replace("\n", " ")
