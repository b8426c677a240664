"""Tables in text files, as people and programs write them: delimiters, headers, decimal commas, missing values."""

import csv
import io
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spectra.errors import ArgumentError, ShapeError

__all__ = ["TextTable", "are_consecutive", "feature_column", "read_text_table", "row_numbers", "target_column"]

#: What tables write where there is no value.
MISSING = ("", "na", "n/a", "nan", "null", "none", "?", "-")
#: Headers that pandas and R give to the column of row numbers.
INDEX = ("", "unnamed: 0", "index")


@dataclass(frozen=True, kw_only=True)
class TextTable:
    """Cells of a table, without the spaces around them.

    Attributes
    ----------
    header : list of str
        Names of the columns; their numbers where there is no header.
    rows : list of list of str
        All of the length of the header.
    lines : list of int
        Lines of the file in which they stand, from 1.
    has_header : bool
        Whether the names are those of the file.
    remarks : tuple of str
        What was done with what was read.
    """

    header: list[str]
    rows: list[list[str]]
    lines: list[int]
    has_header: bool
    remarks: tuple[str, ...] = ()

    def column(self, place: int) -> list[str]:
        """Return the cells of a column."""
        return [row[place] for row in self.rows]


def read_text_table(path: Path) -> TextTable:
    """Read a file in UTF-8 whose cells are apart by commas, semicolons, tabs or spaces; empty rows are skipped.

    Raises
    ------
    ArgumentError
        If it is no text in UTF-8.
    ShapeError
        If it is empty, or its rows are of different lengths.
    OSError
        If it cannot be read.
    """
    try:
        with path.open(encoding="utf-8-sig") as stream:
            text = stream.read()
    except UnicodeDecodeError as error:
        raise ArgumentError(f"{path} is no text in UTF-8; save it as CSV in UTF-8") from error
    first = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = "\t" if path.suffix.lower() == ".tsv" else max((";", "\t", ","), key=first.count)
    remarks: tuple[str, ...] = ()
    if delimiter in first:
        reader = csv.reader(io.StringIO(text), delimiter=delimiter)
        found = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
        if delimiter == ";" and "," in text:
            found, changed = _with_points(found)
            remarks = ("decimal commas were read as points",) if changed else ()
    else:
        split = [(i, line.split()) for i, line in enumerate(text.splitlines(), start=1)]
        # NumPy writes headers as comments.
        found = [(i, row) for i, row in split if row and not row[0].startswith("#")]
        comments = [row for i, row in split if row and row[0].startswith("#") and (not found or i < found[0][0])]
        header = " ".join(comments[-1]).lstrip("#").split() if comments else []
        if found and len(header) == len(found[0][1]):
            found.insert(0, (0, header))
    if not found:
        raise ShapeError(f"{path} is empty")
    table, lines = [[cell.strip() for cell in row] for _, row in found], [line for line, _ in found]
    has_header = _has_header(table)
    header = table[0] if has_header else [str(i) for i in range(len(table[0]))]
    table, lines = table[has_header:], lines[has_header:]
    for line, row in zip(lines, table, strict=True):
        if len(row) != len(header):
            raise ShapeError(f"{path}: row {line} has {len(row)} cells, the first one {len(header)}")
    return TextTable(header=header, rows=table, lines=lines, has_header=has_header, remarks=remarks)


def feature_column(
    path: Path,
    table: TextTable,
    place: int,
    *,
    remedy: str = "leave the column out, or name it as the target with --target",
) -> np.ndarray:
    """Return a column of numbers, or raise ArgumentError, with a remedy, where a cell is none."""
    name, cells = table.header[place], table.column(place)
    for cell, number in zip(cells, table.lines, strict=True):
        if cell.lower() in MISSING:
            raise ArgumentError(
                f"{path}: column {name!r} has no value in row {number}; leave out such rows, or fill in a value"
            )
        if not _is_number(cell):
            raise ArgumentError(
                f"{path}: column {name!r} holds {cell!r} in row {number}, which is no number; encode it, {remedy}"
            )
    return np.array(cells, dtype=float)


def target_column(path: Path, table: TextTable, place: int) -> np.ndarray:
    """Return targets as numbers, or as text where they are classes; raise ArgumentError where one is missing."""
    name, cells, numbers = table.header[place], table.column(place), table.lines
    missing = next((i for i, cell in enumerate(cells) if cell.lower() in MISSING), None)
    if missing is not None:
        raise ArgumentError(f"{path}: the target {name!r} has no value in row {numbers[missing]}; leave out such rows")
    are_numbers = [_is_number(cell) for cell in cells]
    if all(are_numbers):
        return np.array(cells, dtype=float)
    # Numbers with a few words among them are a column with errors, not classes.
    wrong = are_numbers.index(False)
    if sum(are_numbers) > len(cells) / 2:
        raise ArgumentError(
            f"{path}: the target {name!r} holds {cells[wrong]!r} in row {numbers[wrong]}, which is no number"
        )
    return np.array(cells)


def are_consecutive(cells: list[str]) -> bool:
    """Whether cells are consecutive numbers."""
    if not all(map(_is_number, cells)):
        return False
    values = np.array(cells, dtype=float)
    return len(values) > 2 and bool(np.all(np.diff(values) == 1))


def row_numbers(table: TextTable, places: list[int]) -> int | None:
    """Return the one of these columns that numbers the rows, as its header and its cells say; None without."""
    counting = [i for i in places if table.header[i].lower() in INDEX and are_consecutive(table.column(i))]
    return counting[0] if counting and len(places) > 1 else None


def _with_points(found: list[tuple[int, list[str]]]) -> tuple[list[tuple[int, list[str]]], bool]:
    """Return rows whose decimal commas are points, and whether there were any."""
    changed = False
    rows = []
    for line, row in found:
        cells = [cell.replace(",", ".") if cell.count(",") == 1 else cell for cell in row]
        cells = [new if _is_number(new) else cell for new, cell in zip(cells, row, strict=True)]
        changed = changed or cells != row
        rows.append((line, cells))
    return rows, changed


def _has_header(rows: list[list[str]]) -> bool:
    """Whether the first row names columns: nothing there is a number, or something that is none stands above one."""
    if len(rows) < 2:
        return False
    first = rows[0]
    named = [not _is_number(cell) and cell.lower() not in MISSING for cell in first]
    if not any(map(_is_number, first)):
        return any(named)
    return any(is_name and _is_number(below) for is_name, below in zip(named, rows[1], strict=False))


def _is_number(cell: str) -> bool:
    """Whether a cell holds a finite number."""
    try:
        return math.isfinite(float(cell))
    except ValueError:
        return False
