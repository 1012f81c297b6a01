"""How the array prints: concise view, detailed view, with and without a delimiter.

A `Table` is the concise view (one row per object), a `Detail` the detailed one (one attribute per
line, keys may repeat). docs/reference/svc-cli.md §2.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass, field

from deployments.lab.svc.refusals import Refusal

UNITS = ("MB", "GB", "TB", "PB")


@dataclass(frozen=True)
class Format:
    """The printing options every `ls` command takes."""

    delim: str | None = None
    nohdr: bool = False
    filtervalue: str | None = None


@dataclass(frozen=True)
class Table:
    """The concise view: column names and one row of cells per object."""

    columns: Sequence[str]
    rows: Sequence[Sequence[object]] = field(default_factory=list)
    prints_empty_header: bool = True

    def text(self, form: Format) -> str:
        """Print it."""
        if form.filtervalue == "?":
            return "\n".join(("Filters for this view are :", *self.columns, ""))
        rows = [[_cell(value) for value in row] for row in self.rows]
        if form.filtervalue is not None:
            rows = _matching(self.columns, rows, form.filtervalue)
        if not rows and not self.prints_empty_header:
            return ""
        lines = rows if form.nohdr else [list(self.columns), *rows]
        if form.delim is not None:
            return "".join(form.delim.join(line) + "\n" for line in lines)
        widths = (
            [max((len(line[at]) for line in lines), default=0) for at in range(len(lines[0]))]
            if lines
            else []
        )
        # Padded: an empty cell is blanks only, so it vanishes for whoever splits at blanks.
        return "".join(
            " ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + "\n"
            for line in lines
        )


@dataclass(frozen=True)
class Detail:
    """The detailed view: attributes in order; a blank line before each later section."""

    sections: Sequence[Sequence[tuple[str, object]]]

    def text(self, form: Format) -> str:
        """Print it."""
        if form.filtervalue is not None:
            # IBM: -filtervalue belongs to the concise view only.
            raise Refusal("CMMVC5713E")
        gap = " " if form.delim is None else form.delim
        parts = []
        for section in self.sections:
            lines = [
                _cell(value) if form.nohdr else f"{name}{gap}{_cell(value)}"
                for name, value in section
            ]
            parts.append("".join(line + "\n" for line in lines))
        return "\n".join(parts)


def names(text: str) -> list[str]:
    """Split blank-separated column names."""
    return text.split()


def size(count: int, *, in_bytes: bool) -> str:
    """Print a capacity: plain bytes with -bytes, else 1024-based with two decimals."""
    if in_bytes:
        return str(count)
    value, unit = count / 1024**2, UNITS[0]
    for larger in UNITS[1:]:
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.2f}{unit}"


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _matching(columns: Sequence[str], rows: list[list[str]], wanted: str) -> list[list[str]]:
    """Keep the rows that match every `attribute=value` of the colon-separated filter."""
    places = {name.lower(): at for at, name in enumerate(columns)}
    for clause in wanted.split(":"):
        name, found, pattern = clause.partition("=")
        negated = name.endswith("!")
        at = places.get(name.rstrip("!").lower())
        if not found or at is None:
            raise Refusal("CMMVC5741E", clause)
        pattern = pattern.replace("[", "[[]")
        rows = [row for row in rows if fnmatch.fnmatchcase(row[at], pattern) != negated]
    return rows
