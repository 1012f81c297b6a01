"""Restores onto the original disks, onto another node, and of an earlier moment."""

from datetime import UTC, datetime

import pytest

from blocks.errors import TargetInUse
from flows.backup import backup
from flows.restore import restore
from tasks.open import configuration, host

pytestmark = pytest.mark.server

ORIGINAL = {"hdisk18": "hdisk18", "hdisk19": "hdisk19"}
NAMES = ("Node1_1", "Node1_2")


def both(disks, names=NAMES):
    return [disks.read(name) for name in names]


@pytest.fixture
def lost(disks):
    """Two restore points, and then other bytes on both disks.

    Returns the bytes at each point, and a moment between them.
    """
    first = [disks.fill(name, 51 + number) for number, name in enumerate(NAMES)]
    backup.fn("RG1", mode="full", force=True)
    between = datetime.now(UTC)
    second = [disks.fill(name, 61 + number) for number, name in enumerate(NAMES)]
    backup.fn("RG1", mode="incremental", force=True)
    for number, name in enumerate(NAMES):
        disks.fill(name, 71 + number)
    return first, second, between


def test_the_original_disks_are_refused_while_they_are_in_use(lost, disks):
    before = both(disks)
    with pytest.raises(TargetInUse, match="VG1") as caught:
        restore.fn("RG1", to=ORIGINAL, approved=True, force=True)
    assert "varyoffvg" in caught.value.hint
    assert both(disks) == before


def test_a_moment_brings_back_the_latest_point_before_it(lost, blank_spares):
    first, _, between = lost
    to = {"hdisk18": "hdisk23", "hdisk19": "hdisk24"}
    ending = restore.fn("RG1", to=to, at=between, approved=True, importing="no")
    assert ending.outcome == "restored"
    assert both(blank_spares, ("Node1_6", "Node1_7")) == first


def test_the_other_node_gets_the_group_on_its_own_disks(lost, disks):
    _, second, _ = lost
    names = ("Node2_1", "Node2_2")
    before = both(disks, names)
    to = {"hdisk18": "hdisk4", "hdisk19": "hdisk5"}
    ending = restore.fn("RG1", to=to, node="node2", approved=True, force=True)
    try:
        assert ending.outcome == "restored"
        assert both(disks, names) == second
        (group,) = ending.report["imported"]
        assert (group["node"], group["volume_group"]) == ("node2", "VG1")
    finally:
        host(configuration(), "node2").release_group(ending.report["imported"][0]["name"])
        for name, data in zip(names, before, strict=True):
            disks.write(name, data)


def test_the_original_disks_varied_off_are_put_back_and_varied_on(lost, disks):
    _, second, _ = lost
    node = host(configuration(), "node1")
    node._checked(["/usr/sbin/umount", "/rg1"])
    node._checked(["/usr/sbin/varyoffvg", "VG1"])
    try:
        ending = restore.fn("RG1", to=ORIGINAL, approved=True, force=True)
        assert ending.outcome == "restored"
        assert both(disks) == second
        (group,) = ending.report["imported"]
        assert (group["name"], group.get("fault", "")) == ("VG1", "")
        assert "VG1" in node._checked(["/usr/sbin/lsvg", "-o"]).stdout.split()
    finally:
        if "VG1" not in node._checked(["/usr/sbin/lsvg", "-o"]).stdout.split():
            node._checked(["/usr/sbin/varyonvg", "VG1"])
        node._checked(["/usr/sbin/mount", "/rg1"])
