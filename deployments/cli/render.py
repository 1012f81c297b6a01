"""How a query's answer is printed: clmgr's ways, a table, or JSON. Pure but for the printing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from rich.text import Text

from deployments.cli.columns import Column, laid_out

Row = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Style:
    """What clmgr's options ask for.

    `delimiter` is set by -c (a colon) and -d; `attributes` by -a; `has_header` is false with -S.
    """

    delimiter: str = ""
    is_xml: bool = False
    attributes: tuple[str, ...] = ()
    has_header: bool = True

    @property
    def is_plain(self) -> bool:
        """Say that nothing was asked for: the class's own way is used."""
        return not (self.delimiter or self.is_xml or self.attributes)


def chosen(rows: Sequence[Row], attributes: Sequence[str]) -> list[dict[str, str]]:
    """Keep the attributes asked for, in that order; all of them if none is asked for."""
    if not attributes:
        return [dict(row) for row in rows]
    kept = [{label: row[label] for label in attributes if label in row} for row in rows]
    return [row for row in kept if row]


def lines(rows: Sequence[Row], style: Style) -> str:
    """Print rows as clmgr prints objects: `ATTR="VALUE"` lines, or one delimited line each."""
    kept = chosen(rows, style.attributes)
    if style.delimiter:
        return _delimited(kept, style)
    if style.is_xml:
        return "\n".join(_quasi_xml(row) for row in kept)
    if style.attributes and not style.has_header:
        return "\n".join("\n".join(row.values()) for row in kept)
    return "\n\n".join("\n".join(_assignment(k, v) for k, v in row.items()) for row in kept)


def table(rows: Sequence[Row], ranks: Mapping[str, int], width: int) -> str:
    """Print rows as an aligned table with a header, for a person.

    Args:
        rows: what is printed, each with the same attributes.
        ranks: which columns may be left out, as in `deployments.cli.columns.Column`.
        width: how many columns there are to write on.
    """
    if not rows:
        return ""
    columns = [Column(label, ranks.get(label, 0)) for label in rows[0]]
    texts = [[Text(row.get(column.name, "")) for column in columns] for row in rows]
    lines, _ = laid_out(columns, texts, width)
    return "\n".join(line.plain for line in lines)


def _assignment(label: str, value: str) -> str:
    # A shell reads these lines back (`eval`), so what it would expand is quoted.
    quoted = value.replace("\\", "\\\\").replace('"', '\\"').replace("`", "\\`").replace("$", "\\$")
    return f'{label}="{quoted}"'


def _delimited(rows: Sequence[Row], style: Style) -> str:
    printed = []
    header: list[str] = []
    for row in rows:
        if style.has_header and list(row) != header:
            header = list(row)
            printed.append("#" + style.delimiter.join(header))
        # One value alone cannot be confused: a script gets 18:00 as it is.
        values = list(row.values())
        if len(values) > 1:
            values = [
                value.replace("\\", "\\\\").replace(style.delimiter, "\\" + style.delimiter)
                for value in values
            ]
        printed.append(style.delimiter.join(values))
    return "\n".join(printed)


def _quasi_xml(row: Row) -> str:
    inner = "".join(f"  <{label}>{escape(value)}</{label}>\n" for label, value in row.items())
    return f"<OBJECT>\n{inner}</OBJECT>"
