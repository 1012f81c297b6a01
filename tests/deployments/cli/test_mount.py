"""A file comes out of a big disk in the bucket, and little more than the file is fetched."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

from blocks.units import GIB, MIB

TOOLS = ("mkfs.ext4", "debugfs", "fusermount3")
PATH = os.environ["PATH"] + ":/usr/sbin:/sbin"

pytestmark = pytest.mark.skipif(
    not os.access("/dev/fuse", os.R_OK | os.W_OK)
    or any(shutil.which(tool, path=PATH) is None for tool in TOOLS),
    reason="needs /dev/fuse, fuse3 and e2fsprogs",
)


def tool(*words):
    subprocess.run(words, check=True, capture_output=True, env={**os.environ, "PATH": PATH})


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A disk of 100 GiB with a file to be found and much else, in a bucket."""
    site = tmp_path_factory.mktemp("site")
    disk = site / "hdisk18"
    with disk.open("wb") as file:
        file.truncate(100 * GIB)
    tool("mkfs.ext4", "-q", "-F", "-N", "1000", "-O", "^has_journal", str(disk))
    wanted, other = site / "wanted", site / "other"
    wanted.write_bytes(random.Random(1).randbytes(3 * MIB))
    other.write_bytes(random.Random(2).randbytes(60 * MIB))
    for path in (other, wanted):
        tool("debugfs", "-w", "-R", f"write {path} {path.name}", str(disk))
    words = ["image", "put", str(disk), "--to", f"file://{site}/bucket", "--name", "RG1"]
    tool(sys.executable, "-m", "deployments.cli", *words)
    return site


@pytest.fixture
def mounted(site, tmp_path):
    """Mount, and on `stop(signal)` return what was said at the end."""
    directory = tmp_path / "point"
    directory.mkdir()
    words = ["mount", "RG1", str(directory), "--bucket", f"file://{site}/bucket", "--json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "deployments.cli", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + 60
        while not os.path.ismount(directory):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)

        def stop(number=signal.SIGTERM):
            process.send_signal(number)
            said, _ = process.communicate(timeout=60)
            assert process.returncode == (-number if number == signal.SIGKILL else 0)
            return json.loads(said)

        yield directory, stop
    finally:
        if process.poll() is None:
            process.terminate()
            process.communicate(timeout=60)
        subprocess.run(["fusermount3", "-uz", directory], capture_output=True, check=False)


def test_a_file_is_copied_out_of_100_gib_without_fetching_them(site, mounted, tmp_path):
    directory, stop = mounted
    assert [path.name for path in directory.iterdir()] == ["hdisk18.img"]
    began = time.monotonic()
    with (directory / "hdisk18.img").open("rb") as file:
        file.read(1)
    assert time.monotonic() - began < 1
    copy = tmp_path / "copy"
    tool("debugfs", "-R", f"dump wanted {copy}", str(directory / "hdisk18.img"))
    assert copy.read_bytes() == (site / "wanted").read_bytes()
    said = stop()
    assert said["fetched_bytes"] < 16 * MIB
    assert said["served_bytes"] >= 3 * MIB


def test_what_is_shown_cannot_be_written_and_ctrl_c_ends_it(mounted):
    directory, stop = mounted
    with pytest.raises(OSError, match="Read-only"):
        (directory / "hdisk18.img").open("r+b")
    with pytest.raises(OSError, match="Read-only"):
        (directory / "new").touch()
    with pytest.raises(FileNotFoundError):
        (directory / "hdisk19.img").open("rb")
    stop(signal.SIGINT)
    assert not os.path.ismount(directory)


def test_a_killed_mount_says_what_to_do_and_can_be_mounted_again(site, mounted, flashvault):
    directory, stop = mounted
    with pytest.raises(ValueError, match="Expecting value"):
        stop(signal.SIGKILL)
    with pytest.raises(OSError, match="not connected"):
        os.listdir(directory)
    said = flashvault(f"mount RG1 {directory} --bucket file://{site}/bucket")
    assert said.status == 2
    assert "process is gone" in said.err
    assert "fusermount3 -uz" in said.err
    tool("fusermount3", "-uz", str(directory))
    assert list(directory.iterdir()) == []


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_the_disk_can_be_mounted_from_there(site, mounted, tmp_path):
    directory, _ = mounted
    files = tmp_path / "files"
    files.mkdir()
    tool("mount", "-o", "ro,noload,loop", str(directory / "hdisk18.img"), str(files))
    try:
        assert (files / "wanted").read_bytes() == (site / "wanted").read_bytes()
        assert (files / "other").read_bytes() == (site / "other").read_bytes()
    finally:
        tool("umount", str(files))


def test_damage_is_an_input_output_error_and_never_bytes(site, tmp_path):
    from deployments.cli.mount import _open, _Show

    bucket = tmp_path / "bucket"
    shutil.copytree(site / "bucket", bucket)
    image = max(bucket.rglob("*.img.zst"), key=lambda path: path.stat().st_size)
    body = bytearray(image.read_bytes())
    body[len(body) // 2] ^= 1
    image.write_bytes(bytes(body))
    source, point, cipher = _open("RG1", "", f"file://{bucket}")
    show = _Show(point, source, cipher, [], cache_bytes=MIB)
    refused = 0
    try:
        with (site / "hdisk18").open("rb") as disk:
            at = os.lseek(disk.fileno(), 0, os.SEEK_DATA)
            while True:
                disk.seek(at)
                expected = disk.read(MIB)
                try:
                    assert show.read("/hdisk18.img", at, MIB) == expected
                except OSError:
                    refused += 1
                try:
                    at = os.lseek(disk.fileno(), at + MIB, os.SEEK_DATA)
                except OSError:
                    break
    finally:
        show.close()
    assert 1 <= refused <= 6, "the reads that touch one frame of 4 MiB"


@pytest.mark.parametrize(
    ("words", "hint"),
    [("mount RG1 /nowhere", "mkdir"), ("mount RG1 /tmp", "empty"), ("mount RG2 /nowhere", "")],
)
def test_what_cannot_be_mounted_is_refused_with_a_hint(site, flashvault, words, hint):
    said = flashvault(f"{words} --bucket file://{site}/bucket")
    assert said.status != 0
    assert hint in said.err
