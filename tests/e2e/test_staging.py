"""STAGING=yes in the lab: images wait in TARGET_LOCATION, arrive whole, and leave nothing there."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from blocks.errors import ConfigError
from flows.backup import backup
from flows.restore import restore

pytestmark = pytest.mark.server

FLASHVAULT = [sys.executable, "-m", "deployments.cli"]


@pytest.fixture
def place(lab_site, tmp_path, monkeypatch):
    """Make the group's profile stage its images in a directory of the test."""
    directory = tmp_path / "images"
    directory.mkdir()
    config = tmp_path / "flashvault.xml"
    config.write_text(Path(lab_site.environment()["FLASHVAULT_CONFIG"]).read_text())
    monkeypatch.setenv("FLASHVAULT_CONFIG", str(config))
    words = ["modify", "backup_profile", "RG1", "STAGING=yes", f"TARGET_LOCATION={directory}"]
    subprocess.run([*FLASHVAULT, *words, "BACKUP_METHOD=cloud"], check=True)
    return directory


def test_a_staged_backup_restores_byte_for_byte_and_leaves_nothing(blank_spares, place):
    disks = blank_spares
    one, two = disks.fill("Node1_1", 61), disks.fill("Node1_2", 62)
    ending = backup.fn("RG1", mode="full", force=True)
    assert ending.outcome == "backed_up"
    assert not list(place.iterdir())
    to = {"hdisk18": "hdisk23", "hdisk19": "hdisk24"}
    restore.fn("RG1", to=to, approved=True, importing="no")
    assert disks.read("Node1_6") == one
    assert disks.read("Node1_7") == two


def test_what_a_killed_run_has_staged_is_cleared_by_the_next(disks, place):
    disks.fill("Node1_1", 63)
    words = ["backup", "RG1", "--full", "--force"]
    going = subprocess.Popen([*FLASHVAULT, *words], env=os.environ)
    deadline = time.monotonic() + 120
    while not list(place.glob("flashvault.*/0*")):
        assert going.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    going.kill()
    going.wait()
    assert list(place.iterdir())
    assert backup.fn("RG1", mode="full", force=True).outcome == "backed_up"
    assert not list(place.iterdir())


def test_a_target_location_that_is_not_there_is_refused_before_the_snapshot(disks, place):
    place.rmdir()
    with pytest.raises(ConfigError, match="is no directory that can be written"):
        backup.fn("RG1", mode="full", force=True)
