"""A page for a terminal of 100 columns."""

import textwrap

from spectra.report.blocks import Block, Bullets, Code, Page, Paragraph
from spectra.report.paragraphs import paragraph
from spectra.report.tables import table

__all__ = ["text_page"]


def text_page(page: Page) -> str:
    """Return the page as plain text, without a trailing newline."""
    parts = [paragraph(page.answer, lead="")]
    for section in page.sections:
        parts.append("\n".join([section.title.upper(), *map(_block, section.blocks)]))
    return "\n\n".join(parts)


def _block(block: Block) -> str:
    if isinstance(block, Paragraph):
        return paragraph(block.text)
    if isinstance(block, Bullets):
        return "\n".join(paragraph(item, lead="  - ") for item in block.items)
    if isinstance(block, Code):
        caption = (
            f"  {block.caption if block.caption.endswith(':') else f'# {block.caption}'}\n" if block.caption else ""
        )
        return caption + textwrap.indent(block.text, "  ")
    head, _, *rows = table(block.header, block.rows).splitlines()
    return "\n".join([head, *rows])
