"""kill -9 at every step of a real backup: the next run clears the debris and succeeds.

Each row runs the backup in a process of its own that kills itself at the given place. What is then
found on the array, in the bucket and on this machine is a row of docs/reference/kill-matrix.md: the
page is compared with what is found, and a page that is not true fails.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from blocks.catalog import shelf
from blocks.store.clients import open_store, parse_bucket_url
from blocks.svc.model import CopyState
from flows.backup import backup
from flows.reconcile import reconcile
from flows.restore import restore
from tasks.journal import state_directory
from tasks.open import array, configuration
from tasks.snapshot import FROZEN, thaw
from tasks.undo import UNDO

pytestmark = [pytest.mark.server, pytest.mark.slow]

CHILD = """
import os, signal, sys
def die(*_, **__): os.kill(os.getpid(), signal.SIGKILL)
def before(owner, name): setattr(owner, name, die)
def after(owner, name):
    kept = getattr(owner, name)
    def wrapped(*args, **kwargs):
        kept(*args, **kwargs)
        die()
    setattr(owner, name, wrapped)
def nth(owner, name, count):
    kept, calls = getattr(owner, name), []
    def wrapped(*args, **kwargs):
        calls.append(1)
        if len(calls) > count: die()
        return kept(*args, **kwargs)
    setattr(owner, name, wrapped)
import flows.backup as flow
import tasks.publish, tasks.capture, tasks.snapshot
from blocks.store.s3 import S3Store
from blocks.svc.flashcopy import FlashCopyGroup
from blocks.catalog import claims, shelf
{how}
flow.backup.fn("RG1", mode="full", force=True)
"""

KILLS = {
    "before the claim": "before(tasks.publish, 'begin_intent')",
    "after the claim": "after(tasks.publish, 'begin_intent')",
    "group about to be prepared": "before(FlashCopyGroup, 'prepare')",
    "group prepared, not started": "before(FlashCopyGroup, 'start')",
    "group started, answer unread": "after(FlashCopyGroup, 'start')",
    "capture begins": "before(tasks.capture, 'capture_volume')",
    "second part of an image": "nth(S3Store, 'put_part', 1)",
    "upload about to be completed": "before(S3Store, 'complete')",
    "upload completed": "after(S3Store, 'complete')",
    "one volume captured": "after(tasks.capture, 'capture_volume')",
    "before the commit": "before(shelf, 'publish')",
    "after the commit": "after(shelf, 'publish')",
    "before the array is released": "before(tasks.snapshot.release, 'function')",
}
COMMITTED = {"after the commit", "before the array is released"}

STANDING_STILL = {"group prepared, not started", "group started, answer unread"}
"""Where the file systems stand still at that moment."""

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "kill-matrix.md"
TABLE: list[str] = []


@pytest.fixture(scope="module", autouse=True)
def _print_table():
    yield
    sys.stdout.write("\n".join(["", "", *TABLE, ""]))


def row_of(where):
    """Return the cells of the page's row."""
    rows = [line.strip("| ").split(" | ") for line in PAGE.read_text().splitlines()]
    (row,) = [[cell.strip() for cell in row] for row in rows if row[0].strip() == where]
    return row


def test_the_page_has_a_row_for_every_kill_and_no_other():
    text = PAGE.read_text()
    rows = [line for line in text.splitlines() if line.startswith("| ")][1:]
    assert [line.strip("| ").split(" | ")[0].strip() for line in rows] == list(KILLS)


@pytest.fixture
def thawed(monkeypatch):
    """Count how often what a dead run had frozen is let go."""
    told = []

    def told_thaw(facts):
        told.append(facts)
        thaw(facts)

    monkeypatch.setitem(UNDO, FROZEN, told_thaw)
    return told


@pytest.fixture(scope="module")
def big(lab_site):
    """Fill one volume so that its image has several parts."""
    with open(lab_site.volume("Node1_1").path, "r+b") as file:
        file.write(os.urandom(lab_site.volume("Node1_1").bytes))


def group_state():
    with array(configuration(), "storage1") as client:
        return client.lsfcconsistgrp("sample_consistency_group").status


@pytest.fixture
def idle(lab_site):
    """Wait until the array has ended the copy that an earlier backup left it with."""
    deadline = time.monotonic() + 120
    while group_state() is not CopyState.IDLE_OR_COPIED:
        assert time.monotonic() < deadline, group_state()
        time.sleep(0.2)


@pytest.mark.usefixtures("big", "idle")
@pytest.mark.parametrize("where", list(KILLS))
def test_a_backup_killed_anywhere_leaves_a_whole_point_or_none(where, lab_site, tmp_path, thawed):
    store = open_store(parse_bucket_url("s3://pha-bucket"))
    before = {point.id for point in shelf.points(store, "RG1")}
    script = CHILD.replace("{how}", KILLS[where])
    # Small parts, so that even a small disk has several.
    script = script.replace(
        "import flows.backup as flow", "import blocks.units as u\nimport flows.backup as flow"
    ).replace("{how}", "")
    script = script.replace(
        'flow.backup.fn("RG1"',
        "import tasks.capture as c\n"
        "kept = c.settings_of\n"
        "import dataclasses\n"
        "c.settings_of = lambda *a: dataclasses.replace(kept(*a), part_bytes=5 << 20)\n"
        'flow.backup.fn("RG1"',
    )
    child = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert child.returncode == -signal.SIGKILL, child.stderr.decode()[-2000:]

    found = group_state()
    claims = len(list(store.list("claims/RG1/intents/")))
    uploads = len(list(store.uploads()))
    known = {point.id for point in shelf.points(store, "RG1")}
    stray = {info.key for info in store.list("RG1/") if info.key.split("/")[1] not in known}
    new = {point.id for point in shelf.points(store, "RG1")} - before
    assert len(new) == (1 if where in COMMITTED else 0)
    for point_id in new:
        target = tmp_path / "whole.img"
        restore.fn("RG1", to={"hdisk18": str(target)}, point=point_id, approved=True)
        with open(lab_site.volume("Node1_1").path, "rb") as file:
            assert target.read_bytes() == file.read()

    # Every other row leaves the debris to the next backup itself.
    by_reconcile = bool(list(KILLS).index(where) % 2)
    if by_reconcile:
        cleared = reconcile.fn()
        assert cleared.exit_code == 0, cleared
    else:
        again = backup.fn("RG1", mode="full", force=True)
        new.add(again.report["restore_point"])
    assert group_state() not in {CopyState.PREPARED, CopyState.PREPARING}
    assert list((state_directory() / "runs").glob("*")) == []
    assert list(store.uploads()) == []
    assert list(store.list("claims/RG1/intents/")) == []
    kept = {point.id for point in shelf.points(store, "RG1")}
    folders = {info.key.split("/")[1] for info in store.list("RG1/")}
    assert folders <= kept, "objects of a run that never committed"
    assert kept == before | new

    assert bool(thawed) == (where in STANDING_STILL)
    again = backup.fn("RG1", mode="full", force=True)
    assert again.outcome == "backed_up"
    left = [f"{claims} claim"] * bool(claims) + ["an open upload"] * bool(uploads)
    left += ["objects"] * bool(stray)
    seen = [
        where,
        str(found),
        ", ".join(left) or "nothing",
        "yes" if where in STANDING_STILL else "no",
        "whole" if where in COMMITTED else "none",
        "reconcile" if by_reconcile else "next backup",
        again.outcome.replace("_", " "),
    ]
    TABLE.append(f"| {' | '.join(seen)} |")
    told = row_of(where)
    assert seen[1] in told[1].split(" or ")
    # Volumes are captured side by side: whether another has stored something yet is chance.
    may_be = set(told[2].replace("perhaps ", "").split(", "))
    must_be = {part for part in told[2].split(", ") if not part.startswith("perhaps ")}
    assert must_be <= set(seen[2].split(", ")) <= may_be
    assert seen[3:] == told[3:]
