"""What every host promises (blocks/host/base.py), tried on each of them."""

import importlib.util
import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from blocks.errors import DiskMissing, HostError, ShortRead
from blocks.host.base import Disk, GroupState
from blocks.host.linux import LinuxHost
from blocks.runner import LocalRunner
from blocks.units import KIB, MIB

SIZE = 5 * MIB
UIDS = [f"60050764008101D3F8000000000005F{number}" for number in range(3)]

needs_local = pytest.mark.skipif(
    importlib.util.find_spec("blocks.host.local") is None, reason="no local reader yet"
)


class Elsewhere:
    """This machine as if it were another: commands only, no open files."""

    address = "elsewhere"

    def __init__(self):
        self._runner = LocalRunner()
        self.run = self._runner.run
        self.stream_out = self._runner.stream_out
        self.stream_in = self._runner.stream_in
        self.close = self._runner.close


@pytest.fixture
def contents():
    return [random.Random(number).randbytes(SIZE) for number in range(3)]


@pytest.fixture
def device_directory(tmp_path, contents):
    directory = tmp_path / "by-id"
    directory.mkdir()
    for uid, content in zip(UIDS, contents, strict=True):
        (tmp_path / uid).write_bytes(content)
        (directory / f"wwn-0x{uid.lower()}").symlink_to(tmp_path / uid)
    (directory / "wwn-0x5000c5004ce6c7ff").symlink_to(tmp_path / UIDS[0])
    (directory / f"wwn-0x{UIDS[0].lower()}-part1").symlink_to(tmp_path / UIDS[0])
    return directory


@pytest.fixture(params=[pytest.param("local", marks=needs_local), "remote"])
def host(request, device_directory):
    runner = LocalRunner() if request.param == "local" else Elsewhere()
    return LinuxHost("host", runner, device_directory=str(device_directory))


def disk_of(host, uid):
    return next(disk for disk in host.disks() if disk.uid == uid)


def read(disk, offset, length):
    buffer = bytearray(length)
    disk.read_into(offset, memoryview(buffer))
    return bytes(buffer)


def test_disks_are_named_by_uid_with_exact_sizes(host):
    disks = host.discover()
    assert [disk.uid for disk in disks] == UIDS
    assert {disk.size_bytes for disk in disks} == {SIZE}
    assert not any(disk.is_active for disk in disks)
    assert host.disks() == disks


def test_any_range_reads_from_any_thread(host, contents):
    reader = host.open_read(disk_of(host, UIDS[1]))
    assert reader.size_bytes == SIZE
    places = [(at, min(700 * KIB, SIZE - at)) for at in range(0, SIZE, 300 * KIB)]
    with ThreadPoolExecutor(4) as pool:
        pieces = list(pool.map(lambda place: read(reader, *place), places))
    reader.close()
    assert pieces == [contents[1][at : at + length] for at, length in places]


def test_a_read_past_the_end_is_a_short_read(host):
    reader = host.open_read(disk_of(host, UIDS[0]))
    with pytest.raises(ShortRead):
        read(reader, SIZE - KIB, 2 * KIB)
    reader.close()


def test_data_runs_cover_everything_that_is_not_zero(host, contents):
    reader = host.open_read(disk_of(host, UIDS[0]))
    covered = bytearray(SIZE)
    for offset, length in reader.data_runs():
        covered[offset : offset + length] = contents[0][offset : offset + length]
    reader.close()
    assert bytes(covered) == contents[0]


def test_what_is_written_in_any_order_is_read_back(host, contents):
    target = disk_of(host, UIDS[2])
    writer = host.open_write(target)
    pieces = list(range(0, SIZE, 256 * KIB))
    random.Random(3).shuffle(pieces)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda at: writer.write(at, contents[0][at : at + 256 * KIB]), pieces))
    writer.zero(MIB, 2 * MIB)
    writer.flush()
    expected = contents[0][:MIB] + bytes(2 * MIB) + contents[0][3 * MIB :]
    assert read(writer, 0, SIZE) == expected
    writer.close()
    reader = host.open_read(target)
    assert read(reader, 0, SIZE) == expected
    reader.close()


def test_a_write_past_the_end_is_refused(host):
    writer = host.open_write(disk_of(host, UIDS[0]))
    with pytest.raises(HostError):
        writer.write(SIZE - KIB, bytes(2 * KIB))
    writer.close()


def test_a_disk_that_became_another_volume_is_not_written(host, device_directory):
    disk = disk_of(host, UIDS[0])
    (device_directory / f"wwn-0x{UIDS[0].lower()}").unlink()
    with pytest.raises(DiskMissing):
        host.open_write(disk)
    changed = Disk(disk.name, disk.path, disk.size_bytes, UIDS[1])
    with pytest.raises(DiskMissing):
        host.open_write(changed)


def test_a_host_without_a_cluster_is_stable_and_knows_no_group(host):
    assert host.is_cluster_stable()
    assert host.group_state("RG1") is GroupState.UNKNOWN
    assert host.volume_groups("RG1") == []


def test_freezing_nothing_is_allowed(host):
    with host.frozen(["nonesuch"], 5):
        pass


def test_a_missing_device_directory_is_an_error_not_an_empty_list(host, device_directory):
    for link in device_directory.iterdir():
        link.unlink()
    assert host.disks() == []
    device_directory.rmdir()
    with pytest.raises(HostError):
        host.disks()
