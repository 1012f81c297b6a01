"""`flashvault status`: from a bucket alone."""

from __future__ import annotations

import io
import json
import random
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from blocks.catalog.claims import begin_intent
from blocks.catalog.drills import Drill, Drills
from blocks.catalog.point import Kind, PointId, new_id
from blocks.policy.overview import Kept, Overview, State
from blocks.store.directory import DirectoryStore
from deployments.cli import status


@pytest.fixture
def bucket(flashvault, tmp_path):
    disk = tmp_path / "disk.img"
    disk.write_bytes(random.Random(1).randbytes(300 * 1024))
    url = f"file://{tmp_path / 'bucket'}"
    for name in ("RG1", "RG2"):
        assert flashvault(f"image put {disk} --to {url} --name {name} --json").status == 0
    return url


def test_a_bucket_alone_is_enough(flashvault, bucket):
    said = flashvault(f"status --bucket {bucket} --json")
    told = json.loads(said.out)
    assert [row["group"] for row in told["groups"]] == ["RG1", "RG2"]
    assert told["all_good"]
    row = told["groups"][0]
    assert row["size_bytes"] == 300 * 1024
    assert row["restore_points"] == 1
    assert 0 <= row["age_s"] < 60
    assert row["running"] is None


def test_a_person_sees_a_line_for_each_group(flashvault, bucket):
    said = flashvault(f"status --bucket {bucket}")
    heading, *lines = said.out.splitlines()
    assert heading.split()[:4] == ["GROUP", "STATE", "LAST", "GOOD"]
    assert [line.split()[0] for line in lines] == ["RG1", "RG2"]
    assert "\x1b" not in said.out, "no colours in a pipe"


def test_one_group_only(flashvault, bucket):
    told = json.loads(flashvault(f"status RG2 --bucket {bucket} --json").out)
    assert [row["group"] for row in told["groups"]] == ["RG2"]


def test_a_run_that_writes_now_is_shown(flashvault, bucket):
    begin_intent(DirectoryStore(bucket.removeprefix("file://")), "RG1", new_id())
    told = json.loads(flashvault(f"status --bucket {bucket} --json").out)
    assert told["groups"][0]["running"].startswith("process ")
    assert told["groups"][1]["running"] is None


def test_every_state_has_a_colour():
    from blocks.policy.overview import State

    assert set(status.COLOURS) == {str(state) for state in State}


NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)


def group(number: int, state: State = State.OK, **more) -> Overview:
    at = NOW - timedelta(hours=number % 30)
    point = Kept(PointId("01X"), Kind.INCREMENTAL, at, at, at, 2 << 40, 1 << 34, 0)
    known = {"bucket": "b", "last": point, "age": NOW - at, "history": (point,)}
    drill = Drill(run_id="01D", began_at=NOW, ended_at=NOW, restore_point="01X", rto_s=90.0)
    known |= {"next_due": NOW, "drills": Drills((drill,))}
    return Overview(f"RG_SAP_{number:03d}", state, **(known | more))


def shown(rows, width: int) -> list[str]:
    """What a terminal of that width shows, or a pipe for 0."""
    console = Console(file=io.StringIO(), width=width or 80, force_terminal=bool(width))
    lines = status._status_lines(rows, console)
    return [line.plain for line in (*lines.body, *lines.foot)]


GROUPS = [group(number) for number in range(300)]
GROUPS[7] = Overview("RG_SAP_007", State.UNKNOWN, "the bucket does not answer: " + "x" * 90)
GROUPS[9] = group(9, State.OVERDUE, running="backup on backup2")


def test_300_groups_on_80_columns_are_a_line_each_and_the_worst_are_first():
    heading, *lines, total = shown(GROUPS, 80)
    assert heading.split() == ["GROUP", "STATE", "LAST", "GOOD", "AGE", "SIZE", "NOW"]
    assert len(lines) == 301, "one line each, and the note of one"
    assert max(map(len, [heading, *lines])) <= 80
    assert [line.split()[0] for line in lines[:4]] == [
        "RG_SAP_007",
        "the",
        "RG_SAP_009",
        "RG_SAP_000",
    ]
    assert lines[1].endswith("x…")
    assert total.startswith(
        "300 groups: 298 ok, 1 overdue, 1 unknown; wider or --json: kind, points,"
    )


def test_a_wider_terminal_shows_more_and_a_pipe_everything_by_name():
    assert "NEXT DUE" not in shown(GROUPS, 80)[0]
    assert "NEXT DUE" in shown(GROUPS, 130)[0]
    heading, *lines = shown(GROUPS, 0)
    for name in ("KIND", "SIZE", "POINTS", "STORED", "NEXT DUE", "LAST DRILL", "NOW", "NOTE"):
        assert name in heading
    assert [line.split()[0] for line in lines] == [row.group for row in GROUPS]
    assert lines[7].endswith("x" * 90)


def test_runs_on_80_columns_tell_their_message_below():
    message = "full restore point 01K of RG1 " * 4
    run = {"STARTED_AT": "2026-06-01T12:00:00Z", "NAME": "backup-RG_SAP_001-incremental"}
    run |= {"STATE": "Completed", "TOOK": "1m 30s", "MESSAGE": message.strip(), "ID": "1"}
    for width, count in ((80, 3), (0, 2), (240, 2)):
        console = Console(file=io.StringIO(), width=width or 80, force_terminal=bool(width))
        lines = [line.plain for line in status._runs_lines([run], console).body]
        assert len(lines) == count
        assert width == 0 or max(map(len, lines)) <= width
    assert lines[0].split()[:2] == ["STARTED", "AT"]


def test_watching_keeps_the_sum_in_sight_where_the_groups_do_not_fit(monkeypatch):
    written = io.StringIO()
    console = Console(file=written, width=80, height=24, force_terminal=True)
    monkeypatch.setattr(status, "out", lambda: console)
    monkeypatch.setattr(status.time, "sleep", stop)
    with pytest.raises(KeyboardInterrupt):
        status._again(lambda console: status._status_lines(GROUPS, console), 1.0)
    said = written.getvalue()
    assert "RG_SAP_007" in said
    assert "300 groups: 298 ok" in said
    assert "282 lines more" in said


def stop(seconds: float) -> None:
    raise KeyboardInterrupt
