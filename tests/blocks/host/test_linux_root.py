"""A Linux host with a real block device and a real file system (root; loop devices)."""

import os
import random
import shutil
import subprocess
import threading
import time
from pathlib import Path

import pytest

from blocks.errors import FreezeExpired, TargetInUse
from blocks.host.base import Disk
from blocks.host.inside import Fsck
from blocks.host.linux import LinuxHost
from blocks.runner import LocalRunner
from blocks.units import MIB

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
]
UID = "60050764008101D3F8000000000005F6"
SIZE = 64 * MIB


def run(*words):
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()


class Elsewhere:
    """This machine as if it were another: commands only, no open files."""

    address = "elsewhere"

    def __init__(self):
        runner = LocalRunner()
        self.run, self.close = runner.run, runner.close
        self.stream_out, self.stream_in = runner.stream_out, runner.stream_in


class PlainHost(LinuxHost):
    """A host whose volume groups are mount points: this kernel may have no device mapper."""

    def _file_systems(self, volume_groups):
        return list(volume_groups)


@pytest.fixture
def device(tmp_path):
    file = tmp_path / "disk"
    with file.open("wb") as new:
        new.truncate(SIZE)
    try:
        name = run("losetup", "-f", "--show", str(file))
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no loop devices here: {error.stderr}")
    yield name
    run("losetup", "-d", name)


@pytest.fixture(params=["local", "remote"])
def host(request, device, tmp_path):
    directory = tmp_path / "by-id"
    directory.mkdir()
    (directory / f"wwn-0x{UID.lower()}").symlink_to(device)
    runner = LocalRunner() if request.param == "local" else Elsewhere()
    return PlainHost("host", runner, device_directory=str(directory))


@pytest.fixture
def mounted(device, tmp_path):
    run("mkfs.ext4", "-q", device)
    mount_point = tmp_path / "mnt"
    mount_point.mkdir()
    run("mount", device, str(mount_point))
    yield mount_point
    subprocess.run(["fsfreeze", "-u", mount_point], check=False, capture_output=True)
    run("umount", str(mount_point))


@pytest.fixture(params=["ext4", "xfs"])
def file_system(request, tmp_path):
    """A mounted file system of each kind that can be frozen."""
    if not shutil.which(f"mkfs.{request.param}"):
        pytest.skip(f"no mkfs.{request.param} here")
    image, mount_point = tmp_path / "image", tmp_path / request.param
    with image.open("wb") as new:
        new.truncate(320 * MIB)  # the least XFS takes
    run(f"mkfs.{request.param}", "-q", str(image))
    mount_point.mkdir()
    run("mount", "-o", "loop", str(image), str(mount_point))
    yield mount_point
    subprocess.run(["fsfreeze", "-u", mount_point], check=False, capture_output=True)
    run("umount", str(mount_point))


def test_a_block_device_is_written_and_read_past_the_cache(host):
    (disk,) = host.disks()
    assert (disk.uid, disk.size_bytes, disk.is_active) == (UID, SIZE, False)
    content = random.Random(1).randbytes(SIZE)
    writer = host.open_write(disk)
    for offset in range(0, SIZE, 4 * MIB):
        writer.write(offset, content[offset : offset + 4 * MIB])
    writer.zero(8 * MIB, 16 * MIB)
    writer.flush()
    writer.close()
    reader = host.open_read(disk)
    buffer = bytearray(SIZE)
    reader.read_into(0, memoryview(buffer))
    reader.close()
    assert buffer == content[: 8 * MIB] + bytes(16 * MIB) + content[24 * MIB :]


def test_a_mounted_device_is_in_use(host, mounted):
    (disk,) = host.disks()
    assert disk.is_active
    with pytest.raises(TargetInUse):
        host.open_write(disk)


def test_writers_wait_while_it_is_frozen_and_go_on_after(host, file_system):
    written_at = []

    def write():
        with (file_system / "file").open("wb") as file:
            file.write(b"x")
            os.fsync(file.fileno())
        written_at.append(time.monotonic())

    with host.frozen([str(file_system)], 20):
        writer = threading.Thread(target=write)
        writer.start()
        time.sleep(0.5)
        assert written_at == []
    writer.join(10)
    assert written_at


def test_the_watchdog_thaws_by_itself_and_that_is_told(host, file_system):
    def freeze_too_long():
        with host.frozen([str(file_system)], 0.5):
            time.sleep(1.5)
            (file_system / "file").write_bytes(b"not blocked any more")

    with pytest.raises(FreezeExpired):
        freeze_too_long()


def look(host, tmp_path):
    (disk,) = host.disks()
    (found,) = host.look_inside("", [disk], str(tmp_path / "look"), fsck=True, mount=True)
    return found


def bytes_of(device):
    run("sync")
    return Path(device).read_bytes()


def test_a_sound_file_system_is_checked_and_mounted_without_a_byte_written(
    host, device, mounted, tmp_path
):
    (mounted / "ledger").write_text("1 2 3")
    run("umount", str(mounted))
    before = bytes_of(device)
    found = look(host, tmp_path)
    assert (found.kind, found.fsck, found.entries) == ("ext4", Fsck.CLEAN, 2)
    assert found.is_good
    assert bytes_of(device) == before
    assert not (tmp_path / "look").exists()
    run("mount", device, str(mounted))


def test_a_copy_of_a_mounted_file_system_is_not_called_damaged(host, device, mounted, tmp_path):
    (mounted / "ledger").write_text("1 2 3")
    run("sync")
    copy = tmp_path / "copy"
    copy.write_bytes(Path(device).read_bytes())
    disk = Disk("copy", str(copy), SIZE, "")
    (found,) = host.look_inside("", [disk], str(tmp_path / "look"), fsck=True, mount=True)
    assert found.fsck in {Fsck.UNREPLAYED, Fsck.CLEAN}
    assert found.is_good
    assert found.entries == 2


def test_a_damaged_file_system_is_told(host, device, tmp_path):
    run("mkfs.ext4", "-q", device)
    with open(device, "r+b") as file:
        file.seek(4096)  # the group descriptors and the bitmaps behind them
        file.write(b"\xff" * 2 * MIB)
    found = look(host, tmp_path)
    assert found.fsck is Fsck.DAMAGED
    assert "e2fsck ended with status" in found.faults[0]


def test_a_disk_without_a_file_system_is_left_out(host, tmp_path):
    (disk,) = host.disks()
    assert host.look_inside("", [disk], str(tmp_path / "look"), fsck=True, mount=True) == []


def test_what_a_dead_run_left_mounted_is_unmounted(host, device, tmp_path):
    run("mkfs.ext4", "-q", device)
    directory = tmp_path / "look"
    directory.mkdir()
    run("mount", "-o", "ro", device, str(directory))
    host.leave(str(directory))
    assert not directory.exists()
    host.leave(str(directory))


@pytest.mark.skipif(not shutil.which("mkfs.xfs"), reason="needs xfsprogs")
def test_an_xfs_in_an_image_file_is_checked_and_mounted_beside_its_original(host, tmp_path):
    original, copy = tmp_path / "original.img", tmp_path / "copy.img"
    with original.open("wb") as new:
        new.truncate(320 * MIB)
    run("mkfs.xfs", "-q", str(original))
    mount_point = tmp_path / "original"
    mount_point.mkdir()
    run("mount", "-o", "loop", str(original), str(mount_point))
    try:
        (mount_point / "ledger").write_text("1 2 3")
        run("sync")
        run("cp", "--sparse=always", str(original), str(copy))
        disk = Disk("copy", str(copy), 320 * MIB, "")
        (found,) = host.look_inside("", [disk], str(tmp_path / "look"), fsck=True, mount=True)
    finally:
        run("umount", str(mount_point))
    assert found.kind == "xfs"
    assert found.fsck in {Fsck.UNREPLAYED, Fsck.CLEAN}
    assert found.is_good, found.faults
    assert found.entries is not None
