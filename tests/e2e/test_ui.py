"""What a person reads in Prefect's UI, in a real browser; `make screenshots` keeps the pictures."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from browser import DIALOG, Browser, browser, needs_browser

from blocks.catalog import shelf
from blocks.store.clients import open_store, parse_bucket_url
from blocks.units import MIB, slug
from deployments.lab import site as lab

pytestmark = [pytest.mark.server, pytest.mark.slow, needs_browser]

SIZE = 32 * MIB
GROUPS = 5
PICTURES = os.environ.get("SCREENSHOTS", "")
"""Where to keep the pictures; nowhere without it."""

WORK = """
import random, sys
from deployments import runtime
runtime.prepare_environment(quiet=True)
from flows.backup import backup
from flows.dashboard import dashboard
from flows.verify import verify

group, *volumes = sys.argv[1:]
dice = random.Random(7)
for number in range(6):
    mode = "full" if number in (0, 4) else "incremental"
    runtime.run_flow(backup, {"profile": group, "mode": mode, "force": True})
    for path in volumes:
        with open(path, "r+b") as file:
            file.seek(dice.randrange(16) * 1024 * 1024)
            file.write(dice.randbytes((number + 1) * 400_000))
for other in ("RG2", "RG3", "RG4"):
    runtime.run_flow(backup, {"profile": other, "mode": "full", "force": True})
runtime.run_flow(dashboard, {})
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[lab.Site]:
    """A lab in which one group has a history, three have a backup and one has none."""
    place = tmp_path_factory.mktemp("ui") / "lab"
    directory = Path("/tmp/flashvault-lab") if PICTURES else place
    before = dict(os.environ)
    words = [sys.executable, "-m", "deployments.cli", "lab"]
    up = ["up", "--dir", str(directory), "--size", str(SIZE), "--groups", str(GROUPS)]
    subprocess.run([*words, *up, "--no-worker"], check=True, capture_output=True)
    try:
        made = lab.load_site(directory)
        os.environ.update(made.environment())
        for group in made.groups:
            for name in group.sources:
                data = random.Random(name).randbytes(SIZE // 3)
                with open(made.volume(name).path, "r+b") as file:
                    file.write(data)
        group = made.groups[0]
        paths = [str(made.volume(name).path) for name in group.sources]
        work = [sys.executable, "-c", WORK, group.resource_group, *paths]
        done = subprocess.run(work, capture_output=True, text=True, timeout=280, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        yield made
    finally:
        down = ["down", "--dir", str(directory), "--purge"]
        subprocess.run([*words, *down], check=True, capture_output=True)
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture(scope="module")
def window(site: lab.Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    url = os.environ["PREFECT_API_URL"].removesuffix("/api")
    with browser(url, tmp_path_factory.mktemp("chromium")) as made:
        yield made


def ask(path: str, body: dict[str, Any]) -> Any:
    answer = httpx.post(os.environ["PREFECT_API_URL"] + path, json=body)
    answer.raise_for_status()
    return answer.json()


def points(site: lab.Site, group: str) -> list[str]:
    store = open_store(parse_bucket_url(f"s3://{site.s3.bucket}"))
    return [point.id for point in shelf.points(store, group)]


def newest_artifact(key: str) -> str:
    """Return the path of a key's newest artifact in the UI."""
    (found,) = ask("/artifacts/latest/filter", {"artifacts": {"key": {"any_": [key]}}})
    return f"/artifacts/artifact/{found['latest_id']}"


def keep(window: Browser, name: str, *, height: int) -> None:
    """Keep a picture of the page in each theme, if pictures are wanted."""
    for theme in ("light", "dark"):
        if PICTURES:
            window.theme(theme)
            window.picture(Path(PICTURES) / f"{name}-{theme}.png", height=height)


def test_a_backups_run_tells_its_story_in_one_screen(site: lab.Site, window: Browser):
    named = {"flow_runs": {"name": {"any_": ["backup-RG1-full"]}}, "sort": "START_TIME_ASC"}
    run = ask("/flow_runs/filter", named)[0]
    first = points(site, "RG1")[0]
    ends = f"full restore point {first} of RG1"
    said = window.open(f"/runs/flow-run/{run['id']}", "backup-RG1-full", "Completed", ends)
    assert "group:RG1" in said
    story = said[said.index("Beginning flow run") :]
    told = ["there is no full backup yet", "preflight of RG1: 2 volumes", "started sample_consist"]
    told += ["captured hdisk18: ", "captured hdisk19: ", f"published full restore point {first}"]
    at = [story.index(words) for words in told]
    assert at[:3] == sorted(at[:3])
    assert max(at[:5]) < at[5] < story.index(ends)
    assert story.count("INFO") < 16, "one screen"
    keep(window, "run", height=1100)


def test_the_dashboard_says_how_every_group_stands(site: lab.Site, window: Browser):
    headline = "5 groups: 4 ok, 1 never backed up"
    window.open(newest_artifact("flashvault-dashboard"), headline, "RG5")
    heading, *rows = window.rows()
    assert heading == ["", "state", "group", "last good", "next due", "restore points", ""]
    assert [row[1:3] for row in rows] == [
        ["never backed up", "RG5"],
        *(["ok", f"RG{number}"] for number in (1, 2, 3, 4)),
    ]
    assert rows[0][6].startswith("there is no restore point")
    assert rows[1][5].startswith("6,")
    wide, room = window.widths("table")
    assert wide <= room, "no column is hidden by what is beside the table"
    keep(window, "dashboard", height=720)


def test_the_restore_points_of_a_group_are_a_table(site: lab.Site, window: Browser):
    kept = points(site, "RG1")
    assert len(kept) == 6
    window.open(newest_artifact(f"restore-points-{slug('RG1')}"), *kept)
    heading, *rows = window.rows()
    assert heading == ["restore point", "taken", "kind", "size", "stored"]
    assert [row[0] for row in rows] == kept[::-1]
    assert [row[2] for row in rows].count("full") == 2
    keep(window, "restore-points", height=640)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_chart_is_drawn_in_both_themes(window: Browser, site: lab.Site, theme):
    window.theme(theme)
    window.open(newest_artifact(f"history-{slug('RG1')}"), "RG1")
    window.until(lambda: any(high > 400 for _, high in window.images()), "the chart")
    assert (window.background() > 128) == (theme == "light")
    if theme == "light":
        keep(window, "history", height=860)


RESTORE = """
from deployments import runtime
runtime.prepare_environment(quiet=True)
from flows.restore import restore
runtime.run_flow(restore, {"group": "RG1", "to": {"hdisk18": "hdisk23", "hdisk19": "hdisk24"}})
"""


def told(run: dict[str, Any]) -> bool:
    """Say whether the server has what a run logs last before it waits."""
    logs = ask("/logs/filter", {"logs": {"flow_run_id": {"any_": [run["id"]]}}, "limit": 200})
    return any("Pausing flow" in each["message"] for each in logs)


@pytest.fixture
def waiting(site: lab.Site) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A restore onto the spare disks that waits for a person: its process, and its run."""
    process = subprocess.Popen([sys.executable, "-c", RESTORE])
    paused = {"state": {"type": {"any_": ["PAUSED"]}}, "name": {"any_": ["restore-RG1"]}}
    try:
        deadline = time.monotonic() + 180
        # The page of a run that is paused does not look for logs that come later.
        while not (found := ask("/flow_runs/filter", {"flow_runs": paused})) or not told(found[0]):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.3)
        yield process, found[0]["id"]
    finally:
        process.kill()
        process.wait()


def test_a_restore_is_approved_by_who_reads_its_plan(site: lab.Site, window: Browser, waiting):
    process, run = waiting
    spare = Path(site.volume("Node1_6").path)
    newest = points(site, "RG1")[-1]
    for theme in ("light", "dark"):
        window.theme(theme)
        window.open(f"/runs/flow-run/{run}", "press Resume in the menu above")
        window.press("Open menu")
        window.press("Resume")
        window.reads("64.0 MiB on 2 disks will be written over", newest, "Your name")
        if PICTURES:
            dialog = window.driver.find_element("css selector", DIALOG)
            assert dialog.screenshot(str(Path(PICTURES) / f"approve-{theme}.png"))
    assert not any(spare.read_bytes()), "nothing is written before"
    window.type("RG1", "Anna")
    window.press("Resume", DIALOG)
    assert process.wait(180) == 0
    window.reads("Completed", "the restore was approved by Anna")
    assert any(spare.read_bytes())
