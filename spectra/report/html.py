"""A page as one HTML file: style and picture inside, no scripts, nothing from elsewhere."""

from html import escape

from spectra.report.blocks import Block, Bullets, Code, Page, Paragraph, Section

__all__ = ["html_page"]

#: Cells up to this many characters are not broken into lines.
SHORT = 24

STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1c1e21; background: #fff; max-width: 64rem; margin: 2rem auto;
  padding: 0 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.05rem; font-weight: 500; color: #57606a; margin: 0 0 .5rem; }
h2 { font-size: 1.05rem; margin: 2rem 0 .5rem; border-bottom: 1px solid #d8dee4; padding-bottom: .2rem; }
.answer { font-size: 1.3rem; line-height: 1.4; margin: 0 0 1.2rem; padding-left: .9rem;
  border-left: .35rem solid #57606a; }
.SUPPORTED { border-color: #1a7f37; } .TENTATIVE { border-color: #bf8700; } .WITHHELD { border-color: #cf222e; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .92rem; margin: .4rem 0; }
th, td { text-align: left; padding: .25rem 1.1rem .25rem 0; border-bottom: 1px solid #eaeef2; vertical-align: top; }
th { font-weight: 600; color: #57606a; }
td.short { white-space: nowrap; }
tr.marked td { background: #fff4e5; }
pre { background: #f6f8fa; padding: .7rem .9rem; border-radius: .35rem; overflow-x: auto; font-size: .85rem;
  margin: .3rem 0; }
.caption { margin: .8rem 0 0; font-weight: 500; }
figure { margin: 1rem 0; } figure svg { width: 100%; height: auto; }
summary { cursor: pointer; font-weight: 600; margin-top: 2rem; }
""".strip()


def html_page(page: Page, *, picture: str | None = None) -> str:
    """Return the page as HTML; ``picture`` is an ``<svg>`` element of one's own making, which is not escaped."""
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(page.title)}</title>",
        f"<style>\n{STYLE}\n</style></head><body>",
        f"<h1>{escape(page.title)}</h1>",
        f'<p class="answer {escape(page.verdict)}">{escape(page.answer)}</p>',
    ]
    for index, section in enumerate(page.sections):
        parts.append(_section(section))
        if index == 0 and picture is not None:
            parts.append(f"<figure>\n{picture}\n</figure>")
    return "\n".join([*parts, "</body></html>"])


def _section(section: Section) -> str:
    body = "\n".join(map(_block, section.blocks))
    if section.folded:
        return f"<details><summary>{escape(section.title)}</summary>\n{body}\n</details>"
    return f"<section><h2>{escape(section.title)}</h2>\n{body}\n</section>"


def _block(block: Block) -> str:
    if isinstance(block, Paragraph):
        return f"<p>{escape(block.text)}</p>"
    if isinstance(block, Bullets):
        return "<ul>" + "".join(f"<li>{escape(item)}</li>" for item in block.items) + "</ul>"
    if isinstance(block, Code):
        caption = f'<p class="caption">{escape(block.caption)}</p>' if block.caption else ""
        return f"{caption}<pre><code>{escape(block.text)}</code></pre>"
    head = "".join(f"<th>{escape(cell)}</th>" for cell in block.header)
    rows = "\n".join(
        f"<tr{' class=marked' if index in block.marked else ''}>"
        + "".join(f"<td{' class=short' if len(cell) <= SHORT else ''}>{escape(cell)}</td>" for cell in row)
        + "</tr>"
        for index, row in enumerate(block.rows)
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>\n{rows}\n</tbody></table></div>'
