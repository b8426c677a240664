"""A page for a terminal of 100 columns."""

import textwrap

from spectra.report.blocks import Block, Bullets, Code, Page, Paragraph
from spectra.report.tables import table

__all__ = ["text_page"]

COLUMNS = 100


def text_page(page: Page) -> str:
    """Return the page as plain text, without a trailing newline."""
    parts = [_wrapped(page.answer, "")]
    for section in page.sections:
        parts.append("\n".join([section.title.upper(), *map(_block, section.blocks)]))
    return "\n\n".join(parts)


def _block(block: Block) -> str:
    if isinstance(block, Paragraph):
        return _wrapped(block.text, "  ")
    if isinstance(block, Bullets):
        return "\n".join(_wrapped(item, "  - ") for item in block.items)
    if isinstance(block, Code):
        caption = (
            f"  {block.caption if block.caption.endswith(':') else f'# {block.caption}'}\n" if block.caption else ""
        )
        return caption + textwrap.indent(block.text, "  ")
    head, _, *rows = table(block.header, block.rows).splitlines()
    return "\n".join([head, *rows])


def _wrapped(text: str, lead: str) -> str:
    return textwrap.fill(
        text,
        COLUMNS,
        initial_indent=lead,
        subsequent_indent=" " * len(lead),
        break_long_words=False,
        break_on_hyphens=False,
    )
