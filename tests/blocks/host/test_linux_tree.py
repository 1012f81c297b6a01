"""Which names below /dev/disk/by-id are which volume, on a tree of links like udev's."""

import json
import os
import subprocess

import pytest

from blocks.errors import HostError, TargetInUse
from blocks.host.linux import _RESCAN, LinuxHost
from blocks.runner import LocalRunner
from blocks.units import MIB

UID = "60050764008101D3F8000000000005F6"
LOW = UID.lower()
OTHER = UID[:-1] + "7"


class Tree:
    """`dev` and `by-id` below one directory, and an lsblk that says what it is told."""

    def __init__(self, root, monkeypatch):
        self.dev = root / "dev"
        self.by_id = root / "by-id"
        self.tools = root / "tools"
        for directory in (self.dev, self.by_id, self.tools):
            directory.mkdir()
        self.tool("pvs", "exit 127")
        self.tool("losetup", "")
        self.lsblk()
        monkeypatch.setenv("PATH", f"{self.tools}:{os.environ['PATH']}")

    def tool(self, name, script):
        path = self.tools / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def lsblk(self, *devices):
        text = json.dumps({"blockdevices": devices})
        self.tool("lsblk", f"cat <<'END'\n{text}\nEND")

    def device(self, name, size=MIB):
        with (self.dev / name).open("wb") as file:
            file.truncate(size)

    def link(self, name, device):
        (self.by_id / name).symlink_to(f"../dev/{device}")

    @property
    def host(self):
        return LinuxHost("node1", LocalRunner(), device_directory=str(self.by_id))

    def seen(self):
        return {disk.uid: (disk.name, os.path.basename(disk.path)) for disk in self.host.disks()}


@pytest.fixture
def tree(tmp_path, monkeypatch):
    return Tree(tmp_path, monkeypatch)


def test_two_paths_of_a_lun_are_one_disk_read_through_multipath(tree):
    for name in ("sda", "sdb", "dm-0"):
        tree.device(name)
    tree.link(f"wwn-0x{LOW}", "sdb")
    tree.link(f"scsi-3{LOW}", "sda")
    tree.link(f"dm-uuid-mpath-3{LOW}", "dm-0")
    tree.link("dm-name-mpatha", "dm-0")
    assert tree.seen() == {UID: (f"dm-uuid-mpath-3{LOW}", "dm-0")}


def test_a_link_whose_device_went_gives_way_to_one_that_is_there(tree):
    tree.device("sdb")
    tree.link(f"dm-uuid-mpath-3{LOW}", "dm-0")
    tree.link(f"wwn-0x{LOW}", "sda")
    tree.link(f"scsi-3{LOW}", "sdb")
    assert tree.seen() == {UID: (f"scsi-3{LOW}", "sdb")}


def test_a_lun_without_any_path_is_no_disk(tree):
    tree.link(f"dm-uuid-mpath-3{LOW}", "dm-0")
    assert tree.seen() == {}


@pytest.mark.parametrize(
    "name",
    [
        f"wwn-0x{LOW}-part1",
        f"scsi-3{LOW}-part2",
        f"dm-uuid-part1-mpath-3{LOW}",
        "ata-QEMU_HARDDISK_QM00001",
        "virtio-1f2e3d4c",
        "nvme-INTEL_SSDPE2KX010T8_BTLJ",
        "nvme-eui.01000000000000008ce38ee20c1e5a01",
        "wwn-0x5000c5004ce6c7ff",
        "scsi-SIBM_2145_0200a0a0cafe",
        "lvm-pv-uuid-q1w2e3-aaaa-bbbb-cccc-dddd-eeee-ffffff",
        "md-uuid-1:2:3:4",
    ],
)
def test_partitions_and_disks_without_such_an_id_are_no_volumes(tree, name):
    tree.device("sda")
    tree.link(name, "sda")
    assert tree.seen() == {}


def test_a_lun_made_larger_is_told_with_its_new_size(tree):
    tree.device("dm-0")
    tree.link(f"dm-uuid-mpath-3{LOW}", "dm-0")
    host = tree.host
    assert [disk.size_bytes for disk in host.disks()] == [MIB]
    tree.device("dm-0", 3 * MIB)
    assert [disk.size_bytes for disk in host.disks()] == [3 * MIB]


def held_multipath(tree):
    """What lsblk says of a multipath disk under LVM: its PATH is not where the links lead."""
    volume = {"kname": "dm-1", "path": "/dev/mapper/VG1-lv", "type": "lvm", "mountpoint": "/db2"}
    mapper = {"kname": "dm-0", "path": "/dev/mapper/mpatha", "type": "mpath", "mountpoint": None}
    path = {"kname": "sda", "path": "/dev/sda", "type": "disk", "mountpoint": None}
    return {**path, "children": [{**mapper, "children": [volume]}]}


def test_a_multipath_disk_in_use_is_neither_free_nor_written(tree, monkeypatch):
    tree.device("dm-0")
    tree.link(f"dm-uuid-mpath-3{LOW}", "dm-0")
    tree.lsblk(held_multipath(tree))
    # The links of this tree lead to its own dev, those of lsblk to /dev.
    monkeypatch.setattr("blocks.host.linux.held_devices", _below(tree.dev))
    (disk,) = tree.host.disks()
    assert disk.is_active
    with pytest.raises(TargetInUse):
        tree.host.open_write(disk)


def _below(dev):
    from blocks.host.listings import held_devices

    return lambda text: {f"{dev}/{path.removeprefix('/dev/')}" for path in held_devices(text)}


@pytest.mark.parametrize("said", ["", "[]", "{}", "lsblk: cannot open", '{"blockdevices": [{}]}'])
def test_an_lsblk_that_does_not_list_is_an_error_not_a_free_disk(tree, said):
    tree.device("sda")
    tree.link(f"wwn-0x{LOW}", "sda")
    tree.tool("lsblk", f"printf '%s' '{said}'")
    with pytest.raises(HostError, match="lsblk on node1 did not print its list"):
        tree.host.disks()


def test_a_machine_without_lsblk_takes_files(tree):
    tree.device("sda")
    tree.link(f"wwn-0x{LOW}", "sda")
    tree.tool("lsblk", "exit 127")
    (disk,) = tree.host.disks()
    tree.host.open_write(disk).close()


@pytest.mark.root
@pytest.mark.skipif(not os.path.exists("/dev/loop0"), reason="needs the block device /dev/loop0")
def test_a_machine_without_lsblk_takes_no_device(tree):
    (tree.by_id / f"wwn-0x{LOW}").symlink_to("/dev/loop0")
    tree.tool("lsblk", "exit 127")
    with pytest.raises(HostError, match="lsblk on node1 failed"):
        tree.host.disks()


def test_volumes_are_told_apart_by_their_last_digit(tree):
    for number, uid in enumerate((UID, OTHER)):
        tree.device(f"sd{number}")
        tree.link(f"scsi-3{uid.lower()}", f"sd{number}")
    assert set(tree.seen()) == {UID, OTHER}


def test_the_rescan_is_a_script_any_shell_reads():
    subprocess.run(["sh", "-n", "-c", _RESCAN], check=True)
    assert "device/rescan" in _RESCAN  # or a LUN made larger keeps its old size
