from __future__ import annotations

from datetime import UTC, datetime, timedelta

from blocks.catalog.point import Kind, PointId
from blocks.policy.overview import Kept, Overview, State
from tasks.dashboard import SIGNS, dashboard_markdown, history_markdown
from tasks.overview import headline

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)


def kept(ago: timedelta) -> Kept:
    at = NOW - ago
    return Kept(PointId("01X"), Kind.FULL, at, at, at, 2048, 1024, 0)


def row(group: str, state: State, **more) -> Overview:
    point = kept(timedelta(hours=2))
    return Overview(group, state, last=point, age=NOW - point.taken_at, history=(point,), **more)


def test_groups_that_need_somebody_come_first():
    rows = [row("RG1", State.OK), row("RG2", State.OVERDUE), Overview("RG3", State.UNKNOWN, "away")]
    lines = dashboard_markdown(rows, NOW).splitlines()
    table = [line for line in lines if line.startswith("|")][2:]
    assert [line.split("|")[3].strip() for line in table] == ["RG3", "RG2", "RG1"]
    assert "🔴" in table[1]
    assert "**overdue**" in table[1]
    assert lines[0] == "## 3 groups: 1 ok, 1 overdue, 1 unknown"


def test_every_line_of_the_table_has_as_many_cells_as_its_head():
    rows = [row("RG1", State.OK, why="a | b\nc"), Overview("RG2", State.NEVER)]
    lines = [line for line in dashboard_markdown(rows, NOW).splitlines() if line.startswith("|")]
    assert len({line.replace("\\|", "").count("|") for line in lines}) == 1
    assert any("a \\| b c" in line for line in lines)


def test_every_state_has_a_sign():
    assert set(SIGNS) == set(State)


def test_without_groups_it_says_so():
    assert headline([]) == "no resource groups yet"
    assert "no resource groups yet" in dashboard_markdown([], NOW)


def test_a_history_is_an_image_the_ui_does_not_strip():
    points = (kept(timedelta(hours=9)), kept(timedelta(hours=2)))
    shown = history_markdown(Overview("RG1", State.OK, history=points), None)
    assert "![history of RG1](data:image/svg+xml;base64," in shown
    assert "<svg" not in shown
