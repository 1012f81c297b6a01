"""LVM's own programs over loop devices: copies of a volume group beside their original (root)."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from blocks.errors import HostError
from blocks.host.linux import LinuxHost
from blocks.runner import Completed, LocalRunner
from blocks.units import MIB

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(shutil.which("vgimportclone") is None, reason="needs lvm2"),
]
SIZE = 64 * MIB
UIDS = [f"60050764008101D3F8000000000006{number:02X}" for number in range(4)]


def run(*words):
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()


def has_device_mapper():
    return subprocess.run(["dmsetup", "version"], check=False, capture_output=True).returncode == 0


class WithoutMapper(LocalRunner):
    """A kernel without device mapper: activating is left out, everything else is LVM's own."""

    def run(self, command, *, timeout_s=60.0, stdin=None):
        if "vgchange -ay" in str(command) and not has_device_mapper():
            return Completed(0, "", "")
        return super().run(command, timeout_s=timeout_s, stdin=stdin)


class Iron:
    """Two disks with a volume group, and two blank ones of the same size."""

    def __init__(self, directory):
        self.directory = directory
        self.files = [directory / f"disk{number}" for number in range(4)]
        self.devices = []
        self.by_id = directory / "by-id"
        self.by_id.mkdir()
        for uid, file in zip(UIDS, self.files, strict=True):
            with file.open("wb") as new:
                new.truncate(SIZE)
            self.devices.append(run("losetup", "-f", "--show", str(file)))
            (self.by_id / f"wwn-0x{uid.lower()}").symlink_to(self.devices[-1])
        self.group = f"fvtest{os.getpid()}"
        accepted = ", ".join(f'"a|^{device}$|"' for device in self.devices)
        settings = directory / "lvm"
        settings.mkdir()
        (settings / "lvm.conf").write_text(
            f'devices {{\n use_devicesfile=0\n filter=[{accepted}, "r|.*|"]\n}}\n'
            "activation {\n udev_sync=0\n udev_rules=0\n}\n"
        )

    def make_group(self):
        run("vgcreate", self.group, *self.devices[:2])
        # Without a device mapper a logical volume can be described all the same.
        without = [] if has_device_mapper() else ["--driverloaded", "n"]
        run("lvcreate", *without, "-an", "-Zn", "-Wn", "-y", "-n", "lv", "-l", "12", self.group)
        run("vgchange", "-an", self.group) if has_device_mapper() else None

    def copy(self):
        """Copy the disks as a restore does, byte for byte."""
        for number in (0, 1):
            shutil.copyfile(self.files[number], self.files[number + 2])
            subprocess.run(["blockdev", "--flushbufs", self.devices[number + 2]], check=True)

    def devices_of(self, group):
        listed = run("pvs", "--noheadings", "-o", "pv_name,vg_name").splitlines()
        return {row.split()[0] for row in listed if row.split()[1:] == [group]}

    def uuids_of(self, group):
        listed = run("pvs", "--noheadings", "-o", "vg_name,vg_uuid,pv_uuid").splitlines()
        return {word for row in listed if row.split()[0] == group for word in row.split()[1:]}

    def volume(self, group):
        """Reach the logical volume: by the mapper, or where it lies on its only disk."""
        if has_device_mapper():
            run("vgchange", "-ay", group)
            return f"/dev/{group}/lv"
        (row,) = run(
            "lvs", "--noheadings", "--units", "b", "--nosuffix", "-o",
            "seg_pe_ranges,seg_size,vg_extent_size", group,
        ).splitlines()  # fmt: skip
        place, length, extent = row.split()
        device, _, extents = place.partition(":")
        first = run("pvs", "--noheadings", "--units", "b", "--nosuffix", "-o", "pe_start", device)
        offset = int(first) + int(extents.split("-")[0]) * int(extent)
        name = run(
            "losetup", "-f", "--show", "-o", str(offset), "--sizelimit", length, device
        )  # fmt: skip
        self.devices.append(name)
        return name

    def release(self, name):
        if not has_device_mapper():
            run("losetup", "-d", name)
            self.devices.remove(name)

    def close(self):
        if has_device_mapper():
            groups = run("vgs", "--noheadings", "-o", "vg_name").split()
            for group in groups:
                subprocess.run(["vgchange", "-an", group], check=False, capture_output=True)
        for device in reversed(self.devices):
            subprocess.run(["losetup", "-d", device], check=False, capture_output=True)


@pytest.fixture
def iron(tmp_path, monkeypatch):
    monkeypatch.setenv("LVM_SYSTEM_DIR", str(tmp_path / "lvm"))
    try:
        made = Iron(tmp_path)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no loop devices here: {error.stderr}")
    yield made
    made.close()


@pytest.fixture
def host(iron):
    return LinuxHost("host", WithoutMapper(), device_directory=str(iron.by_id))


def disks(host, *numbers):
    seen = {disk.uid: disk for disk in host.disks()}
    return [seen[UIDS[number]] for number in numbers]


def test_a_group_is_seen_on_its_disks_and_copies_beside_it_pass_for_no_group(iron, host):
    iron.make_group()
    iron.copy()
    assert [disk.volume_group for disk in disks(host, 0, 1)] == [iron.group] * 2
    assert [disk.volume_group for disk in disks(host, 2, 3)] == ["", ""]


def test_copies_become_a_group_of_their_own_with_the_data_of_the_original(iron, host):
    iron.make_group()
    original = iron.volume(iron.group)
    run("mkfs.ext4", "-q", "-O", "^metadata_csum_seed", original)
    mount = iron.directory / "mnt"
    mount.mkdir()
    run("mount", original, str(mount))
    (mount / "ledger").write_bytes(b"to the last byte" * 10_000)
    run("umount", str(mount))
    iron.release(original)
    if has_device_mapper():
        run("vgchange", "-an", iron.group)
    run("sync")
    iron.copy()
    before = iron.uuids_of(iron.group)
    host.recreate_group(f"{iron.group}r", disks(host, 2, 3))
    assert iron.uuids_of(iron.group) == before
    assert not before & iron.uuids_of(f"{iron.group}r")
    assert iron.devices_of(iron.group) == set(iron.devices[:2])
    assert iron.devices_of(f"{iron.group}r") == set(iron.devices[2:4])
    copied = iron.volume(f"{iron.group}r")
    run("fsck.ext4", "-fn", copied)
    run("mount", "-o", "ro", copied, str(mount))
    try:
        assert (mount / "ledger").read_bytes() == b"to the last byte" * 10_000
    finally:
        run("umount", str(mount))
    iron.release(copied)
    host.release_group(f"{iron.group}r")


def test_importing_copies_beside_their_original_is_refused_before_anything_is_active(iron, host):
    """LVM would activate the original, and the copies would pass for tested."""
    iron.make_group()
    iron.copy()
    with pytest.raises(HostError, match="is on other disks"):
        host.import_group(iron.group, disks(host, 2, 3))


def test_an_exported_group_is_imported_where_its_original_is_gone(iron, host):
    iron.make_group()
    run("vgexport", iron.group)
    iron.copy()
    for device in iron.devices[:2]:
        run("wipefs", "-aq", device)
    host.import_group(iron.group, disks(host, 2, 3))
    assert iron.devices_of(iron.group) == set(iron.devices[2:4])
    assert "exported" not in run("vgs", "--noheadings", "-o", "vg_exported", iron.group)


def test_a_group_that_is_not_whole_is_refused(iron, host):
    iron.make_group()
    iron.copy()
    with pytest.raises(HostError, match="vgimportclone"):
        host.recreate_group(f"{iron.group}r", disks(host, 2))


@pytest.mark.skipif(has_device_mapper(), reason="this kernel has a device mapper")
def test_without_a_device_mapper_activating_is_a_clear_error(iron):
    iron.make_group()
    iron.copy()
    host = LinuxHost("host", LocalRunner(), device_directory=str(iron.by_id))
    with pytest.raises(HostError, match="vgchange"):
        host.recreate_group(f"{iron.group}r", disks(host, 2, 3))


def test_the_disks_of_an_active_group_are_in_use(iron, host):
    if not has_device_mapper():
        pytest.skip(f"no device mapper in this kernel ({Path('/proc/version').read_text()[:40]})")
    iron.make_group()
    run("vgchange", "-ay", iron.group)
    assert all(disk.is_active for disk in disks(host, 0, 1))
