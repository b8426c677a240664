"""Tables of text, aligned, plain or as Markdown."""

from collections.abc import Iterable, Sequence

__all__ = ["table"]


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, markdown: bool = False) -> str:
    """Return an aligned table; numbers are strings already. Markdown tables are aligned too.

    Examples
    --------
    >>> print(table(["b", "rate"], [["16", "0.1"]], markdown=True))
    | b  | rate |
    | -- | ---- |
    | 16 | 0.1  |
    """
    body = [[cell.replace("|", "\\|") if markdown else cell for cell in row] for row in (header, *rows)]
    widths = [max(len(line[column]) for line in body) for column in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        padded = [cell.ljust(width) for cell, width in zip(cells, widths, strict=True)]
        return f"| {' | '.join(padded)} |" if markdown else f"  {'  '.join(padded)}".rstrip()

    return "\n".join([line(body[0]), line(["-" * width for width in widths]), *(line(row) for row in body[1:])])
