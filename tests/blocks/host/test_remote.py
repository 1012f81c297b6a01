import os
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blocks.errors import HostError, RemoteError, ShortRead
from blocks.host import dd, remote
from blocks.host.remote import RangeCommand, RemoteReader, RemoteWriter
from blocks.runner import LocalRunner
from blocks.units import KIB, MIB

SIZE = 9 * MIB


@pytest.fixture
def content():
    return random.Random(7).randbytes(SIZE)


@pytest.fixture
def path(tmp_path, content):
    made = tmp_path / "disk"
    made.write_bytes(content)
    return made


@dataclass(frozen=True)
class Spelling:
    """One platform's commands."""

    read: RangeCommand
    write: Callable[[str, int], str]
    zero: RangeCommand


AIX = Spelling(dd.aix_read, dd.aix_write, dd.aix_zero)
LINUX = Spelling(dd.gnu_read, dd.gnu_write, dd.gnu_zero)


@pytest.fixture(params=[AIX, LINUX], ids=["aix", "linux"])
def platform(request):
    return request.param


def reader(path, platform=LINUX, size=SIZE):
    return RemoteReader(LocalRunner(), str(path), size, read_command=platform.read)


def writer(path, platform=LINUX, size=SIZE):
    return RemoteWriter(
        LocalRunner(),
        str(path),
        size,
        read_command=platform.read,
        write_command=platform.write,
        zero_command=platform.zero,
    )


def read(disk, offset, length):
    buffer = bytearray(length)
    disk.read_into(offset, memoryview(buffer))
    return bytes(buffer)


def test_reads_at_any_offset_are_the_disks_bytes(path, content, platform):
    disk = reader(path, platform)
    for offset, length in [(0, MIB), (MIB, 2 * MIB), (512, 4096), (SIZE - KIB, KIB), (0, SIZE)]:
        assert read(disk, offset, length) == content[offset : offset + length]
    disk.close()


@settings(max_examples=8, deadline=None)
@given(st.lists(st.tuples(st.integers(0, SIZE - 1), st.integers(1, 100_000)), max_size=6))
def test_unaligned_reads_are_the_disks_bytes(tmp_path_factory, places):
    content = random.Random(7).randbytes(SIZE)
    path = tmp_path_factory.mktemp("disk") / "disk"
    path.write_bytes(content)
    disk = reader(path)
    for offset, length in places:
        length = min(length, SIZE - offset)
        assert read(disk, offset, length) == content[offset : offset + length]
    disk.close()


def test_many_threads_share_the_streams(path, content, platform, monkeypatch):
    monkeypatch.setattr("blocks.host.remote.FIRST_RUN_BYTES", 2 * MIB)
    disk = reader(path, platform)
    step = 128 * KIB
    with ThreadPoolExecutor(6) as pool:
        pieces = list(pool.map(lambda at: read(disk, at, step), range(0, SIZE, step)))
    assert b"".join(pieces) == content
    disk.close()


def test_neighbouring_reads_share_a_command(path):
    runner = LocalRunner()
    starts = []
    start = runner.stream_out
    runner.stream_out = lambda *args, **more: starts.append(args) or start(*args, **more)
    disk = RemoteReader(runner, str(path), SIZE, read_command=LINUX.read)
    for offset in range(0, SIZE, MIB):
        read(disk, offset, MIB)
    assert len(starts) == 1
    disk.close()


def test_a_disk_shorter_than_it_should_be_is_a_short_read(path, platform):
    disk = reader(path, platform, size=SIZE + MIB)
    with pytest.raises(ShortRead, match="ended at"):
        read(disk, 0, SIZE + MIB)
    disk.close()


def test_a_read_past_the_end_is_refused(path):
    with pytest.raises(ShortRead):
        read(reader(path), SIZE - 1, 2)


def test_a_missing_disk_says_why(tmp_path, platform):
    with pytest.raises(ShortRead, match="No such file"):
        read(reader(tmp_path / "nothing", platform), 0, MIB)


def test_a_command_that_fails_after_all_its_bytes_is_no_success(path):
    disk = RemoteReader(
        LocalRunner(), str(path), SIZE, read_command=lambda *_: f"cat {path}; echo I/O >&2; exit 1"
    )
    with pytest.raises(HostError, match="I/O"):
        read(disk, 0, SIZE)


def test_a_command_that_brings_too_much_is_no_success(path):
    disk = RemoteReader(
        LocalRunner(), str(path), MIB, read_command=lambda *_: f"cat {path} /dev/null"
    )
    with pytest.raises(HostError, match="more than"):
        read(disk, 0, MIB)


def test_a_failure_reaches_every_thread_that_waits(path):
    disk = reader(path, size=SIZE + 4 * MIB)
    with ThreadPoolExecutor(4) as pool:
        pieces = [pool.submit(read, disk, at * MIB, MIB) for at in range(SIZE // MIB + 4)]
        failures = [piece.exception() for piece in pieces]
    assert any(isinstance(failure, ShortRead) for failure in failures)
    disk.close()


def test_writes_in_any_order_arrive(path, platform):
    wanted = bytearray(random.Random(8).randbytes(SIZE))
    disk = writer(path, platform)
    offsets = list(range(0, SIZE, 512 * KIB))
    random.Random(9).shuffle(offsets)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda at: disk.write(at, wanted[at : at + 512 * KIB]), offsets))
    disk.flush()
    disk.close()
    assert path.read_bytes() == wanted


class Counting(LocalRunner):
    """Remembers the commands that took input."""

    def __init__(self):
        self.lines = []

    def stream_in(self, command, *, timeout_s=60.0):
        self.lines.append(command)
        return super().stream_in(command, timeout_s=timeout_s)


@pytest.mark.parametrize("threads", [1, 4])
def test_a_long_write_is_cut_into_commands(path, platform, monkeypatch, threads):
    """Else a disk of more than 48 GiB would wear out the connection in one command."""
    monkeypatch.setattr(remote, "MAX_WRITE_RUN_BYTES", 2 * MIB)
    disk = writer(path, platform)
    disk._runner = Counting()
    made = random.Random(8).randbytes(SIZE)
    pieces = range(0, SIZE, 512 * KIB)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda at: disk.write(at, made[at : at + 512 * KIB]), pieces))
    disk.flush()
    disk.close()
    assert path.read_bytes() == made
    assert len(disk._runner.lines) >= SIZE // (2 * MIB)


def test_a_command_cut_off_a_long_write_that_fails_is_told(path, monkeypatch):
    monkeypatch.setattr(remote, "MAX_WRITE_RUN_BYTES", 2 * MIB)
    disk = RemoteWriter(
        LocalRunner(),
        str(path),
        SIZE,
        read_command=LINUX.read,
        write_command=lambda path, offset: "cat >/dev/null; echo 'no space' >&2; exit 1",
        zero_command=LINUX.zero,
    )
    disk.write(0, bytes(MIB))
    with pytest.raises(HostError, match="no space"):
        disk.write(MIB, bytes(MIB))
    with pytest.raises(HostError, match="no space"):
        disk.flush()
    disk.close()


def test_zeros_and_data_lie_where_they_were_put(path, content, platform):
    disk = writer(path, platform)
    disk.zero(MIB, MIB)
    disk.zero(4 * MIB, 5 * MIB)
    disk.write(3 * MIB, b"x" * MIB)
    disk.flush()
    expected = bytearray(content)
    expected[MIB : 2 * MIB] = bytes(MIB)
    expected[4 * MIB : 9 * MIB] = bytes(5 * MIB)
    expected[3 * MIB : 4 * MIB] = b"x" * MIB
    assert read(disk, 0, SIZE) == expected
    assert path.read_bytes() == expected


def test_reading_back_sees_what_was_written(path):
    disk = writer(path)
    read(disk, 0, MIB)
    disk.write(0, b"new" + bytes(MIB - 3))
    assert read(disk, 0, 3) == b"new"
    disk.close()


def test_a_write_that_is_refused_is_told_at_the_latest_by_flush(tmp_path, platform):
    disk = writer(tmp_path / "no" / "disk", platform)

    def write_and_flush():
        disk.write(0, bytes(8 * MIB))
        disk.flush()

    with pytest.raises((HostError, RemoteError), match="No such file"):
        write_and_flush()
    disk.close()


def test_a_write_past_the_end_is_refused(path):
    disk = writer(path)
    with pytest.raises(HostError, match="this write needs"):
        disk.write(SIZE - 1, b"xx")
    with pytest.raises(HostError, match="this write needs"):
        disk.zero(SIZE, 1)


def test_closing_ends_the_command(tmp_path, path):
    pid_file = tmp_path / "pid"
    disk = RemoteReader(
        LocalRunner(),
        str(path),
        SIZE,
        read_command=lambda *_: f"echo $$ >{pid_file}; head -c {MIB} {path}; exec sleep 600",
    )
    assert read(disk, 0, MIB)
    pid = int(pid_file.read_text())
    disk.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@settings(max_examples=8, deadline=None)
@given(st.data())
def test_later_writes_win_over_earlier_ones(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("disk") / "disk"
    path.write_bytes(bytes(SIZE))
    expected = bytearray(SIZE)
    disk = writer(path)
    places = st.tuples(st.integers(0, SIZE // MIB - 1), st.integers(1, 3), st.booleans())
    for number, (first, count, is_zero) in enumerate(data.draw(st.lists(places, max_size=8))):
        offset, end = first * MIB, min((first + count) * MIB, SIZE)
        if is_zero:
            disk.zero(offset, end - offset)
            expected[offset:end] = bytes(end - offset)
        else:
            expected[offset:end] = bytes([number + 1]) * (end - offset)
            disk.write(offset, expected[offset:end])
    disk.flush()
    disk.close()
    assert path.read_bytes() == expected


def test_a_failure_stays_a_failure(tmp_path):
    disk = writer(tmp_path / "no" / "disk")

    def write_and_flush():
        disk.write(0, bytes(8 * MIB))
        disk.flush()

    with pytest.raises((HostError, RemoteError)):
        write_and_flush()
    with pytest.raises((HostError, RemoteError)):
        disk.flush()
    disk.close()


def test_a_stream_from_before_a_write_is_not_read_on(path, content):
    disk = writer(path)
    assert read(disk, 0, MIB) == content[:MIB]
    disk.zero(MIB, 5 * MIB)
    assert read(disk, MIB, MIB) == bytes(MIB)
    disk.close()


@pytest.mark.parametrize("deed", ["write", "zero"])
def test_a_device_that_went_is_an_error_and_no_file_takes_its_place(path, platform, deed):
    disk = writer(path, platform)
    path.unlink()

    def put():
        disk.write(0, bytes(MIB)) if deed == "write" else disk.zero(0, 8 * MIB)
        disk.flush()

    with pytest.raises((HostError, RemoteError)):
        put()
    assert not path.exists()
    disk.close()
