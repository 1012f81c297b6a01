"""A look inside what was restored: are there file systems, sound and mountable?"""

import shutil
import subprocess
from pathlib import Path

import pytest

from blocks.units import MIB
from flows.backup import backup
from flows.drill import drill
from flows.restore import restore
from tasks.journal import dead_journals, state_directory
from tasks.open import configuration, host

pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(not shutil.which("e2fsck"), reason="needs e2fsprogs"),
]

NODE = {"hdisk18": "hdisk23", "hdisk19": "hdisk24"}


def make_ext4(path):
    subprocess.run(["mkfs.ext4", "-q", "-F", path], check=True, capture_output=True)


@pytest.fixture
def sound(disks):
    """A restore point whose first disk is an ext4, and the second noise."""
    make_ext4(disks.path("Node1_1"))
    disks.fill("Node1_2", 41)
    return backup.fn("RG1", mode="full", force=True).report["restore_point"]


@pytest.fixture
def damaged(disks):
    """A restore point of an ext4 that was damaged before it was backed up."""
    make_ext4(disks.path("Node1_1"))
    disks.write("Node1_1", b"\xff" * MIB, offset=4096)
    return backup.fn("RG1", mode="full", force=True).report["restore_point"]


@pytest.fixture(autouse=True)
def _nothing_left():
    yield
    assert list(dead_journals()) == []
    assert list((state_directory() / "runs").glob("*")) == []
    assert list(Path("/tmp").glob("flashvault-0*")) == []


def test_a_sound_file_system_is_told_in_the_report(sound, tmp_path):
    target = {"hdisk18": str(tmp_path / "one.img")}
    ending = restore.fn("RG1", to=target, approved=True, fsck=True)
    assert (ending.outcome, ending.exit_code) == ("restored", 0)
    (row,) = ending.report["file_systems"]
    assert (row["type"], row["fsck"], row["ok"]) == ("ext4", "clean", True)
    assert "| ext4 | clean |" in ending.markdown


def test_a_damaged_file_system_is_exit_1_and_the_bytes_stay(damaged, disks, tmp_path):
    target = tmp_path / "one.img"
    ending = restore.fn("RG1", to={"hdisk18": str(target)}, approved=True, fsck=True)
    assert (ending.outcome, ending.exit_code) == ("unusable", 1)
    assert "left as they are" in ending.summary
    assert ending.document()["ok"] is False
    assert ending.report["volumes"][0]["proven"] is True
    assert ending.report["file_systems"][0]["fsck"] == "damaged"
    assert target.read_bytes() == disks.read("Node1_1")


def test_no_file_system_where_one_was_to_be_looked_at_is_exit_1(sound, tmp_path):
    target = {"hdisk19": str(tmp_path / "two.img")}
    ending = restore.fn("RG1", to=target, approved=True, mount=True)
    assert ending.exit_code == 1
    assert "no file system" in ending.summary


def test_the_aix_node_checks_and_mounts_the_imported_group(blank_spares, sound):
    ending = restore.fn("RG1", to=NODE, approved=True, fsck=True, mount=True)
    assert ending.outcome == "restored", ending
    (group,) = ending.report["imported"]
    host(configuration(), group["node"]).release_group(group["name"])
    rows = ending.report["file_systems"]
    assert {row["volume_group"] for row in rows} == {group["name"]}
    assert all(row["ok"] and row["mounted"] and row["fsck"] == "clean" for row in rows)
    assert all(row["mount_point"].startswith(f"/{group['name']}/") for row in rows)


def test_a_drill_looks_inside_too(sound):
    ending = drill.fn("RG1", fsck=True)
    assert ending.outcome == "drilled"
    assert ending.report["file_systems"][0]["fsck"] == "clean"
