"""A table of a query fits the terminal, and is whole in a pipe."""

from __future__ import annotations

from deployments.cli import queries, render
from deployments.cli.columns import PIPE

POINT = {
    "ID": "01M83DQ4ST8XJSPHTQ58R2D7KS",
    "RG_NAME": "RG1",
    "KIND": "incremental",
    "TAKEN_AT": "2026-11-23T05:23:09Z",
    "VOLUMES": "2",
    "SIZE": "128.0 MiB",
    "STORED": "40.0 MiB",
    "PARENT": "01M83DQ4ST8XJSPHTQ58R2D7KT",
}


def shown(width: int) -> list[str]:
    return render.table([POINT, POINT], queries.POINT_COLUMNS, width).splitlines()


def test_a_terminal_of_80_columns_is_not_too_narrow_for_restore_points() -> None:
    lines = shown(80)
    assert [len(line) <= 80 for line in lines] == [True] * 3
    assert lines[0].split() == ["ID", "RG_NAME", "KIND", "TAKEN_AT", "STORED"]
    assert POINT["ID"] in lines[1]


def test_a_pipe_gets_every_column() -> None:
    heading, *rows = shown(PIPE)
    assert heading.split() == list(POINT)
    assert all(value in row for row in rows for value in POINT.values())
