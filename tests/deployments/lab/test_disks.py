"""Volumes as files: copies keep holes and inodes, and are of one instant where that can be had."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deployments.lab.disks import (
    DiskShelf,
    copy_in_place,
    differing,
    is_btrfs_subvolume,
    make_volume_directory,
    remove_volume_directory,
)

MIB = 1024 * 1024
A, B = ("array", "a"), ("array", "b")
COPY_A, COPY_B = ("array", "copy_a"), ("array", "copy_b")
PAIRS = [(A, COPY_A), (B, COPY_B)]


@pytest.fixture
def shelf(tmp_path) -> DiskShelf:
    made = DiskShelf(tmp_path / "volumes")
    for place in (A, B, COPY_A, COPY_B):
        made.create(place, 4 * MIB)
    return made


RUNS = st.lists(st.tuples(st.integers(0, 63), st.binary(min_size=1, max_size=70_000)), max_size=5)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(source=RUNS, target=RUNS)
def test_a_copy_is_the_source_whatever_the_target_held(shelf, source, target) -> None:
    for place, runs in ((A, source), (COPY_A, target)):
        with shelf.path(place).open("r+b") as file:
            file.truncate(0)
            file.truncate(4 * MIB)
            for grain, data in runs:
                file.seek(grain * 65536)
                file.write(data[: 4 * MIB - grain * 65536])
    before = {
        index
        for index in range(16)
        if shelf.path(A).read_bytes()[index * 262144 : (index + 1) * 262144]
        != shelf.path(COPY_A).read_bytes()[index * 262144 : (index + 1) * 262144]
    }
    assert set(differing(shelf.path(A), shelf.path(COPY_A), 262144)) == before
    copy_in_place(shelf.path(A), shelf.path(COPY_A))
    assert shelf.path(A).read_bytes() == shelf.path(COPY_A).read_bytes()
    assert shelf.difference(A, COPY_A, 65536) == 0


def test_a_copy_keeps_the_inode_so_that_who_holds_the_target_sees_it(shelf) -> None:
    shelf.path(A).write_bytes(b"new".ljust(4 * MIB, b"."))
    with shelf.path(COPY_A).open("rb") as held:
        shelf.snapshot([(A, COPY_A)])
        assert held.read(3) == b"new"


def test_a_copy_keeps_holes(shelf) -> None:
    with shelf.path(A).open("r+b") as file:
        file.write(b"x")
    shelf.snapshot([(A, COPY_A)])
    assert shelf.path(COPY_A).stat().st_blocks * 512 < MIB


@contextmanager
def writer(shelf: DiskShelf, pause_s: float, flags: int = 0) -> Iterator[None]:
    """Write a growing number to A, then the same to B, then pause; again and again."""
    done = threading.Event()

    def write() -> None:
        files = [os.open(shelf.path(place), os.O_WRONLY | flags) for place in (A, B)]
        number = 0
        while not done.is_set():
            number += 1
            for file in files:
                for place in (0, MIB, 3 * MIB):
                    os.pwrite(file, number.to_bytes(8, "big"), place)
            if pause_s:
                time.sleep(pause_s)
        for file in files:
            os.close(file)

    thread = threading.Thread(target=write)
    thread.start()
    time.sleep(0.05)
    try:
        yield
    finally:
        done.set()
        thread.join()


def numbers(shelf: DiskShelf) -> list[int]:
    """Read what the copies hold, in the order it was written."""
    found = []
    for place in (COPY_A, COPY_B):
        data = shelf.path(place).read_bytes()
        found += [int.from_bytes(data[at : at + 8], "big") for at in (0, MIB, 3 * MIB)]
    return found


def is_one_instant(found: list[int]) -> bool:
    """Say whether some moment had these: each write comes after those before it in the round."""
    return found == sorted(found, reverse=True) and found[0] - found[-1] <= 1


def test_copies_of_volumes_somebody_writes_to_with_pauses_are_of_one_instant(shelf) -> None:
    with writer(shelf, 0.05):
        for _ in range(5):
            shelf.snapshot(PAIRS)
            found = numbers(shelf)
            assert found[0] > 0
            assert is_one_instant(found)


def test_a_mirror_of_volumes_somebody_writes_to_is_never_torn(shelf) -> None:
    with writer(shelf, 0.03):
        for _ in range(5):
            shelf.follow(PAIRS)
            assert is_one_instant(numbers(shelf))


@contextmanager
def mounted(kind: str, tmp_path: Path) -> Iterator[Path]:
    """Mount a new file system of a kind."""
    if not shutil.which(f"mkfs.{kind}") or os.geteuid() != 0:
        pytest.skip(f"needs root and mkfs.{kind}")
    image, place = tmp_path / "image", tmp_path / "mount"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(512 * MIB)
    subprocess.run([f"mkfs.{kind}", "-q", image], check=True)
    if subprocess.run(["mount", "-o", "loop", image, place], check=False).returncode:
        pytest.skip(f"loop devices or {kind} are not to be had here")
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


@pytest.fixture
def btrfs(tmp_path) -> Iterator[Path]:
    with mounted("btrfs", tmp_path) as place:
        yield place


@pytest.fixture
def xfs(tmp_path) -> Iterator[Path]:
    with mounted("xfs", tmp_path) as place:
        yield place


@pytest.mark.root
def test_with_reflinks_a_group_is_of_one_instant_under_a_writer_with_pauses(xfs) -> None:
    shelf = DiskShelf(xfs / "volumes")
    for place in (A, B, COPY_A, COPY_B):
        shelf.create(place, 4 * MIB)
    with shelf.path(A).open("r+b") as file:
        file.write(os.urandom(4 * MIB))
    free = shutil.disk_usage(xfs).free
    shelf.snapshot([(A, COPY_A)])
    assert free - shutil.disk_usage(xfs).free < MIB  # shared, not copied
    with writer(shelf, 0.03):
        for _ in range(10):
            shelf.snapshot(PAIRS)
            found = numbers(shelf)
            assert found[0] > 0
            assert is_one_instant(found)


def test_a_group_that_may_not_be_of_one_instant_is_told(shelf, caplog, monkeypatch) -> None:
    monkeypatch.setattr("deployments.lab.disks.FOLLOW_TRIES", 0)
    monkeypatch.setattr("deployments.lab.disks.QUIET_NS", 10**15)
    shelf.snapshot(PAIRS)
    assert "no gap" in caplog.text


@pytest.mark.root
def test_on_btrfs_a_group_is_of_one_instant_under_a_writer_without_pause(btrfs) -> None:
    # A write the writer was told is on disk comes before the next one, as a database needs it.
    make_volume_directory(btrfs / "volumes")
    assert is_btrfs_subvolume(btrfs / "volumes")
    shelf = DiskShelf(btrfs / "volumes")
    for place in (A, B, COPY_A, COPY_B):
        shelf.create(place, 4 * MIB)
    with writer(shelf, 0, os.O_DSYNC):
        for _ in range(10):
            shelf.snapshot(PAIRS)
            found = numbers(shelf)
            assert found[0] > 0
            assert is_one_instant(found)
            assert shelf.follow(PAIRS) is not None
            assert is_one_instant(numbers(shelf))
    assert [path.name for path in btrfs.iterdir()] == ["volumes"]
    remove_volume_directory(btrfs / "volumes")
    assert list(btrfs.iterdir()) == []
