"""Lay a table out in the width there is: what does not fit is left out, never folded.

A terminal of 80 columns gets the columns that matter most, and a long last column below its row. A
pipe gets every column, one line for each row, so that grep and awk find everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

GAP = "  "
INDENT = "    "
PIPE = 100_000
"""Columns of something that is no terminal."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    `rank` says which go first where it is narrow, 0 never. A `is_note` column comes last and is
    shown below its row where it does not fit beside it.
    """

    name: str
    rank: int = 0
    is_number: bool = False
    is_note: bool = False


def width_of(console: Console) -> int:
    """Return how many columns there are to write on."""
    return console.width if console.is_terminal else PIPE


def laid_out(
    columns: Sequence[Column], rows: Sequence[Sequence[Text]], width: int
) -> tuple[list[Text], list[str]]:
    """Return the heading and a line or two for each row, and the names of what was left out."""
    widths = [
        max(len(column.name), *(cell.cell_len for cell in cells), 0)
        for column, cells in zip(columns, _across(rows, len(columns)), strict=True)
    ]
    used = -len(GAP)
    kept = []
    notes = [number for number, column in enumerate(columns) if column.is_note]
    for number in sorted(range(len(columns)), key=lambda number: columns[number].rank):
        needs = widths[number] + len(GAP)
        if number in notes or (columns[number].rank and used + needs > width):
            continue
        used += needs
        kept.append(number)
    beside = [number for number in notes if used + len(GAP) + widths[number] <= width]
    kept = sorted(kept) + beside
    below = [number for number in notes if number not in beside]
    heading = [Text(column.name.upper(), style="bold") for column in columns]
    lines = [_line(heading, columns, widths, kept)]
    for row in rows:
        lines.append(_line(row, columns, widths, kept))
        lines += [_note(row[number], width) for number in below if row[number]]
    left_out = [
        column.name
        for number, column in enumerate(columns)
        if number not in kept and number not in below
    ]
    return lines, left_out


def _across(rows: Sequence[Sequence[Text]], count: int) -> list[list[Text]]:
    return [[row[number] for row in rows] for number in range(count)]


def _line(
    row: Sequence[Text], columns: Sequence[Column], widths: Sequence[int], kept: Sequence[int]
) -> Text:
    cells = []
    for number in kept:
        padding = " " * (widths[number] - row[number].cell_len)
        if columns[number].is_number:
            cells.append(Text.assemble(padding, row[number]))
        else:
            cells.append(Text.assemble(row[number], padding))
    line = Text(GAP).join(cells)
    line.rstrip()
    return line


def _note(note: Text, width: int) -> Text:
    line = Text.assemble(INDENT, note)
    line.truncate(width, overflow="ellipsis")
    return line
