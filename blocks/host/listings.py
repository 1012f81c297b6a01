"""What lsblk, losetup, findmnt and LVM's reports say, read: JSON in, rows out. Pure.

A report is read strictly. What is not as these tools print it raises `ValueError`, never passes for
a list with nothing in it: a disk that is mounted must not be taken for a free one.
Source: docs/reference/aix-host.md §8; util-linux, lsblk(8).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

_Row = dict[str, Any]

LSBLK_COLUMNS = "KNAME,PATH,TYPE,MOUNTPOINT"
"""PATH of a multipath device is `/dev/mapper/…`; only KNAME has the `dm-N` its links lead to."""


def report_rows(text: str, kind: str, columns: Sequence[str]) -> list[tuple[str, ...]]:
    """Read an LVM report (`--reportformat json`): the cells of its rows of a kind (pv, vg, lv)."""
    rows = [row for part in _rows(_document(text), "report") for row in _rows(part, kind)]
    return [tuple(_cell(row, name) for name in columns) for row in rows]


def table_rows(text: str, table: str, columns: Sequence[str]) -> list[tuple[str, ...]]:
    """Read the one table of losetup or findmnt: the cells of its rows."""
    return [tuple(_cell(row, name) for name in columns) for row in _rows(_document(text), table)]


def held_devices(text: str) -> set[str]:
    """Read `lsblk -J -o LSBLK_COLUMNS`: all names of devices that something holds.

    Held is what is mounted or swap, and what lies under LVM, crypt, md or a loop, with everything
    below it. A partition or a multipath device on a disk is no use of it yet.
    """
    held: set[str] = set()
    for device in _rows(_document(text), "blockdevices"):
        _note_held(device, held)
    return held


def _note_held(device: _Row, held: set[str]) -> bool:
    children = _rows(device, "children") if "children" in device else []
    # Not a generator: each child must be looked at.
    below = [_note_held(child, held) for child in children]
    is_used = any(_cell(child, "type") not in {"part", "mpath"} for child in children)
    if any(below) or is_used or _cell(device, "mountpoint"):
        held |= {_cell(device, "path"), f"/dev/{_cell(device, 'kname')}"}
        return True
    _cell(device, "path"), _cell(device, "kname")
    return False


def _document(text: str) -> _Row:
    try:
        document = json.loads(text)
    except RecursionError as error:
        raise ValueError("nested without end") from error
    if not isinstance(document, dict):
        raise ValueError("not an object")  # noqa: TRY004
    return document


def _rows(parent: _Row, name: str) -> list[_Row]:
    rows = parent.get(name)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"no list of {name}")
    return rows


def _cell(row: _Row, name: str) -> str:
    """Return a cell, empty for null; refuses a column that is missing."""
    if name not in row:
        raise ValueError(f"no {name} in {sorted(row)}")
    cell = row[name]
    if cell is None:
        return ""
    if not isinstance(cell, str):
        raise ValueError(f"{name} is {cell!r}")  # noqa: TRY004 (one error for all that is odd)
    return cell
