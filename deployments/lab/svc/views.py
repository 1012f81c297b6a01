"""How the array prints: concise view, detailed view, with and without a delimiter.

A `Table` is the concise view (one row per object), a `Detail` the detailed one (one attribute per
line, keys may repeat). docs/reference/svc-cli.md §2.
"""

from __future__ import annotations

import fnmatch
import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from deployments.lab.svc.refusals import Refusal

UNITS = ("MB", "GB", "TB", "PB")
UNIT_BYTES = {"b": 1, "kb": 1024, "mb": 1024**2, "gb": 1024**3, "tb": 1024**4, "pb": 1024**5}

FILTER_NAMES = {
    # What a list's own id and name are called in its filters, in the manuals of all releases.
    "id": "vdisk_id FC_id FC_mapping_id FC_group_id RC_rel_id RC_consist_group_id host_id"
    " mdisk_grp_id node_id",
    "name": "vdisk_name FC_mapping_name FC_group_name RC_rel_name RC_consist_group_name host_name"
    " mdisk_grp_name node_name",
    "consistency_group_id": "RC_consist_group_id",
    "consistency_group_name": "RC_consist_group_name",
    "group_id": "FC_group_id",
    "group_name": "FC_group_name",
}
CLAUSE = re.compile(r"(\w+?)(!=|<=|>=|=|<|>)(.*)", re.DOTALL)


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


def size(count: int, unit: str = "") -> str:
    """Print a capacity: plain bytes in `b`, else 1024-based with two decimals."""
    if unit == "b":
        return str(count)
    if unit:
        return f"{count / UNIT_BYTES[unit]:.2f}{unit.upper()}"
    value, shown = count / 1024**2, UNITS[0]
    for larger in UNITS[1:]:
        if value < 1024:
            break
        value, shown = value / 1024, larger
    return f"{value:.2f}{shown}"


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


COMPARISONS = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def _matching(columns: Sequence[str], rows: list[list[str]], wanted: str) -> list[list[str]]:
    """Keep the rows that match every clause of the colon-separated filter."""
    for clause in wanted.split(":"):
        found = CLAUSE.fullmatch(clause)
        at = _column(columns, found.group(1)) if found else None
        if found is None or at is None:
            raise Refusal("CMMVC5741E", clause)
        rows = [row for row in rows if _holds(row[at], found.group(2), found.group(3), clause)]
    return rows


def _column(columns: Sequence[str], name: str) -> int | None:
    """Find a filter's column: by its name, or as the list's own id or name."""
    places = {column.lower(): at for at, column in enumerate(columns)}
    aliases = [own for own, others in FILTER_NAMES.items() if name in others.split()]
    # `RC_consist_group_name` is a column of relationships, and the name of a group.
    aliases.sort(key=lambda own: own in {"id", "name"})
    known = (places[each.lower()] for each in [name, *aliases] if each.lower() in places)
    return next(known, None)


def _holds(cell: str, sign: str, wanted: str, clause: str) -> bool:
    if sign in {"=", "!="}:
        pattern = wanted.replace("[", "[[]")
        return fnmatch.fnmatchcase(cell, pattern) == (sign == "=")
    number = _number(wanted)
    if number is None:
        raise Refusal("CMMVC5741E", clause)
    own = _number(cell)
    return own is not None and COMPARISONS[sign](own, number)


def _number(text: str) -> float | None:
    """Read a number or a capacity: `100`, `2.00GB`, `1gb`."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgtp]?b)?", text.strip().lower())
    return float(found.group(1)) * UNIT_BYTES[found.group(2) or "b"] if found else None
