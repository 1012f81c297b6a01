"""Back up, destroy, restore, compare every byte."""

import pytest

from flows.backup import backup
from flows.restore import restore

pytestmark = pytest.mark.server

TO = {"hdisk18": "hdisk23", "hdisk19": "hdisk24"}


def back_up(mode="full"):
    ending = backup.fn("RG1", mode=mode, force=True)
    assert ending.outcome == "backed_up", ending
    return ending.report


def bring_back(**wanted):
    ending = restore.fn("RG1", to=TO, approved=True, importing="no", **wanted)
    assert ending.outcome == "restored", ending
    return ending.report


def test_a_lost_group_comes_back_byte_for_byte(blank_spares):
    disks = blank_spares
    one, two = disks.fill("Node1_1", 1), disks.fill("Node1_2", 2)
    report = back_up()
    assert report["kind"] == "full"
    disks.fill("Node1_1", 3)
    disks.fill("Node1_2", 4)
    restored = bring_back()
    assert restored["restore_point"] == report["restore_point"]
    assert disks.read("Node1_6") == one
    assert disks.read("Node1_7") == two
    assert all(row["proven"] for row in restored["volumes"])


def test_an_incremental_stores_what_changed_and_restores_the_whole(blank_spares):
    disks = blank_spares
    disks.fill("Node1_1", 5)
    disks.fill("Node1_2", 6)
    full = back_up()
    one = disks.write("Node1_1", b"changed" * 100_000, offset=3_000_000)
    two = disks.write("Node1_2", bytes(2_000_000), offset=1_000_000)
    increment = back_up("incremental")
    assert increment["kind"] == "incremental"
    assert increment["parent"] == full["restore_point"]
    assert increment["stored_bytes"] < full["stored_bytes"] / 4
    disks.fill("Node1_1", 7)
    bring_back()
    assert disks.read("Node1_6") == one
    assert disks.read("Node1_7") == two
    bring_back(point=full["restore_point"], force=True)
    assert disks.read("Node1_6")[3_000_000:3_000_007] != b"changed"


def test_nothing_changed_stores_no_image(blank_spares):
    disks = blank_spares
    disks.fill("Node1_1", 8)
    back_up()
    again = back_up("incremental")
    assert [row["changed_bytes"] for row in again["volumes"]] == [0, 0]


def test_one_volume_can_come_back_alone(blank_spares, tmp_path):
    disks = blank_spares
    two = disks.fill("Node1_2", 9)
    back_up()
    target = tmp_path / "hdisk19.img"
    restore.fn("RG1", to={"hdisk19": str(target)}, approved=True)
    assert target.read_bytes() == two
