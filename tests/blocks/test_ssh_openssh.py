"""The SSH data path against a real OpenSSH server on loopback."""

import getpass
import hashlib
import os
import random
import shutil
import signal
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from blocks import ssh
from blocks.errors import FlashvaultError, LoginRefused, RemoteError, ShortRead, Unreachable
from blocks.host.base import Disk
from blocks.host.linux import LinuxHost
from blocks.ssh import SshRunner, SshTarget
from blocks.units import GIB, MIB

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(SSHD is None, reason="no OpenSSH server here (apt install openssh-server)"),
]
SIZE = 3 * GIB
PIECE = 4 * MIB
KEY_TYPES = {"ed25519": [], "ecdsa": ["-b", "256"], "rsa": ["-b", "2048"]}


class OpenSsh:
    """An OpenSSH server of our own, for this user, on a free port."""

    def __init__(self, directory, *settings):
        self.directory = directory
        self.keys = {kind: self._new_key(kind) for kind in KEY_TYPES}
        host_key = self._new_key("ed25519", name="host")
        self.host_key = host_key.with_suffix(".pub").read_text()
        authorized = directory / "authorized_keys"
        authorized.write_text(
            "".join(key.with_suffix(".pub").read_text() for key in self.keys.values())
        )
        if os.geteuid() == 0:
            # Where a privileged sshd locks itself in; the package makes it at boot.
            Path("/run/sshd").mkdir(exist_ok=True)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        lines = [
            f"Port {self.port}",
            "ListenAddress 127.0.0.1",
            f"HostKey {host_key}",
            f"AuthorizedKeysFile {authorized}",
            "PidFile none",
            "StrictModes no",
            "UsePAM no",
            "PermitRootLogin yes",
            *settings,
        ]
        config = directory / "sshd_config"
        config.write_text("\n".join(lines) + "\n")
        self.process = subprocess.Popen(
            [SSHD, "-D", "-f", str(config), "-E", str(directory / "log")]
        )
        self._wait()

    def target(self, kind="ed25519", **changes):
        settings = {
            "addresses": ("127.0.0.1",),
            "user": getpass.getuser(),
            "port": self.port,
            "host_key": self.host_key,
            "private_key": self.keys[kind].read_text(),
        }
        return SshTarget(**{**settings, **changes})

    def kill_sessions(self):
        """End every session at once; which of them carries the data is the runner's choice."""
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                if int(stat.read_text().rpartition(")")[2].split()[1]) == self.process.pid:
                    os.kill(int(stat.parent.name), signal.SIGKILL)

    def stop(self):
        self.process.terminate()
        self.process.wait(10)

    def _new_key(self, kind, name=None):
        path = self.directory / (name or f"id_{kind}")
        words = ["ssh-keygen", "-q", "-t", kind, *KEY_TYPES[kind], "-N", "", "-f", str(path)]
        subprocess.run(words, check=True)
        return path

    def _wait(self):
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise AssertionError((self.directory / "log").read_text())


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    made = OpenSsh(tmp_path_factory.mktemp("sshd"))
    yield made
    made.stop()


@pytest.fixture
def runner(server):
    made = SshRunner(server.target())
    yield made
    made.close()


@pytest.fixture(scope="module")
def block():
    return random.Random(11).randbytes(PIECE)


@pytest.fixture(scope="module")
def disk(tmp_path_factory, block):
    path = tmp_path_factory.mktemp("disk") / "disk"
    with path.open("wb") as file:
        for offset in range(0, SIZE, PIECE):
            data = bytearray(block)
            data[:8] = offset.to_bytes(8, "big")
            file.write(data)
    yield Disk(name="disk", path=str(path), size_bytes=SIZE, uid="")
    path.unlink()


@pytest.mark.parametrize("kind", KEY_TYPES)
def test_every_kind_of_key_opens(server, kind):
    runner = SshRunner(server.target(kind))
    done = runner.run(["echo", "it's open"])
    assert (done.status, done.stdout) == (0, "it's open\n")
    runner.close()


def test_a_strange_key_is_refused(server, tmp_path):
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "k"], check=True
    )
    runner = SshRunner(server.target(private_key=(tmp_path / "k").read_text()))
    with pytest.raises(LoginRefused, match="not let in"):
        runner.run("true")


def test_output_input_errors_and_status_come_back(runner):
    done = runner.run("cat; echo oops >&2; exit 7", stdin=b"in")
    assert (done.status, done.stdout, done.stderr) == (7, "in", "oops\n")


def parents_of_20(runner):
    with ThreadPoolExecutor(20) as pool:
        return set(pool.map(lambda _: runner.run("echo $PPID; sleep 0.2").stdout, range(20)))


def test_many_threads_share_one_connection_when_told_to(server):
    runner = SshRunner(server.target(), max_connections=1)
    assert len(parents_of_20(runner)) == 1
    runner.close()


def test_more_commands_than_channels_make_more_connections(runner):
    assert 1 < len(parents_of_20(runner)) <= 4
    assert len(parents_of_20(runner)) <= 4


def test_a_server_that_allows_fewer_sessions_gets_fewer(tmp_path):
    server = OpenSsh(tmp_path, "MaxSessions 2")
    runner = SshRunner(server.target())
    try:
        with ThreadPoolExecutor(5) as pool:
            done = list(pool.map(lambda _: runner.run("sleep 0.2; echo hi").stdout, range(5)))
        assert done == ["hi\n"] * 5
    finally:
        runner.close()
        server.stop()


def test_a_broken_connection_is_replaced_before_the_next_command(runner):
    session = int(runner.run("echo $PPID").stdout)
    os.kill(session, signal.SIGKILL)
    time.sleep(0.3)
    assert runner.run("echo back").stdout == "back\n"


def test_a_connection_that_carried_enough_is_replaced_between_commands(runner, monkeypatch):
    monkeypatch.setattr(ssh, "RETIRE_BYTES", 4 * MIB)
    parents = set()
    for _ in range(3):
        parents.add(runner.run("echo $PPID").stdout)
        with runner.stream_out(f"head -c {8 * MIB} /dev/zero") as stream:
            assert _count(stream) == 8 * MIB
            assert stream.finish().status == 0
    assert len(parents) == 3


def test_a_server_that_wants_new_keys_gets_them(tmp_path):
    server = OpenSsh(tmp_path, "RekeyLimit 16M")
    runner = SshRunner(server.target())
    try:
        for _ in range(3):
            with runner.stream_out(f"head -c {64 * MIB} /dev/zero") as stream:
                assert _count(stream) == 64 * MIB
                assert stream.finish().status == 0
    finally:
        runner.close()
        server.stop()


def _count(stream):
    buffer = memoryview(bytearray(MIB))
    total = 0
    while count := stream.read_into(buffer):
        total += count
    return total


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_3_gib_are_read_identical_past_the_rekey_trap(runner, disk, block, capsys):
    reader = LinuxHost("node", runner).open_read(disk)
    wrong = []

    def read(offset):
        buffer = bytearray(PIECE)
        reader.read_into(offset, memoryview(buffer))
        if buffer[8:] != block[8:] or int.from_bytes(buffer[:8], "big") != offset:
            wrong.append(offset)

    started = time.monotonic()
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(read, range(0, SIZE, PIECE)))
    rate = SIZE / (time.monotonic() - started) / 1e6
    reader.close()
    with capsys.disabled():
        print(f"\n3 GiB read over SSH at {rate:.0f} MB/s")  # noqa: T201
    assert wrong == []


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_3_gib_are_written_identical(runner, block, tmp_path, capsys):
    path = tmp_path / "target"
    with path.open("wb") as file:
        file.truncate(SIZE)
    target = Disk(name="target", path=str(path), size_bytes=SIZE, uid="")
    writer = LinuxHost("node", runner).open_write(target)
    data = bytearray(block)
    started = time.monotonic()
    for offset in range(0, SIZE, PIECE):
        data[:8] = offset.to_bytes(8, "big")
        writer.write(offset, data)
    writer.flush()
    rate = SIZE / (time.monotonic() - started) / 1e6
    writer.close()
    with capsys.disabled():
        print(f"\n3 GiB written over SSH at {rate:.0f} MB/s, fsync included")  # noqa: T201
    with path.open("rb") as file:
        for offset in range(0, SIZE, PIECE):
            data[:8] = offset.to_bytes(8, "big")
            assert file.read(PIECE) == data, offset
        assert file.read() == b""
    path.unlink()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_3_gib_are_compared_on_the_node(server, disk, block, capsys):
    """Two of 12,288 extents differ: they alone cross the wire, with a digest of every other."""
    extent = MIB // 4
    known = bytearray()
    for offset in range(0, SIZE, PIECE):
        data = bytearray(block)
        data[:8] = offset.to_bytes(8, "big")
        for at in range(0, PIECE, extent):
            known += hashlib.sha256(data[at : at + extent]).digest()
    changed = {7, 12_000}
    for index in changed:
        known[index * 32] ^= 1
    runner = SshRunner(server.target())
    reader = LinuxHost("node", runner).open_read(disk)
    found = set()
    started = time.monotonic()
    comparison = reader.compare(
        0, SIZE, memoryview(known), extent_bytes=extent, batch_extents=PIECE // extent
    )
    for offset in range(0, SIZE, PIECE):
        is_zero, has_bytes, _ = comparison.take(memoryview(bytearray(PIECE)))
        assert not is_zero.any()
        found |= {offset // extent + index for index in has_bytes.nonzero()[0].tolist()}
    comparison.finish()
    comparison.close()
    rate = SIZE / (time.monotonic() - started) / 1e6
    crossed = sum(link.carried_bytes for link in runner._links)
    runner.close()
    with capsys.disabled():
        print(f"\n3 GiB compared on the node at {rate:.0f} MB/s, {crossed:,} bytes crossed")  # noqa: T201
    assert found == changed
    assert crossed < 2 * extent + SIZE // extent * 41 + 64 * 1024


@pytest.mark.slow
def test_a_read_killed_midway_is_a_clear_error_and_never_short(server, runner, disk):
    reader = LinuxHost("node", runner).open_read(disk)
    threading.Timer(0.3, server.kill_sessions).start()
    buffer = memoryview(bytearray(PIECE))

    def read_all():
        for offset in range(0, SIZE, PIECE):
            reader.read_into(offset, buffer)

    with pytest.raises((Unreachable, ShortRead)) as caught:
        read_all()
    assert "127.0.0.1" in str(caught.value) or disk.path in str(caught.value)
    reader.close()


@pytest.mark.slow
def test_a_write_killed_midway_is_never_flushed(server, runner, tmp_path, block):
    path = tmp_path / "target"
    with path.open("wb") as file:
        file.truncate(SIZE)
    target = Disk(name="target", path=str(path), size_bytes=SIZE, uid="")
    writer = LinuxHost("node", runner).open_write(target)
    threading.Timer(0.3, server.kill_sessions).start()

    def write_all():
        for offset in range(0, SIZE, PIECE):
            writer.write(offset, block)
        writer.flush()

    with pytest.raises(RemoteError):
        write_all()
    with pytest.raises(FlashvaultError):
        writer.flush()
    writer.close()


def test_a_dd_killed_on_the_node_is_a_short_read(runner, tmp_path):
    path = tmp_path / "disk"
    with path.open("wb") as file:
        file.truncate(256 * MIB)
    disk = Disk(name="disk", path=str(path), size_bytes=256 * MIB, uid="")
    host = LinuxHost("node", runner)
    reader = host.open_read(disk)
    buffer = memoryview(bytearray(MIB))
    reader.read_into(0, buffer)
    done = runner.run(f"pkill -KILL -f 'if={path} '")
    assert done.status == 0

    def read_rest():
        for offset in range(MIB, 64 * MIB, MIB):
            reader.read_into(offset, buffer)

    with pytest.raises((ShortRead, Unreachable)):
        read_rest()
    reader.close()
